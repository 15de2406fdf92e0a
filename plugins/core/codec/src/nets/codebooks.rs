//! Codebooks: what the profile `vq` codes latents with, in place of hyper-latents and quantisers.
//!
//! The latents of a position are cut into *parts* of a few channels. A part is a sum of code
//! vectors of as many *stages* as its class says, the coarsest first; class 0 is the part that was
//! predicted, and costs next to nothing where all around it is alike. (Juang and Gray 1982,
//! "Multiple stage vector quantization for speech coding"; Chou, Lookabaugh and Gray 1989,
//! "Entropy-constrained vector quantization".) Tables of frequencies stand in the model: for
//! classes by level, part and the classes around it, for code vectors by codebook.

use std::sync::OnceLock;

use super::{
    LEVELS, LIMIT, Level,
    file::{Section, wrong},
    search::Search,
};
use crate::{
    Result,
    rans::{MAX_TABLES, TableSet},
};

/// The most latents of a part.
pub(crate) const MAX_PART: usize = 16;
/// The most codebooks of a family, one for each stage.
const MAX_STAGES: usize = 8;
/// The most classes of a part.
const MAX_CLASSES: usize = 12;
/// By how much code vectors are shifted at most.
const MAX_SHIFT: u32 = 8;
/// Steps of each of the two numbers that a context is made of.
const CONTEXT_STEPS: u32 = 6;
/// Contexts of a class.
const CONTEXTS: usize = (CONTEXT_STEPS * CONTEXT_STEPS) as usize;
/// Levels that share a predictor.
const PREDICTOR_LEVELS: usize = 8;
/// What can be around a position: only the one to the left, only the one above, all.
const AROUND: usize = 3;
/// The most latents of a position that are predicted.
const MAX_PREDICTED: usize = 64;
/// Fraction bits of the predictor's weights.
const WEIGHT_BITS: u32 = 12;
/// The most that the magnitudes of the weights of a sum add up to: no sum leaves 32 bits.
const MAX_WEIGHTS: i32 = 1 << 19;
/// Code vectors are in 1/32 of a step, and steps in 1/16.
const SHIFT: u32 = 9;

/// The codebooks of a kind of picture.
#[derive(Debug)]
pub struct Codebooks {
    /// Latents of a part.
    size: usize,
    /// The family of each part.
    family: Vec<u8>,
    /// Codebooks of a family.
    stages: usize,
    /// Code vectors of a codebook.
    words: usize,
    /// `[families][stages][words][size]`, in 1/32 of a step.
    books: Vec<i16>,
    /// Classes of a part, 0 included.
    classes: usize,
    /// The number of the table of a class, `[LEVELS][parts][CONTEXTS]`.
    class_tables: Vec<u8>,
    /// The first of the tables of code vectors, `[families][stages][2]`.
    first_index_table: usize,
    /// Latents that are predicted.
    predicted: usize,
    /// `[LEVELS / 8][AROUND][predicted][3 * predicted]`.
    predictor: Vec<i16>,
    tables: TableSet,
    search: OnceLock<Search>,
}

/// What is known of a part when its class is coded.
pub(crate) struct Part<'a> {
    /// The position that it belongs to, row by row.
    pub(crate) position: usize,
    /// Its number within the position.
    pub(crate) number: usize,
    /// The table of its class.
    pub(crate) table: u8,
    /// What its latents are predicted to be.
    pub(crate) predicted: &'a [i32],
}

/// Latents of a slice while they are coded.
#[derive(Debug, Default)]
pub(crate) struct Latents {
    /// `[rows][columns][latents]`, as the synthesis takes them.
    pub(crate) y: Vec<i16>,
    /// `[rows][columns][parts]`
    classes: Vec<u8>,
    /// Of a position.
    predicted: Vec<i32>,
}

/// Which of the steps of a context a number belongs to: that of its bits.
fn step_of(n: u32) -> u32 {
    (32 - n.leading_zeros()).min(CONTEXT_STEPS - 1)
}

