//! The whole way on a device, beside the processor's.
//!
//! Without a GPU the tests run on the stand-in for the driver (plugins/core/cuda/fake), whose memory
//! is the processor's: `on_the_stand_in` starts them there. With a GPU:
//! `cargo test -p gstneural-inference -- --ignored gpu::`.

use std::{path::Path, process::Command, sync::Arc};

use gstneural_cuda::{DeviceFrameBuf, copies};
use gstneural_pixels::{ChromaSite, Color, FrameBuf, Matrix, PixelFormat, Range, SiteH, SiteV};

use super::{Gpu, GpuFrame, GpuUpscaler};
use crate::{
    Compare, Device, Error, Frame, Mode, Model, Options, Precision, Processor, Tile, Upscaler,
    UpscalerOptions,
    engine_tests::{difference, luma, noise, rgb, strided},
    testing::{Builder, load, load_with},
};

const FORMATS: [PixelFormat; 4] = [
    PixelFormat::Nv12,
    PixelFormat::P01010Le,
    PixelFormat::Rgba,
    PixelFormat::Bgra,
];

#[test]
fn on_the_stand_in() {
    let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cuda/fake/build.sh");
    let folder = tempfile::tempdir().unwrap();
    let built = Command::new(fake).arg(folder.path()).status().unwrap();
    assert!(built.success(), "the stand-in for the driver was not built");
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "gpu::"])
        .env("LD_LIBRARY_PATH", folder.path())
        .env_remove("GSTNEURAL_CUDA")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{text}\n{errors}");
    assert!(!text.contains("running 0 tests"), "{text}");
}

fn gpu() -> Gpu {
    Gpu::open(0).unwrap()
}

fn options(tile: Tile, mode: Mode) -> UpscalerOptions {
    UpscalerOptions {
        engine: Options {
            // A GPU's own precision for convolutions would be TF32: asked for, it is single.
            device: Device {
                precision: Precision::Single,
                ..Device::default()
            },
            tile,
            mode,
            threads: 1,
            ..Options::default()
        },
        ..UpscalerOptions::default()
    }
}

/// Runs frames through both ways; the greatest difference in code values.
fn compare(
    gpu: &Gpu,
    models: (&Arc<Model>, Option<&Arc<Model>>),
    options: &UpscalerOptions,
    inputs: &[FrameBuf],
    weight: f32,
) -> u32 {
    let first = inputs[0].as_ref();
    let (format, color) = (first.format(), first.color());
    let size = (first.width(), first.height());
    let (model, window) = (models.0, models.0.info().window);
    let mut on_gpu = GpuUpscaler::new(gpu, model, models.1, options, format, color, size).unwrap();
    let on_cpu = UpscalerOptions {
        engine: Options {
            device: Device::cpu(),
            ..options.engine.clone()
        },
        ..options.clone()
    };
    let mut on_cpu = Upscaler::new(
        model.clone(),
        models.1.cloned(),
        on_cpu,
        format,
        color,
        size.0,
        size.1,
    )
    .unwrap();
    let scale = model.info().scale;
    let wide = if options.compare == Compare::Side {
        2
    } else {
        1
    };
    let out_size = (size.0 * scale * wide, size.1 * scale);
    let out = DeviceFrameBuf::new(gpu.device(), format, out_size.0, out_size.1, color).unwrap();
    let held: Vec<_> = inputs
        .iter()
        .map(|f| {
            let frame = DeviceFrameBuf::new(gpu.device(), format, size.0, size.1, color).unwrap();
            frame.frame().upload(gpu.stream(), &f.as_ref()).unwrap();
            frame
        })
        .collect();
    let mut worst = 0;
    for at in 0..=inputs.len() - window {
        let refs: Vec<_> = inputs[at..at + window]
            .iter()
            .map(FrameBuf::as_ref)
            .collect();
        let frames: Vec<_> = held[at..at + window]
            .iter()
            .map(DeviceFrameBuf::frame)
            .collect();
        let mut wanted = FrameBuf::new(format, out_size.0, out_size.1, color).unwrap();
        let before = gpu.stream().copies();
        if weight > 0.0 {
            let frame = GpuFrame {
                window: &frames,
                output: out.frame(),
                previous: None,
            };
            on_gpu.run(frame, weight).unwrap();
            let frame = Frame {
                window: &refs,
                output: wanted.as_mut(),
                previous: None,
            };
            on_cpu.run(vec![frame], weight).unwrap();
        } else {
            on_gpu
                .run_classical(&frames[window / 2], &out.frame())
                .unwrap();
            on_cpu
                .run_classical(&refs[window / 2], &mut wanted.as_mut())
                .unwrap();
        }
        assert_eq!(
            gpu.stream().copies(),
            before,
            "a frame went through the host"
        );
        let mut found = FrameBuf::new(format, out_size.0, out_size.1, color).unwrap();
        out.frame()
            .download(gpu.stream(), &mut found.as_mut())
            .unwrap();
        worst = worst.max(difference(&found, &wanted));
    }
    worst
}

