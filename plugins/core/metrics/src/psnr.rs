//! Mean squared error and PSNR, per plane and over planes.

use gstneural_pixels::{CompRef, FrameRef};

use crate::{kernels, rows::row};

/// The PSNR that identical planes get, and the greatest that is ever given, in dB. A number, so
/// that JSON and averages can carry it; [`FrameScores::identical`](crate::FrameScores::identical)
/// tells the two apart.
pub const PSNR_CAP_DB: f64 = 100.0;

/// Samples and squared differences of the planes of a pair of frames.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FrameError {
    /// Planes: 1 (luma) or 3.
    pub planes: usize,
    /// Mean squared error of each plane, in squared units of a sample.
    pub mse: [f64; 3],
    /// Samples of each plane.
    pub samples: [u64; 3],
    /// The greatest value of a sample, 255 or 1023.
    pub peak: u32,
}

impl FrameError {
    /// Measures two frames of the same size, depth and subsampling.
    ///
    /// # Panics
    /// If the frames differ in these.
    pub fn new(reference: &FrameRef<'_>, distorted: &FrameRef<'_>) -> Self {
        let planes = reference.format().info().components.len().min(3);
        let mut out = Self {
            planes,
            peak: reference.component(0).max_value(),
            ..Self::default()
        };
        for c in 0..planes {
            let (a, b) = (reference.component(c), distorted.component(c));
            let samples = (a.width() * a.height()) as u64;
            out.samples[c] = samples;
            out.mse[c] = squared_error(&a, &b) as f64 / samples as f64;
        }
        out
    }

    /// As [`FrameError::new`] for frames that need not be measured: zeros if they are the same, NaN
    /// for planes that are not.
    ///
    /// # Panics
    /// If the frames differ in size, depth or subsampling.
    pub fn same_or_nan(reference: &FrameRef<'_>, distorted: &FrameRef<'_>) -> Self {
        let planes = reference.format().info().components.len().min(3);
        let mut out = Self {
            planes,
            peak: reference.component(0).max_value(),
            ..Self::default()
        };
        let (mut sa, mut sb) = (Vec::new(), Vec::new());
        for c in 0..planes {
            let (a, b) = (reference.component(c), distorted.component(c));
            check_alike(&a, &b);
            out.samples[c] = (a.width() * a.height()) as u64;
            let same = (0..a.height()).all(|y| row(&a, y, &mut sa) == row(&b, y, &mut sb));
            out.mse[c] = if same { 0.0 } else { f64::NAN };
        }
        out
    }

    /// Whether every sample is the same.
    pub fn identical(&self) -> bool {
        self.mse == [0.0; 3]
    }

    /// PSNR of plane `c` in dB, at most [`PSNR_CAP_DB`]; None if there is no such plane.
    pub fn plane(&self, c: usize) -> Option<f64> {
        (c < self.planes).then(|| psnr(self.mse[c], self.peak))
    }

    /// Mean squared error over all samples of all planes.
    pub fn mse_all(&self) -> f64 {
        let samples: u64 = self.samples.iter().sum();
        let errors: f64 = self
            .mse
            .iter()
            .zip(self.samples)
            .map(|(mse, n)| mse * n as f64)
            .sum();
        errors / samples.max(1) as f64
    }

    /// PSNR of [`Self::mse_all`]: each sample counts the same, so that luma weighs 4:1:1 in 4:2:0.
    /// This is ffmpeg's `psnr_avg`.
    pub fn average(&self) -> f64 {
        psnr(self.mse_all(), self.peak)
    }

    /// (6 Y + U + V) / 8 of the planes' PSNR; luma's alone where there is no chroma.
    pub fn weighted(&self) -> f64 {
        let p = |c| psnr(self.mse[c], self.peak);
        match self.planes {
            3 => (6.0 * p(0) + p(1) + p(2)) / 8.0,
            _ => p(0),
        }
    }
}

/// PSNR in dB of a mean squared error, at most [`PSNR_CAP_DB`].
pub fn psnr(mse: f64, peak: u32) -> f64 {
    let peak = f64::from(peak);
    if mse > 0.0 {
        (10.0 * (peak * peak / mse).log10()).min(PSNR_CAP_DB)
    } else {
        PSNR_CAP_DB
    }
}

