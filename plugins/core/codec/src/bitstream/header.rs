//! `codec_data`: what a decoder must know before the first access unit.

use std::fmt::Write as _;

use super::{Reader, flag};
use crate::{CodecError, Result};

/// First bytes of `codec_data`.
const MAGIC: [u8; 4] = *b"GNVC";
/// The version that this crate writes, and the newest that it reads.
pub const VERSION: u8 = 1;
/// Bytes of `codec_data`.
pub const HEADER_BYTES: usize = 64;
/// The greatest width and height.
pub const MAX_SIDE: u32 = 16384;
/// Flag: access units may carry a layer.
const HAS_LAYER: u8 = 1;
/// Flag: macroblocks of predicted frames may be copied.
const HAS_COPIES: u8 = 2;
/// Flag: the stream is compact.
const IS_COMPACT: u8 = 4;
/// SHA-256 of the canonical form of a model (or of tables).
pub type ModelHash = [u8; 32];

/// How frames are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// A latent of each frame by itself.
    Intra,
    /// Latents of differences to a motion-compensated prediction.
    Inter,
    /// Samples themselves, without loss or within a stated error.
    Lossless,
    /// Indices of code vectors.
    Vq,
    /// A stream of another standard with a network on top. Reserved.
    Hybrid,
}

impl Profile {
    /// Its name, as properties and messages write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intra => "intra",
            Self::Inter => "inter",
            Self::Lossless => "lossless",
            Self::Vq => "vq",
            Self::Hybrid => "hybrid",
        }
    }

    fn from_byte(b: u8) -> Option<Self> {
        [
            Self::Intra,
            Self::Inter,
            Self::Lossless,
            Self::Vq,
            Self::Hybrid,
        ]
        .get(usize::from(b))
        .copied()
    }
}

/// Which chroma samples there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chroma {
    /// None.
    Gray,
    /// One of each for 2x2 luma samples (rounded up).
    C420,
    /// One of each for 2x1 luma samples (rounded up).
    C422,
    /// One of each for every luma sample.
    C444,
}

impl Chroma {
    const ALL: [Self; 4] = [Self::Gray, Self::C420, Self::C422, Self::C444];

    /// How often width and height are halved in chroma.
    pub fn shifts(self) -> (u32, u32) {
        match self {
            Self::C420 => (1, 1),
            Self::C422 => (1, 0),
            Self::Gray | Self::C444 => (0, 0),
        }
    }

    /// 1 or 3.
    pub fn planes(self) -> usize {
        if self == Self::Gray { 1 } else { 3 }
    }
}

/// What samples mean. The codec carries it and does nothing else with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Colour {
    /// 0 unknown, 1 limited ("studio"), 2 full.
    pub range: u8,
    /// Matrix coefficients by ITU-T H.273 (2: unknown).
    pub matrix: u8,
    /// Colour primaries by H.273.
    pub primaries: u8,
    /// Transfer characteristics by H.273.
    pub transfer: u8,
}

/// The parsed `codec_data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// How frames are coded.
    pub profile: Profile,
    /// Size of the networks; 0 where there are none.
    pub tier: u8,
    /// Whether access units may carry a layer with what the lossy pictures lack.
    pub layer: bool,
    /// Whether macroblocks of predicted frames may show their prediction as it is.
    pub copies: bool,
    /// Whether units have short heads and, with loss, vectors and copies are coded with the tables
    /// of `tables/motion.bin`.
    pub compact: bool,
    /// Luma samples a row, 1 to [`MAX_SIDE`].
    pub width: u32,
    /// Luma rows, 1 to [`MAX_SIDE`].
    pub height: u32,
    /// Which chroma samples there are.
    pub chroma: Chroma,
    /// Bits of a sample, 8 or 10.
    pub depth: u8,
    /// What samples mean.
    pub colour: Colour,
    /// Frames a second as a fraction; 0/1 is unknown or variable.
    pub fps: (u32, u32),
    /// The model or tables that decoding needs.
    pub model: ModelHash,
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut s, b| {
        // Writing to a string cannot fail.
        let _ = write!(s, "{b:02x}");
        s
    })
}

