//! Kernels for AVX2.

use std::arch::x86_64::*;

use super::super::{
    LIMIT,
    dense::{Dense, PANEL, Pair, Run},
    depthwise::{self, Depthwise, LANES, Taps},
    elementwise,
    kernels::Kernels,
    layout, search,
};

/// Positions that are computed at once: 12 accumulators, two weights, one input, one product.
const TILE: usize = 6;

/// The kernels, if this processor has AVX2.
pub(in super::super) fn detect() -> Option<Kernels> {
    is_x86_feature_detected!("avx2").then_some(KERNELS)
}

/// Safe functions for the table, which is given out only by [`detect`].
macro_rules! table {
    ($($name:ident: $path:path, ($($arg:ident: $ty:ty),*) $(-> $out:ty)?);* $(;)?) => {
        $(fn $name($($arg: $ty),*) $(-> $out)? {
            #[target_feature(enable = "avx2")]
            fn wide($($arg: $ty),*) $(-> $out)? {
                $path($($arg),*)
            }
            // SAFETY: the table with this function is given out only if AVX2 was detected.
            unsafe { wide($($arg),*) }
        })*
        /// Only given out where AVX2 was detected.
        pub(super) const KERNELS: Kernels = Kernels { name: "avx2", $($name),* };
    };
}

table! {
    dense: dense_words, (layer: &Dense, run: Run, x: [&[i16]; 2], out: &mut [i16]);
    dense_sums: dense_numbers, (layer: &Dense, run: Run, x: [&[i16]; 2], out: &mut [i32]);
    depthwise: depthwise_row, (layer: &Depthwise, rows: [&[i16]; 3], out: &mut [i16]);
    add: elementwise::add, (to: &mut [i16], a: &[i16], b: &[i16]);
    difference: elementwise::difference, (to: &mut [i16], a: &[i16], b: &[i16]);
    dequantise: elementwise::dequantise, (to: &mut [i16], q: &[i16], step: &[i32]);
    indices: elementwise::indices, (to: &mut [u8], scale: &[i16], shift: &[i16]);
    means: elementwise::means, (to: &mut [i16], mean: &[i16], inverse: &[i32]);
    samples: elementwise::samples, (out: &mut [i16], direct: &[i16], prediction: &[i16]);
    load: layout::load, (planes: [&[u16]; 3], widths: [usize; 3], row: usize, out: &mut [i16]);
    store: layout::store, (x: &[i16], planes: [&mut [u16]; 3], widths: [usize; 3]);
    nearest: search::nearest, (words: &[f32], offsets: &[f32], x: &[f32]) -> usize;
}

/// The places of a panel's outputs.
pub(super) trait Output: Copy {
    /// Writes the 16 sums of a position, or as many of them as fit in `to`.
    ///
    /// # Safety
    /// The processor must have AVX2.
    unsafe fn put(sums: [__m256i; 2], shift: __m128i, low: __m256i, to: &mut [Self]);
}

impl Output for i16 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn put(sums: [__m256i; 2], shift: __m128i, low: __m256i, to: &mut [Self]) {
        let [a, b] = sums.map(|s| _mm256_sra_epi32(s, shift));
        let v = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(a, b));
        let v = _mm256_min_epi16(_mm256_max_epi16(v, low), _mm256_set1_epi16(LIMIT));
        if let Some(to) = to.first_chunk_mut::<PANEL>() {
            store_16(to, v);
        } else {
            let mut all = [0; PANEL];
            store_16(&mut all, v);
            to.copy_from_slice(&all[..to.len()]);
        }
    }
}

impl Output for i32 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn put(sums: [__m256i; 2], _: __m128i, _: __m256i, to: &mut [Self]) {
        let mut all = [0; PANEL];
        let (a, b) = all.split_at_mut(8);
        for (to, sum) in [a, b].into_iter().zip(sums) {
            if let Some(to) = to.first_chunk_mut::<8>() {
                // SAFETY: the array is 32 writable bytes; no alignment is required.
                unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), sum) }
            }
        }
        to.copy_from_slice(&all[..to.len()]);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_16(to: &mut [i16; 16], v: __m256i) {
    // SAFETY: the array is 32 writable bytes; no alignment is required.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_16(from: &[i16; 16]) -> __m256i {
    // SAFETY: the array is 32 readable bytes; no alignment is required.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_8(from: &[i32; 8]) -> __m256i {
    // SAFETY: the array is 32 readable bytes; no alignment is required.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn dense_words(layer: &Dense, run: Run, x: [&[i16]; 2], out: &mut [i16]) {
    dense_any(layer, run, x, out);
}

#[inline]
#[target_feature(enable = "avx2")]
fn dense_numbers(layer: &Dense, run: Run, x: [&[i16]; 2], out: &mut [i32]) {
    dense_any(layer, run, x, out);
}

#[inline]
#[target_feature(enable = "avx2")]
fn dense_any<T: Output>(layer: &Dense, run: Run, x: [&[i16]; 2], out: &mut [T]) {
    layer.check_run(run, x, out.len());
    let panels = layer.pairs_of(run).chunks_exact(layer.pairs());
    let biases = layer.biases(run).as_chunks::<PANEL>().0;
    for (panel, (weights, bias)) in panels.zip(biases).enumerate() {
        let width = PANEL.min(layer.outputs - panel * PANEL);
        for first in (0..run.positions).step_by(TILE) {
            let [a, b] = layer.inputs;
            let x = [&x[0][first * a..], &x[1][first * b..]];
            let out = &mut out[first * run.stride + panel * PANEL..];
            let tile = Tile {
                layer,
                weights,
                bias,
                stride: run.stride,
                width,
            };
            match run.positions - first {
                1 => tile.run::<1, T>(x, out),
                2 => tile.run::<2, T>(x, out),
                3 => tile.run::<3, T>(x, out),
                4 => tile.run::<4, T>(x, out),
                5 => tile.run::<5, T>(x, out),
                _ => tile.run::<TILE, T>(x, out),
            }
        }
    }
}

