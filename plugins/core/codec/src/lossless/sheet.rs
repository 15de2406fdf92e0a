//! Samples of the rows of a slice, with room around them so that neighbours always exist.

use crate::Plane;

/// Columns to the left of the first sample.
pub(crate) const LEFT: usize = 4;
/// Columns to the right, beyond a last block of 16.
const RIGHT: usize = 20;
/// Rows above the first.
const ABOVE: usize = 2;
/// Rows below the last.
const BELOW: usize = 1;

/// A plane of signed 16-bit values with a margin.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    pub(crate) width: usize,
    pub(crate) height: usize,
    stride: usize,
    values: Vec<i16>,
}

impl Sheet {
    pub(crate) fn new(width: usize, height: usize, value: i16) -> Self {
        let stride = LEFT + width + RIGHT;
        Self {
            width,
            height,
            stride,
            values: vec![value; stride * (height + ABOVE + BELOW)],
        }
    }

    fn start(&self, y: isize) -> usize {
        (y + ABOVE as isize).max(0) as usize * self.stride
    }

    /// Row `y` (-2 to height) from [`LEFT`] columns before its first sample.
    #[inline]
    pub(crate) fn row(&self, y: isize) -> &[i16] {
        let start = self.start(y);
        &self.values[start..start + self.stride]
    }

    #[inline(always)]
    pub(crate) fn row_mut(&mut self, y: isize) -> &mut [i16] {
        let start = self.start(y);
        &mut self.values[start..start + self.stride]
    }

    /// Rows before `y` and row `y`.
    pub(crate) fn split(&mut self, y: isize) -> (&[i16], &mut [i16]) {
        let start = self.start(y);
        let stride = self.stride;
        let (before, rest) = self.values.split_at_mut(start);
        (&before[start - ABOVE * stride..], &mut rest[..stride])
    }

    pub(crate) fn copy_row(&mut self, from: isize, to: isize) {
        let (a, b) = (self.start(from), self.start(to));
        self.values.copy_within(a..a + self.stride, b);
    }

    /// Puts rows of a plane from `top` on into all rows.
    pub(crate) fn put(&mut self, plane: &Plane, top: usize) {
        for y in 0..self.height {
            let width = self.width;
            let to = &mut self.row_mut(y as isize)[LEFT..LEFT + width];
            for (to, &v) in to.iter_mut().zip(plane.row(top + y)) {
                *to = v as i16;
            }
        }
    }

    /// Repeats the last sample of row `y` to its right.
    pub(crate) fn close_right(&mut self, y: isize) {
        let width = self.width;
        let row = self.row_mut(y);
        let last = row[LEFT + width - 1];
        row[LEFT + width..].fill(last);
    }

    /// Repeats the first and last columns and rows into the margin.
    pub(crate) fn close(&mut self) {
        for y in 0..self.height as isize {
            let row = self.row_mut(y);
            let first = row[LEFT];
            row[..LEFT].fill(first);
            self.close_right(y);
        }
        for y in 1..=ABOVE as isize {
            self.copy_row(0, -y);
        }
        self.copy_row(self.height as isize - 1, self.height as isize);
    }

    /// The first `n` samples of row `y`.
    pub(crate) fn samples(&self, y: usize) -> &[i16] {
        &self.row(y as isize)[LEFT..LEFT + self.width]
    }
}
