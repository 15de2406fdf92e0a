//! Hyper synthesis: from hyper-latents, and from groups of latents that are decoded already, how
//! the next latents are spread.

use super::{
    HYPER, Kernels, Level,
    decoder::check_len,
    dense::{Dense, Run},
    depthwise::Depthwise,
    layout::{self, Rows},
    load::{Loader, Shape},
};
use crate::Result;

/// Rows of latents that a row of hyper-latents stands for.
pub const BAND_ROWS: usize = 4;
/// Groups of latents that a model can have.
const MAX_GROUPS: usize = 8;
/// A quantised latent of one in activations.
const ONE: u32 = 128;

/// The networks between hyper-latents and the tables of latents.
#[derive(Debug, Clone)]
pub struct HyperNets {
    up1: Dense,
    dw1: Depthwise,
    d1: Dense,
    up2: Dense,
    dw2: Depthwise,
    d2: Dense,
    groups: Vec<Group>,
    latents: usize,
    /// `[LEVELS][latents]`, as the one below.
    shift: Vec<i16>,
    inverse: Vec<i32>,
}

/// Latents that are decoded together.
#[derive(Debug, Clone)]
struct Group {
    /// The first of them.
    first: usize,
    scale: Dense,
    mean: Dense,
    /// What makes the next group's features of them; the last group has none.
    context: Option<Context>,
}

#[derive(Debug, Clone)]
struct Context {
    around: Depthwise,
    mix: Dense,
}

/// Buffers of [`HyperNets`], and the features of a band between its groups.
#[derive(Debug, Default)]
pub struct HyperWorkspace {
    input: Vec<i16>,
    half: Rows,
    full: Rows,
    filtered: Vec<i16>,
    hidden: Vec<i16>,
    wide: Vec<i16>,
    /// `[rows][columns][hidden]`.
    features: Vec<i16>,
    magnitudes: Rows,
    /// Magnitudes of a row and what is around them, `[columns][2 * size]`.
    joined: Vec<i16>,
    size: [usize; 2],
}

/// The level's part of a table of `n` values each.
pub(super) fn of_level<T>(table: &[T], level: Level, n: usize) -> &[T] {
    &table[level.index() * n..(level.index() + 1) * n]
}

/// A dense layer without levels or groups.
pub(super) fn dense(k: &Kernels, layer: &Dense, positions: usize, x: &[i16], out: &mut [i16]) {
    let run = Run {
        group: 0,
        level: 0,
        positions,
        stride: layer.outputs,
    };
    (k.dense)(layer, run, [x, &[]], out);
}

