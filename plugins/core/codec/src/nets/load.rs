//! Layers from the tensors of a section.

use super::{
    HYPER, LEVELS, PIXELS,
    dense::{Dense, Parts},
    depthwise::{Depthwise, TAPS},
    file::{Section, wrong},
    trunk::{Block, Trunk},
};
use crate::Result;

/// Channels that a layer can have.
const MAX_CHANNELS: usize = 1024;
const MAX_BLOCKS: usize = 16;

/// Reads the layers whose names begin with the name of a kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loader<'a> {
    pub(super) section: &'a Section<'a>,
    pub(super) kind: &'static str,
}

/// How a dense layer is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Channels of both parts of its input.
    pub(super) inputs: [usize; 2],
    pub(super) outputs: usize,
    /// Groups of outputs: 4 where they become 2x2 positions.
    pub(super) groups: usize,
    /// Whether each level has its own biases.
    pub(super) levels: bool,
    pub(super) relu: bool,
}

impl Shape {
    /// A layer with one input, one group of signed outputs, one set of biases.
    pub(super) fn new(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs: [inputs, 0],
            outputs,
            groups: 1,
            levels: false,
            relu: false,
        }
    }

    /// As [`Self::new`], outputs at least 0.
    pub(super) fn relu(inputs: usize, outputs: usize) -> Self {
        Self {
            relu: true,
            ..Self::new(inputs, outputs)
        }
    }

    /// With outputs that become 2x2 positions.
    pub(super) fn shuffled(self) -> Self {
        Self { groups: 4, ..self }
    }

    /// With inputs that are 2x2 positions of this many channels: two rows of two.
    pub(super) fn grouped(self) -> Self {
        let [channels, _] = self.inputs;
        Self {
            inputs: [2 * channels; 2],
            ..self
        }
    }

    /// With biases of each level.
    pub(super) fn levels(self) -> Self {
        Self {
            levels: true,
            ..self
        }
    }
}

impl Loader<'_> {
    fn name(&self, layer: &str) -> String {
        format!("{}.{layer}", self.kind)
    }

    /// Whether the section has a layer.
    pub(super) fn has(&self, layer: &str) -> bool {
        self.section.has(&format!("{}.{layer}.w", self.kind))
    }

    /// Dimension `i` of a layer's weights.
    pub(super) fn dim(&self, layer: &str, i: usize) -> Result<usize> {
        let name = format!("{}.{layer}.w", self.kind);
        self.section.dim(&name, i, MAX_CHANNELS)
    }

    /// A dense layer.
    pub(super) fn dense(&self, layer: &str, shape: Shape) -> Result<Dense> {
        let name = self.name(layer);
        let (inputs, outputs) = (shape.inputs[0] + shape.inputs[1], shape.outputs);
        let bias: &[usize] = if shape.levels {
            &[LEVELS, outputs]
        } else {
            &[outputs]
        };
        Dense::new(Parts {
            name: &name,
            inputs: shape.inputs,
            outputs,
            groups: shape.groups,
            weights: self
                .section
                .values(&format!("{name}.w"), &[outputs, inputs])?,
            bias: self.section.values(&format!("{name}.b"), bias)?,
            shift: self.section.scalar(&format!("{name}.s"))?,
            relu: shape.relu,
        })
    }

    /// A depthwise layer.
    pub(super) fn depthwise(&self, layer: &str, channels: usize) -> Result<Depthwise> {
        let name = self.name(layer);
        Depthwise::new(
            &name,
            self.section
                .values(&format!("{name}.w"), &[TAPS, channels])?,
            self.section.values(&format!("{name}.b"), &[channels])?,
            self.section.scalar(&format!("{name}.s"))?,
        )
    }

    /// The layers `PATH.in` and `PATH.0.dw` and so on.
    pub(super) fn trunk(&self, path: &str, inter: bool) -> Result<Trunk> {
        let features = self.dim(&format!("{path}.in"), 0)?;
        let mut shape = Shape::new(PIXELS, features).levels();
        if inter {
            shape.inputs = [PIXELS; 2];
        }
        let input = self.dense(&format!("{path}.in"), shape)?;
        let mut blocks = Vec::new();
        while self.has(&format!("{path}.{}.dw", blocks.len())) {
            let block = format!("{path}.{}", blocks.len());
            if blocks.len() == MAX_BLOCKS {
                return Err(wrong(&self.name(&block), "too many blocks"));
            }
            let wide = self.dim(&format!("{block}.up"), 0)?;
            blocks.push(Block {
                depthwise: self.depthwise(&format!("{block}.dw"), features)?,
                up: self.dense(&format!("{block}.up"), Shape::relu(features, wide))?,
                down: self.dense(&format!("{block}.down"), Shape::new(wide, features))?,
            });
        }
        Ok(Trunk { input, blocks })
    }

    /// A table of 32-bit numbers of each level and latent, which have to be `least` to `most`.
    pub(super) fn numbers(
        &self,
        name: &str,
        latents: usize,
        (least, most): (i32, i32),
    ) -> Result<Vec<i32>> {
        let name = self.name(name);
        let values: Vec<i32> = self.section.values(&name, &[LEVELS, latents])?;
        match values.iter().find(|v| !(least..=most).contains(v)) {
            Some(v) => Err(wrong(&name, format!("{v} is not in {least} to {most}"))),
            None => Ok(values),
        }
    }

    /// The table of shifts of each level and latent.
    pub(super) fn shifts(&self, latents: usize) -> Result<Vec<i16>> {
        let name = self.name("shift");
        self.section.values(&name, &[LEVELS, latents])
    }

    /// The indices of scales of the hyper-latents of each level.
    pub(super) fn hyper_indices(&self) -> Result<Vec<[u8; HYPER]>> {
        let name = self.name("z");
        let values: Vec<u8> = self.section.values(&name, &[LEVELS, HYPER])?;
        if let Some(v) = values.iter().find(|&&v| v > 47) {
            return Err(wrong(&name, format!("{v} is no index of a scale")));
        }
        Ok(values.as_chunks().0.to_vec())
    }
}
