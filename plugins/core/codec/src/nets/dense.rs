//! Dense layers: every position's outputs are sums over all its inputs.

use super::{LEVELS, LIMIT, file::wrong};
use crate::Result;

/// Outputs that a kernel makes at once: the accumulators of a panel are 64 bytes.
pub(super) const PANEL: usize = 16;
/// Sums stay below this, so that 32-bit floating point gives the same ones.
const BOUND: i64 = 1 << 24;
/// The greatest magnitude of a weight.
const MAX_WEIGHT: u16 = 8191;

/// The weights of two inputs for the outputs of a panel: what `pmaddwd` takes.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for SIMD"))]
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Pair(pub(super) [i16; 2 * PANEL]);

/// A dense layer. Its inputs come in one or two parts, each contiguous; its outputs in one or more
/// groups of the same size, which go to different places.
#[derive(Debug, Clone)]
pub(super) struct Dense {
    /// Channels of each part of the input.
    pub(super) inputs: [usize; 2],
    /// Channels of a group.
    pub(super) outputs: usize,
    /// `[groups][outputs][inputs of both parts]`.
    pub(super) weights: Vec<i16>,
    /// `[groups][panels][pairs]`; each part is padded to pairs, each group to panels.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for SIMD"))]
    pub(super) packed: Vec<Pair>,
    /// `[levels][groups][outputs of all panels]`.
    pub(super) bias: Vec<i32>,
    /// Values of `bias` of a level; 0 if all levels have the same.
    level_stride: usize,
    /// Bits that sums are shifted by, 1 to 15.
    pub(super) shift: u32,
    /// The least output: 0, or `-LIMIT`.
    pub(super) low: i16,
}

/// What a layer is built from, and what it is called in errors.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) name: &'a str,
    pub(super) inputs: [usize; 2],
    /// Outputs of all groups.
    pub(super) outputs: usize,
    pub(super) groups: usize,
    /// `[outputs][inputs]`.
    pub(super) weights: Vec<i16>,
    /// `[outputs]`, or `[LEVELS][outputs]`.
    pub(super) bias: Vec<i32>,
    pub(super) shift: u8,
    pub(super) relu: bool,
}

/// Which outputs to compute, and where they go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The group of outputs.
    pub(super) group: usize,
    /// Which biases, for layers that have some for each level.
    pub(super) level: usize,
    /// Positions.
    pub(super) positions: usize,
    /// Values between the outputs of a position and those of the next.
    pub(super) stride: usize,
}

/// Checks what every layer has to fulfil: shift, weights, and that no sum reaches [`BOUND`].
///
/// `weights[o]` are those of an output, `bias` has one or more sets of them.
pub(super) fn check<'a>(
    name: &str,
    weights: impl Iterator<Item = impl Iterator<Item = &'a i16>>,
    bias: &[i32],
    outputs: usize,
    shift: u8,
) -> Result<()> {
    if !(1..=15).contains(&shift) {
        return Err(wrong(name, format!("a shift of {shift}")));
    }
    for (o, weights) in weights.enumerate() {
        let mut sum = 0;
        for w in weights {
            if w.unsigned_abs() > MAX_WEIGHT {
                return Err(wrong(name, format!("a weight of {w}")));
            }
            sum += i64::from(w.unsigned_abs());
        }
        let of_output = bias.iter().skip(o).step_by(outputs);
        let most = of_output.map(|b| i64::from(b.unsigned_abs())).max();
        if sum * i64::from(LIMIT) + most.unwrap_or(0) >= BOUND {
            let reason = format!("the sums of output {o} can leave their range");
            return Err(wrong(name, reason));
        }
    }
    Ok(())
}

