use super::*;
use crate::testing::Random;
use crate::{Color, CompShape, FrameBuf, PixelFormat};

#[test]
fn rounds_half_up_and_clamps() {
    let cases = [
        (0.0, 0),
        (0.4999, 0),
        (0.5, 1),
        (1.5, 2),
        (2.5, 3),
        (254.49, 254),
        (254.5, 255),
        (255.0, 255),
        (255.5, 255),
        (1e30, 255),
        (f32::INFINITY, 255),
        (-0.5, 0),
        (-1e30, 0),
        (f32::NEG_INFINITY, 0),
        (f32::NAN, 0),
    ];
    for (value, expected) in cases {
        for n in [1, 9, 40] {
            let mut data = vec![7u8; n];
            let mut dst = CompMut::new(&mut data, CompShape::packed(n, 1, 8)).unwrap();
            store(&vec![value; n], n, n, 1, 1.0, 0.0, &mut dst, 0, 0);
            assert_eq!(data, vec![expected as u8; n], "{value}");
            let mut data = vec![7u8; 2 * n];
            let mut dst = CompMut::new(&mut data, CompShape::packed(n, 1, 16)).unwrap();
            store(&vec![value * 257.0; n], n, n, 1, 1.0, 0.0, &mut dst, 0, 0);
            let wide = dst.as_ref().get(n - 1, 0);
            let exact = f64::from(value * 257.0).clamp(0.0, 65535.0);
            let expected = if exact.is_nan() {
                0.0
            } else {
                (exact + 0.5).min(65535.0)
            };
            assert_eq!(wide, expected as u32, "{value}");
        }
    }
}

#[test]
fn writes_the_block_and_nothing_else() {
    let mut random = Random::new(3);
    for &format in PixelFormat::ALL {
        for _ in 0..20 {
            let frame = random.frame(format, 37, 11);
            for c in 0..format.info().components.len() {
                let mut copy = frame.clone();
                let (x, y, w, h) = (
                    random.below(40),
                    random.below(12),
                    random.below(40),
                    random.below(12),
                );
                let src = random.floats(40 * 12);
                let mut view = copy.as_mut();
                let mut comp = view.component_mut(c);
                let max = comp.max_value() as f32;
                store(&src, 40, w, h, max, 0.25, &mut comp, x, y);
                check(&frame, &copy, c, |px, py| {
                    let inside = (x..x + w).contains(&px) && (y..y + h).contains(&py);
                    inside.then(|| src[(py - y) * 40 + px - x] * max + 0.25)
                });
            }
        }
    }
}

/// `after` is `before` except for component `c`, where `expected` is rounded.
fn check(
    before: &FrameBuf,
    after: &FrameBuf,
    c: usize,
    expected: impl Fn(usize, usize) -> Option<f32>,
) {
    let (before, after) = (before.as_ref(), after.as_ref());
    let format = before.format();
    for other in 0..format.info().components.len() {
        let (a, b) = (before.component(other), after.component(other));
        for py in 0..a.height() {
            for px in 0..a.width() {
                let wanted = match expected(px, py).filter(|_| other == c) {
                    Some(v) if v.is_nan() => 0,
                    Some(v) => (v + 0.5).clamp(0.0, a.max_value() as f32) as u32,
                    None => a.get(px, py),
                };
                assert_eq!(b.get(px, py), wanted, "{format:?} {c} {other} {px},{py}");
            }
        }
    }
}

#[test]
fn depth_to_space_in_the_copy_out() {
    let mut random = Random::new(4);
    for &format in PixelFormat::ALL {
        for r in 1..=5 {
            let (src_w, src_h) = (random.below(70) + 1, random.below(9) + 1);
            let row_stride = src_w + random.below(3);
            let plane_stride = row_stride * src_h + random.below(5);
            let src = random.floats(plane_stride * r * r);
            let at = |x: usize, y: usize| {
                src[(y % r * r + x % r) * plane_stride + y / r * row_stride + x / r]
            };
            let (ox, oy) = (random.below(src_w * r), random.below(src_h * r));
            let (w, h) = (src_w * r - ox, src_h * r - oy);

            let mut out = vec![0.0; w * h];
            shuffle_f32(&src, plane_stride, row_stride, r, ox, oy, w, h, &mut out, w);
            for (i, v) in out.iter().enumerate() {
                assert_eq!(v.to_bits(), at(ox + i % w, oy + i / w).to_bits());
            }

            let frame = random.frame(format, 2 * w + 20, 2 * h + 20);
            for c in 0..format.info().components.len() {
                let (x, y) = (random.below(9), random.below(9));
                let mut copy = frame.clone();
                let mut view = copy.as_mut();
                let mut comp = view.component_mut(c);
                let max = comp.max_value() as f32;
                store_shuffled(
                    &src,
                    plane_stride,
                    row_stride,
                    r,
                    ox,
                    oy,
                    w,
                    h,
                    max,
                    0.0,
                    &mut comp,
                    x,
                    y,
                );
                check(&frame, &copy, c, |px, py| {
                    let inside = (x..x + w).contains(&px) && (y..y + h).contains(&py);
                    inside.then(|| at(ox + px - x, oy + py - y) * max)
                });
            }
        }
    }
}

#[test]
fn nothing_is_written_outside() {
    let mut frame = FrameBuf::new(PixelFormat::I420, 6, 6, Color::default()).unwrap();
    let mut view = frame.as_mut();
    let mut comp = view.component_mut(0);
    store(&[1.0; 4], 2, 2, 2, 255.0, 0.0, &mut comp, usize::MAX, 0);
    store_shuffled(&[1.0; 4], 1, 1, 2, 0, 0, 2, 2, 255.0, 0.0, &mut comp, 0, 6);
    assert!(frame.as_ref().plane(0).data.iter().all(|b| *b == 0));
}
