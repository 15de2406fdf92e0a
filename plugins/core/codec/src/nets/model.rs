//! A model: the networks of a file.

use sha2::{Digest, Sha256};

use super::{
    Codebooks, DecoderNets, EncoderNets, LEVELS, conformance,
    file::{self, Section},
    load::Loader,
};
use crate::{CodecError, Result, bitstream::hex};

/// What a picture is coded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing else.
    Intra,
    /// A prediction.
    Inter,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Intra, Self::Inter];

    /// How tensors of its networks begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intra => "intra",
            Self::Inter => "inter",
        }
    }
}

/// A level of quality, 0 (the finest) to 31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

impl Level {
    /// Level `number`.
    ///
    /// # Errors
    /// [`CodecError::Field`] from 32 on.
    pub fn new(number: u8) -> Result<Self> {
        if usize::from(number) < LEVELS {
            return Ok(Self(number));
        }
        Err(CodecError::Field {
            what: "level of quality",
            value: number.into(),
        })
    }

    /// Its number.
    pub fn get(self) -> u8 {
        self.0
    }

    pub(super) fn index(self) -> usize {
        self.0.into()
    }
}

/// The networks of a model file. It does not change, so that an `Arc` of it can serve any number of
/// streams and threads.
#[derive(Debug)]
pub struct Model {
    hash: [u8; 32],
    tier: u8,
    decoders: [Option<DecoderNets>; 2],
    encoders: [Option<EncoderNets>; 2],
    codebooks: [Option<Codebooks>; 2],
    /// SHA-256 of what the networks of each kind give, where they were made.
    checks: [[u8; 32]; 2],
}

impl Model {
    /// Reads a model file (`.gnm`), and checks that its networks give the same numbers here as
    /// where it was made.
    ///
    /// # Errors
    /// [`CodecError::Magic`], [`CodecError::Truncated`], [`CodecError::Checksum`] and
    /// [`CodecError::Field`] if it is no whole model file; [`CodecError::Tensor`] if a tensor is
    /// missing, of another shape, or has values with which sums could overflow;
    /// [`CodecError::Table`] if a table of codebooks is none; [`CodecError::NoNetworks`] if it has no
    /// networks at all; [`CodecError::Conformance`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let (decoder, encoder) = file::sections(bytes)?;
        let mut model = Self::build(decoder, encoder)?;
        let section = Section::parse(decoder)?;
        for (nets, check) in model.decoders.iter().zip(&mut model.checks) {
            let Some(nets) = nets else { continue };
            let kind = nets.kind.name();
            let stated: Vec<u8> = section.values(&format!("check.{kind}"), &[32])?;
            let found = conformance::hash(nets)?;
            if stated != found {
                return Err(CodecError::Conformance {
                    kind,
                    found: hex(&found),
                    stated: hex(&stated),
                });
            }
            *check = found;
        }
        Ok(model)
    }

    /// The networks of two sections, without the check of their results.
    pub(super) fn build(decoder: &[u8], encoder: &[u8]) -> Result<Self> {
        let section = Section::parse(decoder)?;
        let for_encoder = Section::parse(encoder)?;
        let (mut decoders, mut encoders) = ([None, None], [None, None]);
        for ((kind, nets), encoder) in Kind::ALL.into_iter().zip(&mut decoders).zip(&mut encoders) {
            let loader = |section| Loader {
                section,
                kind: kind.name(),
            };
            if loader(&section).has("gs.lin") {
                let decoder = DecoderNets::load(loader(&section), kind)?;
                if loader(&for_encoder).has("ga.lin") {
                    let latents = decoder.latents();
                    *encoder = Some(EncoderNets::load(loader(&for_encoder), kind, latents)?);
                }
                *nets = Some(decoder);
            }
        }
        let mut codebooks = [None, None];
        for (to, nets) in codebooks.iter_mut().zip(&decoders) {
            if let Some(nets) = nets
                && section.has(&format!("{}.vq.books", nets.kind.name()))
            {
                let (kind, latents) = (nets.kind.name(), nets.latents());
                *to = Some(Codebooks::load(&section, kind, latents)?);
            }
        }
        if decoders.iter().all(Option::is_none) {
            return Err(CodecError::NoNetworks("any kind of picture"));
        }
        Ok(Self {
            hash: Sha256::digest(decoder).into(),
            tier: section.scalar("tier")?,
            decoders,
            encoders,
            codebooks,
            checks: [[0; 32]; 2],
        })
    }

    /// SHA-256 of the decoder's section: what a stream names in its header.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// SHA-256 of what the networks of a kind give for the inputs of the conformance check.
    pub(crate) fn check(&self, kind: Kind) -> [u8; 32] {
        self.checks.get(kind as usize).copied().unwrap_or_default()
    }

    /// The model's size class.
    pub fn tier(&self) -> u8 {
        self.tier
    }

    /// Networks that decode a kind of picture.
    ///
    /// # Errors
    /// [`CodecError::NoNetworks`].
    pub fn decoder(&self, kind: Kind) -> Result<&DecoderNets> {
        let nets = self.decoders.iter().flatten().find(|n| n.kind == kind);
        nets.ok_or(CodecError::NoNetworks(match kind {
            Kind::Intra => "decoding intra pictures",
            Kind::Inter => "decoding inter pictures",
        }))
    }

    /// What the profile `vq` codes the latents of a kind of picture with.
    ///
    /// # Errors
    /// [`CodecError::NoCodebooks`]: models need not have any.
    pub fn codebooks(&self, kind: Kind) -> Result<&Codebooks> {
        let codebooks = self.codebooks.get(kind as usize).and_then(Option::as_ref);
        codebooks.ok_or(CodecError::NoCodebooks(kind.name()))
    }

    /// Networks that encode a kind of picture.
    ///
    /// # Errors
    /// [`CodecError::NoNetworks`].
    pub fn encoder(&self, kind: Kind) -> Result<&EncoderNets> {
        let nets = self.encoders.iter().flatten().find(|n| n.kind == kind);
        nets.ok_or(CodecError::NoNetworks(match kind {
            Kind::Intra => "encoding intra pictures",
            Kind::Inter => "encoding inter pictures",
        }))
    }
}
