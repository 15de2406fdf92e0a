//! The engine on small networks made here, with the real ONNX Runtime.

use std::sync::Arc;

use gstneural_pixels::{Color, FrameBuf, FrameRef, Matrix, PixelFormat, Range};

use crate::{
    Engine, Error, Item, Mode, Model, Options, Previous, Tile,
    testing::{Builder, load, load_with},
};

/// A luma x2 network with a PReLU and a receptive radius of 4.
pub(crate) fn luma() -> Builder {
    Builder::new(&[-1, 1, -2, -3], &[-1, 1, -4, -5])
        .conv("input", "a", [8, 1, 3, 3], 1, 0.5)
        .prelu("a", "b", &[0.1, 0.2, 0.3, 0.4, -0.1, 0.6, 0.7, 1.5])
        .conv("b", "c", [8, 8, 5, 5], 1, 0.15)
        .op("Relu", &["c"], "d")
        .conv("d", "e", [4, 8, 3, 3], 1, 0.2)
        .shuffle("e", "output", 2, true)
}

/// An RGB x2 network that ends in its shuffle.
pub(crate) fn rgb(crd: bool) -> Builder {
    Builder::new(&[-1, 3, -2, -3], &[-1, 3, -4, -5])
        .conv("input", "a", [8, 3, 3, 3], 1, 0.4)
        .op("Relu", &["a"], "b")
        .conv("b", "c", [12, 8, 3, 3], 1, 0.3)
        .shuffle("c", "output", 2, crd)
}

/// A luma x2 network with stride 2 inside: sizes must be even.
pub(crate) fn strided() -> Builder {
    Builder::new(&[-1, 1, -2, -3], &[-1, 1, -4, -5])
        .conv("input", "a", [8, 1, 3, 3], 2, 0.5)
        .op("Relu", &["a"], "b")
        .conv("b", "c", [16, 8, 3, 3], 1, 0.3)
        .shuffle("c", "output", 4, true)
}

pub(crate) fn noise(format: PixelFormat, w: usize, h: usize, seed: u64) -> FrameBuf {
    let mut f = FrameBuf::new(format, w, h, Color::default()).unwrap();
    let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut frame = f.as_mut();
    for c in 0..format.info().components.len() {
        let mut comp = frame.component_mut(c);
        let max = comp.max_value();
        for y in 0..comp.height() {
            for x in 0..comp.width() {
                s ^= s << 13;
                s ^= s >> 7;
                s ^= s << 17;
                comp.set(x, y, (s >> 33) as u32 % (max + 1));
            }
        }
    }
    f
}

fn run(model: &Arc<Model>, options: &Options, input: &FrameRef<'_>) -> FrameBuf {
    let window = vec![*input; model.info().window];
    run_window(model, options, &window)
}

