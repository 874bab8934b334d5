//! The whole agent against real servers, as `tests/run` starts them.

pub(crate) mod disorder;
pub(crate) mod load;
pub(crate) mod stack;
pub(crate) mod tap;

mod backfill;
mod bad_input;
mod delivery;
mod detection;
mod first_look;
pub(crate) mod kafka;
mod page;
mod replay;
mod telegraf;
mod traffic;
