//! Motion vectors, their prediction, and how a slice's are coded.

use std::ops::Range;

use super::BLOCK;
use crate::{
    CodecError, Result,
    rans::{DecodeTable, Encoder, ReadSymbols, TableSet},
};

/// The greatest magnitude of a component in quarter samples.
pub const MAX_VECTOR: i16 = 4095;

/// A motion vector in quarter luma samples: where in the reference the block comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Vector {
    /// To the right.
    pub x: i16,
    /// Down.
    pub y: i16,
}

impl Vector {
    /// The median of each component.
    pub(super) fn median(a: Self, b: Self, c: Self) -> Self {
        let median = |a: i16, b: i16, c: i16| a.min(b).max(a.max(b).min(c));
        Self {
            x: median(a.x, b.x, c.x),
            y: median(a.y, b.y, c.y),
        }
    }
}

/// How the vectors of a macroblock are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockMode {
    /// One vector: the predicted one.
    Skip,
    /// One vector, coded as the difference to the predicted one.
    Inter,
    /// A vector for each 8x8 block.
    Split,
    /// No motion compensation: the prediction is mid-grey.
    Intra,
}

/// Vectors of the macroblocks of a slice, one for every 8x8 luma block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Field {
    /// Macroblocks a row.
    pub columns: usize,
    /// Rows of macroblocks.
    pub rows: usize,
    /// Mode of each macroblock.
    pub modes: Vec<BlockMode>,
    /// `2 columns * 2 rows` vectors.
    pub vectors: Vec<Vector>,
}

impl Field {
    /// A field without motion for `width` x `height` luma samples.
    pub fn still(width: usize, height: usize) -> Self {
        let (columns, rows) = (width.div_ceil(BLOCK), height.div_ceil(BLOCK));
        Self {
            columns,
            rows,
            modes: vec![BlockMode::Skip; columns * rows],
            vectors: vec![Vector::default(); 4 * columns * rows],
        }
    }

    /// Whether nothing moves.
    pub(crate) fn is_still(&self) -> bool {
        let still = |m: &BlockMode| *m == BlockMode::Skip;
        self.modes.iter().all(still) && self.vectors.iter().all(|v| *v == Vector::default())
    }

    /// The mode of macroblock (`bx`, `by`); [`BlockMode::Intra`] outside.
    pub fn mode(&self, bx: usize, by: usize) -> BlockMode {
        if bx >= self.columns {
            return BlockMode::Intra;
        }
        self.modes
            .get(by * self.columns + bx)
            .copied()
            .unwrap_or(BlockMode::Intra)
    }

    /// The vector of the 8x8 block (`x`, `y`), counted in such blocks, if there is one.
    pub fn vector(&self, x: usize, y: usize) -> Option<Vector> {
        if x >= 2 * self.columns {
            return None;
        }
        self.vectors.get(y * 2 * self.columns + x).copied()
    }

    /// Luma rows of a reference of `height` rows that these vectors and their filters reach, if the
    /// field is that of `rows`.
    pub(crate) fn rows_reached(&self, rows: Range<usize>, height: usize) -> Range<usize> {
        let reach = self.vectors.iter().map(|v| isize::from(v.y >> 2));
        let (up, down) = reach.fold((0, 0), |(a, b): (isize, isize), y| (a.min(y), b.max(y)));
        let last = height.saturating_sub(1);
        // The filter takes 2 rows above and 3 below; vectors may point outside of the picture.
        let first = rows.start.saturating_add_signed(up - 2).min(last);
        let end = rows.start + rows.len().next_multiple_of(BLOCK);
        let end = end.saturating_add_signed(down + 4);
        first..end.clamp(first + 1, last + 1)
    }

    /// Sets the mode of a macroblock and its four vectors.
    pub fn set(&mut self, bx: usize, by: usize, mode: BlockMode, vectors: [Vector; 4]) {
        let (row, at) = (2 * self.columns, by * self.columns + bx);
        if let Some(m) = self.modes.get_mut(at) {
            *m = mode;
        }
        for (i, v) in vectors.into_iter().enumerate() {
            self.set_one(row * (2 * by + i / 2) + 2 * bx + i % 2, v);
        }
    }

