//! The check that networks give the same numbers everywhere.

use sha2::{Digest, Sha256};

use super::{
    BAND_ROWS, DecoderNets, HYPER, HyperWorkspace, Kernels, Kind, Level, SynthesisWorkspace, layout,
};
use crate::{Format, Picture, Result, bitstream::Chroma};

/// A picture whose last rows and columns of positions are cut.
pub(super) const FORMAT: Format = Format {
    width: 91,
    height: 75,
    chroma: Chroma::C420,
    depth: 8,
};
const LEVELS: [u8; 3] = [0, 16, 31];

/// The numbers that the networks are tried with: Marsaglia's xorshift64 (13, 7, 17).
#[derive(Debug, Clone)]
pub(crate) struct Xorshift(pub(super) u64);

impl Xorshift {
    /// A generator at its start.
    pub(crate) fn new() -> Self {
        Self(Self::START)
    }

    /// The state at the start.
    pub(crate) const START: u64 = 88172645463325252;

    /// A number of 0 to `n - 1`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    /// A number of `-most` to `most`.
    pub(crate) fn around(&mut self, most: u64) -> i64 {
        self.below(2 * most + 1) as i64 - most as i64
    }
}

/// SHA-256 of what networks give for invented inputs.
///
/// For levels 0, 16 and 31, of one generator: for each band of a picture of 91x75, hyper-latents of
/// -40 to 40; for each group, indices (bytes) and means (16 bits little endian) count, and values of
/// -4 to 4 are taken as its quantised latents. Then such values as all latents and, for inter
/// pictures, samples of 0 to 255 as prediction give the picture (bytes). All in the order of memory;
/// planes are Y, U, V.
pub(super) fn hash(nets: &DecoderNets) -> Result<[u8; 32]> {
    let kernels = Kernels::best();
    let mut workspace = SynthesisWorkspace::default();
    hash_with(nets, |level, q, prediction, picture| {
        nets.synthesise(&kernels, level, q, prediction, picture, &mut workspace)
    })
}

/// [`hash`] with another synthesis: it is given the level, the quantised latents, the prediction if
/// there is one, and the picture to fill.
pub(crate) fn hash_with(
    nets: &DecoderNets,
    mut synthesise: impl FnMut(Level, &[i16], Option<&Picture>, &mut Picture) -> Result<()>,
) -> Result<[u8; 32]> {
    let kernels = Kernels::best();
    let mut random = Xorshift(Xorshift::START);
    let mut hash = Sha256::new();
    let mut picture = Picture::grey(FORMAT);
    let mut prediction = (nets.kind == Kind::Inter).then(|| Picture::grey(FORMAT));
    let (rows, columns) = layout::latent_size(&picture)?;
    let mut workspace = HyperWorkspace::default();
    let hyper = nets.hyper();
    for level in LEVELS {
        let level = Level::new(level)?;
        for top in (0..rows).step_by(BAND_ROWS) {
            let z = columns.div_ceil(4) * HYPER;
            let z: Vec<i8> = (0..z).map(|_| random.around(40) as i8).collect();
            let height = BAND_ROWS.min(rows - top);
            hyper.begin(&kernels, [height, columns], &z, &mut workspace)?;
            for (group, (_, size)) in hyper.groups().enumerate() {
                let n = height * columns * size;
                let (mut index, mut mean8) = (vec![0; n], vec![0; n]);
                let w = &mut workspace;
                hyper.spread(&kernels, level, group, w, &mut index, &mut mean8)?;
                hash.update(&index);
                mean8.iter().for_each(|m| hash.update(m.to_le_bytes()));
                let q: Vec<i16> = (0..n).map(|_| random.around(4) as i16).collect();
                hyper.learn(&kernels, level, group, &q, w)?;
            }
        }
        let n = rows * columns * nets.latents();
        let q: Vec<i16> = (0..n).map(|_| random.around(4) as i16).collect();
        for plane in prediction.iter_mut().flat_map(|p| &mut p.planes) {
            plane.samples.fill_with(|| random.below(256) as u16);
        }
        synthesise(level, &q, prediction.as_ref(), &mut picture)?;
        hash.update(picture.to_bytes());
    }
    Ok(hash.finalize().into())
}
