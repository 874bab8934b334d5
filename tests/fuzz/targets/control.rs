//! Fuzzes a line of the control socket.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_fuzz::text::control(data));
