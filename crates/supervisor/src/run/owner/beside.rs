//! Programs that a person starts beside the agent, in the running sandbox: `exec` and `shell`.
//!
//! They are recorded before they are started, begin behind exactly what the agent is behind, and end
//! with the run. Nothing here waits for the person: who does not read holds up their program alone.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ringfence_control::{Answer, Follow, Size, Stream, Verb};
use ringfence_jail::{FromInside, Order, Passed};
use ringfence_model::event::Event;
use ringfence_sys::fdpass;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, pidfd_send_signal};

use super::Owner;
use super::inside::{exec_error, pid_of};
use crate::control_server::{Conversation, Question};
use crate::limits::{BESIDE_ARGUMENT_BYTES, BESIDE_LAST_MS, BESIDE_PROGRAMS};
use crate::stdio::{self, Pump};

/// One such program.
pub(super) struct Beside {
    argv: Vec<String>,
    by: String,
    /// What is told about it from inside.
    line: OwnedFd,
    /// Its person; none once they are gone.
    conversation: Option<Conversation>,
    process: Option<(OwnedFd, Pid)>,
    /// Whether its calls are heard.
    heard: bool,
    confined: bool,
    released: bool,
    /// The person's end of its terminal, until the master has come.
    client: Option<OwnedFd>,
    master: Option<OwnedFd>,
    size: Option<Size>,
    pumps: Vec<Pump>,
    code: Option<i32>,
    failed: Option<Answer>,
    /// When its last output is given up.
    until_ms: Option<u64>,
    over: bool,
    /// Init is gone, and the run with it.
    lost: bool,
}

impl Beside {
    /// What to wait for.
    pub(super) fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let line =
            (self.code.is_none() && !self.lost).then(|| PollFd::new(&self.line, PollFlags::IN));
        let conversation = self.conversation.as_ref().map(Conversation::interest);
        line.into_iter().chain(conversation).chain(self.pumps.iter().filter_map(Pump::interest))
    }

    /// When something must be done about it at the latest.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.until_ms
    }

    /// Passes a signal on to its whole process group, while it lives.
    fn signal(&self, signal: Signal) {
        let Some((process, pid)) = &self.process else { return };
        if self.code.is_none() && pidfd_send_signal(process, signal).is_ok() {
            let _ = rustix::process::kill_process_group(*pid, signal);
        }
    }

    /// The person's terminal or command is gone: as with any other terminal, the program is told.
    fn hang_up(&mut self) {
        self.conversation = None;
        self.signal(Signal::HUP);
        // The last descriptor of the master: the kernel tells the rest of the session.
        self.pumps.clear();
        self.client = None;
        self.master = None;
    }

    fn listen_to_the_person(&mut self) {
        let Some(conversation) = &mut self.conversation else { return };
        let Some(follows) = conversation.hear() else { return self.hang_up() };
        for follow in follows {
            match follow {
                Follow::Size { size } => {
                    self.size = Some(size);
                    if let Some(master) = &self.master {
                        stdio::set_size(master, size);
                    }
                }
                Follow::Signal { number } => {
                    if let Some(signal) = Signal::from_named_raw(number) {
                        self.signal(signal);
                    }
                }
            }
        }
    }

    fn connect(&mut self, master: OwnedFd) {
        if let Some(size) = self.size {
            stdio::set_size(&master, size);
        }
        if let Some(client) = self.client.take()
            && let Ok(pumps) = stdio::relay(&master, &client)
        {
            self.pumps = pumps;
        }
        self.master = Some(master);
    }

    /// Whether all that it has written has been passed on, or has had its time.
    fn is_drained(&self, elapsed_ms: u64) -> bool {
        self.until_ms.is_some_and(|until| elapsed_ms >= until)
            || self.pumps.iter().all(Pump::is_drained)
    }

    /// Tells the person how it ended: by itself, or with the run.
    fn say_end(&mut self) {
        let Some(conversation) = self.conversation.take() else { return };
        let answer = match (self.failed.take(), self.code) {
            (Some(failed), _) => failed,
            (None, Some(code)) => Answer::Ended { code, why: None },
            (None, None) => Answer::Ended {
                code: 137,
                why: Some("the run ended, and what was started in it with it".to_owned()),
            },
        };
        conversation.say(&answer);
    }
}

/// What is asked for, once it was found to be sound.
struct Wanted {
    order: Order,
    pipes: Vec<OwnedFd>,
    client: Option<OwnedFd>,
    size: Option<Size>,
}

