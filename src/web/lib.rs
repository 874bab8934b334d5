//! The local page, its JSON, /metrics and health.
