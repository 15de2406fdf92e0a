//! What decoding computes: scales and means from hyper-latents, samples from latents.

use std::ops::Range;

use super::{
    HYPER, Kernels, Kind, Level, PIXELS,
    dense::{Dense, Run},
    depthwise::Depthwise,
    layout::{self, Rows},
    load::{Loader, Shape},
    trunk::{Ends, Trunk, TrunkRows},
};
use crate::{CodecError, Picture, Result, parallel};

/// The decoder's networks for a kind of picture.
#[derive(Debug, Clone)]
pub struct DecoderNets {
    pub(super) kind: Kind,
    latents: usize,
    up1: Dense,
    dw1: Depthwise,
    d1: Dense,
    up2: Dense,
    dw2: Depthwise,
    d2: Dense,
    scale: Dense,
    mean: Dense,
    /// `[LEVELS][latents]`, as the two below.
    shift: Vec<i16>,
    inverse: Vec<i32>,
    step: Vec<i32>,
    hyper_indices: Vec<[u8; HYPER]>,
    /// Latents to what is added to the last layer's output.
    direct: Dense,
    trunk: Trunk,
    out: Dense,
}

/// Buffers of [`DecoderNets::hyper`].
#[derive(Debug, Default)]
pub struct HyperWorkspace {
    input: Vec<i16>,
    half: Rows,
    full: Rows,
    filtered: Vec<i16>,
    hidden: Vec<i16>,
    wide: Vec<i16>,
}

/// Buffers of [`DecoderNets::synthesise`].
#[derive(Debug, Default)]
pub struct SynthesisWorkspace {
    bands: Vec<Band>,
}

/// Buffers of a band of rows.
#[derive(Debug, Default)]
struct Band {
    trunk: TrunkRows,
    direct: Rows,
    prediction: Rows,
    latents: Vec<i16>,
    out: Vec<i16>,
}

/// Checks that a buffer has as many values as it should.
pub(super) fn check_len(what: &'static str, found: usize, needed: usize) -> Result<()> {
    if found == needed {
        return Ok(());
    }
    Err(CodecError::Setting {
        what,
        value: found as i64,
        range: "one value for each latent",
    })
}

/// The level's part of a table of `n` values each.
fn of_level<T>(table: &[T], level: Level, n: usize) -> &[T] {
    &table[level.index() * n..(level.index() + 1) * n]
}

/// A dense layer whose outputs become 2x2 positions: row `r` of `x` gives rows `2 r`, `2 r + 1`.
fn shuffled(k: &Kernels, layer: &Dense, x: &[i16], positions: usize, r: usize, to: &mut Rows) {
    let channels = layer.outputs;
    for group in 0..4 {
        let run = Run {
            group,
            level: 0,
            positions,
            stride: 2 * channels,
        };
        let out = &mut to.row_mut(2 * r + group / 2)[group % 2 * channels..];
        (k.dense)(layer, run, [x, &[]], out);
    }
}

impl DecoderNets {
    pub(super) fn load(loader: Loader, kind: Kind) -> Result<Self> {
        let latents = loader.dim("hs.scale", 0)?;
        let hidden = loader.dim("hs.d1", 0)?;
        let trunk = loader.trunk("gs", kind == Kind::Inter)?;
        let features = trunk.input.outputs;
        let dense = |name, shape| loader.dense(name, shape);
        Ok(Self {
            kind,
            latents,
            up1: dense("hs.up1", Shape::relu(HYPER, 4 * hidden).shuffled())?,
            dw1: loader.depthwise("hs.dw1", hidden)?,
            d1: dense("hs.d1", Shape::relu(hidden, hidden))?,
            up2: dense("hs.up2", Shape::relu(hidden, 4 * hidden).shuffled())?,
            dw2: loader.depthwise("hs.dw2", hidden)?,
            d2: dense("hs.d2", Shape::relu(hidden, hidden))?,
            scale: dense("hs.scale", Shape::new(hidden, latents))?,
            mean: dense("hs.mean", Shape::new(hidden, latents))?,
            shift: loader.shifts(latents)?,
            // With these limits no product leaves 32 bits.
            inverse: loader.numbers("inv", latents, (0, 1 << 19))?,
            step: loader.numbers("step", latents, (1, (1 << 16) - 1))?,
            hyper_indices: loader.hyper_indices()?,
            direct: dense("gs.lin", Shape::new(latents, 4 * PIXELS).shuffled())?,
            out: dense("gs.out", Shape::new(features, PIXELS))?,
            trunk,
        })
    }

