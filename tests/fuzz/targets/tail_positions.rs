//! Fuzzes the log of tail's positions.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_inputs::tail::fuzz::tail_positions(data));
