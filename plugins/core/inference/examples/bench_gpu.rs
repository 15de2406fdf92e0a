//! Upscaling in GPU memory: frames a second, and what they wait for. One line of JSON for each run.
//!
//! `cargo run --release -p gstneural-inference --example bench_gpu -- MODEL... [--frames N]
//! [--sizes 960x540,1280x720] [--streams N] [--precision fp32|fp16] [--format NV12] [--compared]`
//!
//! With `--compared` two pictures take turns, and each is compared with the one before as nnupscale
//! does where pictures stand still now and then: what that costs where they do not.

use std::{env, path::PathBuf, sync::Arc, thread, time::Instant};

use gstneural_cuda::{DeviceFrameBuf, allocated};
use gstneural_inference::{
    Device, Model, ModelStore, Options, Precision, Tile, UpscalerOptions,
    gpu::{Gpu, GpuFrame, GpuUpscaler},
    runtime,
};
use gstneural_pixels::{Color, FrameBuf, PixelFormat};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What is measured.
#[derive(Clone)]
struct Wanted {
    frames: usize,
    streams: usize,
    precision: Precision,
    format: PixelFormat,
    compared: bool,
}

fn main() -> Result<(), Error> {
    let mut wanted = Wanted {
        frames: 200,
        streams: 1,
        precision: Precision::Single,
        format: PixelFormat::Nv12,
        compared: false,
    };
    let mut sizes = vec![(960, 540), (1280, 720), (1920, 1080)];
    let mut models = Vec::new();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--frames" => wanted.frames = value()?.parse()?,
            "--streams" => wanted.streams = value()?.parse()?,
            "--precision" => {
                wanted.precision = match value()?.as_str() {
                    "fp16" => Precision::Half,
                    _ => Precision::Single,
                }
            }
            "--compared" => wanted.compared = true,
            "--format" => {
                let name = value()?;
                wanted.format = PixelFormat::from_name(&name).ok_or("unknown format")?;
            }
            "--sizes" => sizes = value()?.split(',').map(size).collect::<Result<_, _>>()?,
            _ => models.push(argument),
        }
    }
    let roots = runtime::roots(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("x"));
    let store = ModelStore::new(None, &roots);
    for name in &models {
        let model = Model::load(&store.resolve(name)?, &roots)?;
        for size in &sizes {
            measure(name, &model, *size, &wanted)?;
        }
    }
    Ok(())
}

fn size(text: &str) -> Result<(usize, usize), Error> {
    let (w, h) = text.split_once('x').ok_or("a size is WxH")?;
    Ok((w.parse()?, h.parse()?))
}

/// Frames, then a line about them.
fn measure(
    name: &str,
    model: &Arc<Model>,
    size: (usize, usize),
    wanted: &Wanted,
) -> Result<(), Error> {
    let (mut total, mut network) = (0f64, 0f64);
    let before = Gpu::open(0)?.device().memory()?;
    let begun = Instant::now();
    let runs: Vec<_> = (0..wanted.streams)
        .map(|_| {
            let (model, wanted) = (model.clone(), wanted.clone());
            thread::spawn(move || stream(&model, size, &wanted))
        })
        .collect();
    let mut peak = 0;
    let (mut copies, mut half, mut grown) = (0, false, 0);
    for run in runs {
        let run = run.join().map_err(|_| "a stream panicked")??;
        total = total.max(run.seconds);
        network += run.network;
        peak = peak.max(run.taken);
        copies += run.copies;
        half |= run.half;
        grown = grown.max(run.grown);
    }
    let gpu = Gpu::open(0)?;
    let frames = wanted.frames * wanted.streams;
    let scale = model.info().scale;
    println!(
        "{{\"model\": \"{name}\", \"from\": \"{}x{}\", \"to\": \"{}x{}\", \"precision\": \"{}\", \"streams\": {}, \"frames\": {frames}, \"compared\": {}, \"fps\": {:.2}, \"frame_ms\": {:.4}, \"network_ms\": {:.4}, \"copies\": {copies}, \"memory_mb\": {:.1}, \"grown_kb\": {}, \"left_kb\": {}, \"setup_s\": {:.2}, \"gpu\": \"{}\"}}",
        size.0,
        size.1,
        size.0 * scale,
        size.1 * scale,
        if half { "fp16" } else { "fp32" },
        wanted.streams,
        wanted.compared,
        frames as f64 / total,
        total / wanted.frames as f64 * 1e3,
        network / frames as f64 * 1e3,
        before.free.saturating_sub(peak) as f64 / 1e6,
        grown / 1024,
        allocated() / 1024,
        begun.elapsed().as_secs_f64() - total,
        gpu.device().name(),
    );
    Ok(())
}

