//! Motion search: predictors, a hexagon on whole samples, then half and quarter samples.

use std::ops::Range;

use super::{
    BLOCK, BlockMode, Field, Halves, Kernels, MAX_VECTOR, Vector,
    coding::{HALVES, Part, Rates},
    compensate::Block,
};
use crate::Plane;

/// What the search may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchConfig {
    /// Steps of the hexagon.
    pub steps: u32,
    /// What a bit of a vector is worth, in absolute differences.
    pub lambda: u32,
    /// Whether macroblocks may be split.
    pub split: bool,
    /// The level whose tables the vectors will be coded with, in a compact stream.
    pub compact: Option<u8>,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            steps: 16,
            lambda: 4,
            split: true,
            compact: None,
        }
    }
}

struct Job<'a> {
    kernels: &'a Kernels,
    reference: &'a Halves,
    config: &'a SearchConfig,
    /// The block to find, and its place in the plane.
    wanted: &'a Block,
    x: usize,
    y: usize,
    size: usize,
    predicted: Vector,
    /// Of a compact stream.
    rates: Option<Rates>,
}

/// By how many bits' worth a split macroblock has to be better than one with one vector, in a compact
/// stream: what is sharp at the edges of its parts costs latents. 0.6 % fewer bits than with 0 on
/// native-size parts of the training clips, nearly all of it on one of the three.
const SPLIT_MARGIN: u32 = 10;
/// Vectors that a search begins at, at most.
const MAX_STARTS: usize = 8;

