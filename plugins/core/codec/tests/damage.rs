//! Damaged, missing and invented data: no panic, and every frame concerned says so.
#![allow(clippy::unwrap_used)]

use gstneural_codec::{
    CodecError, Config, Decoder, Encoder, Format, Picture,
    bitstream::{Chroma, HEADER_BYTES},
};

fn clip(format: Format, frames: usize) -> Vec<Picture> {
    let mut rng = fastrand::Rng::with_seed(11);
    (0..frames)
        .map(|t| {
            let mut picture = Picture::grey(format);
            for plane in &mut picture.planes {
                for i in 0..plane.samples.len() {
                    let (x, y) = (i % plane.width + t, i / plane.width);
                    plane.samples[i] = ((x * x / 9 + y * 3) % 150) as u16 + rng.u16(0..4);
                }
            }
            picture
        })
        .collect()
}

/// `codec_data` and the units of a clip, and its frames.
fn stream(
    format: Format,
    frames: usize,
    interval: u32,
    crc: bool,
) -> (Vec<u8>, Vec<Vec<u8>>, Vec<Picture>) {
    let config = Config {
        keyframe_interval: interval,
        picture_crc: crc,
        ..Config::new(format)
    };
    let mut encoder = Encoder::new(config).unwrap();
    let pictures = clip(format, frames);
    let units = pictures
        .iter()
        .map(|p| encoder.encode(p).unwrap())
        .collect();
    (encoder.codec_data(), units, pictures)
}

const SMALL: Format = Format {
    width: 24,
    height: 20,
    chroma: Chroma::C420,
    depth: 8,
};
const TALL: Format = Format {
    width: 48,
    height: 256,
    chroma: Chroma::C420,
    depth: 8,
};

#[test]
fn no_flip_of_a_small_stream_passes_unnoticed() {
    let (head, units, pictures) = stream(SMALL, 2, 64, false);
    for bit in 0..8 * head.len() {
        let mut bad = head.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Decoder::new(&bad).is_err(), "codec_data, bit {bit}");
    }
    for (hit, unit) in units.iter().enumerate() {
        for bit in 0..8 * unit.len() {
            let mut bad = unit.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut decoder = Decoder::new(&head).unwrap();
            for (i, unit) in units.iter().enumerate() {
                match decoder.decode(if i == hit { &bad } else { unit }) {
                    Ok(frame) if i >= hit => assert!(frame.corrupt, "unit {hit}, bit {bit}"),
                    Ok(frame) => assert!(frame.picture == pictures[i]),
                    Err(e) => assert!(i >= hit, "{e}"),
                }
            }
        }
    }
}

#[test]
fn every_truncation_is_an_error_or_flagged() {
    let (head, units, _) = stream(SMALL, 2, 64, false);
    for end in 0..head.len() {
        assert!(Decoder::new(&head[..end]).is_err());
    }
    for end in 0..units[1].len() {
        let mut decoder = Decoder::new(&head).unwrap();
        decoder.decode(&units[0]).unwrap();
        assert!(
            decoder.decode(&units[1][..end]).is_ok_and(|f| f.corrupt) || end < 50,
            "{end}"
        );
    }
}

#[test]
fn damage_stays_in_its_slice_and_a_keyframe_heals_it() {
    let (head, mut units, pictures) = stream(TALL, 6, 4, false);
    // The last slice of the first predicted frame.
    let last = units[1].len() - 1;
    units[1][last] ^= 1;
    let mut decoder = Decoder::new(&head).unwrap();
    for (i, (unit, picture)) in units.iter().zip(&pictures).enumerate() {
        let frame = decoder.decode(unit).unwrap();
        let same = |rows: std::ops::Range<usize>| {
            rows.clone()
                .all(|y| frame.picture.planes[0].row(y) == picture.planes[0].row(y))
        };
        match i {
            0 | 4 | 5 => assert!(!frame.corrupt && frame.picture == *picture, "frame {i}"),
            1 => {
                assert_eq!(frame.damaged_slices, [3]);
                assert!(frame.corrupt && same(0..192));
                // The frame before stands in.
                let before = &pictures[0].planes[0];
                assert!((192..256).all(|y| frame.picture.planes[0].row(y) == before.row(y)));
            }
            _ => {
                assert!(frame.corrupt && frame.damaged_slices.contains(&3));
                // Slices that are not called damaged are right, and the first never looks there.
                let good: Vec<usize> = (0..4)
                    .filter(|s| !frame.damaged_slices.contains(s))
                    .collect();
                assert!(good.contains(&0), "frame {i}: {good:?}");
                assert!(
                    good.iter().all(|s| same(64 * s..64 * s + 64)),
                    "frame {i}: {good:?}"
                );
            }
        }
    }
}

