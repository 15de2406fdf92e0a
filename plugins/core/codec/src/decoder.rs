//! Access units to frames.

use std::{ops::Range, sync::Arc};

use crate::{
    CodecError, Format, Picture, Result,
    bitstream::{AccessUnit, FrameType, Header, ModelHash, Profile, hex},
    lossless::{MODEL, SLICE_ROWS, SliceJob, SliceRows, decode_slice, slice_count, slice_rows},
    lossy::{self, Coder, FrameJob, Stages, Synthesiser},
    motion::Reference,
    nets::{Kind, Level, Model},
    parallel,
};

mod layer;

pub use layer::Layers;

/// A decoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The frame.
    pub picture: Picture,
    /// Its position in the order of display, modulo 2^32.
    pub number: u32,
    /// Whether decoding can start here.
    pub keyframe: bool,
    /// Slices of 64 luma rows that could not be decoded: they show the last frame instead (moved
    /// by their vectors where only the reference is damaged), or grey.
    pub damaged_slices: Vec<usize>,
    /// Whether the frame has a layer and it was decoded.
    pub layer: bool,
    /// Slices that lack their layer, because it is damaged or what it rests on is: they show the
    /// lossy picture. Empty if the layer was not to be decoded.
    pub damaged_layer_slices: Vec<usize>,
    /// Whether the frame may differ from what was encoded: there are damaged slices, or the CRC of
    /// the picture does not match. Without the layer it is compared with the lossy picture.
    pub corrupt: bool,
}

/// A frame that others may refer to.
#[derive(Debug)]
struct Known {
    reference: Reference,
    picture: Picture,
    number: u32,
    /// Slices that are not what was encoded.
    damaged: Vec<bool>,
    /// The frame with its layer, if it has one.
    full: Option<layer::Full>,
}

/// Whether luma rows reach into damaged slices.
fn reach_damage(damaged: &[bool], rows: Range<usize>) -> bool {
    let of = |row: usize| (row / SLICE_ROWS).min(damaged.len().saturating_sub(1));
    let slices = of(rows.start)..=of(rows.end.saturating_sub(1));
    damaged.get(slices).is_none_or(|d| d.contains(&true))
}

/// Luma samples of a frame that are decoded unless [`Decoder::max_samples`] says otherwise: 8K has
/// half as many.
const MAX_SAMPLES: u64 = 1 << 26;

/// A decoder.
#[derive(Debug)]
pub struct Decoder {
    header: Header,
    /// Networks of the lossy profiles.
    model: Option<Arc<Model>>,
    coder: Coder,
    threads: usize,
    layers: Layers,
    max_samples: u64,
    /// Frames that others may refer to, the last decoded first.
    references: Vec<Known>,
}

impl Decoder {
    /// A decoder for the lossless stream with this `codec_data`.
    ///
    /// # Errors
    /// Those of [`Header::parse`], [`CodecError::Profile`], [`CodecError::Model`].
    pub fn new(codec_data: &[u8]) -> Result<Self> {
        Self::with_models(codec_data, |_| None)
    }

    /// A decoder for the stream with this `codec_data`, of any profile. `find` gives the model with
    /// a hash, if it is there.
    ///
    /// # Errors
    /// Those of [`Header::parse`], [`CodecError::Profile`], [`CodecError::Model`];
    /// [`CodecError::NoCodebooks`] if the model was made for other profiles than `vq`.
    pub fn with_models(
        codec_data: &[u8],
        find: impl FnOnce(&ModelHash) -> Option<Arc<Model>>,
    ) -> Result<Self> {
        let header = Header::parse(codec_data)?;
        let model = match header.profile {
            Profile::Lossless => {
                header.require_model(&MODEL)?;
                None
            }
            Profile::Intra | Profile::Inter | Profile::Vq => {
                lossy::check_format(Format::of(&header))?;
                let model = find(&header.model).ok_or_else(|| CodecError::Model {
                    needed: hex(&header.model),
                    have: "no such model".into(),
                })?;
                header.require_model(model.hash())?;
                if header.profile == Profile::Vq {
                    model.codebooks(Kind::Intra)?;
                }
                Some(model)
            }
            other => return Err(CodecError::Profile(other.name())),
        };
        Ok(Self {
            header,
            model,
            coder: Coder::default(),
            threads: 1,
            layers: Layers::All,
            max_samples: MAX_SAMPLES,
            references: Vec::new(),
        })
    }