/// A dense layer whose outputs become 2x2 positions: row `r` of `x` gives rows `2 r`, `2 r + 1`.
pub(super) fn shuffled(
    k: &Kernels,
    layer: &Dense,
    x: &[i16],
    positions: usize,
    r: usize,
    to: &mut Rows,
) {
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

impl HyperNets {
    pub(super) fn load(loader: Loader) -> Result<Self> {
        let hidden = loader.dim("hs.d1", 0)?;
        let dense = |name: &str, shape| loader.dense(name, shape);
        let (mut groups, mut latents) = (Vec::new(), 0);
        while groups.len() < MAX_GROUPS && loader.has(&format!("hs.{}.scale", groups.len())) {
            let name = |part: &str| format!("hs.{}.{part}", groups.len());
            let size = loader.dim(&name("scale"), 0)?;
            let context = if loader.has(&name("mix")) {
                let mut shape = Shape::relu(hidden, hidden).levels();
                shape.inputs = [hidden, 2 * size];
                Some(Context {
                    around: loader.depthwise(&name("dw"), size)?,
                    mix: dense(&name("mix"), shape)?,
                })
            } else {
                None
            };
            groups.push(Group {
                first: latents,
                scale: dense(&name("scale"), Shape::new(hidden, size))?,
                mean: dense(&name("mean"), Shape::new(hidden, size))?,
                context,
            });
            latents += size;
        }
        Ok(Self {
            up1: dense("hs.up1", Shape::relu(HYPER, 4 * hidden).shuffled())?,
            dw1: loader.depthwise("hs.dw1", hidden)?,
            d1: dense("hs.d1", Shape::relu(hidden, hidden))?,
            up2: dense("hs.up2", Shape::relu(hidden, 4 * hidden).shuffled())?,
            dw2: loader.depthwise("hs.dw2", hidden)?,
            d2: dense("hs.d2", Shape::relu(hidden, hidden))?,
            groups,
            latents,
            shift: loader.shifts(latents)?,
            // With this limit no product leaves 32 bits.
            inverse: loader.numbers("inv", latents, (0, 1 << 19))?,
        })
    }

    /// Channels of latents, of all groups.
    pub fn latents(&self) -> usize {
        self.latents
    }

    /// The channels of each group: where they begin, and how many they are.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (usize, usize)> + '_ {
        self.groups.iter().map(|g| (g.first, g.scale.outputs))
    }

    /// Begins a band of up to [`BAND_ROWS`] rows of latents: `z` is its row of hyper-latents,
    /// `[ceil(columns / 4)][32]`.
    ///
    /// # Errors
    /// [`CodecError::Setting`](crate::CodecError::Setting) if a length is another.
    pub fn begin(
        &self,
        kernels: &Kernels,
        [rows, columns]: [usize; 2],
        z: &[i8],
        workspace: &mut HyperWorkspace,
    ) -> Result<()> {
        let z_columns = columns.div_ceil(4);
        check_len("length of z", z.len(), z_columns * HYPER)?;
        check_len("rows of a band", rows.clamp(1, BAND_ROWS), rows)?;
        let hidden = self.d1.outputs;
        let w = workspace;
        w.size = [rows, columns];
        w.input.resize(z_columns * HYPER, 0);
        w.half.resize(2, 2 * z_columns, hidden);
        w.full.resize(4, 4 * z_columns, hidden);
        w.filtered.resize(4 * z_columns * hidden, 0);
        w.hidden.resize(2 * z_columns * hidden, 0);
        w.features.resize(rows * columns * hidden, 0);
        for (x, &z) in w.input.iter_mut().zip(z) {
            *x = layout::clip(i32::from(z) * 64);
        }
        shuffled(kernels, &self.up1, &w.input, z_columns, 0, &mut w.half);
        for r in 0..2 {
            let n = 2 * z_columns * hidden;
            let (filtered, out) = (&mut w.filtered[..n], &mut w.hidden[..n]);
            (kernels.depthwise)(&self.dw1, w.half.around(r, 2), filtered);
            dense(kernels, &self.d1, 2 * z_columns, filtered, out);
            shuffled(kernels, &self.up2, out, 2 * z_columns, r, &mut w.full);
        }
        // Beyond the slice's columns are zeros, not what the last hyper-latent gave.
        for r in 0..rows {
            w.full.row_mut(r)[columns * hidden..].fill(0);
        }
        let n = columns * hidden;
        for (r, out) in w.features.chunks_exact_mut(n).enumerate() {
            let filtered = &mut w.filtered[..n];
            (kernels.depthwise)(&self.dw2, w.full.around(r, rows), filtered);
            dense(kernels, &self.d2, columns, filtered, out);
        }
        Ok(())
    }

    /// How the latents of a group of the band are spread: indices of scales (0 to 47) and means in
    /// eighths of a step (-16383 to 16383), both `[rows][columns][size of the group]`.
    ///
    /// # Errors
    /// [`CodecError::Setting`](crate::CodecError::Setting) if a length is another.
    pub fn spread(
        &self,
        kernels: &Kernels,
        level: Level,
        group: usize,
        workspace: &mut HyperWorkspace,
        index: &mut [u8],
        mean8: &mut [i16],
    ) -> Result<()> {
        let Some(group) = self.groups.get(group) else {
            return check_len("group", group, self.groups.len());
        };
        let w = workspace;
        let [rows, columns] = w.size;
        let size = group.scale.outputs;
        let positions = rows * columns;
        check_len("length of indices", index.len(), positions * size)?;
        check_len("length of means", mean8.len(), positions * size)?;
        w.wide.resize(positions * size, 0);
        let part = group.first..group.first + size;
        let shift = &of_level(&self.shift, level, self.latents)[part.clone()];
        let inverse = &of_level(&self.inverse, level, self.latents)[part];
        dense(kernels, &group.scale, positions, &w.features, &mut w.wide);
        (kernels.indices)(index, &w.wide, shift);
        dense(kernels, &group.mean, positions, &w.features, &mut w.wide);
        (kernels.means)(mean8, &w.wide, inverse);
        Ok(())
    }

    /// Takes note of a group's quantised latents, `[rows][columns][size of the group]`, for the
    /// groups after it.
    ///
    /// # Errors
    /// [`CodecError::Setting`](crate::CodecError::Setting) if a length is another.
    pub fn learn(
        &self,
        kernels: &Kernels,
        level: Level,
        group: usize,
        q: &[i16],
        workspace: &mut HyperWorkspace,
    ) -> Result<()> {
        let Some(Context { around, mix }) = self.groups.get(group).and_then(|g| g.context.as_ref())
        else {
            return Ok(());
        };
        let w = workspace;
        let [rows, columns] = w.size;
        let size = around.channels;
        check_len("length of q", q.len(), rows * columns * size)?;
        w.magnitudes.resize(BAND_ROWS, columns, size);
        for (r, q) in q.chunks_exact(columns * size).enumerate() {
            for (to, &q) in w.magnitudes.row_mut(r).iter_mut().zip(q) {
                *to = layout::clip((u32::from(q.unsigned_abs()) * ONE) as i32);
            }
        }
        let hidden = mix.outputs;
        w.filtered.resize(w.filtered.len().max(columns * size), 0);
        w.hidden.resize(w.hidden.len().max(columns * hidden), 0);
        w.joined.resize(2 * columns * size, 0);
        let run = Run {
            group: 0,
            level: level.index(),
            positions: columns,
            stride: hidden,
        };
        for (r, features) in w.features.chunks_exact_mut(columns * hidden).enumerate() {
            let filtered = &mut w.filtered[..columns * size];
            (kernels.depthwise)(around, w.magnitudes.around(r, rows), filtered);
            let both = w
                .magnitudes
                .row(r)
                .chunks_exact(size)
                .zip(filtered.chunks_exact(size));
            for (to, (here, there)) in w.joined.chunks_exact_mut(2 * size).zip(both) {
                let (a, b) = to.split_at_mut(size);
                a.copy_from_slice(here);
                b.copy_from_slice(there);
            }
            let out = &mut w.hidden[..columns * hidden];
            (kernels.dense)(mix, run, [features, &w.joined], out);
            features.copy_from_slice(out);
        }
        Ok(())
    }
}
