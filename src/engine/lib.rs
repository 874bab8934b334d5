//! Configuration, lanes, queues, retries, telemetry and shutdown. Names no plugin.
//!
//! In the order of the data: [`config`] makes a plan; [`pipeline`] starts it, and exchanges it at a reload; an input
//! ([`gather`], [`service`]) feeds its [`lane`]; the [`router`] freezes and fans out to a [`queue`] (with its part on
//! [`disk`]) an [`output`] and to each [`observer`]; what a backend refuses goes to the [`dead_letters`]. [`replay`] drives the
//! same plan by hand. README.md here says what survives what.

pub mod config;

pub mod pipeline;

pub mod replay;

pub mod gather;

mod service;

mod lane;

mod limit;

mod router;

mod filter;

mod disk;

mod queue;

mod output;

mod backoff;

pub mod dead_letters;

mod observer;

mod partitions;

pub mod commands;

pub mod control;

pub mod pressure;

pub mod burst;

mod panic;

pub mod telemetry;

pub mod clock;

pub mod log;

pub use observer::observer_state;

#[doc(hidden)]
pub use disk::bench;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod tests;
