//! A stream of a few access units: `codec_data` (64 bytes), then each unit behind its length (u16).
//! Checksums, lengths that are too long and the model's name are put right first, so that the fuzzer
//! gets past them. The profiles with networks take small ones with invented weights. A flag of the
//! first length (its highest bit) leaves layers out.
#![no_main]

use gstneural_codec::{Decoder, Layers, bitstream::HEADER_BYTES, lossless};
use gstneural_codec_fuzz::{MAX_SAMPLES, model};
use libfuzzer_sys::fuzz_target;

/// Makes the checksums of a unit right, as far as it has them, and a last slice that is too long as
/// long as there are bytes.
fn seal(unit: &mut [u8]) {
    let Some(&[flags, .., a, b]) = unit.get(3..12) else { return };
    let count = usize::from(u16::from_le_bytes([a, b]));
    let mut index: Vec<usize> = (0..count).map(|i| 16 + 8 * i).collect();
    let mut head = 16 + 8 * count;
    if flags & 2 != 0 {
        index.extend((0..count).map(|i| head + 8 + 8 * i));
        head += 8 + 8 * count;
    }
    let mut at = head + 4;
    for entry in index {
        let Some(&[a, b, c, d]) = unit.get(entry..entry + 4) else { return };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let rest = unit.len().saturating_sub(at);
        if length > rest {
            unit[entry..entry + 4].copy_from_slice(&(rest as u32).to_le_bytes());
        }
        let end = at + length.min(rest);
        let Some(crc) = unit.get(at..end).map(|s| crc32fast::hash(s).to_le_bytes()) else { break };
        let Some(place) = unit.get_mut(entry + 4..entry + 8) else { return };
        place.copy_from_slice(&crc);
        at = end;
    }
    if let Some(bytes) = unit.get(..head) {
        let sum = crc32fast::hash(bytes).to_le_bytes();
        if let Some(place) = unit.get_mut(head..head + 4) {
            place.copy_from_slice(&sum);
        }
    }
}

/// The varint at `at`, and where it ends.
fn varint(unit: &[u8], at: usize) -> Option<(usize, usize)> {
    let (mut value, mut end) = (0, at);
    for shift in (0..35).step_by(7) {
        let byte = *unit.get(end)?;
        value |= usize::from(byte & 127) << shift;
        end += 1;
        if byte < 128 {
            break;
        }
    }
    Some((value, end))
}

/// As [`seal`], of a compact unit.
fn seal_compact(unit: &mut [u8]) -> Option<()> {
    let (kind, flags) = (unit.get(1)? & 3, unit.get(1)? >> 2);
    let (_, mut at) = varint(unit, 3)?;
    at += usize::from(kind != 0) + usize::from(flags & 4 != 0);
    let (count, end) = varint(unit, at)?;
    at = end + if flags & 1 != 0 { 4 } else { 0 };
    let mut entries = count.min(1024);
    if flags & 2 != 0 {
        at += if unit.get(at + 1)? & 1 != 0 { 6 } else { 2 };
        entries *= 2;
    }
    // Where lengths and CRCs stand, and where the head ends.
    let mut index = Vec::new();
    for _ in 0..entries {
        let (length, end) = varint(unit, at)?;
        index.push((at..end, length));
        at = end + if length > 0 { 2 } else { 0 };
    }
    let head = at;
    at += 4;
    for (place, length) in index.into_iter().filter(|i| i.1 > 0) {
        let rest = unit.len().saturating_sub(at);
        if length > rest {
            // As many bytes as there were.
            for (i, to) in place.clone().enumerate() {
                let more = if i + 1 < place.len() { 128 } else { 0 };
                *unit.get_mut(to)? = (rest >> (7 * i) & 127) as u8 | more;
            }
        }
        let end = at + length.min(rest);
        let crc = crc32fast::hash(unit.get(at..end)?) as u16;
        if rest > 0 {
            unit.get_mut(place.end..place.end + 2)?.copy_from_slice(&crc.to_le_bytes());
        }
        at = end;
    }
    let sum = crc32fast::hash(unit.get(..head)?).to_le_bytes();
    unit.get_mut(head..head + 4)?.copy_from_slice(&sum);
    Some(())
}

fuzz_target!(|data: &[u8]| {
    let Some((head, mut rest)) = data.split_at_checked(HEADER_BYTES) else { return };
    let mut head = head.to_vec();
    let model = model();
    let name = if head[5] == 2 { &lossless::MODEL } else { model.hash() };
    head[28..60].copy_from_slice(name);
    let sum = crc32fast::hash(&head[..HEADER_BYTES - 4]).to_le_bytes();
    head[HEADER_BYTES - 4..].copy_from_slice(&sum);
    let Ok(decoder) = Decoder::with_models(&head, |_| Some(model.clone())) else { return };
    let base = rest.get(1).is_some_and(|b| b & 0x80 != 0);
    let layers = if base { Layers::Base } else { Layers::All };
    let mut decoder = decoder.max_samples(MAX_SAMPLES).layers(layers);
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length) & 0x7fff).min(tail.len());
        let (unit, tail) = tail.split_at(length);
        let mut unit = unit.to_vec();
        match unit.first() {
            Some(0xA6) => drop(seal_compact(&mut unit)),
            _ => seal(&mut unit),
        }
        let _ = decoder.decode(&unit);
        rest = tail;
    }
});
