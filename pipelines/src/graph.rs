//! The pipeline of a job.

use crate::branches;
use crate::deinterlace;
use crate::describe;
use crate::encoder::Settings;
use crate::failure::{Failure, make};
use crate::ground_truth::{Branch, Truth};
use crate::job::{Options, Work};
use crate::location::{self, Output};
use crate::parts::{
    add_chain, byte_queue, decoder, fail, flip, frame_queue, link_later, muxer, scale_of, sink_pad,
    tell_neuraldec, to_muxer, upscaler,
};
use crate::plan::{Action, Container, Note, Plan, Rotation};
use crate::probe::{ColourSource, Kind, Source, hide_container_colour, link_source};
use crate::timing::{self, Control, Cut, Track};
use crate::watch::{Described, drop_orientation, watch_damage, watch_muxed, watch_raw};
use gst::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One stream's way in.
#[derive(Debug)]
struct Entry {
    id: String,
    kind: Kind,
    pad: gst::Pad,
    track: Arc<Track>,
}

/// The parser's pads and the probes that hold them.
type HeldPads = Arc<Mutex<Vec<(gst::Pad, Option<gst::PadProbeId>)>>>;

/// A pipeline, built but not started.
#[derive(Debug)]
pub struct Graph {
    /// The pipeline.
    pub pipeline: gst::Pipeline,
    /// The parser, whose pads are linked when all are known.
    pub parse: gst::Element,
    /// Where decoded frames come in.
    pub raw: gst::Pad,
    /// Size of the source's frames.
    pub input: (u32, u32),
    /// Size of the output's frames.
    pub output: (u32, u32),
    /// What came up while building.
    pub notes: Vec<Note>,
    src: gst::Element,
    upscaler: Option<gst::Element>,
    entries: Vec<Entry>,
    pads: HeldPads,
    complete: Arc<AtomicBool>,
    control: Arc<Control>,
    video: Arc<Track>,
    muxed: Arc<AtomicU64>,
    damaged: Arc<AtomicU64>,
    check: Option<Branch>,
}

/// How many frames went where.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Decoded, in the part asked for.
    pub frames_in: u64,
    /// Encoded and given to the muxer.
    pub frames_out: u64,
    /// Those that came from the decoder as damaged.
    pub damaged: u64,
    /// Furthest time of the source seen on any stream.
    pub reached_ns: u64,
    /// Length of the output's video.
    pub video_end_ns: u64,
}

