//! How the vectors of a slice and its copies are coded with tables that were counted once
//! (`tables/motion.bin`): compact streams. Others choose among the Laplace tables, slice by slice
//! ([`Field::write`]).

use std::sync::LazyLock;

use super::{BlockMode, Field, Vector, vectors::component};
use crate::{
    CodecError, Result,
    rans::{Decoder, Encoder, ReadSymbols, SmallDecoder, TableSet},
};

/// The shipped tables, counted by `models/training/codec/motion_tables.py`.
static SHIPPED: &[u8] = include_bytes!("../../tables/motion.bin");
/// Levels of quality that share tables of modes.
const LEVELS_OF_GROUP: u8 = 8;
/// Groups of levels.
const LEVEL_GROUPS: usize = 4;
/// What a macroblock beside another can be: absent; still or not, copied or not.
const CLASSES: usize = 5;
/// How a macroblock's vectors are coded. A symbol is twice this, and 1 if it is copied.
const MODES: usize = 8;
const SKIP: u8 = 0;
const INTER: u8 = 1;
const SPLIT: u8 = 2;
/// The vector of the block to the left, or of that above, where these are not the predicted one.
const LEFT: u8 = 3;
const ABOVE: u8 = 4;
const INTRA: u8 = 5;
/// One vector for the upper half and one for the lower.
const WIDE: u8 = 6;
/// One for the left half and one for the right.
const TALL: u8 = 7;
/// Contexts of a component by how much the vectors around differ.
const SPREADS: usize = 8;
/// Contexts of the lower component by the other one.
const SIZES: usize = 5;
/// Kinds of blocks with tables of their own: macroblocks, quarters of them, halves.
const KINDS: usize = 3;
const WHOLE: usize = 0;
const QUARTER: usize = 1;
const HALF: usize = 2;
/// The first table of horizontal components, and of vertical ones.
const ACROSS: usize = LEVEL_GROUPS * CLASSES * CLASSES;
const DOWN: usize = ACROSS + KINDS * SPREADS;
/// Tables in all.
pub const MOTION_TABLES: usize = DOWN + KINDS * SPREADS * SIZES;

/// The tables of vectors and copies, and what their symbols cost.
#[derive(Debug)]
pub struct MotionTables {
    set: TableSet,
    /// Of modes in 1/256 bit by group of levels, whether neighbours are absent, still or not, and
    /// mode.
    modes: [[[[u32; MODES]; 3]; 3]; LEVEL_GROUPS],
}

impl MotionTables {
    /// The shipped ones.
    pub fn shipped() -> &'static Self {
        static TABLES: LazyLock<MotionTables> = LazyLock::new(|| {
            // Compiled in, and parsed by a test.
            let set = TableSet::parse(SHIPPED);
            MotionTables::new(set.unwrap_or_else(|_| TableSet::laplace().clone()))
        });
        &TABLES
    }

    /// Those of a file, which must have [`MOTION_TABLES`].
    fn new(set: TableSet) -> Self {
        let mut modes = [[[[0; MODES]; 3]; 3]; LEVEL_GROUPS];
        // The search does not know yet what will be copied: both count.
        let kinds: [&[u8]; 3] = [&[0], &[1, 2], &[3, 4]];
        for (group, of_group) in (0..).zip(&mut modes) {
            for (a, of_a) in kinds.iter().zip(of_group) {
                for (b, costs) in kinds.iter().zip(of_a) {
                    for (mode, cost) in (0..).zip(costs) {
                        let tables = a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b)));
                        let (sum, count) = tables.fold((0, 0), |(sum, count), (a, b)| {
                            let table = mode_table(group, a, b);
                            let both = [0, 1].map(|c| set.frequency(table, 2 * mode + c));
                            (sum + both[0] + both[1], count + 1)
                        });
                        *cost = crate::rans::cost(sum / count);
                    }
                }
            }
        }
        Self { set, modes }
    }

    /// The tables.
    pub fn set(&self) -> &TableSet {
        &self.set
    }
}

fn mode_table(group: u8, left: u8, above: u8) -> u8 {
    (usize::from(group) * CLASSES * CLASSES + CLASSES * usize::from(left) + usize::from(above))
        as u8
}

/// The class of a macroblock from its symbol.
fn class_of(symbol: u8) -> u8 {
    1 + 2 * u8::from(symbol >> 1 != SKIP) + (symbol & 1)
}