impl Codebooks {
    /// Reads the tensors `KIND.vq.*`.
    ///
    /// # Errors
    /// [`CodecError::Tensor`]; [`CodecError::Table`] if frequencies are none.
    pub(super) fn load(section: &Section<'_>, kind: &str, latents: usize) -> Result<Self> {
        let name = |part: &str| format!("{kind}.vq.{part}");
        let dim = |part: &str, i, most| section.dim(&name(part), i, most);
        let families = dim("books", 0, 255)?;
        let stages = dim("books", 1, MAX_STAGES)?;
        let words = dim("books", 2, 256)?;
        let size = dim("books", 3, MAX_PART)?;
        let parts = dim("family", 0, latents)?;
        if parts * size != latents {
            let reason = format!("{parts} parts of {size} are not {latents} latents");
            return Err(wrong(&name("family"), reason));
        }
        let family: Vec<u8> = section.values(&name("family"), &[parts])?;
        if let Some(f) = family.iter().find(|&&f| usize::from(f) >= families) {
            return Err(wrong(&name("family"), format!("there is no family {f}")));
        }
        let class_count = dim("class", 0, MAX_TABLES)?;
        let classes = dim("class", 1, MAX_CLASSES)?;
        // So that no sum of code vectors leaves 32 bits.
        if classes > stages + 1 + MAX_SHIFT as usize / 2 {
            let reason = format!("{classes} classes of {stages} stages");
            return Err(wrong(&name("class"), reason));
        }
        let class: Vec<i16> = section.values(&name("class"), &[class_count, classes])?;
        let index: Vec<i16> = section.values(&name("index"), &[families, stages, 2, words])?;
        let class_tables: Vec<u8> = section.values(&name("table"), &[LEVELS, parts, CONTEXTS])?;
        if let Some(t) = class_tables.iter().find(|&&t| class_count <= t.into()) {
            return Err(wrong(&name("table"), format!("there is no table {t}")));
        }
        let predicted = dim("predict", 2, latents.min(MAX_PREDICTED))?;
        let dims = [
            LEVELS / PREDICTOR_LEVELS,
            AROUND,
            predicted,
            AROUND * predicted,
        ];
        let predictor: Vec<i16> = section.values(&name("predict"), &dims)?;
        let sum = |w: &[i16]| w.iter().map(|w| i32::from(*w).abs()).sum::<i32>();
        if predictor
            .chunks(AROUND * predicted)
            .any(|w| sum(w) > MAX_WEIGHTS)
        {
            return Err(wrong(
                &name("predict"),
                "the weights of a sum are too large",
            ));
        }
        // A negative frequency is a large one, which cannot be part of a sum of 2^14.
        let frequencies = |values: &[i16], n: usize| -> Vec<Vec<u16>> {
            let rows = values.chunks_exact(n);
            rows.map(|row| row.iter().map(|&f| f as u16).collect())
                .collect()
        };
        let mut all = frequencies(&class, classes);
        all.extend(frequencies(&index, words));
        Ok(Self {
            size,
            family,
            stages,
            words,
            books: section.values(&name("books"), &[families, stages, words, size])?,
            classes,
            class_tables,
            first_index_table: class_count,
            predicted,
            predictor,
            tables: TableSet::new(&all)?,
            search: OnceLock::new(),
        })
    }

    /// The frequency tables.
    pub(crate) fn tables(&self) -> &TableSet {
        &self.tables
    }

    /// Latents of a part.
    pub(crate) fn part_size(&self) -> usize {
        self.size
    }

    /// Classes of a part: as many as stages that it can have, and 0.
    pub(crate) fn classes(&self) -> usize {
        self.classes
    }

    /// The codebook of a stage (from 1 on) of a part, counted through all families, and by how many
    /// bits its code vectors are shifted to the left: beyond the last codebook, 2 for each stage.
    pub(crate) fn book(&self, part: usize, stage: usize) -> (usize, u32) {
        let family = self.family.get(part).map_or(0, |&f| usize::from(f));
        let of_family = stage.clamp(1, self.stages);
        let book = family * self.stages + of_family - 1;
        (book, 2 * stage.saturating_sub(of_family) as u32)
    }

    /// How many codebooks there are, of all families.
    pub(super) fn books(&self) -> usize {
        self.books.len() / (self.words * self.size)
    }

    /// The code vectors of a codebook, `[words][size]`.
    pub(super) fn words(&self, book: usize) -> &[i16] {
        let n = self.words * self.size;
        self.books.get(book * n..(book + 1) * n).unwrap_or_default()
    }

    /// The table of the code vectors of a codebook; `first`: it is the first stage of its part.
    pub(crate) fn index_table(&self, book: usize, first: bool) -> u8 {
        (self.first_index_table + 2 * book + usize::from(first)) as u8
    }

    /// Adds code vector `index` of a stage of a part to `sum`.
    pub(crate) fn add(&self, part: usize, stage: usize, index: u8, sum: &mut [i32]) {
        let (book, shift) = self.book(part, stage);
        let at = usize::from(index) * self.size;
        let word = self.words(book).get(at..at + self.size);
        for (sum, &w) in sum.iter_mut().zip(word.unwrap_or_default()) {
            *sum += i32::from(w) << shift;
        }
    }

    /// What finds the nearest code vectors.
    pub(crate) fn search(&self) -> &Search {
        self.search.get_or_init(|| Search::new(self))
    }

