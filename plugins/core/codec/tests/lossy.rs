//! The lossy profiles, with networks of invented weights: what decodes is what was encoded, however
//! it is run, and damage stays where it is.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::format;
use gstneural_codec::{
    CodecError, Config, Copying, Decoder, Encoder, Format, Lossy, Picture, Rate,
    bitstream::{AccessUnit, Chroma, FrameType},
    nets::{Model, Sizes},
};

const SIZES: Sizes = Sizes {
    groups: &[6, 10, 9],
    hidden: 8,
    features: 12,
    expanded: 20,
    blocks: 2,
    encoder_blocks: Some(1),
    inter: true,
};

fn model(seed: u64) -> Arc<Model> {
    Arc::new(Model::synthetic(seed, SIZES).unwrap().0)
}

/// The networks that are shipped.
fn shipped() -> Arc<Model> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../models/neural/small.gnm"
    );
    Arc::new(Model::parse(&std::fs::read(file).unwrap()).unwrap())
}

/// With and without codebooks: the profiles `inter` and `vq`, without and with copies.
fn profiles(seed: u64) -> [Lossy; 4] {
    let sizes = Sizes {
        groups: &[6, 10, 8],
        ..SIZES
    };
    let with_codebooks = Model::synthetic_vq(seed, sizes).unwrap().0;
    let inter = Lossy {
        copying: Copying::Never,
        ..Lossy::new(model(seed))
    };
    let vq = Lossy {
        vq: true,
        copying: Copying::Never,
        ..Lossy::new(Arc::new(with_codebooks))
    };
    let with_copies = |lossy: &Lossy| Lossy {
        copying: Copying::Pattern,
        ..lossy.clone()
    };
    let copied = [&inter, &vq].map(with_copies);
    let [inter_copies, vq_copies] = copied;
    [inter, vq, inter_copies, vq_copies]
}

/// The moving pattern with this file's noise.
fn clip(format: Format, frames: usize) -> Vec<Picture> {
    common::clip(format, frames, 3)
}

fn config(format: Format, lossy: Lossy) -> Config {
    Config {
        lossy: Some(lossy),
        keyframe_interval: 5,
        picture_crc: true,
        fps: (25, 1),
        ..Config::new(format)
    }
}

fn encode(config: &Config, pictures: &[Picture]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut encoder = Encoder::new(config.clone()).unwrap();
    let units = pictures.iter().map(|p| encoder.encode(p).unwrap());
    let units = units.collect();
    (encoder.codec_data(), units)
}

fn decoder(head: &[u8], model: &Arc<Model>) -> Decoder {
    Decoder::with_models(head, |_| Some(model.clone())).unwrap()
}

fn types(units: &[Vec<u8>]) -> Vec<FrameType> {
    let of = |u: &Vec<u8>| AccessUnit::parse(u).unwrap().info.frame_type;
    units.iter().map(of).collect()
}

#[test]
fn what_decodes_is_what_the_encoder_saw() {
    for plain in profiles(1) {
        let model = plain.model.clone();
        // The units carry a CRC of the encoder's reconstruction.
        for (width, height) in [(1, 1), (16, 16), (17, 95), (65, 96), (130, 97), (201, 260)] {
            let format = format(width, height);
            let pictures = clip(format, 7);
            for level in [0, 13, 31] {
                let lossy = Lossy {
                    rate: Rate::Quality(level),
                    scene_cuts: false,
                    ..plain.clone()
                };
                let (head, units) = encode(&config(format, lossy), &pictures);
                let mut d = decoder(&head, &model);
                for (i, unit) in units.iter().enumerate() {
                    let frame = d.decode(unit).unwrap();
                    assert!(
                        !frame.corrupt,
                        "vq {}: {format} quality {level} frame {i}",
                        plain.vq
                    );
                    assert_eq!(frame.keyframe, i % 5 == 0);
                    assert_eq!(frame.number, i as u32);
                }
            }
        }
    }
}

