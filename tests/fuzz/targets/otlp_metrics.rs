//! Fuzzes OTLP's metrics.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_transport::formats::fuzz::otlp_metrics(data));
