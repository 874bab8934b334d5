//! Fuzzes lines for `log_features`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_fuzz::lines::count_requests(data));