#[test]
fn threads_change_nothing() {
    for plain in profiles(2) {
        let model = plain.model.clone();
        let format = format(170, 333);
        let pictures = clip(format, 4);
        let mut known = None;
        for threads in [1, 2, 3, 7] {
            let config = Config {
                threads,
                ..config(format, plain.clone())
            };
            let (head, units) = encode(&config, &pictures);
            let mut d = decoder(&head, &model).threads(threads);
            let frames: Vec<_> = units.iter().map(|u| d.decode(u).unwrap().picture).collect();
            let found = (units, frames);
            assert!(
                *known.get_or_insert_with(|| found.clone()) == found,
                "{threads}"
            );
        }
    }
}

#[test]
fn decoding_starts_at_any_keyframe() {
    for plain in profiles(3) {
        let model = plain.model.clone();
        let format = format(70, 130);
        let (head, units) = encode(&config(format, plain.clone()), &clip(format, 12));
        let mut whole = decoder(&head, &model);
        let frames: Vec<_> = units
            .iter()
            .map(|u| whole.decode(u).unwrap().picture)
            .collect();
        for start in (0..units.len()).filter(|&i| types(&units)[i] == FrameType::Key) {
            let mut d = decoder(&head, &model);
            for i in start..units.len() {
                assert!(
                    d.decode(&units[i]).unwrap().picture == frames[i],
                    "{start}, {i}"
                );
            }
        }
        let mut d = decoder(&head, &model);
        assert_eq!(d.decode(&units[1]).unwrap_err(), CodecError::NoKeyframe);
    }
}

#[test]
fn every_second_frame_can_be_dropped() {
    let model = model(4);
    let format = format(64, 64);
    let lossy = Lossy {
        droppable: true,
        scene_cuts: false,
        copying: Copying::Never,
        ..Lossy::new(model.clone())
    };
    let (head, units) = encode(&config(format, lossy), &clip(format, 10));
    let types = types(&units);
    assert_eq!(types[1], FrameType::Droppable);
    assert_eq!(types[2], FrameType::Predicted);
    let mut d = decoder(&head, &model);
    let kept = units
        .iter()
        .zip(&types)
        .filter(|(_, t)| **t != FrameType::Droppable);
    for (unit, _) in kept {
        assert!(!d.decode(unit).unwrap().corrupt);
    }
}

#[test]
fn intra_frames_stand_alone() {
    let model = model(5);
    let format = format(64, 64);
    let lossy = Lossy {
        intra_only: true,
        copying: Copying::Never,
        ..Lossy::new(model.clone())
    };
    let (head, units) = encode(&config(format, lossy), &clip(format, 3));
    assert!(types(&units).iter().all(|t| *t == FrameType::Key));
    for unit in units.iter().rev() {
        assert!(!decoder(&head, &model).decode(unit).unwrap().corrupt);
    }
}

/// Rows of all planes that belong to slice `i`.
fn rows(picture: &Picture, i: usize) -> Vec<u16> {
    let part = picture.planes.iter().enumerate().flat_map(|(p, plane)| {
        let n = 64 >> usize::from(p > 0);
        let last = picture.format.height as usize / 64 <= i + 1;
        let end = if last { plane.height } else { (i + 1) * n };
        plane.samples[i * n * plane.width..end * plane.width].to_vec()
    });
    part.collect()
}

#[test]
fn damage_stays_in_its_slice_until_the_next_keyframe() {
    for plain in profiles(7) {
        let model = plain.model.clone();
        let format = format(48, 256);
        let lossy = Lossy {
            scene_cuts: false,
            ..plain.clone()
        };
        let mut config = config(format, lossy);
        // Vectors that stay at home, so that damage does not move.
        config.search.steps = 0;
        config.picture_crc = false;
        let (head, units) = encode(&config, &clip(format, 10));
        let mut good = decoder(&head, &model);
        let good: Vec<_> = units
            .iter()
            .map(|u| good.decode(u).unwrap().picture)
            .collect();
        for hit in [0, 2] {
            let mut bad = units.clone();
            // The last byte of the second slice.
            let unit = AccessUnit::parse(&units[hit]).unwrap();
            let after: usize = unit.slices[2..].iter().map(|s| s.data.len()).sum();
            let at = bad[hit].len() - after - 1;
            bad[hit][at] ^= 0x10;
            let mut d = decoder(&head, &model);
            for (i, unit) in bad.iter().enumerate() {
                let frame = d.decode(unit).unwrap();
                if i < hit || i >= 5 {
                    assert!(
                        !frame.corrupt && frame.picture == good[i],
                        "{hit}: frame {i}"
                    );
                    continue;
                }
                assert!(
                    frame.corrupt && frame.damaged_slices.contains(&1),
                    "{hit}: frame {i}"
                );
                for slice in (0..4).filter(|s| !frame.damaged_slices.contains(s)) {
                    assert!(
                        rows(&frame.picture, slice) == rows(&good[i], slice),
                        "{hit}: {i}, {slice}"
                    );
                }
                if i == hit {
                    assert_eq!(frame.damaged_slices, [1]);
                }
            }
        }
    }
}

