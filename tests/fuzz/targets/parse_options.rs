//! Fuzzes patterns and layouts of `parse`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_fuzz::lines::parse_options(data));
