//! Every kernel against its plain twin, bit by bit, on random input.

use crate::component::Layout;
use crate::kernels::{Quant, Ring, Shuffle};
use crate::taps::{Filter, Mapping, PADDING, Taps};
use crate::testing::Random;
use crate::{Color, Matrix, Range, YuvRgb, plain};

/// Every layout that a component of a format has, and stranger ones.
fn layouts() -> Vec<Layout> {
    let mut all = Vec::new();
    for step in [1, 2, 3, 4, 5, 8] {
        all.push(Layout {
            bytes: 1,
            step,
            shift: 0,
            max: 255,
        });
        all.push(Layout {
            bytes: 1,
            step,
            shift: 0,
            max: 15,
        });
        for (depth, shift) in [(10, 0), (10, 6), (16, 0), (12, 4), (9, 0)] {
            all.push(Layout {
                bytes: 2,
                step,
                shift,
                max: (1 << depth) - 1,
            });
        }
    }
    all
}

const LENGTHS: [usize; 22] = [
    0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 23, 24, 31, 32, 33, 40, 63, 64, 65, 127, 200, 1279,
];

fn bytes(random: &mut Random, n: usize) -> Vec<u8> {
    (0..n).map(|_| random.next() as u8).collect()
}

fn bits(v: &[f32]) -> Vec<u32> {
    v.iter()
        .map(|v| {
            if v.is_nan() {
                f32::NAN.to_bits()
            } else {
                v.to_bits()
            }
        })
        .collect()
}

fn quants(max: u32) -> [Quant; 3] {
    let m = max as f32;
    [
        Quant::new(m, 0.0, max),
        Quant::new(1.0, 0.0, max),
        Quant::new(-0.7 * m, 0.3 * m, max),
    ]
}

/// Random, with many values near a rounding boundary of [`quants`].
fn values(random: &mut Random, n: usize, max: u32) -> Vec<f32> {
    (0..n)
        .map(|_| match random.below(3) {
            0 => random.float(),
            1 => (random.below(2 * max as usize + 2) as f32 * 0.5) / max as f32,
            _ => random.below(2 * max as usize + 2) as f32 * 0.5,
        })
        .collect()
}

fn avx2() -> bool {
    let have = super::detect().is_some();
    if !have {
        eprintln!("no AVX2 here: nothing was compared");
    }
    have
}

#[test]
fn load_row() {
    if !avx2() {
        return;
    }
    let mut random = Random::new(20);
    for layout in layouts() {
        for n in LENGTHS {
            for extra in [0, 1, 5, 40] {
                let src = bytes(&mut random, layout.span(n) + extra);
                let (mut a, mut b) = (vec![9.0; n], vec![9.0; n]);
                plain::load_row(&src, layout, 1.0 / 255.0, -0.1, &mut a);
                super::load_row(&src, layout, 1.0 / 255.0, -0.1, &mut b);
                assert_eq!(bits(&a), bits(&b), "{layout:?} {n} {extra}");
            }
        }
    }
}

#[test]
fn store_row() {
    if !avx2() {
        return;
    }
    let mut random = Random::new(21);
    for layout in layouts() {
        for n in LENGTHS {
            for extra in [0, 1, 5, 40] {
                for q in quants(layout.max) {
                    let src = values(&mut random, n, layout.max);
                    let mut a = bytes(&mut random, layout.span(n) + extra);
                    let mut b = a.clone();
                    plain::store_row(&src, q, layout, &mut a);
                    super::store_row(&src, q, layout, &mut b);
                    assert_eq!(a, b, "{layout:?} {n} {extra}");
                }
            }
        }
    }
}

#[test]
fn shuffle_row() {
    if !avx2() {
        return;
    }
    let mut random = Random::new(22);
    for layout in layouts() {
        for n in LENGTHS {
            for r in [1, 2, 3, 4, 5] {
                for first in 0..r {
                    let columns = (first + n).div_ceil(r).max(1);
                    let plane_stride = columns + random.below(4);
                    // No more source than is needed: the last planes end with the last pixel.
                    let ends = (0..n).map(|i| (first + i) % r * plane_stride + (first + i) / r + 1);
                    let src = values(&mut random, ends.max().unwrap_or(1), layout.max);
                    let s = Shuffle {
                        plane_stride,
                        r,
                        first,
                        n,
                    };
                    for q in quants(layout.max) {
                        let extra = 3 * random.below(2);
                        let mut a = bytes(&mut random, layout.span(n) + extra);
                        let mut b = a.clone();
                        plain::shuffle_row(&src, s, q, layout, &mut a);
                        super::shuffle_row(&src, s, q, layout, &mut b);
                        assert_eq!(a, b, "{layout:?} {s:?}");
                    }
                    let (mut a, mut b) = (vec![0.0; n], vec![1.0; n]);
                    plain::shuffle_row_f32(&src, s, &mut a);
                    super::shuffle_row_f32(&src, s, &mut b);
                    assert_eq!(bits(&a), bits(&b), "{s:?}");
                }
            }
        }
    }
}