impl Job<'_> {
    fn cost(&self, v: Vector) -> u32 {
        let cost = |a: i16, b: i16| 2 * (16 - a.abs_diff(b).leading_zeros()) + 1;
        let price = match &self.rates {
            Some(rates) => self.price(rates.vector(v)),
            None => {
                let rate = cost(v.x, self.predicted.x) + cost(v.y, self.predicted.y);
                self.config.lambda * rate
            }
        };
        let at = (self.x, self.y);
        self.reference
            .sad(self.kernels, self.wanted, at, self.size, v)
            + price
    }

    /// What 1/256 bits are worth.
    fn price(&self, rate: u32) -> u32 {
        ((u64::from(self.config.lambda) * u64::from(rate)) >> 8) as u32
    }

    /// What a macroblock of two parts costs, and its vectors: of each part the best of those that
    /// were found for the whole and for its quarters. Leaves them in `field`.
    fn halve(
        &self,
        field: &mut Field,
        ((left, top), (bx, by)): ((usize, usize), (usize, usize)),
        rates: &Rates,
        parts: [Part; 2],
        (whole, quarters, samples): (Vector, &[Vector; 4], &[Block; 4]),
    ) -> (u32, [Vector; 4]) {
        let (mut vectors, mut sum) = ([whole; 4], 0);
        for part in parts {
            let (x, y) = (part.at % 2, part.at / 2);
            let rates = rates.of_part(field, 2 * bx + x, 2 * by + y, part);
            let blocks = part.blocks().map(|(dx, dy)| (x + dx, y + dy));
            let mut best = (u32::MAX, whole);
            let own = blocks.clone().map(|(x, y)| quarters[2 * y + x]);
            for v in own.chain([whole, rates.predicted()]) {
                if v == best.1 && best.0 < u32::MAX {
                    continue;
                }
                let each = blocks.clone().map(|(x, y)| {
                    let at = (left + 8 * x, top + 8 * y);
                    let wanted = &samples[2 * y + x];
                    self.reference.sad(self.kernels, wanted, at, BLOCK / 2, v)
                });
                let cost = each.sum::<u32>() + self.price(rates.vector(v));
                if cost < best.0 {
                    best = (cost, v);
                }
            }
            sum += best.0;
            for (x, y) in blocks {
                vectors[2 * y + x] = best.1;
            }
            field.set(bx, by, BlockMode::Split, vectors);
        }
        (sum + self.price(rates.split(vectors)), vectors)
    }

    /// Moves `best` along `pattern` (in units of `unit` quarters) while that helps.
    fn descend(&self, best: &mut (u32, Vector), pattern: &[(i16, i16)], unit: i16, steps: u32) {
        for _ in 0..steps {
            let from = best.1;
            for &(dx, dy) in pattern {
                let v = Vector {
                    x: from.x + dx * unit,
                    y: from.y + dy * unit,
                };
                if v.x.abs() <= MAX_VECTOR && v.y.abs() <= MAX_VECTOR {
                    let cost = self.cost(v);
                    if cost < best.0 {
                        *best = (cost, v);
                    }
                }
            }
            if best.1 == from {
                break;
            }
        }
    }

    /// The best vector found from `starts`, and its cost.
    fn run(&self, starts: &[Vector]) -> (u32, Vector) {
        const HEXAGON: [(i16, i16); 6] = [(-2, 0), (-1, -2), (1, -2), (2, 0), (1, 2), (-1, 2)];
        const SQUARE: [(i16, i16); 8] = [
            (-1, -1),
            (0, -1),
            (1, -1),
            (-1, 0),
            (1, 0),
            (-1, 1),
            (0, 1),
            (1, 1),
        ];
        let mut best = (u32::MAX, Vector::default());
        // Two for each start.
        let mut tried = [Vector::default(); 2 * MAX_STARTS];
        let mut count = 0;
        for &v in starts.iter().take(MAX_STARTS) {
            let whole = rounded(v);
            for v in [v, whole] {
                if !tried[..count].contains(&v) {
                    tried[count] = v;
                    count += 1;
                    let cost = self.cost(v);
                    if cost < best.0 {
                        best = (cost, v);
                    }
                }
            }
        }
        let start = best;
        // Nothing but the vector to pay for: it is not going to be better.
        if start.0 <= 6 * self.config.lambda {
            return start;
        }
        let mut whole = best;
        if whole.1.x & 3 != 0 || whole.1.y & 3 != 0 {
            whole.1 = rounded(whole.1);
            whole.0 = self.cost(whole.1);
        }
        self.descend(&mut whole, &HEXAGON, 4, self.config.steps);
        self.descend(&mut whole, &SQUARE, 4, 1);
        if whole.0 < best.0 {
            best = whole;
        }
        self.descend(&mut best, &SQUARE, 2, 1);
        self.descend(&mut best, &SQUARE, 1, 2);
        if start.0 < best.0 { start } else { best }
    }
}

/// The nearest vector of whole samples that can be coded.
fn rounded(v: Vector) -> Vector {
    let round = |c: i16| (c.saturating_add(2) & !3).clamp(-(MAX_VECTOR & !3), MAX_VECTOR & !3);
    Vector {
        x: round(v.x),
        y: round(v.y),
    }
}

/// Finds vectors from luma rows `top..top + height` of `plane` into `reference`. `hint` is a field
/// of the same size, if there is one, whose vectors are tried too (those of the frame before).
///
/// The result depends on nothing but the arguments.
pub fn search(
    kernels: &Kernels,
    plane: &Plane,
    reference: &Halves,
    top: usize,
    height: usize,
    config: &SearchConfig,
    hint: Option<&Field>,
) -> Field {
    let mut field = Field::default();
    let range = top..top + height;
    search_into(kernels, plane, reference, range, config, hint, &mut field);
    field
}