/// Nothing on the stand-in, where the network is the processor's; a GPU sums in another order.
fn allowed(gpu: &Gpu, format: PixelFormat) -> u32 {
    match (gpu.is_software(), format.info().depth) {
        (true, _) => 0,
        (_, 8) => 1,
        _ => 2,
    }
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn every_route_equals_the_processors() {
    let gpu = gpu();
    for builder in [luma(), rgb(true), rgb(false), strided()] {
        let model = load(&builder);
        for format in FORMATS {
            for mode in [Mode::Auto, Mode::Luma, Mode::Rgb] {
                let input = [noise(format, 66, 34, 5)];
                for tile in [Tile::Whole, Tile::Size(24)] {
                    let worst = compare(&gpu, (&model, None), &options(tile, mode), &input, 1.0);
                    assert!(
                        worst <= allowed(&gpu, format),
                        "{format:?} {mode:?} {tile:?}: {worst}"
                    );
                }
            }
        }
    }
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn every_colorimetry_equals_the_processors() {
    let gpu = gpu();
    let model = load(&rgb(true));
    let (lefts, tops) = ([SiteH::Left, SiteH::Center], [SiteV::Top, SiteV::Center]);
    for matrix in [
        Matrix::Bt601,
        Matrix::Bt709,
        Matrix::Bt2020,
        Matrix::Fcc,
        Matrix::Smpte240m,
    ] {
        for range in [Range::Limited, Range::Full] {
            for (h, v) in lefts.into_iter().flat_map(|h| tops.map(|v| (h, v))) {
                let color = Color {
                    matrix,
                    range,
                    site: ChromaSite { h, v },
                };
                for format in [PixelFormat::Nv12, PixelFormat::P01010Le] {
                    let plain = noise(format, 34, 22, 9);
                    let mut input = FrameBuf::new(format, 34, 22, color).unwrap();
                    gstneural_pixels::blit(&mut input.as_mut(), &plain.as_ref(), 0, 0);
                    let whole = options(Tile::Whole, Mode::Auto);
                    let worst = compare(&gpu, (&model, None), &whole, &[input], 1.0);
                    assert!(
                        worst <= allowed(&gpu, format),
                        "{format:?} {color:?}: {worst}"
                    );
                }
            }
        }
    }
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn what_is_done_to_the_result_equals_the_processors() {
    let gpu = gpu();
    let (model, other) = (load(&luma()), load(&strided()));
    let plain = options(Tile::Whole, Mode::Auto);
    let with = |change: fn(&mut UpscalerOptions)| {
        let mut options = plain.clone();
        change(&mut options);
        options
    };
    for format in FORMATS {
        // Nearly still, so that the stabilizer has something to do.
        let inputs: Vec<_> = (0..4)
            .map(|i| {
                let mut f = noise(format, 64, 36, 3);
                f.as_mut().component_mut(0).set(i * 9, 7, 11);
                f
            })
            .collect();
        for (name, options, weight) in [
            ("strength", with(|o| o.strength = 0.6), 1.0),
            ("weight", plain.clone(), 0.3),
            ("classical", plain.clone(), 0.0),
            ("stabilize", with(|o| o.stabilize = 0.8), 1.0),
            ("split", with(|o| o.compare = Compare::Split), 1.0),
            ("side", with(|o| o.compare = Compare::Side), 1.0),
            ("side, classical", with(|o| o.compare = Compare::Side), 0.0),
        ] {
            for models in [(&model, None), (&model, Some(&other))] {
                let worst = compare(&gpu, models, &options, &inputs, weight);
                assert!(worst <= allowed(&gpu, format), "{name} {format:?}: {worst}");
            }
        }
    }
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn windows_and_batches_equal_the_processors() {
    let gpu = gpu();
    let mut b = Builder::new(&[-1, 3, -2, -3], &[-1, 1, -4, -5])
        .conv("input", "a", [8, 3, 3, 3], 1, 0.4)
        .op("Relu", &["a"], "b")
        .conv("b", "c", [4, 8, 3, 3], 1, 0.3)
        .shuffle("c", "output", 2, true);
    assert!(!b.graph().node.is_empty());
    let window = load_with(&b, "window=3\nchannels=1\nrange=0,1\n").unwrap();
    let inputs: Vec<_> = (0..5)
        .map(|i| noise(PixelFormat::Nv12, 48, 32, i + 1))
        .collect();
    let mut o = options(Tile::Size(24), Mode::Auto);
    for batch in [1, 3, 8] {
        o.engine.batch = batch;
        for model in [&window, &load(&luma())] {
            let worst = compare(&gpu, (model, None), &o, &inputs, 1.0);
            assert!(
                worst <= allowed(&gpu, PixelFormat::Nv12),
                "batches of {batch}: {worst}"
            );
        }
    }
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn blended_tiles_equal_the_processors() {
    let gpu = gpu();
    let model = load_with(&luma(), "range=0,1\nblend=feather\noverlap=8\n").unwrap();
    for format in FORMATS {
        for mode in [Mode::Auto, Mode::Rgb] {
            let o = options(Tile::Size(24), mode);
            let worst = compare(&gpu, (&model, None), &o, &[noise(format, 80, 56, 2)], 1.0);
            assert!(
                worst <= allowed(&gpu, format).max(1),
                "{format:?} {mode:?}: {worst}"
            );
        }
    }
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn half_precision_is_near_and_its_faults_are_mended() {
    let gpu = gpu();
    let half = |o: &mut UpscalerOptions| o.engine.device.precision = Precision::Half;
    let mut o = options(Tile::Whole, Mode::Auto);
    half(&mut o);
    let input = [noise(PixelFormat::Nv12, 64, 48, 4)];
    let worst = compare(&gpu, (&load(&luma()), None), &o, &input, 1.0);
    assert!(worst <= 3, "{worst}");
    // Values of white in thousands: the sums leave half precision, single precision is right.
    let b = Builder::new(&[-1, 1, -2, -3], &[-1, 1, -4, -5])
        .conv("input", "a", [8, 1, 3, 3], 1, 9e3)
        .op("Relu", &["a"], "b")
        .conv("b", "c", [4, 8, 3, 3], 1, 9.0)
        .shuffle("c", "output", 2, true);
    let model = load(&b);
    let first = input[0].as_ref();
    let (format, color) = (first.format(), first.color());
    let mut upscaler = GpuUpscaler::new(&gpu, &model, None, &o, format, color, (64, 48)).unwrap();
    assert!(upscaler.is_half());
    let worst = compare(&gpu, (&model, None), &o, &input, 1.0);
    assert!(worst <= allowed(&gpu, format), "{worst}");
    let from = DeviceFrameBuf::new(gpu.device(), format, 64, 48, color).unwrap();
    from.frame().upload(gpu.stream(), &first).unwrap();
    let to = DeviceFrameBuf::new(gpu.device(), format, 128, 96, color).unwrap();
    let frame = GpuFrame {
        window: &[from.frame()],
        output: to.frame(),
        previous: None,
    };
    upscaler.run(frame, 1.0).unwrap();
    assert_eq!(upscaler.spoilt(), Some("values that are no numbers"));
    assert!(!upscaler.is_half());
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn what_does_not_fit_is_refused() {
    let gpu = gpu();
    let model = load(&luma());
    let o = options(Tile::Whole, Mode::Auto);
    let color = Color::default();
    let mut on_cpu = o.clone();
    on_cpu.engine.device.processor = Some(Processor::Cpu);
    let e = GpuUpscaler::new(
        &gpu,
        &model,
        None,
        &on_cpu,
        PixelFormat::Nv12,
        color,
        (64, 48),
    );
    assert!(matches!(e, Err(Error::Unsupported(_))));
    let mut upscaler =
        GpuUpscaler::new(&gpu, &model, None, &o, PixelFormat::Nv12, color, (64, 48)).unwrap();
    let small = DeviceFrameBuf::new(gpu.device(), PixelFormat::Nv12, 64, 48, color).unwrap();
    let frame = GpuFrame {
        window: &[small.frame()],
        output: small.frame(),
        previous: None,
    };
    assert!(upscaler.run(frame, 1.0).is_err());
    assert!(copies().to_device < 1 << 40);
}
