//! Fuzzes a file of lines, and groups of them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_fuzz::lines::tail_lines(data));
