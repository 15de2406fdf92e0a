//! AVX2 kernels with results bit-identical to those of [`crate::plain`]. All `unsafe` code
//! of the crate lies in this module.

mod convert;
mod filter;
mod map;

use std::arch::x86_64::*;

use crate::kernels::{Kernels, Quant};

/// The AVX2 kernels, if this processor has AVX2.
pub(crate) fn detect() -> Option<&'static Kernels> {
    is_x86_feature_detected!("avx2").then_some(&AVX2)
}

/// Safe functions for the table, which is handed out only by [`detect`].
macro_rules! table {
    ($($name:ident: $module:ident($($arg:ident: $ty:ty),*)),* $(,)?) => {
        $(fn $name($($arg: $ty),*) {
            // SAFETY: the table with this function is handed out only if AVX2 was detected.
            unsafe { $module::$name($($arg),*) }
        })*
        static AVX2: Kernels = Kernels { $($name),* };
    };
}

use crate::color::Coefficients;
use crate::component::Layout;
use crate::kernels::{Ring, Shuffle};
use crate::taps::Taps;

table! {
    load_row: convert(src: &[u8], layout: Layout, scale: f32, bias: f32, dst: &mut [f32]),
    store_row: convert(src: &[f32], q: Quant, layout: Layout, dst: &mut [u8]),
    shuffle_row: convert(src: &[f32], s: Shuffle, q: Quant, layout: Layout, dst: &mut [u8]),
    shuffle_row_f32: convert(src: &[f32], s: Shuffle, dst: &mut [f32]),
    hfilter: filter(src: &[f32], taps: &Taps, dst: &mut [f32]),
    vfilter: filter(ring: Ring<'_>, start: usize, weights: &[f32], dst: &mut [f32]),
    mix_row: map(dst: &mut [u8], classical: &[u8], weight: f32, layout: Layout, keep: u8),
    to_rgb: map(k: &Coefficients, y: &mut [f32], u: &mut [f32], v: &mut [f32]),
    to_yuv: map(k: &Coefficients, r: &mut [f32], g: &mut [f32], b: &mut [f32]),
    luma: map(k: &Coefficients, r: &[f32], g: &[f32], b: &[f32], y: &mut [f32]),
    smooth_row: map(
        out: &mut [f32], classical: &[f32], state: &mut [i16], alpha: &[f32], unit: f32
    ),
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_ps(from: &[f32; 8]) -> __m256 {
    // SAFETY: the array is 32 readable bytes; no alignment is required.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_ps(to: &mut [f32; 8], v: __m256) {
    // SAFETY: the array is 32 writable bytes; no alignment is required.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), v) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_8(from: &[u8; 8]) -> __m128i {
    // SAFETY: the array is 8 readable bytes; no alignment is required.
    unsafe { _mm_loadl_epi64(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_16(from: &[u8; 16]) -> __m128i {
    // SAFETY: the array is 16 readable bytes; no alignment is required.
    unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_32(from: &[u8; 32]) -> __m256i {
    // SAFETY: the array is 32 readable bytes; no alignment is required.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_8(to: &mut [u8; 8], v: __m128i) {
    // SAFETY: the array is 8 writable bytes; no alignment is required.
    unsafe { _mm_storel_epi64(to.as_mut_ptr().cast(), v) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_16(to: &mut [u8; 16], v: __m128i) {
    // SAFETY: the array is 16 writable bytes; no alignment is required.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), v) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_32(to: &mut [u8; 32], v: __m256i) {
    // SAFETY: the array is 32 writable bytes; no alignment is required.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
}

/// A [`Quant`] in registers.
#[derive(Clone, Copy)]
struct Quant8 {
    scale: __m256,
    bias: __m256,
    max: __m256,
}

impl Quant8 {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(q: Quant) -> Self {
        Self {
            scale: _mm256_set1_ps(q.scale),
            bias: _mm256_set1_ps(q.bias),
            max: _mm256_set1_ps(q.max),
        }
    }

    /// [`crate::plain::quantise`] of 8 values. `maxps` gives its second operand if one is
    /// NaN, so that NaN becomes 0.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn apply(self, v: __m256) -> __m256i {
        let t = _mm256_add_ps(_mm256_mul_ps(v, self.scale), self.bias);
        self.round(t)
    }

    /// As [`Quant8::apply`] for scale 1 and bias 0.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn round(self, v: __m256) -> __m256i {
        let t = _mm256_add_ps(v, _mm256_set1_ps(0.5));
        let t = _mm256_max_ps(t, _mm256_setzero_ps());
        _mm256_cvttps_epi32(_mm256_min_ps(t, self.max))
    }
}

/// 16 values of at most 65535 as 16-bit lanes, in order.
#[inline]
#[target_feature(enable = "avx2")]
fn pack_16(a: __m256i, b: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(a, b))
}

/// 32 values of at most 255 as bytes, in order.
#[inline]
#[target_feature(enable = "avx2")]
fn pack_32(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    let mixed = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

/// 8 values of at most 255 as the low 8 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn pack_8(a: __m256i) -> __m128i {
    let words = _mm_packus_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
    _mm_packus_epi16(words, words)
}

/// 8 values of at most 65535 as 16 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn pack_8_words(a: __m256i) -> __m128i {
    _mm_packus_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a))
}

#[cfg(test)]
mod tests;
