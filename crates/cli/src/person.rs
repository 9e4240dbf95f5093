//! The person in front of the terminal: asked and told on standard error.

use std::io::{self, Write};
use std::path::Path;

use ringfence_supervisor::run::Person;
use ringfence_supervisor::run::Widening;

/// Asks on the terminal.
pub struct Terminal;

impl Person for Terminal {
    fn accept(&mut self, definition: &Path, widens: &[Widening]) -> bool {
        eprintln!("{} opens more than the defaults:", definition.display());
        for widening in widens {
            eprintln!("  {} ({})", widening.words, widening.source);
        }
        yes("Accept it as it is now?")
    }

    fn bring(&mut self, words: &str) -> bool {
        eprintln!("{words}");
        yes("May the agent have it inside? It is asked again only when it changes.")
    }

    fn note(&mut self, line: &str) {
        eprintln!("note: {line}");
    }
}

/// Asks for a plain yes; everything else is a no.
pub fn yes(question: &str) -> bool {
    eprint!("{question} [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok()
        && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
