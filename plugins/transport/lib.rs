//! HTTP client with TLS, Kafka settings, payload formats, protobuf and compression, shared by both directions. Knows no plugin.

pub mod compress;

pub mod export;

pub mod formats;

pub mod http;

pub mod identity;

pub mod kafka;

pub mod protobuf;

pub mod status;

pub mod tls;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod fake;

#[cfg(test)]
mod tests;

pub use compress::Body;
pub use http::{Auth, Client, HttpOptions, Reply, Stream};
pub use identity::ByIdentity;
pub use status::{Action, Answer};
pub use tls::{Tls, Verify};
