//! A stream of a few access units: `codec_data` (64 bytes), then each unit behind its length (u16).
//! Checksums are put right first, so that the fuzzer gets past them. The profile in `codec_data` says
//! whether the lossless decoder gets it or that of small networks, with and without codebooks.
#![no_main]

use std::sync::{Arc, LazyLock};

use gstneural_codec::{
    Decoder,
    bitstream::HEADER_BYTES,
    nets::{Model, Sizes},
};
use libfuzzer_sys::fuzz_target;

/// Makes the checksums of a unit right, as far as it has them.
fn seal(unit: &mut [u8]) {
    let Some(count) = unit.get(10..12).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]]))) else {
        return;
    };
    let head = 16 + 8 * count;
    let mut at = head + 4;
    for i in 0..count {
        let Some(&[a, b, c, d]) = unit.get(16 + 8 * i..20 + 8 * i) else { return };
        let end = at.saturating_add(u32::from_le_bytes([a, b, c, d]) as usize);
        let Some(crc) = unit.get(at..end).map(|s| crc(s).to_le_bytes()) else { break };
        unit[20 + 8 * i..24 + 8 * i].copy_from_slice(&crc);
        at = end;
    }
    if let Some(bytes) = unit.get(..head) {
        let sum = crc(bytes).to_le_bytes();
        if let Some(place) = unit.get_mut(head..head + 4) {
            place.copy_from_slice(&sum);
        }
    }
}

/// CRC-32 as zlib has it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| c >> 1 ^ if c & 1 == 1 { 0xedb88320 } else { 0 })
    })
}

/// Networks and codebooks of invented weights, as small as they can be.
static NETWORKS: LazyLock<Arc<Model>> = LazyLock::new(|| {
    let sizes = Sizes {
        groups: &[4, 4],
        hidden: 4,
        features: 4,
        expanded: 4,
        blocks: 1,
        encoder_blocks: None,
        inter: true,
    };
    Arc::new(Model::synthetic_vq(1, sizes).expect("the sizes are those of layers").0)
});

fuzz_target!(|data: &[u8]| {
    let Some((head, mut rest)) = data.split_at_checked(HEADER_BYTES) else { return };
    let mut head = head.to_vec();
    let lossless = head[5] == 2;
    let model = if lossless { gstneural_codec::lossless::MODEL } else { *NETWORKS.hash() };
    head[28..60].copy_from_slice(&model);
    let sum = crc(&head[..HEADER_BYTES - 4]).to_le_bytes();
    head[HEADER_BYTES - 4..].copy_from_slice(&sum);
    let Ok(decoder) = Decoder::with_models(&head, |_| Some(NETWORKS.clone())) else { return };
    let mut decoder = decoder.max_samples(1 << 14);
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(tail.len());
        let (unit, tail) = tail.split_at(length);
        let mut unit = unit.to_vec();
        seal(&mut unit);
        let _ = decoder.decode(&unit);
        rest = tail;
    }
});
