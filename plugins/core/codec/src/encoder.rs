//! Frames to access units.

use std::sync::Arc;

use crate::{
    CodecError, Format, Picture, Result,
    bitstream::{Colour, FrameType, Header, Profile, UnitInfo},
    lossless::{MODEL, SliceJob, encode_slice, slice_count, slice_rows},
    lossy::{self, Coder, Control, FrameJob, LEVELS, Lossy, Predicted, Rate, Synthesiser},
    motion::{Field, Halves, Kernels, Reference, SearchConfig},
    nets::Level,
    parallel,
};

mod layer;

pub use layer::Layer;

/// Frames after a keyframe in which a scene change does not make another one.
const FEWEST_BETWEEN_CUTS: u32 = 8;
/// How often a frame is coded again, each time coarser, because the decoder's buffer does not hold
/// it.
const MAX_TRIES: u32 = 8;

/// How to encode.
#[derive(Debug, Clone)]
pub struct Config {
    /// Format of all frames.
    pub format: Format,
    /// What samples mean.
    pub colour: Colour,
    /// Frames a second as a fraction; 0/1 is unknown or variable.
    pub fps: (u32, u32),
    /// Every how many frames a keyframe comes; 1 makes all of them keyframes.
    pub keyframe_interval: u32,
    /// The greatest error of a sample, 0 to 15; 0 is lossless. Without meaning if [`Self::lossy`] is
    /// there.
    pub near: u8,
    /// With networks, and loss; `None` is the profile `lossless`.
    pub lossy: Option<Lossy>,
    /// A layer on the lossy pictures that makes them lossless, or near it. Decoders can leave it
    /// out; a bitrate is that of the stream without it.
    pub layer: Option<Layer>,
    /// Frames that a frame may be predicted from, 1 or 2 (1 with loss): the one before, and the one
    /// before that. The second rarely pays.
    pub references: u8,
    /// Threads; the stream does not depend on their number.
    pub threads: usize,
    /// Whether the stream is compact: short heads of units and, with loss, vectors and copies by
    /// tables that were counted. Decoders of old do not know such streams.
    pub compact: bool,
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
            lossy: None,
            layer: None,
            references: 1,
            threads: 1,
            compact: true,
            picture_crc: false,
            search: SearchConfig::default(),
        }
    }
}

/// An encoder.
#[derive(Debug)]
pub struct Encoder {
    config: Config,
    number: u32,
    since_key: u32,
    force_key: bool,
    /// The last frames that others may refer to, with their numbers, the last one first.
    references: Vec<Known>,
    /// The last of these frames with its layer, if it has one.
    full: Option<layer::Full>,
    /// Vectors of each slice of the last frame.
    hints: Vec<Vec<Field>>,
    coder: Coder,
    spare: Spare,
    control: Option<Control>,
    /// What frames lately differed from their predictions by; nothing is known after a keyframe.
    usual_cost: Option<u64>,
}

/// A frame that others may refer to, its luma for the search, and its number.
type Known = (Reference, Halves, u32);

/// What a lossy slice was coded to, and what the decoder sees.
type CodedSlice = Result<(Vec<u8>, Picture)>;

/// Memory that is used again for lossy frames.
#[derive(Debug, Default)]
struct Spare {
    known: Vec<Known>,
    sums: Vec<i32>,
    /// What the slices of the frame are predicted from.
    predicted: Vec<Option<Predicted>>,
    coded: Vec<CodedSlice>,
    slices: Vec<Vec<u8>>,
    /// Empty ones.
    hints: Vec<Vec<Field>>,
}

/// A coded frame.
struct Coded {
    frame_type: FrameType,
    qp: u8,
    slices: Vec<Vec<u8>>,
    decoded: Picture,
    hints: Vec<Vec<Field>>,
}

impl Coded {
    fn bits(&self, compact: bool) -> u64 {
        // A unit has 20 bytes and 8 for each slice beside these, or 12 and 4 if it is compact.
        let each = if compact { (12, 4) } else { (20, 8) };
        let slices = self.slices.iter().map(|s| s.len() as u64 + each.1);
        8 * (slices.sum::<u64>() + each.0)
    }
}