impl Header {
    /// The 64 bytes of `codec_data`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(MAGIC);
        let chroma = Chroma::ALL
            .iter()
            .position(|&c| c == self.chroma)
            .unwrap_or(0) as u8;
        let flags = flag(self.layer, HAS_LAYER)
            | flag(self.copies, HAS_COPIES)
            | flag(self.compact, IS_COMPACT);
        out.extend([VERSION, self.profile as u8, self.tier, flags]);
        out.extend((self.width as u16).to_le_bytes());
        out.extend((self.height as u16).to_le_bytes());
        let c = self.colour;
        out.extend([
            chroma,
            self.depth,
            c.range,
            c.matrix,
            c.primaries,
            c.transfer,
            0,
            0,
        ]);
        out.extend(self.fps.0.to_le_bytes());
        out.extend(self.fps.1.to_le_bytes());
        out.extend(self.model);
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Reads `codec_data`.
    ///
    /// # Errors
    /// [`CodecError::Magic`] and [`CodecError::Version`] before anything else, then
    /// [`CodecError::Truncated`], [`CodecError::Checksum`], [`CodecError::Feature`] and
    /// [`CodecError::Field`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes, "codec_data");
        let magic = r.array()?;
        if magic != MAGIC {
            return Err(CodecError::Magic(magic));
        }
        let version = r.u8()?;
        if version != VERSION {
            return Err(CodecError::Version {
                found: version,
                known: VERSION,
            });
        }
        let mut all = Reader::new(bytes, "codec_data");
        let found = crc32fast::hash(all.take(HEADER_BYTES - 4)?);
        let stated = all.u32()?;
        all.end()?;
        if found != stated {
            return Err(CodecError::Checksum {
                what: "codec_data",
                found,
                stated,
            });
        }
        let bad = |what, value: u64| CodecError::Field { what, value };
        let profile = r.u8()?;
        let profile = Profile::from_byte(profile).ok_or(bad("profile", profile.into()))?;
        let tier = r.u8()?;
        let flags = r.u8()?;
        let side = |v: u16, what| match u32::from(v) {
            v @ 1..=MAX_SIDE => Ok(v),
            v => Err(bad(what, v.into())),
        };
        let width = side(r.u16()?, "width")?;
        let height = side(r.u16()?, "height")?;
        let chroma = r.u8()?;
        let chroma = *Chroma::ALL
            .get(usize::from(chroma))
            .ok_or(bad("chroma format", chroma.into()))?;
        let depth = r.u8()?;
        if depth != 8 && depth != 10 {
            return Err(bad("bit depth", depth.into()));
        }
        let [range, matrix, primaries, transfer] = r.array()?;
        let reserved = r.u16()?;
        if reserved != 0 {
            return Err(bad("reserved field", reserved.into()));
        }
        let unknown = flags & !(HAS_LAYER | HAS_COPIES | IS_COMPACT);
        if unknown != 0 {
            return Err(CodecError::Feature(unknown));
        }
        let (layer, copies) = (flags & HAS_LAYER != 0, flags & HAS_COPIES != 0);
        let no_copies = matches!(profile, Profile::Lossless | Profile::Intra);
        if layer && profile == Profile::Lossless || copies && no_copies {
            return Err(bad("flags of codec_data", flags.into()));
        }
        if range > 2 {
            return Err(bad("range", range.into()));
        }
        let fps = (r.u32()?, r.u32()?);
        if fps.1 == 0 {
            return Err(bad("denominator of the frame rate", 0));
        }
        let colour = Colour {
            range,
            matrix,
            primaries,
            transfer,
        };
        Ok(Self {
            profile,
            tier,
            layer,
            copies,
            compact: flags & IS_COMPACT != 0,
            width,
            height,
            chroma,
            depth,
            colour,
            fps,
            model: r.array()?,
        })
    }

    /// Checks that a decoder with `model` can decode the stream.
    ///
    /// # Errors
    /// [`CodecError::Model`] with both names if it cannot.
    pub fn require_model(&self, model: &ModelHash) -> Result<()> {
        if self.model == *model {
            return Ok(());
        }
        Err(CodecError::Model {
            needed: hex(&self.model),
            have: hex(model),
        })
    }
}
