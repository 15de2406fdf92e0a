//! How fast streams decode, and where the time goes:
//! `decode_speed [--size 1280x720] [--device cuda|cpu] [--profile inter|intra|vq] [--threads N]
//! [--frames 120] [--quality 20]`
//!
//! A short invented clip is coded with the model that is built in and decoded again and again. One
//! line of JSON: frames a second, and milliseconds a frame of the whole and of each stage. Entropy
//! decoding and motion compensation run on threads, whose times add up; so does synthesis on the
//! CPU, while on a GPU it is the time from the first copy to the last. Before that every picture is
//! compared with the CPU's.

use std::{sync::Arc, time::Instant};

use gstneural_codec::{
    Config, Decoder, Encoder, Format, Lossy, Picture, Rate, bitstream::Chroma, nets::Model,
};
use gstneuralcodec::device::{CudaSynthesiser, Device, Place, Shape};

type Error = Box<dyn std::error::Error>;

const MODEL: &[u8] = include_bytes!("../../../models/neural/small.gnm");
/// Frames of the clip; the first is a keyframe.
const CLIP: usize = 6;

/// Frame `t`: smooth waves and texture that move in different ways.
fn picture(format: Format, t: usize) -> Picture {
    let mut out = Picture::grey(format);
    for (p, plane) in out.planes.iter_mut().enumerate() {
        for (i, sample) in plane.samples.iter_mut().enumerate() {
            let (x, y) = (i % plane.width + 3 * t, i / plane.width + t);
            let wave = (x / 3 + y / 5) % 160;
            let texture = ((x * 7) ^ (y * 13)) % 24 * usize::from((x / 64 + y / 64) % 3 == 0);
            *sample = (30 + wave + texture + 5 * p) as u16;
        }
    }
    out
}

struct Options {
    size: (u32, u32),
    cuda: bool,
    profile: String,
    threads: usize,
    frames: usize,
    quality: u8,
}

fn options() -> Result<Options, Error> {
    let mut o = Options {
        size: (1280, 720),
        cuda: true,
        profile: "inter".into(),
        threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        frames: 120,
        quality: 20,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(a) = arguments.next() {
        let value = arguments.next().ok_or(format!("{a}: a value is missing"))?;
        match (a.as_str(), value.as_str()) {
            ("--size", v) => {
                let (w, h) = v.split_once('x').ok_or("--size WIDTHxHEIGHT")?;
                o.size = (w.parse()?, h.parse()?);
            }
            ("--device", "cuda" | "cpu") => o.cuda = value == "cuda",
            ("--profile", "inter" | "intra" | "vq") => o.profile = value,
            ("--threads", v) => o.threads = v.parse()?,
            ("--frames", v) => o.frames = v.parse()?,
            ("--quality", v) => o.quality = v.parse()?,
            _ => return Err(format!("{a} {value}: no such option").into()),
        }
    }
    Ok(o)
}

fn main() -> Result<(), Error> {
    let o = options()?;
    let model = Arc::new(Model::parse(MODEL)?);
    let mut name = "cpu".to_string();
    let mut gpu = None;
    if o.cuda {
        let place = Place {
            device: Device::Cuda,
            ..Place::default()
        };
        let shape = Shape {
            width: o.size.0,
            height: o.size.1,
            intra_only: o.profile == "intra",
        };
        let opened = CudaSynthesiser::open(&model, &place, shape).map_err(|why| why.to_string())?;
        name = opened.name().into();
        gpu = Some(Arc::new(opened));
    }
    let format = Format {
        width: o.size.0,
        height: o.size.1,
        chroma: Chroma::C420,
        depth: 8,
    };
    let lossy = Lossy {
        rate: Rate::Quality(o.quality),
        intra_only: o.profile == "intra",
        vq: o.profile == "vq",
        scene_cuts: false,
        ..Lossy::new(model.clone())
    };
    let mut encoder = Encoder::new(Config {
        lossy: Some(lossy),
        threads: o.threads,
        ..Config::new(format)
    })?;
    let pictures = (0..CLIP).map(|t| picture(format, t));
    let units: Vec<Vec<u8>> = pictures
        .map(|p| encoder.encode(&p))
        .collect::<Result<_, _>>()?;
    let bytes: usize = units.iter().map(Vec::len).sum();

    let decoder = || -> Result<Decoder, Error> {
        let head = encoder.codec_data();
        let decoder = Decoder::with_models(&head, |_| Some(model.clone()))?;
        Ok(decoder.threads(o.threads).timed())
    };
    let elsewhere = |decoder: Decoder| match &gpu {
        Some(gpu) => decoder.synthesiser(gpu.clone()),
        None => decoder,
    };
    let (mut here, mut there) = (decoder()?, elsewhere(decoder()?));
    for (i, unit) in units.iter().enumerate() {
        if here.decode(unit)? != there.decode(unit)? {
            return Err(format!("frame {i} differs from the CPU's").into());
        }
    }
    // Decoded again from the keyframe on, with times from zero and all buffers made.
    let before = there.stages();
    let begin = Instant::now();
    for i in 0..o.frames {
        there.decode(units.get(i % CLIP).ok_or("no frames")?)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let now = there.stages();
    let each = |a: std::time::Duration, b: std::time::Duration| {
        (a - b).as_secs_f64() * 1000.0 / o.frames.max(1) as f64
    };
    println!(
        "{{\"codec\": \"{}\", \"device\": \"{name}\", \"size\": \"{}x{}\", \"quality\": {}, \"threads\": {}, \
         \"frames\": {}, \"bytes_a_frame\": {}, \"fps\": {:.2}, \"frame_ms\": {:.3}, \"entropy_ms\": {:.3}, \
         \"motion_ms\": {:.3}, \"synthesis_ms\": {:.3}}}",
        o.profile,
        o.size.0,
        o.size.1,
        o.quality,
        o.threads,
        o.frames,
        bytes / CLIP,
        o.frames as f64 / seconds,
        seconds * 1000.0 / o.frames.max(1) as f64,
        each(now.entropy, before.entropy),
        each(now.motion, before.motion),
        each(now.synthesis, before.synthesis),
    );
    Ok(())
}
