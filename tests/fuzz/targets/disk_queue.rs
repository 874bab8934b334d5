//! Fuzzes the files of a disk queue.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_engine::fuzz::disk_queue(data));