/// As [`search`], of luma rows `range`, into a field whose memory is used again.
pub(crate) fn search_into(
    kernels: &Kernels,
    plane: &Plane,
    reference: &Halves,
    range: Range<usize>,
    config: &SearchConfig,
    hint: Option<&Field>,
    field: &mut Field,
) {
    let top = range.start;
    field.reset(plane.width, range.len());
    let (mut whole, mut quarters) = ([0; BLOCK * BLOCK], [[0; BLOCK * BLOCK]; 4]);
    for by in 0..field.rows {
        for bx in 0..field.columns {
            let (x, y) = (bx * BLOCK, top + by * BLOCK);
            let rates = config.compact.map(|level| Rates::of(field, bx, by, level));
            let predicted = match &rates {
                Some(rates) => rates.predicted(),
                None => field.predict(2 * bx, 2 * by, 2),
            };
            cut(plane, x, y, BLOCK, &mut whole);
            let mut job = Job {
                kernels,
                reference,
                config,
                wanted: &whole,
                x,
                y,
                size: BLOCK,
                predicted,
                rates,
            };
            let at = |f: &Field, dx: isize, dy: isize| {
                f.vector(
                    (2 * bx).checked_add_signed(dx)?,
                    (2 * by).checked_add_signed(dy)?,
                )
            };
            let around = [(-1, 0), (0, -1), (2, -1)];
            let around = around.into_iter().filter_map(|(x, y)| at(field, x, y));
            let hinted = [(0, 0), (2, 0), (0, 2)].into_iter();
            let hinted = hinted.filter_map(|(x, y)| at(hint?, x, y));
            let all = [job.predicted, Vector::default()].into_iter();
            let (mut starts, mut count) = ([Vector::default(); MAX_STARTS], 0);
            for (to, v) in starts.iter_mut().zip(all.chain(around).chain(hinted)) {
                *to = v;
                count += 1;
            }
            let (cost, v) = job.run(&starts[..count]);
            let one = if v == job.predicted {
                BlockMode::Skip
            } else {
                BlockMode::Inter
            };
            field.set(bx, by, one, [v; 4]);
            if !config.split || cost < 64 {
                continue;
            }
            let (mut vectors, mut sum) = ([v; 4], 0);
            job.size = BLOCK / 2;
            for (i, samples) in quarters.iter_mut().enumerate() {
                cut(plane, x + i % 2 * 8, y + i / 2 * 8, 8, samples);
            }
            for (i, wanted) in quarters.iter().enumerate() {
                (job.x, job.y) = (x + i % 2 * 8, y + i / 2 * 8);
                job.wanted = wanted;
                let (x, y) = (2 * bx + i % 2, 2 * by + i / 2);
                job.rates = rates.map(|rates| rates.of_quarter(field, x, y));
                job.predicted = match &job.rates {
                    Some(rates) => rates.predicted(),
                    None => field.predict(x, y, 1),
                };
                let (c, found) = job.run(&[job.predicted, v]);
                vectors[i] = found;
                sum += c;
                field.set(bx, by, BlockMode::Split, vectors);
            }
            match rates {
                None => sum += config.lambda * 6,
                Some(rates) => {
                    sum += job.price(rates.split(vectors));
                    let place = ((x, y), (bx, by));
                    let known = vectors;
                    for parts in HALVES {
                        let known = (v, &known, &quarters);
                        let found = job.halve(field, place, &rates, parts, known);
                        if found.0 < sum {
                            (sum, vectors) = found;
                        }
                    }
                    field.set(bx, by, BlockMode::Split, vectors);
                    sum += config.lambda * SPLIT_MARGIN;
                }
            }
            if sum >= cost || vectors == [v; 4] {
                field.set(bx, by, one, [v; 4]);
            }
        }
    }
}

/// Takes the block at (`x`, `y`), edges repeated.
fn cut(plane: &Plane, x: usize, y: usize, size: usize, out: &mut Block) {
    for (r, out) in out.chunks_exact_mut(BLOCK).take(size).enumerate() {
        let row = plane.row((y + r).min(plane.height.saturating_sub(1)));
        let out = out.get_mut(..size).unwrap_or_default();
        match row.get(x..x + size) {
            Some(row) => out.copy_from_slice(row),
            None => {
                let last = row.last().copied().unwrap_or(0);
                for (c, out) in out.iter_mut().enumerate() {
                    *out = row.get(x + c).copied().unwrap_or(last);
                }
            }
        }
    }
}
