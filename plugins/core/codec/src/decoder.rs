//! Access units to frames.

use std::{ops::Range, sync::Arc};

use crate::{
    CodecError, Format, Picture, Result,
    bitstream::{AccessUnit, FrameType, Header, Lists, ModelHash, Profile, hex},
    lossless::{MODEL, SLICE_ROWS, SliceJob, SliceRows, decode_slice, slice_count, slice_rows},
    lossy::{self, Coder, Copying, FrameJob, Stages, Synthesiser},
    motion::Reference,
    nets::{Kind, Level, Model},
    parallel,
};

mod layer;

pub use layer::Layers;

/// A decoded frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// Memory that is used again.
    spare: Spare,
}

impl Known {
    /// One whose memory is to be filled.
    fn empty() -> Self {
        let picture = Picture::default();
        Self {
            reference: Reference::new(&picture),
            picture,
            number: 0,
            damaged: Vec::new(),
            full: None,
        }
    }
}

/// Memory of frames that are no longer needed.
#[derive(Debug, Default)]
struct Spare {
    lists: Lists<'static>,
    known: Vec<Known>,
    slices: Vec<Option<(Picture, bool)>>,
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
            spare: Spare::default(),
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
        let mut out = Decoded::default();
        self.decode_into(bytes, &mut out)?;
        Ok(out)
    }

    /// As [`Self::decode`], in the memory of a frame that is no longer needed: lossy frames on one
    /// thread then take none.
    ///
    /// # Errors
    /// As [`Self::decode`]; what `out` holds then is not said.
    pub fn decode_into(&mut self, bytes: &[u8], out: &mut Decoded) -> Result<()> {
        let unit = AccessUnit::parse_into(bytes, std::mem::take(&mut self.spare.lists))?;
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
        if unit.info.compact != self.header.compact {
            return Err(CodecError::Field {
                what: "a form that codec_data does not announce: the unit's first byte",
                value: bytes.first().copied().unwrap_or(0).into(),
            });
        }
        let keyframe = unit.info.frame_type == FrameType::Key;
        let number = unit.info.number;
        let mut references: [Option<&Known>; 2] = [None; 2];
        // Nothing is known of those that are missing.
        let mut damage: [Option<&[bool]>; 2] = [None; 2];
        let mut first = None;
        let distances = unit.info.references.into_iter().filter(|&d| d != 0);
        for (i, distance) in distances.enumerate() {
            let wanted = number.wrapping_add_signed(-i32::from(distance));
            let known = self.references.iter().find(|k| k.number == wanted);
            // The last frame stands in for one that is missing.
            let Some(used) = known.or(self.references.first()) else {
                return Err(CodecError::NoKeyframe);
            };
            if i == 0 {
                first = known;
            }
            if let (Some(reference), Some(damage)) = (references.get_mut(i), damage.get_mut(i)) {
                *reference = Some(used);
                *damage = known.map(|k| &k.damaged[..]);
            }
        }
        let damaged = |r: usize, rows: Range<usize>| {
            let of_reference = damage.get(r).copied().flatten();
            of_reference.is_none_or(|d| reach_damage(d, rows))
        };
        let Decoded {
            picture,
            damaged_slices,
            damaged_layer_slices,
            ..
        } = out;
        match self.references.first() {
            Some(last) => picture.copy_from(&last.picture),
            None => picture.reset(format),
        }
        let mut next = self.spare.known.pop().unwrap_or_else(Known::empty);
        let mut slices = std::mem::take(&mut self.spare.slices);
        let bad = &mut next.damaged;
        bad.clear();
        match self.model.as_deref() {
            None => {
                let references: Vec<_> =
                    references.iter().flatten().map(|k| &k.reference).collect();
                bad.extend(self.lossless(&unit, &references, damaged, picture));
            }
            Some(model) => {
                let reference = references[0].map(|k| &k.reference);
                let to = (&mut *picture, &mut *bad);
                self.lossy(&unit, model, reference, damaged, &mut slices, to)?;
            }
        }
        let damaged = bad;
        damaged_slices.clear();
        damaged_slices.extend((0..count).filter(|&i| damaged[i]));
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
                picture,
                damaged,
                reference: first,
            };
            self.layer(&unit, info, &base)
        });
        let droppable = unit.info.frame_type == FrameType::Droppable;
        let Spare {
            lists,
            known,
            slices: of_spare,
        } = &mut self.spare;
        *lists = Lists::of(unit);
        *of_spare = slices;
        if keyframe {
            known.append(&mut self.references);
        }
        if droppable {
            known.push(next);
        } else {
            next.reference.fill(picture);
            next.picture.copy_from(picture);
            next.number = number;
            next.full = full.as_ref().map(layer::Full::new);
            self.references.insert(0, next);
            known.extend(self.references.drain(2.min(self.references.len())..));
        }
        let layer = full.is_some();
        damaged_layer_slices.clear();
        if let Some((full, damaged)) = full {
            *picture = full;
            damaged_layer_slices.extend((0..count).filter(|&i| damaged[i]));
            corrupt |= !damaged_layer_slices.is_empty();
        }
        (out.number, out.keyframe) = (number, keyframe);
        (out.layer, out.corrupt) = (layer, corrupt);
        Ok(())
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

    /// Decodes lossy slices into a picture; tells which are damaged, or rest on what is. `slices` is
    /// scratch space.
    ///
    /// # Errors
    /// If the level of the frame is none, and those of a synthesiser.
    fn lossy(
        &self,
        unit: &AccessUnit<'_>,
        model: &Model,
        reference: Option<&Reference>,
        damaged: impl Fn(usize, Range<usize>) -> bool + Sync,
        slices: &mut Vec<Option<(Picture, bool)>>,
        (picture, bad): (&mut Picture, &mut Vec<bool>),
    ) -> Result<()> {
        let format = Format::of(&self.header);
        let height = format.height as usize;
        let job = FrameJob {
            model,
            format,
            level: Level::new(unit.info.qp)?,
            vq: self.header.profile == Profile::Vq,
            copying: match self.header.copies {
                true => Copying::Better,
                false => Copying::Never,
            },
            compact: self.header.compact,
            threads: self.threads,
        };
        let data = |i: usize| unit.slices.get(i).filter(|s| s.intact).map(|s| s.data);
        if let Some(elsewhere) = self.coder.elsewhere() {
            let coder = &self.coder;
            let found = coder.decode_frame(elsewhere, &job, data, reference, picture)?;
            bad.extend(found.into_iter().map(|looked_at| match looked_at {
                Some(looked_at) => looked_at.is_some_and(|rows| damaged(0, rows)),
                None => true,
            }));
            return Ok(());
        }
        parallel::map_into(unit.slices.len(), self.threads, slices, |i| {
            let (rows, looked_at) = self.coder.decode(&job.slice(i), data(i)?, reference).ok()?;
            Some((rows, looked_at.is_some_and(|rows| damaged(0, rows))))
        });
        for (i, found) in slices.drain(..).enumerate() {
            bad.push(found.as_ref().is_none_or(|f| f.1));
            if let Some((rows, _)) = found {
                picture.put_slice(slice_rows(height, i).start, &rows);
                self.coder.pools().give_picture(rows);
            }
        }
        Ok(())
    }
}
