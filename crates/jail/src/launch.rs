//! The outside half of a start: fork into fresh namespaces, map ids, hand over descriptors.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ringfence_model::boundary::{Boundary, Identity, MountKind, Tier};
use ringfence_sys::process::{Namespaces, Side, exit_now, fork_into};
use ringfence_sys::{bpf, fdpass, mounts};
use rustix::process::{Pid, Signal};

use crate::adjust::Handle;
use crate::alone;
use crate::idmap;
use crate::init;
use crate::step::{During, StepError};

/// What one of the agent's three standard descriptors is.
#[derive(Debug)]
pub enum Stdio {
    /// The sandbox's own terminal.
    Terminal,
    /// This descriptor, passed as it is (a pipe).
    Pass(OwnedFd),
    /// The sandbox's own `/dev/null`.
    Null,
}

/// Things of the host that the self-test must not reach.
#[derive(Clone, Debug)]
pub struct Probes {
    /// Name of an abstract Unix socket on which the supervisor listens.
    pub abstract_name: Vec<u8>,
    /// Port on the host's loopback on which the supervisor listens.
    pub loopback_port: u16,
}

/// Everything a start needs.
pub struct Launch<'a> {
    /// The plan.
    pub boundary: &'a Boundary,
    /// The compiled system call filter.
    pub filter: &'a bpf::Program,
    /// Whether started programs are reported to the supervisor.
    pub notify_exec: bool,
    /// Whether a control group counts the processes: then the resource limit must not come first,
    /// or the group would never tell that its limit was hit.
    pub processes_grouped: bool,
    /// Standard input, output and error.
    pub stdio: [Stdio; 3],
    /// The end of the gateway's socket on which init hands over the listeners.
    pub gateway: OwnedFd,
    /// What the self-test must not reach.
    pub probes: Probes,
    /// Called with init's process id before it may go on, to put it into its cgroup.
    pub attach: &'a dyn Fn(Pid) -> io::Result<()>,
}

/// A sandbox that is being built or runs.
#[derive(Debug)]
pub struct Sandbox {
    /// Its init, pid 1 inside; when it dies, everything inside dies.
    pub init: OwnedFd,
    /// Init's process id on the host.
    pub pid: Pid,
    /// The life line: [`crate::FromInside`] packets come out, one `go` packet goes in.
    pub life: OwnedFd,
    /// Orders for init go in here, see [`crate::Order`].
    pub orders: OwnedFd,
    /// A way to change its mounts later.
    pub handle: Handle,
    /// Which back end made it.
    pub tier: Tier,
}

impl Sandbox {
    /// Ends it at once. Everything inside is gone when `init` is.
    ///
    /// Where the process-id namespace is the sandbox's own, the kernel kills what is in it with init;
    /// elsewhere init kills all and then ends. Nothing inside can signal, stop or hold up init.
    pub fn end(&self) {
        let signal = match self.tier {
            Tier::Process => Signal::KILL,
            Tier::Landlock => Signal::TERM,
        };
        let _ = rustix::process::pidfd_send_signal(&self.init, signal);
    }

    /// What is left when init itself was killed from outside; to be called when `init` is gone. The
    /// caller's own child `keeper` is spared.
    pub fn clear(&self, keeper: Option<Pid>) {
        if self.tier == Tier::Landlock {
            alone::clear_orphans(keeper);
        }
    }
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The kernel refused the namespaces.
    #[error("cannot create the sandbox's namespaces: {source}")]
    Namespaces {
        /// What it said.
        source: io::Error,
    },
    /// A step on the outside failed.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// The sources that only the outside may open, in the order of the boundary's mounts.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// For a bind: the tree. For an overlay: the lower tree, then the tree that holds upper and work.
    pub trees: Vec<Vec<OwnedFd>>,
}

impl Prepared {
    fn all(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.trees.iter().flatten().map(AsFd::as_fd)
    }
}

/// Starts building the sandbox; the caller reads the life line for what becomes of it.
///
/// Must be called by a single-threaded process (the child is a fork of it).
///
/// # Errors
/// [`LaunchError`]; nothing is left behind then.
pub fn launch(launch: Launch<'_>) -> Result<Sandbox, LaunchError> {
    let tier = launch.boundary.tier;
    let (namespaces, prepared) = match tier {
        Tier::Process => (Namespaces::ALL, prepare_sources(launch.boundary)?),
        Tier::Landlock => {
            alone::adopt_orphans()?;
            (Namespaces::NONE, Prepared::default())
        }
    };
    let (life, inner_life) = fdpass::pair().during("create", "the life line")?;
    let (orders, inner_orders) = fdpass::pair().during("create", "the line of orders")?;
    match fork_into(namespaces).map_err(|source| LaunchError::Namespaces { source })? {
        Side::Child => {
            drop((life, orders));
            match tier {
                Tier::Process => init::main(launch, &prepared, inner_life, inner_orders),
                Tier::Landlock => alone::main(launch, inner_life, inner_orders),
            }
            exit_now(70)
        }
        Side::Parent { pid, pidfd } => {
            drop((inner_life, inner_orders));
            match settle(&launch, pid, &life) {
                Ok(handle) => Ok(Sandbox { init: pidfd, pid, life, orders, handle, tier }),
                Err(error) => {
                    let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
                    let _ = ringfence_sys::process::wait_code(pidfd.as_fd());
                    Err(error.into())
                }
            }
        }
    }
}

