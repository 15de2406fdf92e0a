//! SSIM over 8x8 windows at every fourth sample: equal to ffmpeg's filter `ssim` and to the SSIM
//! of x264.
//!
//! The windows are uniform and lie on a grid, unlike the Gaussian 11x11 windows at every sample of
//! Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004);
//! that one, on a picture halved until 256 lines are left, is libvmaf's `float_ssim`. The two
//! differ in the second digit: never compare one with the other.

use gstneural_pixels::{CompRef, FrameRef};

use crate::{
    kernels::{self, BlockSums, SsimConstants},
    rows::row,
};

/// Width and height that a plane needs at least.
pub const SSIM_LEAST: usize = 8;

/// The SSIM of a pair of frames.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FrameSsim {
    /// Of each plane; None for a plane that is not there or smaller than 8x8.
    pub planes: [Option<f64>; 3],
    /// Mean over the planes, weighted by their samples (ffmpeg's `All`).
    pub all: Option<f64>,
}

/// Measures; keeps its memory between frames.
#[derive(Debug, Default)]
pub struct Ssim {
    sums: [BlockSums; 2],
    scratch: [Vec<u8>; 8],
}

impl Ssim {
    /// An SSIM without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Measures two frames of the same size, depth and subsampling.
    ///
    /// # Panics
    /// If the frames differ in these.
    pub fn frame(&mut self, reference: &FrameRef<'_>, distorted: &FrameRef<'_>) -> FrameSsim {
        let mut out = FrameSsim::default();
        let planes = reference.format().info().components.len().min(3);
        let (mut sum, mut samples) = (0.0, 0.0);
        for c in 0..planes {
            let a = reference.component(c);
            out.planes[c] = self.plane(&a, &distorted.component(c));
            if let Some(v) = out.planes[c] {
                let n = (a.width() * a.height()) as f64;
                sum += v * n;
                samples += n;
            }
        }
        out.all = (samples > 0.0).then(|| sum / samples);
        out
    }

    /// Measures two components; None if they are smaller than 8x8.
    ///
    /// # Panics
    /// If they differ in size or depth.
    pub fn plane(&mut self, a: &CompRef<'_>, b: &CompRef<'_>) -> Option<f64> {
        assert_eq!(
            (a.width(), a.height(), a.depth()),
            (b.width(), b.height(), b.depth()),
            "size and depth"
        );
        let (columns, lines) = (a.width() / 4, a.height() / 4);
        if columns < 2 || lines < 2 {
            return None;
        }
        let kernels = kernels::current();
        let constants = SsimConstants::new(a.max_value());
        let mut total = 0.0;
        let [above, below] = &mut self.sums;
        for line in 0..lines {
            std::mem::swap(above, below);
            below.resize(columns);
            let (sa, sb) = self.scratch.split_at_mut(4);
            let mut rows_a: [&[u8]; 4] = [&[]; 4];
            let mut rows_b: [&[u8]; 4] = [&[]; 4];
            for (i, (sa, sb)) in sa.iter_mut().zip(sb).enumerate() {
                rows_a[i] = row(a, 4 * line + i, sa);
                rows_b[i] = row(b, 4 * line + i, sb);
            }
            kernels.blocks(a.sample_bytes(), rows_a, rows_b, below);
            if line > 0 {
                total += kernels.ssim(a.sample_bytes(), below, above, constants);
            }
        }
        Some(total / ((columns - 1) * (lines - 1)) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, scene};
    use gstneural_pixels::PixelFormat;

    #[test]
    fn one_for_equal_frames_and_less_for_others() {
        for format in [PixelFormat::I420, PixelFormat::Y44410Le, PixelFormat::Gray8] {
            let (a, b) = (scene(format, 40, 24, 0, 0), scene(format, 40, 24, 1, 0));
            let mut ssim = Ssim::new();
            let same = ssim.frame(&a.as_ref(), &a.as_ref());
            assert_eq!(same.all, Some(1.0));
            let other = ssim.frame(&a.as_ref(), &b.as_ref()).all.unwrap();
            assert!(other < 0.99 && other > 0.2, "{other}");
        }
    }

    #[test]
    fn planes_that_are_too_small_have_none() {
        let a = Random(1).frame(PixelFormat::I420, 8, 8);
        let s = Ssim::new().frame(&a.as_ref(), &a.as_ref());
        assert_eq!(s.planes, [Some(1.0), None, None]);
        assert_eq!(s.all, Some(1.0));
    }

    /// The definition, window by window.
    #[test]
    fn equals_the_definition() {
        for format in [PixelFormat::Gray8, PixelFormat::I42010Le] {
            let (a, b) = (
                Random(2).frame(format, 27, 22),
                Random(9).frame(format, 27, 22),
            );
            let (a, b) = (a.as_ref().component(0), b.as_ref().component(0));
            let max = f64::from(a.max_value());
            let (c1, c2) = ((0.01 * max).powi(2), (0.03 * max).powi(2));
            let (mut sum, mut count) = (0.0, 0.0);
            for y in (0..=(22 / 4 * 4) - 8).step_by(4) {
                for x in (0..=(27 / 4 * 4) - 8).step_by(4) {
                    let (mut sa, mut sb, mut saa, mut sbb, mut sab) = (0.0, 0.0, 0.0, 0.0, 0.0);
                    for (i, j) in (0..8).flat_map(|i| (0..8).map(move |j| (i, j))) {
                        let p = f64::from(a.get(x + i, y + j));
                        let q = f64::from(b.get(x + i, y + j));
                        sa += p;
                        sb += q;
                        saa += p * p;
                        sbb += q * q;
                        sab += p * q;
                    }
                    let (ma, mb) = (sa / 64.0, sb / 64.0);
                    let va = (saa - 64.0 * ma * ma) / 63.0;
                    let vb = (sbb - 64.0 * mb * mb) / 63.0;
                    let cov = (sab - 64.0 * ma * mb) / 63.0;
                    sum += (2.0 * ma * mb + c1) * (2.0 * cov + c2)
                        / ((ma * ma + mb * mb + c1) * (va + vb + c2));
                    count += 1.0;
                }
            }
            let measured = Ssim::new().plane(&a, &b).unwrap();
            assert!(
                (measured - sum / count).abs() < 1e-5,
                "{measured} {}",
                sum / count
            );
        }
    }
}