impl Graph {
    /// Builds it. `target` is where the muxer writes; `truth` is what the result is measured against.
    pub(crate) fn build(
        options: &Options,
        settings: &Settings,
        source: &Source,
        plan: &Plan,
        control: &Arc<Control>,
        target: &Output,
        truth: Option<&Truth>,
    ) -> Result<Self, Failure> {
        let pipeline = gst::Pipeline::new();
        let src = location::source(&options.input)?;
        let parse = make("parsebin")?;
        let mux = muxer(plan.container, settings.codec)?;
        let sink = target.sink()?;
        pipeline
            .add_many([&src, &parse, &mux, &sink])
            .map_err(fail)?;
        link_source(&src, &parse)?;
        hide_container_colour(&parse, |_| {});
        mux.link(&sink).map_err(fail)?;

        let mut notes = Vec::new();
        let info = source.decoded.structure(0);
        let dimension = |name: &str| {
            info.and_then(|s| s.get::<i32>(name).ok())
                .unwrap_or(0)
                .max(0) as u32
        };
        let mut input = (dimension("width"), dimension("height"));
        match options.work {
            Work::Upscale => notes.extend(describe::interlaced(source, options.deinterlace)),
            Work::Encode => notes.extend(describe::converted(source)),
            Work::Decode => {}
        }
        let turned =
            matches!(&plan.rotation, Rotation::Pixels(o) if o.contains("90") || o.contains("270"));
        if turned {
            input = (input.1, input.0);
        }
        let properties = options.element.iter();
        // `decode` has one where its result is refined.
        let wanted = options.work == Work::Upscale || !options.element.is_empty();
        let upscaler = wanted
            .then(|| upscaler(properties.map(|(n, v)| (n.as_str(), v.as_str()))))
            .transpose()?;
        let scale = upscaler.as_ref().map_or(Ok(1), scale_of)?;
        if options.work != Work::Upscale && scale != 1 {
            return Err(Failure::usage(format!(
                "--refine takes a network that keeps the size, this one makes pictures {scale} times as large"
            ))
            .hint("decode without --refine, then gst-neural upscale"));
        }
        let natural = (input.0 * scale, input.1 * scale);
        let side = options
            .element
            .iter()
            .any(|(k, v)| k == "compare" && v == "side");
        let mut output = options.size.unwrap_or_else(|| match options.scale {
            Some(s) => (input.0 * s, input.1 * s),
            None => natural,
        });
        let resize = output != natural;
        if side {
            if resize {
                return Err(Failure::usage(
                    "--compare side does not go with --size or another --scale",
                ));
            }
            output.0 *= 2;
        }
        if let Some(truth) = truth {
            truth.check_size(output, &plan.rotation)?;
            notes.extend(truth.notes(source));
        }
        if settings.codec == crate::encoder::Codec::Av1
            && info
                .and_then(|s| s.get::<String>("format").ok())
                .is_some_and(|f| f.contains("_1"))
        {
            let template = gst::ElementFactory::find("av1enc").map(|f| f.static_pad_templates());
            let ten = gst::Caps::builder("video/x-raw")
                .field("format", "I420_10LE")
                .build();
            if template.is_some_and(|t| !t.iter().any(|t| t.caps().can_intersect(&ten))) {
                notes.push(Note {
                    code: "depth-reduced",
                    text: "this av1enc takes 8 bits: the 10-bit video is reduced; --encoder x265 keeps it".into(),
                });
            }
        }

        // Entries and their branches.
        let mut entries = Vec::new();
        let mut raw = None;
        let mut check = None;
        let video = Arc::new(Track::default());
        let muxed = Arc::new(AtomicU64::new(0));
        let damaged = Arc::new(AtomicU64::new(0));
        let described = Described::default();
        for (stream, action) in source.streams.iter().zip(&plan.actions) {
            let track = Arc::new(Track::default());
            let pad = match action {
                Action::Drop => continue,
                Action::Work => {
                    let mut chain = Vec::new();
                    if options.deinterlace {
                        chain.extend(deinterlace::chain(&source.decoded)?);
                    }
                    if let Rotation::Pixels(orientation) = &plan.rotation {
                        chain.push(flip(orientation)?);
                    }
                    chain.push(make("videoconvert")?);
                    chain.extend(upscaler.clone());
                    chain.push(frame_queue(4)?);
                    if resize {
                        let scale = make("videoscale")?;
                        scale.set_property_from_str("method", "lanczos");
                        scale.set_property("add-borders", false);
                        let caps = make("capsfilter")?;
                        caps.set_property(
                            "caps",
                            gst::Caps::builder("video/x-raw")
                                .field("width", output.0 as i32)
                                .field("height", output.1 as i32)
                                .build(),
                        );
                        chain.extend([scale, caps]);
                    }
                    let results = truth.map(|_| make("tee")).transpose()?;
                    chain.extend(results.clone());
                    chain.push(make("videoconvert")?);
                    chain.push(settings.make()?);
                    let parser = settings.codec.parser().map(make).transpose()?;
                    if let Some(parser) = &parser
                        && plan.container == Container::Ts
                        && parser.has_property("config-interval")
                    {
                        parser.set_property("config-interval", -1i32);
                    }
                    chain.extend(parser);
                    chain.push(byte_queue(64)?);
                    let (first, last) = add_chain(&pipeline, &chain)?;
                    if let (Some(truth), Some(tee)) = (truth, &results) {
                        let rotation = &plan.rotation;
                        check = Some(Branch::build(&pipeline, truth, tee, rotation, control)?);
                    }
                    let caps = gst::Caps::new_empty_simple(settings.codec.media_type());
                    let target = to_muxer(&mux, plan.container, &caps, &last)?;
                    watch_muxed(&target, &muxed, &described);
                    let entry = byte_queue(64)?;
                    let decode = decoder()?;
                    tell_neuraldec(&decode, &options.decoding)?;
                    pipeline.add_many([&entry, &decode]).map_err(fail)?;
                    entry.link(&decode).map_err(fail)?;
                    let raw_pad = sink_pad(&first)?;
                    let forced = source
                        .colorimetry()
                        .filter(|_| source.colour != ColourSource::Stream);
                    let rate = settings.codec == crate::encoder::Codec::Av1;
                    watch_raw(&raw_pad, forced, rate, &described);
                    timing::install(&raw_pad, control, &video, Cut::Video);
                    watch_damage(&raw_pad, &damaged);
                    if matches!(plan.rotation, Rotation::Pixels(_)) {
                        drop_orientation(&raw_pad);
                    }
                    link_later(&decode, raw_pad.clone());
                    raw = Some(raw_pad);
                    sink_pad(&entry)?
                }
                Action::Copy(parser) => {
                    branches::copy(&pipeline, &mux, plan, stream, *parser, control, &track)?
                }
                Action::Encode(encoder) => {
                    branches::encode(&pipeline, &mux, plan.container, encoder, control, &track)?
                }
            };
            entries.push(Entry {
                id: stream.id.clone(),
                kind: stream.kind,
                pad,
                track: if *action == Action::Work {
                    Arc::clone(&video)
                } else {
                    track
                },
            });
        }

        let pads = Arc::new(Mutex::new(Vec::new()));
        let complete = Arc::new(AtomicBool::new(false));
        let held = Arc::clone(&pads);
        let done = Arc::clone(&complete);
        parse.connect_pad_added(move |_, pad| {
            // Everything waits until all streams are known and the demuxer has sought.
            // parsebin adds all its pads before data flows on any.
            let flowing = Arc::clone(&done);
            let id = pad.add_probe(gst::PadProbeType::BLOCK_DOWNSTREAM, move |_, _| {
                flowing.store(true, Ordering::SeqCst);
                gst::PadProbeReturn::Ok
            });
            held.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((pad.clone(), id));
        });

        Ok(Self {
            pipeline,
            parse,
            raw: raw.ok_or_else(|| fail("no video branch"))?,
            input,
            output,
            notes,
            src,
            upscaler,
            entries,
            pads,
            complete,
            control: Arc::clone(control),
            video,
            muxed,
            damaged,
            check,
        })
    }

