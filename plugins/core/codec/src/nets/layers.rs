//! The layers of the synthesis as plain numbers, for running it on other devices. What they compute
//! is in `docs/bitstream.md`.

use super::{DecoderNets, dense::Dense, depthwise::Depthwise};

/// A dense layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenseNumbers {
    /// Channels of each part of the input; 0 for one that is not there.
    pub inputs: [usize; 2],
    /// Outputs, of all groups.
    pub outputs: usize,
    /// `[outputs][inputs of both parts]`.
    pub weights: Vec<i16>,
    /// `[outputs]`, or `[LEVELS][outputs]`.
    pub bias: Vec<i32>,
    /// Bits that sums are shifted by, 1 to 15.
    pub shift: u32,
    /// The least output: 0 or -2047.
    pub low: i16,
}

/// A depthwise layer of 3x3 filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepthwiseNumbers {
    /// `[9][channels]`.
    pub weights: Vec<i16>,
    /// `[channels]`.
    pub bias: Vec<i32>,
    /// Bits that sums are shifted by, 1 to 15.
    pub shift: u32,
}

/// A residual block: `gs.n.dw`, `gs.n.up`, `gs.n.down`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockNumbers {
    /// The filter.
    pub depthwise: DepthwiseNumbers,
    /// To more channels.
    pub up: DenseNumbers,
    /// And back.
    pub down: DenseNumbers,
}

/// All layers of the synthesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthesisNumbers {
    /// `[LEVELS][latents]`, in 1/16.
    pub steps: Vec<i32>,
    /// `gs.lin`: its four groups of outputs become 2x2 positions.
    pub direct: DenseNumbers,
    /// `gs.in`.
    pub input: DenseNumbers,
    /// The blocks.
    pub blocks: Vec<BlockNumbers>,
    /// `gs.out`.
    pub out: DenseNumbers,
}

impl Dense {
    fn numbers(&self) -> DenseNumbers {
        let wide: usize = self.inputs.iter().sum();
        let padded = self.panels() * super::dense::PANEL;
        // Each group's biases are followed by zeros up to whole panels.
        let bias = self.bias.chunks_exact(padded);
        DenseNumbers {
            inputs: self.inputs,
            outputs: self.weights.len() / wide,
            weights: self.weights.clone(),
            bias: bias
                .flat_map(|group| &group[..self.outputs])
                .copied()
                .collect(),
            shift: self.shift,
            low: self.low,
        }
    }
}

impl Depthwise {
    fn numbers(&self) -> DepthwiseNumbers {
        DepthwiseNumbers {
            weights: self.weights.clone(),
            bias: self.bias.clone(),
            shift: self.shift,
        }
    }
}

impl DecoderNets {
    /// The layers of [`DecoderNets::synthesise`].
    pub fn synthesis_numbers(&self) -> SynthesisNumbers {
        let blocks = self.trunk.blocks.iter().map(|b| BlockNumbers {
            depthwise: b.depthwise.numbers(),
            up: b.up.numbers(),
            down: b.down.numbers(),
        });
        SynthesisNumbers {
            steps: self.step.clone(),
            direct: self.direct.numbers(),
            input: self.trunk.input.numbers(),
            blocks: blocks.collect(),
            out: self.out.numbers(),
        }
    }
}
