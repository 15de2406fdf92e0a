//! Frames to access units.

use crate::{
    CodecError, Format, Picture, Result,
    bitstream::{Colour, FrameType, Header, Profile, UnitInfo},
    lossless::{MODEL, SliceJob, encode_slice, slice_count, slice_rows},
    motion::{Field, Halves, Kernels, Reference, SearchConfig},
    parallel,
};

/// How to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Format of all frames.
    pub format: Format,
    /// What samples mean.
    pub colour: Colour,
    /// Frames a second as a fraction; 0/1 is unknown or variable.
    pub fps: (u32, u32),
    /// Every how many frames a keyframe comes; 1 makes all of them keyframes.
    pub keyframe_interval: u32,
    /// The greatest error of a sample, 0 to 15; 0 is lossless.
    pub near: u8,
    /// Frames that a frame may be predicted from, 1 or 2: the one before, and the one before that.
    /// The second rarely pays.
    pub references: u8,
    /// Threads; the stream does not depend on their number.
    pub threads: usize,
    /// Whether units carry a CRC of the reconstruction.
    pub picture_crc: bool,
    /// The motion search.
    pub search: SearchConfig,
}

impl Config {
    /// Lossless coding of frames of `format` on one thread, a keyframe every 64 frames.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            colour: Colour::default(),
            fps: (0, 1),
            keyframe_interval: 64,
            near: 0,
            references: 1,
            threads: 1,
            picture_crc: false,
            search: SearchConfig::default(),
        }
    }
}

/// An encoder of the lossless profile.
#[derive(Debug)]
pub struct Encoder {
    config: Config,
    number: u32,
    since_key: u32,
    force_key: bool,
    /// The last frame, and the one before it.
    references: Vec<(Reference, Halves)>,
    /// Vectors of each slice of the last frame.
    hints: Vec<Vec<Field>>,
}

impl Encoder {
    /// An encoder.
    ///
    /// # Errors
    /// [`CodecError::Setting`] names the setting that is out of range.
    pub fn new(config: Config) -> Result<Self> {
        config.format.check()?;
        let bad = |what, value: u32, range| {
            Err(CodecError::Setting {
                what,
                value: value.into(),
                range,
            })
        };
        if config.near > 15 {
            return bad("near", config.near.into(), "0 to 15");
        }
        if !(1..=2).contains(&config.references) {
            return bad("references", config.references.into(), "1 or 2");
        }
        if config.search.lambda > 1 << 16 {
            return bad("lambda", config.search.lambda, "at most 65536");
        }
        if config.keyframe_interval == 0 {
            return bad("keyframe interval", 0, "at least 1");
        }
        if config.fps.1 == 0 {
            return bad("denominator of the frame rate", 0, "at least 1");
        }
        Ok(Self {
            config,
            number: 0,
            since_key: 0,
            force_key: false,
            references: Vec::new(),
            hints: Vec::new(),
        })
    }

    /// The `codec_data` of the stream.
    pub fn codec_data(&self) -> Vec<u8> {
        let Config {
            format,
            colour,
            fps,
            ..
        } = self.config;
        let header = Header {
            profile: Profile::Lossless,
            tier: 0,
            width: format.width,
            height: format.height,
            chroma: format.chroma,
            depth: format.depth,
            colour,
            fps,
            model: MODEL,
        };
        header.to_bytes()
    }

    /// Makes the next frame a keyframe.
    pub fn force_keyframe(&mut self) {
        self.force_key = true;
    }

    /// Codes a frame to an access unit.
    ///
    /// # Errors
    /// [`CodecError::Format`] if the frame is not of the stream's format.
    pub fn encode(&mut self, picture: &Picture) -> Result<Vec<u8>> {
        let Config {
            format,
            near,
            threads,
            ..
        } = self.config;
        picture.check(format)?;
        let key = self.force_key
            || self.references.is_empty()
            || self.since_key >= self.config.keyframe_interval;
        if key {
            self.since_key = 0;
            self.force_key = false;
            self.references.clear();
            self.hints.clear();
        }
        let references: Vec<&Reference> = self.references.iter().map(|r| &r.0).collect();
        let halves: Vec<&Halves> = self.references.iter().map(|r| &r.1).collect();
        let height = format.height as usize;
        let count = slice_count(height);
        let results = parallel::map(count, threads, |i| {
            let rows = slice_rows(height, i);
            let job = SliceJob {
                format,
                top: rows.start,
                height: rows.len(),
                near,
                references: &references,
            };
            let hints = self.hints.get(i).map_or(&[][..], Vec::as_slice);
            let mut rows = Vec::new();
            let coded = encode_slice(
                &job,
                picture,
                &halves,
                hints,
                &self.config.search,
                Some(&mut rows),
            )?;
            Ok((coded, rows))
        });
        let mut decoded = Picture::grey(format);
        let (mut slices, mut hints) = (Vec::new(), Vec::new());
        for (i, result) in results.into_iter().enumerate() {
            let ((bytes, fields), rows) = result?;
            decoded.put_rows(slice_rows(height, i).start, &rows);
            slices.push(bytes);
            hints.push(fields);
        }
        let info = UnitInfo {
            frame_type: if key {
                FrameType::Key
            } else {
                FrameType::Predicted
            },
            number: self.number,
            references: [i8::from(!key), if references.len() > 1 { 2 } else { 0 }],
            qp: near,
            picture_crc: self.config.picture_crc.then(|| decoded.crc()),
        };
        let unit = info.write(&slices)?;
        let reference = Reference::new(&decoded);
        if let Some(luma) = reference.planes.first() {
            let halves = Halves::new(&Kernels::best(), luma, format.max());
            self.references.insert(0, (reference, halves));
            self.references.truncate(self.config.references.into());
        }
        self.hints = hints;
        self.number = self.number.wrapping_add(1);
        self.since_key += 1;
        Ok(unit)
    }
}