impl Dense {
    /// Checks a layer and packs its weights.
    pub(super) fn new(p: Parts) -> Result<Self> {
        let (wide, all) = (p.inputs[0] + p.inputs[1], p.outputs);
        let levels = p.bias.len() / all.max(1);
        let sizes = p.weights.len() == all * wide
            && p.bias.len() == levels * all
            && (levels == 1 || levels == LEVELS);
        if all == 0 || wide == 0 || p.groups == 0 || !all.is_multiple_of(p.groups) || !sizes {
            return Err(wrong(p.name, "sizes that do not fit each other"));
        }
        let rows = p.weights.chunks_exact(wide).map(|w| w.iter());
        check(p.name, rows, &p.bias, all, p.shift)?;
        let outputs = all / p.groups;
        let panels = outputs.div_ceil(PANEL);
        let mut packed = Vec::new();
        for group in p.weights.chunks_exact(outputs * wide) {
            for panel in group.chunks(PANEL * wide) {
                // The first of each pair of inputs, and whether there is a second.
                let pairs = |from: usize, n: usize| {
                    let first = (0..n).step_by(2);
                    first.map(move |i| (from + i, i + 1 < n))
                };
                for (i, both) in pairs(0, p.inputs[0]).chain(pairs(p.inputs[0], p.inputs[1])) {
                    let mut pair = Pair([0; 2 * PANEL]);
                    for (to, row) in pair.0.chunks_exact_mut(2).zip(panel.chunks_exact(wide)) {
                        to[0] = row[i];
                        to[1] = if both { row[i + 1] } else { 0 };
                    }
                    packed.push(pair);
                }
            }
        }
        let mut bias = Vec::new();
        for group in p.bias.chunks_exact(outputs) {
            bias.extend_from_slice(group);
            bias.resize(bias.len() + panels * PANEL - outputs, 0);
        }
        Ok(Self {
            inputs: p.inputs,
            outputs,
            weights: p.weights,
            packed,
            level_stride: if levels == 1 { 0 } else { bias.len() / levels },
            bias,
            shift: p.shift.into(),
            low: if p.relu { 0 } else { -LIMIT },
        })
    }

    /// Panels of a group.
    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Pairs of inputs of a panel.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for SIMD"))]
    pub(super) fn pairs(&self) -> usize {
        self.inputs[0].div_ceil(2) + self.inputs[1].div_ceil(2)
    }

    /// Biases of a group, `PANEL` for each panel.
    pub(super) fn biases(&self, run: Run) -> &[i32] {
        let n = self.panels() * PANEL;
        let at = run.level * self.level_stride + run.group * n;
        &self.bias[at..at + n]
    }

    /// Packed weights of a group.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for SIMD"))]
    pub(super) fn pairs_of(&self, run: Run) -> &[Pair] {
        let n = self.panels() * self.pairs();
        &self.packed[run.group * n..(run.group + 1) * n]
    }

    /// Panics unless the inputs and outputs of a run are there; kernels rely on it.
    pub(super) fn check_run(&self, run: Run, x: [&[i16]; 2], out: usize) {
        assert!(x[0].len() >= run.positions * self.inputs[0]);
        assert!(x[1].len() >= run.positions * self.inputs[1]);
        assert!(run.stride >= self.outputs);
        assert!(run.positions == 0 || out >= (run.positions - 1) * run.stride + self.outputs);
    }
}

/// The sums of all outputs of a run; `put(index, sum)` takes them.
#[inline(always)]
fn sums(layer: &Dense, run: Run, x: [&[i16]; 2], mut put: impl FnMut(usize, i32)) {
    let [a, b] = layer.inputs;
    let group = &layer.weights[run.group * layer.outputs * (a + b)..];
    let bias = layer.biases(run);
    let dot = |w: &[i16], x: &[i16]| -> i32 {
        let products = w.iter().zip(x);
        products.map(|(&w, &x)| i32::from(w) * i32::from(x)).sum()
    };
    for p in 0..run.positions {
        let (xa, xb) = (&x[0][p * a..(p + 1) * a], &x[1][p * b..(p + 1) * b]);
        let rows = group.chunks_exact(a + b).zip(bias);
        for (o, (w, bias)) in rows.take(layer.outputs).enumerate() {
            let sum = bias + dot(&w[..a], xa) + dot(&w[a..], xb);
            put(p * run.stride + o, sum);
        }
    }
}

/// `out[p * stride + o] = clip((bias[o] + sum of w[o][i] x[p][i]) >> shift)`.
///
/// `x` are the parts of the input, `[positions][inputs]` each, values of up to [`LIMIT`].
pub(super) fn plain(layer: &Dense, run: Run, x: [&[i16]; 2], out: &mut [i16]) {
    layer.check_run(run, x, out.len());
    let (low, high) = (i32::from(layer.low), i32::from(LIMIT));
    sums(layer, run, x, |at, sum| {
        out[at] = (sum >> layer.shift).clamp(low, high) as i16;
    });
}

/// As [`plain`], but the sums as they are.
pub(super) fn plain_sums(layer: &Dense, run: Run, x: [&[i16]; 2], out: &mut [i32]) {
    layer.check_run(run, x, out.len());
    sums(layer, run, x, |at, sum| out[at] = sum);
}
