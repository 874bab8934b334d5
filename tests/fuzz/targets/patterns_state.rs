//! Fuzzes the saved state of `log_patterns`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_fuzz::saved::patterns_state(data));
