//! Invented data in the profiles with networks and in layers: no panic, no hang, and what is shown has
//! the stream's size. `damage.rs` does the same to the profile `lossless`, `fuzz/` without an end.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use gstneural_codec::{
    Config, Copying, Decoder, Encoder, Format, Layer, Layers, Lossy, Picture,
    bitstream::Chroma,
    nets::{Model, Sizes},
};

const FORMAT: Format = Format {
    width: 8,
    height: 8,
    chroma: Chroma::C420,
    depth: 8,
};

fn model() -> Arc<Model> {
    let sizes = Sizes {
        groups: &[3, 5],
        hidden: 4,
        features: 4,
        expanded: 6,
        blocks: 1,
        encoder_blocks: Some(1),
        inter: true,
    };
    Arc::new(Model::synthetic(77, sizes).unwrap().0)
}

/// `codec_data`, a keyframe, and the frame after it.
fn stream(model: &Arc<Model>, intra_only: bool, layer: Option<Layer>) -> (Vec<u8>, [Vec<u8>; 2]) {
    let mut encoder = Encoder::new(Config {
        lossy: Some(Lossy {
            intra_only,
            scene_cuts: false,
            copying: Copying::Pattern,
            ..Lossy::new(model.clone())
        }),
        layer,
        ..Config::new(FORMAT)
    })
    .unwrap();
    let units = [0, 1].map(|t| {
        let mut picture = Picture::grey(FORMAT);
        for plane in &mut picture.planes {
            for (i, s) in plane.samples.iter_mut().enumerate() {
                *s = ((i * i + 13 * t) % 200) as u16;
            }
        }
        encoder.encode(&picture).unwrap()
    });
    (encoder.codec_data(), units)
}

/// Makes the checksums of a unit of one slice right, so that the damage reaches what is inside.
fn seal(unit: &mut [u8]) {
    let layered = unit[3] & 2 != 0;
    let (head, entries): (usize, _) = if layered {
        (40, &[16, 32][..])
    } else {
        (24, &[16][..])
    };
    let mut at = head + 4;
    for &entry in entries {
        let Some(length) = unit.get(entry..entry + 4) else {
            return;
        };
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let Some(slice) = unit.get(at..at.saturating_add(length)) else {
            return;
        };
        let crc = crc32fast::hash(slice).to_le_bytes();
        unit[entry + 4..entry + 8].copy_from_slice(&crc);
        at += length;
    }
    let crc = crc32fast::hash(&unit[..head]).to_le_bytes();
    unit[head..head + 4].copy_from_slice(&crc);
}

/// Decodes `count` mutations; how many were shown.
fn run(
    model: &Arc<Model>,
    (head, units): &(Vec<u8>, [Vec<u8>; 2]),
    layers: Layers,
    count: usize,
    seed: u64,
) -> usize {
    let mut rng = fastrand::Rng::with_seed(seed);
    let decoder = Decoder::with_models(head, |_| Some(model.clone())).unwrap();
    let mut decoder = decoder.layers(layers);
    let mut shown = 0;
    for i in 0..count {
        let mut unit = units[i % 2].clone();
        // Mostly past the index of the slices.
        let from = if rng.u8(..) < 64 { 1 } else { 28 };
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(from..unit.len());
            unit[at] = rng.u8(..);
        }
        if rng.u8(..) == 0 {
            unit.truncate(rng.usize(28..unit.len()));
        }
        if rng.u8(..) > 16 {
            seal(&mut unit);
        }
        if i % 64 < 2 {
            // A whole reference now and then, or there would be none left.
            decoder.decode(&units[0]).unwrap();
        }
        if let Ok(frame) = decoder.decode(&unit) {
            assert_eq!(frame.picture.format, FORMAT);
            shown += 1;
        }
    }
    shown
}

#[test]
fn mutations_of_every_profile_do_no_harm() {
    // More of them by hand: GST_NEURAL_MUTATIONS=1000000.
    let wanted = std::env::var("GST_NEURAL_MUTATIONS").ok();
    let count = wanted.map_or(25_000, |n| n.parse().unwrap());
    let model = model();
    let layer = |near, refers| Some(Layer { near, refers });
    let streams = [
        stream(&model, true, None),
        stream(&model, false, None),
        stream(&model, true, layer(0, false)),
        stream(&model, false, layer(0, true)),
        stream(&model, false, layer(2, false)),
    ];
    let shown: Vec<usize> = std::thread::scope(|s| {
        let started = streams.iter().enumerate().map(|(i, stream)| {
            let model = &model;
            s.spawn(move || {
                let all = run(model, stream, Layers::All, count, i as u64);
                all + run(model, stream, Layers::Base, count / 5, 100 + i as u64)
            })
        });
        let started: Vec<_> = started.collect();
        started.into_iter().map(|t| t.join().unwrap()).collect()
    });
    // They reach what is inside: most units have a head that is right.
    assert!(shown.iter().all(|&n| n > count / 2), "{shown:?}");
}
