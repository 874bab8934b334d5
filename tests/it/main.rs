//! The one integration binary: the house rules, the command line, and the whole agent against real servers.
//!
//! `SENTINEL_STACK=1` (set by `tests/run`) switches the tests against real servers on; `SENTINEL_BIN` is the binary they
//! run; `SENTINEL_DATA` the folder of recordings. What is not set is said, not passed over in silence.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says what it saw"
)]

mod cli;
mod commands;
mod faults;
mod fuzz;
mod generate;
mod house;
mod letters;
mod live;
mod reload;
mod replay;
