//! The agent with a real Kafka broker: in, out, and both behind each other.

pub(crate) mod broker;

mod consume;
mod examples;
mod generate;
mod moving;
mod produce;
mod refused;
