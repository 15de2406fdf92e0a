use super::*;
use crate::testing::SIZES;
use crate::{Color, FrameBuf};

const SITES: [ChromaSite; 4] = [
    ChromaSite::MPEG2,
    ChromaSite::JPEG,
    ChromaSite::COSITED,
    ChromaSite {
        h: SiteH::Left,
        v: SiteV::Bottom,
    },
];

fn color(site: ChromaSite) -> Color {
    Color {
        site,
        ..Color::default()
    }
}

/// A frame that shows `value(x, y)`, in luma pixels of a picture `zoom` times smaller, in
/// every component, with chroma sampled where `site` says.
fn painted(
    format: PixelFormat,
    (w, h): (usize, usize),
    site: ChromaSite,
    zoom: f64,
    value: impl Fn(f64, f64) -> f64,
) -> FrameBuf {
    let mut frame = FrameBuf::new(format, w, h, color(site)).unwrap();
    for (c, comp) in format.info().components.iter().enumerate() {
        let (ox, oy) = (
            site_offset_h(site.h, comp.sub_w),
            site_offset_v(site.v, comp.sub_h),
        );
        let mut view = frame.as_mut();
        let mut to = view.component_mut(c);
        for y in 0..to.height() {
            for x in 0..to.width() {
                let luma_x = (x << comp.sub_w) as f64 + ox;
                let luma_y = (y << comp.sub_h) as f64 + oy;
                let v = value((luma_x + 0.5) / zoom - 0.5, (luma_y + 0.5) / zoom - 0.5);
                to.set(x, y, v.round() as u32);
            }
        }
    }
    frame
}

