//! Fuzzes the saved state of a detector.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_fuzz::saved::anomaly_state(data));
