//! `base = "host"`: the parts of the host's system that programs need, and nothing of its users.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ringfence_model::boundary::{Access, Identity, Mount, MountKind};
use ringfence_model::id::RunId;

use super::{PlanError, bind};

/// Trees of installed software, read-only.
const TREES: [&str; 4] = ["/usr", "/opt", "/nix", "/gnu"];
/// Top-level names that are links into `/usr` on merged systems and directories on others.
const MERGED: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// Entries of `/etc` that programs read and that tell nothing secret. Names, or prefixes with `*`.
const ETC: [&str; 51] = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "ssl",
    "pki",
    "crypto-policies",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "fonts",
    "perl",
    "terminfo",
    "xml",
    "sgml",
    "vulkan",
    "OpenCL",
    "glvnd",
    "vim",
    "java*",
    "python*",
    "R",
    "maven",
    "localtime",
    "timezone",
    "os-release",
    "debian_version",
    "lsb-release",
    "redhat-release",
    "fedora-release",
    "alpine-release",
    "arch-release",
    "locale.conf",
    "locale.alias",
    "mime.types",
    "magic",
    "magic.mime",
    // Defaults of programs, without which some do not start.
    "chromium.d",
    "manpath.config",
    "nanorc",
    "screenrc",
    "protocols",
    "services",
    "rpc",
    "networks",
    "ethertypes",
    "host.conf",
    "gai.conf",
    "inputrc",
    "bash.bashrc",
    "profile",
    "shells",
];

/// The mounts of the base, in order.
pub fn mounts(who: &Identity, run: &RunId) -> Result<Vec<Mount>, PlanError> {
    let mut mounts = Vec::with_capacity(64);
    for tree in TREES {
        if let Some(mount) = mirror(Path::new(tree))? {
            mounts.push(mount);
        }
    }
    for name in MERGED {
        if let Some(mount) = mirror(Path::new(name))? {
            mounts.push(mount);
        }
    }
    mounts.push(Mount { target: "/etc".into(), kind: MountKind::Directory { mode: 0o755 } });
    mounts.extend(etc_entries()?);
    mounts.extend(synthesised(who, run));
    for (target, mode) in [("/run", 0o755), ("/var", 0o755), ("/mnt", 0o755)] {
        mounts.push(Mount { target: target.into(), kind: MountKind::Directory { mode } });
    }
    let cpu = Path::new("/sys/devices/system/cpu");
    if cpu.is_dir() {
        mounts.push(bind(cpu, cpu, Access::ReadOnly, false, false)?);
    }
    mounts.push(Mount { target: "/proc".into(), kind: MountKind::Proc });
    mounts.push(Mount { target: "/dev".into(), kind: MountKind::Devices });
    Ok(mounts)
}

/// The same thing inside: a link stays a link, anything else is bound read-only.
fn mirror(path: &Path) -> Result<Option<Mount>, PlanError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(None) };
    if metadata.is_symlink() {
        let link = fs::read_link(path)
            .map_err(|source| PlanError::Examine { path: path.to_owned(), source })?;
        let target = link.to_string_lossy().into_owned();
        return Ok(Some(Mount { target: path.to_owned(), kind: MountKind::Symlink { target } }));
    }
    if metadata.is_dir() || metadata.is_file() {
        return bind(path, path, Access::ReadOnly, true, false).map(Some);
    }
    Ok(None)
}

/// A directory with no more entries than this is copied; a mount costs more than a small file.
const SMALL_DIRECTORY: usize = 8;
/// A file no larger than this is copied, in bytes.
const SMALL_FILE: u64 = 64 * 1024;

