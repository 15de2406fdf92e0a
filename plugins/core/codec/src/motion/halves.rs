//! A luma plane and its half positions, all at once: the search looks at each of them many times.

use super::{
    BLOCK, Kernels, PaddedPlane, Vector,
    compensate::{clip, tap6},
};

/// Whole samples, half positions between columns, between rows, and between both.
#[derive(Debug, Clone, Default)]
pub struct Halves {
    planes: [PaddedPlane; 4],
}

/// Which two of [`Halves::planes`] a quarter position is the mean of, and how far to the right and
/// down each is taken.
const PAIRS: [[(usize, usize, usize); 2]; 16] = {
    const G: usize = 0;
    const B: usize = 1;
    const H: usize = 2;
    const J: usize = 3;
    [
        [(G, 0, 0), (G, 0, 0)],
        [(G, 0, 0), (B, 0, 0)],
        [(B, 0, 0), (B, 0, 0)],
        [(B, 0, 0), (G, 1, 0)],
        [(G, 0, 0), (H, 0, 0)],
        [(B, 0, 0), (H, 0, 0)],
        [(B, 0, 0), (J, 0, 0)],
        [(B, 0, 0), (H, 1, 0)],
        [(H, 0, 0), (H, 0, 0)],
        [(H, 0, 0), (J, 0, 0)],
        [(J, 0, 0), (J, 0, 0)],
        [(J, 0, 0), (H, 1, 0)],
        [(H, 0, 0), (G, 0, 1)],
        [(B, 0, 1), (H, 0, 0)],
        [(J, 0, 0), (B, 0, 1)],
        [(B, 0, 1), (H, 1, 0)],
    ]
};

impl Halves {
    /// Filters a plane whose greatest value is `max`.
    pub fn new(kernels: &Kernels, plane: &PaddedPlane, max: u16) -> Self {
        let mut out = Self::default();
        out.fill(kernels, plane, max, &mut Vec::new());
        out
    }

    /// Filters a plane in the memory that is there. `sums` is scratch space.
    pub(crate) fn fill(
        &mut self,
        kernels: &Kernels,
        plane: &PaddedPlane,
        max: u16,
        sums: &mut Vec<i32>,
    ) {
        for to in &mut self.planes {
            to.copy_from(plane);
        }
        let stride = plane.stride;
        let rows = plane.height + 2 * super::PADDING;
        sums.clear();
        sums.resize(stride * rows, 0);
        let [_, across, down, both] = &mut self.planes;
        let samples = &plane.samples;
        for y in 0..rows {
            let at = y * stride;
            let out = &mut across.samples[at..at + stride];
            (kernels.half_row)(
                &samples[at..at + stride],
                &mut sums[at..at + stride],
                out,
                max,
            );
        }
        for y in 2..rows.saturating_sub(3) {
            let at = y * stride;
            let row = |k: usize| &samples[at + k * stride - 2 * stride..][..stride];
            let out = &mut down.samples[at..at + stride];
            (kernels.half_column)([row(0), row(1), row(2), row(3), row(4), row(5)], out, max);
            let row = |k: usize| &sums[at + k * stride - 2 * stride..][..stride];
            let out = &mut both.samples[at..at + stride];
            (kernels.half_sums)([row(0), row(1), row(2), row(3), row(4), row(5)], out, max);
        }
    }

    /// Sum of absolute differences of a block (rows of [`BLOCK`]) at (`x`, `y`) and this picture
    /// moved by `v`, over the first `size` rows and columns.
    #[inline]
    pub(crate) fn sad(
        &self,
        kernels: &Kernels,
        wanted: &[u16; BLOCK * BLOCK],
        (x, y): (usize, usize),
        size: usize,
        v: Vector,
    ) -> u32 {
        let [whole, ..] = &self.planes;
        let at = whole.offset(
            x as i32 + i32::from(v.x >> 2),
            y as i32 + i32::from(v.y >> 2),
        );
        let stride = whole.stride;
        let pair = PAIRS[(v.y as usize & 3) << 2 | v.x as usize & 3];
        let [a, b] = pair.map(|(p, dx, dy)| &self.planes[p].samples[at + dx + dy * stride..]);
        (kernels.sad_pair)(wanted, a, b, stride, size)
    }
}

/// Six-tap sums and half positions of a row; columns 2 to 3 before the end.
#[inline(always)]
pub(crate) fn half_row(row: &[u16], sums: &mut [i32], out: &mut [u16], max: u16) {
    let n = row.len().min(sums.len()).min(out.len()).saturating_sub(5);
    let row = &row[..n + 5];
    for x in 0..n {
        let t = |k: usize| i32::from(row[x + k]);
        let sum = tap6(t(0), t(1), t(2), t(3), t(4), t(5));
        sums[x + 2] = sum;
        out[x + 2] = clip((sum + 16) >> 5, max);
    }
}

#[inline(always)]
pub(crate) fn half_column(rows: [&[u16]; 6], out: &mut [u16], max: u16) {
    let n = out.len();
    let rows = rows.map(|r| &r[..n]);
    for (x, out) in out.iter_mut().enumerate() {
        let t = |k: usize| i32::from(rows[k][x]);
        *out = clip((tap6(t(0), t(1), t(2), t(3), t(4), t(5)) + 16) >> 5, max);
    }
}

#[inline(always)]
pub(crate) fn half_sums(rows: [&[i32]; 6], out: &mut [u16], max: u16) {
    let n = out.len();
    let rows = rows.map(|r| &r[..n]);
    for (x, out) in out.iter_mut().enumerate() {
        let t = |k: usize| rows[k][x];
        *out = clip((tap6(t(0), t(1), t(2), t(3), t(4), t(5)) + 512) >> 10, max);
    }
}

/// Sum of absolute differences of a block and the mean of two.
#[inline(always)]
pub(crate) fn sad_pair(
    wanted: &[u16; BLOCK * BLOCK],
    a: &[u16],
    b: &[u16],
    stride: usize,
    size: usize,
) -> u32 {
    if size == BLOCK {
        sad_pair_n::<BLOCK>(wanted, a, b, stride)
    } else {
        sad_pair_n::<8>(wanted, a, b, stride)
    }
}

#[inline(always)]
fn sad_pair_n<const N: usize>(
    wanted: &[u16; BLOCK * BLOCK],
    a: &[u16],
    b: &[u16],
    stride: usize,
) -> u32 {
    // Differences of 10 bits, at most 16 of them a lane: 16 bits are enough.
    let mut lanes = [0u16; N];
    for y in 0..N {
        let w = &wanted[y * BLOCK..y * BLOCK + N];
        let (a, b) = (
            &a[y * stride..y * stride + N],
            &b[y * stride..y * stride + N],
        );
        for x in 0..N {
            lanes[x] += w[x].abs_diff((a[x] + b[x] + 1) >> 1);
        }
    }
    lanes.iter().map(|&l| u32::from(l)).sum()
}
