//! Answers to denials: hints as they were printed, and an agent that asks again.

use std::path::PathBuf;

use ringfence_contained_tests::{Fixture, Outcome};

use super::world::{Gate, World, probing};

/// Runs a hint as it was printed.
pub fn paste(fixture: &Fixture, hint: &str) -> Outcome {
    let script = format!("ringfence() {{ \"$RF\" \"$@\"; }}; {hint}");
    fixture.job().env("RF", fixture.binary()).unprotected_sh(&script)
}

/// The hint behind a label.
pub fn hint<'o>(text: &'o str, label: &str) -> &'o str {
    let mut lines = text.lines().map(str::trim);
    let line = lines.find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no `{label}` in {text}")).trim()
}

/// A world whose user policy permits nothing and takes nothing back: an answer may be added to it.
pub fn world() -> World {
    let world = World::new(&[]);
    world.policy_text(&format!("[network]\nresolver = \"{}\"\n", world.dns.address()));
    world
}

/// The project's definition, which may not exist.
pub fn definition(world: &World) -> PathBuf {
    world.fixture.project().join("ringfence.toml")
}

/// One attempt to reach the server.
pub fn ask(label: &str, port: u16) -> String {
    probing(&[(label, format!("tcp host.ringfence {port}"))])
}

/// An agent that is turned away, and asks again when the gate is open.
pub fn asking(gate: &Gate, port: u16) -> String {
    let (first, second) = (ask("first", port), ask("second", port));
    format!("{first}echo asked\n{}\n{second}", gate.wait())
}
