//! Review workspaces: what an agent changed, shown, applied to the project, or thrown away.
//!
//! The upper layer of the overlay is hostile input: every name, type, link and mode in it was chosen
//! by the agent. Everything is reached beneath held directories with `openat2`, no symbolic link is
//! ever followed, nothing but regular files is opened for reading, and no path is resolved twice.
//! Nothing here writes to the lower of a mounted overlay's upper layer: the caller says whether it
//! is mounted, and it is only ever read then.
#![forbid(unsafe_code)]

mod alias;
pub mod apply;
mod beneath;
pub mod change;
mod classify;
mod compare;
pub mod diff;
mod error;
mod host_executed;
pub mod journal;
mod land;
pub mod layer;
pub mod limits;
mod mark;
mod prune;
pub mod remove;
pub mod usage;
mod walk;

pub use apply::{ApplyOptions, Report, Selection};
pub use change::{Change, Class, Kind, Node};
pub use diff::{Style, render, stat};
pub use error::WorkspaceError;
pub use layer::Layer;
pub use remove::{discard, move_tree, remove_tree};
pub use usage::{Usage, usage};
