//! Fuzzes lines for Drain.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_fuzz::lines::drain(data));
