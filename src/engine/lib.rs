//! Configuration, lanes, queues, retries, telemetry and shutdown. Names no plugin.
//!
//! In the order of the data: [`config`] makes a plan; [`pipeline`] wires it; an input ([`gather`], [`service`]) feeds
//! its [`lane`]; the [`router`] freezes and fans out to a [`queue`] an [`output`] and to each [`observer`]. [`replay`]
//! drives the same plan by hand.

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
