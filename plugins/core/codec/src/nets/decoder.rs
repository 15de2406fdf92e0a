//! What decoding computes of latents: samples.

use super::{
    HYPER, Kernels, Kind, Level, PIXELS,
    dense::{Dense, Run},
    hyper::{HyperNets, dense, of_level, shuffled},
    layout::{self, Rows},
    load::{Loader, Shape},
    trunk::{Ends, Trunk, TrunkRows},
};
use crate::{CodecError, Picture, Result};

/// The decoder's networks for a kind of picture.
#[derive(Debug, Clone)]
pub struct DecoderNets {
    pub(super) kind: Kind,
    hyper: HyperNets,
    /// `[LEVELS][latents]`.
    pub(super) step: Vec<i32>,
    hyper_indices: Vec<[u8; HYPER]>,
    /// Latents to what is added to the last layer's output.
    pub(super) direct: Dense,
    pub(super) trunk: Trunk,
    pub(super) out: Dense,
}

/// Buffers of [`DecoderNets::synthesise`].
#[derive(Debug, Default)]
pub struct SynthesisWorkspace {
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
        self.hyper.latents()
    }

    /// Steps of each latent channel at a level, in 1/16.
    pub fn steps(&self, level: Level) -> &[i32] {
        of_level(&self.step, level, self.latents())
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
    /// `picture`, and is there for networks of inter pictures only.
    ///
    /// # Errors
    /// [`CodecError::Format`] if a picture is not 8-bit 4:2:0 or the prediction is of another
    /// size; [`CodecError::Setting`] if `q` has another length; [`CodecError::NoNetworks`] if
    /// there is no prediction for inter pictures, or one for intra pictures.
    pub fn synthesise(
        &self,
        kernels: &Kernels,
        level: Level,
        q: &[i16],
        prediction: Option<&Picture>,
        picture: &mut Picture,
        workspace: &mut SynthesisWorkspace,
    ) -> Result<()> {
        let input = LatentInput::Quantised(q);
        self.synthesise_from(kernels, level, input, prediction, picture, workspace)
    }

    /// As [`Self::synthesise`], of latents that are whole already: `y`, -2047 to 2047.
    ///
    /// # Errors
    /// As [`Self::synthesise`].
    pub fn synthesise_whole(
        &self,
        kernels: &Kernels,
        level: Level,
        y: &[i16],
        prediction: Option<&Picture>,
        picture: &mut Picture,
        workspace: &mut SynthesisWorkspace,
    ) -> Result<()> {
        let input = LatentInput::Whole(y);
        self.synthesise_from(kernels, level, input, prediction, picture, workspace)
    }

    /// As [`Self::synthesise`], of either.
    pub(crate) fn synthesise_from(
        &self,
        kernels: &Kernels,
        level: Level,
        latents: LatentInput<'_>,
        prediction: Option<&Picture>,
        picture: &mut Picture,
        workspace: &mut SynthesisWorkspace,
    ) -> Result<()> {
        let (rows, columns) = layout::latent_size(picture)?;
        let q = latents.values();
        check_len("length of q", q.len(), rows * columns * self.latents())?;
        check_prediction(self.kind, prediction, picture)?;
        let widths = layout::widths(picture);
        let mut planes = picture.planes.iter_mut();
        let planes = std::array::from_fn(|_| planes.next().map_or(&mut [][..], |p| &mut p.samples));
        let mut buffers = std::mem::take(&mut workspace.trunk);
        let mut synthesis = Synthesis {
            nets: self,
            kernels,
            level,
            latents,
            prediction,
            columns,
            planes,
            widths,
            buffers: workspace,
        };
        synthesis.run(rows, &mut buffers);
        workspace.trunk = buffers;
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

/// What a synthesis begins with: `[rows][columns][latents]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatentInput<'a> {
    /// Multiples of the level's steps.
    Quantised(&'a [i16]),
    /// Latents that are whole already, -2047 to 2047.
    Whole(&'a [i16]),
}

impl<'a> LatentInput<'a> {
    /// The numbers, whatever they mean.
    pub fn values(self) -> &'a [i16] {
        let (Self::Quantised(values) | Self::Whole(values)) = self;
        values
    }
}

/// Synthesis of a picture.
struct Synthesis<'a> {
    nets: &'a DecoderNets,
    kernels: &'a Kernels,
    level: Level,
    latents: LatentInput<'a>,
    prediction: Option<&'a Picture>,
    /// Latents a row.
    columns: usize,
    planes: [&'a mut [u16]; 3],
    widths: [usize; 3],
    buffers: &'a mut SynthesisWorkspace,
}

impl Synthesis<'_> {
    /// Computes a picture of `rows` rows of latents.
    fn run(&mut self, rows: usize, trunk: &mut TrunkRows) {
        let (nets, columns) = (self.nets, 2 * self.columns);
        // Rows come in pairs, and one is used until it has passed all blocks.
        let depth = nets.trunk.reach() + 2;
        let buffers = &mut *self.buffers;
        buffers.direct.resize(depth, columns, PIXELS);
        if self.prediction.is_some() {
            buffers.prediction.resize(depth, columns, PIXELS);
        }
        buffers.latents.resize(self.columns * nets.latents(), 0);
        buffers.out.resize(columns * PIXELS, 0);
        nets.trunk
            .run(self.kernels, trunk, [2 * rows, columns], self);
    }
}

impl Ends for Synthesis<'_> {
    fn input(&mut self, row: usize, features: &mut [i16]) {
        let Self {
            nets,
            kernels,
            buffers,
            ..
        } = self;
        if row.is_multiple_of(2) {
            let n = self.columns * nets.latents();
            let part = row / 2 * n..(row / 2 + 1) * n;
            let x = match self.latents {
                LatentInput::Quantised(q) => {
                    let to = &mut buffers.latents;
                    (kernels.dequantise)(to, &q[part], nets.steps(self.level));
                    &*to
                }
                LatentInput::Whole(y) => &y[part],
            };
            let to = &mut buffers.direct;
            shuffled(kernels, &nets.direct, x, self.columns, row / 2, to);
        }
        let mut x = [buffers.direct.row(row), &[]];
        if let Some(picture) = self.prediction {
            let (planes, to) = (layout::planes(picture), buffers.prediction.row_mut(row));
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
        let (buffers, kernels) = (&mut *self.buffers, self.kernels);
        let out = &mut buffers.out;
        dense(
            kernels,
            &self.nets.out,
            2 * self.columns,
            features.row(row),
            out,
        );
        let prediction = match self.prediction {
            Some(_) => buffers.prediction.row(row),
            None => &[],
        };
        (kernels.samples)(out, buffers.direct.row(row), prediction);
        let [y, u, v] = &mut self.planes;
        let [wy, wu, wv] = self.widths;
        // A row of positions may lie beyond the picture.
        let planes = [
            y.get_mut(row * 8 * wy..).unwrap_or(&mut []),
            u.get_mut(row * 4 * wu..).unwrap_or(&mut []),
            v.get_mut(row * 4 * wv..).unwrap_or(&mut []),
        ];
        (kernels.store)(out, planes, self.widths);
    }
}
