//! Many frames as few numbers.

use std::str::FromStr;

use crate::{Column, FrameScores, MetricError, psnr::psnr};

/// A way to pool the frames of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pool {
    /// Arithmetic mean.
    Mean,
    /// Harmonic mean, n / sum(1 / (x + 1)) - 1 as in libvmaf: bad frames weigh more.
    Harmonic,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The 1st percentile.
    P1,
    /// The 5th percentile.
    P5,
}

impl Pool {
    /// All of them.
    pub const ALL: &[Pool] = &[
        Pool::Mean,
        Pool::Harmonic,
        Pool::Min,
        Pool::Max,
        Pool::P1,
        Pool::P5,
    ];

    /// Its name: `mean`, `harmonic`, `min`, `max`, `p1`, `p5`.
    pub fn name(self) -> &'static str {
        match self {
            Pool::Mean => "mean",
            Pool::Harmonic => "harmonic",
            Pool::Min => "min",
            Pool::Max => "max",
            Pool::P1 => "p1",
            Pool::P5 => "p5",
        }
    }
}

impl FromStr for Pool {
    type Err = MetricError;

    fn from_str(s: &str) -> Result<Self, MetricError> {
        let found = Pool::ALL.iter().copied().find(|p| p.name() == s);
        found.ok_or_else(|| MetricError::Limit {
            text: s.to_owned(),
            reason: "no way to pool; there are mean, harmonic, min, max, p1, p5".to_owned(),
        })
    }
}

/// A pooled column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pooled {
    /// Frames that have a value.
    pub frames: u64,
    /// Arithmetic mean. For PSNR this is the mean of the frames' PSNR.
    pub mean: f64,
    /// Harmonic mean, see [`Pool::Harmonic`].
    pub harmonic_mean: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// 1st percentile, linear between the two nearest frames (NumPy's default).
    pub p1: f64,
    /// 5th percentile.
    pub p5: f64,
    /// Only for PSNR: the PSNR of the mean of the frames' MSE, which ffmpeg's filter prints at its
    /// end. Never more than the mean of the PSNRs; bad frames weigh more.
    pub of_mean_mse: Option<f64>,
}

impl Pooled {
    /// One of the numbers.
    pub fn get(&self, pool: Pool) -> f64 {
        match pool {
            Pool::Mean => self.mean,
            Pool::Harmonic => self.harmonic_mean,
            Pool::Min => self.min,
            Pool::Max => self.max,
            Pool::P1 => self.p1,
            Pool::P5 => self.p5,
        }
    }

    fn new(values: &[f64], of_mean_mse: Option<f64>) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let n = values.len() as f64;
        Some(Self {
            frames: values.len() as u64,
            mean: values.iter().sum::<f64>() / n,
            // x + 1 must be positive for the mean to mean anything: MS-SSIM may go below 0, to -1.
            harmonic_mean: n / values
                .iter()
                .map(|v| 1.0 / (v + 1.0).max(1e-9))
                .sum::<f64>()
                - 1.0,
            min,
            max,
            p1: percentile(&sorted, 0.01),
            p5: percentile(&sorted, 0.05),
            of_mean_mse,
        })
    }
}

fn percentile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

/// Collects frames; pools them on demand. Keeps 8 bytes a frame and column.
#[derive(Debug, Clone)]
pub struct Summary {
    columns: Vec<Column>,
    values: Vec<Vec<f64>>,
    frames: u64,
    identical: u64,
    /// Sums of the planes' MSE and of that over all samples.
    mse: [f64; 4],
    peak: u32,
    planes: usize,
}

impl Summary {
    /// An empty one.
    pub fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            values: vec![Vec::new(); columns.len()],
            frames: 0,
            identical: 0,
            mse: [0.0; 4],
            peak: 255,
            planes: 0,
        }
    }

    /// Adds a frame.
    pub fn add(&mut self, scores: &FrameScores) {
        self.frames += 1;
        self.identical += u64::from(scores.identical());
        for (values, score) in self.values.iter_mut().zip(&scores.values) {
            values.extend(*score);
        }
        let e = &scores.error;
        let mse = [e.mse[0], e.mse[1], e.mse[2], e.mse_all()];
        for (sum, mse) in self.mse.iter_mut().zip(mse) {
            *sum += mse;
        }
        (self.peak, self.planes) = (e.peak, e.planes);
    }

    /// Frames that were added.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames that equalled their reference in every sample.
    pub fn identical(&self) -> u64 {
        self.identical
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The values of a column, of all frames that have one, in their order.
    pub fn values(&self, column: &str) -> Option<&[f64]> {
        let at = self.columns.iter().position(|c| c.name == column)?;
        self.values.get(at).map(Vec::as_slice)
    }

    /// A column pooled; None if it is not measured or no frame has a value.
    pub fn pooled(&self, column: &str) -> Option<Pooled> {
        Pooled::new(self.values(column)?, self.of_mean_mse(column))
    }

    fn of_mean_mse(&self, column: &str) -> Option<f64> {
        if self.frames == 0 {
            return None;
        }
        let p = |i: usize| psnr(self.mse[i] / self.frames as f64, self.peak);
        match column {
            "psnr-y" => Some(p(0)),
            "psnr-u" => Some(p(1)),
            "psnr-v" => Some(p(2)),
            "psnr-avg" => Some(p(3)),
            "psnr-611" if self.planes == 3 => Some((6.0 * p(0) + p(1) + p(2)) / 8.0),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_numpys() {
        let values: Vec<f64> = (1..=101).rev().map(f64::from).collect();
        let p = Pooled::new(&values, None).unwrap();
        assert_eq!((p.p1, p.p5, p.min, p.max), (2.0, 6.0, 1.0, 101.0));
        // numpy.percentile([3, 1, 2], [1, 5]) is [1.02, 1.1]
        let p = Pooled::new(&[3.0, 1.0, 2.0], None).unwrap();
        assert!((p.p1 - 1.02).abs() < 1e-12 && (p.p5 - 1.1).abs() < 1e-12);
        let one = Pooled::new(&[7.0], None).unwrap();
        assert_eq!((one.p1, one.mean, one.frames), (7.0, 7.0, 1));
        assert!(Pooled::new(&[], None).is_none());
    }

    #[test]
    fn harmonic_mean_is_libvmafs() {
        let p = Pooled::new(&[1.0, 3.0], None).unwrap();
        assert!((p.harmonic_mean - (2.0 / (0.5 + 0.25) - 1.0)).abs() < 1e-12);
    }
}
