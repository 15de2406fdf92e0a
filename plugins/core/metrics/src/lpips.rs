//! Distances that a network gives: LPIPS, and any other network of two images.
//!
//! LPIPS is Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric"
//! (2018), version 0.1. Its weights are not shipped; `docs/quality.md` says where they come from and
//! how the one ONNX file is made.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use gstneural_inference::{PairModel, PairRange, PairSession};
use gstneural_pixels::{ChromaUp, Color, Family, FrameRef, PixelFormat, Rect, YuvRgb, load};

use crate::{Metric, MetricError};

/// Width and height from which on all three backbones of LPIPS give something.
pub const LPIPS_LEAST: usize = 32;

/// What the file's property `lpips.weights` begins with if its weights are the published ones.
const PUBLISHED: &str = "lpips-v0.1-";

fn failed(e: gstneural_inference::Error) -> MetricError {
    MetricError::Network {
        reason: e.to_string(),
    }
}

/// Loads the network of `metric`, and for [`Metric::Lpips`] sees to it that it says to be LPIPS.
///
/// # Errors
/// If no file is given, it cannot be loaded, or it holds something else.
pub(crate) fn open(
    metric: Metric,
    file: Option<&Path>,
    roots: &[PathBuf],
) -> Result<Arc<PairModel>, MetricError> {
    let file = file.ok_or(MetricError::NoNetwork {
        metric: metric.name(),
    })?;
    let model = PairModel::load(file, roots).map_err(failed)?;
    let published = model.weights().is_some_and(|w| w.starts_with(PUBLISHED));
    if metric == Metric::Lpips && !published {
        return Err(MetricError::NotLpips {
            path: file.display().to_string(),
            weights: model.weights().unwrap_or("nothing").to_owned(),
        });
    }
    Ok(model)
}

/// A network for frames of one size and format.
#[derive(Debug)]
pub(crate) struct NetDistance {
    session: PairSession,
    rgb: [ToRgb; 2],
}

impl NetDistance {
    pub fn new(
        model: &Arc<PairModel>,
        metric: Metric,
        reference: &FrameRef<'_>,
        threads: usize,
    ) -> Result<Self, MetricError> {
        let size = (reference.width(), reference.height());
        if size.0.min(size.1) < LPIPS_LEAST {
            return Err(MetricError::TooSmall {
                metric: metric.name(),
                width: size.0,
                height: size.1,
                least: LPIPS_LEAST,
            });
        }
        let rgb = || ToRgb::new(reference.format(), size, reference.color());
        Ok(Self {
            session: PairSession::new(model, size, threads).map_err(failed)?,
            rgb: [rgb()?, rgb()?],
        })
    }

    /// The distance of two frames of the size it was made for, each in its own matrix and range.
    pub fn frame(
        &mut self,
        reference: &FrameRef<'_>,
        distorted: &FrameRef<'_>,
    ) -> Result<f64, MetricError> {
        let range = self.session.model().range();
        let images = self.session.images();
        for ((frame, rgb), image) in [reference, distorted]
            .into_iter()
            .zip(&mut self.rgb)
            .zip(images)
        {
            rgb.fit(frame)?;
            rgb.run(frame, range, image);
        }
        self.session.run().map(f64::from).map_err(failed)
    }
}

/// Frames of Y'CbCr or grey to planar R'G'B'.
#[derive(Debug)]
struct ToRgb {
    made_for: (PixelFormat, (usize, usize), Color),
    yuv: YuvRgb,
    up: Option<ChromaUp>,
}

impl ToRgb {
    fn new(
        format: PixelFormat,
        (width, height): (usize, usize),
        color: Color,
    ) -> Result<Self, MetricError> {
        let info = format.info();
        let up = match info.components.get(1) {
            Some(c) if info.family == Family::Yuv => {
                Some(ChromaUp::new(width, height, c.sub_w, c.sub_h, color.site)?)
            }
            _ => None,
        };
        Ok(Self {
            made_for: (format, (width, height), color),
            yuv: YuvRgb::new(&color, info.depth),
            up,
        })
    }

    /// Begins anew if the frame is of another kind than the one before.
    fn fit(&mut self, frame: &FrameRef<'_>) -> Result<(), MetricError> {
        let kind = (
            frame.format(),
            (frame.width(), frame.height()),
            frame.color(),
        );
        if self.made_for != kind {
            *self = Self::new(kind.0, kind.1, kind.2)?;
        }
        Ok(())
    }

