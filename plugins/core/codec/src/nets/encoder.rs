//! What only encoding computes: latents from samples, hyper-latents from latents. None of it is
//! normative.

use super::{
    HYPER, Kernels, Kind, Level, PIXELS,
    decoder::{check_len, check_prediction},
    dense::{Dense, Run},
    depthwise::Depthwise,
    hyper::dense,
    layout::{self, Rows},
    load::{Loader, Shape},
    trunk::{Ends, Trunk, TrunkRows},
};
use crate::{Picture, Result};

/// Fraction bits of latents before quantisation.
const FRACTION: u32 = 6;

/// The encoder's networks for a kind of picture.
#[derive(Debug, Clone)]
pub struct EncoderNets {
    pub(super) kind: Kind,
    latents: usize,
    /// Differences to latents.
    direct: Dense,
    trunk: Trunk,
    out: Dense,
    d0: Dense,
    dw1: Depthwise,
    d1: Dense,
    down1: Dense,
    down2: Dense,
}

/// Buffers of [`EncoderNets::analyse`].
#[derive(Debug, Default)]
pub struct AnalysisWorkspace {
    trunk: TrunkRows,
    source: Vec<i16>,
    prediction: Vec<i16>,
    difference: Rows,
    direct: Vec<i32>,
}

/// Buffers of [`EncoderNets::hyper_analyse`].
#[derive(Debug, Default)]
pub struct HyperAnalysisWorkspace {
    latents: Vec<i16>,
    hidden: Rows,
    filtered: Vec<i16>,
    full: Rows,
    half: Rows,
    out: Vec<i16>,
}

impl EncoderNets {
    pub(super) fn load(loader: Loader, kind: Kind, latents: usize) -> Result<Self> {
        let hidden = loader.dim("ha.d1", 0)?;
        let trunk = loader.trunk("ga", kind == Kind::Inter)?;
        let features = trunk.input.outputs;
        let dense = |name, shape| loader.dense(name, shape);
        let down = |outputs| Shape::new(hidden, outputs).grouped();
        let relu = |shape| Shape {
            relu: true,
            ..shape
        };
        Ok(Self {
            kind,
            latents,
            direct: dense("ga.lin", Shape::new(PIXELS, latents).grouped())?,
            out: dense("ga.out", Shape::new(features, latents).grouped())?,
            trunk,
            d0: dense("ha.d0", Shape::relu(latents, hidden))?,
            dw1: loader.depthwise("ha.dw1", hidden)?,
            d1: dense("ha.d1", Shape::relu(hidden, hidden))?,
            down1: dense("ha.down1", relu(down(hidden)))?,
            down2: dense("ha.down2", down(HYPER).levels())?,
        })
    }

    /// Channels of latents.
    pub fn latents(&self) -> usize {
        self.latents
    }

    /// The latents of a picture in 1/64 units, `y`:
    /// `[ceil(height / 16)][ceil(width / 16)][latents]`.
    ///
    /// # Errors
    /// As those of [`super::DecoderNets::synthesise`].
    pub fn analyse(
        &self,
        kernels: &Kernels,
        level: Level,
        picture: &Picture,
        prediction: Option<&Picture>,
        y: &mut [i32],
        workspace: &mut AnalysisWorkspace,
    ) -> Result<()> {
        let (rows, columns) = layout::latent_size(picture)?;
        check_len("length of y", y.len(), rows * columns * self.latents)?;
        check_prediction(self.kind, prediction, picture)?;
        let mut buffers = std::mem::take(&mut workspace.trunk);
        let mut analysis = Analysis {
            nets: self,
            kernels,
            level,
            picture,
            prediction,
            columns,
            y,
            buffers: workspace,
        };
        analysis.run(rows, &mut buffers);
        workspace.trunk = buffers;
        Ok(())
    }

