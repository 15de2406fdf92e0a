//! Dense layers for AVX-512 VNNI: multiplication and addition in one instruction, and twice as many
//! registers of twice the width.

use std::arch::x86_64::*;

use super::{
    super::{
        dense::{Dense, PANEL, Pair, Run},
        kernels::Kernels,
    },
    avx2::{self, Output},
};

/// Positions that are computed at once.
const TILE: usize = 8;

/// The kernels, if this processor has AVX-512 with VNNI: those for AVX2 but for dense layers.
pub(in super::super) fn detect() -> Option<Kernels> {
    let found = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vnni");
    found.then_some(Kernels {
        name: "avx512 vnni",
        dense,
        dense_sums,
        ..avx2::KERNELS
    })
}

fn dense(layer: &Dense, run: Run, x: [&[i16]; 2], out: &mut [i16]) {
    // SAFETY: `detect` gives this function out only if all features were detected.
    unsafe { dense_any(layer, run, x, out) }
}

fn dense_sums(layer: &Dense, run: Run, x: [&[i16]; 2], out: &mut [i32]) {
    // SAFETY: `detect` gives this function out only if all features were detected.
    unsafe { dense_any(layer, run, x, out) }
}

#[target_feature(enable = "avx2,avx512f,avx512vnni")]
fn dense_any<T: Output>(layer: &Dense, run: Run, x: [&[i16]; 2], out: &mut [T]) {
    layer.check_run(run, x, out.len());
    let (weights, pairs) = (layer.pairs_of(run), layer.pairs());
    let biases = layer.biases(run).as_chunks::<PANEL>().0;
    let mut panel = 0;
    while panel < biases.len() {
        // Three panels for 24 accumulators; 2 + 2 rather than 3 + 1.
        let count = match biases.len() - panel {
            4 => 2,
            left => left.min(3),
        };
        for first in (0..run.positions).step_by(TILE) {
            let [a, b] = layer.inputs;
            let x = [&x[0][first * a..], &x[1][first * b..]];
            let out = &mut out[first * run.stride + panel * PANEL..];
            let tile = Tile {
                layer,
                weights: &weights[panel * pairs..(panel + count) * pairs],
                biases: &biases[panel..panel + count],
                stride: run.stride,
                width: (count * PANEL).min(layer.outputs - panel * PANEL),
            };
            match count {
                1 => tile.positions::<1, T>(run.positions - first, x, out),
                2 => tile.positions::<2, T>(run.positions - first, x, out),
                _ => tile.positions::<3, T>(run.positions - first, x, out),
            }
        }
        panel += count;
    }
}

/// Some panels of outputs for a few positions.
struct Tile<'a> {
    layer: &'a Dense,
    /// `[panels][pairs]`.
    weights: &'a [Pair],
    biases: &'a [[i32; PANEL]],
    stride: usize,
    /// Outputs that the panels have.
    width: usize,
}

impl Tile<'_> {
    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512vnni")]
    fn positions<const Q: usize, T: Output>(&self, n: usize, x: [&[i16]; 2], out: &mut [T]) {
        match n {
            1 => self.run::<1, Q, T>(x, out),
            2 => self.run::<2, Q, T>(x, out),
            3 => self.run::<3, Q, T>(x, out),
            4 => self.run::<4, Q, T>(x, out),
            5 => self.run::<5, Q, T>(x, out),
            6 => self.run::<6, Q, T>(x, out),
            7 => self.run::<7, Q, T>(x, out),
            _ => self.run::<TILE, Q, T>(x, out),
        }
    }

    /// `P` positions, `Q` panels.
    #[target_feature(enable = "avx2,avx512f,avx512vnni")]
    fn run<const P: usize, const Q: usize, T: Output>(&self, x: [&[i16]; 2], out: &mut [T]) {
        let [a, b] = self.layer.inputs;
        let pairs = self.layer.pairs();
        let mut first = [_mm512_setzero_si512(); Q];
        for (sum, bias) in first.iter_mut().zip(self.biases) {
            // SAFETY: a bias is 64 readable bytes; no alignment is required.
            *sum = unsafe { _mm512_loadu_si512(bias.as_ptr().cast()) };
        }
        let mut sums = [first; P];
        let split = a.div_ceil(2);
        part::<P, Q>(&mut sums, self.weights, [0, split], pairs, x[0], a);
        part::<P, Q>(&mut sums, self.weights, [split, pairs], pairs, x[1], b);
        let shift = _mm_cvtsi32_si128(self.layer.shift as i32);
        let low = _mm256_set1_epi16(self.layer.low);
        for (p, sums) in sums.into_iter().enumerate() {
            let out = &mut out[p * self.stride..][..self.width];
            for (sum, out) in sums.into_iter().zip(out.chunks_mut(PANEL)) {
                let halves = [
                    _mm512_castsi512_si256(sum),
                    _mm512_extracti64x4_epi64::<1>(sum),
                ];
                // SAFETY: this function has AVX2 itself.
                unsafe { T::put(halves, shift, low, out) }
            }
        }
    }
}

/// Adds the products of `n` inputs of `P` positions, `[P][n]`; their weights are pairs `at[0]` to
/// `at[1]` of each panel.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vnni")]
fn part<const P: usize, const Q: usize>(
    sums: &mut [[__m512i; Q]; P],
    weights: &[Pair],
    at: [usize; 2],
    pairs: usize,
    x: &[i16],
    n: usize,
) {
    assert!(x.len() >= P * n && at[1] - at[0] == n.div_ceil(2));
    assert!(at[1] <= pairs && weights.len() == Q * pairs);
    for i in 0..n / 2 {
        // SAFETY: `p < P` and `2 * i + 1 < n`, so both values lie in `x`, as was checked above; no
        // alignment is required.
        let x = std::array::from_fn(|p| unsafe {
            x.as_ptr().add(p * n + 2 * i).cast::<i32>().read_unaligned()
        });
        // SAFETY: `q < Q` and `at[0] + i < at[1]`, so the pair lies in `weights`, as was checked
        // above; a `Pair` is 64 readable bytes.
        let w = std::array::from_fn(|q| unsafe {
            _mm512_loadu_si512(weights.as_ptr().add(q * pairs + at[0] + i).cast())
        });
        multiply(sums, w, x);
    }
    if n % 2 == 1 {
        let x = std::array::from_fn(|p| i32::from(x[p * n + n - 1] as u16));
        // SAFETY: as above, for the last pair of the part: `at[1] - 1 < pairs`.
        let w = std::array::from_fn(|q| unsafe {
            _mm512_loadu_si512(weights.as_ptr().add(q * pairs + at[1] - 1).cast())
        });
        multiply(sums, w, x);
    }
}

/// Adds the products of a pair of inputs of `P` positions.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vnni")]
fn multiply<const P: usize, const Q: usize>(
    sums: &mut [[__m512i; Q]; P],
    w: [__m512i; Q],
    x: [i32; P],
) {
    for (sums, x) in sums.iter_mut().zip(x) {
        let x = _mm512_set1_epi32(x);
        for (sum, w) in sums.iter_mut().zip(w) {
            *sum = _mm512_dpwssd_epi32(*sum, x, w);
        }
    }
}
