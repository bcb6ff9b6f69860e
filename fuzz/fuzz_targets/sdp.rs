#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| lectern_fuzz::sdp(text));
