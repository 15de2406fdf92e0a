//! Samples to `f32` and back.

use std::arch::x86_64::*;

use super::*;
use crate::component::Layout;
use crate::kernels::Quant;
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

/// Samples that [`store_scattered`] quantises at a time.
const PIECE: usize = 96;

/// Any layout: quantised by the piece, then spread.
#[inline]
#[target_feature(enable = "avx2")]
fn store_scattered(src: &[f32], q: Quant, layout: Layout, dst: &mut [u8]) {
    let packed = Layout { step: 1, ..layout };
    let mut piece = [0u8; 2 * PIECE];
    for (i, src) in src.chunks(PIECE).enumerate() {
        let n = src.len();
        let done = match layout.bytes {
            1 => store_bytes(src, q, &mut piece),
            _ => store_words(src, q, layout, &mut piece),
        };
        plain::store_row(&src[done..], q, packed, &mut piece[done * layout.bytes..]);
        let dst = &mut dst[i * PIECE * layout.step * layout.bytes..];
        spread(&piece[..n * layout.bytes], layout, dst);
    }
}

/// Writes consecutive samples, shifted up already, in the given layout.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn spread(samples: &[u8], layout: Layout, dst: &mut [u8]) {
    let done = match (layout.bytes, layout.step) {
        (1, 3) => spread_3(samples, dst),
        (1, 2) | (1, 4) => spread_lanes(samples, layout.step, dst),
        _ => 0,
    };
    let unit = layout.step * layout.bytes;
    let (samples, dst) = (&samples[done * layout.bytes..], &mut dst[done * unit..]);
    if layout.bytes == 1 {
        for (to, v) in dst.chunks_mut(unit).zip(samples) {
            to[0] = *v;
        }
    } else {
        for (to, v) in dst.chunks_mut(unit).zip(samples.as_chunks::<2>().0) {
            to[..2].copy_from_slice(v);
        }
    }
}

/// Bytes with step 2 or 4, 8 at a time; the other bytes are kept.
#[inline]
#[target_feature(enable = "avx2")]
fn spread_lanes(samples: &[u8], step: usize, dst: &mut [u8]) -> usize {
    let mut done = 0;
    for eight in samples.as_chunks().0 {
        if step == 2 {
            let Some(to) = dst[2 * done..].first_chunk_mut() else {
                return done;
            };
            let kept = _mm_and_si128(load_16(to), _mm_set1_epi16(0xff00u16 as i16));
            store_16(to, _mm_or_si128(kept, _mm_cvtepu8_epi16(load_8(eight))));
        } else {
            let Some(to) = dst[4 * done..].first_chunk_mut() else {
                return done;
            };
            let kept = _mm256_and_si256(load_32(to), _mm256_set1_epi32(!0xff));
            store_32(
                to,
                _mm256_or_si256(kept, _mm256_cvtepu8_epi32(load_8(eight))),
            );
        }
        done += 8;
    }
    done
}

/// Bytes with step 3, 16 at a time as three 16-byte windows; the other bytes are kept.
#[inline]
#[target_feature(enable = "avx2")]
fn spread_3(samples: &[u8], dst: &mut [u8]) -> usize {
    // Where each byte of a window comes from; -1 keeps the byte that is there.
    let from = [
        _mm_setr_epi8(0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5),
        _mm_setr_epi8(-1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10, -1),
        _mm_setr_epi8(
            -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1, -1,
        ),
    ];
    let mut done = 0;
    for sixteen in samples.as_chunks().0 {
        let Some(to) = dst[3 * done..].first_chunk_mut::<48>() else {
            return done;
        };
        let values = load_16(sixteen);
        for (to, from) in to.as_chunks_mut().0.iter_mut().zip(from) {
            let new = _mm_shuffle_epi8(values, from);
            store_16(to, _mm_blendv_epi8(new, load_16(to), from));
        }
        done += 16;
    }
    done
}