    fn set_one(&mut self, at: usize, v: Vector) {
        if let Some(slot) = self.vectors.get_mut(at) {
            *slot = v;
        }
    }

    /// Vectors to the left of a block of `size` 8x8 blocks (1 or 2) at the 8x8 block (`x`, `y`), above
    /// it, and above to the right (else above to the left), where they are known.
    pub(crate) fn around(&self, x: usize, y: usize, size: usize) -> [Option<Vector>; 3] {
        let get = |x: Option<usize>, y: Option<usize>| self.vector(x?, y?);
        let (left, up) = (x.checked_sub(1), y.checked_sub(1));
        let a = get(left, Some(y));
        let b = get(Some(x), up);
        // Inside a macroblock what is below and reaches its right edge has nothing coded to its upper
        // right.
        let hidden = y % 2 == 1 && (x + size).is_multiple_of(2);
        let c = if hidden {
            None
        } else {
            get(Some(x + size), up)
        }
        .or_else(|| get(left, up));
        [a, b, c]
    }

    /// The predicted vector of a block of `size` 8x8 blocks (1 or 2) at the 8x8 block (`x`, `y`):
    /// the median of those to the left, above, and above to the right (else above to the left).
    /// Blocks outside of the slice, or coded later, count as zero.
    pub fn predict(&self, x: usize, y: usize, size: usize) -> Vector {
        let [a, b, c] = self.around(x, y, size).map(Option::unwrap_or_default);
        Vector::median(a, b, c)
    }

    /// Sets the vector of the 8x8 block (`x`, `y`).
    pub(crate) fn set_block(&mut self, x: usize, y: usize, v: Vector) {
        self.set_one(2 * self.columns * y + x, v);
    }

    /// Makes it a field without motion for `width` x `height` luma samples, in the memory that is
    /// there.
    pub(crate) fn reset(&mut self, width: usize, height: usize) {
        (self.columns, self.rows) = (width.div_ceil(BLOCK), height.div_ceil(BLOCK));
        let count = self.columns * self.rows;
        self.modes.clear();
        self.modes.resize(count, BlockMode::Skip);
        self.vectors.clear();
        self.vectors.resize(4 * count, Vector::default());
    }

    /// Codes the field. Tables for modes and differences are chosen among `tables` and written in
    /// front.
    pub fn write(&self, out: &mut Encoder, tables: &TableSet) {
        self.write_with(out, tables, &mut FieldScratch::default());
    }

    /// As [`Self::write`], with scratch space that is used again.
    pub(crate) fn write_with(
        &self,
        out: &mut Encoder,
        tables: &TableSet,
        scratch: &mut FieldScratch,
    ) {
        let FieldScratch {
            walk,
            modes,
            differences,
        } = scratch;
        modes.clear();
        differences.clear();
        walk.reset(self.columns * BLOCK, self.rows * BLOCK);
        self.visit(walk, modes, differences);
        let mode_table = out.put_choice(tables, modes.iter().copied());
        let table = out.put_choice(tables, differences.iter().flat_map(|d| *d));
        let mut differences = differences.iter().copied();
        for &mode in &*modes {
            out.put_signed(tables, mode_table, mode);
            let count = match mode {
                1 => 1,
                -1 => 4,
                _ => 0,
            };
            for d in differences.by_ref().take(count).flatten() {
                out.put_signed(tables, table, d);
            }
        }
    }

    /// Modes as signed values and vector differences in coding order; `walk` becomes a copy.
    fn visit(&self, walk: &mut Field, modes: &mut Vec<i32>, differences: &mut Vec<[i32; 2]>) {
        let row = 2 * self.columns;
        let minus = |a: Vector, b: Vector| [i32::from(a.x - b.x), i32::from(a.y - b.y)];
        for by in 0..self.rows {
            for bx in 0..self.columns {
                let mode = self.mode(bx, by);
                modes.push(mode_value(mode));
                let at = |i: usize| {
                    self.vector(2 * bx + i % 2, 2 * by + i / 2)
                        .unwrap_or_default()
                };
                match mode {
                    BlockMode::Skip | BlockMode::Inter => {
                        let predicted = walk.predict(2 * bx, 2 * by, 2);
                        if mode == BlockMode::Inter {
                            differences.push(minus(at(0), predicted));
                        }
                        walk.set(bx, by, mode, [at(0); 4]);
                    }
                    BlockMode::Split => {
                        walk.set(bx, by, mode, [Vector::default(); 4]);
                        for i in 0..4 {
                            let (x, y) = (2 * bx + i % 2, 2 * by + i / 2);
                            differences.push(minus(at(i), walk.predict(x, y, 1)));
                            walk.set_one(row * y + x, at(i));
                        }
                    }
                    BlockMode::Intra => walk.set(bx, by, mode, [Vector::default(); 4]),
                }
            }
        }
    }

