//! Whole operations on every format: SIMD against plain, at awkward sizes and strides, and
//! nothing but the frame's own samples may be written.

#![allow(clippy::unwrap_used)]

use gstneural_pixels::*;

/// Planes with odd strides, odd addresses and bytes around the rows that must survive.
#[derive(Clone, PartialEq)]
struct Guarded {
    format: PixelFormat,
    width: usize,
    height: usize,
    planes: Vec<(Vec<u8>, usize)>,
}

const LEAD: usize = 3;

impl Guarded {
    fn new(format: PixelFormat, width: usize, height: usize, slack: usize, seed: u64) -> Self {
        let mut state = seed | 1;
        let mut planes = Vec::new();
        for p in 0..format.info().planes {
            let (row, rows) = format.plane_size(p, width, height);
            let stride = row + slack;
            let bytes = (0..LEAD + stride * (rows - 1) + row + LEAD).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            });
            planes.push((bytes.collect(), stride));
        }
        Self {
            format,
            width,
            height,
            planes,
        }
    }

    fn as_ref(&self) -> FrameRef<'_> {
        let planes: Vec<_> = self
            .planes
            .iter()
            .map(|(data, stride)| PlaneRef {
                data: &data[LEAD..data.len() - LEAD],
                stride: *stride,
            })
            .collect();
        FrameRef::new(
            self.format,
            self.width,
            self.height,
            Color::default(),
            &planes,
        )
        .unwrap()
    }

    fn as_mut(&mut self) -> FrameMut<'_> {
        let planes: Vec<_> = self
            .planes
            .iter_mut()
            .map(|(data, stride)| {
                let end = data.len() - LEAD;
                PlaneMut {
                    data: &mut data[LEAD..end],
                    stride: *stride,
                }
            })
            .collect();
        FrameMut::new(
            self.format,
            self.width,
            self.height,
            Color::default(),
            planes,
        )
        .unwrap()
    }

    /// The bytes outside the rows.
    fn guards(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (p, (data, stride)) in self.planes.iter().enumerate() {
            let (row, rows) = self.format.plane_size(p, self.width, self.height);
            for (i, b) in data.iter().enumerate() {
                let inside = i >= LEAD && (i - LEAD) / stride < rows && (i - LEAD) % stride < row;
                if !inside {
                    out.push(*b);
                }
            }
        }
        out
    }
}

/// Runs `op` on copies of `frame` with both backends.
fn compare(what: &str, frame: &Guarded, mut op: impl FnMut(&mut FrameMut<'_>)) {
    let (mut plain, mut auto) = (frame.clone(), frame.clone());
    with_backend(Backend::Plain, || op(&mut plain.as_mut()));
    with_backend(Backend::Auto, || op(&mut auto.as_mut()));
    let name = frame.format.info().name;
    assert!(
        plain == auto,
        "{what} {name} {}x{}: backends differ",
        frame.width,
        frame.height
    );
    assert!(
        frame.guards() == auto.guards(),
        "{what} {name}: bytes outside the frame changed"
    );
}

const SIZES: [(usize, usize); 6] = [(1, 1), (3, 5), (16, 2), (33, 7), (70, 4), (131, 9)];

#[test]
fn scaling() {
    for &format in PixelFormat::ALL {
        for (w, h) in SIZES {
            for slack in [0, 1, 13] {
                let src = Guarded::new(format, w, h, slack, 1);
                let chains = [
                    (2 * w, 2 * h),
                    (4 * w, 4 * h),
                    (w.div_ceil(3), h.div_ceil(2)),
                ];
                for (dw, dh) in chains {
                    let dst = Guarded::new(format, dw, dh, slack, 2);
                    for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
                        let site = ChromaSite::MPEG2;
                        let mut scaler =
                            FrameScaler::new(format, w, h, dw, dh, site, filter).unwrap();
                        compare("scale", &dst, |dst| scaler.run(&src.as_ref(), dst));
                    }
                }
            }
        }
    }
}

