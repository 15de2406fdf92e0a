//! The lossless profile: what goes in comes out.
#![allow(clippy::unwrap_used)]

use gstneural_codec::{Config, Decoder, Encoder, Format, Picture, bitstream::Chroma};

/// Frames of moving smooth shapes with noise: something of all that predictors live on.
fn clip(format: Format, frames: usize, seed: u64) -> Vec<Picture> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let max = i32::from(format.max());
    (0..frames)
        .map(|t| {
            let mut picture = Picture::grey(format);
            for (p, plane) in picture.planes.iter_mut().enumerate() {
                for i in 0..plane.samples.len() {
                    let (x, y) = (i % plane.width + 3 * t, i / plane.width + t);
                    let wave = ((x * x / 7 + y * (5 + p)) % 97) as i32 + (x / 9 * 31 % 83) as i32;
                    let noise = rng.i32(-2..3);
                    plane.samples[i] = (max / 4 + wave * max / 255 + noise).clamp(0, max) as u16;
                }
            }
            picture
        })
        .collect()
}

const FORMATS: [(u32, u32, Chroma, u8); 9] = [
    (64, 64, Chroma::C420, 8),
    (97, 131, Chroma::C420, 8),
    (33, 65, Chroma::C420, 10),
    (50, 70, Chroma::C444, 8),
    (51, 67, Chroma::C444, 10),
    (45, 66, Chroma::C422, 10),
    (130, 129, Chroma::Gray, 8),
    (1, 1, Chroma::C420, 8),
    (3, 200, Chroma::C420, 10),
];

#[test]
fn every_format_comes_back_whole() {
    for (width, height, chroma, depth) in FORMATS {
        let format = Format {
            width,
            height,
            chroma,
            depth,
        };
        let config = Config {
            keyframe_interval: 3,
            picture_crc: true,
            ..Config::new(format)
        };
        let mut encoder = Encoder::new(config).unwrap();
        let mut decoder = Decoder::new(&encoder.codec_data()).unwrap();
        for (i, picture) in clip(format, 5, 7).iter().enumerate() {
            let decoded = decoder.decode(&encoder.encode(picture).unwrap()).unwrap();
            assert!(decoded.picture == *picture, "{format}, frame {i}");
            assert_eq!(
                (decoded.keyframe, decoded.corrupt),
                (i % 3 == 0, false),
                "{format}"
            );
        }
    }
}

#[test]
fn two_references_come_back_whole_and_differ_from_one() {
    for (chroma, depth) in [(Chroma::C420, 8), (Chroma::C444, 10)] {
        let format = Format {
            width: 61,
            height: 100,
            chroma,
            depth,
        };
        let pictures = clip(format, 6, 8);
        let encode = |references| -> Vec<Vec<u8>> {
            let config = Config {
                references,
                keyframe_interval: 5,
                ..Config::new(format)
            };
            let mut encoder = Encoder::new(config).unwrap();
            let mut decoder = Decoder::new(&encoder.codec_data()).unwrap();
            let code = |picture| {
                let unit = encoder.encode(picture).unwrap();
                let decoded = decoder.decode(&unit).unwrap();
                assert!(!decoded.corrupt && decoded.picture == *picture, "{format}");
                unit
            };
            pictures.iter().map(code).collect()
        };
        let (one, two) = (encode(1), encode(2));
        let same: Vec<bool> = one.iter().zip(&two).map(|(a, b)| a == b).collect();
        assert_eq!(same, [true, true, false, false, false, true], "{format}");
    }
}

#[test]
fn near_lossless_errs_by_no_more_than_it_says_and_saves() {
    let format = Format {
        width: 75,
        height: 90,
        chroma: Chroma::C420,
        depth: 8,
    };
    let mut last = usize::MAX;
    for near in [0, 1, 3, 15] {
        let mut encoder = Encoder::new(Config {
            near,
            picture_crc: true,
            ..Config::new(format)
        })
        .unwrap();
        let mut decoder = Decoder::new(&encoder.codec_data()).unwrap();
        let mut bytes = 0;
        for picture in clip(format, 4, 3) {
            let unit = encoder.encode(&picture).unwrap();
            bytes += unit.len();
            let decoded = decoder.decode(&unit).unwrap();
            // The CRC is of the encoder's reconstruction: no drift.
            assert!(!decoded.corrupt);
            for (a, b) in picture.planes.iter().zip(&decoded.picture.planes) {
                let worst = a
                    .samples
                    .iter()
                    .zip(&b.samples)
                    .map(|(a, b)| a.abs_diff(*b))
                    .max();
                assert!(worst <= Some(near.into()), "{near}: {worst:?}");
            }
        }
        assert!(bytes < last, "{near}: {bytes} is not less than {last}");
        last = bytes;
    }
}