/// What one stream took.
struct Run {
    seconds: f64,
    network: f64,
    /// Copies of frames between host and device while frames were upscaled.
    copies: u64,
    half: bool,
    /// Memory that was free at the end.
    taken: u64,
    /// Bytes that the device had less at the end than after the first tenth.
    grown: u64,
}

fn stream(model: &Arc<Model>, size: (usize, usize), wanted: &Wanted) -> Result<Run, Error> {
    let gpu = Gpu::open(0)?;
    let color = Color::default();
    let options = UpscalerOptions {
        engine: Options {
            device: Device {
                precision: wanted.precision,
                ..Device::default()
            },
            tile: Tile::Auto,
            memory_limit: 8 << 30,
            ..Options::default()
        },
        ..UpscalerOptions::default()
    };
    let mut upscaler = GpuUpscaler::new(&gpu, model, None, &options, wanted.format, color, size)?;
    let scale = model.info().scale;
    let frame = |w, h| DeviceFrameBuf::new(gpu.device(), wanted.format, w, h, color);
    let (input, other, output) = (
        frame(size.0, size.1)?,
        frame(size.0, size.1)?,
        frame(size.0 * scale, size.1 * scale)?,
    );
    let mut picture = FrameBuf::new(wanted.format, size.0, size.1, color)?;
    let mut seed = 1u32;
    for c in 0..wanted.format.info().components.len() {
        let mut plane = picture.as_mut();
        let mut plane = plane.component_mut(c);
        for y in 0..plane.height() {
            for x in 0..plane.width() {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                plane.set(x, y, 64 + (seed >> 26) + (x as u32 / 4) % 64);
            }
        }
    }
    input.frame().upload(gpu.stream(), &picture.as_ref())?;
    // Another picture by one sample, the last that is compared.
    let (w, h) = (size.0 - 1, size.1 - 1);
    let value = picture.as_ref().component(0).get(w, h) ^ 1;
    picture.as_mut().component_mut(0).set(w, h, value);
    other.frame().upload(gpu.stream(), &picture.as_ref())?;
    let windows = [&input, &other].map(|f| vec![f.frame(); model.info().window]);
    let mut turn = 0;
    let mut one = || {
        let (mut window, mut before) = (&windows[0], &windows[1]);
        if wanted.compared {
            if turn % 2 == 1 {
                std::mem::swap(&mut window, &mut before);
            }
            turn += 1;
            let unchanged = upscaler.unchanged(&window[0], &before[0])?;
            assert!(!unchanged.is_whole(), "two pictures that are the same");
        }
        upscaler.run(
            GpuFrame {
                window,
                output: output.frame(),
                previous: None,
            },
            1.0,
        )
    };
    for _ in 0..(wanted.frames / 10).max(3) {
        one()?;
    }
    let copies = gpu.stream().copies();
    let early = gpu.device().memory()?.free;
    let begun = Instant::now();
    let mut network = 0.0;
    for _ in 0..wanted.frames {
        network += one()?.inference.as_secs_f64();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = gpu.stream().copies();
    let free = gpu.device().memory()?.free;
    Ok(Run {
        seconds,
        network,
        copies: after.to_device + after.to_host - copies.to_device - copies.to_host,
        half: upscaler.is_half(),
        taken: free,
        grown: early.saturating_sub(free),
    })
}
