//! Model files that may be anything, with a right checksum: without it nothing else is looked at.
#![no_main]

use gstneural_codec::nets::Model;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Model::parse(data);
    // The first byte says where the encoder's section begins, in 255ths of all bytes.
    let Some((&at, sections)) = data.split_first() else { return };
    let (decoder, encoder) = sections.split_at(sections.len() * usize::from(at) / 255);
    let mut file = b"GNM1".to_vec();
    file.extend((decoder.len() as u32).to_le_bytes());
    file.extend((encoder.len() as u32).to_le_bytes());
    file.extend(sections);
    file.extend(crc32fast::hash(&file).to_le_bytes());
    let _ = Model::parse(&file);
});
