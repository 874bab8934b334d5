//! Fuzzes an answer of netlink.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_inputs::system::fuzz::netlink(data));
