//! What a slice is predicted from.

use std::ops::Range;

use super::slice::Pools;
use crate::{
    Format, Picture, Plane,
    motion::{
        BLOCK, Field, Halves, Kernels as MotionKernels, Reference, SearchConfig, compensate,
        search_into,
    },
};

/// What a slice is predicted from.
#[derive(Debug, Clone)]
pub(crate) struct Predicted {
    pub(crate) field: Field,
    /// The slice's rows as a picture.
    pub(crate) picture: Picture,
    /// Sums of absolute differences, of luma and its prediction, and of luma and its mean in blocks
    /// of 16x16.
    pub(crate) costs: [u64; 2],
}

/// The format of a slice of `rows` as a picture of its own.
pub(crate) fn slice_format(format: Format, rows: &Range<usize>) -> Format {
    Format {
        height: rows.len() as u32,
        ..format
    }
}

/// The rows of a slice as a picture of their own.
pub(crate) fn cut(picture: &Picture, rows: &Range<usize>, pools: &Pools) -> Picture {
    let format = slice_format(picture.format, rows);
    let mut out = pools.grey(format);
    for (p, (to, plane)) in out.planes.iter_mut().zip(&picture.planes).enumerate() {
        let top = top_of(format, p, rows);
        let samples = plane
            .samples
            .get(top * to.width..(top + to.height) * to.width);
        if let Some(samples) = samples.filter(|s| s.len() == to.samples.len()) {
            to.samples.copy_from_slice(samples);
        }
    }
    out
}

/// First row of a slice in plane `p`.
fn top_of(format: Format, p: usize, rows: &Range<usize>) -> usize {
    let (_, down) = format.chroma.shifts();
    rows.start >> if p == 0 { 0 } else { down }
}

/// The prediction of a slice by vectors.
pub(super) fn compensated(
    format: Format,
    rows: &Range<usize>,
    field: &Field,
    from: &Reference,
    pools: &Pools,
) -> Picture {
    let kernels = MotionKernels::best();
    let mut out = pools.grey(slice_format(format, rows));
    for (p, (plane, from)) in out.planes.iter_mut().zip(&from.planes).enumerate() {
        let shifts = if p == 0 {
            (0, 0)
        } else {
            format.chroma.shifts()
        };
        let (width, height) = (plane.width, plane.height);
        let put = |x: usize, y: usize, row: &[u16]| {
            if y < height {
                let at = y * width + x;
                if let Some(to) = plane.samples.get_mut(at..at + row.len()) {
                    to.copy_from_slice(row);
                }
            }
        };
        compensate(&kernels, from, field, rows.start, shifts, format.max(), put);
    }
    out
}

/// Finds the vectors of a slice, and what they predict.
pub(crate) fn predict(
    picture: &Picture,
    rows: &Range<usize>,
    (reference, halves): (&Reference, &Halves),
    config: &SearchConfig,
    hint: Option<&Field>,
    pools: &Pools,
) -> Option<Predicted> {
    let luma = picture.planes.first()?;
    let kernels = MotionKernels::best();
    let mut field = pools.field();
    let range = rows.clone();
    search_into(&kernels, luma, halves, range, config, hint, &mut field);
    let predicted = compensated(picture.format, rows, &field, reference, pools);
    let costs = costs(luma, rows, predicted.planes.first()?);
    Some(Predicted {
        field,
        picture: predicted,
        costs,
    })
}

/// Absolute differences of luma rows from their prediction, and from the means of their blocks.
fn costs(luma: &Plane, rows: &Range<usize>, predicted: &Plane) -> [u64; 2] {
    let mut out = [0u64; 2];
    for y in rows.clone() {
        let row = luma.row(y);
        let other = predicted.row(y - rows.start);
        let differences = row
            .iter()
            .zip(other)
            .map(|(a, b)| u64::from(a.abs_diff(*b)));
        out[0] += differences.sum::<u64>();
    }
    for top in rows.clone().step_by(BLOCK) {
        let height = BLOCK.min(rows.end - top);
        for left in (0..luma.width).step_by(BLOCK) {
            let block = (top..top + height).flat_map(|y| {
                let row = luma.row(y);
                &row[left..row.len().min(left + BLOCK)]
            });
            let count = (height * BLOCK.min(luma.width - left)) as u64;
            let sum: u64 = block.clone().map(|&v| u64::from(v)).sum();
            let mean = (sum / count) as u16;
            out[1] += block.map(|v| u64::from(v.abs_diff(mean))).sum::<u64>();
        }
    }
    out
}