#[test]
fn filters() {
    if !avx2() {
        return;
    }
    let mut random = Random::new(23);
    for (from, to) in [
        (1, 1),
        (1, 9),
        (3, 6),
        (9, 3),
        (40, 80),
        (80, 40),
        (53, 97),
        (200, 7),
        (64, 64),
        (5, 640),
    ] {
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            for phase in [0.0, 0.125, -3.3] {
                let taps = Taps::new(from, to, filter, Mapping::scale(from, to, phase)).unwrap();
                let mut src: Vec<f32> = (0..from).map(|_| random.below(1024) as f32).collect();
                src.extend([f32::NAN; PADDING]);
                let (mut a, mut b) = (vec![0.0; to], vec![1.0; to]);
                plain::hfilter(&src, &taps, &mut a);
                super::hfilter(&src, &taps, &mut b);
                assert_eq!(bits(&a), bits(&b), "{from} {to} {filter:?} {phase}");
            }
        }
    }
    for n in LENGTHS.into_iter().filter(|n| *n > 0) {
        for rows in [1, 2, 4, 7] {
            let data = random.floats(rows * n);
            let ring = Ring {
                data: &data,
                stride: n,
                rows,
            };
            let weights = random.floats(rows);
            for start in [0, 1, 5, 1000] {
                let (mut a, mut b) = (vec![0.0; n], vec![1.0; n]);
                plain::vfilter(ring, start, &weights, &mut a);
                super::vfilter(ring, start, &weights, &mut b);
                assert_eq!(bits(&a), bits(&b), "{n} {rows} {start}");
            }
        }
    }
}

#[test]
fn mix_row() {
    if !avx2() {
        return;
    }
    let mut random = Random::new(24);
    for layout in layouts().into_iter().filter(|l| l.step == 1) {
        for n in LENGTHS {
            for keep in [0, 1, 8] {
                let classical = bytes(&mut random, n * layout.bytes);
                let dst = bytes(&mut random, n * layout.bytes);
                for weight in [0.0, 0.25, 0.3, 0.999, 1.0] {
                    let (mut a, mut b) = (dst.clone(), dst.clone());
                    plain::mix_row(&mut a, &classical, weight, layout, keep);
                    super::mix_row(&mut b, &classical, weight, layout, keep);
                    assert_eq!(a, b, "{layout:?} {n} {keep} {weight}");
                }
            }
        }
    }
}

#[test]
fn colour() {
    if !avx2() {
        return;
    }
    let mut random = Random::new(25);
    let color = Color {
        matrix: Matrix::Bt601,
        range: Range::Limited,
        ..Color::default()
    };
    let k = YuvRgb::new(&color, 10).coefficients();
    for n in LENGTHS {
        let [x, y, z] = [0; 3].map(|_| random.floats(n));
        for (plain, simd) in [
            (
                plain::to_rgb as crate::kernels::ThreeRows,
                super::to_rgb as crate::kernels::ThreeRows,
            ),
            (plain::to_yuv, super::to_yuv),
        ] {
            let mut a = [x.clone(), y.clone(), z.clone()];
            let mut b = a.clone();
            let [p, q, r] = &mut a;
            plain(&k, p, q, r);
            let [p, q, r] = &mut b;
            simd(&k, p, q, r);
            assert_eq!(a.map(|v| bits(&v)), b.map(|v| bits(&v)), "{n}");
        }
        let (mut a, mut b) = (vec![0.0; n], vec![1.0; n]);
        plain::luma(&k, &x, &y, &z, &mut a);
        super::luma(&k, &x, &y, &z, &mut b);
        assert_eq!(bits(&a), bits(&b), "{n}");
    }
}

#[test]
fn smooth_row() {
    if !avx2() {
        return;
    }
    let mut random = Random::new(26);
    for n in LENGTHS {
        for (unit, max) in [(64.0, 255), (16.0, 1023), (0.25, 65535)] {
            let mut level = || {
                (0..n)
                    .map(|_| random.below(max + 1) as f32)
                    .collect::<Vec<_>>()
            };
            let (out, classical) = (level(), level());
            let state: Vec<i16> = (0..n).map(|_| random.next() as i16).collect();
            let alpha: Vec<f32> = (0..n).map(|_| random.below(1001) as f32 / 1000.0).collect();
            let (mut a, mut b) = ((out.clone(), state.clone()), (out, state));
            plain::smooth_row(&mut a.0, &classical, &mut a.1, &alpha, unit);
            super::smooth_row(&mut b.0, &classical, &mut b.1, &alpha, unit);
            assert_eq!((bits(&a.0), a.1), (bits(&b.0), b.1), "{n} {unit}");
        }
    }
}