/// The group of a level.
fn group_of(level: u8) -> u8 {
    (level / LEVELS_OF_GROUP).min(LEVEL_GROUPS as u8 - 1)
}

/// A part of a macroblock that has a vector of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// The first of its 8x8 blocks: 0 to 3 by rows.
    pub(crate) at: usize,
    /// Its size in such blocks.
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    kind: usize,
}

impl Part {
    const fn new(at: usize, columns: usize, rows: usize) -> Self {
        let kind = if columns * rows == 1 { QUARTER } else { HALF };
        Self {
            at,
            columns,
            rows,
            kind,
        }
    }

    /// Its blocks, from the first one on.
    pub(crate) fn blocks(self) -> impl Iterator<Item = (usize, usize)> + Clone {
        (0..self.rows).flat_map(move |y| (0..self.columns).map(move |x| (x, y)))
    }
}

/// The parts of macroblocks that are split.
const QUARTERS: [Part; 4] = [
    Part::new(0, 1, 1),
    Part::new(1, 1, 1),
    Part::new(2, 1, 1),
    Part::new(3, 1, 1),
];
const UPPER_LOWER: [Part; 2] = [Part::new(0, 2, 1), Part::new(2, 2, 1)];
const LEFT_RIGHT: [Part; 2] = [Part::new(0, 1, 2), Part::new(1, 1, 2)];

/// The ways of splitting a macroblock in two.
pub(crate) const HALVES: [[Part; 2]; 2] = [UPPER_LOWER, LEFT_RIGHT];

fn parts_of(mode: u8) -> &'static [Part] {
    match mode {
        SPLIT => &QUARTERS,
        WIDE => &UPPER_LOWER,
        TALL => &LEFT_RIGHT,
        _ => &[],
    }
}

/// How the vectors of a split macroblock are coded.
fn split_mode([a, b, c, d]: [Vector; 4]) -> u8 {
    match (a == b && c == d, a == c && b == d) {
        (true, _) => WIDE,
        (_, true) => TALL,
        _ => SPLIT,
    }
}

/// What is known around a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around {
    left: Option<Vector>,
    above: Option<Vector>,
    predicted: Vector,
    spread: u8,
}

impl Around {
    /// Of the blocks to the left, above, and above to the right.
    fn of(around: [Option<Vector>; 3]) -> Self {
        let [left, above, _] = around;
        let spread = match (left, above) {
            (Some(a), Some(b)) => {
                let sum = u32::from(a.x.abs_diff(b.x)) + u32::from(a.y.abs_diff(b.y));
                (32 - sum.leading_zeros()).min(SPREADS as u32 - 2) as u8
            }
            _ => SPREADS as u8 - 1,
        };
        let predicted = match around {
            [Some(a), Some(b), Some(c)] => Vector::median(a, b, c),
            [a, b, c] => a.or(b).or(c).unwrap_or_default(),
        };
        Self {
            left,
            above,
            predicted,
            spread,
        }
    }

    /// How a macroblock with one vector is coded.
    fn mode(&self, v: Vector) -> u8 {
        if v == self.predicted {
            SKIP
        } else if self.left == Some(v) {
            LEFT
        } else if self.above == Some(v) {
            ABOVE
        } else {
            INTER
        }
    }

    /// The vector of a mode without one of its own.
    fn vector(&self, mode: u8) -> Option<Vector> {
        match mode {
            SKIP => Some(self.predicted),
            LEFT => self.left,
            ABOVE => self.above,
            _ => None,
        }
    }

    /// The tables of the two components of a kind of block.
    fn across(&self, kind: usize) -> u8 {
        (ACROSS + SPREADS * kind + usize::from(self.spread)) as u8
    }

    fn down(&self, kind: usize, across: i32) -> u8 {
        let size = (32 - across.unsigned_abs().leading_zeros()).min(SIZES as u32 - 1);
        let row = SPREADS * kind + usize::from(self.spread);
        (DOWN + SIZES * row + size as usize) as u8
    }

    fn difference(&self, v: Vector) -> [i32; 2] {
        let p = self.predicted;
        [(v.x, p.x), (v.y, p.y)].map(|(v, p)| i32::from(v) - i32::from(p))
    }

    fn write(&self, out: &mut Encoder, tables: &TableSet, kind: usize, v: Vector) {
        let [x, y] = self.difference(v);
        out.put_signed(tables, self.across(kind), x);
        out.put_signed(tables, self.down(kind, x), y);
    }

