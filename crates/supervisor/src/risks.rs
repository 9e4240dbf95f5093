//! Which residual risks hold for a run: the table's rows whose facts are true of it.

use ringfence_model::boundary::{Boundary, ExecMode, Tier, WorkspaceMode};
use ringfence_model::host::{HostPattern, Target};
use ringfence_model::residual::{RESIDUAL_RISKS, When};
use ringfence_policy::Compiled;

/// The ids of the rows that apply, and what was granted although it is dangerous, in words.
#[must_use]
pub fn of(compiled: &Compiled, boundary: &Boundary, memory_enforced: bool) -> Vec<String> {
    let rows =
        RESIDUAL_RISKS.iter().filter(|row| holds(row.when, compiled, boundary, memory_enforced));
    let granted =
        compiled.residual_risks.iter().map(|risk| format!("{} ({})", risk.value, risk.source));
    rows.map(|row| row.id.to_owned()).chain(granted).collect()
}

fn holds(when: When, compiled: &Compiled, boundary: &Boundary, memory_enforced: bool) -> bool {
    let mode = boundary.workspace.mode;
    let network = boundary.tier == Tier::Process;
    let wildcard = |target: &Target| matches!(target, Target::Name(HostPattern::Below(_)));
    match when {
        When::Always => true,
        When::WorkspaceWritable => mode != WorkspaceMode::ReadOnly,
        When::InPlace => mode.writes_in_place(),
        When::Pair => mode == WorkspaceMode::Pair,
        When::Direct => mode == WorkspaceMode::Direct,
        When::Unprotected => !compiled.workspace.unprotect.is_empty(),
        When::NamedHome => compiled.name.is_some(),
        When::KeptLogin => crate::home::keeps_login(compiled),
        When::VariablesPassed => compiled.pass.iter().any(|rule| !in_default_profile(&rule.source)),
        When::NetworkAllowed => network && compiled.permits().next().is_some(),
        When::WildcardAllowed => {
            network && compiled.permits().any(|rule| wildcard(&rule.destination.target))
        }
        When::HostLoopback => network && compiled.reaches_host_loopback(),
        When::Published => !boundary.network.publish.is_empty(),
        When::UpstreamProxy => network && proxied(),
        // Known only once the sandbox stands; the control list of the ledger's second record says
        // how the network is captured, so the row is named where it could hold.
        When::CaptureByPort => false,
        When::Terminal => crate::stdio::interactive(),
        When::ExecBase => boundary.exec == ExecMode::Base,
        When::Debug => boundary.debug,
        When::MemoryWatched => boundary.limits.memory.is_some() && !memory_enforced,
        When::LandlockBelow(abi) => ringfence_sys::landlock_rules::kernel_abi() < abi,
        When::TierLandlock => boundary.tier == Tier::Landlock,
        When::Root => boundary.identity.owner.is_some(),
    }
}

fn proxied() -> bool {
    ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn in_default_profile(source: &ringfence_model::provenance::Source) -> bool {
    let default = format!("profile {}", ringfence_policy::DEFAULT_PROFILE);
    source.file.as_deref() == Some(std::path::Path::new(&default))
}
