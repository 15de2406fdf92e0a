//! Which values a sample is predicted from.

use super::sheet::{LEFT, Sheet};

/// Bits after the point of a weight.
pub(crate) const WEIGHT_BITS: u32 = 8;
/// 1.0 as a weight.
pub(crate) const ONE: i32 = 1 << WEIGHT_BITS;
/// The greatest magnitude of a weight that is sent: 4.0.
pub(crate) const MAX_WEIGHT: i32 = 4 * ONE;
/// Taps of which sample predictions are made, at most.
pub(crate) const MAX_TAPS: usize = 32;

/// Where a tap's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The plane itself.
    Current,
    /// A motion-compensated reference.
    Reference(usize),
    /// Residuals of a plane coded before this one.
    Aside(usize),
}

/// One value of the prediction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    pub(crate) source: Source,
    pub(crate) dx: isize,
    pub(crate) dy: isize,
}

const CAUSAL: [(isize, isize); 10] = [
    (-1, 0),
    (-2, 0),
    (0, -1),
    (-1, -1),
    (1, -1),
    (0, -2),
    (2, -1),
    (-2, -1),
    (-1, -2),
    (1, -2),
];
const AROUND: [(isize, isize); 9] = [
    (0, 0),
    (1, 0),
    (-1, 0),
    (0, 1),
    (0, -1),
    (1, 1),
    (-1, 1),
    (1, -1),
    (-1, -1),
];

/// The taps of plane `p` with `references` references, and perhaps a lossy picture: the first two are
/// those to the left of the sample, which only exist one by one; the last of the samples (the base)
/// gets what is missing to a sum of 1.
#[derive(Debug, Clone)]
pub(crate) struct Taps {
    pub(crate) list: Vec<Tap>,
    /// How many of the taps are samples and not residuals; the last of these is the base.
    pub(crate) samples: usize,
}

impl Taps {
    pub(crate) fn new(p: usize, references: usize, lossy: bool) -> Self {
        // The lossy picture comes after the references: alone it is as one, beside them only its
        // sample at the place says something new.
        let (references, lossy) = match references {
            0 => (usize::from(lossy), false),
            n => (n, lossy),
        };
        let causal = match (p, references) {
            (0, 0) => 10,
            (0, _) => 8,
            _ => 6,
        };
        let around = match (p, references) {
            (0, 1) => 9,
            (0, _) => 5,
            _ => 5,
        };
        let mut list = Vec::new();
        let mut add = |source, at: &[(isize, isize)]| {
            list.extend(at.iter().map(|&(dx, dy)| Tap { source, dx, dy }));
        };
        add(Source::Current, &CAUSAL[..2]);
        if references == 0 {
            // The sample above comes last: it is the base.
            add(Source::Current, &CAUSAL[3..causal]);
            add(Source::Current, &CAUSAL[2..3]);
        } else {
            add(Source::Current, &CAUSAL[2..causal]);
            if lossy {
                add(Source::Reference(references), &AROUND[..1]);
            }
            for r in (0..references).rev() {
                add(Source::Reference(r), &AROUND[1..around]);
                add(Source::Reference(r), &AROUND[..1]);
            }
        }
        let samples = list.len();
        for a in 0..p {
            list.push(Tap {
                source: Source::Aside(a),
                dx: 0,
                dy: 0,
            });
        }
        Self { list, samples }
    }

    /// Weights that are sent: all but the base's.
    pub(crate) fn sent(&self) -> usize {
        self.list.len() - 1
    }

    /// All weights from those that are sent.
    pub(crate) fn weights(&self, sent: &[i32]) -> [i16; MAX_TAPS] {
        let mut out = [0i16; MAX_TAPS];
        let mut sum = 0;
        let base = self.samples - 1;
        for (i, &w) in sent.iter().enumerate().take(MAX_TAPS - 1) {
            let w = w.clamp(-MAX_WEIGHT, MAX_WEIGHT);
            out[if i < base { i } else { i + 1 }] = w as i16;
            if i < base {
                sum += w;
            }
        }
        // At most 31 weights of 1024: fits.
        out[base] = (ONE - sum) as i16;
        out
    }
}

/// The sheets that taps read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) references: &'a [Sheet],
    pub(crate) asides: &'a [Sheet],
}

impl<'a> Sources<'a> {
    /// The row that a tap reads for row `y`, so that entry `x` belongs to sample `x`.
    pub(crate) fn row(&self, current: &'a Sheet, tap: &Tap, y: usize) -> &'a [i16] {
        let sheet = match tap.source {
            Source::Current => current,
            Source::Reference(r) => &self.references[r],
            Source::Aside(a) => &self.asides[a],
        };
        &sheet.row(y as isize + tap.dy)[LEFT.saturating_add_signed(tap.dx)..]
    }
}