    fn read(&self, d: &mut impl ReadSymbols, tables: &TableSet, kind: usize) -> Result<Vector> {
        let x = d.get_signed(tables, tables.decode_table(self.across(kind)));
        let y = d.get_signed(tables, tables.decode_table(self.down(kind, x)));
        Ok(Vector {
            x: component(x, self.predicted.x)?,
            y: component(y, self.predicted.y)?,
        })
    }
}

/// Table and symbol of all that the vectors and copies of a coded slice of `[width, height]` luma
/// samples are made of, in a compact stream: to count them.
///
/// # Errors
/// Those of a slice that is damaged.
pub fn motion_symbols(bytes: &[u8], level: u8, size: [usize; 2]) -> Result<Vec<(u8, u8)>> {
    match bytes.len() % 2 {
        1 => symbols_of(SmallDecoder::new(bytes), level, size),
        _ => symbols_of(Decoder::new(bytes)?, level, size),
    }
}

fn symbols_of(mut d: impl ReadSymbols, level: u8, size: [usize; 2]) -> Result<Vec<(u8, u8)>> {
    let (mut field, mut symbols) = (Field::default(), Symbols::default());
    let mut copied = Vec::new();
    let mark = |_, c| copied.push(c);
    field.read_compact(&mut d, level, size, mark, &mut symbols)?;
    let mut out = Encoder::new();
    let copied = |at: usize| copied.get(at).is_some_and(|&c| c);
    field.write_compact(&mut out, level, copied, &mut symbols);
    Ok(out.symbols().collect())
}

/// Symbols of the macroblocks of a slice, as far as they are known.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    columns: usize,
    all: Vec<u8>,
}

impl Symbols {
    fn reset(&mut self, columns: usize) {
        self.columns = columns.max(1);
        self.all.clear();
    }

    /// The table of the next macroblock.
    fn table(&self, level: u8) -> u8 {
        let n = self.all.len();
        let class = |at: Option<usize>| {
            at.and_then(|at| self.all.get(at))
                .map_or(0, |&s| class_of(s))
        };
        let left = if n.is_multiple_of(self.columns) {
            None
        } else {
            n.checked_sub(1)
        };
        mode_table(
            group_of(level),
            class(left),
            class(n.checked_sub(self.columns)),
        )
    }
}

impl Field {
    fn known_around(&self, bx: usize, by: usize) -> Around {
        Around::of(self.around(2 * bx, 2 * by, 2))
    }

    /// Codes the field and which macroblocks are copied with [`MotionTables`], for frames of a level.
    pub(crate) fn write_compact(
        &self,
        out: &mut Encoder,
        level: u8,
        copied: impl Fn(usize) -> bool,
        symbols: &mut Symbols,
    ) {
        let tables = MotionTables::shipped().set();
        symbols.reset(self.columns);
        for at in 0..self.columns * self.rows {
            let (bx, by) = (at % self.columns, at / self.columns);
            let vector = |i: usize| {
                self.vector(2 * bx + i % 2, 2 * by + i / 2)
                    .unwrap_or_default()
            };
            let around = self.known_around(bx, by);
            let mode = match self.mode(bx, by) {
                BlockMode::Skip | BlockMode::Inter => around.mode(vector(0)),
                BlockMode::Split => split_mode([0, 1, 2, 3].map(vector)),
                BlockMode::Intra => INTRA,
            };
            let symbol = 2 * mode + u8::from(copied(at));
            out.put(symbols.table(level), symbol);
            symbols.all.push(symbol);
            if mode == INTER {
                around.write(out, tables, WHOLE, vector(0));
            }
            for part in parts_of(mode) {
                let around = self.around(2 * bx + part.at % 2, 2 * by + part.at / 2, part.columns);
                Around::of(around).write(out, tables, part.kind, vector(part.at));
            }
        }
    }

