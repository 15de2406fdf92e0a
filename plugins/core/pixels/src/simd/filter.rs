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
    let filter = |at| {
        if taps.narrow() {
            narrow_8(src, taps, at)
        } else {
            wide_8(src, taps, at)
        }
    };
    let n = dst.len();
    let (chunks, tail) = dst.as_chunks_mut::<8>();
    for (i, out) in chunks.iter_mut().enumerate() {
        store_ps(out, filter(i));
    }
    if !tail.is_empty() {
        let mut out = [0.0; 8];
        store_ps(&mut out, filter(n / 8));
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

/// 8 outputs whose sources lie within 8 samples: one load and one permutation a tap.
#[inline]
#[target_feature(enable = "avx2")]
fn narrow_8(src: &[f32], taps: &Taps, at: usize) -> __m256 {
    let (starts, weights, stride) = chunk(taps, at);
    let base = taps.starts()[8 * at];
    let pick = _mm256_sub_epi32(starts, _mm256_set1_epi32(base));
    let src = &src[base as usize..];
    let sample = |t: usize| _mm256_permutevar8x32_ps(load_ps(eight(&src[t..])), pick);
    let mut acc = _mm256_mul_ps(sample(0), load_ps(eight(weights)));
    for t in 1..taps.taps() {
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
    const WIDE: usize = 32;
    let n = dst.len();
    let first = start % ring.rows;
    let mut x = 0;
    while x + WIDE <= n {
        let mut acc = [_mm256_setzero_ps(); 4];
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
    if x < n {
        let ring = Ring {
            data: &ring.data[x..],
            ..ring
        };
        plain::vfilter(ring, start, weights, &mut dst[x..]);
    }
}
