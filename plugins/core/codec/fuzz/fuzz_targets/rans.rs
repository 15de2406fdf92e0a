//! Tables and coded bytes that may be anything.
#![no_main]

use gstneural_codec::rans::{Decoder, ReadSymbols, TableSet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = TableSet::parse(data);
    let Ok(mut decoder) = Decoder::new(data) else { return };
    let tables = TableSet::laplace();
    for i in 0..256usize {
        decoder.get_signed(tables, tables.decode_table(i as u8));
    }
    let _ = decoder.finish();
});
