//! Milliseconds a frame of every kernel, 640x360 -> 1280x720 on one thread: plain and SIMD.
//!
//! `cargo run --release -p gstneural-pixels --example bench_pixels [part of a name]`

use std::hint::black_box;
use std::time::Instant;

use gstneural_pixels::*;

const SMALL: (usize, usize) = (640, 360);
const LARGE: (usize, usize) = (1280, 720);

fn frame(format: PixelFormat, (w, h): (usize, usize)) -> Result<FrameBuf, PixelError> {
    let mut frame = FrameBuf::new(format, w, h, Color::default())?;
    let mut seed = 1u32;
    for p in 0..format.info().planes {
        for b in frame.as_mut().plane_mut(p).data.iter_mut() {
            seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
            *b = (seed >> 24) as u8;
        }
    }
    Ok(frame)
}

/// The median of some runs, in milliseconds.
fn time(run: &mut dyn FnMut()) -> f64 {
    let begin = Instant::now();
    run();
    let once = begin.elapsed().as_secs_f64();
    let runs = ((0.15 / once.max(1e-6)) as usize).clamp(5, 301);
    let mut all: Vec<f64> = (0..runs)
        .map(|_| {
            let begin = Instant::now();
            run();
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn bench(name: &str, mut run: impl FnMut()) {
    if std::env::args()
        .nth(1)
        .is_some_and(|part| !name.contains(&part))
    {
        return;
    }
    let plain = with_backend(Backend::Plain, || time(&mut run));
    let auto = with_backend(Backend::Auto, || time(&mut run));
    println!("{name:<44} {plain:>8.3} {auto:>8.3} {:>6.1}x", plain / auto);
}

fn main() -> Result<(), PixelError> {
    println!("{:<44} {:>8} {:>8}", "ms a frame", "plain", backend_name());
    let (sw, sh) = SMALL;
    let (lw, lh) = LARGE;
    let mut floats: Vec<f32> = (0..lw * lh)
        .map(|i| (i * 7919 % 1009) as f32 / 1008.0)
        .collect();
    let net = floats.clone();

    use PixelFormat::{Gray8, I420, I42010Le, Nv12, P01010Le, Rgb, Rgba};
    for (format, c) in [
        (Gray8, 0),
        (I42010Le, 0),
        (P01010Le, 1),
        (Nv12, 1),
        (Rgb, 1),
        (Rgba, 1),
    ] {
        let name = format.info().name;
        let small = frame(format, SMALL)?;
        bench(&format!("load {name}[{c}] 640x360"), || {
            let frame = small.as_ref();
            let comp = frame.component(c);
            load(&comp, Rect::of(&comp), 1.0 / 255.0, 0.0, &mut floats, sw);
            black_box(&floats);
        });
        let mut large = frame(format, LARGE)?;
        bench(&format!("store {name}[{c}] 1280x720"), || {
            let mut frame = large.as_mut();
            let mut comp = frame.component_mut(c);
            let (w, h) = (comp.width(), comp.height());
            store(&net, w, w, h, 255.0, 0.0, &mut comp, 0, 0);
        });
        if c == 0 || format == Rgba || format == Rgb {
            for r in [2, 3, 4] {
                bench(
                    &format!("store_shuffled r={r} {name}[{c}] 1280x720"),
                    || {
                        let mut frame = large.as_mut();
                        let mut comp = frame.component_mut(c);
                        let (w, h) = (lw / r * r, lh / r * r);
                        let (i, j) = (w / r, h / r);
                        store_shuffled(&net, i * j, i, r, 0, 0, w, h, 255.0, 0.0, &mut comp, 0, 0);
                    },
                );
            }
        }
    }
    bench("shuffle_f32 r=2 1280x720", || {
        shuffle_f32(&net, sw * sh, sw, 2, 0, 0, lw, lh, &mut floats, lw);
        black_box(&floats);
    });
    for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
        for (from, to) in [(SMALL, LARGE), (LARGE, SMALL)] {
            let (src, mut dst) = (frame(Gray8, from)?, frame(Gray8, to)?);
            let mut r = Resampler::new(from.0, from.1, to.0, to.1, filter, 0.0, 0.0)?;
            bench(
                &format!("{filter:?} luma {}x{} -> {}x{}", from.0, from.1, to.0, to.1),
                || {
                    r.run(
                        &src.as_ref().component(0),
                        &mut dst.as_mut().component_mut(0),
                    );
                },
            );
        }
    }
    for format in [I420, Nv12, P01010Le, Rgb, Rgba] {
        let name = format.info().name;
        let (small, large, mut out) = (
            frame(format, SMALL)?,
            frame(format, LARGE)?,
            frame(format, LARGE)?,
        );
        let site = ChromaSite::MPEG2;
        let mut scaler = FrameScaler::new(format, sw, sh, lw, lh, site, Filter::Bicubic)?;
        bench(&format!("Bicubic {name} 640x360 -> 1280x720"), || {
            scaler.run(&small.as_ref(), &mut out.as_mut());
        });
        if format == Nv12 {
            bench("Bicubic NV12 chroma alone", || {
                scaler.run_component(1, &small.as_ref(), &mut out.as_mut());
                scaler.run_component(2, &small.as_ref(), &mut out.as_mut());
            });
        }
        bench(&format!("mix {name} 1280x720"), || {
            mix(&mut out.as_mut(), &large.as_ref(), 0.7);
        });
        let mut stabilizer = Stabilizer::new(format, sw, sh, lw, lh)?;
        bench(&format!("Stabilizer {name} 1280x720"), || {
            stabilizer.run(&small.as_ref(), &large.as_ref(), &mut out.as_mut(), 0.6);
        });
        bench(&format!("rect_equal {name} 640x360"), || {
            let all = Rect {
                x: 0,
                y: 0,
                w: sw,
                h: sh,
            };
            black_box(rect_equal(&small.as_ref(), black_box(&small.as_ref()), all));
        });
        bench(&format!("split_view {name} 1280x720"), || {
            split_view(&mut out.as_mut(), &large.as_ref(), 640);
        });
    }
    let mut rgba = frame(Rgba, LARGE)?;
    let luma = frame(Gray8, LARGE)?;
    let yuv = YuvRgb::new(&Color::default(), 8);
    bench("replace_luma RGBA 1280x720", || {
        replace_luma(&mut rgba.as_mut(), &luma.as_ref().component(0), &yuv);
    });
    let (mut y, mut u, mut v) = (vec![0.5f32; sw], vec![0.5; sw], vec![0.5; sw]);
    bench("to_rgb 640x360", || {
        (0..sh).for_each(|_| yuv.to_rgb(&mut y, &mut u, &mut v));
        black_box(&y);
        y.fill(0.4);
        u.fill(0.4);
        v.fill(0.4);
    });
    bench("to_yuv 640x360", || {
        (0..sh).for_each(|_| yuv.to_yuv(&mut y, &mut u, &mut v));
        black_box(&y);
    });
    let i420 = frame(I420, SMALL)?;
    let mut y444 = frame(PixelFormat::Y444, SMALL)?;
    let mut up = ChromaUp::new(sw, sh, 1, 1, ChromaSite::MPEG2)?;
    bench("ChromaUp 640x360", || {
        up.run(
            &i420.as_ref().component(1),
            &mut y444.as_mut().component_mut(1),
        );
    });
    let large = frame(PixelFormat::Y444, LARGE)?;
    let mut half = frame(Nv12, LARGE)?;
    let mut down = ChromaDown::new(lw, lh, 1, 1, ChromaSite::MPEG2)?;
    bench("ChromaDown 1280x720", || {
        down.run(
            &large.as_ref().component(1),
            &mut half.as_mut().component_mut(1),
        );
    });
    Ok(())
}
