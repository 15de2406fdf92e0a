//! The residual blocks at 1/8 of the picture's size, which both directions have. Rows go through
//! all blocks one after the other, so that what one block needs of the last is still in the cache.

use super::{
    Kernels,
    dense::{Dense, Run},
    depthwise::Depthwise,
    layout::Rows,
};

/// `f = clip(f + down(up(depthwise(f))))`.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) depthwise: Depthwise,
    pub(super) up: Dense,
    pub(super) down: Dense,
}

/// Features of what comes in, and the blocks that follow.
#[derive(Debug, Clone)]
pub(super) struct Trunk {
    pub(super) input: Dense,
    pub(super) blocks: Vec<Block>,
}

/// Where the rows of a trunk come from, and where they go.
pub(super) trait Ends {
    /// Computes the features of row `row`, `[columns][channels]`. Rows come in order.
    fn input(&mut self, row: usize, features: &mut [i16]);
    /// Takes row `row` of the last block from `features`, where the one before is still to be
    /// found.
    fn output(&mut self, row: usize, features: &Rows);
}

/// Buffers of a trunk.
#[derive(Debug, Default)]
pub(super) struct TrunkRows {
    /// Features before the first block and after each.
    stages: Vec<Rows>,
    filtered: Vec<i16>,
    expanded: Vec<i16>,
}

impl TrunkRows {
    fn resize(&mut self, trunk: &Trunk, columns: usize) {
        let channels = trunk.input.outputs;
        self.stages
            .resize_with(trunk.blocks.len() + 1, Rows::default);
        for stage in &mut self.stages {
            stage.resize(3, columns, channels);
        }
        let widest = trunk.blocks.iter().map(|b| b.up.outputs).max();
        self.filtered.resize(columns * channels, 0);
        self.expanded.resize(columns * widest.unwrap_or(0), 0);
    }
}

impl Trunk {
    /// Rows that come in before the first one goes out.
    pub(super) fn reach(&self) -> usize {
        self.blocks.len()
    }

    /// Computes a picture of `rows` rows; what lies around it is zero for each block.
    pub(super) fn run(
        &self,
        kernels: &Kernels,
        buffers: &mut TrunkRows,
        [rows, columns]: [usize; 2],
        ends: &mut impl Ends,
    ) {
        buffers.resize(self, columns);
        let reach = self.reach();
        // Row `step` comes in, and row `step - n` of block `n` can be computed after it.
        for step in 0..rows + reach {
            if let (true, Some(first)) = (step < rows, buffers.stages.first_mut()) {
                ends.input(step, first.row_mut(step));
            }
            for (n, block) in self.blocks.iter().enumerate() {
                let Some(row) = step.checked_sub(n + 1).filter(|&r| r < rows) else {
                    continue;
                };
                let TrunkRows {
                    stages,
                    filtered,
                    expanded,
                } = &mut *buffers;
                let (before, after) = stages.split_at_mut(n + 1);
                if let (Some(from), Some(to)) = (before.last(), after.first_mut()) {
                    block.row(kernels, from, to, row, [rows, columns], filtered, expanded);
                }
            }
            if let (Some(row), Some(last)) = (step.checked_sub(reach), buffers.stages.last()) {
                ends.output(row, last);
            }
        }
    }
}

impl Block {
    #[expect(clippy::too_many_arguments, reason = "two of them are scratch space")]
    fn row(
        &self,
        kernels: &Kernels,
        from: &Rows,
        to: &mut Rows,
        row: usize,
        [rows, columns]: [usize; 2],
        filtered: &mut [i16],
        expanded: &mut [i16],
    ) {
        (kernels.depthwise)(&self.depthwise, from.around(row, rows), filtered);
        let run = Run {
            group: 0,
            level: 0,
            positions: columns,
            stride: self.up.outputs,
        };
        (kernels.dense)(&self.up, run, [filtered, &[]], expanded);
        let run = Run {
            stride: self.down.outputs,
            ..run
        };
        (kernels.dense)(&self.down, run, [expanded, &[]], filtered);
        (kernels.add)(to.row_mut(row), from.row(row), filtered);
    }
}