fn run_window(model: &Arc<Model>, options: &Options, window: &[FrameRef<'_>]) -> FrameBuf {
    let input = window[0];
    let (w, h) = (input.width(), input.height());
    let scale = model.info().scale;
    let mut engine =
        Engine::new(model.clone(), options, input.format(), input.color(), w, h).unwrap();
    let mut out = FrameBuf::new(input.format(), w * scale, h * scale, input.color()).unwrap();
    engine
        .run(&mut [Item {
            window,
            output: out.as_mut(),
            previous: None,
        }])
        .unwrap();
    out
}

/// Largest difference of all components, in code values.
pub(crate) fn difference(a: &FrameBuf, b: &FrameBuf) -> u32 {
    let (a, b) = (a.as_ref(), b.as_ref());
    let mut worst = 0;
    for c in 0..a.format().info().components.len() {
        let (a, b) = (a.component(c), b.component(c));
        for y in 0..a.height() {
            for x in 0..a.width() {
                worst = worst.max(a.get(x, y).abs_diff(b.get(x, y)));
            }
        }
    }
    worst
}

fn options(tile: Tile) -> Options {
    Options {
        tile,
        threads: 1,
        ..Options::default()
    }
}

#[test]
fn metadata_is_found_by_trial() {
    let m = load(&luma());
    let info = m.info();
    assert_eq!(
        (info.scale, info.multiple, info.overlap, info.window),
        (2, 1, 4, 1)
    );
    let m = load(&strided());
    assert_eq!((m.info().scale, m.info().multiple), (2, 2));
    assert!(m.info().overlap >= 3);
}

/// What decoders leave, made better without being made larger.
#[test]
fn a_network_of_scale_1_keeps_the_size_and_the_chroma() {
    let model = load(
        &Builder::new(&[-1, 1, -2, -3], &[-1, 1, -2, -3])
            .conv("input", "a", [8, 1, 3, 3], 1, 0.5)
            .op("Relu", &["a"], "b")
            .conv("b", "output", [1, 8, 3, 3], 1, 0.3),
    );
    let info = model.info();
    assert_eq!((info.scale, info.overlap), (1, 2));
    for format in [PixelFormat::I420, PixelFormat::I42010Le] {
        let input = noise(format, 70, 46, 3);
        let whole = run(&model, &options(Tile::Whole), &input.as_ref());
        let tiled = run(&model, &options(Tile::Size(16)), &input.as_ref());
        assert!(difference(&whole, &tiled) <= 1);
        let (a, b) = (input.as_ref(), whole.as_ref());
        for c in 1..3 {
            for y in 0..23 {
                for x in 0..35 {
                    assert_eq!(
                        a.component(c).get(x, y),
                        b.component(c).get(x, y),
                        "chroma {c} at {x}, {y}"
                    );
                }
            }
        }
        assert!(
            difference(&input, &whole) > 0,
            "luma goes through the network"
        );
    }
}

#[test]
fn tiles_equal_the_whole_frame() {
    for (builder, format) in [
        (luma(), PixelFormat::Gray8),
        (luma(), PixelFormat::I42010Le),
        (strided(), PixelFormat::Nv12),
        (rgb(true), PixelFormat::Bgrx),
        (rgb(false), PixelFormat::Rgb),
        (rgb(true), PixelFormat::I420),
        (luma(), PixelFormat::Rgba),
    ] {
        let model = load(&builder);
        for (w, h) in [(97, 61), (64, 48), (130, 33)] {
            let input = noise(format, w, h, 7);
            let whole = run(&model, &options(Tile::Whole), &input.as_ref());
            for (tile, batch) in [(24, 1), (32, 3), (50, 2)] {
                let tiled = run(
                    &model,
                    &Options {
                        batch,
                        ..options(Tile::Size(tile))
                    },
                    &input.as_ref(),
                );
                assert!(
                    difference(&whole, &tiled) <= 1,
                    "{format:?} {w}x{h} tiles of {tile}: {}",
                    difference(&whole, &tiled)
                );
            }
        }
    }
}

#[test]
fn tiles_without_overlap_do_differ() {
    // The test above can fail: without the overlap it would.
    let model = load(&luma());
    let input = noise(PixelFormat::Gray8, 97, 61, 7);
    let whole = run(&model, &options(Tile::Whole), &input.as_ref());
    let tiled = run(
        &model,
        &Options {
            overlap: Some(0),
            ..options(Tile::Size(24))
        },
        &input.as_ref(),
    );
    assert!(difference(&whole, &tiled) > 1);
}

#[test]
fn rewriting_prelu_and_shuffle_changes_nothing() {
    // The same network without anything that is rewritten: external weights would be left alone,
    // here the shuffle is hidden behind an Identity and the slope is shared by the channels' axis.
    let plain = Builder::new(&[-1, 1, -2, -3], &[-1, 1, -4, -5])
        .conv("input", "a", [8, 1, 3, 3], 1, 0.5)
        .prelu_unrewritable("a", "b", &[0.1, 0.2, 0.3, 0.4, -0.1, 0.6, 0.7, 1.5])
        .conv("b", "c", [8, 8, 5, 5], 1, 0.15)
        .op("Relu", &["c"], "d")
        .conv("d", "e", [4, 8, 3, 3], 1, 0.2)
        .shuffle("e", "f", 2, true)
        .op("Identity", &["f"], "output");
    let (a, b) = (load(&luma()), load(&plain));
    assert_eq!(b.shuffle().block, 1);
    assert_eq!(a.shuffle().block, 2);
    let input = noise(PixelFormat::Gray16Le, 45, 37, 3);
    let x = run(&a, &options(Tile::Whole), &input.as_ref());
    let y = run(&b, &options(Tile::Whole), &input.as_ref());
    assert!(difference(&x, &y) <= 1, "of 65535: {}", difference(&x, &y));
}

#[test]
fn batches_equal_single_frames() {
    let model = load(&luma());
    let frames: Vec<_> = (0..5)
        .map(|i| noise(PixelFormat::Nv12, 40, 30, i + 1))
        .collect();
    let refs: Vec<_> = frames.iter().map(FrameBuf::as_ref).collect();
    let color = Color::default();
    let mut engine = Engine::new(
        model.clone(),
        &Options {
            batch: 4,
            ..options(Tile::Whole)
        },
        PixelFormat::Nv12,
        color,
        40,
        30,
    )
    .unwrap();
    let mut outs: Vec<_> = (0..5)
        .map(|_| FrameBuf::new(PixelFormat::Nv12, 80, 60, color).unwrap())
        .collect();
    let mut items: Vec<_> = outs
        .iter_mut()
        .zip(refs.chunks(1))
        .map(|(o, window)| Item {
            window,
            output: o.as_mut(),
            previous: None,
        })
        .collect();
    let report = engine.run(&mut items).unwrap();
    assert_eq!((report.tiles, report.reused), (5, 0));
    drop(items);
    for (out, input) in outs.iter().zip(&refs) {
        assert_eq!(
            difference(out, &run(&model, &options(Tile::Whole), input)),
            0
        );
    }
}

#[test]
fn unchanged_tiles_are_reused_and_equal() {
    for format in [PixelFormat::I420, PixelFormat::Rgbx, PixelFormat::P01010Le] {
        let model = if format == PixelFormat::Rgbx {
            load(&rgb(true))
        } else {
            load(&luma())
        };
        let first = noise(format, 96, 80, 1);
        let mut second = FrameBuf::new(format, 96, 80, Color::default()).unwrap();
        gstneural_pixels::blit(&mut second.as_mut(), &first.as_ref(), 0, 0);
        second.as_mut().component_mut(0).set(90, 70, 3);
        let o = options(Tile::Size(32));
        let first_out = run(&model, &o, &first.as_ref());
        let fresh = run(&model, &o, &second.as_ref());
        let mut engine = Engine::new(model, &o, format, Color::default(), 96, 80).unwrap();
        let mut out = FrameBuf::new(format, 192, 160, Color::default()).unwrap();
        let window = [second.as_ref()];
        let previous = Previous {
            input: first.as_ref(),
            output: first_out.as_ref(),
        };
        let report = engine
            .run(&mut [Item {
                window: &window,
                output: out.as_mut(),
                previous: Some(previous),
            }])
            .unwrap();
        assert!(
            report.reused > 0 && report.reused < report.tiles,
            "{report:?}"
        );
        assert_eq!(difference(&out, &fresh), 0, "{format:?}");
    }
}

#[test]
fn a_window_takes_the_middle_frame() {
    // Three luma frames in, 4 channels out that only look at the middle one.
    let mut b = Builder::new(&[-1, 3, -2, -3], &[-1, 1, -4, -5])
        .conv("input", "a", [4, 3, 1, 1], 1, 0.0)
        .shuffle("a", "output", 2, true);
    let w = &mut b.graph().initializer[0];
    w.raw_data = (0..12)
        .flat_map(|i| f32::from(u8::from(i % 3 == 1)).to_le_bytes())
        .collect();
    let model = load_with(&b, "window=3\nchannels=1\nrange=0,1\n").unwrap();
    assert_eq!(model.info().window, 3);
    let frames: Vec<_> = (0..3)
        .map(|i| noise(PixelFormat::Gray8, 20, 10, i + 1))
        .collect();
    let refs: Vec<_> = frames.iter().map(FrameBuf::as_ref).collect();
    let out = run_window(&model, &options(Tile::Whole), &refs);
    let (out, middle) = (out.as_ref(), refs[1].component(0));
    for (x, y) in [(0, 0), (39, 19), (11, 7)] {
        assert_eq!(out.component(0).get(x, y), middle.get(x / 2, y / 2));
    }
    let e = load_with(&b, "").unwrap_err().to_string();
    assert!(
        e.contains("window"),
        "undeclared, three channels are taken for RGB: {e}"
    );
}

#[test]
fn every_mode_serves_every_format() {
    for builder in [luma(), rgb(true)] {
        let model = load(&builder);
        for format in PixelFormat::ALL {
            for mode in [Mode::Auto, Mode::Luma, Mode::Rgb] {
                let input = noise(*format, 33, 17, 5);
                let o = Options {
                    mode,
                    ..options(Tile::Whole)
                };
                let whole = run(&model, &o, &input.as_ref());
                let o = Options {
                    tile: Tile::Size(20),
                    batch: 2,
                    ..o
                };
                let tiled = run(&model, &o, &input.as_ref());
                // Luma that is added to RGB is rounded twice.
                assert!(difference(&whole, &tiled) <= 2, "{format:?} {mode:?}");
            }
        }
    }
}

#[test]
fn bad_models_say_what_is_wrong() {
    let wrong_rank = Builder::new(&[1, 8, 8], &[1, 8, 8]).op("Relu", &["input"], "output");
    let custom = Builder::new(&[1, 1, -1, -2], &[1, 1, -1, -2]).op("Unheard", &["input"], "output");
    let five = Builder::new(&[1, 5, -1, -2], &[1, 5, -1, -2]).op("Relu", &["input"], "output");
    let shrinks = Builder::new(&[1, 1, -1, -2], &[1, 1, -1, -2]).conv(
        "input",
        "output",
        [1, 1, 3, 3],
        2,
        0.1,
    );
    let dark = luma();
    for (b, say) in [
        (wrong_rank, "axes"),
        (custom, "Unheard"),
        (five, "window"),
        (shrinks, "32x32"),
    ] {
        let e = load_with(&b, "").unwrap_err().to_string();
        assert!(e.contains(say), "{e}");
    }
    let e = load_with(&dark, "scale=3\n").unwrap_err();
    assert!(
        matches!(e, Error::Metadata { .. }) && e.to_string().contains("scale"),
        "{e}"
    );
}

#[test]
fn a_fixed_size_is_tiled() {
    let dynamic = load(&luma());
    let fixed = Builder {
        model: luma().model,
    };
    let mut fixed = fixed;
    let shape = Builder::new(&[1, 1, 32, 32], &[1, 1, 64, 64]);
    fixed.graph().input = shape.model.graph.input.clone();
    let fixed = load(&fixed);
    assert_eq!(fixed.info().fixed_size, Some((32, 32)));
    for (w, h) in [(100, 70), (32, 32)] {
        let input = noise(PixelFormat::Gray8, w, h, 9);
        let a = run(&dynamic, &options(Tile::Whole), &input.as_ref());
        let b = run(&fixed, &options(Tile::Auto), &input.as_ref());
        assert!(difference(&a, &b) <= 1, "{w}x{h}: {}", difference(&a, &b));
    }
    // Smaller than the network: padded, so only the inside is the same.
    let input = noise(PixelFormat::Gray8, 20, 12, 9);
    run(&fixed, &options(Tile::Auto), &input.as_ref());
}

/// An RGB network that repeats each pixel.
fn nearest() -> Builder {
    let mut b = Builder::new(&[-1, 3, -2, -3], &[-1, 3, -4, -5])
        .conv("input", "a", [12, 3, 1, 1], 1, 0.0)
        .shuffle("a", "output", 2, true);
    let w = &mut b.graph().initializer[0];
    w.raw_data = (0..36)
        .flat_map(|i| f32::from(u8::from(i / 12 == i % 3)).to_le_bytes())
        .collect();
    b
}

#[test]
fn colours_survive_the_way_through_rgb() {
    let model = load(&nearest());
    for format in [
        PixelFormat::I420,
        PixelFormat::Nv12,
        PixelFormat::P01010Le,
        PixelFormat::Y444,
    ] {
        for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
            for range in [Range::Limited, Range::Full] {
                let color = Color {
                    matrix,
                    range,
                    ..Color::default()
                };
                // Codes of 8 bits that are inside the RGB cube for all of these.
                for codes in [
                    [81u32, 120, 140],
                    [180, 110, 120],
                    [60, 140, 130],
                    [126, 128, 128],
                ] {
                    let shift = format.info().depth - 8;
                    let mut f = FrameBuf::new(format, 16, 12, color).unwrap();
                    for (c, code) in codes.iter().enumerate() {
                        f.as_mut().component_mut(c).fill(code << shift);
                    }
                    let out = run(&model, &options(Tile::Whole), &f.as_ref());
                    for (c, code) in codes.iter().enumerate() {
                        let got = out.as_ref().component(c).get(9, 5).abs_diff(code << shift);
                        assert!(
                            got <= 1,
                            "{format:?} {color:?} {codes:?}: component {c} off by {got}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn blended_tiles_add_up() {
    for (builder, format) in [
        (luma(), PixelFormat::Nv12),
        (rgb(true), PixelFormat::Rgb),
        (rgb(true), PixelFormat::I420),
        (luma(), PixelFormat::Bgra),
    ] {
        let model = load_with(&builder, "range=0,1\nblend=feather\noverlap=10\n").unwrap();
        let input = noise(format, 90, 70, 4);
        let whole = run(&model, &options(Tile::Whole), &input.as_ref());
        let tiled = run(&model, &options(Tile::Size(20)), &input.as_ref());
        // In the ramp, 5 pixels inside, both tiles are exact: the radius is 4.
        assert!(
            difference(&whole, &tiled) <= 1,
            "{format:?}: {}",
            difference(&whole, &tiled)
        );
        // A second frame finds nothing of the first.
        let color = Color::default();
        let mut engine =
            Engine::new(model, &options(Tile::Size(20)), format, color, 90, 70).unwrap();
        let mut out = FrameBuf::new(format, 180, 140, color).unwrap();
        for _ in 0..2 {
            let window = [input.as_ref()];
            let item = Item {
                window: &window,
                output: out.as_mut(),
                previous: None,
            };
            engine.run(&mut [item]).unwrap();
        }
        assert_eq!(difference(&out, &tiled), 0, "{format:?}");
    }
}
