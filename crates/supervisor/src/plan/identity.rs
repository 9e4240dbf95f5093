//! Who the agent is on this host.

use std::os::unix::fs::MetadataExt;

use ringfence_model::boundary::Identity;

use super::{PlanError, Setting};

/// First of the host ids that a root-started agent may stand for: above every id that systems
/// hand out (systemd ends at 0x7fff_ffff for containers in steps of 65,536 from 0x8_0000).
const UNUSED_IDS: u32 = 0x6f00_0000;
/// How many of them there are; runs pick one by their id.
const UNUSED_COUNT: u32 = 0x00ff_fff0;
/// The id inside when the supervisor is root.
const INSIDE_ID: u32 = 1000;

/// An ordinary user keeps its own id; root gets an unused one, never 0.
pub fn identity(setting: &Setting<'_>) -> Result<Identity, PlanError> {
    let person = setting.person;
    let hostname = "ringfence".to_owned();
    let home = setting.home.to_owned();
    if !person.is_root() {
        return Ok(Identity {
            inside_uid: person.uid,
            inside_gid: person.gid,
            outside_uid: person.uid,
            outside_gid: person.gid,
            owner: None,
            user: person.name.clone(),
            home,
            hostname,
        });
    }
    let root = std::fs::metadata(setting.cwd)
        .map_err(|source| PlanError::Examine { path: setting.cwd.to_owned(), source })?;
    let outside = UNUSED_IDS + spread(setting.run.id().as_str()) % UNUSED_COUNT;
    Ok(Identity {
        inside_uid: INSIDE_ID,
        inside_gid: INSIDE_ID,
        outside_uid: outside,
        outside_gid: outside,
        owner: Some((root.uid(), root.gid())),
        user: "agent".to_owned(),
        home,
        hostname,
    })
}

/// FNV-1a: two runs at once should not share an id, so that neither can signal the other.
fn spread(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
