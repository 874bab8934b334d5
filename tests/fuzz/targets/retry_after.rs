//! Fuzzes the header `Retry-After`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_fuzz::text::retry_after_header(data));