impl Owner<'_> {
    pub(super) fn start_beside(&mut self, mut question: Question) {
        let by = format!("uid {}", question.uid);
        match self.wanted(&mut question).and_then(|wanted| self.order(&by, wanted)) {
            Ok(mut beside) => {
                beside.conversation = Some(question.stay());
                self.beside.push(beside);
            }
            Err(why) => question.answer(&Answer::Refused { why }),
        }
    }

    fn wanted(&self, question: &mut Question) -> Result<Wanted, String> {
        let Verb::Exec { argv, cwd, term, streams, size } = &question.verb else {
            return Err("nothing is to be started".to_owned());
        };
        if !self.progress.released {
            return Err("the run is still being started; try again".to_owned());
        }
        if let Some(why) = &self.closed {
            return Err(format!("nothing is started any more: {why}"));
        }
        if self.beside.len() >= BESIDE_PROGRAMS {
            return Err(format!("{BESIDE_PROGRAMS} programs were started in this run and go on"));
        }
        if argv.iter().map(|word| word.len() + 1).sum::<usize>() > BESIDE_ARGUMENT_BYTES {
            return Err(format!("the arguments have more than {BESIDE_ARGUMENT_BYTES} bytes"));
        }
        let mut descriptors = std::mem::take(&mut question.descriptors).into_iter();
        let mut missing = || descriptors.next().ok_or("a descriptor is missing".to_owned());
        let mut pipes = Vec::new();
        for _ in streams.iter().filter(|stream| **stream == Stream::Pipe) {
            let pipe = missing()?;
            // A file or a terminal could be opened anew inside; whoever asks must pump its bytes.
            if !stdio::is_pipe(&pipe) {
                return Err("only pipes are passed inside".to_owned());
            }
            pipes.push(pipe);
        }
        let client = match streams.contains(&Stream::Terminal) {
            true => Some(socket(missing()?)?),
            false => None,
        };
        let workspace = &self.boundary.workspace.root;
        let order = Order {
            argv: argv.clone(),
            cwd: inside(cwd.as_deref(), workspace).unwrap_or(&self.boundary.cwd).to_owned(),
            term: term.clone().filter(|term| is_terminal_name(term)),
            stdio: streams.map(|stream| match stream {
                Stream::Terminal => Passed::Terminal,
                Stream::Pipe => Passed::Pipe,
                Stream::Null => Passed::Null,
            }),
        };
        Ok(Wanted { order, pipes, client, size: *size })
    }

    /// Recorded first, then ordered.
    fn order(&mut self, by: &str, wanted: Wanted) -> Result<Beside, String> {
        let Wanted { order, pipes, client, size } = wanted;
        let argv =
            if order.argv.is_empty() { vec!["(shell)".to_owned()] } else { order.argv.clone() };
        let event = Event::Control {
            verb: "exec".to_owned(),
            by: by.to_owned(),
            argv: argv.clone(),
            code: None,
        };
        self.recorder
            .record(&event)
            .map_err(|error| format!("it cannot be recorded, so it is not started: {error}"))?;
        let failed = |error: std::io::Error| format!("it could not be started: {error}");
        let (line, inner) = fdpass::pair().map_err(failed)?;
        let bytes = serde_json::to_vec(&order).map_err(|error| failed(error.into()))?;
        let mut passed = vec![inner.as_fd()];
        passed.extend(pipes.iter().map(AsFd::as_fd));
        fdpass::try_send(self.sandbox.orders.as_fd(), &bytes, &passed).map_err(failed)?;
        Ok(Beside {
            argv,
            by: by.to_owned(),
            line,
            conversation: None,
            process: None,
            heard: false,
            confined: false,
            released: false,
            client,
            master: None,
            size,
            pumps: Vec::new(),
            code: None,
            failed: None,
            until_ms: None,
            over: false,
            lost: false,
        })
    }

    /// Everything that can be done about these programs now.
    pub(super) fn turn_beside(&mut self) {
        let elapsed = self.elapsed_ms();
        for mut beside in std::mem::take(&mut self.beside) {
            let mut moved = 0;
            for pump in &mut beside.pumps {
                let before = pump.moved;
                pump.turn();
                moved += pump.moved - before;
            }
            if moved > 0 {
                self.active();
            }
            beside.listen_to_the_person();
            while beside.code.is_none() && self.hear_beside(&mut beside) {}
            if beside.code.is_some() && beside.until_ms.is_none() {
                beside.until_ms = Some(elapsed + BESIDE_LAST_MS);
            }
            if beside.code.is_some() && beside.is_drained(elapsed) {
                self.note_removed(beside.pumps.iter().map(|pump| pump.removed).sum());
                beside.say_end();
                beside.over = true;
            }
            if !beside.over {
                self.beside.push(beside);
            }
        }
    }

    /// One packet from inside, if there is any.
    fn hear_beside(&mut self, beside: &mut Beside) -> bool {
        if beside.lost {
            return false;
        }
        let Ok((bytes, descriptors)) = fdpass::try_receive(beside.line.as_fd()) else {
            return false;
        };
        let mut descriptors = descriptors.into_iter();
        match serde_json::from_slice(&bytes) {
            Ok(FromInside::Started { .. }) => {
                if let Some(process) = descriptors.next()
                    && let Some(pid) = pid_of(&process)
                {
                    beside.process = Some((process, pid));
                }
                if let Some(master) = descriptors.next() {
                    beside.connect(master);
                }
                if beside.conversation.is_none() {
                    beside.hang_up();
                }
            }
            Ok(FromInside::Listening {}) => match self.listen_to(descriptors.next()) {
                Ok(()) => beside.heard = true,
                Err(error) => beside.fail(format!("its calls cannot be heard: {error}"), 125),
            },
            Ok(FromInside::Ready { probes, .. }) => {
                if beside.heard && probes.iter().all(|probe| probe.held) {
                    beside.confined = true;
                } else {
                    beside.fail("the boundary around it is not whole".to_owned(), 125);
                }
            }
            Ok(FromInside::ExecFailed { program, errno }) => {
                let error = exec_error(program, errno);
                // It ends by itself, with the code that is recorded then.
                let failed = Answer::Failed { why: error.to_string(), code: error.code() };
                beside.failed.get_or_insert(failed);
            }
            Ok(FromInside::Failed { error }) => {
                beside.fail(error.to_string(), 125);
                self.beside_ended(beside, 125);
            }
            Ok(FromInside::Exited { code }) => self.beside_ended(beside, code),
            _ => {
                beside.lost = true;
                return false;
            }
        }
        self.release_beside(beside);
        true
    }

    /// The word: when its process and its confinement are known.
    fn release_beside(&mut self, beside: &mut Beside) {
        if beside.released || !beside.confined || beside.process.is_none() {
            return;
        }
        if let Some(why) = &self.closed {
            beside.fail(format!("nothing is started any more: {why}"), 125);
        }
        if beside.failed.is_some() {
            // It failed before its process was known.
            return beside.signal(Signal::KILL);
        }
        beside.released = true;
        match fdpass::try_send(beside.line.as_fd(), b"go", &[]) {
            Ok(()) => {
                if let Some(conversation) = &beside.conversation {
                    conversation.say(&Answer::Started);
                }
            }
            Err(error) => beside.fail(error.to_string(), 125),
        }
        self.active();
    }

    fn beside_ended(&mut self, beside: &mut Beside, code: i32) {
        beside.code = Some(code);
        let event = Event::Control {
            verb: "exec-ended".to_owned(),
            by: beside.by.clone(),
            argv: beside.argv.clone(),
            code: Some(code),
        };
        if let Err(error) = self.recorder.record(&event) {
            self.shut(error.to_string());
        }
    }

    /// The run is over: what they wrote is passed on as far as it goes, and their people are told.
    pub(super) fn end_beside(&mut self) {
        for mut beside in std::mem::take(&mut self.beside) {
            while beside.code.is_none() && self.hear_beside(&mut beside) {}
            for pump in &mut beside.pumps {
                pump.finish_now();
            }
            self.note_removed(beside.pumps.iter().map(|pump| pump.removed).sum());
            beside.say_end();
            if beside.code.is_none() {
                self.beside_ended(&mut beside, 137);
            }
        }
    }
}

impl Beside {
    fn fail(&mut self, why: String, code: i32) {
        self.failed.get_or_insert(Answer::Failed { why, code });
        self.signal(Signal::KILL);
    }
}

/// Where the person stands, if that is a place of the workspace: it has the same path inside.
fn inside<'a>(cwd: Option<&'a Path>, workspace: &PathBuf) -> Option<&'a Path> {
    let plain = |path: &&Path| {
        path.components().all(|part| !matches!(part, std::path::Component::ParentDir))
    };
    cwd.filter(|cwd| cwd.is_absolute() && cwd.starts_with(workspace)).filter(plain)
}

/// What a terminal may be called (term(7)).
fn is_terminal_name(term: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte);
    (1..=64).contains(&term.len()) && term.bytes().all(plain)
}

/// A socket that never waits.
pub(super) fn socket(descriptor: OwnedFd) -> Result<OwnedFd, String> {
    if !stdio::is_socket(&descriptor) {
        return Err("the terminal is passed as a socket".to_owned());
    }
    stdio::nonblocking(&descriptor).map_err(|error| error.to_string())?;
    Ok(descriptor)
}
