//! Macroblocks of a predicted slice that show their prediction as it is, without the networks.
//!
//! The networks of predicted frames improve a prediction even where no latents are coded, which is
//! good once and not a hundred times: what stands still, or was coded by another codec with the same
//! motion, is better left alone.

use std::ops::Range;

use super::step;
use crate::{
    CodecError, Picture, Plane, Result,
    motion::BLOCK,
    nets::{BAND_ROWS, HYPER},
    rans::{Encoder, ReadSymbols, TableSet, unzigzag, zigzag},
};

/// What a latent that is not zero is worth when copies are chosen, in 1/256 of the squared step. On
/// native-size parts of the training clips (48 frames, 5 levels) prices of 0, 40, 100 and 200 gave
/// 15.0, 15.2, 15.6 and 15.0 % fewer bits than no copies; with a bonus of 1, 40, 60 and 100 gave 16.7,
/// 17.1 and 17.2 %; this with a bonus of 2, 17.2 %.
const PRICE: u64 = 60;
/// As [`PRICE`], in the profile `vq`: a part has four latents, and takes an index or two.
const VQ_PRICE: u64 = 8;
/// So many latents that are not zero cost what a macroblock costs that has none.
const BONUS: u64 = 2;

/// Which macroblocks of a slice are copied, row by row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copies {
    columns: usize,
    copied: Vec<bool>,
    count: usize,
}

/// Which macroblocks of predicted frames show their prediction as it is, without the networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copying {
    /// None: the stream is one that decoders understand which know nothing of copies.
    Never,
    /// Those that look no worse than what the networks make of them, bits counted.
    #[default]
    Better,
    /// Some, whatever they look like: for tests of decoders, with invented networks that make
    /// everything worse.
    Pattern,
}

impl Copying {
    /// Whether the stream says that there are copies.
    pub(crate) fn is_used(self) -> bool {
        self != Self::Never
    }
}

/// What the encoder compares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// A frame.
    pub(crate) source: &'a Picture,
    /// Rows of the slice in it.
    pub(crate) rows: &'a Range<usize>,
    /// The slice's prediction.
    pub(crate) prediction: &'a Picture,
    /// What the slice will look like without copies.
    pub(crate) coded: &'a Picture,
    /// First row of the slice in `coded`.
    pub(crate) coded_top: usize,
    /// Latents that are coded so far, `[rows][columns][..]`.
    pub(crate) latents: &'a [i16],
    /// What one that is not zero costs, in squares of samples.
    pub(crate) price: u64,
    /// Which macroblocks to choose.
    pub(crate) copying: Copying,
}

impl Copies {
    /// None of a slice of a size in macroblocks.
    pub(crate) fn none_of(size: [usize; 2]) -> Self {
        let mut out = Self::default();
        out.reset(size);
        out
    }

    /// None of `rows` x `columns`.
    pub(crate) fn reset(&mut self, [rows, columns]: [usize; 2]) {
        self.columns = columns;
        self.copied.clear();
        self.copied.resize(rows * columns, false);
        self.count = 0;
    }

    /// All of `rows` x `columns`.
    pub(crate) fn fill(&mut self, [rows, columns]: [usize; 2]) {
        self.reset([rows, columns]);
        self.copied.fill(true);
        self.count = self.copied.len();
    }

    /// Makes a macroblock, counted row by row, one that is copied.
    pub(crate) fn add(&mut self, at: usize) {
        if let Some(copied) = self.copied.get_mut(at) {
            self.count += usize::from(!*copied);
            *copied = true;
        }
    }

