//! Configuration, lanes, queues, retries, telemetry, shutdown; names no plugin.