    /// Sets the number of threads; the frames do not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Sets how much of the stream to decode.
    #[must_use]
    pub fn layers(mut self, layers: Layers) -> Self {
        self.layers = layers;
        self
    }

    /// Sets how many luma samples a frame may have (2^26 if not said): a few bytes can announce a
    /// frame of gigabytes.
    #[must_use]
    pub fn max_samples(mut self, samples: u64) -> Self {
        self.max_samples = samples;
        self
    }

    /// Has the frames of the lossy profiles synthesised by `synthesiser`, which must be made for this
    /// decoder's [`Self::model`] and have passed [`check_synthesiser`](crate::check_synthesiser).
    #[must_use]
    pub fn synthesiser(mut self, synthesiser: Arc<dyn Synthesiser>) -> Self {
        self.coder.synthesise_elsewhere(synthesiser);
        self
    }

    /// Takes the times of [`Self::stages`].
    #[must_use]
    pub fn timed(mut self) -> Self {
        self.coder.take_times();
        self
    }

    /// How long the stages of all frames so far took, of a lossy profile; nothing unless
    /// [`Self::timed`].
    pub fn stages(&self) -> Stages {
        self.coder.stages()
    }

    /// The networks of the lossy profiles.
    pub fn model(&self) -> Option<&Arc<Model>> {
        self.model.as_ref()
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
    /// of the stream, no keyframe came yet ([`CodecError::NoKeyframe`]), or a synthesiser gives up
    /// ([`CodecError::Device`]). Damage beyond that is told in [`Decoded`].
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Decoded> {
        let unit = AccessUnit::parse(bytes)?;
        let format = Format::of(&self.header);
        let height = format.height as usize;
        let count = slice_count(height);
        if unit.slices.len() != count {
            let value = unit.slices.len() as u64;
            return Err(CodecError::Field {
                what: "number of slices",
                value,
            });
        }
        let samples = u64::from(format.width) * u64::from(format.height);
        if samples > self.max_samples {
            return Err(CodecError::Field {
                what: "number of luma samples",
                value: samples,
            });
        }
        if unit.info.layer.is_some() && !self.header.layer {
            return Err(CodecError::Field {
                what: "a layer, which codec_data does not announce: the unit's flag",
                value: 2,
            });
        }
        let keyframe = unit.info.frame_type == FrameType::Key;
        let number = unit.info.number;
        let (mut references, mut damage) = (Vec::new(), Vec::new());
        let mut first = None;
        for distance in unit.info.references.into_iter().filter(|&d| d != 0) {
            let wanted = number.wrapping_add_signed(-i32::from(distance));
            let known = self.references.iter().find(|k| k.number == wanted);
            // The last frame stands in for one that is missing.
            let Some(used) = known.or(self.references.first()) else {
                return Err(CodecError::NoKeyframe);
            };
            if references.is_empty() {
                first = known;
            }
            references.push(&used.reference);
            damage.push(match known {
                Some(known) => known.damaged.clone(),
                None => vec![true; count],
            });
        }
        let damaged =
            |r: usize, rows: Range<usize>| damage.get(r).is_none_or(|d| reach_damage(d, rows));
        let last = self.references.first();
        let mut picture = last.map_or_else(|| Picture::grey(format), |k| k.picture.clone());
        let mut damaged = match self.model.as_deref() {
            None => self.lossless(&unit, &references, damaged, &mut picture),
            Some(model) => self.lossy(&unit, model, &references, damaged, &mut picture)?,
        };
        let damaged_slices: Vec<usize> = (0..count).filter(|&i| damaged[i]).collect();
        let mut corrupt = !damaged_slices.is_empty();
        if !corrupt
            && unit
                .info
                .picture_crc
                .is_some_and(|crc| crc != picture.crc())
        {
            // Nobody knows where.
            corrupt = true;
            damaged.fill(true);
        }
        let wanted = unit.info.layer.filter(|_| self.layers == Layers::All);
        let full = wanted.map(|info| {
            let base = layer::Base {
                picture: &picture,
                damaged: &damaged,
                reference: first,
            };
            self.layer(&unit, info, &base)
        });
        if keyframe {
            self.references.clear();
        }
        if unit.info.frame_type != FrameType::Droppable {
            let known = Known {
                reference: Reference::new(&picture),
                picture: picture.clone(),
                number,
                damaged,
                full: full.as_ref().map(layer::Full::new),
            };
            self.references.insert(0, known);
            self.references.truncate(2);
        }
        let layer = full.is_some();
        let mut damaged_layer_slices = Vec::new();
        if let Some((full, damaged)) = full {
            picture = full;
            damaged_layer_slices.extend((0..count).filter(|&i| damaged[i]));
            corrupt |= !damaged_layer_slices.is_empty();
        }
        Ok(Decoded {
            picture,
            number,
            keyframe,
            damaged_slices,
            layer,
            damaged_layer_slices,
            corrupt,
        })
    }

    /// Decodes lossless slices into `picture`; tells which are damaged.
    fn lossless(
        &self,
        unit: &AccessUnit<'_>,
        references: &[&Reference],
        damaged: impl Fn(usize, Range<usize>) -> bool + Sync,
        picture: &mut Picture,
    ) -> Vec<bool> {
        let format = Format::of(&self.header);
        let height = format.height as usize;
        let results: Vec<Option<SliceRows>> = parallel::map(unit.slices.len(), self.threads, |i| {
            let slice = unit.slices.get(i).filter(|s| s.intact)?;
            let rows = slice_rows(height, i);
            let job = SliceJob {
                format,
                top: rows.start,
                height: rows.len(),
                near: unit.info.qp,
                references,
                lossy: None,
            };
            decode_slice(&job, slice.data, &damaged).ok()
        });
        let put = |(i, rows): (usize, &Option<SliceRows>)| match rows {
            Some(rows) => {
                picture.put_rows(slice_rows(height, i).start, &rows.planes);
                rows.concealed
            }
            None => true,
        };
        results.iter().enumerate().map(put).collect()
    }

    /// Decodes lossy slices into `picture`; tells which are damaged, or rest on what is.
    ///
    /// # Errors
    /// If the level of the frame is none, and those of a synthesiser.
    fn lossy(
        &self,
        unit: &AccessUnit<'_>,
        model: &Model,
        references: &[&Reference],
        damaged: impl Fn(usize, Range<usize>) -> bool + Sync,
        picture: &mut Picture,
    ) -> Result<Vec<bool>> {
        let format = Format::of(&self.header);
        let height = format.height as usize;
        let job = FrameJob {
            model,
            format,
            level: Level::new(unit.info.qp)?,
            vq: self.header.profile == Profile::Vq,
            threads: self.threads,
        };
        let reference = references.first().copied();
        let data = |i: usize| unit.slices.get(i).filter(|s| s.intact).map(|s| s.data);
        if let Some(elsewhere) = self.coder.elsewhere() {
            let coder = &self.coder;
            let found = coder.decode_frame(elsewhere, &job, data, reference, picture)?;
            let rests_on_damage = |looked_at: Option<Option<Range<usize>>>| match looked_at {
                Some(looked_at) => looked_at.is_some_and(|rows| damaged(0, rows)),
                None => true,
            };
            return Ok(found.into_iter().map(rests_on_damage).collect());
        }
        let results = parallel::map(unit.slices.len(), self.threads, |i| {
            let (rows, looked_at) = self.coder.decode(&job.slice(i), data(i)?, reference).ok()?;
            Some((rows, looked_at.is_some_and(|rows| damaged(0, rows))))
        });
        let put = |(i, found): (usize, &Option<(Picture, bool)>)| match found {
            Some((rows, damaged)) => {
                picture.put_slice(slice_rows(height, i).start, rows);
                *damaged
            }
            None => true,
        };
        Ok(results.iter().enumerate().map(put).collect())
    }
}