#[test]
fn threads_change_neither_stream_nor_frames() {
    let format = Format {
        width: 70,
        height: 400,
        chroma: Chroma::C420,
        depth: 8,
    };
    let pictures = clip(format, 3, 5);
    let encode = |threads| {
        let mut encoder = Encoder::new(Config {
            threads,
            ..Config::new(format)
        })
        .unwrap();
        let units = pictures
            .iter()
            .map(|p| encoder.encode(p).unwrap())
            .collect::<Vec<_>>();
        (encoder.codec_data(), units)
    };
    let one = encode(1);
    for threads in [1, 2, 3, 7] {
        assert!(encode(threads) == one, "{threads} threads");
        let mut decoder = Decoder::new(&one.0).unwrap().threads(threads);
        for (unit, picture) in one.1.iter().zip(&pictures) {
            assert!(
                decoder.decode(unit).unwrap().picture == *picture,
                "{threads} threads"
            );
        }
    }
}

#[test]
fn a_still_scene_costs_next_to_nothing() {
    let format = Format {
        width: 128,
        height: 128,
        chroma: Chroma::C420,
        depth: 8,
    };
    let picture = &clip(format, 1, 1)[0];
    let mut encoder = Encoder::new(Config::new(format)).unwrap();
    let first = encoder.encode(picture).unwrap().len();
    let second = encoder.encode(picture).unwrap().len();
    assert!(
        second < 200 && first > 20 * second,
        "{first}, then {second}"
    );
}

#[test]
fn keyframes_come_when_asked_for() {
    let format = Format {
        width: 16,
        height: 16,
        chroma: Chroma::Gray,
        depth: 8,
    };
    let mut encoder = Encoder::new(Config {
        keyframe_interval: 4,
        ..Config::new(format)
    })
    .unwrap();
    let mut decoder = Decoder::new(&encoder.codec_data()).unwrap();
    let keys: Vec<bool> = (0..8)
        .map(|i| {
            if i == 2 {
                encoder.force_keyframe();
            }
            decoder
                .decode(&encoder.encode(&Picture::grey(format)).unwrap())
                .unwrap()
                .keyframe
        })
        .collect();
    assert_eq!(keys, [true, false, true, false, false, false, true, false]);
}

#[test]
fn settings_and_frames_out_of_range_are_refused() {
    let format = Format {
        width: 16,
        height: 16,
        chroma: Chroma::Gray,
        depth: 8,
    };
    let good = Config::new(format);
    for config in [
        Config {
            near: 16,
            ..good.clone()
        },
        Config {
            references: 0,
            ..good.clone()
        },
        Config {
            references: 3,
            ..good.clone()
        },
        Config {
            keyframe_interval: 0,
            ..good.clone()
        },
        Config {
            fps: (1, 0),
            ..good.clone()
        },
        Config {
            format: Format { width: 0, ..format },
            ..good.clone()
        },
        Config {
            format: Format { depth: 9, ..format },
            ..good.clone()
        },
    ] {
        assert!(Encoder::new(config.clone()).is_err(), "{config:?}");
    }
    let mut encoder = Encoder::new(good).unwrap();
    let mut other = Picture::grey(Format {
        width: 17,
        ..format
    });
    assert!(encoder.encode(&other).is_err());
    other.format = format;
    assert!(
        encoder.encode(&other).is_err(),
        "planes that are not of the format"
    );
    let mut loud = Picture::grey(format);
    loud.planes[0].samples[0] = 256;
    assert!(encoder.encode(&loud).is_err(), "a sample beyond 8 bits");
}
