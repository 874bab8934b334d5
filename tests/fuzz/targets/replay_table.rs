//! Fuzzes a table for `replay`, plain or gzip.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_fuzz::table::replay_table(data));
