//! Access units: the bytes of one frame.

use super::Reader;
use crate::{CodecError, Result};

/// Slices that a unit can have: 16384 rows in slices of 16.
pub const MAX_SLICES: usize = 1024;
/// The greatest QP.
pub const MAX_QP: u8 = 63;
/// First byte of a unit, so that something else is not taken for one.
const MARK: u8 = 0xA7;
/// Bytes before the slice lengths.
const FIXED: usize = 16;
/// Flag: the CRC of the reconstruction is there.
const HAS_CRC: u8 = 1;

/// What a frame is predicted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameType {
    /// Nothing: decoding can start here, and frames after it need nothing before it.
    Key,
    /// One frame, or two.
    Predicted,
    /// As [`Self::Predicted`], and no other frame needs this one.
    Droppable,
}

impl FrameType {
    fn from_byte(b: u8) -> Option<Self> {
        match b {
            0 => Some(Self::Key),
            1 => Some(Self::Predicted),
            2 => Some(Self::Droppable),
            _ => None,
        }
    }
}

/// What the frame of a unit is predicted from, without looking at the rest of it; None if this is no
/// unit.
pub fn frame_type(unit: &[u8]) -> Option<FrameType> {
    match unit {
        [MARK, kind, ..] => FrameType::from_byte(*kind),
        _ => None,
    }
}

/// The head of an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitInfo {
    /// What the frame is predicted from.
    pub frame_type: FrameType,
    /// Position in the order of display, modulo 2^32.
    pub number: u32,
    /// How far before (positive) or after (negative) this frame the references are displayed; 0: there is none.
    pub references: [i8; 2],
    /// Quality; in the lossless profile the greatest error of a sample.
    pub qp: u8,
    /// CRC-32 of the reconstruction, if the encoder put it there.
    pub picture_crc: Option<u32>,
}

/// The coded form of some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<'a> {
    /// The bytes, damaged or not.
    pub data: &'a [u8],
    /// Whether its CRC matches.
    pub intact: bool,
}

/// A parsed access unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit<'a> {
    /// The head.
    pub info: UnitInfo,
    /// The slices from top to bottom.
    pub slices: Vec<Slice<'a>>,
}

impl UnitInfo {
    /// The bytes of a unit with these slices.
    ///
    /// # Errors
    /// [`CodecError::Setting`] if there are none, or more than [`MAX_SLICES`].
    pub fn write<T: AsRef<[u8]>>(&self, slices: &[T]) -> Result<Vec<u8>> {
        if slices.is_empty() || slices.len() > MAX_SLICES {
            let value = slices.len() as i64;
            return Err(CodecError::Setting {
                what: "number of slices",
                value,
                range: "1 to 1024",
            });
        }
        let mut out = vec![MARK, self.frame_type as u8, self.qp];
        out.push(if self.picture_crc.is_some() {
            HAS_CRC
        } else {
            0
        });
        out.extend(self.number.to_le_bytes());
        out.extend(self.references.map(|r| r as u8));
        out.extend((slices.len() as u16).to_le_bytes());
        out.extend(self.picture_crc.unwrap_or(0).to_le_bytes());
        for s in slices {
            out.extend((s.as_ref().len() as u32).to_le_bytes());
            out.extend(crc32fast::hash(s.as_ref()).to_le_bytes());
        }
        out.extend(crc32fast::hash(&out).to_le_bytes());
        for s in slices {
            out.extend(s.as_ref());
        }
        Ok(out)
    }
}

impl<'a> AccessUnit<'a> {
    /// Reads a unit. Damage in slices is noted ([`Slice::intact`]); a unit that ends early has its
    /// last slices shortened and not intact.
    ///
    /// # Errors
    /// If the head is damaged: [`CodecError::Truncated`], [`CodecError::Checksum`],
    /// [`CodecError::Field`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new(bytes, "access unit");
        let [mark, frame_type, qp, flags] = r.array()?;
        let bad = |what, value: u64| CodecError::Field { what, value };
        if mark != MARK {
            return Err(bad("first byte of an access unit", mark.into()));
        }
        let number = r.u32()?;
        let references = r.array::<2>()?.map(|b| b as i8);
        let count = usize::from(r.u16()?);
        if count == 0 || count > MAX_SLICES {
            return Err(bad("number of slices", count as u64));
        }
        let picture_crc = r.u32()?;
        debug_assert_eq!(r.taken().len(), FIXED);
        let mut index = Reader::new(r.take(8 * count)?, "slice index");
        let found = crc32fast::hash(r.taken());
        let stated = r.u32()?;
        if found != stated {
            return Err(CodecError::Checksum {
                what: "head of an access unit",
                found,
                stated,
            });
        }
        let frame_type =
            FrameType::from_byte(frame_type).ok_or(bad("frame type", frame_type.into()))?;
        if flags & !HAS_CRC != 0 {
            return Err(bad("flags of an access unit", flags.into()));
        }
        if qp > MAX_QP {
            return Err(bad("QP", qp.into()));
        }
        let [first, second] = references;
        if (frame_type == FrameType::Key) != (first == 0) || (first == 0 && second != 0) {
            return Err(bad(
                "reference",
                u64::from(first as u8) << 8 | u64::from(second as u8),
            ));
        }
        let picture_crc = (flags & HAS_CRC != 0).then_some(picture_crc);
        let info = UnitInfo {
            frame_type,
            number,
            references,
            qp,
            picture_crc,
        };
        let mut slices = Vec::with_capacity(count);
        for _ in 0..count {
            let (length, crc) = (index.u32()? as usize, index.u32()?);
            let data = r.take(length.min(r.rest().len()))?;
            slices.push(Slice {
                data,
                intact: data.len() == length && crc32fast::hash(data) == crc,
            });
        }
        r.end()?;
        Ok(Self { info, slices })
    }
}