    /// Hyper-latents of a slice of `rows` x `columns` latents.
    ///
    /// `y`, `[rows][columns][latents]` in 1/64 units, as [`Self::analyse`] gives it; `z` takes
    /// `[ceil(rows / 4)][ceil(columns / 4)][32]` values of -127 to 127.
    ///
    /// # Errors
    /// [`crate::CodecError::Setting`] if a slice's length is another.
    pub fn hyper_analyse(
        &self,
        kernels: &Kernels,
        level: Level,
        [rows, columns]: [usize; 2],
        y: &[i32],
        z: &mut [i8],
        workspace: &mut HyperAnalysisWorkspace,
    ) -> Result<()> {
        let [z_rows, z_columns] = [rows, columns].map(|n| n.div_ceil(4));
        check_len("length of y", y.len(), rows * columns * self.latents)?;
        check_len("length of z", z.len(), z_rows * z_columns * HYPER)?;
        if y.is_empty() {
            return Ok(());
        }
        let [half_rows, half_columns] = [rows, columns].map(|n| n.div_ceil(2));
        let hidden = self.d1.outputs;
        let w = workspace;
        w.latents.resize(columns * self.latents, 0);
        w.filtered.resize(columns * hidden, 0);
        w.hidden.resize(rows, columns, hidden);
        w.full.resize(rows, columns, hidden);
        w.half.resize(half_rows, half_columns, hidden);
        w.out.resize(z_columns * HYPER, 0);

        for (r, y) in y.chunks_exact(columns * self.latents).enumerate() {
            for (x, &y) in w.latents.iter_mut().zip(y) {
                *x = layout::clip(y.saturating_add(1 << (FRACTION - 1)) >> FRACTION);
            }
            dense(kernels, &self.d0, columns, &w.latents, w.hidden.row_mut(r));
        }
        for r in 0..rows {
            (kernels.depthwise)(&self.dw1, w.hidden.around(r, rows), &mut w.filtered);
            dense(kernels, &self.d1, columns, &w.filtered, w.full.row_mut(r));
        }
        let run = Run {
            group: 0,
            level: level.index(),
            positions: half_columns,
            stride: hidden,
        };
        for r in 0..half_rows {
            let x = w.full.grouped(r, rows);
            (kernels.dense)(&self.down1, run, x, w.half.row_mut(r));
        }
        let run = Run {
            positions: z_columns,
            stride: HYPER,
            ..run
        };
        for (r, z) in z.chunks_exact_mut(z_columns * HYPER).enumerate() {
            let x = w.half.grouped(r, half_rows);
            (kernels.dense)(&self.down2, run, x, &mut w.out);
            for (z, &v) in z.iter_mut().zip(&w.out) {
                *z = ((v + (1 << (FRACTION - 1))) >> FRACTION) as i8;
            }
        }
        Ok(())
    }
}

/// Analysis of a picture.
struct Analysis<'a> {
    nets: &'a EncoderNets,
    kernels: &'a Kernels,
    level: Level,
    picture: &'a Picture,
    prediction: Option<&'a Picture>,
    /// Latents a row.
    columns: usize,
    y: &'a mut [i32],
    buffers: &'a mut AnalysisWorkspace,
}

impl Analysis<'_> {
    /// Computes a picture of `rows` rows of latents.
    fn run(&mut self, rows: usize, trunk: &mut TrunkRows) {
        let (nets, columns) = (self.nets, 2 * self.columns);
        let buffers = &mut *self.buffers;
        // A row is used until the next one has passed all blocks.
        let depth = nets.trunk.reach() + 2;
        buffers.difference.resize(depth, columns, PIXELS);
        buffers.source.resize(columns * PIXELS, 0);
        buffers.prediction.resize(columns * PIXELS, 0);
        buffers.direct.resize(self.columns * nets.latents, 0);
        nets.trunk
            .run(self.kernels, trunk, [2 * rows, columns], self);
    }
}

impl Ends for Analysis<'_> {
    fn input(&mut self, row: usize, features: &mut [i16]) {
        let (buffers, kernels) = (&mut *self.buffers, self.kernels);
        let widths = layout::widths(self.picture);
        (kernels.load)(
            layout::planes(self.picture),
            widths,
            row,
            &mut buffers.source,
        );
        let mut x: [&[i16]; 2] = [&buffers.source, &[]];
        let difference = buffers.difference.row_mut(row);
        if let Some(prediction) = self.prediction {
            (kernels.load)(
                layout::planes(prediction),
                widths,
                row,
                &mut buffers.prediction,
            );
            x[1] = &buffers.prediction;
            (kernels.difference)(difference, x[0], x[1]);
        } else {
            difference.copy_from_slice(x[0]);
        }
        let input = &self.nets.trunk.input;
        let run = Run {
            group: 0,
            level: self.level.index(),
            positions: 2 * self.columns,
            stride: input.outputs,
        };
        (kernels.dense)(input, run, x, features);
    }

    fn output(&mut self, row: usize, features: &Rows) {
        // Latents take two rows.
        if row.is_multiple_of(2) {
            return;
        }
        let (buffers, nets) = (&mut *self.buffers, self.nets);
        let n = self.columns * nets.latents;
        let at = row / 2 * n;
        let y = &mut self.y[at..at + n];
        let run = Run {
            group: 0,
            level: 0,
            positions: self.columns,
            stride: nets.latents,
        };
        let rows = row + 1;
        let x = buffers.difference.grouped(row / 2, rows);
        (self.kernels.dense_sums)(&nets.direct, run, x, &mut buffers.direct);
        (self.kernels.dense_sums)(&nets.out, run, features.grouped(row / 2, rows), y);
        let (a, b) = (nets.direct.shift, nets.out.shift);
        for (y, &direct) in y.iter_mut().zip(&buffers.direct) {
            *y = aligned(direct, a) + aligned(*y, b);
        }
    }
}

/// A sum whose unit is 2^-shift, in units of 2^-[`FRACTION`].
#[inline(always)]
fn aligned(sum: i32, shift: u32) -> i32 {
    // Sums have up to 24 bits, shifts are 1 to 15.
    if shift > FRACTION {
        (sum + (1 << (shift - FRACTION - 1))) >> (shift - FRACTION)
    } else {
        sum << (FRACTION - shift)
    }
}