    /// Channels of latents.
    pub fn latents(&self) -> usize {
        self.latents
    }

    /// Steps of each latent channel at a level, in 1/16.
    pub fn steps(&self, level: Level) -> &[i32] {
        of_level(&self.step, level, self.latents)
    }

    /// Indices of the scales that the hyper-latents' channels are coded with at a level, 0 to 47.
    pub fn hyper_indices(&self, level: Level) -> &[u8; HYPER] {
        static NONE: [u8; HYPER] = [0; HYPER];
        self.hyper_indices.get(level.index()).unwrap_or(&NONE)
    }

    /// Scales and means of the latents of a slice of `rows` x `columns` latents.
    ///
    /// `z` are the hyper-latents, `[ceil(rows / 4)][ceil(columns / 4)][32]`. `index` takes the
    /// indices of scales (0 to 47) and `mean8` the means in eighths of a step (-16383 to 16383),
    /// both `[rows][columns][latents]`.
    ///
    /// # Errors
    /// [`CodecError::Setting`] if a slice's length is another.
    #[expect(clippy::too_many_arguments, reason = "three of them are buffers")]
    pub fn hyper(
        &self,
        kernels: &Kernels,
        level: Level,
        [rows, columns]: [usize; 2],
        z: &[i8],
        workspace: &mut HyperWorkspace,
        index: &mut [u8],
        mean8: &mut [i16],
    ) -> Result<()> {
        let [z_rows, z_columns] = [rows, columns].map(|n| n.div_ceil(4));
        check_len("length of z", z.len(), z_rows * z_columns * HYPER)?;
        check_len(
            "length of indices",
            index.len(),
            rows * columns * self.latents,
        )?;
        check_len("length of means", mean8.len(), index.len())?;
        if index.is_empty() {
            return Ok(());
        }
        let hidden = self.d1.outputs;
        let w = workspace;
        w.input.resize(z_columns * HYPER, 0);
        w.half.resize(2 * z_rows, 2 * z_columns, hidden);
        w.full.resize(4 * z_rows, 4 * z_columns, hidden);
        w.filtered.resize(4 * z_columns * hidden, 0);
        w.hidden.resize(4 * z_columns * hidden, 0);
        w.wide.resize(columns * self.latents, 0);

        for (r, z) in z.chunks_exact(z_columns * HYPER).enumerate() {
            for (x, &z) in w.input.iter_mut().zip(z) {
                *x = layout::clip(i32::from(z) * 64);
            }
            shuffled(kernels, &self.up1, &w.input, z_columns, r, &mut w.half);
        }
        for r in 0..2 * z_rows {
            let n = 2 * z_columns * hidden;
            let (filtered, out) = (&mut w.filtered[..n], &mut w.hidden[..n]);
            (kernels.depthwise)(&self.dw1, w.half.around(r, 2 * z_rows), filtered);
            dense(kernels, &self.d1, 2 * z_columns, filtered, out);
            shuffled(kernels, &self.up2, out, 2 * z_columns, r, &mut w.full);
        }
        // Beyond the slice's columns are zeros, not what the last hyper-latent gave.
        for r in 0..rows {
            w.full.row_mut(r)[columns * hidden..].fill(0);
        }
        let row = columns * self.latents;
        let outputs = index.chunks_exact_mut(row).zip(mean8.chunks_exact_mut(row));
        for (r, (index, mean8)) in outputs.enumerate() {
            let n = columns * hidden;
            let (filtered, out) = (&mut w.filtered[..n], &mut w.hidden[..n]);
            (kernels.depthwise)(&self.dw2, w.full.around(r, rows), filtered);
            dense(kernels, &self.d2, columns, filtered, out);
            dense(kernels, &self.scale, columns, out, &mut w.wide);
            (kernels.indices)(index, &w.wide, of_level(&self.shift, level, self.latents));
            dense(kernels, &self.mean, columns, out, &mut w.wide);
            (kernels.means)(mean8, &w.wide, of_level(&self.inverse, level, self.latents));
        }
        Ok(())
    }

