//! A compiled policy as rows for a table: every value with the place it was written.

use ringfence_policy::{Compiled, Ends, LimitKind};

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which value.
    pub what: String,
    /// The value, in words.
    pub value: String,
    /// Where it comes from.
    pub source: String,
}

fn row(what: &str, value: impl Into<String>, source: &ringfence_model::provenance::Source) -> Row {
    Row { what: what.to_owned(), value: value.into(), source: source.to_string() }
}

fn ends(ends: Ends) -> String {
    let mut text = String::new();
    if let Some(ms) = ends.for_ms {
        text.push_str(&format!(", ends {} s after the start", ms / 1000));
    }
    if let Some(at) = ends.at_unix {
        text.push_str(&format!(", ends at unix {at}"));
    }
    text
}

/// All rows.
#[must_use]
pub fn policy_table(policy: &Compiled) -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(policy.name.iter().map(|name| row("name", name.value.to_string(), &name.source)));
    rows.extend(policy.profile.iter().map(|p| row("profile", p.value.clone(), &p.source)));
    if let Some(mode) = &policy.workspace.mode {
        rows.push(row("workspace", format!("{:?}", mode.value).to_lowercase(), &mode.source));
    }
    rows.extend(
        policy.workspace.unprotect.iter().map(|p| row("unprotect", p.value.clone(), &p.source)),
    );
    for rule in &policy.files {
        let access = format!("{:?}", rule.access).to_lowercase();
        rows.push(row(
            &access,
            format!("{}{}", rule.path.display(), ends(rule.ends)),
            &rule.source,
        ));
    }
    rows.extend(policy.denies.iter().map(|d| row("hide", d.pattern.to_string(), &d.source)));
    for rule in &policy.network {
        let what = match rule.effect {
            ringfence_policy::Effect::Permit => "allow",
            ringfence_policy::Effect::Forbid => "deny",
        };
        let mut value = rule.destination.to_string();
        for range in &rule.addresses {
            value.push_str(&format!(" at {range}"));
        }
        let value = value + &ends(rule.ends);
        rows.push(Row { what: what.to_owned(), value, source: rule.origin() });
    }
    for rule in &policy.publish {
        let value = format!("{} on the host's port {}", rule.ports.inside, rule.ports.host);
        rows.push(row("publish", value, &rule.source));
    }
    rows.extend(policy.resolver.iter().map(|r| row("resolver", r.value.to_string(), &r.source)));
    rows.extend(policy.pass.iter().map(|rule| row("pass", rule.name.clone(), &rule.source)));
    rows.extend(policy.set.iter().map(|(name, value)| row("set", name.clone(), &value.source)));
    rows.push(row("exec", format!("{:?}", policy.exec.value).to_lowercase(), &policy.exec.source));
    rows.push(row("tier", policy.tier.value.word().to_owned(), &policy.tier.source));
    rows.push(row("debug", policy.debug.value.to_string(), &policy.debug.source));
    for kind in LimitKind::ALL {
        if let Some(limit) = policy.limits.get(&kind)
            && let Some(value) = limit.value
        {
            rows.push(row(&format!("limit {}", kind.key()), value.to_string(), &limit.source));
        }
    }
    let floor = &policy.floor;
    rows.push(row("require landlock", floor.landlock.value.to_string(), &floor.landlock.source));
    rows.push(row("require cgroup", floor.cgroup.value.to_string(), &floor.cgroup.source));
    rows
}
