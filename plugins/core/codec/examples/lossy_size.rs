//! Sizes, errors and speed of the lossy profiles on y4m files:
//! `lossy_size MODEL.gnm [--levels L,L...] [--intra] [--vq] [--no-copies] [--no-compact] [--threads N] [--frames N] [--keyint N] FILE.y4m...`
//!
//! Every frame is decoded again and compared with what the encoder believes it to be.

use std::{sync::Arc, time::Instant};

use gstneural_codec::{Config, Copying, Decoder, Encoder, Lossy, Picture, Rate, nets::Model};

#[path = "common/y4m.rs"]
mod y4m;

type Error = Box<dyn std::error::Error>;

/// Sum of squared errors of a plane.
fn squares(a: &Picture, b: &Picture, plane: usize) -> f64 {
    let each = a.planes[plane].samples.iter().zip(&b.planes[plane].samples);
    each.map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum()
}

fn main() -> Result<(), Error> {
    let (mut levels, mut intra, mut threads, mut most) = (vec![4, 12, 20, 28], false, 1, 64);
    let (mut keyint, mut vq, mut model, mut files) = (64, false, None, Vec::new());
    let (mut copying, mut compact) = (Copying::Better, true);
    let mut arguments = std::env::args().skip(1);
    while let Some(a) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{a}: a value is missing"));
        match a.as_str() {
            "--levels" => {
                levels = value()?
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<_, _>>()?
            }
            "--intra" => intra = true,
            "--vq" => vq = true,
            "--no-copies" => copying = Copying::Never,
            "--no-compact" => compact = false,
            "--threads" => threads = value()?.parse()?,
            "--frames" => most = value()?.parse()?,
            "--keyint" => keyint = value()?.parse()?,
            _ if model.is_none() => model = Some(Arc::new(Model::parse(&std::fs::read(&a)?)?)),
            _ => files.push(a),
        }
    }
    let model = model.ok_or("lossy_size MODEL.gnm FILE.y4m...")?;
    for file in files {
        let (format, pictures) = y4m::frames(&file, most)?;
        let name = file.rsplit('/').next().unwrap_or(&file);
        for &level in &levels {
            let lossy = Lossy {
                rate: Rate::Quality(31 - level),
                intra_only: intra,
                vq,
                copying,
                ..Lossy::new(model.clone())
            };
            let config = Config {
                threads,
                keyframe_interval: keyint,
                lossy: Some(lossy),
                compact,
                picture_crc: true,
                ..Config::new(format)
            };
            let mut encoder = Encoder::new(config)?;
            let mut decoder = Decoder::with_models(&encoder.codec_data(), |_| Some(model.clone()))?
                .threads(threads);
            let (mut bytes, mut keys, mut error, mut times) = (0, 0, [0.0; 3], [0.0; 2]);
            for picture in &pictures {
                let begun = Instant::now();
                let unit = encoder.encode(picture)?;
                times[0] += begun.elapsed().as_secs_f64();
                bytes += unit.len();
                let begun = Instant::now();
                let frame = decoder.decode(&unit)?;
                times[1] += begun.elapsed().as_secs_f64();
                if frame.corrupt {
                    return Err("encoder and decoder differ".into());
                }
                keys += u32::from(frame.keyframe);
                for (p, error) in error.iter_mut().enumerate() {
                    *error += squares(picture, &frame.picture, p);
                }
            }
            let n = pictures.len() as f64;
            let samples = f64::from(format.width) * f64::from(format.height) * n;
            let psnr = |e: f64, samples: f64| 10.0 * (65025.0 * samples / e.max(1e-9)).log10();
            println!(
                "{name} level {level}: {:.4} bpp, PSNR {:.3} {:.3} {:.3} dB, {keys} keyframes, {:.2} fps encoded, {:.2} decoded",
                bytes as f64 * 8.0 / samples,
                psnr(error[0], samples),
                psnr(error[1], samples / 4.0),
                psnr(error[2], samples / 4.0),
                n / times[0],
                n / times[1],
            );
        }
    }
    Ok(())
}