#[test]
fn no_flip_and_no_cut_of_a_small_stream_passes_unnoticed() {
    for plain in profiles(8) {
        let model = plain.model.clone();
        let format = format(24, 20);
        let lossy = Lossy {
            scene_cuts: false,
            ..plain.clone()
        };
        let config = Config {
            picture_crc: false,
            ..config(format, lossy)
        };
        let (head, units) = encode(&config, &clip(format, 2));
        let mut good = decoder(&head, &model);
        let good: Vec<_> = units
            .iter()
            .map(|u| good.decode(u).unwrap().picture)
            .collect();
        let check = |hit: usize, bad: &[u8], what: &str| {
            let mut d = decoder(&head, &model);
            for (i, unit) in units.iter().enumerate() {
                match d.decode(if i == hit { bad } else { unit }) {
                    Ok(frame) if i >= hit => assert!(frame.corrupt, "{what}"),
                    Ok(frame) => assert!(frame.picture == good[i]),
                    Err(_) => assert!(i >= hit, "{what}"),
                }
            }
        };
        for (hit, unit) in units.iter().enumerate() {
            for bit in 0..8 * unit.len() {
                let mut bad = unit.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                check(hit, &bad, &format!("unit {hit}, bit {bit}"));
            }
            for length in 0..unit.len() {
                check(hit, &unit[..length], &format!("unit {hit}, {length} bytes"));
            }
        }
    }
}

#[test]
fn invented_slices_never_panic() {
    for plain in profiles(9) {
        let model = plain.model.clone();
        let format = format(40, 70);
        let (head, units) = encode(&config(format, plain.clone()), &clip(format, 2));
        let mut rng = fastrand::Rng::with_seed(77);
        let mut d = decoder(&head, &model);
        // Slices with a right CRC, so that what is inside is decoded.
        for round in 0..4000 {
            let unit = AccessUnit::parse(&units[round % 2]).unwrap();
            let mut slices: Vec<Vec<u8>> = unit.slices.iter().map(|s| s.data.to_vec()).collect();
            let slice = &mut slices[0];
            match round / 2 % 3 {
                0 => slice.iter_mut().for_each(|b| *b = rng.u8(..)),
                1 => {
                    let at = rng.usize(..slice.len());
                    slice[at] ^= 1 << rng.u32(..8);
                }
                _ => slice.truncate(rng.usize(..slice.len())),
            }
            let bytes = unit.info.write(&slices).unwrap();
            if let Ok(frame) = d.decode(&bytes) {
                assert_eq!(frame.picture.format, format);
            }
        }
    }
}

#[test]
fn another_model_is_refused_by_name() {
    let (mine, other) = (model(10), model(11));
    let encoder = Encoder::new(config(format(16, 16), Lossy::new(mine.clone()))).unwrap();
    let head = encoder.codec_data();
    for error in [
        Decoder::new(&head).unwrap_err(),
        Decoder::with_models(&head, |_| Some(other.clone())).unwrap_err(),
    ] {
        let needed = gstneural_codec::bitstream::hex(mine.hash());
        assert!(error.to_string().contains(&needed), "{error}");
    }
    let mut asked = None;
    let _ = Decoder::with_models(&head, |hash| {
        asked = Some(*hash);
        None
    });
    assert_eq!(asked, Some(*mine.hash()));
}

