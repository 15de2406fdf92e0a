//! What the encoder chooses for a plane of a slice, and how it is sent.

use super::taps::{MAX_TAPS, MAX_WEIGHT, Taps};
use crate::{
    CodecError, Result,
    rans::{Decoder, Encoder, ReadSymbols, TableSet},
};

/// Levels of activity.
pub(crate) const LEVELS: usize = 48;
/// Scales of the Laplace tables, and tables of each: one for each quarter of the way from a
/// prediction without a fraction to one half way between two values.
pub(crate) const SCALES: u8 = 48;
pub(crate) const OFFSETS: usize = 4;
/// Classes of blocks that a plane of a slice can have.
pub(crate) const MAX_CLASSES: usize = 32;
/// The class of blocks that equal the first reference.
pub(crate) const COPY: u8 = 255;

/// Classes and weights of a plane of a slice.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Model {
    /// Blocks a row.
    pub(crate) columns: usize,
    /// The class of each block, or [`COPY`].
    pub(crate) map: Vec<u8>,
    /// Weights that are sent, for each class.
    pub(crate) weights: Vec<Vec<i32>>,
}

impl Model {
    /// The class of block (`bx`, `by`).
    pub(crate) fn class(&self, bx: usize, by: usize) -> u8 {
        self.map.get(by * self.columns + bx).copied().unwrap_or(0)
    }

    /// All weights of each class; at least one.
    pub(crate) fn all_weights(&self, taps: &Taps) -> Vec<[i16; MAX_TAPS]> {
        self.weights.iter().map(|w| taps.weights(w)).collect()
    }

    /// Ranks of classes in the order of last use, block by block: mostly 0.
    fn ranks(&self) -> Vec<i32> {
        let mut order = Order::new(self.weights.len());
        (0..self.map.len())
            .map(|i| {
                order.look_up(&self.map, self.columns, i);
                order.rank(self.map[i])
            })
            .collect()
    }

    pub(crate) fn write(&self, out: &mut Encoder, tables: &TableSet) {
        let n = self.weights.len() - 1;
        out.put_nibble(n as u32 >> 4);
        out.put_nibble(n as u32);
        let table = out.put_choice(tables, self.weights.iter().flatten().copied());
        for w in self.weights.iter().flatten() {
            out.put_signed(tables, table, *w);
        }
        let ranks = self.ranks();
        // Ranks are not negative: spread over both signs they suit the tables.
        let table = out.put_choice(tables, ranks.iter().map(|&r| fold(r)));
        for r in ranks {
            out.put_signed(tables, table, fold(r));
        }
    }

    /// Reads the model of a plane of `columns` x `rows` blocks.
    pub(crate) fn read(
        d: &mut Decoder<'_>,
        tables: &TableSet,
        taps: &Taps,
        columns: usize,
        rows: usize,
    ) -> Result<Self> {
        let classes = (d.get_nibble(tables) << 4 | d.get_nibble(tables)) as usize + 1;
        if classes > MAX_CLASSES {
            return Err(CodecError::Field {
                what: "number of classes",
                value: classes as u64,
            });
        }
        let table = d.get_choice(tables)?;
        let mut weights = Vec::with_capacity(classes);
        for _ in 0..classes {
            let mut one = Vec::with_capacity(taps.sent());
            for _ in 0..taps.sent() {
                let w = d.get_signed(tables, table);
                if w.unsigned_abs() > MAX_WEIGHT as u32 {
                    return Err(CodecError::Field {
                        what: "weight",
                        value: w as u64,
                    });
                }
                one.push(w);
            }
            weights.push(one);
        }
        let table = d.get_choice(tables)?;
        let mut map = Vec::with_capacity(columns * rows);
        let mut order = Order::new(classes);
        for i in 0..columns * rows {
            order.look_up(&map, columns, i);
            let rank = unfold(d.get_signed(tables, table));
            match order.class(rank) {
                Some(c) => map.push(c),
                None => {
                    return Err(CodecError::Field {
                        what: "class",
                        value: rank as u64,
                    });
                }
            }
        }
        Ok(Self {
            columns,
            map,
            weights,
        })
    }
}

/// 0, 1, 2, 3 ... as 0, -1, 1, -2 ...
fn fold(v: i32) -> i32 {
    crate::rans::unzigzag(v as u32)
}

fn unfold(v: i32) -> i32 {
    crate::rans::zigzag(v) as i32
}

/// Classes, the ones of the blocks to the left and above first.
struct Order {
    classes: Vec<u8>,
}

impl Order {
    fn new(n: usize) -> Self {
        Self {
            classes: (0..n as u8).chain([COPY]).collect(),
        }
    }

    /// Moves the classes of the blocks above and to the left of block `i` to the front.
    fn look_up(&mut self, map: &[u8], columns: usize, i: usize) {
        let left = if !i.is_multiple_of(columns) {
            map.get(i - 1)
        } else {
            None
        };
        let above = i.checked_sub(columns).and_then(|i| map.get(i));
        for class in [above, left].into_iter().flatten() {
            if let Some(at) = self.classes.iter().position(|c| c == class) {
                self.classes[..=at].rotate_right(1);
            }
        }
    }

    fn rank(&self, class: u8) -> i32 {
        self.classes.iter().position(|&c| c == class).unwrap_or(0) as i32
    }

    fn class(&self, rank: i32) -> Option<u8> {
        self.classes.get(usize::try_from(rank).ok()?).copied()
    }
}

/// Writes the scale of each level: differences from one level to the next.
pub(crate) fn write_levels(levels: &[u8; LEVELS], out: &mut Encoder, tables: &TableSet) {
    let mut last = 0;
    let steps = levels.map(|l| i32::from(l) - std::mem::replace(&mut last, i32::from(l)));
    let table = out.put_choice(tables, steps.into_iter());
    for s in steps {
        out.put_signed(tables, table, s);
    }
}

/// Reads what [`write_levels`] wrote.
pub(crate) fn read_levels(d: &mut Decoder<'_>, tables: &TableSet) -> Result<[u8; LEVELS]> {
    let table = d.get_choice(tables)?;
    let (mut levels, mut last) = ([0; LEVELS], 0i32);
    for l in &mut levels {
        last = last.saturating_add(d.get_signed(tables, table));
        match u8::try_from(last).ok().filter(|&t| t < SCALES) {
            Some(t) => *l = t,
            None => {
                return Err(CodecError::Field {
                    what: "scale of a level",
                    value: last as u64,
                });
            }
        }
    }
    Ok(levels)
}