fn check_alike(a: &CompRef<'_>, b: &CompRef<'_>) {
    assert_eq!(
        (a.width(), a.height(), a.depth()),
        (b.width(), b.height(), b.depth()),
        "size and depth"
    );
}

/// Sum of squared differences of two components of the same size and depth.
///
/// # Panics
/// If they differ in these.
pub fn squared_error(a: &CompRef<'_>, b: &CompRef<'_>) -> u64 {
    check_alike(a, b);
    let kernels = kernels::current();
    let (mut sa, mut sb) = (Vec::new(), Vec::new());
    (0..a.height())
        .map(|y| kernels.sse(a.sample_bytes(), row(a, y, &mut sa), row(b, y, &mut sb)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, data, read_yuv};
    use gstneural_pixels::{Color, FrameBuf, PixelFormat};

    #[test]
    fn identical_frames_are_capped_and_flagged() {
        let frame = Random(1).frame(PixelFormat::I420, 33, 17);
        let e = FrameError::new(&frame.as_ref(), &frame.as_ref());
        assert!(e.identical());
        assert_eq!(e.plane(0), Some(PSNR_CAP_DB));
        assert_eq!((e.average(), e.weighted()), (PSNR_CAP_DB, PSNR_CAP_DB));
        let mut other = frame.clone();
        let at = other.as_ref().component(2).get(3, 4);
        other.as_mut().component_mut(2).set(3, 4, at ^ 1);
        let (a, b) = (frame.as_ref(), other.as_ref());
        assert_eq!(FrameError::same_or_nan(&a, &a), e);
        assert!(!FrameError::same_or_nan(&a, &b).identical());
        assert!(!FrameError::new(&a, &b).identical());
    }

    #[test]
    fn weights_follow_their_definitions() {
        let grey = |y, u, v| {
            let mut f = FrameBuf::new(PixelFormat::I420, 16, 16, Color::default()).unwrap();
            for (c, value) in [y, u, v].into_iter().enumerate() {
                f.as_mut().component_mut(c).fill(value);
            }
            f
        };
        let e = FrameError::new(&grey(100, 100, 100).as_ref(), &grey(101, 102, 104).as_ref());
        assert_eq!(e.mse, [1.0, 4.0, 16.0]);
        let p = |mse: f64| 10.0 * (255.0 * 255.0 / mse).log10();
        assert_eq!(e.plane(1), Some(p(4.0)));
        assert!((e.average() - p((4.0 + 4.0 + 16.0) / 6.0)).abs() < 1e-12);
        assert!((e.weighted() - (6.0 * p(1.0) + p(4.0) + p(16.0)) / 8.0).abs() < 1e-12);
    }

    #[test]
    fn packing_does_not_matter() {
        let planar = Random(5).frame(PixelFormat::I42010Le, 21, 11);
        let mut p010 = FrameBuf::new(PixelFormat::P01010Le, 21, 11, Color::default()).unwrap();
        for c in 0..3 {
            let (mut to, from) = (p010.as_mut(), planar.as_ref());
            let (mut to, from) = (to.component_mut(c), from.component(c));
            for y in 0..from.height() {
                for x in 0..from.width() {
                    to.set(x, y, from.get(x, y) ^ 1);
                }
            }
        }
        let e = FrameError::new(&planar.as_ref(), &p010.as_ref());
        assert_eq!(e.mse, [1.0; 3]);
        assert_eq!(e.peak, 1023);
    }

    #[test]
    fn the_8_bit_hall_pair() {
        let Some(data) = data() else { return };
        let read = |name: &str| {
            let bytes = std::fs::read(data.join("images/vmaf_pairs").join(name)).unwrap();
            read_yuv(&bytes, PixelFormat::I420, 352, 288).remove(0)
        };
        let a = read("hall_cif_frm_0_frm_0.yuv");
        let b = read("hall_plr10_3693_frm_0_frm_0.yuv");
        let e = FrameError::new(&a.as_ref(), &b.as_ref());
        assert!((e.plane(0).unwrap() - 36.4798).abs() < 5e-5);
    }
}
