//! Fuzzes files of /proc and /sys.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_inputs::system::fuzz::kernel_files(data));