    /// Decodes a field for `width` x `height` luma samples.
    ///
    /// # Errors
    /// [`CodecError::Field`] for a mode that does not exist or a vector beyond [`MAX_VECTOR`].
    pub fn read(
        d: &mut impl ReadSymbols,
        tables: &TableSet,
        width: usize,
        height: usize,
    ) -> Result<Self> {
        let mut field = Self::default();
        field.read_into(d, tables, width, height)?;
        Ok(field)
    }

    /// As [`Self::read`], in the memory that is there.
    pub(crate) fn read_into(
        &mut self,
        d: &mut impl ReadSymbols,
        tables: &TableSet,
        width: usize,
        height: usize,
    ) -> Result<()> {
        let field = self;
        field.reset(width, height);
        let mode_table = d.get_choice(tables)?;
        let table = d.get_choice(tables)?;
        let row = 2 * field.columns;
        for by in 0..field.rows {
            for bx in 0..field.columns {
                let mode = d.get_signed(tables, mode_table);
                let mode = match mode {
                    0 => BlockMode::Skip,
                    1 => BlockMode::Inter,
                    -1 => BlockMode::Split,
                    2 => BlockMode::Intra,
                    v => {
                        return Err(CodecError::Field {
                            what: "block mode",
                            value: v as u64,
                        });
                    }
                };
                match mode {
                    BlockMode::Skip | BlockMode::Inter => {
                        let p = field.predict(2 * bx, 2 * by, 2);
                        let v = if mode == BlockMode::Inter {
                            read_vector(d, tables, table, p)?
                        } else {
                            p
                        };
                        field.set(bx, by, mode, [v; 4]);
                    }
                    BlockMode::Split => {
                        field.set(bx, by, mode, [Vector::default(); 4]);
                        for i in 0..4 {
                            let (x, y) = (2 * bx + i % 2, 2 * by + i / 2);
                            let v = read_vector(d, tables, table, field.predict(x, y, 1))?;
                            field.set_one(row * y + x, v);
                        }
                    }
                    BlockMode::Intra => field.set(bx, by, mode, [Vector::default(); 4]),
                }
            }
        }
        Ok(())
    }
}

/// A component that was predicted to be `p` and differs from that.
///
/// # Errors
/// [`CodecError::Field`] beyond [`MAX_VECTOR`].
pub(super) fn component(difference: i32, p: i16) -> Result<i16> {
    let v = difference.saturating_add(p.into());
    if v.unsigned_abs() > MAX_VECTOR.unsigned_abs().into() {
        return Err(CodecError::Field {
            what: "motion vector",
            value: v.unsigned_abs().into(),
        });
    }
    Ok(v as i16)
}

fn read_vector(
    d: &mut impl ReadSymbols,
    tables: &TableSet,
    table: &DecodeTable,
    p: Vector,
) -> Result<Vector> {
    let mut part = |p| component(d.get_signed(tables, table), p);
    Ok(Vector {
        x: part(p.x)?,
        y: part(p.y)?,
    })
}

/// Scratch space of [`Field::write_with`].
#[derive(Debug, Default)]
pub(crate) struct FieldScratch {
    walk: Field,
    modes: Vec<i32>,
    differences: Vec<[i32; 2]>,
}

fn mode_value(mode: BlockMode) -> i32 {
    match mode {
        BlockMode::Skip => 0,
        BlockMode::Inter => 1,
        BlockMode::Split => -1,
        BlockMode::Intra => 2,
    }
}