    /// Fills `image` with R, G and B, one plane after the other.
    fn run(&mut self, frame: &FrameRef<'_>, range: PairRange, image: &mut [f32]) {
        let (_, (width, height), _) = self.made_for;
        let info = frame.format().info();
        let code = 1.0 / ((1u32 << info.depth) - 1) as f32;
        let whole = Rect {
            x: 0,
            y: 0,
            w: width,
            h: height,
        };
        let (r, rest) = image.split_at_mut(width * height);
        let (g, b) = rest.split_at_mut(width * height);
        load(&frame.component(0), whole, code, 0.0, r, width);
        match &mut self.up {
            Some(up) => {
                up.run_to_f32(&frame.component(1), code, 0.0, g, width);
                up.run_to_f32(&frame.component(2), code, 0.0, b, width);
            }
            None => {
                let neutral = (1u32 << (info.depth - 1)) as f32 * code;
                g.fill(neutral);
                b.fill(neutral);
            }
        }
        let gain = range.white - range.black;
        let rows = r.chunks_exact_mut(width).zip(g.chunks_exact_mut(width));
        for ((r, g), b) in rows.zip(b.chunks_exact_mut(width)) {
            self.yuv.to_rgb(r, g, b);
            for plane in [r, g, b] {
                for v in plane {
                    *v = v.clamp(0.0, 1.0) * gain + range.black;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gstneural_pixels::{ChromaSite, FrameBuf, Matrix, Range};

    use super::*;

    const ZERO_TO_ONE: PairRange = PairRange {
        black: 0.0,
        white: 1.0,
    };

    /// One colour through the conversion: the first and the last pixel.
    fn convert(
        format: PixelFormat,
        color: Color,
        values: &[u32],
        range: PairRange,
    ) -> [[f32; 3]; 2] {
        let mut frame = FrameBuf::new(format, 33, 35, color).unwrap();
        for (c, v) in values.iter().enumerate() {
            frame.as_mut().component_mut(c).fill(*v);
        }
        let frame = frame.as_ref();
        let mut rgb = ToRgb::new(format, (33, 35), color).unwrap();
        let area = 33 * 35;
        let mut image = vec![9.0; 3 * area];
        rgb.run(&frame, range, &mut image);
        [0, area - 1].map(|at| [image[at], image[area + at], image[2 * area + at]])
    }

    fn assert_near(found: [[f32; 3]; 2], expected: [f32; 3]) {
        for pixel in found {
            for (a, b) in pixel.iter().zip(expected) {
                assert!((a - b).abs() < 2e-3, "{found:?}, not {expected:?}");
            }
        }
    }

    #[test]
    fn colours_follow_matrix_range_depth_and_subsampling() {
        let color = |matrix, range| Color {
            matrix,
            range,
            site: ChromaSite::MPEG2,
        };
        use {Matrix as M, PixelFormat as P, Range as R};
        let red = [1.0, 0.0, 0.0];
        // Code values of pure red by H.273.
        for (format, color, values) in [
            (P::I420, color(M::Bt709, R::Limited), [63, 102, 240]),
            (P::Nv12, color(M::Bt601, R::Limited), [81, 90, 240]),
            (P::Y42b, color(M::Bt601, R::Full), [76, 85, 255]),
            (P::Y444, color(M::Bt709, R::Full), [54, 99, 255]),
            (P::I42010Le, color(M::Bt709, R::Limited), [250, 409, 960]),
            (P::P01010Le, color(M::Bt2020, R::Limited), [294, 387, 960]),
        ] {
            // Red's own rounding to code values is worth up to half of one.
            for pixel in convert(format, color, &values, ZERO_TO_ONE) {
                for (a, b) in pixel.iter().zip(red) {
                    assert!((a - b).abs() < 8e-3, "{format:?} {color:?}: {pixel:?}");
                }
            }
        }
        let grey = color(M::Bt709, R::Limited);
        assert_near(
            convert(P::Gray8, grey, &[126], ZERO_TO_ONE),
            [110.0 / 219.0; 3],
        );
        let full = color(M::Bt709, R::Full);
        assert_near(convert(P::Gray8, full, &[51], ZERO_TO_ONE), [0.2; 3]);
        let wide = PairRange {
            black: -1.0,
            white: 1.0,
        };
        assert_near(convert(P::Gray8, full, &[51], wide), [-0.6; 3]);
        // Blacker than black and whiter than white end at the network's own limits.
        assert_near(convert(P::Gray8, grey, &[2], wide), [-1.0; 3]);
        assert_near(convert(P::Gray8, grey, &[250], wide), [1.0; 3]);
    }

    #[test]
    fn without_a_file_the_error_says_where_it_comes_from() {
        let text = open(Metric::Lpips, None, &[]).unwrap_err().to_string();
        for part in ["lpips-model", "models/training/lpips.py", "docs/quality.md"] {
            assert!(text.contains(part), "{text}");
        }
        let text = open(Metric::Lpips, Some(Path::new("/no/such.onnx")), &[]).unwrap_err();
        assert!(text.to_string().contains("/no/such.onnx"), "{text}");
    }
}