    /// Decodes what [`Self::write_compact`] wrote, for `width` x `height` luma samples, and tells
    /// of each macroblock whether it is copied.
    ///
    /// # Errors
    /// [`CodecError::Field`] for a vector that there is not, or one beyond [`MAX_VECTOR`](super::MAX_VECTOR).
    pub(crate) fn read_compact(
        &mut self,
        d: &mut impl ReadSymbols,
        level: u8,
        [width, height]: [usize; 2],
        mut copied: impl FnMut(usize, bool),
        symbols: &mut Symbols,
    ) -> Result<()> {
        let tables = MotionTables::shipped().set();
        self.reset(width, height);
        symbols.reset(self.columns);
        for at in 0..self.columns * self.rows {
            let (bx, by) = (at % self.columns, at / self.columns);
            let symbol = d.get(tables.decode_table(symbols.table(level)));
            symbols.all.push(symbol);
            copied(at, symbol & 1 != 0);
            let around = self.known_around(bx, by);
            match symbol >> 1 {
                INTRA => self.set(bx, by, BlockMode::Intra, [Vector::default(); 4]),
                mode @ (SPLIT | WIDE | TALL) => {
                    self.set(bx, by, BlockMode::Split, [Vector::default(); 4]);
                    for part in parts_of(mode) {
                        let (x, y) = (2 * bx + part.at % 2, 2 * by + part.at / 2);
                        let around = Around::of(self.around(x, y, part.columns));
                        let v = around.read(d, tables, part.kind)?;
                        for (dx, dy) in part.blocks() {
                            self.set_block(x + dx, y + dy, v);
                        }
                    }
                }
                INTER => {
                    let v = around.read(d, tables, WHOLE)?;
                    self.set(bx, by, BlockMode::Inter, [v; 4]);
                }
                mode => {
                    let v = around.vector(mode).ok_or(CodecError::Field {
                        what: "block mode",
                        value: mode.into(),
                    })?;
                    let mode = if mode == SKIP {
                        BlockMode::Skip
                    } else {
                        BlockMode::Inter
                    };
                    self.set(bx, by, mode, [v; 4]);
                }
            }
        }
        Ok(())
    }
}

/// What a macroblock's vectors cost in a compact stream, as the search sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    tables: &'static MotionTables,
    around: Around,
    modes: [u32; MODES],
    kind: usize,
}

impl Rates {
    /// Of macroblock (`bx`, `by`) of a field whose macroblocks before it are known.
    pub(crate) fn of(field: &Field, bx: usize, by: usize, level: u8) -> Self {
        let tables = MotionTables::shipped();
        let class = |x: Option<usize>, y: Option<usize>| match (x, y) {
            (Some(x), Some(y)) => 1 + usize::from(field.mode(x, y) != BlockMode::Skip),
            _ => 0,
        };
        let left = class(bx.checked_sub(1), Some(by));
        let above = class(Some(bx), by.checked_sub(1));
        Self {
            tables,
            around: field.known_around(bx, by),
            modes: tables.modes[usize::from(group_of(level))][left][above],
            kind: WHOLE,
        }
    }

    /// Of a part of the macroblock, at the 8x8 block (`x`, `y`).
    pub(crate) fn of_part(self, field: &Field, x: usize, y: usize, part: Part) -> Self {
        Self {
            around: Around::of(field.around(x, y, part.columns)),
            kind: part.kind,
            ..self
        }
    }

    /// As [`Self::of_part`], of the 8x8 block (`x`, `y`).
    pub(crate) fn of_quarter(self, field: &Field, x: usize, y: usize) -> Self {
        self.of_part(field, x, y, QUARTERS[0])
    }

    /// What is predicted.
    pub(crate) fn predicted(&self) -> Vector {
        self.around.predicted
    }

    /// The mode of a split macroblock with these vectors, in 1/256 bit.
    pub(crate) fn split(&self, vectors: [Vector; 4]) -> u32 {
        self.modes[usize::from(split_mode(vectors))]
    }

