use super::*;
use crate::testing::{Random, SIZES};
use crate::{Color, FrameBuf, Matrix, PixelFormat, Range};

fn components(format: PixelFormat) -> usize {
    format.info().components.len()
}

#[test]
fn mix_is_the_weighted_mean() {
    let mut random = Random::new(7);
    for &format in PixelFormat::ALL {
        for (w, h) in SIZES.into_iter().filter(|(w, _)| *w < 100) {
            let (net, classical) = (random.frame(format, w, h), random.frame(format, w, h));
            for weight in [-1.0, 0.0, 0.3, 0.5, 1.0, 2.0, f32::NAN] {
                let mut out = net.clone();
                mix(&mut out.as_mut(), &classical.as_ref(), weight);
                let weight = if weight.is_nan() {
                    0.0
                } else {
                    weight.clamp(0.0, 1.0)
                };
                for c in 0..components(format) {
                    let (net, classical, out) = (net.as_ref(), classical.as_ref(), out.as_ref());
                    let (net, classical, out) =
                        (net.component(c), classical.component(c), out.component(c));
                    for y in 0..out.height() {
                        for x in 0..out.width() {
                            let (d, k) = (net.get(x, y) as f32, classical.get(x, y) as f32);
                            let expected = match format.info().alpha == Some(c) {
                                true => net.get(x, y),
                                false => (k + weight * (d - k) + 0.5) as u32,
                            };
                            assert_eq!(out.get(x, y), expected, "{format:?} {weight} {c}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn padding_survives_mixing() {
    let mut a = FrameBuf::new(PixelFormat::Xrgb, 9, 3, Color::default()).unwrap();
    let b = Random::new(8).frame(PixelFormat::Xrgb, 9, 3);
    crate::fill_padding(&mut a.as_mut());
    mix(&mut a.as_mut(), &b.as_ref(), 0.25);
    let plane = a.as_ref().plane(0);
    assert!((0..3).all(|y| {
        plane.data[y * plane.stride..][..36]
            .chunks(4)
            .all(|p| p[0] == 255)
    }));
}

#[test]
fn replaced_luma_is_the_luma_asked_for() {
    let mut random = Random::new(9);
    for &format in PixelFormat::ALL
        .iter()
        .filter(|f| f.info().family == Family::Rgb)
    {
        for (w, h) in [(1, 1), (3, 5), (300, 7)] {
            for range in [Range::Full, Range::Limited] {
                let color = Color {
                    matrix: Matrix::Bt601,
                    range,
                    ..Color::default()
                };
                let yuv = YuvRgb::new(&color, 8);
                let mut frame = random.frame(format, w, h);
                let mut luma = FrameBuf::new(PixelFormat::Gray8, w, h, color).unwrap();
                // Colours and lumas between which nothing clips.
                for y in 0..h {
                    for x in 0..w {
                        for c in 0..3 {
                            let v = 100 + random.below(50) as u32;
                            frame.as_mut().component_mut(c).set(x, y, v);
                        }
                        let v = 100 + random.below(30) as u32;
                        luma.as_mut().component_mut(0).set(x, y, v);
                    }
                }
                let before = frame.clone();
                replace_luma(&mut frame.as_mut(), &luma.as_ref().component(0), &yuv);
                let (before, after, luma) = (before.as_ref(), frame.as_ref(), luma.as_ref());
                for y in 0..h {
                    for x in 0..w {
                        let [r, g, b] =
                            [0, 1, 2].map(|c| [after.component(c).get(x, y) as f32 / 255.0]);
                        let mut own = [0.0];
                        yuv.luma(&r, &g, &b, &mut own);
                        let d = own[0] * 255.0 - luma.component(0).get(x, y) as f32;
                        assert!(d.abs() <= 0.51, "{format:?} {range:?} {d}");
                        // Colour differences stay.
                        let diff = |f: &FrameRef<'_>| {
                            f.component(0).get(x, y) as i32 - f.component(2).get(x, y) as i32
                        };
                        assert!((diff(&before) - diff(&after)).abs() <= 1);
                        for c in 3..components(format) {
                            let alpha = before.component(c).get(x, y);
                            assert_eq!(alpha, after.component(c).get(x, y));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn split_takes_the_left_and_draws_a_line() {
    let mut random = Random::new(10);
    for &format in PixelFormat::ALL {
        let (w, h) = (17, 5);
        let (right, left) = (random.frame(format, w, h), random.frame(format, w, h));
        for split in [0, 1, 2, 7, 8, 15, 16, 17, 99] {
            let mut out = right.clone();
            split_view(&mut out.as_mut(), &left.as_ref(), split);
            let at = if split >= w {
                w
            } else {
                split - split % format.grid().0
            };
            for (c, comp) in format.info().components.iter().enumerate() {
                let (right, left, out) = (right.as_ref(), left.as_ref(), out.as_ref());
                let (right, left, out) = (right.component(c), left.component(c), out.component(c));
                for y in 0..out.height() {
                    for x in 0..out.width() {
                        let luma_x = x << comp.sub_w;
                        let line = at > 0 && at < w && (at..at + 2).contains(&luma_x);
                        let expected = if luma_x < at {
                            left.get(x, y)
                        } else if !line {
                            right.get(x, y)
                        } else if format.info().family == Family::Rgb {
                            255
                        } else {
                            (if c == 0 { 235 } else { 128 }) << (format.info().depth - 8)
                        };
                        assert_eq!(out.get(x, y), expected, "{format:?} {split} {c} {x}");
                    }
                }
            }
        }
    }
}

#[test]
fn blit_places_a_frame() {
    let mut random = Random::new(11);
    for &format in PixelFormat::ALL {
        let (canvas, small) = (random.frame(format, 21, 13), random.frame(format, 6, 4));
        for (x, y) in [
            (0, 0),
            (6, 4),
            (5, 3),
            (18, 10),
            (21, 0),
            (0, 13),
            (usize::MAX, 0),
        ] {
            let mut out = canvas.clone();
            blit(&mut out.as_mut(), &small.as_ref(), x, y);
            let (gx, gy) = format.grid();
            let (x, y) = (x - x % gx, y - y % gy);
            for (c, comp) in format.info().components.iter().enumerate() {
                let (canvas, small, out) = (canvas.as_ref(), small.as_ref(), out.as_ref());
                let (canvas, small, out) =
                    (canvas.component(c), small.component(c), out.component(c));
                let (cx, cy) = (x >> comp.sub_w, y >> comp.sub_h);
                for py in 0..out.height() {
                    for px in 0..out.width() {
                        let inside = px >= cx
                            && px - cx < small.width()
                            && py >= cy
                            && py - cy < small.height();
                        let expected = match inside {
                            true => small.get(px - cx, py - cy),
                            false => canvas.get(px, py),
                        };
                        assert_eq!(out.get(px, py), expected, "{format:?} {x},{y} {c}");
                    }
                }
            }
        }
    }
}
