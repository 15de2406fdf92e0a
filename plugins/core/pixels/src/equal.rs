//! Comparing parts of frames, to find out what need not be computed again.

use crate::format::subsampled;
use crate::{FrameRef, Rect};

/// Whether the pixels of `rect` (luma pixels, cut to the frame) are bit-identical in both
/// frames, together with the chroma samples that cover them. Frames of different format or
/// size are not equal. An unused byte of a pixel counts: it may make equal pixels unequal,
/// never the other way round.
pub fn rect_equal(a: &FrameRef<'_>, b: &FrameRef<'_>, rect: Rect) -> bool {
    if a.format() != b.format() || (a.width(), a.height()) != (b.width(), b.height()) {
        return false;
    }
    let cut = |from: isize, len: usize, size: usize| {
        let end = from.saturating_add_unsigned(len).clamp(0, size as isize) as usize;
        (from.clamp(0, size as isize) as usize, end)
    };
    let (x0, x1) = cut(rect.x, rect.w, a.width());
    let (y0, y1) = cut(rect.y, rect.h, a.height());
    if x0 >= x1 || y0 >= y1 {
        return true;
    }
    let info = a.format().info();
    (0..info.planes).all(|p| {
        let Some(comp) = info.components.iter().find(|c| c.plane == p) else {
            return true;
        };
        let unit = comp.step * info.sample_bytes;
        let from = (x0 >> comp.sub_w) * unit;
        let to = subsampled(x1, comp.sub_w) * unit;
        let (pa, pb) = (a.plane(p), b.plane(p));
        (y0 >> comp.sub_h..subsampled(y1, comp.sub_h))
            .all(|y| pa.data[y * pa.stride..][from..to] == pb.data[y * pb.stride..][from..to])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Color, FrameBuf, PixelFormat};

    #[test]
    fn every_pixel_counts_inside_and_none_outside() {
        let rect = Rect {
            x: 2,
            y: 1,
            w: 5,
            h: 4,
        };
        for &format in PixelFormat::ALL {
            let a = FrameBuf::new(format, 11, 9, Color::default()).unwrap();
            assert!(rect_equal(&a.as_ref(), &a.as_ref(), rect));
            for (c, comp) in format.info().components.iter().enumerate() {
                for y in 0..9 {
                    for x in 0..11 {
                        let mut b = a.clone();
                        let (cx, cy) = (x >> comp.sub_w, y >> comp.sub_h);
                        b.as_mut().component_mut(c).set(cx, cy, 1);
                        let covers = |at: usize, sub: u8, from: usize, to: usize| {
                            (from..to).any(|p| p >> sub == at >> sub)
                        };
                        let inside = covers(x, comp.sub_w, 2, 7) && covers(y, comp.sub_h, 1, 5);
                        let equal = rect_equal(&a.as_ref(), &b.as_ref(), rect);
                        assert_eq!(equal, !inside, "{format:?} {c} {x} {y}");
                    }
                }
            }
        }
    }

    #[test]
    fn rect_is_cut_to_the_frame() {
        let a = FrameBuf::new(PixelFormat::I420, 5, 5, Color::default()).unwrap();
        let mut b = a.clone();
        b.as_mut().component_mut(0).set(4, 4, 1);
        let (a, b) = (a.as_ref(), b.as_ref());
        let huge = Rect {
            x: isize::MIN / 2,
            y: -3,
            w: usize::MAX,
            h: usize::MAX,
        };
        assert!(!rect_equal(&a, &b, huge));
        assert!(rect_equal(
            &a,
            &b,
            Rect {
                x: -3,
                y: -3,
                w: 7,
                h: 20
            }
        ));
        assert!(rect_equal(
            &a,
            &b,
            Rect {
                x: 5,
                y: 0,
                w: 7,
                h: 20
            }
        ));
        assert!(rect_equal(
            &a,
            &b,
            Rect {
                x: -9,
                y: 0,
                w: 7,
                h: 20
            }
        ));
        let c = FrameBuf::new(PixelFormat::Yv12, 5, 5, Color::default()).unwrap();
        assert!(!rect_equal(&a, &c.as_ref(), huge));
    }
}