    /// Whether all streams are known, and the ground truth, if there is one, is there.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::SeqCst) && self.check.as_ref().is_none_or(Branch::is_ready)
    }

    /// The measuring part, if there is one.
    pub(crate) fn check(&self) -> Option<&Branch> {
        self.check.as_ref()
    }

    /// Seeks if asked to, links every stream to its branch, and lets the data flow.
    pub fn connect(&self, start_ns: Option<u64>) -> Result<(), Failure> {
        let mut pads =
            std::mem::take(&mut *self.pads.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some((pad, _)) = pads.first() {
            timing::seek(pad, start_ns, &self.control);
        }
        if let Some(check) = &self.check {
            check.connect(start_ns);
        }
        for (pad, _) in &pads {
            let id = pad.stream_id().map(|s| s.to_string()).unwrap_or_default();
            let kind = pad.current_caps().map_or(Kind::Other, |c| Kind::of(&c));
            let entry = self
                .entries
                .iter()
                .find(|e| e.id == id && !e.pad.is_linked())
                .or_else(|| {
                    // A source whose identifiers change from one opening to the next.
                    let known = self.entries.iter().any(|e| e.id == id);
                    (!known && kind == Kind::Video)
                        .then(|| {
                            self.entries
                                .iter()
                                .find(|e| e.kind == kind && !e.pad.is_linked())
                        })
                        .flatten()
                });
            match entry {
                Some(entry) => {
                    // Without a check of caps: a probe on the entry may change them.
                    pad.link_full(&entry.pad, gst::PadLinkCheck::HIERARCHY)
                        .map_err(fail)?;
                }
                None => {
                    let sink = make("fakesink")?;
                    sink.set_property("async", false);
                    sink.set_property("sync", false);
                    self.pipeline.add(&sink).map_err(fail)?;
                    sink.sync_state_with_parent().map_err(fail)?;
                    pad.link(&sink_pad(&sink)?).map_err(fail)?;
                }
            }
        }
        for entry in &self.entries {
            if !entry.pad.is_linked() {
                entry
                    .pad
                    .send_event(gst::event::StreamStart::new(&entry.id));
                entry.pad.send_event(gst::event::Eos::new());
            }
        }
        for (pad, id) in pads.drain(..) {
            if let Some(id) = id {
                pad.remove_probe(id);
            }
        }
        Ok(())
    }

    /// Ends every stream that has not ended; what has been read is still worked off.
    pub fn end_all(&self, from_decoder: bool) {
        let pads: Vec<gst::Pad> = if from_decoder {
            self.control.stop.store(true, Ordering::SeqCst);
            self.control.cut_ns.fetch_min(
                self.control.video_end_ns.load(Ordering::SeqCst),
                Ordering::SeqCst,
            );
            vec![self.raw.clone()]
        } else {
            self.entries.iter().map(|e| e.pad.clone()).collect()
        };
        // From a thread of its own: the pad may be busy.
        std::thread::spawn(move || {
            for pad in pads {
                pad.send_event(gst::event::Eos::new());
            }
        });
    }

    /// Whether `object` lies in front of the upscaler, so that its failure is the source's.
    pub fn is_source_side(&self, object: Option<&gst::Object>) -> Option<SourceSide> {
        if let (Some(check), Some(object)) = (&self.check, object)
            && check.holds(object)
        {
            return Some(SourceSide::GroundTruth);
        }
        let mut current = object.cloned();
        while let Some(o) = current {
            if o == *self.src.upcast_ref::<gst::Object>() {
                return Some(SourceSide::Demuxer);
            }
            if let Some(element) = o.downcast_ref::<gst::Element>() {
                let name = element
                    .factory()
                    .map(|f| f.name().to_string())
                    .unwrap_or_default();
                match name.as_str() {
                    "parsebin" => return Some(SourceSide::Demuxer),
                    "decodebin" => return Some(SourceSide::Decoder),
                    _ => {}
                }
            }
            current = o.parent();
        }
        None
    }

    /// Counters.
    pub fn counts(&self) -> Counts {
        Counts {
            frames_in: self.video.count.load(Ordering::SeqCst),
            frames_out: self.muxed.load(Ordering::SeqCst),
            damaged: self.damaged.load(Ordering::SeqCst),
            reached_ns: self
                .entries
                .iter()
                .map(|e| e.track.reached_ns.load(Ordering::SeqCst))
                .max()
                .unwrap_or(0)
                .saturating_add(self.control.sought_ns.load(Ordering::SeqCst)),
            video_end_ns: self.control.video_end_ns.load(Ordering::SeqCst),
        }
    }

    /// A number that changes whenever anything moves.
    pub fn activity(&self) -> u64 {
        self.entries
            .iter()
            .map(|e| e.track.count.load(Ordering::SeqCst))
            .sum::<u64>()
            .wrapping_add(self.muxed.load(Ordering::SeqCst))
    }

    /// Leads of the muxer's tracks in its order, in nanoseconds (0 for most).
    pub fn leads(&self) -> Vec<u64> {
        self.entries
            .iter()
            .map(|e| e.track.lead_ns.load(Ordering::SeqCst))
            .collect()
    }

    /// The model in use, if there is one.
    pub fn model(&self) -> Option<String> {
        self.upscaler.as_ref()?.property::<Option<String>>("model")
    }

    /// The element's `stats`.
    pub fn stats(&self) -> BTreeMap<String, serde_json::Value> {
        let mut map = BTreeMap::new();
        if let Some(upscaler) = &self.upscaler
            && upscaler.has_property("stats")
            && let Some(stats) = upscaler.property::<Option<gst::Structure>>("stats")
        {
            for (name, value) in stats.iter() {
                let json = if let Ok(v) = value.get::<u64>() {
                    v.into()
                } else if let Ok(v) = value.get::<u32>() {
                    v.into()
                } else if let Ok(v) = value.get::<f64>() {
                    v.into()
                } else if let Ok(v) = value.get::<String>() {
                    v.into()
                } else {
                    continue;
                };
                map.insert(name.to_string(), json);
            }
        }
        map
    }
}

/// Which part of the source broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceSide {
    /// File or container.
    Demuxer,
    /// Decoder.
    Decoder,
    /// What the result is measured against.
    GroundTruth,
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
