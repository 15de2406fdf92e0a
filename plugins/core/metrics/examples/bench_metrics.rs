//! Milliseconds a frame of the metrics at 1920x1080.
//!
//! `cargo run --release -p gstneural-metrics --example bench_metrics`, with and without
//! `GSTNEURAL_SIMD=off`.

use std::time::Instant;

use gstneural_metrics::{Comparer, Config};
use gstneural_pixels::{Color, FrameBuf, PixelFormat, backend_name};

/// A frame of xorshift noise around a ramp.
fn frame(format: PixelFormat, mut seed: u64) -> Result<FrameBuf, gstneural_pixels::PixelError> {
    let mut frame = FrameBuf::new(format, 1920, 1080, Color::default())?;
    let mut writable = frame.as_mut();
    for c in 0..format.info().components.len() {
        let mut component = writable.component_mut(c);
        let max = component.max_value();
        for y in 0..component.height() {
            for x in 0..component.width() {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let noise = (seed >> 40) as u32 % (max / 8);
                component.set(x, y, (x + y) as u32 % (max - max / 8) + noise);
            }
        }
    }
    Ok(frame)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("kernels: {}", backend_name());
    for format in [PixelFormat::I420, PixelFormat::I42010Le] {
        let (a, b) = (frame(format, 1)?, frame(format, 2)?);
        for metrics in ["psnr", "psnr,ssim", "psnr,temporal"] {
            let config = Config {
                metrics: metrics.parse()?,
                ..Config::default()
            };
            let mut comparer = Comparer::new(&config, &a.as_ref())?;
            let begun = Instant::now();
            for i in 0..10 {
                let (r, d) = if i % 2 == 0 { (&a, &b) } else { (&b, &a) };
                comparer.push(&r.as_ref(), &d.as_ref())?;
            }
            let ms = begun.elapsed().as_secs_f64() * 100.0;
            println!("{} {metrics}: {ms:.2} ms a frame", format.info().name);
        }
    }
    Ok(())
}
