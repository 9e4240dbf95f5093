//! `ringfence`: arguments in, text out. Everything that decides lives elsewhere.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod commands;
mod person;
mod text;

use std::process::ExitCode;

use clap::Parser;

use args::{AuditCommand, Cli, Command, PolicyCommand};
use text::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("ringfence: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Run(args) => commands::run::run(args),
        Command::Exec(args) => commands::exec::exec(args),
        Command::Shell(args) => commands::exec::shell(&args),
        Command::Attach(args) => commands::attach::attach(&args),
        Command::Wait(args) => commands::attach::wait(&args),
        Command::Init(args) => commands::init::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Demo(args) => commands::demo::run(&args),
        Command::Ps(args) => commands::ps::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Logs(args) => commands::logs::run(&args),
        Command::Why(args) => commands::why::run(&args),
        Command::Allow(args) => commands::allow::run(args),
        Command::Kill(args) => commands::kill::run(&args),
        Command::Diff(args) => commands::changes::diff(&args),
        Command::Apply(args) => commands::changes::apply(&args),
        Command::Discard(args) => commands::changes::discard(&args),
        Command::Checkpoint(args) => commands::moments::checkpoint(&args),
        Command::Restore(args) => commands::moments::restore(&args),
        Command::Rm(args) => commands::removal::rm(&args),
        Command::Prune(args) => commands::removal::prune(&args),
        Command::Policy(PolicyCommand::Check(args)) => commands::policy::check(args.policy),
        Command::Policy(PolicyCommand::Show(args)) => commands::policy::show(args),
        Command::Policy(PolicyCommand::Schema) => commands::policy::schema(),
        Command::Trust(args) => commands::trust::run(&args),
        Command::Logout(args) => commands::logout::run(&args),
        Command::Audit(AuditCommand::Verify(args)) => commands::audit::verify(&args),
        Command::Wrap(args) => commands::wrap::wrap(&args),
        Command::Unwrap(args) => commands::wrap::unwrap(&args),
        Command::Completions { shell } => commands::completions::run(shell),
    }
}
