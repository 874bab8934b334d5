//! Fuzzes events as JSON.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_transport::formats::fuzz::json_event(data));