#[test]
fn a_ramp_keeps_its_phase() {
    let (w, h) = (48, 32);
    for &format in PixelFormat::ALL {
        let unit = f64::from(1u32 << (format.info().depth - 8));
        let ramp = |x: f64, y: f64| ((60.0 + 2.0 * x + 1.0 * y) * unit).max(0.0);
        for site in SITES {
            for zoom in [2, 3, 4] {
                for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
                    let src = painted(format, (w, h), site, 1.0, ramp);
                    let (dw, dh) = (w * zoom, h * zoom);
                    let expected = painted(format, (dw, dh), site, zoom as f64, ramp);
                    let mut out = FrameBuf::new(format, dw, dh, color(site)).unwrap();
                    let mut scaler = FrameScaler::new(format, w, h, dw, dh, site, filter).unwrap();
                    scaler.run(&src.as_ref(), &mut out.as_mut());
                    for c in 0..format.info().components.len() {
                        let (out, expected) = (out.as_ref(), expected.as_ref());
                        let (a, b) = (out.component(c), expected.component(c));
                        let edge = 4 * zoom;
                        // Lanczos does not reproduce a ramp exactly.
                        let lsb = if filter == Filter::Lanczos {
                            2.0 * unit
                        } else {
                            1.0
                        };
                        for y in edge..a.height() - edge {
                            for x in edge..a.width() - edge {
                                let d = f64::from(a.get(x, y)) - f64::from(b.get(x, y));
                                assert!(d.abs() <= lsb, "{format:?} {site:?} {filter:?} {c} {d}");
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn left_sited_chroma_moves_by_a_quarter_of_a_luma_pixel() {
    // Chroma rises by 8 a sample. A quarter of a source luma pixel is an eighth of a chroma
    // sample, so with left siting the picture begins 1 code higher than with centred siting.
    let mut src = FrameBuf::new(PixelFormat::I420, 64, 4, Color::default()).unwrap();
    for x in 0..32 {
        let mut view = src.as_mut();
        let mut u = view.component_mut(1);
        (0..2).for_each(|y| u.set(x, y, 8 * x as u32));
    }
    let scaled = |site| {
        let mut out = FrameBuf::new(PixelFormat::I420, 128, 8, color(site)).unwrap();
        FrameScaler::new(PixelFormat::I420, 64, 4, 128, 8, site, Filter::Bicubic)
            .unwrap()
            .run(&src.as_ref(), &mut out.as_mut());
        out
    };
    let (left, center) = (scaled(ChromaSite::MPEG2), scaled(ChromaSite::JPEG));
    for x in 10..50 {
        let left = left.as_ref().component(1).get(x, 4);
        let center = center.as_ref().component(1).get(x, 4);
        assert_eq!(left, center + 1, "{x}");
        assert_eq!(center, 4 * x as u32 - 2);
    }
}

#[test]
fn constant_frames_of_any_size_stay_constant() {
    for &format in PixelFormat::ALL {
        for (w, h) in SIZES {
            for (dw, dh) in [
                (2 * w, 2 * h),
                (3 * w, 3 * h),
                (w.div_ceil(2), h.div_ceil(2)),
                (7, 2),
            ] {
                if w > 100 && dw > w * 2 {
                    continue;
                }
                let mut src = FrameBuf::new(format, w, h, Color::default()).unwrap();
                let mut out = FrameBuf::new(format, dw, dh, Color::default()).unwrap();
                let comps = format.info().components.len();
                (0..comps).for_each(|c| src.as_mut().component_mut(c).fill(40 * c as u32 + 100));
                let site = ChromaSite::MPEG2;
                FrameScaler::new(format, w, h, dw, dh, site, Filter::Bicubic)
                    .unwrap()
                    .run(&src.as_ref(), &mut out.as_mut());
                for c in 0..comps {
                    let out = out.as_ref();
                    let comp = out.component(c);
                    for y in 0..comp.height() {
                        for x in 0..comp.width() {
                            assert_eq!(comp.get(x, y), 40 * c as u32 + 100, "{format:?} {w}x{h}");
                        }
                    }
                }
                if let Some((plane, offset)) = format.info().padding {
                    let plane = out.as_ref().plane(plane);
                    for y in 0..dh {
                        let row = &plane.data[y * plane.stride..][..4 * dw];
                        assert!(row.chunks(4).all(|p| p[offset] == 255));
                    }
                }
            }
        }
    }
}

#[test]
fn phase_formula_agrees_with_the_scaler() {
    let site = ChromaSite::COSITED;
    let src = painted(PixelFormat::I420, (48, 32), site, 1.0, |x, y| {
        128.0 + 60.0 * (x / 5.0).sin() + 60.0 * (y / 4.0).cos()
    });
    let mut a = FrameBuf::new(PixelFormat::I420, 96, 64, color(site)).unwrap();
    let mut b = a.clone();
    FrameScaler::new(PixelFormat::I420, 48, 32, 96, 64, site, Filter::Bicubic)
        .unwrap()
        .run(&src.as_ref(), &mut a.as_mut());
    let (px, py) = chroma_phase(1, 1, site, (48, 32), (96, 64));
    assert_eq!((px, py), (0.125, 0.125));
    let mut r = Resampler::new(24, 16, 48, 32, Filter::Bicubic, px, py).unwrap();
    r.run(&src.as_ref().component(1), &mut b.as_mut().component_mut(1));
    assert_eq!(a.as_ref().plane(1).data, b.as_ref().plane(1).data);
}

#[test]
fn up_and_down_keep_the_phase_of_a_ramp() {
    let ramp = |x: f64, y: f64| 30.0 + 3.0 * x + 2.0 * y;
    for format in [
        PixelFormat::I420,
        PixelFormat::Nv12,
        PixelFormat::Y42b,
        PixelFormat::Nv21,
    ] {
        let comp = format.info().components[1];
        for site in SITES {
            for (w, h) in [(48, 32), (47, 31)] {
                let small = painted(format, (w, h), site, 1.0, ramp);
                let large = painted(PixelFormat::Y444, (w, h), site, 1.0, ramp);
                let mut up = ChromaUp::new(w, h, comp.sub_w, comp.sub_h, site).unwrap();
                let mut down = ChromaDown::new(w, h, comp.sub_w, comp.sub_h, site).unwrap();
                let mut big = FrameBuf::new(PixelFormat::Y444, w, h, color(site)).unwrap();
                let mut back = FrameBuf::new(format, w, h, color(site)).unwrap();
                for c in 1..3 {
                    let mut big = big.as_mut();
                    up.run(&small.as_ref().component(c), &mut big.component_mut(c));
                    let mut back = back.as_mut();
                    down.run(&large.as_ref().component(c), &mut back.component_mut(c));
                    let mut floats = vec![0.0; w * h];
                    up.run_to_f32(&small.as_ref().component(c), 1.0, 0.0, &mut floats, w);
                    let edge = 6;
                    for y in edge..h - edge {
                        for x in edge..w - edge {
                            let e = ramp(x as f64, y as f64);
                            let got = f64::from(big.as_ref().component(c).get(x, y));
                            assert!((got - e).abs() <= 1.0, "up {format:?} {site:?} {x},{y}");
                            let got = f64::from(floats[y * w + x]);
                            assert!((got - e).abs() <= 0.6, "up {format:?} {site:?} {x},{y}");
                        }
                    }
                    let (small, back) = (small.as_ref(), back.as_ref());
                    let (a, b) = (small.component(c), back.component(c));
                    for y in edge..a.height() - edge {
                        for x in edge..a.width() - edge {
                            let d = a.get(x, y).abs_diff(b.get(x, y));
                            assert!(d <= 1, "down {format:?} {site:?} {x},{y} {d}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn chroma_of_a_single_pixel() {
    for (w, h) in [(1, 1), (2, 1), (3, 5)] {
        let mut src = FrameBuf::new(PixelFormat::I420, w, h, Color::default()).unwrap();
        src.as_mut().component_mut(1).fill(77);
        let mut big = FrameBuf::new(PixelFormat::Y444, w, h, Color::default()).unwrap();
        let site = ChromaSite::MPEG2;
        let mut up = ChromaUp::new(w, h, 1, 1, site).unwrap();
        up.run(
            &src.as_ref().component(1),
            &mut big.as_mut().component_mut(1),
        );
        assert_eq!(big.as_ref().component(1).get(w - 1, h - 1), 77);
        let mut down = ChromaDown::new(w, h, 1, 1, site).unwrap();
        down.run(
            &big.as_ref().component(1),
            &mut src.as_mut().component_mut(2),
        );
        assert_eq!(src.as_ref().component(2).get(0, 0), 77);
        let floats = vec![0.5; w * h];
        down.run_from_f32(&floats, w, 255.0, 0.0, &mut src.as_mut().component_mut(2));
        assert_eq!(src.as_ref().component(2).get(0, 0), 128);
    }
}
