//! Kernels that treat each pixel alone. Where a function only calls its plain twin, the
//! compiler's own AVX2 code is as good as hand-written.

use std::arch::x86_64::*;

use super::*;
use crate::color::Coefficients;
use crate::component::Layout;
use crate::kernels::Quant;
use crate::plain;

/// See [`plain::mix_row`].
#[target_feature(enable = "avx2")]
pub(super) fn mix_row(dst: &mut [u8], classical: &[u8], weight: f32, layout: Layout, keep: u8) {
    let q = Quant8::new(Quant::new(1.0, 0.0, layout.max));
    let weight8 = _mm256_set1_ps(weight);
    let mix = |d: __m256i, c: __m256i| {
        let (d, c) = (_mm256_cvtepi32_ps(d), _mm256_cvtepi32_ps(c));
        q.round(_mm256_add_ps(
            c,
            _mm256_mul_ps(weight8, _mm256_sub_ps(d, c)),
        ))
    };
    let mut done = 0;
    if layout.bytes == 1 {
        // Bytes to keep, by their index modulo 4.
        let mask = (0..4).fold(0u32, |m, i| {
            m | u32::from(keep >> i & 1) * (0xff << (8 * i))
        });
        let mask = _mm256_set1_epi32(mask as i32);
        let max = _mm256_set1_epi32(layout.max as i32);
        let (to, _) = dst.as_chunks_mut::<32>();
        let (from, _) = classical.as_chunks::<32>();
        for (to, from) in to.iter_mut().zip(from) {
            let quarter = |of: &[u8; 32], i: usize| match of[8 * i..].first_chunk() {
                Some(eight) => _mm256_and_si256(_mm256_cvtepu8_epi32(load_8(eight)), max),
                None => _mm256_setzero_si256(),
            };
            let mixed = |i: usize| mix(quarter(to, i), quarter(from, i));
            let packed = pack_32(mixed(0), mixed(1), mixed(2), mixed(3));
            let packed = _mm256_blendv_epi8(packed, load_32(to), mask);
            store_32(to, packed);
            done += 32;
        }
    } else if keep == 0 {
        let shift = _mm_cvtsi32_si128(layout.shift as i32);
        let max = _mm256_set1_epi32(layout.max as i32);
        let words = |of: &[u8; 16]| {
            let raw = _mm256_cvtepu16_epi32(load_16(of));
            _mm256_and_si256(_mm256_srl_epi32(raw, shift), max)
        };
        let (to, _) = dst.as_chunks_mut::<16>();
        for (to, from) in to.iter_mut().zip(classical.as_chunks().0) {
            let mixed = mix(words(to), words(from));
            store_16(to, _mm_sll_epi16(pack_8_words(mixed), shift));
            done += 16;
        }
    }
    plain::mix_row(&mut dst[done..], &classical[done..], weight, layout, keep);
}

/// See [`plain::to_rgb`].
#[target_feature(enable = "avx2")]
pub(super) fn to_rgb(k: &Coefficients, y: &mut [f32], u: &mut [f32], v: &mut [f32]) {
    plain::to_rgb(k, y, u, v);
}

/// See [`plain::to_yuv`].
#[target_feature(enable = "avx2")]
pub(super) fn to_yuv(k: &Coefficients, r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
    plain::to_yuv(k, r, g, b);
}

/// See [`plain::luma`].
#[target_feature(enable = "avx2")]
pub(super) fn luma(k: &Coefficients, r: &[f32], g: &[f32], b: &[f32], y: &mut [f32]) {
    plain::luma(k, r, g, b, y);
}

/// See [`plain::smooth_row`].
#[target_feature(enable = "avx2")]
pub(super) fn smooth_row(
    out: &mut [f32],
    classical: &[f32],
    state: &mut [i16],
    alpha: &[f32],
    unit: f32,
) {
    plain::smooth_row(out, classical, state, alpha, unit);
}
