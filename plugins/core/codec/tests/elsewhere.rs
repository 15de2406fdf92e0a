//! Frames that are synthesised elsewhere than in the codec's own slices: the same streams, the same
//! pictures, the same damage; and arithmetic that is another is refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use common::format;
use gstneural_codec::{
    BytePlanes, CodecError, Config, Copying, Decoder, Encoder, Format, FrameLatents, Layer, Lossy,
    Picture, Result, Synthesiser, check_synthesiser,
    nets::{Kernels, LatentInput, Model, Sizes, SynthesisWorkspace},
};

const SIZES: Sizes = Sizes {
    groups: &[6, 10, 8],
    hidden: 8,
    features: 12,
    expanded: 20,
    blocks: 2,
    encoder_blocks: Some(1),
    inter: true,
};

/// What a synthesiser does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// One sample is off by one.
    Sample,
    /// Whole latents are taken for quantised ones.
    Whole,
    /// Slices see their neighbours.
    Slices,
    /// The prediction of slices but the first is not looked at.
    Prediction,
    /// It declines after so many frames.
    Declines(usize),
    /// It fails.
    Fails,
}

/// The codec's plain kernels behind the trait.
#[derive(Debug)]
struct Plain {
    model: Arc<Model>,
    fault: Fault,
    frames: AtomicUsize,
}

fn plain(model: &Arc<Model>, fault: Fault) -> Arc<Plain> {
    Arc::new(Plain {
        model: model.clone(),
        fault,
        frames: AtomicUsize::new(0),
    })
}

impl Synthesiser for Plain {
    fn synthesise(&self, frame: &FrameLatents<'_>, picture: &mut BytePlanes) -> Result<bool> {
        let done = self.frames.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Declines(after) if done >= after => return Ok(false),
            Fault::Fails => return Err(CodecError::Device("on fire".into())),
            _ => {}
        }
        let nets = self.model.decoder(frame.kind)?;
        let slices = match self.fault {
            Fault::Slices => 1,
            _ => frame.slices,
        };
        let frame = &FrameLatents { slices, ..*frame };
        let (width, chroma) = (frame.width, frame.width.div_ceil(2));
        let row = width.div_ceil(16) * nets.latents();
        let mut w = SynthesisWorkspace::default();
        for rows in (0..slices).map(|i| frame.rows(i)) {
            let (top, height) = (rows.start, rows.len());
            let mut out = Picture::grey(format(width as u32, height as u32));
            let places = [top * width, top / 2 * chroma, top / 2 * chroma];
            let mut prediction = frame.prediction.map(|_| out.clone());
            let looked_at = self.fault != Fault::Prediction || top == 0;
            if let (Some(to), Some(from), true) = (&mut prediction, frame.prediction, looked_at) {
                for ((to, from), at) in to.planes.iter_mut().zip(&from.planes).zip(places) {
                    for (to, &v) in to.samples.iter_mut().zip(&from[at..]) {
                        *to = v.into();
                    }
                }
            }
            let own = top / 16 * row..(top + height).div_ceil(16) * row;
            let own = &frame.latents.values()[own];
            let (k, p, level) = (Kernels::plain(), prediction.as_ref(), frame.level);
            match frame.latents {
                LatentInput::Whole(_) if self.fault != Fault::Whole => {
                    nets.synthesise_whole(&k, level, own, p, &mut out, &mut w)?;
                }
                _ => nets.synthesise(&k, level, own, p, &mut out, &mut w)?,
            }
            for ((to, from), at) in picture.planes.iter_mut().zip(&out.planes).zip(places) {
                for (to, &v) in to[at..].iter_mut().zip(&from.samples) {
                    *to = v as u8;
                }
            }
        }
        if self.fault == Fault::Sample {
            picture.planes[2][0] ^= 1;
        }
        Ok(true)
    }
}

/// The moving pattern with this file's noise.
fn clip(format: Format, frames: usize) -> Vec<Picture> {
    common::clip(format, frames, 5)
}

fn model() -> Arc<Model> {
    Arc::new(Model::synthetic_vq(4, SIZES).unwrap().0)
}

/// `intra`, `inter`, `vq`, and `inter` with a layer; `inter` and `vq` with copies.
fn configs(model: &Arc<Model>, format: Format) -> [Config; 6] {
    let base = Lossy {
        scene_cuts: false,
        ..Lossy::new(model.clone())
    };
    let of = |intra_only, vq, copying| Config {
        lossy: Some(Lossy {
            intra_only,
            vq,
            copying,
            ..base.clone()
        }),
        keyframe_interval: 3,
        picture_crc: true,
        threads: 2,
        ..Config::new(format)
    };
    let layer = Layer {
        near: 1,
        refers: true,
    };
    let layered = Config {
        layer: Some(layer),
        ..of(false, false, Copying::Never)
    };
    [
        of(true, false, Copying::Never),
        of(false, false, Copying::Never),
        of(false, true, Copying::Never),
        layered,
        of(false, false, Copying::Pattern),
        of(false, true, Copying::Pattern),
    ]
}

fn encode(mut encoder: Encoder, pictures: &[Picture]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let units = pictures.iter().map(|p| encoder.encode(p).unwrap());
    let units = units.collect();
    (encoder.codec_data(), units)
}

fn decoder(head: &[u8], model: &Arc<Model>) -> Decoder {
    let decoder = Decoder::with_models(head, |_| Some(model.clone())).unwrap();
    decoder.threads(2)
}

