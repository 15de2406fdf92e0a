//! Sizes and speed of the lossless profile on y4m files:
//! `lossless_size [--threads N] [--near D] [--keyint N] [--lambda N]
//! [--references N] [--model FILE.gnm [--quality N] [--alone]] FILE.y4m...`
//!
//! With `--model` it is the profile `inter` with a layer; `--alone` lets no layer refer to the one
//! before. Every frame is decoded again and compared.

use std::{
    io::{BufRead, BufReader, Read},
    sync::Arc,
    time::Instant,
};

use gstneural_codec::{
    Config, Decoder, Encoder, Format, Layer, Lossy, Picture, Rate,
    bitstream::{Chroma, without_layer},
    motion::SearchConfig,
    nets::Model,
};

type Error = Box<dyn std::error::Error>;

/// Gives the next frame of a file.
type Next = Box<dyn FnMut() -> Result<Option<Picture>, Error>>;

/// Reads the head of a y4m file.
fn open(path: &str) -> Result<(Format, Next), Error> {
    let mut file = BufReader::new(std::fs::File::open(path)?);
    let mut head = String::new();
    file.read_line(&mut head)?;
    let mut format = Format {
        width: 0,
        height: 0,
        chroma: Chroma::C420,
        depth: 8,
    };
    for field in head.split_whitespace().skip(1) {
        let (key, value) = field.split_at(1);
        match key {
            "W" => format.width = value.parse()?,
            "H" => format.height = value.parse()?,
            "C" => {
                format.chroma = match value {
                    v if v.starts_with("420") => Chroma::C420,
                    v if v.starts_with("422") => Chroma::C422,
                    v if v.starts_with("444") => Chroma::C444,
                    v if v.starts_with("mono") => Chroma::Gray,
                    v => return Err(format!("C{v}").into()),
                };
                format.depth = if value.contains("p10") { 10 } else { 8 };
            }
            _ => {}
        }
    }
    let next = move || {
        let mut line = String::new();
        if file.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; format.bytes()];
        file.read_exact(&mut bytes)?;
        Ok(Some(Picture::from_bytes(format, &bytes)?))
    };
    Ok((format, Box::new(next)))
}

fn main() -> Result<(), Error> {
    let (mut threads, mut near, mut keyint, mut paths) = (1, 0, 64, Vec::new());
    let (mut references, mut model, mut quality, mut alone) = (1, None, 20, false);
    let mut lambda = SearchConfig::default().lambda;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--threads" => threads = value()?.parse()?,
            "--near" => near = value()?.parse()?,
            "--lambda" => lambda = value()?.parse()?,
            "--references" => references = value()?.parse()?,
            "--keyint" => keyint = value()?.parse()?,
            "--model" => model = Some(Arc::new(Model::parse(&std::fs::read(value()?)?)?)),
            "--quality" => quality = value()?.parse()?,
            "--alone" => alone = true,
            _ => paths.push(arg),
        }
    }
    for path in paths {
        let (format, mut next) = open(&path)?;
        let config = Config {
            near,
            layer: model.as_ref().map(|_| Layer {
                near,
                refers: !alone,
            }),
            lossy: model.clone().map(|model| Lossy {
                rate: Rate::Quality(quality),
                ..Lossy::new(model)
            }),
            threads,
            references,
            keyframe_interval: keyint,
            search: SearchConfig {
                lambda,
                ..SearchConfig::default()
            },
            ..Config::new(format)
        };
        let mut encoder = Encoder::new(config)?;
        let mut decoder =
            Decoder::with_models(&encoder.codec_data(), |_| model.clone())?.threads(threads);
        let (mut raw, mut key, mut bytes, mut frames) = (0, 0, 0, 0);
        let mut lossy = 0;
        let (mut encoding, mut decoding) = (0.0, 0.0);
        while let Some(picture) = next()? {
            let start = Instant::now();
            let unit = encoder.encode(&picture)?;
            encoding += start.elapsed().as_secs_f64();
            let start = Instant::now();
            let decoded = decoder.decode(&unit)?;
            decoding += start.elapsed().as_secs_f64();
            let worst = picture.planes.iter().zip(&decoded.picture.planes);
            let worst = worst.flat_map(|(a, b)| a.samples.iter().zip(&b.samples));
            let worst = worst.map(|(a, b)| a.abs_diff(*b)).max();
            if decoded.corrupt || worst > Some(near.into()) {
                return Err(format!("{path}: frame {frames} differs by {worst:?}").into());
            }
            raw += format.bytes();
            bytes += unit.len();
            if model.is_some() {
                lossy += without_layer(&unit)?.len();
            }
            if decoded.keyframe {
                key += unit.len();
            }
            frames += 1;
        }
        let mb = raw as f64 / 1e6;
        println!(
            "{path} {frames} frames raw {raw} coded {bytes} (keyframes {key}, without layer {lossy}) ratio {:.3} \
             encode {:.1} fps {:.1} MB/s decode {:.1} fps {:.1} MB/s",
            raw as f64 / bytes as f64,
            f64::from(frames) / encoding,
            mb / encoding,
            f64::from(frames) / decoding,
            mb / decoding,
        );
    }
    Ok(())
}
