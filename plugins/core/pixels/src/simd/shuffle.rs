//! Depth-to-space.

use std::arch::x86_64::*;

use super::convert::{spread, store_row};
use super::*;
use crate::component::Layout;
use crate::kernels::{Quant, Shuffle};
use crate::plain;

/// See [`plain::shuffle_row`].
#[target_feature(enable = "avx2")]
pub(super) fn shuffle_row(src: &[f32], s: Shuffle, q: Quant, layout: Layout, dst: &mut [u8]) {
    // Up to a whole group of r outputs, groups, and what is left.
    let head = ((s.r - s.first) % s.r).min(s.n);
    let unit = layout.step * layout.bytes;
    if head > 0 {
        plain::shuffle_row(src, Shuffle { n: head, ..s }, q, layout, dst);
        if head == s.n {
            return;
        }
    }
    let src = if head > 0 { &src[1..] } else { src };
    let groups = (s.n - head) / s.r;
    let dst = &mut dst[head * unit..];
    let done = match (layout.bytes, layout.step, s.r) {
        (1, 1, 2) => shuffle_2_bytes(src, s.plane_stride, groups, q, dst),
        (2, 1, 2) => shuffle_2_words(src, s.plane_stride, groups, q, layout, dst),
        (1, 1, 4) => shuffle_4_bytes(src, s.plane_stride, groups, q, dst),
        (2, 1, 4) => shuffle_4_words(src, s.plane_stride, groups, q, layout, dst),
        (_, 1, _) => {
            let spread = Layout {
                step: layout.step * s.r,
                ..layout
            };
            for dx in 0..if groups > 0 { s.r } else { 0 } {
                let row = &src[dx * s.plane_stride..][..groups];
                store_row(row, q, spread, &mut dst[dx * unit..]);
            }
            groups
        }
        _ => {
            return shuffle_spread(
                src,
                Shuffle {
                    first: 0,
                    n: s.n - head,
                    ..s
                },
                q,
                layout,
                dst,
            );
        }
    };
    let n = s.n - head - done * s.r;
    if n > 0 {
        let rest = Shuffle { first: 0, n, ..s };
        plain::shuffle_row(&src[done..], rest, q, layout, &mut dst[done * s.r * unit..]);
    }
}

/// Layouts with a step: shuffled by the piece, then spread.
#[inline]
#[target_feature(enable = "avx2")]
fn shuffle_spread(src: &[f32], s: Shuffle, q: Quant, layout: Layout, dst: &mut [u8]) {
    const GROUPS: usize = 32;
    let packed = Layout { step: 1, ..layout };
    // Room for r up to 8; greater ones take the plain way.
    let mut piece = [0u8; 2 * 8 * GROUPS];
    if s.r > 8 {
        return plain::shuffle_row(src, s, q, layout, dst);
    }
    for at in (0..s.n.div_ceil(s.r)).step_by(GROUPS) {
        let n = (s.n - at * s.r).min(GROUPS * s.r);
        let piece = &mut piece[..n * layout.bytes];
        shuffle_row(&src[at..], Shuffle { n, ..s }, q, packed, piece);
        spread(
            piece,
            layout,
            &mut dst[at * s.r * layout.step * layout.bytes..],
        );
    }
}

/// The `N` rows of a group, `groups` long.
#[inline(always)]
fn planes<const N: usize>(src: &[f32], plane_stride: usize, groups: usize) -> [&[[f32; 8]]; N] {
    std::array::from_fn(|dx| match groups {
        0..8 => &[],
        _ => src[dx * plane_stride..][..groups].as_chunks().0,
    })
}

/// 8 + 8 values as the low and high halves of 32-bit lanes, `bits` apart.
#[inline]
#[target_feature(enable = "avx2")]
fn shuffle_2_bytes(
    src: &[f32],
    plane_stride: usize,
    groups: usize,
    q: Quant,
    dst: &mut [u8],
) -> usize {
    let q = Quant8::new(q);
    let [a, b] = planes::<2>(src, plane_stride, groups);
    let (a2, b2) = (a.as_chunks::<2>(), b.as_chunks::<2>());
    let mut done = 0;
    for (([a0, a1], [b0, b1]), to) in a2.0.iter().zip(b2.0).zip(dst.as_chunks_mut().0) {
        let (a0, a1) = (q.apply(load_ps(a0)), q.apply(load_ps(a1)));
        let (b0, b1) = (q.apply(load_ps(b0)), q.apply(load_ps(b1)));
        let low = _mm256_or_si256(a0, _mm256_slli_epi32::<8>(b0));
        let high = _mm256_or_si256(a1, _mm256_slli_epi32::<8>(b1));
        store_32(to, pack_16(low, high));
        done += 16;
    }
    for (a, b) in a2.1.iter().zip(b2.1) {
        let (a, b) = (q.apply(load_ps(a)), q.apply(load_ps(b)));
        let Some(to) = dst[2 * done..].first_chunk_mut() else {
            return done;
        };
        store_16(
            to,
            pack_8_words(_mm256_or_si256(a, _mm256_slli_epi32::<8>(b))),
        );
        done += 8;
    }
    done
}