#[test]
fn samples() {
    for &format in PixelFormat::ALL {
        for (w, h) in SIZES {
            for slack in [0, 1, 13] {
                let dst = Guarded::new(format, w, h, slack, 3);
                let src = dst.clone();
                compare("load and store", &dst, |dst| {
                    for c in 0..format.info().components.len() {
                        let comp = src.as_ref();
                        let comp = comp.component(c);
                        let rect = Rect {
                            x: -2,
                            y: -1,
                            w: w + 5,
                            h: h + 3,
                        };
                        let mut floats = vec![0.0; rect.w * rect.h];
                        load(&comp, rect, 1.5, -20.0, &mut floats, rect.w);
                        store(
                            &floats,
                            rect.w,
                            w,
                            h,
                            1.0,
                            0.5,
                            &mut dst.component_mut(c),
                            0,
                            0,
                        );
                    }
                });
                for r in 1..5 {
                    let (i, j) = (w.div_ceil(r) + 1, h.div_ceil(r) + 1);
                    let net: Vec<f32> = (0..i * j * r * r)
                        .map(|n| (n * 7919 % 1201) as f32 / 1000.0 - 0.1)
                        .collect();
                    compare("shuffle", &dst, |dst| {
                        for c in 0..format.info().components.len() {
                            let mut comp = dst.component_mut(c);
                            let max = comp.max_value() as f32;
                            for (ox, x) in [(0, 0), (1, 1)] {
                                store_shuffled(
                                    &net,
                                    i * j,
                                    i,
                                    r,
                                    ox,
                                    0,
                                    w - 1,
                                    h,
                                    max,
                                    0.0,
                                    &mut comp,
                                    x,
                                    0,
                                );
                            }
                        }
                    });
                }
            }
        }
    }
}

#[test]
fn post_processing() {
    for &format in PixelFormat::ALL {
        for (w, h) in SIZES {
            for slack in [0, 1, 13] {
                let out = Guarded::new(format, w, h, slack, 4);
                let classical = Guarded::new(format, w, h, slack + 2, 5);
                compare("mix", &out, |out| mix(out, &classical.as_ref(), 0.37));
                compare("split", &out, |out| {
                    split_view(out, &classical.as_ref(), w / 2)
                });
                compare("blit", &out, |out| blit(out, &classical.as_ref(), 1, 1));
                let same = Guarded::new(format, w, h, slack, 6);
                let sized = (w.div_ceil(2), h.div_ceil(2));
                let input = Guarded::new(format, sized.0, sized.1, slack, 7);
                for (input, (iw, ih)) in [(&same, (w, h)), (&input, sized)] {
                    let fresh = Stabilizer::new(format, iw, ih, w, h).unwrap();
                    compare("stabilize", &out, |out| {
                        let mut stabilizer = fresh.clone();
                        for _ in 0..3 {
                            stabilizer.run(&input.as_ref(), &classical.as_ref(), out, 0.7);
                            mix(out, &classical.as_ref(), 0.8);
                        }
                    });
                }
                if format.info().family == Family::Rgb {
                    let luma = Guarded::new(PixelFormat::Gray16Le, w, h, slack, 8);
                    let yuv = YuvRgb::new(&Color::default(), 8);
                    compare("luma", &out, |out| {
                        replace_luma(out, &luma.as_ref().component(0), &yuv)
                    });
                }
            }
        }
    }
}

#[test]
fn chroma() {
    for (format, sub) in [
        (PixelFormat::I420, (1, 1)),
        (PixelFormat::Nv21, (1, 1)),
        (PixelFormat::I42210Le, (1, 0)),
        (PixelFormat::P01010Le, (1, 1)),
    ] {
        let full = if format.info().depth == 8 {
            PixelFormat::Y444
        } else {
            PixelFormat::Y44410Le
        };
        for (w, h) in SIZES {
            let (small, large) = (
                Guarded::new(format, w, h, 1, 9),
                Guarded::new(full, w, h, 5, 10),
            );
            let site = ChromaSite::COSITED;
            let mut up = ChromaUp::new(w, h, sub.0, sub.1, site).unwrap();
            let mut down = ChromaDown::new(w, h, sub.0, sub.1, site).unwrap();
            compare("up", &large, |dst| {
                up.run(&small.as_ref().component(1), &mut dst.component_mut(1));
            });
            compare("down", &small, |dst| {
                down.run(&large.as_ref().component(2), &mut dst.component_mut(2));
            });
        }
    }
}
