//! One file per verb.

pub mod allow;
pub mod attach;
pub mod audit;
pub mod changes;
pub mod completions;
pub mod demo;
pub mod doctor;
pub mod exec;
pub mod init;
pub mod inspect;
pub mod kill;
pub mod logout;
pub mod logs;
pub mod moments;
pub mod policy;
pub mod ps;
pub mod removal;
pub mod run;
pub mod trust;
pub mod why;
pub mod wrap;

use ringfence_supervisor::CommandLine;

use crate::args::PolicyArgs;

/// The policy part of a command line, as the policy takes it.
pub fn command_line(args: &PolicyArgs) -> CommandLine {
    CommandLine {
        profile: args.profile.clone(),
        program: None,
        rw: args.rw.clone(),
        ro: args.ro.clone(),
        hide: args.hide.clone(),
        allow: args.allow.clone(),
        deny: args.deny.clone(),
        env: args.env.clone(),
        limits: args.limit.clone(),
        name: args.name.clone(),
        publish: args.publish.clone(),
        mode: args.workspace.clone(),
        exec: args.exec.clone(),
        tier: args.tier.clone(),
        debug: args.debug,
        unprotect: args.unprotect.clone(),
        resolver: args.resolver.clone(),
    }
}
