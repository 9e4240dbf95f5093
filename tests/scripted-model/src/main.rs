//! Command line of the scripted model: starts the server, prints its port on one line, and serves
//! until it is killed or, with `--until-stdin-ends`, until its standard input ends.
//!
//! It decides nothing; all behaviour is in the library.
#![forbid(unsafe_code)]

use ringfence_scripted_model::{Script, ScriptError, Server, ServerError};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: ringfence-scripted-model --script FILE [--transcript FILE] [--port N]
                                [--set NAME=VALUE]... [--until-stdin-ends]

  --script FILE        the turns, JSON
  --transcript FILE    append every request here, one JSON line each
  --port N             port on 127.0.0.1; 0, the default, takes a free one
  --set NAME=VALUE     value of {{NAME}} in the script
  --until-stdin-ends   stop when standard input ends (the parent is gone)
";

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{0}\n{USAGE}")]
    Usage(String),
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("cannot use standard input or output: {0}")]
    Io(#[from] io::Error),
}

#[derive(Debug, Default)]
struct Arguments {
    script: Option<PathBuf>,
    transcript: Option<PathBuf>,
    port: u16,
    variables: BTreeMap<String, String>,
    until_stdin_ends: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        while let Some(word) = words.next() {
            let mut value = || {
                let missing = || CommandError::Usage(format!("{word} needs a value"));
                words.next().ok_or_else(missing)
            };
            match word.as_str() {
                "--script" => parsed.script = Some(value()?.into()),
                "--transcript" => parsed.transcript = Some(value()?.into()),
                "--port" => {
                    let port = value()?;
                    let bad = |_| CommandError::Usage(format!("{port} is not a port"));
                    parsed.port = port.parse().map_err(bad)?;
                }
                "--set" => {
                    let pair = value()?;
                    let (name, text) = pair.split_once('=').ok_or_else(|| {
                        CommandError::Usage(format!("{pair} is not of the form NAME=VALUE"))
                    })?;
                    parsed.variables.insert(name.to_owned(), text.to_owned());
                }
                "--until-stdin-ends" => parsed.until_stdin_ends = true,
                _ => return Err(CommandError::Usage(format!("unknown argument {word}"))),
            }
        }
        Ok(parsed)
    }
}

fn run() -> Result<(), CommandError> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let Some(path) = &arguments.script else {
        return Err(CommandError::Usage("--script is missing".to_owned()));
    };
    let script = Script::load(path, &arguments.variables)?;
    let server = Server::start(script, arguments.transcript.as_deref(), arguments.port)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", server.address().port())?;
    stdout.flush()?;
    if arguments.until_stdin_ends {
        io::copy(&mut io::stdin(), &mut io::sink())?;
        return Ok(());
    }
    loop {
        std::thread::park();
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "ringfence-scripted-model: {error}");
            ExitCode::FAILURE
        }
    }
}
