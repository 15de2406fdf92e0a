//! The two passes of a separable filter.

use std::arch::x86_64::*;

use super::*;
use crate::kernels::Ring;
use crate::plain;
use crate::taps::{PADDING, Taps};

/// See [`plain::hfilter`]. `src` has [`PADDING`] floats after its last sample.
#[target_feature(enable = "avx2")]
pub(super) fn hfilter(src: &[f32], taps: &Taps, dst: &mut [f32]) {
    if src.len() < taps.from() + PADDING {
        return plain::hfilter(src, taps, dst);
    }
    if taps.is_copy() {
        return dst.copy_from_slice(&src[..taps.from()]);
    }
    match (taps.narrow(), taps.taps()) {
        (true, 2) => each_8(dst, |at| narrow_8::<2>(src, taps, at)),
        (true, 4) => each_8(dst, |at| narrow_8::<4>(src, taps, at)),
        (true, 6) => each_8(dst, |at| narrow_8::<6>(src, taps, at)),
        (true, _) => each_8(dst, |at| narrow_8::<0>(src, taps, at)),
        (false, _) => each_8(dst, |at| wide_8(src, taps, at)),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn each_8(dst: &mut [f32], filter: impl Fn(usize) -> __m256) {
    let (chunks, tail) = dst.as_chunks_mut::<8>();
    let n = chunks.len();
    for (i, out) in chunks.iter_mut().enumerate() {
        store_ps(out, filter(i));
    }
    if !tail.is_empty() {
        let mut out = [0.0; 8];
        store_ps(&mut out, filter(n));
        tail.copy_from_slice(&out[..tail.len()]);
    }
}

/// Starts and the weights of the first tap of chunk `at`, and from one tap to the next.
#[inline]
#[target_feature(enable = "avx2")]
fn chunk(taps: &Taps, at: usize) -> (__m256i, &[f32], usize) {
    let starts: &[i32] = &taps.starts()[8 * at..][..8];
    // SAFETY: the slice is 32 readable bytes; no alignment is required.
    let starts = unsafe { _mm256_loadu_si256(starts.as_ptr().cast()) };
    (starts, &taps.by_tap()[8 * at..], taps.starts().len())
}

#[inline(always)]
fn eight(from: &[f32]) -> &[f32; 8] {
    match from.first_chunk() {
        Some(eight) => eight,
        None => unreachable!("tables and lines are padded to 8"),
    }
}

/// 8 outputs whose sources lie within 8 samples: one load and one permutation a tap. `N` is
/// the number of taps, 0 for any.
#[inline]
#[target_feature(enable = "avx2")]
fn narrow_8<const N: usize>(src: &[f32], taps: &Taps, at: usize) -> __m256 {
    let (starts, weights, stride) = chunk(taps, at);
    let n = if N > 0 { N } else { taps.taps() };
    let base = taps.starts()[8 * at];
    let pick = _mm256_sub_epi32(starts, _mm256_set1_epi32(base));
    let src = &src[base as usize..][..n + 7];
    let weights = &weights[..(n - 1) * stride + 8];
    let sample = |t: usize| _mm256_permutevar8x32_ps(load_ps(eight(&src[t..])), pick);
    let mut acc = _mm256_mul_ps(sample(0), load_ps(eight(weights)));
    for t in 1..n {
        let weight = load_ps(eight(&weights[t * stride..]));
        acc = _mm256_add_ps(acc, _mm256_mul_ps(sample(t), weight));
    }
    acc
}

/// 8 outputs from anywhere.
#[inline]
#[target_feature(enable = "avx2")]
fn wide_8(src: &[f32], taps: &Taps, at: usize) -> __m256 {
    let (starts, weights, stride) = chunk(taps, at);
    let sample = |t: usize| {
        let at = _mm256_add_epi32(starts, _mm256_set1_epi32(t as i32));
        // SAFETY: `Taps` guarantees 0 <= start and start + taps <= from for every entry,
        // t < taps, and the caller has checked that `src` has at least `from` floats.
        unsafe { _mm256_i32gather_ps::<4>(src.as_ptr(), at) }
    };
    let mut acc = _mm256_mul_ps(sample(0), load_ps(eight(weights)));
    for t in 1..taps.taps() {
        let weight = load_ps(eight(&weights[t * stride..]));
        acc = _mm256_add_ps(acc, _mm256_mul_ps(sample(t), weight));
    }
    acc
}

/// See [`plain::vfilter`].
#[target_feature(enable = "avx2")]
pub(super) fn vfilter(ring: Ring<'_>, start: usize, weights: &[f32], dst: &mut [f32]) {
    match weights.len() {
        1 => vfilter_few::<1>(ring, start, weights, dst),
        2 => vfilter_few::<2>(ring, start, weights, dst),
        4 => vfilter_few::<4>(ring, start, weights, dst),
        6 => vfilter_few::<6>(ring, start, weights, dst),
        _ => vfilter_many(ring, start, weights, dst),
    }
}

/// A fixed number of rows, all at once.
#[inline]
#[target_feature(enable = "avx2")]
fn vfilter_few<const N: usize>(ring: Ring<'_>, start: usize, weights: &[f32], dst: &mut [f32]) {
    let (chunks, _) = dst.as_chunks_mut::<8>();
    let n = chunks.len();
    let rows: [&[[f32; 8]]; N] = std::array::from_fn(|t| {
        let row = &ring.data[(start + t) % ring.rows * ring.stride..][..8 * n];
        &row.as_chunks().0[..n]
    });
    let mut weights8 = [_mm256_setzero_ps(); N];
    for (to, weight) in weights8.iter_mut().zip(weights) {
        *to = _mm256_set1_ps(*weight);
    }
    for (i, out) in chunks.iter_mut().enumerate() {
        let mut acc = _mm256_mul_ps(load_ps(&rows[0][i]), weights8[0]);
        for t in 1..N {
            acc = _mm256_add_ps(acc, _mm256_mul_ps(load_ps(&rows[t][i]), weights8[t]));
        }
        store_ps(out, acc);
    }
    vfilter_rest(ring, start, weights, dst, 8 * n);
}

fn vfilter_rest(ring: Ring<'_>, start: usize, weights: &[f32], dst: &mut [f32], done: usize) {
    if done < dst.len() {
        let ring = Ring {
            data: &ring.data[done..],
            ..ring
        };
        plain::vfilter(ring, start, weights, &mut dst[done..]);
    }
}

/// Any number of rows, 64 columns at a time in registers.
#[inline]
#[target_feature(enable = "avx2")]
fn vfilter_many(ring: Ring<'_>, start: usize, weights: &[f32], dst: &mut [f32]) {
    const WIDE: usize = 64;
    let first = start % ring.rows;
    let mut x = 0;
    while x + WIDE <= dst.len() {
        let mut acc = [_mm256_setzero_ps(); WIDE / 8];
        let mut slot = first;
        for (t, weight) in weights.iter().enumerate() {
            let weight = _mm256_set1_ps(*weight);
            let row = &ring.data[slot * ring.stride + x..][..WIDE];
            for (acc, s) in acc.iter_mut().zip(row.as_chunks::<8>().0) {
                let product = _mm256_mul_ps(load_ps(s), weight);
                *acc = if t == 0 {
                    product
                } else {
                    _mm256_add_ps(*acc, product)
                };
            }
            slot = if slot + 1 == ring.rows { 0 } else { slot + 1 };
        }
        for (to, acc) in dst[x..x + WIDE].as_chunks_mut::<8>().0.iter_mut().zip(acc) {
            store_ps(to, acc);
        }
        x += WIDE;
    }
    vfilter_rest(ring, start, weights, dst, x);
}
