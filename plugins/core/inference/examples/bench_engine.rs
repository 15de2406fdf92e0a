//! How much of a frame's time is spent outside the network.
//!
//! `cargo run --release -p gstneural-inference --example bench_engine [MODEL] [FORMAT] [THREADS]`

use std::{env, path::PathBuf, time::Instant};

use gstneural_inference::{Engine, Item, Model, ModelStore, Options, Tile, runtime};
use gstneural_pixels::{Color, FrameBuf, PixelFormat};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = |n: usize, default: &str| env::args().nth(n).unwrap_or_else(|| default.into());
    let roots = runtime::roots(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("x"));
    let path = ModelStore::new(None, &roots).resolve(&argument(1, "luma-x2-fast"))?;
    let format = PixelFormat::from_name(&argument(2, "I420")).ok_or("unknown format")?;
    let threads = argument(3, "2").parse()?;
    let model = Model::load(&path, &roots)?;
    let scale = model.info().scale;
    let (w, h) = (640, 360);
    let color = Color::default();
    let options = Options {
        threads,
        tile: Tile::Whole,
        ..Options::default()
    };
    let mut engine = Engine::new(model, &options, format, color, w, h)?;
    let input = FrameBuf::new(format, w, h, color)?;
    let mut output = FrameBuf::new(format, w * scale, h * scale, color)?;
    let mut shares = Vec::new();
    for _ in 0..60 {
        let start = Instant::now();
        let window = [input.as_ref()];
        let report = engine.run(&mut [Item {
            window: &window,
            output: output.as_mut(),
            previous: None,
        }])?;
        let total = start.elapsed();
        shares.push((
            report.inference.as_secs_f64() / total.as_secs_f64(),
            total - report.inference,
        ));
    }
    shares.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (share, outside) = shares[shares.len() / 2];
    println!(
        "{}: {:.1} % in the network, {:.2} ms outside",
        path.display(),
        share * 100.0,
        outside.as_secs_f64() * 1e3
    );
    Ok(())
}
