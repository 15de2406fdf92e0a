//! Pipelines whose streams of raw video belong together: the reference first, then its candidates.

use crate::deinterlace;
use crate::failure::{Failure, make};
use crate::location;
use crate::parts::flip;
use crate::probe::{Kind, link_source};
use gst::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a pipeline ends in.
#[derive(Debug)]
pub struct Streams {
    /// The pipeline.
    pub pipeline: gst::Pipeline,
    /// Where the streams come out; the reference is the first.
    pub outputs: Vec<gst::Pad>,
    /// Frames that have come out of each.
    pub counts: Vec<Arc<AtomicU64>>,
    names: Vec<String>,
}

/// An input of a comparison.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// Path or URI.
    pub location: String,
    /// The format that its frames are converted to, where it has another one than the reference.
    pub convert_to: Option<String>,
    /// The orientation that its frames are turned from.
    pub turn: Option<String>,
    /// Its decoded caps, where progressive frames are to be made of interlaced ones.
    pub deinterlace: Option<gst::Caps>,
}

impl Input {
    /// One that is measured as it is decoded.
    pub fn plain(location: impl Into<String>) -> Self {
        Self {
            location: location.into(),
            ..Self::default()
        }
    }
}

pub(crate) fn fail(e: impl std::fmt::Display) -> Failure {
    Failure::new(format!("the pipeline cannot be built: {e}"))
}

pub(crate) fn pad(element: &gst::Element, name: &str) -> Result<gst::Pad, Failure> {
    element
        .static_pad(name)
        .ok_or_else(|| fail(format!("{} has no pad {name}", element.name())))
}

/// A queue of a few frames.
pub(crate) fn frame_queue(frames: u32) -> Result<gst::Element, Failure> {
    let queue = make("queue")?;
    queue.set_property("max-size-time", 0u64);
    queue.set_property("max-size-buffers", frames);
    queue.set_property("max-size-bytes", 0u32);
    Ok(queue)
}

/// Adds `chain` to `bin` and links it.
pub(crate) fn add_chain(bin: &gst::Bin, chain: &[gst::Element]) -> Result<(), Failure> {
    bin.add_many(chain).map_err(fail)?;
    gst::Element::link_many(chain).map_err(fail)
}

/// A bin that reads and decodes `input`, and its output pad.
pub(crate) fn decoded(name: &str, input: &Input) -> Result<(gst::Bin, gst::Pad), Failure> {
    let bin = gst::Bin::with_name(name);
    let src = location::source(&input.location)?;
    let decoder = make("decodebin")?;
    decoder.set_property("force-sw-decoders", true);
    // Sound and subtitles are not even decoded.
    let raw = gst::Caps::builder("video/x-raw").any_features().build();
    decoder.set_property("caps", raw);
    decoder.set_property("expose-all-streams", false);
    bin.add_many([&src, &decoder]).map_err(fail)?;
    link_source(&src, &decoder)?;
    let mut chain = Vec::new();
    if let Some(caps) = &input.deinterlace {
        chain.extend(deinterlace::chain(caps)?);
    }
    if let Some(orientation) = &input.turn {
        chain.push(flip(orientation)?);
    }
    if let Some(format) = &input.convert_to {
        chain.extend(converter(format)?);
    }
    chain.push(frame_queue(4)?);
    add_chain(&bin, &chain)?;
    let (Some(first), Some(last)) = (chain.first(), chain.last()) else {
        return Err(fail("an empty chain"));
    };
    let entry = pad(first, "sink")?;
    decoder.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        if Kind::of(&caps) == Kind::Video && !entry.is_linked() {
            let _ = pad.link(&entry);
        }
    });
    let ghost = gst::GhostPad::with_target(&pad(last, "src")?).map_err(fail)?;
    ghost.set_active(true).map_err(fail)?;
    bin.add_pad(&ghost).map_err(fail)?;
    Ok((bin, ghost.upcast()))
}

/// Elements that bring frames to `format`, without dithering.
pub(crate) fn converter(format: &str) -> Result<[gst::Element; 2], Failure> {
    let convert = make("videoconvert")?;
    convert.set_property_from_str("dither", "none");
    let filter = make("capsfilter")?;
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", format)
        .build();
    filter.set_property("caps", caps);
    Ok([convert, filter])
}

impl Streams {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            pipeline: gst::Pipeline::new(),
            outputs: Vec::new(),
            counts: Vec::new(),
            names: Vec::new(),
        }
    }

    /// A stream for each input.
    pub fn of_files(inputs: &[Input]) -> Result<Self, Failure> {
        let mut streams = Self::new();
        for (i, input) in inputs.iter().enumerate() {
            let output = streams.add_file(i, input)?;
            streams.add_output(output);
        }
        Ok(streams)
    }

    /// Reads and decodes `input` in a bin of its own and returns its output pad.
    pub(crate) fn add_file(&mut self, index: usize, input: &Input) -> Result<gst::Pad, Failure> {
        let (bin, pad) = decoded(&format!("input{index}"), input)?;
        self.pipeline.add(&bin).map_err(fail)?;
        self.names.push(input.location.clone());
        Ok(pad)
    }

    /// Makes `pad` the next stream.
    pub(crate) fn add_output(&mut self, pad: gst::Pad) {
        let count = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&count);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            gst::PadProbeReturn::Ok
        });
        self.outputs.push(pad);
        self.counts.push(count);
    }

    /// The input in which `object` lies.
    pub fn input_of(&self, object: Option<&gst::Object>) -> Option<&str> {
        let mut current = object.cloned();
        while let Some(o) = current {
            if let Some(index) = o
                .name()
                .strip_prefix("input")
                .and_then(|n| n.parse::<usize>().ok())
                && o.is::<gst::Bin>()
            {
                return self.names.get(index).map(String::as_str);
            }
            current = o.parent();
        }
        None
    }

    /// Frames that have come out of the stream that is furthest behind.
    pub fn slowest(&self) -> u64 {
        self.counts
            .iter()
            .map(|c| c.load(Ordering::SeqCst))
            .min()
            .unwrap_or(0)
    }

    /// A number that changes when anything moves.
    pub fn activity(&self) -> u64 {
        self.counts.iter().map(|c| c.load(Ordering::SeqCst)).sum()
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