impl Encoder {
    /// An encoder.
    ///
    /// # Errors
    /// [`CodecError::Setting`] names the setting that is out of range, [`CodecError::Format`] a
    /// format that the networks do not take.
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
        layer::check(&config)?;
        let mut control = None;
        if let Some(lossy) = &config.lossy {
            lossy::check(config.format, lossy)?;
            match lossy.rate {
                Rate::Quality(quality) if quality >= LEVELS => {
                    return bad("quality", quality.into(), "0 to 31");
                }
                Rate::Quality(_) => {}
                Rate::Average {
                    bits_per_second,
                    buffer_ms,
                } => {
                    let pixels = u64::from(config.format.width) * u64::from(config.format.height);
                    let interval = if lossy.intra_only {
                        1
                    } else {
                        config.keyframe_interval
                    };
                    control = Some(Control::new(
                        bits_per_second,
                        buffer_ms,
                        config.fps,
                        pixels,
                        interval,
                    )?);
                }
            }
        }
        Ok(Self {
            config,
            number: 0,
            since_key: 0,
            force_key: false,
            references: Vec::new(),
            full: None,
            hints: Vec::new(),
            coder: Coder::default(),
            spare: Spare::default(),
            control,
            usual_cost: None,
        })
    }

    /// Has the frames of the lossy profiles synthesised by `synthesiser`, which must be made for the
    /// model of [`Lossy`] and have passed [`check_synthesiser`](crate::check_synthesiser). The stream
    /// does not depend on it.
    #[must_use]
    pub fn synthesiser(mut self, synthesiser: Arc<dyn Synthesiser>) -> Self {
        self.coder.synthesise_elsewhere(synthesiser);
        self
    }

    /// The `codec_data` of the stream.
    pub fn codec_data(&self) -> Vec<u8> {
        let Config {
            format,
            colour,
            fps,
            ref lossy,
            ..
        } = self.config;
        let (profile, tier, model) = match lossy {
            None => (Profile::Lossless, 0, MODEL),
            Some(l) if l.vq => (Profile::Vq, l.model.tier(), *l.model.hash()),
            Some(l) if l.intra_only => (Profile::Intra, l.model.tier(), *l.model.hash()),
            Some(l) => (Profile::Inter, l.model.tier(), *l.model.hash()),
        };
        let header = Header {
            profile,
            tier,
            layer: self.config.layer.is_some(),
            copies: lossy
                .as_ref()
                .is_some_and(|l| l.copying.is_used() && !l.intra_only),
            compact: self.config.compact,
            width: format.width,
            height: format.height,
            chroma: format.chroma,
            depth: format.depth,
            colour,
            fps,
            model,
        };
        header.to_bytes()
    }

    /// Makes the next frame a keyframe.
    pub fn force_keyframe(&mut self) {
        self.force_key = true;
    }

    /// Sets another quality or bitrate from the next frame on.
    ///
    /// # Errors
    /// As [`Self::new`]; nothing is changed then.
    pub fn set_rate(&mut self, rate: Rate) -> Result<()> {
        let mut config = self.config.clone();
        if let Some(lossy) = &mut config.lossy {
            lossy.rate = rate;
        }
        let new = Self::new(config)?;
        (self.config, self.control) = (new.config, new.control);
        Ok(())
    }

    /// Codes a frame to an access unit.
    ///
    /// # Errors
    /// [`CodecError::Format`] if the frame is not of the stream's format, [`CodecError::Device`] if
    /// a synthesiser gives up.
    pub fn encode(&mut self, picture: &Picture) -> Result<Vec<u8>> {
        picture.check(self.config.format)?;
        let key = self.force_key
            || self.references.is_empty()
            || self.since_key >= self.config.keyframe_interval
            || self.config.lossy.as_ref().is_some_and(|l| l.intra_only);
        if key {
            self.begin_group();
        }
        let coded = match self.config.lossy.clone() {
            None => self.lossless(picture, key)?,
            Some(lossy) => self.lossy(&lossy, picture, key)?,
        };
        let distance = |i: usize| {
            let number = self.references.get(i).map(|r| r.2);
            number.map_or(0, |n| self.number.wrapping_sub(n) as i8)
        };
        let layer = match self.config.layer {
            Some(layer) => Some(self.layer(layer, picture, &coded)?),
            None => None,
        };
        let info = UnitInfo {
            frame_type: coded.frame_type,
            number: self.number,
            references: [distance(0), distance(1)],
            qp: coded.qp,
            picture_crc: self.config.picture_crc.then(|| coded.decoded.crc()),
            layer: layer.as_ref().map(|l| l.info),
            compact: self.config.compact,
        };
        let of_layer = layer.as_ref().map_or(&[][..], |l| &l.slices);
        let unit = info.write_layered(&coded.slices, of_layer)?;
        if coded.frame_type != FrameType::Droppable {
            self.refer(&coded.decoded);
            self.full = layer.and_then(|l| l.full(&self.config));
            self.forget_hints();
            self.hints.extend(coded.hints);
        }
        // The vectors of lossy frames are still where the frame was predicted.
        let droppable = coded.frame_type == FrameType::Droppable;
        let pools = self.coder.pools();
        for predicted in self.spare.predicted.drain(..).flatten() {
            pools.give_picture(predicted.picture);
            if droppable {
                pools.give_field(predicted.field);
            } else {
                let mut fields = self.spare.hints.pop().unwrap_or_default();
                fields.push(predicted.field);
                self.hints.push(fields);
            }
        }
        let mut slices = coded.slices;
        slices.drain(..).for_each(|bytes| pools.give_bytes(bytes));
        self.spare.slices = slices;
        pools.give_picture(coded.decoded);
        self.number = self.number.wrapping_add(1);
        self.since_key += 1;
        Ok(unit)
    }

    /// Lets frames after it refer to a frame.
    fn refer(&mut self, decoded: &Picture) {
        let keep = usize::from(self.config.references).saturating_sub(1);
        let (references, spare) = (&mut self.references, &mut self.spare);
        spare
            .known
            .extend(references.drain(keep.min(references.len())..));
        let known = spare.known.pop();
        let (mut reference, mut halves, _) =
            known.unwrap_or_else(|| (Reference::new(&Picture::default()), Halves::default(), 0));
        reference.fill(decoded);
        if let Some(luma) = reference.planes.first() {
            let max = self.config.format.max();
            halves.fill(&Kernels::best(), luma, max, &mut spare.sums);
            references.insert(0, (reference, halves, self.number));
        }
    }

    fn forget_hints(&mut self) {
        for mut fields in self.hints.drain(..) {
            let pools = self.coder.pools();
            fields.drain(..).for_each(|f| pools.give_field(f));
            self.spare.hints.push(fields);
        }
    }

    /// The next frame is a keyframe: nothing before it counts.
    fn begin_group(&mut self) {
        self.since_key = 0;
        self.force_key = false;
        self.spare.known.append(&mut self.references);
        self.full = None;
        self.forget_hints();
        self.usual_cost = None;
    }

    fn lossless(&self, picture: &Picture, key: bool) -> Result<Coded> {
        let Config {
            format,
            near,
            threads,
            ..
        } = self.config;
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
                lossy: None,
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
        let frame_type = if key {
            FrameType::Key
        } else {
            FrameType::Predicted
        };
        Ok(Coded {
            frame_type,
            qp: near,
            slices,
            decoded,
            hints,
        })
    }

    fn lossy(&mut self, lossy: &Lossy, picture: &Picture, mut key: bool) -> Result<Coded> {
        let mut predicted = std::mem::take(&mut self.spare.predicted);
        if !key {
            self.predictions(picture, self.search(lossy, key), &mut predicted);
        }
        if !predicted.is_empty() {
            let costs = predicted.iter().flatten();
            let [inter, intra] = costs.fold([0, 0], |[a, b], p| [a + p.costs[0], b + p.costs[1]]);
            let new = self.is_new_scene(inter, intra);
            if lossy.scene_cuts && self.since_key >= FEWEST_BETWEEN_CUTS && new {
                key = true;
                for p in predicted.drain(..).flatten() {
                    self.coder.pools().give_picture(p.picture);
                    self.coder.pools().give_field(p.field);
                }
                self.begin_group();
            } else {
                self.usual_cost = Some(self.usual_cost.map_or(inter, |u| (3 * u + inter) / 4));
            }
        }
        let frame_type = match key {
            true => FrameType::Key,
            false if lossy.droppable && self.since_key % 2 == 1 => FrameType::Droppable,
            false => FrameType::Predicted,
        };
        let mut level = self.level(lossy, key);
        let mut tries = 0;
        let coded = loop {
            let coded = self.at_level(lossy, picture, &predicted, level, frame_type)?;
            tries += 1;
            let fits = self
                .control
                .as_ref()
                .is_none_or(|c| c.fits(coded.bits(self.config.compact)));
            if fits || level + 1 >= LEVELS || tries >= MAX_TRIES {
                break coded;
            }
            for bytes in coded.slices {
                self.coder.pools().give_bytes(bytes);
            }
            self.coder.pools().give_picture(coded.decoded);
            level = (level + 1 + tries as u8).min(LEVELS - 1);
        };
        if let Some(control) = &mut self.control {
            control.coded(key, level, coded.bits(self.config.compact));
        }
        self.spare.predicted = predicted;
        Ok(coded)
    }

    /// Whether a frame whose luma differs from its prediction by `inter`, and from the means of its
    /// blocks by `intra`, has nothing to do with the one before: it is predicted far worse than
    /// frames were lately, and not much better than from nothing.
    fn is_new_scene(&self, inter: u64, intra: u64) -> bool {
        let pixels = u64::from(self.config.format.width) * u64::from(self.config.format.height);
        let jumps = |usual| inter > 3 * usual + pixels;
        5 * inter > 2 * intra && self.usual_cost.is_some_and(jumps)
    }

    /// By how much a frame's level is above the one asked for. What many frames after it are made of
    /// is worth more bits, and the others need fewer then: 5 % of all bits on held-out parts of the
    /// training clips. In compact streams, where those others are smaller, a keyframe one step finer
    /// takes 0.9 % fewer bits (groups of 48; 3.8 % fewer to 0.8 % more by clip).
    fn offset(&self, key: bool) -> i8 {
        match (key, self.since_key % 4) {
            (true, _) if self.config.compact => -4,
            (true, _) => -3,
            (false, 0) => -1,
            (false, 2) => 0,
            (false, _) => 1,
        }
    }

    /// The level to try for the next frame.
    fn level(&self, lossy: &Lossy, key: bool) -> u8 {
        match (&self.control, lossy.rate) {
            (Some(control), _) => control.level(key),
            (None, Rate::Quality(quality)) if lossy.intra_only => LEVELS - 1 - quality,
            (None, Rate::Quality(quality)) => {
                let level = (LEVELS - 1 - quality).saturating_add_signed(self.offset(key));
                level.min(LEVELS - 1)
            }
            (None, Rate::Average { .. }) => LEVELS / 2,
        }
    }

    /// What the motion search pays for a bit: as much as the level's networks pay.
    fn search(&self, lossy: &Lossy, key: bool) -> SearchConfig {
        let level = self.level(lossy, key);
        SearchConfig {
            lambda: lossy::search_lambda(level),
            compact: self.config.compact.then_some(level),
            ..self.config.search
        }
    }

    /// What the slices are predicted from; none if there is nothing.
    fn predictions(
        &self,
        picture: &Picture,
        search: SearchConfig,
        found: &mut Vec<Option<Predicted>>,
    ) {
        let Some((reference, halves, _)) = self.references.first() else {
            return;
        };
        let height = self.config.format.height as usize;
        parallel::map_into(slice_count(height), self.config.threads, found, |i| {
            let hint = self.hints.get(i).and_then(|h| h.first());
            let rows = slice_rows(height, i);
            let pools = self.coder.pools();
            lossy::predict(picture, &rows, (reference, halves), &search, hint, pools)
        });
        if found.iter().any(Option::is_none) {
            found.clear();
        }
    }

    fn at_level(
        &mut self,
        lossy: &Lossy,
        picture: &Picture,
        predicted: &[Option<Predicted>],
        level: u8,
        frame_type: FrameType,
    ) -> Result<Coded> {
        let format = self.config.format;
        let height = format.height as usize;
        let job = FrameJob {
            model: &lossy.model,
            format,
            level: Level::new(level)?,
            vq: lossy.vq,
            copying: lossy.copying,
            compact: self.config.compact,
            threads: self.config.threads,
        };
        if let Some(elsewhere) = self.coder.elsewhere() {
            let coder = &self.coder;
            let (slices, decoded) = coder.encode_frame(elsewhere, &job, picture, predicted)?;
            return Ok(Coded {
                frame_type,
                qp: level,
                slices,
                decoded,
                hints: Vec::new(),
            });
        }
        let mut results = std::mem::take(&mut self.spare.coded);
        parallel::map_into(
            slice_count(height),
            self.config.threads,
            &mut results,
            |i| {
                let predicted = predicted.get(i).and_then(Option::as_ref);
                self.coder.encode(&job.slice(i), picture, predicted)
            },
        );
        let mut decoded = self.coder.pools().grey(format);
        let mut slices = std::mem::take(&mut self.spare.slices);
        for (i, result) in results.drain(..).enumerate() {
            let (bytes, rows) = result?;
            decoded.put_slice(slice_rows(height, i).start, &rows);
            self.coder.pools().give_picture(rows);
            slices.push(bytes);
        }
        self.spare.coded = results;
        Ok(Coded {
            frame_type,
            qp: level,
            slices,
            decoded,
            hints: Vec::new(),
        })
    }
}
