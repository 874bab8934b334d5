//! Fuzzes what VictoriaMetrics exports.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_transport::fuzz::export_line(data));
