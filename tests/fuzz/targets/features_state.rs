//! Fuzzes the saved state of `log_features`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_fuzz::saved::features_state(data));
