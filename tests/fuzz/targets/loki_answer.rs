//! Fuzzes what Loki says of a request.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_outputs::loki::fuzz::loki_answer(data));
