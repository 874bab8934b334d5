//! The whole agent against real servers, as `tests/run` starts them.

pub(crate) mod stack;

mod first_look;
