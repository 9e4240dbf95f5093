//! Single values of a definition, parsed from their text; definition files and the command line share
//! these functions, so both accept the same texts.
//!
//! Nothing here knows where a text stands; the callers add the place.

use ringfence_model::address::Cidr;
use ringfence_model::boundary::{ExecMode, Tier, WorkspaceMode};
use ringfence_model::id::SandboxName;
use ringfence_model::provenance::Layer;

use crate::bundle::Bundle;
use crate::compiled::LimitKind;
use crate::definition::Allow;
use crate::deny::DenyPattern;
use crate::error::Fault;
use crate::limits::{
    CPU_MILLI_FLOOR, MEMORY_FLOOR, OPEN_FILES_FLOOR, PATH_BYTES, PROCESSES_FLOOR, STORAGE_FLOOR,
    TIME_FLOOR_MS,
};
use crate::values::{duration, size};
use crate::variables::{check_name, dangerous_variable};
use crate::{network, profiles, protected};

/// A value that does not parse.
pub(crate) fn fault(key: &str, text: &str, why: impl ToString) -> Fault {
    Fault::Value { key: key.to_owned(), text: text.to_owned(), why: why.to_string() }
}

pub(crate) fn parse_allow(text: &str, addresses: &[Cidr], layer: Layer) -> Result<Allow, Fault> {
    if let Some(bundle) = Bundle::find(text) {
        if !addresses.is_empty() {
            let why = "where the hosts of a bundle may lead is the tool's own configuration's to say; remove `addresses`";
            return Err(fault("network.allow", text, why));
        }
        return Ok(Allow::Bundle(bundle));
    }
    let destination = network::allow(text)?;
    network::check_allow(text, &destination, addresses, layer)?;
    Ok(Allow::Destination(destination, addresses.to_vec()))
}

pub(crate) fn parse_path(key: &str, text: &str) -> Result<(), Fault> {
    if text.is_empty() || text.contains('\0') {
        return Err(fault(key, text, "it is no path"));
    }
    if text.len() > PATH_BYTES {
        return Err(fault(key, "…", "it is longer than any path"));
    }
    if text.contains(['*', '?']) {
        return Err(fault(key, text, "a grant is one path, without `*` and `?`"));
    }
    Ok(())
}

pub(crate) fn parse_sandbox_name(text: &str) -> Result<SandboxName, Fault> {
    text.parse().map_err(|error| fault("name", text, error))
}

pub(crate) fn parse_profile(text: &str) -> Result<String, Fault> {
    if profiles::text(text).is_some() {
        Ok(text.to_owned())
    } else {
        Err(Fault::UnknownProfile { name: text.to_owned(), known: profiles::names().join(", ") })
    }
}

pub(crate) fn parse_mode(text: &str) -> Result<WorkspaceMode, Fault> {
    match text {
        "review" => Ok(WorkspaceMode::Review),
        "pair" => Ok(WorkspaceMode::Pair),
        "direct" => Ok(WorkspaceMode::Direct),
        "read-only" => Ok(WorkspaceMode::ReadOnly),
        _ => Err(fault("workspace.mode", text, "the modes are review, pair, direct, read-only")),
    }
}

pub(crate) fn parse_exec(text: &str) -> Result<ExecMode, Fault> {
    match text {
        "any" => Ok(ExecMode::Any),
        "base" => Ok(ExecMode::Base),
        _ => Err(fault("process.exec", text, "the modes are any, base")),
    }
}

pub(crate) fn parse_tier(text: &str) -> Result<Tier, Fault> {
    match text {
        "process" => Ok(Tier::Process),
        "landlock" => Ok(Tier::Landlock),
        _ => Err(fault("process.tier", text, "the tiers are process, landlock")),
    }
}

pub(crate) fn parse_unprotect(text: &str) -> Result<String, Fault> {
    protected::find(text)
        .map(|row| row.path.to_owned())
        .ok_or_else(|| Fault::NotProtected(text.to_owned()))
}

pub(crate) fn parse_hide(text: &str) -> Result<DenyPattern, Fault> {
    text.parse().map_err(|error: crate::deny::DenyError| Fault::MatchesNothing {
        what: text.to_owned(),
        why: error.why.to_owned(),
        instead: error.instead.to_owned(),
    })
}

/// A dangerous variable is passed only when the person who starts the run says so.
pub(crate) fn parse_pass(name: &str, layer: Layer) -> Result<String, Fault> {
    check_name(name).map_err(|why| fault("environment.pass", name, why))?;
    match dangerous_variable(name) {
        Some(why) if !matches!(layer, Layer::User | Layer::CommandLine | Layer::Grant) => {
            Err(Fault::DangerousVariable { name: name.to_owned(), why })
        }
        _ => Ok(name.to_owned()),
    }
}

pub(crate) fn check_set(name: &str, value: &str) -> Result<(), Fault> {
    check_name(name).map_err(|why| fault("environment.set", name, why))?;
    if value.contains('\0') {
        return Err(fault("environment.set", name, "a value has no NUL"));
    }
    Ok(())
}

pub(crate) fn limit_shape(kind: LimitKind, text: &str) -> Fault {
    let shape = match kind {
        LimitKind::Processes | LimitKind::OpenFiles => "a whole number, or \"none\"",
        LimitKind::Cpu => "a number of cores such as 2 or 1.5, or \"none\"",
        LimitKind::Wall | LimitKind::Idle => "a duration such as \"8h\", or \"none\"",
        _ => "a size such as \"4G\", or \"none\"",
    };
    fault(kind.key(), text, format!("it is {shape}"))
}

/// Parses a limit's text; `none` lifts it.
pub(crate) fn parse_limit(kind: LimitKind, text: &str) -> Result<Option<u64>, Fault> {
    if text == "none" {
        return if kind == LimitKind::Tmp {
            Err(fault("tmp", text, "in-memory directories always have a size"))
        } else {
            Ok(None)
        };
    }
    let number = match kind {
        LimitKind::Processes | LimitKind::OpenFiles => text.parse::<u64>().ok(),
        LimitKind::Cpu => cores(text),
        LimitKind::Wall | LimitKind::Idle => {
            Some(duration(text).map_err(|why| fault(kind.key(), text, why))?)
        }
        _ => Some(size(text).map_err(|why| fault(kind.key(), text, why))?),
    };
    limit(kind, number.ok_or_else(|| limit_shape(kind, text))?)
}

/// `1.5` as 1500 thousandths, without floating point; more than three places are refused.
fn cores(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return None;
    }
    let scale = 10u64.pow(3 - u32::try_from(part.len()).ok()?);
    let milli = part.parse::<u64>().ok()? * scale;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(milli)
}

pub(crate) fn limit(kind: LimitKind, number: u64) -> Result<Option<u64>, Fault> {
    let (least, words) = match kind {
        LimitKind::Memory => (MEMORY_FLOOR, "16M"),
        LimitKind::Processes => (PROCESSES_FLOOR, "4"),
        LimitKind::Cpu => (CPU_MILLI_FLOOR, "0.01"),
        LimitKind::OpenFiles => (OPEN_FILES_FLOOR, "64"),
        LimitKind::FileSize | LimitKind::Disk | LimitKind::Tmp => (STORAGE_FLOOR, "1M"),
        LimitKind::Wall | LimitKind::Idle => (TIME_FLOOR_MS, "1s"),
    };
    if number < least {
        let why = format!("nothing could run with less than {words}");
        return Err(fault(kind.key(), &number.to_string(), why));
    }
    Ok(Some(number))
}
