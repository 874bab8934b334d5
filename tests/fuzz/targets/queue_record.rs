//! Fuzzes a queue's record.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_engine::fuzz::queue_record(data));