#[inline]
#[target_feature(enable = "avx2")]
fn shuffle_2_words(
    src: &[f32],
    plane_stride: usize,
    groups: usize,
    q: Quant,
    layout: Layout,
    dst: &mut [u8],
) -> usize {
    let q = Quant8::new(q);
    let shift = _mm_cvtsi32_si128(layout.shift as i32);
    let [a, b] = planes::<2>(src, plane_stride, groups);
    let mut done = 0;
    for ((a, b), to) in a.iter().zip(b).zip(dst.as_chunks_mut().0) {
        let (a, b) = (q.apply(load_ps(a)), q.apply(load_ps(b)));
        let both = _mm256_or_si256(a, _mm256_slli_epi32::<16>(b));
        store_32(to, _mm256_sll_epi16(both, shift));
        done += 8;
    }
    done
}

#[inline]
#[target_feature(enable = "avx2")]
fn shuffle_4_bytes(
    src: &[f32],
    plane_stride: usize,
    groups: usize,
    q: Quant,
    dst: &mut [u8],
) -> usize {
    let q = Quant8::new(q);
    let [a, b, c, d] = planes::<4>(src, plane_stride, groups);
    let mut done = 0;
    for ((((a, b), c), d), to) in a.iter().zip(b).zip(c).zip(d).zip(dst.as_chunks_mut().0) {
        let (a, b) = (q.apply(load_ps(a)), q.apply(load_ps(b)));
        let (c, d) = (q.apply(load_ps(c)), q.apply(load_ps(d)));
        let ab = _mm256_or_si256(a, _mm256_slli_epi32::<8>(b));
        let cd = _mm256_or_si256(c, _mm256_slli_epi32::<8>(d));
        store_32(to, _mm256_or_si256(ab, _mm256_slli_epi32::<16>(cd)));
        done += 8;
    }
    done
}

#[inline]
#[target_feature(enable = "avx2")]
fn shuffle_4_words(
    src: &[f32],
    plane_stride: usize,
    groups: usize,
    q: Quant,
    layout: Layout,
    dst: &mut [u8],
) -> usize {
    let q = Quant8::new(q);
    let shift = _mm_cvtsi32_si128(layout.shift as i32);
    let [a, b, c, d] = planes::<4>(src, plane_stride, groups);
    let (to, _) = dst.as_chunks_mut::<32>();
    let mut done = 0;
    for ((((a, b), c), d), [low, high]) in a.iter().zip(b).zip(c).zip(d).zip(to.as_chunks_mut().0) {
        let (a, b) = (q.apply(load_ps(a)), q.apply(load_ps(b)));
        let (c, d) = (q.apply(load_ps(c)), q.apply(load_ps(d)));
        let ab = _mm256_sll_epi16(_mm256_or_si256(a, _mm256_slli_epi32::<16>(b)), shift);
        let cd = _mm256_sll_epi16(_mm256_or_si256(c, _mm256_slli_epi32::<16>(d)), shift);
        let (even, odd) = (_mm256_unpacklo_epi32(ab, cd), _mm256_unpackhi_epi32(ab, cd));
        store_32(low, _mm256_permute2x128_si256::<0x20>(even, odd));
        store_32(high, _mm256_permute2x128_si256::<0x31>(even, odd));
        done += 8;
    }
    done
}

/// See [`plain::shuffle_row_f32`].
#[target_feature(enable = "avx2")]
pub(super) fn shuffle_row_f32(src: &[f32], s: Shuffle, dst: &mut [f32]) {
    let dst = &mut dst[..s.n];
    let groups = s.n / s.r;
    if s.first != 0 || s.r != 2 {
        return plain::shuffle_row_f32(src, s, dst);
    }
    let [a, b] = planes::<2>(src, s.plane_stride, groups);
    let mut done = 0;
    for ((a, b), [low, high]) in a
        .iter()
        .zip(b)
        .zip(dst.as_chunks_mut::<8>().0.as_chunks_mut().0)
    {
        let (a, b) = (load_ps(a), load_ps(b));
        let (even, odd) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        store_ps(low, _mm256_permute2f128_ps::<0x20>(even, odd));
        store_ps(high, _mm256_permute2f128_ps::<0x31>(even, odd));
        done += 8;
    }
    let rest = Shuffle {
        n: s.n - 2 * done,
        ..s
    };
    if rest.n > 0 {
        plain::shuffle_row_f32(&src[done..], rest, &mut dst[2 * done..]);
    }
}
