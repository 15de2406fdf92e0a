//! The filters. Each is written once; on x86-64 the same source is compiled a second time for AVX2
//! and chosen at run time, so the two can differ only by a fault of the compiler, and tests compare
//! them all the same.

use std::sync::LazyLock;

use super::{BLOCK, BlockMode, Field, PaddedPlane, Vector, halves};

/// Samples of a block in rows of [`BLOCK`].
pub type Block = [u16; BLOCK * BLOCK];

/// Rows of sums that the two-dimensional filter keeps: the block and 5 more.
type Sums = [[i32; BLOCK]; BLOCK + 5];

/// The functions that are worth SIMD.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    pub(crate) luma: fn(&PaddedPlane, usize, usize, usize, usize, u16, &mut Block),
    pub(crate) bilinear: fn(&PaddedPlane, usize, [u32; 2], [usize; 2], &mut Block),
    pub(crate) sad_pair: fn(&Block, &[u16], &[u16], usize, usize) -> u32,
    pub(crate) half_row: fn(&[u16], &mut [i32], &mut [u16], u16),
    pub(crate) half_column: fn([&[u16]; 6], &mut [u16], u16),
    pub(crate) half_sums: fn([&[i32]; 6], &mut [u16], u16),
}

impl Kernels {
    /// The plain ones.
    pub fn plain() -> Self {
        Self {
            luma: luma_any,
            bilinear: bilinear_any,
            sad_pair: halves::sad_pair,
            half_row: halves::half_row,
            half_column: halves::half_column,
            half_sums: halves::half_sums,
        }
    }

    /// The fastest ones that this processor has.
    pub fn best() -> Self {
        static BEST: LazyLock<Kernels> = LazyLock::new(|| {
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                return avx2::kernels();
            }
            Kernels::plain()
        });
        *BEST
    }
}

#[inline(always)]
pub(crate) fn tap6(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32) -> i32 {
    a + f - 5 * (b + e) + 20 * (c + d)
}

#[inline(always)]
pub(crate) fn clip(v: i32, max: u16) -> u16 {
    v.clamp(0, i32::from(max)) as u16
}

/// Half positions between columns: sums of six of the rows `-2..n + 3`.
#[inline(always)]
fn horizontal<const N: usize>(p: &PaddedPlane, at: usize, sums: &mut Sums) {
    for (i, out) in sums.iter_mut().take(N + 5).enumerate() {
        let start = at + i * p.stride - 2 * p.stride - 2;
        let row = &p.samples[start..start + N + 5];
        for x in 0..N {
            let t = |k: usize| i32::from(row[x + k]);
            out[x] = tap6(t(0), t(1), t(2), t(3), t(4), t(5));
        }
    }
}

#[inline(always)]
fn half_x<const N: usize>(sums: &Sums, down: usize, max: u16, out: &mut Block) {
    for y in 0..N {
        for x in 0..N {
            out[y * BLOCK + x] = clip((sums[y + 2 + down][x] + 16) >> 5, max);
        }
    }
}

#[inline(always)]
fn half_y<const N: usize>(p: &PaddedPlane, at: usize, max: u16, out: &mut Block) {
    for y in 0..N {
        let start = at + y * p.stride - 2 * p.stride;
        let rows: [&[u16]; 6] =
            std::array::from_fn(|k| &p.samples[start + k * p.stride..start + k * p.stride + N]);
        for x in 0..N {
            let t = |k: usize| i32::from(rows[k][x]);
            let sum = tap6(t(0), t(1), t(2), t(3), t(4), t(5));
            out[y * BLOCK + x] = clip((sum + 16) >> 5, max);
        }
    }
}

#[inline(always)]
fn half_both<const N: usize>(sums: &Sums, max: u16, out: &mut Block) {
    for y in 0..N {
        for x in 0..N {
            let t = |k: usize| sums[y + k][x];
            let sum = tap6(t(0), t(1), t(2), t(3), t(4), t(5));
            out[y * BLOCK + x] = clip((sum + 512) >> 10, max);
        }
    }
}

#[inline(always)]
fn copy<const N: usize>(p: &PaddedPlane, at: usize, out: &mut Block) {
    for y in 0..N {
        let start = at + y * p.stride;
        out[y * BLOCK..y * BLOCK + N].copy_from_slice(&p.samples[start..start + N]);
    }
}