/// What must be true before init goes on: it is in its cgroup, its ids are mapped.
fn settle(launch: &Launch<'_>, pid: Pid, life: &OwnedFd) -> Result<Handle, StepError> {
    (launch.attach)(pid).during("put the sandbox into", "its cgroup")?;
    let handle = match launch.boundary.tier {
        Tier::Landlock => Handle::none(),
        Tier::Process => {
            if launch.boundary.identity.owner.is_some() {
                idmap::write_maps(pid, &launch.boundary.identity)?;
            }
            Handle::open(pid).during("open", "the sandbox's namespaces")?
        }
    };
    fdpass::send(life.as_fd(), b"mapped", &[]).during("talk to", "the sandbox's init")?;
    Ok(handle)
}

/// As root every source is opened here: the sandbox's own user could not reach into them.
fn prepare_sources(boundary: &Boundary) -> Result<Prepared, StepError> {
    let Some(owner) = boundary.identity.owner else {
        return Ok(Prepared::default());
    };
    let mut maps = Maps::new(&boundary.identity);
    // Made first: where there are no user namespaces, the error must say that.
    maps.of(owner)?;
    let mut trees = Vec::with_capacity(boundary.mounts.len());
    for mount in &boundary.mounts {
        trees.push(match &mount.kind {
            MountKind::Bind { source, owned, identity, .. } => {
                let place = crate::root::open_source(source, *identity)?;
                let of_project = *source == boundary.workspace.root;
                let map = match (owned, of_project) {
                    (false, _) => None,
                    (true, true) => Some(maps.of(owner)?),
                    (true, false) => Some(maps.of(owner_of(&place, source)?)?),
                };
                vec![copy(place.as_fd(), map, source.display())?]
            }
            MountKind::Overlay { lower, upper, identity, .. } => {
                let place = crate::root::open_source(lower, *identity)?;
                let store = upper.parent().unwrap_or(upper);
                let store_place = crate::root::open_source(store, None)?;
                let of_project = *lower == boundary.workspace.root;
                let below = if of_project { owner } else { owner_of(&place, lower)? };
                let above = owner_of(&store_place, store)?;
                vec![
                    copy(place.as_fd(), Some(maps.of(below)?), lower.display())?,
                    copy(store_place.as_fd(), Some(maps.of(above)?), store.display())?,
                ]
            }
            _ => Vec::new(),
        });
    }
    Ok(Prepared { trees })
}

/// Who owns an opened source: the project may belong to one account, and the private home, the layers
/// and the caches to the one that ringfence runs as.
fn owner_of(place: &OwnedFd, path: &Path) -> Result<(u32, u32), StepError> {
    let stat = rustix::fs::fstat(place).during("examine", path.display())?;
    Ok((stat.st_uid, stat.st_gid))
}

/// One user namespace per owner of sources; mostly there is only one.
struct Maps<'a> {
    identity: &'a Identity,
    made: BTreeMap<(u32, u32), OwnedFd>,
}

impl<'a> Maps<'a> {
    fn new(identity: &'a Identity) -> Self {
        Self { identity, made: BTreeMap::new() }
    }

    fn of(&mut self, owner: (u32, u32)) -> Result<&OwnedFd, StepError> {
        Ok(match self.made.entry(owner) {
            Entry::Occupied(made) => made.into_mut(),
            Entry::Vacant(place) => place.insert(idmap::namespace(owner, self.identity)?),
        })
    }
}

fn copy(
    place: BorrowedFd<'_>,
    map: Option<&OwnedFd>,
    name: impl std::fmt::Display,
) -> Result<OwnedFd, StepError> {
    let tree = mounts::detach_copy(place).during("copy the mount of", &name)?;
    if let Some(map) = map {
        mounts::set_attributes(tree.as_fd(), mounts::Attributes::NONE, false, Some(map.as_fd())).during(
            "map the owner of (this file system may not support id-mapped mounts; run as an ordinary user)",
            &name,
        )?;
    }
    Ok(tree)
}

/// Descriptors that init keeps.
pub(crate) fn kept<'a>(launch: &'a Launch<'_>, prepared: &'a Prepared) -> Vec<BorrowedFd<'a>> {
    let passed = launch.stdio.iter().filter_map(|stdio| match stdio {
        Stdio::Pass(fd) => Some(fd.as_fd()),
        Stdio::Terminal | Stdio::Null => None,
    });
    passed.chain([launch.gateway.as_fd()]).chain(prepared.all()).collect()
}