#[test]
fn frames_lost_or_out_of_order_are_flagged_until_the_next_keyframe() {
    let (head, units, pictures) = stream(TALL, 10, 5, false);
    for order in [
        vec![0, 1, 3, 4, 5, 6],
        vec![0, 2, 1, 3, 5, 6],
        vec![0, 1, 1, 2, 7, 5, 6, 7],
    ] {
        let mut decoder = Decoder::new(&head).unwrap();
        let mut wrong = 0;
        for &i in &order {
            let frame = decoder.decode(&units[i]).unwrap();
            assert_eq!(frame.number as usize, i);
            assert!(
                frame.corrupt || frame.picture == pictures[i],
                "{order:?}: frame {i}"
            );
            wrong += usize::from(frame.corrupt);
            if i == 5 {
                assert!(!frame.corrupt);
            }
        }
        assert!(wrong > 0 && wrong < order.len() - 2, "{order:?}: {wrong}");
    }
}

#[test]
fn decoding_starts_at_keyframes_only_and_gives_the_same_from_each() {
    let (head, units, pictures) = stream(SMALL, 9, 3, true);
    for start in 0..9 {
        let mut decoder = Decoder::new(&head).unwrap();
        for i in start..9 {
            match decoder.decode(&units[i]) {
                Ok(frame) => assert!(!frame.corrupt && frame.picture == pictures[i]),
                Err(e) => {
                    assert_eq!(e, CodecError::NoKeyframe);
                    assert!(i % 3 != 0 && i < start + 2);
                }
            }
        }
    }
    let mut decoder = Decoder::new(&head).unwrap();
    decoder.decode(&units[0]).unwrap();
    decoder.flush();
    assert_eq!(decoder.decode(&units[1]), Err(CodecError::NoKeyframe));
}

#[test]
fn streams_of_others_are_refused_by_name() {
    let (head, ..) = stream(SMALL, 1, 1, false);
    let sealed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = head[..HEADER_BYTES - 4].to_vec();
        change(&mut bytes);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        Decoder::new(&bytes).map(|_| ()).unwrap_err()
    };
    assert!(matches!(
        sealed(&|b| b[4] = 9),
        CodecError::Version { found: 9, known: 1 }
    ));
    assert!(matches!(sealed(&|b| b[30] ^= 1), CodecError::Model { .. }));
    assert!(matches!(sealed(&|b| b[5] = 1), CodecError::Model { .. }));
    assert!(matches!(sealed(&|b| b[5] = 3), CodecError::Model { .. }));
    assert_eq!(sealed(&|b| b[5] = 4), CodecError::Profile("hybrid"));
}

#[test]
fn a_frame_of_gigabytes_is_refused() {
    let (head, units, _) = stream(SMALL, 1, 1, false);
    let mut decoder = Decoder::new(&head).unwrap().max_samples(24 * 20 - 1);
    assert!(matches!(
        decoder.decode(&units[0]),
        Err(CodecError::Field { .. })
    ));
}

/// A million units, each with a few bytes changed; half of them with checksums made right again so
/// that the damage reaches the slices.
#[test]
fn a_million_mutations_do_no_harm() {
    let format = Format {
        width: 8,
        height: 8,
        ..SMALL
    };
    let (head, units, _) = stream(format, 2, 64, false);
    let mut key = Decoder::new(&head).unwrap();
    key.decode(&units[0]).unwrap();
    let workers = 2;
    let done: usize = std::thread::scope(|s| {
        let work = |seed: u64| {
            let units = &units;
            let head = &head;
            move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut decoder = Decoder::new(head).unwrap();
                let mut decoded = 0;
                for i in 0..1_000_000 / workers {
                    let mut unit = units[i % 2].clone();
                    let whole = rng.bool();
                    let from = if whole { 0 } else { 28 };
                    for _ in 0..rng.usize(1..4) {
                        let at = rng.usize(from..unit.len());
                        unit[at] = rng.u8(..);
                    }
                    if rng.u8(..) == 0 {
                        unit.truncate(rng.usize(from..unit.len()));
                    }
                    if !whole {
                        // Other references and another error, where the head allows it.
                        if i % 2 == 1 && rng.bool() {
                            unit[2] = rng.u8(0..64);
                            unit[9] = rng.u8(0..3);
                        }
                        let crc = crc32fast::hash(&unit[28..]).to_le_bytes();
                        let length = (unit.len() as u32 - 28).to_le_bytes();
                        unit[16..20].copy_from_slice(&length);
                        unit[20..24].copy_from_slice(&crc);
                        let crc = crc32fast::hash(&unit[..24]).to_le_bytes();
                        unit[24..28].copy_from_slice(&crc);
                    }
                    if i % 2 == 1 {
                        // A whole reference, or the slices would not be looked into.
                        decoder.decode(&units[0]).unwrap();
                    }
                    decoded += usize::from(decoder.decode(&unit).is_ok());
                }
                decoded
            }
        };
        let threads: Vec<_> = (0..workers as u64).map(|i| s.spawn(work(i))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    // The mutations reach the slices: about half of the units have a head that is right.
    assert!(done > 400_000, "{done}");
}