#[inline(always)]
fn mean<const N: usize>(a: &mut Block, b: &Block) {
    for y in 0..N {
        for x in y * BLOCK..y * BLOCK + N {
            a[x] = (a[x] + b[x] + 1) >> 1;
        }
    }
}

/// A block of N x N whose upper left sample is at `at`, moved by (`fx`, `fy`) quarters to the right
/// and down.
#[inline(always)]
fn luma_n<const N: usize>(
    p: &PaddedPlane,
    at: usize,
    fx: usize,
    fy: usize,
    max: u16,
    out: &mut Block,
) {
    let mut sums: Sums = [[0; BLOCK]; BLOCK + 5];
    let mut other: Block = [0; BLOCK * BLOCK];
    if fx == 0 && fy == 0 {
        return copy::<N>(p, at, out);
    }
    if fy == 0 {
        horizontal::<N>(p, at, &mut sums);
        half_x::<N>(&sums, 0, max, out);
        if fx != 2 {
            copy::<N>(p, at + fx / 2, &mut other);
            mean::<N>(out, &other);
        }
        return;
    }
    if fx == 0 {
        half_y::<N>(p, at, max, out);
        if fy != 2 {
            copy::<N>(p, at + fy / 2 * p.stride, &mut other);
            mean::<N>(out, &other);
        }
        return;
    }
    horizontal::<N>(p, at, &mut sums);
    if fx == 2 || fy == 2 {
        half_both::<N>(&sums, max, out);
        if fx != 2 {
            half_y::<N>(p, at + fx / 2, max, &mut other);
            mean::<N>(out, &other);
        } else if fy != 2 {
            half_x::<N>(&sums, fy / 2, max, &mut other);
            mean::<N>(out, &other);
        }
        return;
    }
    half_x::<N>(&sums, fy / 2, max, out);
    half_y::<N>(p, at + fx / 2, max, &mut other);
    mean::<N>(out, &other);
}

#[inline(always)]
fn luma_any(
    p: &PaddedPlane,
    at: usize,
    size: usize,
    fx: usize,
    fy: usize,
    max: u16,
    out: &mut Block,
) {
    if size == BLOCK {
        luma_n::<BLOCK>(p, at, fx, fy, max, out);
    } else {
        luma_n::<8>(p, at, fx, fy, max, out);
    }
}

