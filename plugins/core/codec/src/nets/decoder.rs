//! What decoding computes of latents: samples.

use std::ops::Range;

use super::{
    HYPER, Kernels, Kind, Level, PIXELS,
    dense::{Dense, Run},
    hyper::{HyperNets, dense, of_level, shuffled},
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
    hyper: HyperNets,
    /// `[LEVELS][latents]`.
    step: Vec<i32>,
    hyper_indices: Vec<[u8; HYPER]>,
    /// Latents to what is added to the last layer's output.
    direct: Dense,
    trunk: Trunk,
    out: Dense,
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

impl DecoderNets {
    pub(super) fn load(loader: Loader, kind: Kind) -> Result<Self> {
        let hyper = HyperNets::load(loader)?;
        let latents = hyper.latents();
        let trunk = loader.trunk("gs", kind == Kind::Inter)?;
        let features = trunk.input.outputs;
        let dense = |name, shape| loader.dense(name, shape);
        Ok(Self {
            kind,
            latents,
            hyper,
            // With this limit no product leaves 32 bits.
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

    /// What tells how the latents are spread.
    pub fn hyper(&self) -> &HyperNets {
        &self.hyper
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
