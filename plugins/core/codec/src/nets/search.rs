//! The search for code vectors. None of it is normative.

use super::{Codebooks, Kernels};

/// What a bit costs, in squares of the step. 0.05 gives about the errors that the other profiles
/// have on the same level.
const PRICE: f32 = 0.05;
/// Codewords are in 1/32 of a step.
const UNIT: f32 = 32.0;
/// The greatest magnitude of a part that one stage is enough for, in steps; each further stage does
/// for four times as much.
const ONE_STAGE: f32 = 1.6;
/// The most code vectors of a codebook.
pub(super) const MAX_WORDS: usize = 256;

/// Costs that are compared at once.
const LANES: usize = 16;

/// Codebooks in the form that searching needs.
#[derive(Debug)]
pub(crate) struct Search {
    books: Vec<Book>,
}

#[derive(Debug)]
struct Book {
    /// `[size][words]`
    words: Vec<f32>,
    /// Squares of the code vectors.
    squares: Vec<f32>,
    /// What the index of each costs, as a refinement and as the first stage, in bits.
    bits: [Vec<f32>; 2],
    /// Squares and the price of the bits together.
    offsets: [Vec<f32>; 2],
}

/// The choice for a part.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Choice {
    pub(crate) class: u8,
    /// Of each stage, the last (finest) one first.
    pub(crate) indices: [u8; 16],
}

/// The first of the code vectors for which `offset - 2 x * word` is least.
///
/// `words` is `[x.len()][n]`, offsets are `n`, at most [`MAX_WORDS`].
#[inline(always)]
pub(super) fn nearest(words: &[f32], offsets: &[f32], x: &[f32]) -> usize {
    let n = offsets.len().min(MAX_WORDS);
    let mut costs = [f32::INFINITY; MAX_WORDS];
    let costs_n = &mut costs[..n];
    let row = |d: usize| words.get(d * n..(d + 1) * n).unwrap_or_default();
    if let &[a, b, c, d] = x {
        // The same sums in the same order, without a way through memory after each product.
        let [a, b, c, d] = [a, b, c, d].map(|x| -2.0 * x);
        let rows = row(0).iter().zip(row(1)).zip(row(2)).zip(row(3));
        for ((cost, &o), (((p, q), r), s)) in costs_n.iter_mut().zip(offsets).zip(rows) {
            *cost = o + a * p + b * q + c * r + d * s;
        }
    } else {
        costs_n.copy_from_slice(&offsets[..n]);
        for (d, x) in x.iter().enumerate() {
            let x = -2.0 * x;
            for (cost, &w) in costs_n.iter_mut().zip(row(d)) {
                *cost += x * w;
            }
        }
    }
    // The least of each lane and where it was: minima of vectors.
    let (mut least, mut at) = ([f32::INFINITY; LANES], [0u32; LANES]);
    for (i, part) in costs.as_chunks::<LANES>().0.iter().enumerate() {
        for ((least, at), &c) in least.iter_mut().zip(&mut at).zip(part) {
            let less = c < *least;
            *least = if less { c } else { *least };
            *at = if less { i as u32 } else { *at };
        }
    }
    let (mut best, mut index) = (f32::INFINITY, usize::MAX);
    for (lane, (&c, &at)) in least.iter().zip(&at).enumerate() {
        let here = at as usize * LANES + lane;
        if c < best || (c == best && here < index) {
            (best, index) = (c, here);
        }
    }
    index.min(n.saturating_sub(1))
}

impl Search {
    pub(super) fn new(codebooks: &Codebooks) -> Self {
        let size = codebooks.part_size();
        let tables = codebooks.tables();
        let book = |number| {
            let words = codebooks.words(number);
            let n = words.len() / size;
            let value = |d: usize, i: usize| words.get(i * size + d).map_or(0.0, |&w| w.into());
            let squares = (0..n).map(|i| (0..size).map(|d| value(d, i) * value(d, i)).sum());
            let bits = [false, true].map(|first| {
                let table = codebooks.index_table(number, first);
                (0..n).map(|i| tables.cost(table, i as u8)).collect()
            });
            let squares: Vec<f32> = squares.collect();
            let offsets = [0, 1].map(|first: usize| {
                let bits: &Vec<f32> = &bits[first];
                let each = squares.iter().zip(bits);
                each.map(|(s, b)| s + PRICE * UNIT * UNIT * b).collect()
            });
            Book {
                words: (0..size * n).map(|at| value(at / n, at % n)).collect(),
                squares,
                bits,
                offsets,
            }
        };
        Self {
            books: (0..codebooks.books()).map(book).collect(),
        }
    }

    /// The class and the code vectors for a part whose latents are `x` (in 1/32 of a step): those
    /// whose squared error plus the price of the bits is least, of the classes that fit its
    /// magnitude.
    pub(crate) fn choose(
        &self,
        kernels: &Kernels,
        codebooks: &Codebooks,
        (part, class_table): (usize, u8),
        x: &[f32],
    ) -> Choice {
        let price = PRICE * UNIT * UNIT;
        let energy = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
        let class_bits = |k: usize| codebooks.tables().cost(class_table, k as u8);
        let mut best = Choice::default();
        let mut least = energy(x) + price * class_bits(0);
        let most = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let (mut fits, mut reach) = (1, ONE_STAGE * UNIT);
        while most > reach && fits + 1 < codebooks.classes() {
            fits += 1;
            reach *= 4.0;
        }
        let last = (fits + 1).min(codebooks.classes() - 1);
        'classes: for class in (fits - 1).max(1)..=last {
            let mut bits = class_bits(class);
            if least <= price * (bits + 1.0) {
                continue;
            }
            let mut rest = [0.0f32; super::codebooks::MAX_PART];
            let rest = &mut rest[..x.len()];
            rest.copy_from_slice(x);
            let mut indices = [0u8; 16];
            for stage in (1..=class).rev() {
                let (number, shift) = codebooks.book(part, stage);
                let Some(book) = self.books.get(number) else {
                    return best;
                };
                let n = book.squares.len();
                let first = usize::from(stage == class);
                let own_bits = &book.bits[first];
                // Beyond the last codebook: the same in a larger unit.
                let scale = (1u32 << shift) as f32;
                let index = if shift == 0 {
                    (kernels.nearest)(&book.words, &book.offsets[first], rest)
                } else {
                    let mut offsets = [0.0; MAX_WORDS];
                    let price = price / (scale * scale);
                    for ((o, s), b) in offsets.iter_mut().zip(&book.squares).zip(own_bits) {
                        *o = s + price * b;
                    }
                    rest.iter_mut().for_each(|x| *x /= scale);
                    (kernels.nearest)(&book.words, &offsets[..n], rest)
                };
                for (x, words) in rest.iter_mut().zip(book.words.chunks_exact(n)) {
                    *x = (*x - words.get(index).copied().unwrap_or(0.0)) * scale;
                }
                bits += own_bits.get(index).copied().unwrap_or(0.0);
                if let Some(to) = indices.get_mut(stage - 1) {
                    *to = index as u8;
                }
                if least <= price * bits {
                    continue 'classes;
                }
            }
            let cost = energy(rest) + price * bits;
            if cost < least {
                least = cost;
                best = Choice {
                    class: class as u8,
                    indices,
                };
            }
        }
        best
    }
}