/// A block of `size` (columns, rows) moved by eighths.
#[inline(always)]
fn bilinear_any(p: &PaddedPlane, at: usize, f: [u32; 2], size: [usize; 2], out: &mut Block) {
    let [fx, fy] = f;
    for y in 0..size[1] {
        let start = at + y * p.stride;
        let (a, b) = (&p.samples[start..], &p.samples[start + p.stride..]);
        let out = &mut out[y * BLOCK..y * BLOCK + size[0]];
        let (a, b) = (&a[..out.len() + 1], &b[..out.len() + 1]);
        for (x, out) in out.iter_mut().enumerate() {
            let (a0, a1) = (u32::from(a[x]), u32::from(a[x + 1]));
            let (b0, b1) = (u32::from(b[x]), u32::from(b[x + 1]));
            let top = (8 - fx) * a0 + fx * a1;
            let bottom = (8 - fx) * b0 + fx * b1;
            *out = (((8 - fy) * top + fy * bottom + 32) >> 6) as u16;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::*;

    /// Only given out where AVX2 was detected.
    pub(super) fn kernels() -> Kernels {
        Kernels {
            luma,
            bilinear,
            sad_pair,
            half_row,
            half_column,
            half_sums,
        }
    }

    /// A function that calls the plain one, compiled for AVX2.
    macro_rules! avx2 {
        ($name:ident, $plain:path, ($($arg:ident: $type:ty),*) $(-> $out:ty)?) => {
            fn $name($($arg: $type),*) $(-> $out)? {
                #[target_feature(enable = "avx2")]
                fn wide($($arg: $type),*) $(-> $out)? {
                    $plain($($arg),*)
                }
                // SAFETY: `kernels` is called only after AVX2 was detected, and nothing else gives
                // this function out.
                unsafe { wide($($arg),*) }
            }
        };
    }

    avx2!(luma, luma_any, (
        p: &PaddedPlane, at: usize, size: usize, fx: usize, fy: usize, max: u16, out: &mut Block
    ));
    avx2!(bilinear, bilinear_any, (
        p: &PaddedPlane, at: usize, f: [u32; 2], size: [usize; 2], out: &mut Block
    ));
    avx2!(sad_pair, halves::sad_pair, (
        wanted: &Block, a: &[u16], b: &[u16], stride: usize, size: usize
    ) -> u32);
    avx2!(half_row, halves::half_row, (
        row: &[u16], sums: &mut [i32], out: &mut [u16], max: u16
    ));
    avx2!(half_column, halves::half_column, (rows: [&[u16]; 6], out: &mut [u16], max: u16));
    avx2!(half_sums, halves::half_sums, (rows: [&[i32]; 6], out: &mut [u16], max: u16));
}

/// Predicts the block of a plane that belongs to `size` x `size` luma samples (16 or 8) at luma
/// position (`x`, `y`), into the upper left of `out`; the block's size in the plane is returned.
///
/// `shifts` are the plane's subsampling, `max` the greatest value of a sample.
#[expect(clippy::too_many_arguments, reason = "each is another number")]
pub fn compensate_block(
    kernels: &Kernels,
    plane: &PaddedPlane,
    (x, y): (usize, usize),
    size: usize,
    v: Vector,
    (sx, sy): (u32, u32),
    max: u16,
    out: &mut Block,
) -> (usize, usize) {
    let (vx, vy) = (i32::from(v.x), i32::from(v.y));
    if (sx, sy) == (0, 0) {
        let at = plane.offset(x as i32 + (vx >> 2), y as i32 + (vy >> 2));
        (kernels.luma)(
            plane,
            at,
            size,
            (vx & 3) as usize,
            (vy & 3) as usize,
            max,
            out,
        );
        return (size, size);
    }
    // Eighths where the axis is subsampled, else quarters.
    let split = |v: i32, s: u32| (v >> (2 + s), ((v << (1 - s)) & 7) as u32);
    let ((ix, fx), (iy, fy)) = (split(vx, sx), split(vy, sy));
    let at = plane.offset((x >> sx) as i32 + ix, (y >> sy) as i32 + iy);
    let dims = [size >> sx, size >> sy];
    (kernels.bilinear)(plane, at, [fx, fy], dims, out);
    (dims[0], dims[1])
}

/// Predicts the rows of a plane that belong to luma rows from `top` on, for all macroblocks of a
/// field. `put(x, y, samples)` takes the samples of a row of a block; x and y are positions in the
/// plane, y counts from the slice's first row. Rows and columns beyond the plane are left out.
pub fn compensate(
    kernels: &Kernels,
    plane: &PaddedPlane,
    field: &Field,
    top: usize,
    shifts: (u32, u32),
    max: u16,
    mut put: impl FnMut(usize, usize, &[u16]),
) {
    let mut block: Block = [0; BLOCK * BLOCK];
    for by in 0..field.rows {
        for bx in 0..field.columns {
            let size = match field.mode(bx, by) {
                BlockMode::Split => BLOCK / 2,
                _ => BLOCK,
            };
            let intra = field.mode(bx, by) == BlockMode::Intra;
            for i in 0..(BLOCK / size).pow(2) {
                let (x, y) = (bx * BLOCK + i % 2 * size, by * BLOCK + i / 2 * size);
                let v = field.vector(x / 8, y / 8).unwrap_or_default();
                let (w, h) = compensate_block(
                    kernels,
                    plane,
                    (x, top + y),
                    size,
                    v,
                    shifts,
                    max,
                    &mut block,
                );
                if intra {
                    block = [max / 2 + 1; BLOCK * BLOCK];
                }
                let (px, py) = (x >> shifts.0, y >> shifts.1);
                let n = w.min(plane.width.saturating_sub(px));
                if n > 0 {
                    for (r, row) in block.chunks_exact(BLOCK).take(h).enumerate() {
                        put(px, py + r, &row[..n]);
                    }
                }
            }
        }
    }
}