    /// Goes through the parts of a slice in the order of coding. `code` gives a part's class and
    /// leaves the sum of its code vectors; latents end up in `latents.y`.
    ///
    /// `steps` are those of each latent of a position, in 1/16.
    pub(crate) fn walk(
        &self,
        level: Level,
        steps: &[i32],
        [rows, columns]: [usize; 2],
        latents: &mut Latents,
        mut code: impl FnMut(&Part<'_>, &mut [i32]) -> u8,
    ) {
        let (parts, n) = (self.family.len(), self.family.len() * self.size);
        let Latents {
            y,
            classes,
            predicted,
        } = latents;
        predicted.clear();
        predicted.resize(n, 0);
        y.resize(rows * columns * n, 0);
        classes.resize(rows * columns * parts, 0);
        let of_level = parts * CONTEXTS;
        let class_tables = self
            .class_tables
            .get(level.index() * of_level..(level.index() + 1) * of_level)
            .unwrap_or_default();
        for position in 0..rows * columns {
            let (r, c) = (position / columns, position % columns);
            let left = (c > 0).then(|| position - 1);
            let above = (r > 0).then(|| position - columns);
            self.predict(level, y, n, [left, above], predicted);
            let (before, own) = classes.split_at_mut(position * parts);
            let own = own.get_mut(..parts).unwrap_or_default();
            let others = [left, above].map(|p| {
                let of = p.and_then(|p| before.get(p * parts..(p + 1) * parts));
                of.unwrap_or_default()
            });
            let tables = class_tables.chunks_exact(CONTEXTS);
            let to = y.get_mut(position * n..(position + 1) * n);
            let to = to.unwrap_or_default().chunks_exact_mut(self.size);
            let each = to
                .zip(predicted.chunks_exact(self.size))
                .zip(steps.chunks_exact(self.size));
            for ((number, ((to, predicted), steps)), tables) in each.enumerate().zip(tables) {
                let context = context(own, others, number);
                let part = Part {
                    position,
                    number,
                    table: tables.get(context).copied().unwrap_or(0),
                    predicted,
                };
                let mut sum = [0; MAX_PART];
                let class = code(&part, &mut sum);
                if let Some(own) = own.get_mut(number) {
                    *own = class;
                }
                for (((to, &m), &step), &sum) in to.iter_mut().zip(predicted).zip(steps).zip(&sum) {
                    // 32767 times the greatest step is less than 2^31 - 2^16.
                    let sum = sum.clamp(-32767, 32767);
                    let v = m + ((sum * step + (1 << (SHIFT - 1))) >> SHIFT);
                    *to = v.clamp(-i32::from(LIMIT), LIMIT.into()) as i16;
                }
            }
        }
    }

    /// Predicts the first latents of a position from those to the left, above, and above the one
    /// to the left.
    fn predict(
        &self,
        level: Level,
        y: &[i16],
        n: usize,
        [left, above]: [Option<usize>; 2],
        out: &mut [i32],
    ) {
        let k = self.predicted;
        let corner = left.and(above).map(|p| p.saturating_sub(1));
        let case = match (left, above) {
            (None, None) => {
                out.iter_mut().take(k).for_each(|v| *v = 0);
                return;
            }
            (Some(_), None) => 0,
            (None, Some(_)) => 1,
            (Some(_), Some(_)) => 2,
        };
        let sources = [left, above, corner].map(|p| {
            let of = p.and_then(|p| y.get(p * n..p * n + k));
            of.unwrap_or_default()
        });
        let size = AROUND * k * k;
        let at = (level.index() / PREDICTOR_LEVELS * AROUND + case) * size;
        let weights = self.predictor.get(at..at + size).unwrap_or_default();
        for (out, row) in out.iter_mut().zip(weights.chunks_exact(AROUND * k)) {
            let mut sum = 1 << (WEIGHT_BITS - 1);
            for (w, x) in row.chunks_exact(k).zip(sources) {
                let products = w.iter().zip(x).map(|(&w, &x)| i32::from(w) * i32::from(x));
                sum += products.sum::<i32>();
            }
            *out = sum >> WEIGHT_BITS;
        }
    }
}

/// The context of part `number`: how busy the parts beside it are in the positions to the left and
/// above, and those before it in its own.
fn context(own: &[u8], others: [&[u8]; 2], number: usize) -> usize {
    let of = |classes: &[u8], at: Option<usize>| {
        let class = at.and_then(|at| classes.get(at));
        class.map_or(0, |&c| u32::from(c))
    };
    let around = |n| others.iter().map(|o| of(o, Some(n))).sum::<u32>();
    let before = |n| of(own, number.checked_sub(n));
    let a = step_of(2 * around(number) + around(number + 1));
    let b = step_of(2 * before(1) + before(2) + before(3));
    (CONTEXT_STEPS * a + b) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_those_of_the_specification() {
        let steps: Vec<u32> = [0, 1, 2, 3, 4, 7, 8, 15, 16, 99].map(step_of).to_vec();
        assert_eq!(steps, [0, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
        let own = [1, 2, 0, 3, 9];
        // Nothing around the first part, 2 * 3 + 0 + 2 before the last.
        assert_eq!(context(&own, [&[], &[]], 0), 0);
        assert_eq!(context(&own, [&[], &[]], 4), 4);
        // 2 * (1 + 2) + (4 + 0) = 10 around the second one, 2 before it.
        assert_eq!(context(&own, [&[0, 1, 4], &[0, 2, 0]], 1), 6 * 4 + 2);
        // The one after the last counts as 0.
        assert_eq!(context(&own, [&[0, 0, 0, 0, 1], &[]], 4), 6 * 2 + 4);
    }
}
