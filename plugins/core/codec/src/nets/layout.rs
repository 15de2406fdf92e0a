//! Samples of planes as activations of 1/8 of the size, and back; rows of activations.

use super::{LIMIT, PIXELS};
use crate::{CodecError, Picture, Result, bitstream::Chroma};

// First channels of the planes: 8x8 luma samples, 4x4 of U and V, each row by row.
const LUMA: usize = 0;
const U: usize = 64;
const V: usize = 80;

/// A row of positions `[columns][96]` from planes of 8-bit 4:2:0 samples: `8 * sample - 1024`. The
/// planes' last rows and columns are repeated.
///
/// `widths` are the planes' samples a row, none of them 0 and no plane empty; `row` counts rows of
/// 8 luma samples.
#[inline(always)]
pub(super) fn load(planes: [&[u16]; 3], widths: [usize; 3], row: usize, out: &mut [i16]) {
    load_plane::<8>(planes[0], widths[0], row, LUMA, out);
    load_plane::<4>(planes[1], widths[1], row, U, out);
    load_plane::<4>(planes[2], widths[2], row, V, out);
}

#[inline(always)]
fn load_plane<const N: usize>(plane: &[u16], width: usize, row: usize, at: usize, out: &mut [i16]) {
    let value = |s: u16| s.min(255) as i16 * 8 - 1024;
    let last = (plane.len() / width).saturating_sub(1);
    for i in 0..N {
        let y = (row * N + i).min(last);
        let line = &plane[y * width..(y + 1) * width];
        let part = at + i * N..at + (i + 1) * N;
        let (whole, _) = line.as_chunks::<N>();
        for (x, from) in out.chunks_exact_mut(PIXELS).zip(whole) {
            for (x, &s) in x[part.clone()].iter_mut().zip(from) {
                *x = value(s);
            }
        }
        let cut = out.chunks_exact_mut(PIXELS).enumerate().skip(whole.len());
        for (c, x) in cut {
            for (j, x) in x[part.clone()].iter_mut().enumerate() {
                *x = value(line[(c * N + j).min(width - 1)]);
            }
        }
    }
}

/// Puts samples `[columns][96]` into the planes' rows that begin with the row of positions; what
/// lies beyond their ends is left out.
#[inline(always)]
pub(super) fn store(x: &[i16], planes: [&mut [u16]; 3], widths: [usize; 3]) {
    let [y, u, v] = planes;
    store_plane::<8>(x, y, widths[0], LUMA);
    store_plane::<4>(x, u, widths[1], U);
    store_plane::<4>(x, v, widths[2], V);
}

#[inline(always)]
fn store_plane<const N: usize>(x: &[i16], plane: &mut [u16], width: usize, at: usize) {
    for (i, line) in plane.chunks_exact_mut(width).take(N).enumerate() {
        let part = at + i * N..at + (i + 1) * N;
        let (whole, cut) = line.as_chunks_mut::<N>();
        let count = whole.len();
        for (to, x) in whole.iter_mut().zip(x.chunks_exact(PIXELS)) {
            for (to, &x) in to.iter_mut().zip(&x[part.clone()]) {
                *to = x as u16;
            }
        }
        if let Some(x) = x.chunks_exact(PIXELS).nth(count) {
            for (to, &x) in cut.iter_mut().zip(&x[part]) {
                *to = x as u16;
            }
        }
    }
}

/// Rows and columns of latents (1/16) of a picture that the networks can take.
///
/// # Errors
/// [`CodecError::Format`] if it is not 8-bit 4:2:0, or its planes are not of its size.
pub(super) fn latent_size(picture: &Picture) -> Result<(usize, usize)> {
    let format = picture.format;
    format.check()?;
    let whole = picture.planes.iter().enumerate().all(|(p, plane)| {
        (plane.width, plane.height) == format.plane_size(p)
            && plane.samples.len() == plane.width * plane.height
    });
    if format.chroma != Chroma::C420 || format.depth != 8 || picture.planes.len() != 3 || !whole {
        return Err(CodecError::Format {
            found: format.to_string(),
            expected: "8 bit C420".into(),
        });
    }
    let size = |n: u32| (n as usize).div_ceil(16);
    Ok((size(format.height), size(format.width)))
}

/// The three planes of a picture whose [`latent_size`] was taken.
pub(super) fn planes(picture: &Picture) -> [&[u16]; 3] {
    std::array::from_fn(|p| picture.planes.get(p).map_or(&[][..], |p| &p.samples))
}

/// Their widths.
pub(super) fn widths(picture: &Picture) -> [usize; 3] {
    std::array::from_fn(|p| picture.planes.get(p).map_or(1, |p| p.width))
}

/// The last rows of activations, each with a position of zeros before its first and after its last
/// one.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Rows that are kept; row `r` takes the place of row `r - depth`.
    depth: usize,
    columns: usize,
    channels: usize,
    /// `[depth + 1][columns + 2][channels]`: the last row stays zero.
    values: Vec<i16>,
}

impl Rows {
    /// Makes room; all values are zero if the size is another than before.
    pub(super) fn resize(&mut self, depth: usize, columns: usize, channels: usize) {
        if (self.depth, self.columns, self.channels) == (depth, columns, channels) {
            return;
        }
        self.values.clear();
        let stride = (columns + 2) * channels;
        self.values.resize((depth + 1) * stride, 0);
        (self.depth, self.columns, self.channels) = (depth, columns, channels);
    }

    fn stride(&self) -> usize {
        (self.columns + 2) * self.channels
    }

    /// Row `r` with the zeros around it; a row of zeros unless `r < rows`.
    pub(super) fn padded(&self, r: Option<usize>, rows: usize) -> &[i16] {
        let slot = match r {
            Some(r) if r < rows => r % self.depth,
            _ => self.depth,
        };
        &self.values[slot * self.stride()..(slot + 1) * self.stride()]
    }

    /// Rows `r - 1` to `r + 1`, zeros where they are not below `rows`.
    pub(super) fn around(&self, r: usize, rows: usize) -> [&[i16]; 3] {
        let row = |r| self.padded(r, rows);
        [row(r.checked_sub(1)), row(Some(r)), row(Some(r + 1))]
    }

    /// Row `r`, `[columns][channels]`.
    pub(super) fn row(&self, r: usize) -> &[i16] {
        let at = r % self.depth * self.stride() + self.channels;
        &self.values[at..at + self.columns * self.channels]
    }

    /// Row `r`, `[columns][channels]`, to be written.
    pub(super) fn row_mut(&mut self, r: usize) -> &mut [i16] {
        let at = r % self.depth * self.stride() + self.channels;
        &mut self.values[at..at + self.columns * self.channels]
    }

    /// Rows `2 r` and `2 r + 1` as inputs of a layer that takes 2x2 positions as one; zeros beyond
    /// the edges.
    pub(super) fn grouped(&self, r: usize, rows: usize) -> [&[i16]; 2] {
        [2 * r, 2 * r + 1].map(|r| &self.padded(Some(r), rows)[self.channels..])
    }
}

/// `x` clipped to what activations can be.
pub(super) fn clip(x: i32) -> i16 {
    x.clamp(-i32::from(LIMIT), LIMIT.into()) as i16
}