#[test]
fn settings_out_of_range_are_refused() {
    let model = model(12);
    let good = config(format(16, 16), Lossy::new(model.clone()));
    let with = |rate| Config {
        lossy: Some(Lossy {
            rate,
            copying: Copying::Never,
            ..Lossy::new(model.clone())
        }),
        ..good.clone()
    };
    let average = |bits_per_second| Rate::Average {
        bits_per_second,
        buffer_ms: 1000,
    };
    assert!(Encoder::new(with(Rate::Quality(32))).is_err());
    assert!(Encoder::new(with(average(0))).is_err());
    let unknown = Config {
        fps: (0, 1),
        ..with(average(1000))
    };
    assert!(Encoder::new(unknown).is_err());
    for bad in [
        Format {
            depth: 10,
            ..good.format
        },
        Format {
            chroma: Chroma::C444,
            ..good.format
        },
    ] {
        let config = Config {
            format: bad,
            ..good.clone()
        };
        assert!(matches!(
            Encoder::new(config).unwrap_err(),
            CodecError::Format { .. }
        ));
    }
}

#[test]
fn a_model_without_codebooks_is_refused_by_name() {
    let [inter, vq, ..] = profiles(13);
    let format = format(16, 16);
    let bad = Lossy {
        vq: true,
        ..inter.clone()
    };
    let needed = CodecError::NoCodebooks("intra");
    assert_eq!(
        Encoder::new(config(format, bad)).unwrap_err(),
        needed.clone()
    );
    assert!(needed.to_string().contains("codebooks for intra pictures"));
    // A stream that claims the profile, of a model that has none.
    let head = Encoder::new(config(format, inter.clone()))
        .unwrap()
        .codec_data();
    let mut claims = head[..60].to_vec();
    claims[5] = 3;
    claims.extend(crc32fast::hash(&claims).to_le_bytes());
    let found = Decoder::with_models(&claims, |_| Some(inter.model.clone()));
    assert_eq!(found.unwrap_err(), needed);
    // A model with codebooks codes the other profiles as well.
    let other = Lossy { vq: false, ..vq };
    let (head, units) = encode(&config(format, other.clone()), &clip(format, 2));
    assert!(
        !decoder(&head, &other.model)
            .decode(&units[0])
            .unwrap()
            .corrupt
    );
}

#[test]
fn vq_keeps_to_a_bitrate_and_spends_less_on_coarse_levels() {
    // Invented codebooks know nothing of levels.
    let model = shipped();
    let format = format(64, 64);
    let pictures = clip(format, 75);
    let size = |rate| {
        let lossy = Lossy {
            rate,
            vq: true,
            scene_cuts: false,
            copying: Copying::Never,
            ..Lossy::new(model.clone())
        };
        let (_, units) = encode(&config(format, lossy), &pictures);
        units.iter().map(Vec::len).sum::<usize>()
    };
    let [fine, coarse] = [26, 4].map(|q| size(Rate::Quality(q)));
    assert!(2 * coarse < fine, "{coarse} {fine}");
    // Three seconds of 25 frames, at a rate between the two.
    let wanted = (coarse + fine) / 2;
    let found = size(Rate::Average {
        bits_per_second: (wanted * 8 / 3) as u32,
        buffer_ms: 1000,
    });
    assert!(found.abs_diff(wanted) * 10 < wanted, "{found} {wanted}");
}

#[test]
fn what_stands_still_stays_as_it_is() {
    let model = shipped();
    let format = format(96, 128);
    let still = clip(format, 1).remove(0);
    let (mut bytes, mut errors) = ([0; 2], [0; 2]);
    for (i, copying) in [Copying::Never, Copying::Better].into_iter().enumerate() {
        let lossy = Lossy {
            rate: Rate::Quality(20),
            copying,
            ..Lossy::new(model.clone())
        };
        let config = Config {
            keyframe_interval: 30,
            ..config(format, lossy)
        };
        let (head, units) = encode(&config, &vec![still.clone(); 20]);
        let mut d = decoder(&head, &model);
        let frames = units.iter().map(|u| d.decode(u).unwrap().picture);
        let last = frames.last().unwrap();
        bytes[i] = units.iter().skip(1).map(Vec::len).sum();
        if copying == Copying::Better {
            // A head with a CRC of the picture, and two slices of nothing.
            assert_eq!(units.last().unwrap().len(), 16);
        }
        let luma = last.planes[0].samples.iter().zip(&still.planes[0].samples);
        errors[i] = luma.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    }
    assert!(errors[1] <= errors[0], "{errors:?}");
    assert!(2 * bytes[1] < bytes[0], "{bytes:?}");
}
