//! Programs that a person starts beside the agent, while it runs: `ringfence exec` and `shell`.
//!
//! Init forks them, so they are behind everything that the agent is behind, and take the same last
//! steps. Orders come from the supervisor alone, on a socket that no other process inside has. What
//! the steps need of the file system was opened before the agent's first instruction, so that it
//! cannot have been changed since.

use std::os::fd::{AsFd, OwnedFd};

use ringfence_sys::fdpass;
use ringfence_sys::process::{Namespaces, Side, fork_into};
use rustix::process::Pid;

use crate::agent::{self, Start, say};
use crate::init::open_terminal;
use crate::launch::{Launch, Stdio};
use crate::message::{FromInside, Order, Passed};
use crate::step::{During, StepError};

/// The line of orders, and what was started by them.
pub struct Beside {
    /// Orders come here.
    pub orders: OwnedFd,
    running: Vec<(Pid, OwnedFd)>,
}

impl Beside {
    /// Nothing was started yet.
    pub fn new(orders: OwnedFd) -> Self {
        Self { orders, running: Vec::new() }
    }

    /// Takes one order.
    pub fn serve(&mut self, launch: &Launch<'_>, places: &[OwnedFd]) {
        let Ok((bytes, descriptors)) = fdpass::try_receive(self.orders.as_fd()) else { return };
        let mut descriptors = descriptors.into_iter();
        // Without a line of its own nobody would hear what becomes of it.
        let Some(line) = descriptors.next() else { return };
        match start(launch, places, &bytes, descriptors, &line) {
            Ok(pid) => self.running.push((pid, line)),
            Err(error) => say(&line, &FromInside::Failed { error }, &[]),
        }
    }

    /// A child is dead: tells who waits for it, if anybody does.
    pub fn ended(&mut self, pid: Pid, code: i32) {
        if let Some(index) = self.running.iter().position(|(running, _)| *running == pid) {
            let (_, line) = self.running.swap_remove(index);
            say(&line, &FromInside::Exited { code }, &[]);
        }
    }
}

fn start(
    launch: &Launch<'_>,
    places: &[OwnedFd],
    order: &[u8],
    descriptors: impl Iterator<Item = OwnedFd>,
    line: &OwnedFd,
) -> Result<Pid, StepError> {
    let order: Order = serde_json::from_slice(order)
        .map_err(|error| StepError::refused("understand", "an order", error.to_string()))?;
    let stdio = streams(&order, descriptors)?;
    let terminal = if stdio.iter().any(|stdio| matches!(stdio, Stdio::Terminal)) {
        Some(open_terminal().during("open", "a terminal")?)
    } else {
        None
    };
    let (master, slave) = terminal.unzip();
    match fork_into(Namespaces::NONE).during("start", "a program beside the agent")? {
        Side::Child => {
            drop(master);
            let start = Start {
                launch,
                places,
                argv: &order.argv,
                cwd: &order.cwd,
                term: order.term.as_deref(),
                stdio: &stdio,
                beside: true,
            };
            agent::main(&start, slave, line)
        }
        Side::Parent { pid, pidfd } => {
            let message = FromInside::Started { terminal: master.is_some() };
            let mut descriptors = vec![pidfd.as_fd()];
            descriptors.extend(master.iter().map(AsFd::as_fd));
            say(line, &message, &descriptors);
            // What was passed is the program's alone from here on: its pipes end with it.
            Ok(pid)
        }
    }
}

fn streams(
    order: &Order,
    mut descriptors: impl Iterator<Item = OwnedFd>,
) -> Result<[Stdio; 3], StepError> {
    let mut stream = |passed: Passed| -> Result<Stdio, StepError> {
        Ok(match passed {
            Passed::Terminal => Stdio::Terminal,
            Passed::Null => Stdio::Null,
            Passed::Pipe => Stdio::Pass(descriptors.next().ok_or_else(|| {
                StepError::refused("understand", "an order", "a descriptor is missing")
            })?),
        })
    };
    let [input, output, errors] = order.stdio;
    Ok([stream(input)?, stream(output)?, stream(errors)?])
}