    /// Whether there is none.
    pub(crate) fn none(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether there is nothing else.
    pub(crate) fn all(&self) -> bool {
        !self.none() && self.count == self.copied.len()
    }

    /// Whether a macroblock, counted row by row, is copied.
    #[inline]
    pub(crate) fn is_copied(&self, at: usize) -> bool {
        self.copied.get(at).is_some_and(|&c| c)
    }

    /// Whether all macroblocks at the place of hyper-latents are copied: these are not coded then.
    /// `at` counts such places row by row.
    pub(crate) fn hides_hyper(&self, at: usize) -> bool {
        let places = self.columns.div_ceil(BAND_ROWS);
        if self.none() || places == 0 {
            return false;
        }
        let (r, c) = (at / places * BAND_ROWS, at % places * BAND_ROWS);
        let columns = c..(c + BAND_ROWS).min(self.columns);
        let rows = self.copied.chunks_exact(self.columns).skip(r);
        let here = rows.take(BAND_ROWS).map(|row| row.get(columns.clone()));
        here.flat_map(Option::unwrap_or_default).all(|&c| c)
    }

    /// Makes hyper-latents that are not coded what the decoder takes them for.
    pub(crate) fn clear_hyper(&self, z: &mut [i8]) {
        for (at, z) in z.chunks_exact_mut(HYPER).enumerate() {
            if self.hides_hyper(at) {
                z.fill(0);
            }
        }
    }

    /// Makes the latents of macroblocks that are copied ones that are not coded: `index` and `mean`
    /// are those of the latents of a group, at macroblocks `positions`.
    pub(crate) fn clear(&self, positions: Range<usize>, index: &mut [u8], mean: &mut [i16]) {
        if self.none() || positions.is_empty() {
            return;
        }
        let size = index.len() / positions.len();
        let each = index
            .chunks_exact_mut(size.max(1))
            .zip(mean.chunks_exact_mut(size.max(1)));
        for (at, (index, mean)) in positions.zip(each) {
            if self.is_copied(at) {
                index.fill(0);
                mean.fill(0);
            }
        }
    }

    /// Chooses the macroblocks whose prediction is as good as what was coded, with the price of the
    /// bits; whether there are any.
    pub(crate) fn choose(&mut self, choice: &Choice<'_>) -> bool {
        let latents = choice.latents.len() / self.copied.len().max(1);
        let columns = self.columns.max(1);
        self.count = 0;
        let each = choice.latents.chunks_exact(latents.max(1));
        for ((at, copied), latents) in self.copied.iter_mut().enumerate().zip(each) {
            let place = (at / columns, at % columns);
            *copied = match choice.copying {
                Copying::Never => false,
                Copying::Better => {
                    let [plain, improved] = choice.errors(place);
                    let coded = latents.iter().filter(|&&q| q != 0).count() as u64;
                    plain <= improved + (coded + BONUS) * choice.price
                }
                Copying::Pattern => (place.0 / 4 + place.1 / 4) % 3 == 1 || at * at % 7 == 2,
            };
            self.count += usize::from(*copied);
        }
        !self.none()
    }

    /// Lengths of runs: of macroblocks that are not copied (0 perhaps), that are, that are not, and
    /// so on.
    fn runs(&self) -> impl Iterator<Item = u32> {
        let runs = self.copied.chunk_by(|a, b| a == b);
        let none = self.is_copied(0).then_some(0);
        none.into_iter().chain(runs.map(|r| r.len() as u32))
    }

    /// Codes them: a table for both kinds of runs, and the runs.
    pub(crate) fn write(&self, out: &mut Encoder, tables: &TableSet) {
        // No run but the first can be empty.
        let values = || {
            (0..)
                .zip(self.runs())
                .map(|(i, n)| unzigzag(n - u32::from(i > 0)))
        };
        let chosen = [0, 1].map(|kind| out.put_choice(tables, values().skip(kind).step_by(2)));
        for (value, table) in values().zip(chosen.into_iter().cycle()) {
            out.put_signed(tables, table, value);
        }
    }

    /// Decodes those of a slice of a size in macroblocks.
    ///
    /// # Errors
    /// [`CodecError::Field`] if a run is longer than the slice: it is damaged.
    pub(crate) fn read(
        &mut self,
        d: &mut impl ReadSymbols,
        tables: &TableSet,
        size: [usize; 2],
    ) -> Result<()> {
        self.reset(size);
        let chosen = [d.get_choice(tables)?, d.get_choice(tables)?];
        let (mut at, mut copied) = (0, false);
        while at < self.copied.len() {
            let value = zigzag(d.get_signed(tables, chosen[usize::from(copied)]));
            let length = (value as usize).saturating_add(usize::from(copied || at > 0));
            let rest = self.copied.get_mut(at..).unwrap_or_default();
            let Some(run) = rest.get_mut(..length) else {
                return Err(CodecError::Field {
                    what: "run of macroblocks",
                    value: length as u64,
                });
            };
            run.fill(copied);
            self.count += length * usize::from(copied);
            at += length;
            copied = !copied;
        }
        Ok(())
    }

    /// Shows the prediction of a slice where it is copied.
    pub(crate) fn apply(&self, prediction: &Picture, picture: &mut Picture) {
        let planes = picture.planes.iter_mut().zip(&prediction.planes);
        for (p, (to, from)) in planes.enumerate() {
            self.apply_plane(p, to.width, &from.samples, &mut to.samples);
        }
    }

    /// As [`Self::apply`], of plane `p` with rows of `width` samples.
    pub(crate) fn apply_plane<T: Copy>(&self, p: usize, width: usize, from: &[T], to: &mut [T]) {
        if self.none() || width == 0 {
            return;
        }
        let side = side_of(p);
        let rows = to.chunks_exact_mut(width).zip(from.chunks_exact(width));
        for (y, (to, from)) in rows.enumerate() {
            let first = y / side * self.columns;
            let blocks = to.chunks_mut(side).zip(from.chunks(side));
            for (x, (to, from)) in blocks.enumerate() {
                if self.is_copied(first + x) {
                    to.copy_from_slice(from);
                }
            }
        }
    }
}

/// [`PRICE`] in squares of samples at a level.
pub(super) fn price(level: u8, vq: bool) -> u64 {
    let step = step(level) >> 8;
    let price = if vq { VQ_PRICE } else { PRICE };
    (step * step * price) >> 24
}

/// Side of a macroblock in plane `p` of 4:2:0.
fn side_of(p: usize) -> usize {
    if p == 0 { BLOCK } else { BLOCK / 2 }
}

impl Choice<'_> {
    /// Squared errors of the prediction and of what was coded, in the macroblock at (row, column).
    fn errors(&self, (r, c): (usize, usize)) -> [u64; 2] {
        let mut sums = [0; 2];
        for (p, prediction) in self.prediction.planes.iter().enumerate() {
            let (Some(source), Some(coded)) = (self.source.planes.get(p), self.coded.planes.get(p))
            else {
                continue;
            };
            let (side, shift) = (side_of(p), u32::from(p > 0));
            let span = c * side..((c + 1) * side).min(prediction.width);
            for y in r * side..((r + 1) * side).min(prediction.height) {
                let of = |plane: &Plane, top: usize| {
                    let row = plane.row((top >> shift) + y);
                    squares(
                        row,
                        source.row((self.rows.start >> shift) + y),
                        span.clone(),
                    )
                };
                sums[0] += of(prediction, 0);
                sums[1] += of(coded, self.coded_top);
            }
        }
        sums
    }
}