    /// The picture that quantised latents stand for.
    ///
    /// `q` is `[ceil(height / 16)][ceil(width / 16)][latents]`; `prediction` has the format of
    /// `picture`, and is there for networks of inter pictures only. The result does not depend on
    /// `threads`.
    ///
    /// # Errors
    /// [`CodecError::Format`] if a picture is not 8-bit 4:2:0 or the prediction is of another
    /// size; [`CodecError::Setting`] if `q` has another length; [`CodecError::NoNetworks`] if
    /// there is no prediction for inter pictures, or one for intra pictures.
    #[expect(clippy::too_many_arguments, reason = "inputs, outputs, buffers")]
    pub fn synthesise(
        &self,
        kernels: &Kernels,
        level: Level,
        q: &[i16],
        prediction: Option<&Picture>,
        picture: &mut Picture,
        threads: usize,
        workspace: &mut SynthesisWorkspace,
    ) -> Result<()> {
        let (rows, columns) = layout::latent_size(picture)?;
        check_len("length of q", q.len(), rows * columns * self.latents)?;
        check_prediction(self.kind, prediction, picture)?;
        let widths = layout::widths(picture);
        // Bands of one row would compute most of their neighbours' rows again.
        let count = threads.clamp(1, rows.div_ceil(2));
        workspace.bands.resize_with(count, Band::default);
        let mut planes = picture.planes.iter_mut();
        let mut rest: [&mut [u16]; 3] =
            std::array::from_fn(|_| planes.next().map_or(&mut [][..], |p| &mut p.samples));
        let mut jobs = Vec::with_capacity(count);
        for (i, band) in workspace.bands.iter_mut().enumerate() {
            let range = i * rows / count..(i + 1) * rows / count;
            let height = 16 * range.len();
            let own = std::array::from_fn(|p| {
                let plane = std::mem::take(&mut rest[p]);
                let height = if p == 0 { height } else { height / 2 };
                let (own, others) = plane.split_at_mut((height * widths[p]).min(plane.len()));
                rest[p] = others;
                own
            });
            jobs.push(Synthesis {
                nets: self,
                kernels,
                level,
                q,
                prediction,
                columns,
                widths,
                planes: own,
                range,
                band,
            });
        }
        parallel::each(&mut jobs, threads, |job| job.run(rows));
        Ok(())
    }
}

/// Checks that there is a prediction of the right format for inter pictures, and none else.
pub(super) fn check_prediction(
    kind: Kind,
    prediction: Option<&Picture>,
    picture: &Picture,
) -> Result<()> {
    let Some(prediction) = prediction else {
        return match kind {
            Kind::Intra => Ok(()),
            Kind::Inter => Err(CodecError::NoNetworks("inter pictures without prediction")),
        };
    };
    if kind == Kind::Intra {
        return Err(CodecError::NoNetworks("intra pictures with prediction"));
    }
    layout::latent_size(prediction)?;
    if prediction.format == picture.format {
        return Ok(());
    }
    Err(CodecError::Format {
        found: prediction.format.to_string(),
        expected: picture.format.to_string(),
    })
}

