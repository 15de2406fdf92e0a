//! The layer on lossy pictures, with networks of invented weights: with it nothing is lost, without
//! it nothing changes.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::format;
use gstneural_codec::{
    CodecError, Config, Copying, Decoder, Encoder, Format, Layer, Layers, Lossy, Picture, Rate,
    bitstream::{AccessUnit, FrameType, Header, without_layer},
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

fn model() -> Arc<Model> {
    Arc::new(Model::synthetic(21, SIZES).unwrap().0)
}

/// The moving pattern with this file's noise.
fn clip(format: Format, frames: usize) -> Vec<Picture> {
    common::clip(format, frames, 5)
}

fn lossless(refers: bool) -> Option<Layer> {
    Some(Layer { near: 0, refers })
}

fn config(model: &Arc<Model>, format: Format, layer: Option<Layer>) -> Config {
    Config {
        lossy: Some(Lossy {
            scene_cuts: false,
            rate: Rate::Quality(18),
            copying: Copying::Never,
            ..Lossy::new(model.clone())
        }),
        layer,
        keyframe_interval: 4,
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

fn decoder(head: &[u8], model: &Arc<Model>, layers: Layers) -> Decoder {
    let decoder = Decoder::with_models(head, |_| Some(model.clone())).unwrap();
    decoder.layers(layers)
}

/// The greatest difference of two samples.
fn worst(a: &Picture, b: &Picture) -> u16 {
    let planes = a.planes.iter().zip(&b.planes);
    let samples = planes.flat_map(|(a, b)| a.samples.iter().zip(&b.samples));
    samples.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

#[test]
fn with_the_layer_nothing_is_lost_and_without_it_nothing_changes() {
    let model = model();
    for (width, height) in [(1, 1), (16, 16), (17, 95), (65, 96), (131, 97), (201, 260)] {
        let format = format(width, height);
        let pictures = clip(format, 6);
        let (plain_head, plain) = encode(&config(&model, format, None), &pictures);
        for refers in [false, true] {
            let (head, units) = encode(&config(&model, format, lossless(refers)), &pictures);
            let mut all = decoder(&head, &model, Layers::All);
            let mut base = decoder(&head, &model, Layers::Base);
            let mut other = decoder(&plain_head, &model, Layers::All);
            for (i, unit) in units.iter().enumerate() {
                let what = format!("{format} {refers} frame {i}");
                // The units carry CRCs of both pictures of the encoder.
                let frame = all.decode(unit).unwrap();
                assert!(frame.layer && !frame.corrupt, "{what}");
                assert!(frame.picture == pictures[i], "{what}");
                let lossy = base.decode(unit).unwrap();
                assert!(!lossy.layer && !lossy.corrupt, "{what}");
                assert!(lossy.picture == other.decode(&plain[i]).unwrap().picture);
                assert!(without_layer(unit).unwrap() == plain[i], "{what}");
                // The layer can come and go from frame to frame.
                let bare = decoder(&head, &model, Layers::All).decode(&plain[i]);
                assert!(bare.is_ok_and(|f| !f.layer) == (i % 4 == 0), "{what}");
            }
        }
    }
}

#[test]
fn the_error_is_no_greater_than_stated() {
    let model = model();
    let format = format(83, 70);
    let pictures = clip(format, 6);
    let mut sizes = Vec::new();
    for near in [0, 1, 3, 15] {
        let layer = Some(Layer { near, refers: true });
        let (head, units) = encode(&config(&model, format, layer), &pictures);
        let mut d = decoder(&head, &model, Layers::All);
        let frames = units.iter().map(|u| d.decode(u).unwrap().picture);
        let found = frames.zip(&pictures).map(|(a, b)| worst(&a, b)).max();
        assert_eq!(found, Some(near.into()));
        sizes.push(units.iter().map(Vec::len).sum::<usize>());
    }
    assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
    let wrong = Some(Layer {
        near: 16,
        refers: true,
    });
    assert!(Encoder::new(config(&model, format, wrong)).is_err());
    let without_loss = Config {
        lossy: None,
        ..config(&model, format, lossless(true))
    };
    assert!(Encoder::new(without_loss).is_err());
}

#[test]
fn threads_change_nothing() {
    let model = model();
    let format = format(100, 333);
    let pictures = clip(format, 3);
    let mut known = None;
    for threads in [1, 2, 3, 7] {
        let config = Config {
            threads,
            ..config(&model, format, lossless(true))
        };
        let (head, units) = encode(&config, &pictures);
        let mut d = decoder(&head, &model, Layers::All).threads(threads);
        for (unit, picture) in units.iter().zip(&pictures) {
            assert!(
                d.decode(unit).unwrap().picture == *picture,
                "{threads} threads"
            );
        }
        assert!(
            *known.get_or_insert_with(|| units.clone()) == units,
            "{threads}"
        );
    }
}

#[test]
fn frames_that_nobody_needs_can_be_dropped() {
    let model = model();
    let format = format(64, 64);
    let mut config = config(&model, format, lossless(true));
    config.keyframe_interval = 64;
    config.lossy.as_mut().unwrap().droppable = true;
    let pictures = clip(format, 9);
    let (head, units) = encode(&config, &pictures);
    let mut d = decoder(&head, &model, Layers::All);
    let mut dropped = 0;
    for (unit, picture) in units.iter().zip(&pictures) {
        if AccessUnit::parse(unit).unwrap().info.frame_type == FrameType::Droppable {
            dropped += 1;
            continue;
        }
        let frame = d.decode(unit).unwrap();
        assert!(!frame.corrupt && frame.picture == *picture);
    }
    assert_eq!(dropped, 4);
}

/// Rows of all planes that belong to slice `i` of four.
fn rows(picture: &Picture, i: usize) -> Vec<u16> {
    let part = picture.planes.iter().enumerate().flat_map(|(p, plane)| {
        let n = 64 >> usize::from(p > 0);
        plane.samples[i * n * plane.width..(i + 1) * n * plane.width].to_vec()
    });
    part.collect()
}

#[test]
fn damage_to_the_layer_costs_the_layer() {
    let model = model();
    let format = format(48, 256);
    let pictures = clip(format, 7);
    for refers in [false, true] {
        let mut config = config(&model, format, lossless(refers));
        config.picture_crc = false;
        config.keyframe_interval = 5;
        // Vectors that stay at home, so that damage does not move.
        config.search.steps = 0;
        let (head, mut units) = encode(&config, &pictures);
        // The last byte of the second slice of the layer.
        let parsed = AccessUnit::parse(&units[1]).unwrap();
        let after: usize = parsed.layer[2..].iter().map(|s| s.data.len()).sum();
        let at = units[1].len() - after - 1;
        units[1][at] ^= 0x10;
        let mut all = decoder(&head, &model, Layers::All);
        let mut base = decoder(&head, &model, Layers::Base);
        for (i, unit) in units.iter().enumerate() {
            let frame = all.decode(unit).unwrap();
            let lossy = base.decode(unit).unwrap();
            assert!(!lossy.corrupt, "frame {i}");
            assert_eq!(frame.damaged_slices, [], "frame {i}");
            let bad = &frame.damaged_layer_slices;
            match i {
                1 => assert_eq!(*bad, [1]),
                // What refers to it goes without, until a keyframe.
                2..5 if refers => assert!(bad.contains(&1), "frame {i}: {bad:?}"),
                _ => assert!(bad.is_empty(), "{refers} frame {i}: {bad:?}"),
            }
            assert_eq!(frame.corrupt, !bad.is_empty());
            for slice in 0..4 {
                let shown = if bad.contains(&slice) {
                    &lossy.picture
                } else {
                    &pictures[i]
                };
                assert!(rows(&frame.picture, slice) == rows(shown, slice));
            }
        }
    }
}

#[test]
fn damage_under_the_layer_takes_the_layer_along() {
    let model = model();
    let format = format(48, 256);
    let pictures = clip(format, 2);
    let mut config = config(&model, format, lossless(true));
    config.picture_crc = false;
    let (head, mut units) = encode(&config, &pictures);
    let parsed = AccessUnit::parse(&units[1]).unwrap();
    let layer: usize = parsed.layer.iter().map(|s| s.data.len()).sum();
    let at = units[1].len() - layer - 1;
    units[1][at] ^= 1;
    let mut d = decoder(&head, &model, Layers::All);
    assert!(!d.decode(&units[0]).unwrap().corrupt);
    let frame = d.decode(&units[1]).unwrap();
    assert!(frame.corrupt);
    assert_eq!(frame.damaged_slices, [3]);
    assert_eq!(frame.damaged_layer_slices, [3]);
    for slice in 0..3 {
        assert!(rows(&frame.picture, slice) == rows(&pictures[1], slice));
    }
}

#[test]
fn no_flip_and_no_cut_passes_unnoticed() {
    let model = model();
    let format = format(20, 18);
    let mut config = config(&model, format, lossless(true));
    config.picture_crc = false;
    let pictures = clip(format, 2);
    let (head, units) = encode(&config, &pictures);
    let check = |hit: usize, bad: &[u8], what: &str| {
        let mut d = decoder(&head, &model, Layers::All);
        for (i, unit) in units.iter().enumerate() {
            match d.decode(if i == hit { bad } else { unit }) {
                Ok(frame) if i >= hit => assert!(frame.corrupt, "{what}"),
                Ok(frame) => assert!(frame.picture == pictures[i]),
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

#[test]
fn a_stream_that_does_not_announce_a_layer_has_none() {
    let model = model();
    let format = format(16, 16);
    let pictures = clip(format, 1);
    let (plain, _) = encode(&config(&model, format, None), &pictures);
    let (head, units) = encode(&config(&model, format, lossless(true)), &pictures);
    assert!(Header::parse(&head).unwrap().layer);
    for layers in [Layers::All, Layers::Base] {
        let error = decoder(&plain, &model, layers).decode(&units[0]);
        assert!(
            error
                .as_ref()
                .is_err_and(|e| e.to_string().contains("layer")),
            "{error:?}"
        );
    }
    // What a decoder that knows of no layers does with a flag that it does not know.
    let mut unknown = head.clone();
    unknown[7] |= 8;
    let crc = crc32fast::hash(&unknown[..60]).to_le_bytes();
    unknown[60..].copy_from_slice(&crc);
    let error = Decoder::with_models(&unknown, |_| Some(model.clone())).unwrap_err();
    assert_eq!(error, CodecError::Feature(8));
    assert!(error.to_string().contains("0x08"), "{error}");
}
