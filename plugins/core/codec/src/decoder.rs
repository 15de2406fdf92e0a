//! Access units to frames.

use crate::{
    CodecError, Format, Picture, Result,
    bitstream::{AccessUnit, FrameType, Header, Profile},
    lossless::{MODEL, SLICE_ROWS, SliceJob, decode_slice},
    motion::Reference,
    parallel,
};

/// A decoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The frame.
    pub picture: Picture,
    /// Its position in the order of display, modulo 2^32.
    pub number: u32,
    /// Whether decoding can start here.
    pub keyframe: bool,
    /// Slices that could not be decoded: they show the reference instead, or grey.
    pub damaged_slices: Vec<usize>,
    /// Whether the frame may differ from what was encoded: a slice is damaged, the frame that it
    /// refers to is missing or not right, or the CRC of the picture does not match.
    pub corrupt: bool,
}

/// A frame that others may refer to.
#[derive(Debug)]
struct Known {
    reference: Reference,
    picture: Picture,
    number: u32,
    corrupt: bool,
}

/// A decoder of the lossless profile.
#[derive(Debug)]
pub struct Decoder {
    header: Header,
    threads: usize,
    /// Frames that others may refer to, the last decoded first.
    references: Vec<Known>,
}

impl Decoder {
    /// A decoder for the stream with this `codec_data`.
    ///
    /// # Errors
    /// Those of [`Header::parse`], [`CodecError::Profile`], [`CodecError::Model`].
    pub fn new(codec_data: &[u8]) -> Result<Self> {
        let header = Header::parse(codec_data)?;
        if header.profile != Profile::Lossless {
            return Err(CodecError::Profile(header.profile.name()));
        }
        header.require_model(&MODEL)?;
        Ok(Self {
            header,
            threads: 1,
            references: Vec::new(),
        })
    }

    /// Sets the number of threads; the frames do not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// What `codec_data` says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Forgets all frames, as after a seek.
    pub fn flush(&mut self) {
        self.references.clear();
    }

    /// Decodes an access unit.
    ///
    /// # Errors
    /// If nothing can be shown: the head of the unit is damaged, its number of slices is not that
    /// of the stream, or no keyframe came yet ([`CodecError::NoKeyframe`]). Damage beyond that is
    /// told in [`Decoded`].
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Decoded> {
        let unit = AccessUnit::parse(bytes)?;
        let format = Format::of(&self.header);
        let height = format.height as usize;
        let count = height.div_ceil(SLICE_ROWS);
        if unit.slices.len() != count {
            let value = unit.slices.len() as u64;
            return Err(CodecError::Field {
                what: "number of slices",
                value,
            });
        }
        let keyframe = unit.info.frame_type == FrameType::Key;
        let number = unit.info.number;
        let mut corrupt = false;
        let mut references = Vec::new();
        if !keyframe {
            for distance in unit.info.references.into_iter().filter(|&d| d != 0) {
                let wanted = number.wrapping_add_signed(-i32::from(distance));
                let known = self.references.iter().find(|k| k.number == wanted);
                corrupt |= known.is_none_or(|k| k.corrupt);
                // A frame that is missing is stood in for by the last one.
                let Some(known) = known.or(self.references.first()) else {
                    return Err(CodecError::NoKeyframe);
                };
                references.push(&known.reference);
            }
        }
        let results = parallel::map(count, self.threads, |i| {
            let slice = unit.slices.get(i).filter(|s| s.intact)?;
            let top = i * SLICE_ROWS;
            let height = SLICE_ROWS.min(height - top);
            let near = unit.info.qp;
            decode_slice(
                &SliceJob {
                    format,
                    top,
                    height,
                    near,
                    references: &references,
                },
                slice.data,
            )
            .ok()
        });
        let last = self.references.first();
        let mut picture = last.map_or_else(|| Picture::grey(format), |k| k.picture.clone());
        let mut damaged_slices = Vec::new();
        for (i, rows) in results.iter().enumerate() {
            match rows {
                Some(rows) => picture.put_rows(i * SLICE_ROWS, rows),
                None => damaged_slices.push(i),
            }
        }
        corrupt |= !damaged_slices.is_empty();
        corrupt |= unit
            .info
            .picture_crc
            .is_some_and(|crc| crc != picture.crc());
        if keyframe {
            self.references.clear();
        }
        let reference = Reference::new(&picture);
        self.references.insert(
            0,
            Known {
                reference,
                picture: picture.clone(),
                number,
                corrupt,
            },
        );
        self.references.truncate(2);
        Ok(Decoded {
            picture,
            number,
            keyframe,
            damaged_slices,
            corrupt,
        })
    }
}
