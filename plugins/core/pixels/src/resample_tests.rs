use super::*;
use crate::testing::Random;
use crate::{Color, CompShape, FrameBuf, PixelFormat};

const FILTERS: [Filter; 3] = [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos];

/// (source, destination) sizes: up, down, odd, single samples, nothing to do.
const SIZES: [((usize, usize), (usize, usize)); 12] = [
    ((1, 1), (1, 1)),
    ((1, 1), (7, 5)),
    ((3, 5), (6, 10)),
    ((3, 5), (1, 1)),
    ((2, 2), (9, 3)),
    ((40, 30), (80, 60)),
    ((40, 30), (120, 90)),
    ((80, 60), (40, 30)),
    ((53, 31), (17, 97)),
    ((64, 9), (64, 9)),
    ((37, 21), (53, 33)),
    ((100, 40), (3, 2)),
];

/// The definition, in f64, sample by sample.
fn naive(src: &CompRef<'_>, dst: (usize, usize), filter: Filter, phase: (f64, f64)) -> Vec<f64> {
    fn line(from: usize, to: usize, filter: Filter, phase: f64, i: usize) -> Vec<(usize, f64)> {
        let ratio = from as f64 / to as f64;
        let pos = (i as f64 + 0.5) * ratio - 0.5 + phase;
        let widen = ratio.max(1.0);
        let reach = (4.0 * widen) as i64 + 2;
        let weights: Vec<(usize, f64)> = (pos as i64 - reach..=pos as i64 + reach)
            .map(|s| {
                let clamped = s.clamp(0, from as i64 - 1) as usize;
                (clamped, filter.at((s as f64 - pos) / widen))
            })
            .collect();
        let sum: f64 = weights.iter().map(|(_, w)| w).sum();
        weights.into_iter().map(|(s, w)| (s, w / sum)).collect()
    }
    let across: Vec<_> = (0..dst.0)
        .map(|x| line(src.width(), dst.0, filter, phase.0, x))
        .collect();
    let mut out = Vec::new();
    for y in 0..dst.1 {
        let down = line(src.height(), dst.1, filter, phase.1, y);
        for taps in &across {
            let mut acc = 0.0;
            for (sy, wy) in down.iter().filter(|(_, w)| *w != 0.0) {
                for (sx, wx) in taps {
                    acc += wy * wx * f64::from(src.get(*sx, *sy));
                }
            }
            out.push(acc);
        }
    }
    out
}

#[test]
fn equals_the_definition() {
    let mut random = Random::new(5);
    for (src, dst) in SIZES {
        for filter in FILTERS {
            for phase in [(0.0, 0.0), (0.125, -0.25), (-3.0, 2.5)] {
                for (format, c) in [
                    (PixelFormat::Gray8, 0),
                    (PixelFormat::Bgr, 1),
                    (PixelFormat::Gray16Le, 0),
                ] {
                    let frame = random.frame(format, src.0, src.1);
                    let frame = frame.as_ref();
                    let comp = frame.component(c);
                    let max = f64::from(comp.max_value());
                    let expected = naive(&comp, dst, filter, phase);
                    let mut out = FrameBuf::new(format, dst.0, dst.1, Color::default()).unwrap();
                    let mut resampler =
                        Resampler::new(src.0, src.1, dst.0, dst.1, filter, phase.0, phase.1)
                            .unwrap();
                    resampler.run(&comp, &mut out.as_mut().component_mut(c));
                    let mut floats = vec![0.0; (dst.0 + 1) * dst.1];
                    resampler.run_to_f32(&comp, 0.5, 1.0, &mut floats, dst.0 + 1);
                    for (i, e) in expected.iter().enumerate() {
                        let (x, y) = (i % dst.0, i / dst.0);
                        let got = f64::from(out.as_ref().component(c).get(x, y));
                        let near = (got - e.clamp(0.0, max)).abs();
                        assert!(
                            near <= 0.5 + max * 1e-5,
                            "{src:?} {dst:?} {filter:?} {got} {e}"
                        );
                        let float = f64::from(floats[y * (dst.0 + 1) + x]);
                        assert!((float - (e * 0.5 + 1.0)).abs() < max * 1e-5);
                    }
                }
            }
        }
    }
}

#[test]
fn constant_stays_constant() {
    for (src, dst) in SIZES {
        for filter in FILTERS {
            for depth in [8, 10, 16] {
                let shape = CompShape::packed(src.0, src.1, depth);
                let mut a = vec![0; shape.stride * src.1];
                let mut a = CompMut::new(&mut a, shape).unwrap();
                let shape = CompShape::packed(dst.0, dst.1, depth);
                let mut b = vec![0; shape.stride * dst.1];
                let mut b = CompMut::new(&mut b, shape).unwrap();
                let mut r = Resampler::new(src.0, src.1, dst.0, dst.1, filter, 0.3, -0.7).unwrap();
                for value in [0, 1, 128, a.max_value() - 1, a.max_value()] {
                    a.fill(value);
                    r.run(&a.as_ref(), &mut b);
                    for y in 0..dst.1 {
                        for x in 0..dst.0 {
                            assert_eq!(b.as_ref().get(x, y), value, "{src:?} {dst:?} {filter:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn same_size_without_phase_is_a_copy() {
    let frame = Random::new(6).frame(PixelFormat::Gray16Le, 85, 48);
    for filter in FILTERS {
        let mut out = FrameBuf::new(PixelFormat::Gray16Le, 85, 48, Color::default()).unwrap();
        let mut r = Resampler::new(85, 48, 85, 48, filter, 0.0, 0.0).unwrap();
        r.run(
            &frame.as_ref().component(0),
            &mut out.as_mut().component_mut(0),
        );
        assert_eq!(out.as_ref().plane(0).data, frame.as_ref().plane(0).data);
    }
}

#[test]
fn quantising_from_f32() {
    let src: Vec<f32> = (0..12).map(|i| i as f32 / 11.0).collect();
    let mut data = vec![0; 9];
    let mut dst = CompMut::new(&mut data, CompShape::packed(3, 3, 8)).unwrap();
    let mut r = Resampler::new(3, 3, 3, 3, Filter::Bicubic, 0.0, 0.0).unwrap();
    r.run_from_f32(&src, 4, 110.0, 1.0, &mut dst);
    assert_eq!(data, [1, 11, 21, 41, 51, 61, 81, 91, 101]);
}

#[test]
fn nonsense_is_refused() {
    let new = |a, b, c, d, p| Resampler::new(a, b, c, d, Filter::Bicubic, p, 0.0);
    assert!(new(0, 1, 1, 1, 0.0).is_err());
    assert!(new(1, 1, 0, 1, 0.0).is_err());
    assert!(new(1, 1, 1, usize::MAX, 0.0).is_err());
    assert!(new(1, 1, 1, 1, f64::NAN).is_err());
    assert!(new(1, 1, 1, 1, 1e9).is_err());
    assert!(matches!(
        new(60000, 60000, 60000, 1, 0.0),
        Err(PixelError::TooLarge { .. })
    ));
    assert!(new(1, 1, 1, 1, 16.0).is_ok());
}