/// Sum of squared differences of parts of two rows.
fn squares(a: &[u16], b: &[u16], span: Range<usize>) -> u64 {
    let (Some(a), Some(b)) = (a.get(span.clone()), b.get(span)) else {
        return 0;
    };
    // At most 16 samples of 8 bits.
    let each = a
        .iter()
        .zip(b)
        .map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2));
    u64::from(each.sum::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rans::Decoder;

    fn copies(text: &str, columns: usize) -> Copies {
        let copied: Vec<bool> = text.chars().map(|c| c == '#').collect();
        let count = copied.iter().filter(|&&c| c).count();
        Copies {
            columns,
            copied,
            count,
        }
    }

    #[test]
    fn runs_come_back() {
        let tables = TableSet::laplace();
        let mut random = fastrand::Rng::with_seed(7);
        let mut texts: Vec<String> = ["#", ".", "#.", ".#", "..##..##", "########", "#.#.#.#."]
            .map(String::from)
            .into();
        texts.push("#".repeat(2000) + &".".repeat(3000));
        texts.extend((1..200).map(|n| {
            let mut last = '.';
            let mut next = || {
                if random.u8(..5) == 0 {
                    last = if last == '#' { '.' } else { '#' };
                }
                last
            };
            (0..n).map(|_| next()).collect::<String>()
        }));
        for text in texts {
            let wanted = copies(&text, text.len());
            let mut coder = Encoder::new();
            wanted.write(&mut coder, tables);
            let bytes = coder.finish(tables).unwrap();
            let mut d = Decoder::new(&bytes).unwrap();
            let mut found = Copies::default();
            found.read(&mut d, tables, [1, text.len()]).unwrap();
            d.finish().unwrap();
            assert_eq!(found.copied, wanted.copied, "{text}");
            assert_eq!(found.count, wanted.count, "{text}");
            assert!(Decoder::new(&bytes).is_ok_and(|mut d| {
                let fewer = text.len() - 1;
                found.read(&mut d, tables, [1, fewer]).is_err() || d.finish().is_err() || fewer == 0
            }));
        }
    }

    #[test]
    fn hyper_latents_are_hidden_where_all_is_copied() {
        // Two rows of places of 4 x 4 macroblocks; the last column and row have fewer.
        let rows = ["####.", "####.", "####.", "####.", ".####"];
        let copies = copies(&rows.concat(), 5);
        let hidden: Vec<bool> = (0..4).map(|at| copies.hides_hyper(at)).collect();
        assert_eq!(hidden, [true, false, false, true]);
        let mut z = [1; 4 * HYPER];
        copies.clear_hyper(&mut z);
        assert_eq!(z[0], 0);
        assert_eq!(z[HYPER], 1);
        assert!(!copies.all() && !copies.none());
    }

    #[test]
    fn only_what_is_copied_changes() {
        let copies = copies(".#", 2);
        // 17 luma samples a row: the second macroblock has one column.
        let (from, mut to) = ([1u8; 34], [0u8; 34]);
        copies.apply_plane(0, 17, &from, &mut to);
        assert_eq!(to.iter().map(|&v| u32::from(v)).sum::<u32>(), 2);
        assert_eq!((to[16], to[33]), (1, 1));
        // 9 chroma samples.
        let (from, mut to) = ([1u16; 18], [0u16; 18]);
        copies.apply_plane(1, 9, &from, &mut to);
        assert_eq!((to[7], to[8], to[17]), (0, 1, 1));
    }
}