#[test]
fn streams_and_pictures_are_the_same() {
    let model = model();
    for (width, height) in [(1, 1), (17, 95), (130, 129), (67, 200)] {
        let format = format(width, height);
        let pictures = clip(format, 5);
        for (n, config) in configs(&model, format).into_iter().enumerate() {
            let here = encode(Encoder::new(config.clone()).unwrap(), &pictures);
            let other = plain(&model, Fault::None);
            let there = encode(
                Encoder::new(config).unwrap().synthesiser(other.clone()),
                &pictures,
            );
            assert!(here == there, "{format} {n}");
            // Three predicted frames: what copies leave of a frame is synthesised once more.
            let again = other.frames.swap(0, Ordering::Relaxed) - 5;
            assert!(again <= 3 * usize::from(n > 3), "{format} {n}: {again}");
            let (mut a, mut b) = (
                decoder(&here.0, &model),
                decoder(&here.0, &model).synthesiser(other.clone()),
            );
            for unit in &here.1 {
                let (a, b) = (a.decode(unit).unwrap(), b.decode(unit).unwrap());
                assert!(a == b && !a.corrupt, "{format} {n}");
            }
            assert_eq!(other.frames.load(Ordering::Relaxed), 5);
        }
    }
}

#[test]
fn damage_is_the_same() {
    let model = model();
    let format = format(83, 300);
    let pictures = clip(format, 9);
    let mut rng = fastrand::Rng::with_seed(9);
    for config in configs(&model, format) {
        let (head, units) = encode(Encoder::new(config).unwrap(), &pictures);
        let (mut a, mut b) = (
            decoder(&head, &model),
            decoder(&head, &model).synthesiser(plain(&model, Fault::None)),
        );
        let mut damaged = 0;
        for _ in 0..6 {
            for unit in &units {
                let mut unit = unit.clone();
                if rng.bool() {
                    let at = rng.usize(unit.len() / 4..unit.len());
                    unit[at] ^= 1 << rng.u32(0..8);
                }
                let (a, b) = (a.decode(&unit), b.decode(&unit));
                assert!(a == b);
                damaged += a.map_or(0, |a| a.damaged_slices.len());
            }
        }
        assert!(damaged > 10, "{damaged}");
    }
}

#[test]
fn one_that_declines_is_followed_by_the_cpu() {
    let model = model();
    let format = format(67, 140);
    let pictures = clip(format, 7);
    for config in configs(&model, format) {
        let (head, units) = encode(Encoder::new(config.clone()).unwrap(), &pictures);
        let other = plain(&model, Fault::Declines(2));
        let there = Encoder::new(config).unwrap().synthesiser(other.clone());
        assert!(units == encode(there, &pictures).1);
        let (mut a, mut b) = (
            decoder(&head, &model),
            decoder(&head, &model).synthesiser(plain(&model, Fault::Declines(2))),
        );
        for unit in &units {
            assert!(a.decode(unit) == b.decode(unit));
        }
        // It is not asked again.
        assert_eq!(other.frames.load(Ordering::Relaxed), 3);
    }
}

#[test]
fn one_that_fails_is_an_error_and_nothing_else_changes() {
    let model = model();
    let format = format(67, 140);
    let pictures = clip(format, 2);
    let [_, config, ..] = configs(&model, format);
    let (head, units) = encode(Encoder::new(config.clone()).unwrap(), &pictures);
    let fails = plain(&model, Fault::Fails);
    let mut d = decoder(&head, &model).synthesiser(fails.clone());
    let error = d.decode(&units[0]).unwrap_err().to_string();
    assert!(error.contains("on fire"), "{error}");
    let mut e = Encoder::new(config).unwrap().synthesiser(fails);
    assert!(matches!(e.encode(&pictures[0]), Err(CodecError::Device(_))));
}

#[test]
fn other_arithmetic_is_refused() {
    let model = model();
    let check = |fault| check_synthesiser(&model, &*plain(&model, fault));
    assert_eq!(check(Fault::None), Ok(()));
    for fault in [
        Fault::Sample,
        Fault::Whole,
        Fault::Slices,
        Fault::Prediction,
        Fault::Declines(0),
        Fault::Declines(7),
        Fault::Fails,
    ] {
        let error = check(fault).unwrap_err().to_string();
        assert!(error.contains("on the device"), "{fault:?}: {error}");
    }
    // Another model's weights.
    let (other, _) = Model::synthetic_vq(5, SIZES).unwrap();
    let error = check_synthesiser(&other, &*plain(&model, Fault::None)).unwrap_err();
    assert!(error.to_string().contains("stated by the model"), "{error}");
}

#[test]
fn times_are_taken_if_asked_for() {
    let model = model();
    let format = format(67, 140);
    let [_, config, ..] = configs(&model, format);
    let (head, units) = encode(Encoder::new(config).unwrap(), &clip(format, 2));
    let mut untimed = decoder(&head, &model);
    let mut here = decoder(&head, &model).timed();
    let mut there = decoder(&head, &model)
        .timed()
        .synthesiser(plain(&model, Fault::None));
    for d in [&mut untimed, &mut here, &mut there] {
        units.iter().for_each(|u| assert!(d.decode(u).is_ok()));
    }
    assert_eq!(untimed.stages(), Default::default());
    for d in [here, there] {
        let s = d.stages();
        assert!(!s.entropy.is_zero() && !s.motion.is_zero() && !s.synthesis.is_zero());
    }
}
