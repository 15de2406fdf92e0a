//! Models with invented weights, for tests and measurements.

use super::{
    HYPER, Kind, LEVELS, LIMIT, Model, PIXELS,
    conformance::{self, Xorshift},
    file::{self, SectionWriter},
};
use crate::{Result, rans::TOTAL};

/// Sizes of a model with invented weights.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Channels of latents in each group.
    pub groups: &'static [usize],
    /// Channels of the hyper networks.
    pub hidden: usize,
    /// Features.
    pub features: usize,
    /// Features within a block.
    pub expanded: usize,
    /// Blocks of the decoder.
    pub blocks: usize,
    /// Blocks of the encoder; none if it has no encoder at all.
    pub encoder_blocks: Option<usize>,
    /// Whether there are networks for inter pictures.
    pub inter: bool,
}

impl Sizes {
    /// Channels of latents.
    pub fn latents(&self) -> usize {
        self.groups.iter().sum()
    }
}

struct Inventor {
    random: Xorshift,
    kind: &'static str,
    section: SectionWriter,
}

impl Inventor {
    /// Weights, biases and shift of `outputs` sums of `inputs` products each, as large as may be.
    fn layer(&mut self, name: &str, dims: [usize; 2], outputs: usize, sets: usize) {
        let inputs = dims[0] * dims[1] / outputs;
        let most = ((1 << 24) / u64::from(LIMIT.unsigned_abs()) - 600) / inputs as u64;
        let most = most.clamp(1, 8191);
        // Outputs are about as large as inputs, if those are independent.
        let gain = most as f64 * (inputs as f64 / 3.0).sqrt();
        let shift = (gain.log2().round() as u8).clamp(1, 15);
        let random = &mut self.random;
        let weights = (0..dims[0] * dims[1]).map(|_| random.around(most) as i16);
        let weights: Vec<i16> = weights.collect();
        let half = 1 << (shift - 1);
        let range = 20 << shift;
        let bias = (0..sets * outputs).map(|_| half + random.around(range) as i32);
        let bias: Vec<i32> = bias.map(|b| b.clamp(-1_000_000, 1_000_000)).collect();
        let name = format!("{}.{name}", self.kind);
        let bias_dims: &[usize] = if sets == 1 {
            &[outputs]
        } else {
            &[sets, outputs]
        };
        self.section.put(&format!("{name}.w"), &dims, &weights);
        self.section.put(&format!("{name}.b"), bias_dims, &bias);
        self.section.put(&format!("{name}.s"), &[1], &[shift]);
    }

    fn dense(&mut self, name: &str, inputs: usize, outputs: usize) {
        self.layer(name, [outputs, inputs], outputs, 1);
    }

    fn depthwise(&mut self, name: &str, channels: usize) {
        self.layer(name, [9, channels], channels, 1);
    }

    fn trunk(&mut self, path: &str, sizes: &Sizes, blocks: usize) {
        let (c, e) = (sizes.features, sizes.expanded);
        let inputs = if self.kind == "inter" {
            2 * PIXELS
        } else {
            PIXELS
        };
        self.layer(&format!("{path}.in"), [c, inputs], c, LEVELS);
        for n in 0..blocks {
            self.depthwise(&format!("{path}.{n}.dw"), c);
            self.dense(&format!("{path}.{n}.up"), c, e);
            self.dense(&format!("{path}.{n}.down"), e, c);
        }
    }

    fn decoder(&mut self, sizes: &Sizes) {
        let (m, h) = (sizes.latents(), sizes.hidden);
        self.dense("hs.up1", HYPER, 4 * h);
        self.depthwise("hs.dw1", h);
        self.dense("hs.d1", h, h);
        self.dense("hs.up2", h, 4 * h);
        self.depthwise("hs.dw2", h);
        self.dense("hs.d2", h, h);
        for (n, &size) in sizes.groups.iter().enumerate() {
            self.dense(&format!("hs.{n}.scale"), h, size);
            self.dense(&format!("hs.{n}.mean"), h, size);
            if n + 1 < sizes.groups.len() {
                self.depthwise(&format!("hs.{n}.dw"), size);
                self.layer(&format!("hs.{n}.mix"), [h, h + 2 * size], h, LEVELS);
            }
        }
        let kind = self.kind;
        let random = &mut self.random;
        let n = LEVELS * m;
        let values: Vec<i16> = (0..n).map(|_| random.below(768) as i16).collect();
        self.section
            .put(&format!("{kind}.shift"), &[LEVELS, m], &values);
        let values: Vec<i32> = (0..n).map(|_| random.below((1 << 19) + 1) as i32).collect();
        self.section
            .put(&format!("{kind}.inv"), &[LEVELS, m], &values);
        let values: Vec<i32> = (0..n).map(|_| 1 + random.below(4000) as i32).collect();
        self.section
            .put(&format!("{kind}.step"), &[LEVELS, m], &values);
        let values: Vec<u8> = (0..LEVELS * HYPER)
            .map(|_| random.below(48) as u8)
            .collect();
        self.section
            .put(&format!("{kind}.z"), &[LEVELS, HYPER], &values);
        self.dense("gs.lin", m, 4 * PIXELS);
        self.trunk("gs", sizes, sizes.blocks);
        self.dense("gs.out", sizes.features, PIXELS);
    }