/// A panel of outputs for a few positions.
struct Tile<'a> {
    layer: &'a Dense,
    weights: &'a [Pair],
    bias: &'a [i32; PANEL],
    stride: usize,
    /// Outputs that the panel has.
    width: usize,
}

impl Tile<'_> {
    /// `P` positions.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn run<const P: usize, T: Output>(&self, x: [&[i16]; 2], out: &mut [T]) {
        let [a, b] = self.layer.inputs;
        let mut sums = {
            let (halves, _) = self.bias.as_chunks::<8>();
            [[load_8(&halves[0]), load_8(&halves[1])]; P]
        };
        let (first, second) = self.weights.split_at(a.div_ceil(2));
        part::<P>(&mut sums, first, x[0], a);
        part::<P>(&mut sums, second, x[1], b);
        let shift = _mm_cvtsi32_si128(self.layer.shift as i32);
        let low = _mm256_set1_epi16(self.layer.low);
        for (p, sums) in sums.into_iter().enumerate() {
            let out = &mut out[p * self.stride..][..self.width];
            // SAFETY: this function has AVX2 itself.
            unsafe { T::put(sums, shift, low, out) }
        }
    }
}

/// Adds the products of `n` inputs of `P` positions, `[P][n]`.
#[inline]
#[target_feature(enable = "avx2")]
fn part<const P: usize>(sums: &mut [[__m256i; 2]; P], weights: &[Pair], x: &[i16], n: usize) {
    assert!(x.len() >= P * n && weights.len() == n.div_ceil(2));
    for (i, w) in weights[..n / 2].iter().enumerate() {
        for (p, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `p < P` and `2 * i + 1 < n`, so both values lie in `x`, as was checked above;
            // no alignment is required.
            let pair = unsafe { x.as_ptr().add(p * n + 2 * i).cast::<i32>().read_unaligned() };
            multiply(sums, w, pair);
        }
    }
    if let (1, Some(w)) = (n % 2, weights.last()) {
        for (p, sums) in sums.iter_mut().enumerate() {
            multiply(sums, w, i32::from(x[p * n + n - 1] as u16));
        }
    }
}

/// Adds the products of a pair of inputs.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply(sums: &mut [__m256i; 2], w: &Pair, pair: i32) {
    let pair = _mm256_set1_epi32(pair);
    let (halves, _) = w.0.as_chunks::<16>();
    for (sum, w) in sums.iter_mut().zip(halves) {
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, load_16(w)));
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn depthwise_row(layer: &Depthwise, rows: [&[i16]; 3], out: &mut [i16]) {
    let n = layer.check_rows(rows, out);
    let channels = layer.channels;
    let shift = _mm_cvtsi32_si128(layer.shift as i32);
    for (group, taps) in layer.packed.iter().enumerate() {
        let at = group * LANES;
        let Some(bias) = layer.bias[at..].first_chunk::<LANES>() else {
            continue;
        };
        let (halves, _) = bias.as_chunks::<8>();
        let (a, b) = (load_8(&halves[0]), load_8(&halves[1]));
        let bias = [
            _mm256_permute2x128_si256::<0x20>(a, b),
            _mm256_permute2x128_si256::<0x31>(a, b),
        ];
        for p in 0..n {
            let at = p * channels + at;
            // SAFETY: `check_rows` made sure that all rows have `n + 2` positions, and each of the
            // 16 channels from `group * LANES` on.
            let x = |t: usize| unsafe {
                let from = rows[t / 3].as_ptr().add(at + t % 3 * channels);
                _mm256_loadu_si256(from.cast())
            };
            let sums = filter(taps, bias, x);
            let [low, high] = sums.map(|s| _mm256_sra_epi32(s, shift));
            let v = _mm256_packs_epi32(low, high);
            let v = _mm256_max_epi16(v, _mm256_set1_epi16(-LIMIT));
            let v = _mm256_min_epi16(v, _mm256_set1_epi16(LIMIT));
            if let Some(to) = out[at..].first_chunk_mut() {
                store_16(to, v);
            }
        }
    }
    let first = layer.packed.len() * LANES;
    if first < channels {
        depthwise::plain_from(layer, first, rows, out);
    }
}

/// Adds the nine products of 16 channels; `x(t)` is what tap `t` multiplies.
#[inline]
#[target_feature(enable = "avx2")]
fn filter(taps: &Taps, mut sums: [__m256i; 2], x: impl Fn(usize) -> __m256i) -> [__m256i; 2] {
    for (i, w) in taps.0.iter().enumerate() {
        let a = x(2 * i);
        let b = if i < 4 {
            x(2 * i + 1)
        } else {
            _mm256_setzero_si256()
        };
        let low = _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), load_16(&w[0]));
        let high = _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), load_16(&w[1]));
        sums = [
            _mm256_add_epi32(sums[0], low),
            _mm256_add_epi32(sums[1], high),
        ];
    }
    sums
}