    /// A vector, in 1/256 bit.
    pub(crate) fn vector(&self, v: Vector) -> u32 {
        let (mode, of_mode) = match self.kind {
            WHOLE => {
                let mode = self.around.mode(v);
                (mode, self.modes[usize::from(mode)])
            }
            _ => (INTER, 0),
        };
        if mode != INTER {
            return of_mode;
        }
        let [x, y] = self.around.difference(v);
        let set = &self.tables.set;
        of_mode
            + set.signed_cost(self.around.across(self.kind), x)
            + set.signed_cost(self.around.down(self.kind, x), y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut d: impl ReadSymbols, level: u8, size: [usize; 2]) -> (Field, Vec<bool>) {
        let (mut field, mut copied) = (Field::default(), Vec::new());
        let mark = |_, c| copied.push(c);
        field
            .read_compact(&mut d, level, size, mark, &mut Symbols::default())
            .unwrap();
        d.finish().unwrap();
        (field, copied)
    }

    /// Whatever can be coded comes back, with one state and with four.
    #[test]
    fn fields_and_copies_come_back() {
        let mut rng = fastrand::Rng::with_seed(6);
        for (n, size) in [[16, 16], [17, 64], [200, 33], [1, 1], [90, 64]]
            .into_iter()
            .cycle()
            .take(60)
            .enumerate()
        {
            let mut field = Field::still(size[0], size[1]);
            let copied: Vec<bool> = field.modes.iter().map(|_| rng.bool()).collect();
            for at in 0..field.modes.len() {
                let (bx, by) = (at % field.columns, at / field.columns);
                let around = field.known_around(bx, by);
                let mut v = || Vector {
                    x: rng.i16(-4095..=4095) >> (n % 10),
                    y: rng.i16(-9..9),
                };
                let [a, b, c, d] = [v(), v(), v(), v()];
                let beside = around.left.or(around.above).unwrap_or_default();
                let (mode, vectors) = match rng.u8(0..7) {
                    0 => (BlockMode::Skip, [around.predicted; 4]),
                    1 => (BlockMode::Inter, [a; 4]),
                    2 => (BlockMode::Inter, [beside; 4]),
                    3 => (BlockMode::Split, [a, a, b, b]),
                    4 => (BlockMode::Split, [a, b, a, b]),
                    5 => (BlockMode::Split, [a, b, c, d]),
                    _ => (BlockMode::Intra, [Vector::default(); 4]),
                };
                // A vector that happens to be the predicted one needs no other mode.
                let skip = mode == BlockMode::Inter && vectors[0] == around.predicted;
                field.set(bx, by, if skip { BlockMode::Skip } else { mode }, vectors);
            }
            let (mut symbols, mut out) = (Symbols::default(), Encoder::new());
            let level = (n % 32) as u8;
            field.write_compact(&mut out, level, |at| copied[at], &mut symbols);
            let set = MotionTables::shipped().set();
            let (four, mut one) = (out.finish(set).unwrap(), Vec::new());
            out.finish_small_into(set, 0, set, &mut one).unwrap();
            let wanted = (field, copied);
            assert!(read(Decoder::new(&four).unwrap(), level, size) == wanted);
            assert!(read(SmallDecoder::new(&one), level, size) == wanted);
            let counted = motion_symbols(&four, level, size).unwrap();
            assert!(counted.into_iter().eq(out.symbols()));
        }
    }

    /// What a symbol is said to cost is what it takes.
    #[test]
    fn the_search_knows_what_vectors_cost() {
        let mut field = Field::still(64, 48);
        let v = |x, y| Vector { x, y };
        field.set(0, 0, BlockMode::Inter, [v(8, 4); 4]);
        field.set(1, 0, BlockMode::Inter, [v(9, -4); 4]);
        let rates = Rates::of(&field, 2, 0, 20);
        assert_eq!(rates.predicted(), v(9, -4));
        assert!(rates.vector(v(9, -4)) < rates.vector(v(10, -4)));
        assert!(rates.vector(v(10, -4)) < rates.vector(v(100, 40)));
        // Of a neighbour: a mode is enough.
        field.set(2, 0, BlockMode::Inter, [v(30, 30); 4]);
        field.set(0, 1, BlockMode::Inter, [v(-90, 70); 4]);
        let rates = Rates::of(&field, 1, 1, 20);
        assert!(rates.vector(v(-90, 70)) < rates.vector(v(-90, 71)));
        let (two, four) = (
            [v(0, 0), v(0, 0), v(1, 1), v(1, 1)],
            [v(0, 0), v(1, 1), v(2, 2), v(0, 0)],
        );
        assert_ne!(rates.split(two), rates.split(four));
    }

    #[test]
    fn shipped_tables_are_those_of_modes_and_components() {
        let set = TableSet::parse(SHIPPED).unwrap();
        assert_eq!(set.len(), MOTION_TABLES);
        for table in 0..MOTION_TABLES {
            // An escape, and -31 to 31.
            let symbols = if table < ACROSS { 2 * MODES } else { 64 };
            assert_eq!(set.symbols(table as u8), symbols, "table {table}");
        }
    }
}