/// As [`mirror`], but small things are copied instead of mounted. Only for what everybody may read.
fn small(path: &Path) -> Result<Vec<Mount>, PlanError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(Vec::new()) };
    let readable = metadata.mode() & 0o004 != 0;
    if metadata.is_file() && readable && metadata.len() <= SMALL_FILE {
        let kind = MountKind::Copy {
            source: path.to_owned(),
            identity: Some((metadata.dev(), metadata.ino())),
        };
        return Ok(vec![Mount { target: path.to_owned(), kind }]);
    }
    if metadata.is_dir()
        && readable
        && let Some(mounts) = small_directory(path)
    {
        return Ok(mounts);
    }
    Ok(mirror(path)?.into_iter().collect())
}

/// The entries of a directory that holds only a few small files and links.
fn small_directory(path: &Path) -> Option<Vec<Mount>> {
    let mut mounts =
        vec![Mount { target: path.to_owned(), kind: MountKind::Directory { mode: 0o755 } }];
    for entry in fs::read_dir(path).ok()? {
        let entry = entry.ok()?.path();
        let metadata = fs::symlink_metadata(&entry).ok()?;
        if mounts.len() > SMALL_DIRECTORY || metadata.is_dir() || metadata.len() > SMALL_FILE {
            return None;
        }
        if metadata.is_file() && metadata.mode() & 0o004 == 0 {
            continue;
        }
        mounts.extend(small(&entry).ok()?);
    }
    Some(mounts)
}

fn etc_entries() -> Result<Vec<Mount>, PlanError> {
    let etc = Path::new("/etc");
    let wanted = |name: &str| {
        ETC.iter().any(|entry| match entry.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *entry,
        })
    };
    let listing =
        fs::read_dir(etc).map_err(|source| PlanError::Examine { path: etc.to_owned(), source })?;
    let mut names: Vec<_> = listing
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| wanted(name))
        .collect();
    names.sort_unstable();
    let mut mounts = Vec::with_capacity(names.len());
    for name in names {
        mounts.extend(small(&etc.join(name))?);
    }
    Ok(mounts)
}

/// Files of `/etc` that are made for the sandbox: they tell of nobody but the agent.
fn synthesised(who: &Identity, run: &RunId) -> Vec<Mount> {
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let (user, uid, gid) = (&who.user, who.inside_uid, who.inside_gid);
    let home = who.home.display();
    let name = &who.hostname;
    let machine = ringfence_policy::digest(run.as_str().as_bytes());
    let machine = machine.get(..32).unwrap_or_default();
    let files = [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/root:/usr/sbin/nologin\n{user}:x:{uid}:{gid}:{user}:{home}:{shell}\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
            ),
        ),
        ("group", format!("root:x:0:\n{user}:x:{gid}:\nnogroup:x:65534:\n")),
        (
            "hosts",
            format!("127.0.0.1 localhost {name}\n::1 localhost ip6-localhost ip6-loopback {name}\n"),
        ),
        ("resolv.conf", "nameserver 198.18.0.1\noptions timeout:5 attempts:2\n".to_owned()),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n".to_owned(),
        ),
        ("hostname", format!("{name}\n")),
        ("machine-id", format!("{machine}\n")),
    ];
    let made = files.map(|(file, content)| Mount {
        target: Path::new("/etc").join(file),
        kind: MountKind::File { content, mode: 0o644 },
    });
    let link = Mount {
        target: "/etc/mtab".into(),
        kind: MountKind::Symlink { target: "/proc/self/mounts".to_owned() },
    };
    made.into_iter().chain([link]).collect()
}

/// Settings that a profile adds to `/etc`, with their directories.
pub fn profile_settings(profile: &str) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for (path, content) in ringfence_policy::profile_settings(profile) {
        let target = Path::new("/etc").join(path);
        if let Some(parent) = target.parent().filter(|parent| *parent != Path::new("/etc")) {
            let kind = MountKind::Directory { mode: 0o755 };
            mounts.push(Mount { target: parent.to_owned(), kind });
        }
        let kind = MountKind::File { content: content.to_owned(), mode: 0o644 };
        mounts.push(Mount { target, kind });
    }
    mounts
}
