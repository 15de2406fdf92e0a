//! Tables and coded bytes that may be anything.
#![no_main]

use gstneural_codec::{
    motion::motion_symbols,
    rans::{Decoder, ReadSymbols, SmallDecoder, TableSet},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = TableSet::parse(data);
    let _ = motion_symbols(data, data.len() as u8 & 31, [80, 64]);
    let mut small = SmallDecoder::new(data);
    for i in 0..256usize {
        small.get_signed(TableSet::laplace(), TableSet::laplace().decode_table(i as u8));
    }
    let _ = small.finish();
    let Ok(mut decoder) = Decoder::new(data) else { return };
    let tables = TableSet::laplace();
    for i in 0..256usize {
        decoder.get_signed(tables, tables.decode_table(i as u8));
    }
    let _ = decoder.finish();
});