/// A dense layer with one input and one group of outputs.
pub(super) fn dense(k: &Kernels, layer: &Dense, positions: usize, x: &[i16], out: &mut [i16]) {
    let run = Run {
        group: 0,
        level: 0,
        positions,
        stride: layer.outputs,
    };
    (k.dense)(layer, run, [x, &[]], out);
}

/// Synthesis of a band of rows.
struct Synthesis<'a> {
    nets: &'a DecoderNets,
    kernels: &'a Kernels,
    level: Level,
    q: &'a [i16],
    prediction: Option<&'a Picture>,
    /// Latents a row.
    columns: usize,
    /// Rows of latents.
    range: Range<usize>,
    /// Samples of these rows.
    planes: [&'a mut [u16]; 3],
    widths: [usize; 3],
    band: &'a mut Band,
}

impl Synthesis<'_> {
    /// Computes the band of a picture of `rows` rows of latents.
    fn run(&mut self, rows: usize) {
        let columns = 2 * self.columns;
        // Rows come in pairs, and one is used until it has passed all blocks.
        let depth = self.nets.trunk.reach() + 2;
        let band = &mut *self.band;
        band.direct.resize(depth, columns, PIXELS);
        if self.prediction.is_some() {
            band.prediction.resize(depth, columns, PIXELS);
        }
        band.latents.resize(self.columns * self.nets.latents, 0);
        band.out.resize(columns * PIXELS, 0);
        let mut buffers = std::mem::take(&mut band.trunk);
        let range = 2 * self.range.start..2 * self.range.end;
        let size = [2 * rows, columns];
        let nets = self.nets;
        nets.trunk
            .run(self.kernels, &mut buffers, range, size, self);
        self.band.trunk = buffers;
    }
}

impl Ends for Synthesis<'_> {
    fn input(&mut self, row: usize, features: &mut [i16]) {
        let Self {
            nets,
            kernels,
            band,
            ..
        } = self;
        let first = 2 * self.range.start;
        if row.is_multiple_of(2) || row == first.saturating_sub(nets.trunk.reach()) {
            let n = self.columns * nets.latents;
            let q = &self.q[row / 2 * n..(row / 2 + 1) * n];
            (kernels.dequantise)(&mut band.latents, q, nets.steps(self.level));
            let to = &mut band.direct;
            shuffled(
                kernels,
                &nets.direct,
                &band.latents,
                self.columns,
                row / 2,
                to,
            );
        }
        let mut x = [band.direct.row(row), &[]];
        if let Some(picture) = self.prediction {
            let (planes, to) = (layout::planes(picture), band.prediction.row_mut(row));
            (kernels.load)(planes, self.widths, row, to);
            x[1] = to;
        }
        let run = Run {
            group: 0,
            level: self.level.index(),
            positions: 2 * self.columns,
            stride: nets.trunk.input.outputs,
        };
        (kernels.dense)(&nets.trunk.input, run, x, features);
    }

    fn output(&mut self, row: usize, features: &Rows) {
        let (band, kernels) = (&mut *self.band, self.kernels);
        let out = &mut band.out;
        dense(
            kernels,
            &self.nets.out,
            2 * self.columns,
            features.row(row),
            out,
        );
        let prediction = match self.prediction {
            Some(_) => band.prediction.row(row),
            None => &[],
        };
        (kernels.samples)(out, band.direct.row(row), prediction);
        let top = row - 2 * self.range.start;
        let [y, u, v] = &mut self.planes;
        let [wy, wu, wv] = self.widths;
        // A row of positions may lie beyond the picture.
        let planes = [
            y.get_mut(top * 8 * wy..).unwrap_or(&mut []),
            u.get_mut(top * 4 * wu..).unwrap_or(&mut []),
            v.get_mut(top * 4 * wv..).unwrap_or(&mut []),
        ];
        (kernels.store)(out, planes, self.widths);
    }
}