    fn encoder(&mut self, sizes: &Sizes, blocks: usize) {
        let (m, h) = (sizes.latents(), sizes.hidden);
        self.dense("ga.lin", 4 * PIXELS, m);
        self.trunk("ga", sizes, blocks);
        self.dense("ga.out", 4 * sizes.features, m);
        self.dense("ha.d0", m, h);
        self.depthwise("ha.dw1", h);
        self.dense("ha.d1", h, h);
        self.dense("ha.down1", 4 * h, h);
        self.layer("ha.down2", [HYPER, 4 * h], HYPER, LEVELS);
    }
}

/// Latents of a part of invented codebooks.
const PART: usize = 4;

impl Inventor {
    /// Codebooks of two families for `latents` latents.
    fn codebooks(&mut self, latents: usize) {
        const FAMILIES: usize = 2;
        const STAGES: usize = 2;
        const WORDS: usize = 24;
        const CLASSES: usize = 4;
        const TABLES: usize = 5;
        const PREDICTED: usize = 6;
        const CONTEXTS: usize = 36;
        let name = |part: &str| format!("{}.vq.{part}", self.kind);
        let (random, section) = (&mut self.random, &mut self.section);
        let parts = latents / PART;
        let mut books = Vec::new();
        for book in 0..FAMILIES * STAGES {
            // Stages differ in size by a factor of four.
            let most = if book % STAGES == 0 { 40 } else { 160 };
            books.extend((0..WORDS * PART).map(|_| random.around(most) as i16));
        }
        let dims = [FAMILIES, STAGES, WORDS, PART];
        section.put(&name("books"), &dims, &books);
        let family: Vec<u8> = (0..parts).map(|p| (p * FAMILIES / parts) as u8).collect();
        section.put(&name("family"), &[parts], &family);
        let mut frequencies = |rows: usize, n: usize| -> Vec<i16> {
            let row = |_| {
                let weights: Vec<u64> = (0..n).map(|_| random.below(1000)).collect();
                let sum = weights.iter().sum::<u64>().max(1);
                let spare = u64::from(TOTAL) - n as u64;
                let row = weights.iter().map(|w| (1 + w * spare / sum) as i16);
                let mut row: Vec<i16> = row.collect();
                let rest = TOTAL as i16 - row.iter().sum::<i16>();
                if let Some(first) = row.first_mut() {
                    *first += rest;
                }
                row
            };
            (0..rows).flat_map(row).collect()
        };
        let values = frequencies(TABLES, CLASSES);
        section.put(&name("class"), &[TABLES, CLASSES], &values);
        let values = frequencies(FAMILIES * STAGES * 2, WORDS);
        section.put(&name("index"), &[FAMILIES, STAGES, 2, WORDS], &values);
        let n = LEVELS * parts * CONTEXTS;
        let values: Vec<u8> = (0..n).map(|_| random.below(TABLES as u64) as u8).collect();
        section.put(&name("table"), &[LEVELS, parts, CONTEXTS], &values);
        let dims = [LEVELS / 8, 3, PREDICTED, 3 * PREDICTED];
        // The sum of 18 weights is at most 1.3, so that no prediction grows for ever.
        let n = dims.iter().product();
        let values: Vec<i16> = (0..n).map(|_| random.around(300) as i16).collect();
        section.put(&name("predict"), &dims, &values);
    }
}

impl Model {
    /// A model with invented weights, and its file.
    ///
    /// # Errors
    /// [`crate::CodecError::Tensor`] if the sizes are beyond those of layers.
    #[doc(hidden)]
    pub fn synthetic(seed: u64, sizes: Sizes) -> Result<(Self, Vec<u8>)> {
        Self::invented(seed, sizes, false)
    }

    /// As [`Self::synthetic`], with codebooks; latents must be a multiple of 4.
    ///
    /// # Errors
    /// As [`Self::synthetic`].
    #[doc(hidden)]
    pub fn synthetic_vq(seed: u64, sizes: Sizes) -> Result<(Self, Vec<u8>)> {
        Self::invented(seed, sizes, true)
    }

    fn invented(seed: u64, sizes: Sizes, vq: bool) -> Result<(Self, Vec<u8>)> {
        let mut decoder = SectionWriter::default();
        let mut encoder = SectionWriter::default();
        let mut random = Xorshift(Xorshift::START ^ seed);
        decoder.put("tier", &[1], &[1u8]);
        let kinds = if sizes.inter {
            &Kind::ALL[..]
        } else {
            &[Kind::Intra]
        };
        for kind in kinds {
            let mut inventor = Inventor {
                random,
                kind: kind.name(),
                section: decoder,
            };
            inventor.decoder(&sizes);
            (decoder, inventor.section) = (inventor.section, encoder);
            if let Some(blocks) = sizes.encoder_blocks {
                inventor.encoder(&sizes, blocks);
            }
            (encoder, random) = (inventor.section, inventor.random);
        }
        if vq {
            for kind in kinds {
                let mut inventor = Inventor {
                    random,
                    kind: kind.name(),
                    section: decoder,
                };
                inventor.codebooks(sizes.latents());
                (decoder, random) = (inventor.section, inventor.random);
            }
        }
        let encoder = encoder.finish();
        let unchecked = Self::build(&decoder.finish(), &encoder)?;
        for &kind in kinds {
            let hash = conformance::hash(unchecked.decoder(kind)?)?;
            decoder.put(&format!("check.{}", kind.name()), &[32], &hash);
        }
        let file = file::write(&decoder.finish(), &encoder);
        Ok((Self::parse(&file)?, file))
    }
}
