//! Samples to `f32` and back.

use std::arch::x86_64::*;

use super::*;
use crate::component::Layout;
use crate::kernels::{Quant, Shuffle};
use crate::plain;

/// 8 raw samples from the beginning of `src` as 32-bit lanes; `None` if fewer bytes are
/// left than the loads of this layout touch, or there is no fast way for it.
#[inline]
#[target_feature(enable = "avx2")]
fn gather_8(src: &[u8], layout: Layout) -> Option<__m256i> {
    Some(match (layout.bytes, layout.step) {
        (1, 1) => _mm256_cvtepu8_epi32(load_8(src.first_chunk()?)),
        (2, 1) => _mm256_cvtepu16_epi32(load_16(src.first_chunk()?)),
        (1, 2) => {
            let words = _mm256_cvtepu16_epi32(load_16(src.first_chunk()?));
            _mm256_and_si256(words, _mm256_set1_epi32(0xff))
        }
        (2, 2) => _mm256_and_si256(load_32(src.first_chunk()?), _mm256_set1_epi32(0xffff)),
        (1, 4) => _mm256_and_si256(load_32(src.first_chunk()?), _mm256_set1_epi32(0xff)),
        (1, 3) => {
            let low = load_16(src.first_chunk()?);
            let high = load_16(src.get(12..)?.first_chunk()?);
            let pick = _mm256_setr_epi8(
                0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1, //
                0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1,
            );
            _mm256_shuffle_epi8(_mm256_set_m128i(high, low), pick)
        }
        _ => return None,
    })
}

/// See [`plain::load_row`].
#[target_feature(enable = "avx2")]
pub(super) fn load_row(src: &[u8], layout: Layout, scale: f32, bias: f32, dst: &mut [f32]) {
    // The compiler turns each arm into a loop of its own.
    match (layout.bytes, layout.step) {
        (1, 1) => load_as::<1, 1>(src, layout, scale, bias, dst),
        (2, 1) => load_as::<2, 1>(src, layout, scale, bias, dst),
        (1, 2) => load_as::<1, 2>(src, layout, scale, bias, dst),
        (2, 2) => load_as::<2, 2>(src, layout, scale, bias, dst),
        (1, 3) => load_as::<1, 3>(src, layout, scale, bias, dst),
        (1, 4) => load_as::<1, 4>(src, layout, scale, bias, dst),
        _ => plain::load_row(src, layout, scale, bias, dst),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_as<const BYTES: usize, const STEP: usize>(
    src: &[u8],
    layout: Layout,
    scale: f32,
    bias: f32,
    dst: &mut [f32],
) {
    let layout = Layout {
        bytes: BYTES,
        step: STEP,
        ..layout
    };
    let shift = _mm_cvtsi32_si128(layout.shift as i32);
    let max = _mm256_set1_epi32(layout.max as i32);
    let (scale8, bias8) = (_mm256_set1_ps(scale), _mm256_set1_ps(bias));
    let mut at = 0;
    let (chunks, _) = dst.as_chunks_mut::<8>();
    for out in chunks {
        let Some(raw) = gather_8(&src[at * STEP * BYTES..], layout) else {
            break;
        };
        let value = _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srl_epi32(raw, shift), max));
        store_ps(out, _mm256_add_ps(_mm256_mul_ps(value, scale8), bias8));
        at += 8;
    }
    if at < dst.len() {
        plain::load_row(
            &src[at * STEP * BYTES..],
            layout,
            scale,
            bias,
            &mut dst[at..],
        );
    }
}

