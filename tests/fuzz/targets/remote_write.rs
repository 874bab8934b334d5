//! Fuzzes remote write requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_transport::formats::fuzz::remote_write(data));
