#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lectern_fuzz::to_child(bytes));
