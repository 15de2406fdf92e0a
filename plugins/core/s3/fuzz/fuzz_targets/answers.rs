//! Answers of a server that may say anything, to whoever reads, writes, resumes and deletes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gstneural_s3_fuzz::run(data));
