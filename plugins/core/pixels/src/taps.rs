//! Filter tables: which samples make up each output sample, and with which weights.

use crate::PixelError;

/// Interpolation kernel. When shrinking, each is widened by the ratio (antialiasing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Triangle, 2 taps.
    Bilinear,
    /// Keys' cubic convolution with a = -0.5 (IEEE Trans. ASSP 29, 1981), 4 taps.
    Bicubic,
    /// Lanczos with 3 lobes, 6 taps.
    Lanczos,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    /// The kernel at distance `x`.
    pub(crate) fn at(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Filter::Bilinear => (1.0 - x).max(0.0),
            Filter::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Filter::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Filter::Bicubic => 0.0,
            Filter::Lanczos if x < 1e-9 => 1.0,
            Filter::Lanczos if x < 3.0 => {
                let a = std::f64::consts::PI * x;
                3.0 * a.sin() * (a / 3.0).sin() / (a * a)
            }
            Filter::Lanczos => 0.0,
        }
    }
}

/// Output sample `i` lies at source position `i * step + origin`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mapping {
    pub step: f64,
    pub origin: f64,
}

impl Mapping {
    /// Sample centres: `(i + 0.5) * from / to - 0.5 + phase`.
    pub fn scale(from: usize, to: usize, phase: f64) -> Self {
        let step = from as f64 / to as f64;
        Self {
            step,
            origin: 0.5 * step - 0.5 + phase,
        }
    }
}

/// The largest number of floats that a table or a ring of rows may have.
pub(crate) const MAX_FLOATS: usize = 1 << 27;

/// Readable floats that [`Taps`] expects after the last source sample.
pub(crate) const PADDING: usize = 8;

/// A table for one direction. All outputs have the same number of taps; starts ascend.
#[derive(Debug, Clone)]
pub(crate) struct Taps {
    from: usize,
    taps: usize,
    start: Vec<i32>,
    /// [output][tap]
    weights: Vec<f32>,
    /// [tap][output], each row padded to a multiple of 8.
    by_tap: Vec<f32>,
    /// The starts of any 8 consecutive outputs lie within 8 samples.
    narrow: bool,
    /// Every output is the source sample of the same index.
    copy: bool,
}

impl Taps {
    /// A table from `from` to `to` samples; positions outside the source repeat its edge.
    pub fn new(from: usize, to: usize, filter: Filter, map: Mapping) -> Result<Self, PixelError> {
        let widen = map.step.max(1.0);
        let support = filter.support() * widen;
        let most = ((2.0 * support) as usize + 2).min(from);
        if most.saturating_mul(to) > MAX_FLOATS {
            return Err(PixelError::TooLarge { from, to });
        }
        let last_sample = from as i64 - 1;
        let mut rows: Vec<(usize, Vec<f64>)> = Vec::with_capacity(to);
        for i in 0..to {
            let pos = i as f64 * map.step + map.origin;
            let low = (pos - support).ceil() as i64;
            let high = (pos + support).floor() as i64;
            let first = low.clamp(0, last_sample);
            let last = high.clamp(0, last_sample);
            let mut weights = vec![0.0; (last - first + 1) as usize];
            for s in low..=high {
                let at = s.clamp(0, last_sample) - first;
                weights[at as usize] += filter.at((s as f64 - pos) / widen);
            }
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|w| *w /= sum);
            // Zeros at the ends cost time and change nothing.
            let lead = weights.iter().take_while(|w| w.abs() < 1e-12).count();
            weights.drain(..lead);
            while weights.len() > 1 && weights.last().is_some_and(|w| w.abs() < 1e-12) {
                weights.pop();
            }
            rows.push((first as usize + lead, weights));
        }
        Ok(Self::from_rows(from, &rows))
    }

    fn from_rows(from: usize, rows: &[(usize, Vec<f64>)]) -> Self {
        let to = rows.len();
        // Starts must ascend for the ring of rows and for the SIMD kernel.
        let mut start: Vec<usize> = rows.iter().map(|(first, _)| *first).collect();
        for i in (1..to).rev() {
            start[i - 1] = start[i - 1].min(start[i]);
        }
        let taps = rows
            .iter()
            .zip(&start)
            .map(|((first, weights), start)| first + weights.len() - start)
            .max()
            .unwrap_or(1);
        let padded = to.next_multiple_of(8);
        let mut out = Self {
            from,
            taps,
            start: vec![0; padded],
            weights: vec![0.0; to * taps],
            by_tap: vec![0.0; padded * taps],
            narrow: true,
            copy: false,
        };
        for (i, (first, weights)) in rows.iter().enumerate() {
            let begin = start[i].min(from - taps);
            out.start[i] = begin as i32;
            for (t, weight) in weights.iter().enumerate() {
                let at = first - begin + t;
                out.weights[i * taps + at] = *weight as f32;
                out.by_tap[at * padded + i] = *weight as f32;
            }
        }
        if let Some(last) = to.checked_sub(1).map(|i| out.start[i]) {
            out.start[to..].fill(last);
        }
        out.narrow = out.start.chunks(8).all(|c| c[7] - c[0] < 8);
        out.copy = taps == 1 && to == from && (0..to).all(|i| out.start[i] as usize == i);
        out
    }

    /// Source samples.
    pub fn from(&self) -> usize {
        self.from
    }

    /// Taps of every output.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// First source sample of output `i`.
    #[inline(always)]
    pub fn start(&self, i: usize) -> usize {
        self.start[i] as usize
    }

    /// Weights of output `i`, from its first source sample on.
    #[inline(always)]
    pub fn weights(&self, i: usize) -> &[f32] {
        &self.weights[i * self.taps..][..self.taps]
    }

    /// Weights as [output][tap].
    pub fn all_weights(&self) -> &[f32] {
        &self.weights
    }

    /// Starts, padded to a multiple of 8; `start + taps <= from`.
    pub fn starts(&self) -> &[i32] {
        &self.start
    }

    /// Weights as [tap][output], each row as long as [`Taps::starts`].
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub fn by_tap(&self) -> &[f32] {
        &self.by_tap
    }

    /// Whether the filter changes nothing.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub fn is_copy(&self) -> bool {
        self.copy
    }

    /// Whether the starts of 8 consecutive outputs (from a multiple of 8) lie within 8 samples.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub fn narrow(&self) -> bool {
        self.narrow
    }
}
