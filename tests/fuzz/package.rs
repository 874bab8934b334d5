//! The library of the fuzz package: the targets that `tests/it` includes too, and one that needs a file of the binary.

#[path = "lib.rs"]
mod shared;

pub mod table;

pub use shared::{lines, saved, text};
