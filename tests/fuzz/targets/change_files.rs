//! Fuzzes files that tell of changes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_inputs::changes::fuzz::change_files(data));