/// See [`plain::store_row`].
#[target_feature(enable = "avx2")]
pub(super) fn store_row(src: &[f32], q: Quant, layout: Layout, dst: &mut [u8]) {
    let done = match (layout.bytes, layout.step) {
        (1, 1) => store_bytes(src, q, dst),
        (2, 1) => store_words(src, q, layout, dst),
        (1, 2) => store_every_second_byte(src, q, dst),
        (2, 2) | (1, 4) => store_into_lanes(src, q, layout, dst),
        _ => return store_scattered(src, q, layout, dst),
    };
    if done < src.len() {
        plain::store_row(
            &src[done..],
            q,
            layout,
            &mut dst[done * layout.step * layout.bytes..],
        );
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_bytes(src: &[f32], q: Quant, dst: &mut [u8]) -> usize {
    let q = Quant8::new(q);
    let mut done = 0;
    let (dst, _) = dst[..src.len()].as_chunks_mut::<8>();
    let (wide, narrow) = dst.as_chunks_mut::<4>();
    let (src, _) = src.as_chunks::<8>();
    let (wide_src, narrow_src) = src.as_chunks::<4>();
    for (to, [a, b, c, d]) in wide.iter_mut().zip(wide_src) {
        let [a, b, c, d] = [load_ps(a), load_ps(b), load_ps(c), load_ps(d)];
        let packed = pack_32(q.apply(a), q.apply(b), q.apply(c), q.apply(d));
        if let Some(to) = to.as_flattened_mut().first_chunk_mut() {
            store_32(to, packed);
        }
        done += 32;
    }
    for (to, a) in narrow.iter_mut().zip(narrow_src) {
        store_8(to, pack_8(q.apply(load_ps(a))));
        done += 8;
    }
    done
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_words(src: &[f32], q: Quant, layout: Layout, dst: &mut [u8]) -> usize {
    let q = Quant8::new(q);
    let shift = _mm_cvtsi32_si128(layout.shift as i32);
    let mut done = 0;
    let (src, _) = src.as_chunks::<8>();
    let (pairs, rest) = src.as_chunks::<2>();
    for [a, b] in pairs {
        let packed = pack_16(q.apply(load_ps(a)), q.apply(load_ps(b)));
        let Some(to) = dst[2 * done..].first_chunk_mut() else {
            return done;
        };
        store_32(to, _mm256_sll_epi16(packed, shift));
        done += 16;
    }
    for a in rest {
        let packed = pack_8_words(q.apply(load_ps(a)));
        let Some(to) = dst[2 * done..].first_chunk_mut() else {
            return done;
        };
        store_16(to, _mm_sll_epi16(packed, shift));
        done += 8;
    }
    done
}

/// 8-bit samples with step 2 (the chroma of NV12): the other component's bytes are kept.
#[inline]
#[target_feature(enable = "avx2")]
fn store_every_second_byte(src: &[f32], q: Quant, dst: &mut [u8]) -> usize {
    let q = Quant8::new(q);
    let others = _mm256_set1_epi16(0xff00u16 as i16);
    let mut done = 0;
    let (src, _) = src.as_chunks::<8>();
    for [a, b] in src.as_chunks::<2>().0 {
        let Some(to) = dst[2 * done..].first_chunk_mut() else {
            return done;
        };
        let packed = pack_16(q.apply(load_ps(a)), q.apply(load_ps(b)));
        let kept = _mm256_and_si256(load_32(to), others);
        store_32(to, _mm256_or_si256(kept, packed));
        done += 16;
    }
    done
}

/// Samples that recur every 4 bytes: P010 chroma and 32-bit RGB.
#[inline]
#[target_feature(enable = "avx2")]
fn store_into_lanes(src: &[f32], q: Quant, layout: Layout, dst: &mut [u8]) -> usize {
    let q = Quant8::new(q);
    let shift = _mm_cvtsi32_si128(layout.shift as i32);
    let own = if layout.bytes == 1 { 0xff } else { 0xffff };
    let others = _mm256_set1_epi32(!own);
    let mut done = 0;
    for a in src.as_chunks::<8>().0 {
        let Some(to) = dst[4 * done..].first_chunk_mut() else {
            return done;
        };
        let lanes = _mm256_sll_epi32(q.apply(load_ps(a)), shift);
        let kept = _mm256_and_si256(load_32(to), others);
        store_32(to, _mm256_or_si256(kept, lanes));
        done += 8;
    }
    done
}

/// Any layout: quantised by the piece, then written one by one.
#[inline]
#[target_feature(enable = "avx2")]
fn store_scattered(src: &[f32], q: Quant, layout: Layout, dst: &mut [u8]) {
    const PIECE: usize = 64;
    let unit = layout.step * layout.bytes;
    let mut piece = [0u8; 2 * PIECE];
    for (i, src) in src.chunks(PIECE).enumerate() {
        let dst = &mut dst[i * PIECE * unit..];
        let n = src.len();
        if layout.bytes == 1 {
            let done = store_bytes(src, q, &mut piece);
            plain::store_row(
                &src[done..],
                q,
                Layout { step: 1, ..layout },
                &mut piece[done..],
            );
            for (to, v) in dst.chunks_mut(unit).zip(&piece[..n]) {
                to[0] = *v;
            }
        } else {
            let packed = Layout { step: 1, ..layout };
            let done = store_words(src, q, layout, &mut piece);
            plain::store_row(&src[done..], q, packed, &mut piece[2 * done..]);
            for (to, v) in dst.chunks_mut(unit).zip(piece[..2 * n].as_chunks::<2>().0) {
                to[..2].copy_from_slice(v);
            }
        }
    }
}

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
        _ => {
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
    };
    let n = s.n - head - done * s.r;
    if n > 0 {
        let rest = Shuffle { first: 0, n, ..s };
        plain::shuffle_row(&src[done..], rest, q, layout, &mut dst[done * s.r * unit..]);
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
