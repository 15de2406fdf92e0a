//! Depthwise layers: 3x3 filters, one for each channel.

use super::{LIMIT, dense};
use crate::Result;

/// Taps of a filter.
pub(super) const TAPS: usize = 9;
/// Channels that a kernel handles at once.
pub(super) const LANES: usize = 16;

/// Weights of 16 channels for pairs of taps (0 1, 2 3, 4 5, 6 7, 8 and none), each pair in two
/// halves, in the order in which AVX2 interleaves 16 channels of two taps: channels 0 to 3 and 8 to
/// 11, then 4 to 7 and 12 to 15.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for SIMD"))]
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Taps(pub(super) [[[i16; LANES]; 2]; 5]);

/// A depthwise layer with signed outputs.
#[derive(Debug, Clone)]
pub(super) struct Depthwise {
    pub(super) channels: usize,
    /// `[TAPS][channels]`.
    pub(super) weights: Vec<i16>,
    /// For each whole 16 channels.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for SIMD"))]
    pub(super) packed: Vec<Taps>,
    pub(super) bias: Vec<i32>,
    /// Bits that sums are shifted by, 1 to 15.
    pub(super) shift: u32,
}

impl Depthwise {
    /// Checks a layer: `weights` `[TAPS][channels]`, `bias` `[channels]`.
    pub(super) fn new(name: &str, weights: Vec<i16>, bias: Vec<i32>, shift: u8) -> Result<Self> {
        let channels = bias.len();
        if channels == 0 || weights.len() != TAPS * channels {
            return Err(super::file::wrong(name, "sizes that do not fit each other"));
        }
        let columns = (0..channels).map(|c| weights.iter().skip(c).step_by(channels));
        dense::check(name, columns, &bias, channels, shift)?;
        let pack = |group: usize| {
            let mut taps = Taps([[[0; LANES]; 2]; 5]);
            for (t, row) in weights.chunks_exact(channels).enumerate() {
                for (c, &w) in row[group * LANES..][..LANES].iter().enumerate() {
                    let lane = c / 8 * 8 + c % 4 * 2 + t % 2;
                    taps.0[t / 2][c / 4 % 2][lane] = w;
                }
            }
            taps
        };
        Ok(Self {
            channels,
            packed: (0..channels / LANES).map(pack).collect(),
            weights,
            bias,
            shift: shift.into(),
        })
    }

    /// Positions of a row; panics unless all rows have as many, and one more on both sides of those
    /// that are read. Kernels rely on it.
    pub(super) fn check_rows(&self, rows: [&[i16]; 3], out: &[i16]) -> usize {
        let n = out.len() / self.channels;
        assert_eq!(out.len(), n * self.channels);
        for row in rows {
            assert!(row.len() >= (n + 2) * self.channels);
        }
        n
    }
}

/// A row of `n` positions: `out[p][c] = clip((bias[c] + sum of w[3 i + j][c] rows[i][p + j][c]) >>
/// shift)`.
///
/// `rows` are the row above, the same and the one below, `[n + 2][channels]` each: their first and
/// last positions lie left and right of the output's.
pub(super) fn plain(layer: &Depthwise, rows: [&[i16]; 3], out: &mut [i16]) {
    layer.check_rows(rows, out);
    plain_from(layer, 0, rows, out);
}

/// As [`plain`], only for channels from `first` on.
#[inline(always)]
pub(super) fn plain_from(layer: &Depthwise, first: usize, rows: [&[i16]; 3], out: &mut [i16]) {
    let channels = layer.channels;
    let limit = i32::from(LIMIT);
    for (p, out) in out.chunks_exact_mut(channels).enumerate() {
        for c in first..channels {
            let mut sum = layer.bias[c];
            for (t, w) in layer.weights.chunks_exact(channels).enumerate() {
                let x = rows[t / 3][(p + t % 3) * channels + c];
                sum += i32::from(w[c]) * i32::from(x);
            }
            out[c] = (sum >> layer.shift).clamp(-limit, limit) as i16;
        }
    }
}
