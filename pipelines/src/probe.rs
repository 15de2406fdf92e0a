//! Looking at the input before any output is made: its streams, their caps and tags, its length.

use crate::failure::{Failure, make};
use crate::location::source;
use gst::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
    /// Subtitles, as text or as pictures.
    Subtitle,
    /// Anything else.
    Other,
}

impl Kind {
    /// Tells from the caps.
    pub fn of(caps: &gst::CapsRef) -> Self {
        let Some(name) = caps.structure(0).map(|s| s.name().to_string()) else {
            return Self::Other;
        };
        match name.split('/').next() {
            Some("video") => Self::Video,
            Some("audio") => Self::Audio,
            Some("text" | "subtitle" | "subpicture") => Self::Subtitle,
            _ => match name.as_str() {
                "application/x-yuv4mpeg" => Self::Video,
                "application/x-ssa"
                | "application/x-ass"
                | "application/x-usf"
                | "application/x-subtitle-unknown"
                | "application/x-teletext" => Self::Subtitle,
                _ => Self::Other,
            },
        }
    }
}

/// An elementary stream of the input.
#[derive(Debug, Clone)]
pub struct Stream {
    /// GStreamer's identifier, the same each time the file is opened.
    pub id: String,
    /// What it carries.
    pub kind: Kind,
    /// Its parsed caps.
    pub caps: gst::Caps,
    /// Language, title, orientation and so on.
    pub tags: gst::TagList,
}

impl Stream {
    /// The name of its caps, such as `audio/mpeg`.
    pub fn media_type(&self) -> String {
        self.caps
            .structure(0)
            .map(|s| s.name().to_string())
            .unwrap_or_default()
    }

    /// A short name for messages: `aac`, `vorbis`, `h264`.
    pub fn codec(&self) -> String {
        let s = match self.caps.structure(0) {
            Some(s) => s,
            None => return "unknown".into(),
        };
        match s.name().as_str() {
            "audio/mpeg" => match (s.get::<i32>("mpegversion"), s.get::<i32>("layer")) {
                (Ok(1), Ok(3)) => "mp3".into(),
                (Ok(1), _) => "mp2".into(),
                _ => "aac".into(),
            },
            "text/x-raw" => "text".into(),
            name => name
                .rsplit('/')
                .next()
                .unwrap_or(name)
                .trim_start_matches("x-")
                .to_string(),
        }
    }

    /// Its language tag, if any.
    pub fn language(&self) -> Option<String> {
        self.tags
            .get::<gst::tags::LanguageCode>()
            .map(|v| v.get().to_string())
    }
}

/// The input, as it was found.
#[derive(Debug, Clone)]
pub struct Source {
    /// All streams, in the file's order.
    pub streams: Vec<Stream>,
    /// Index of the video stream to work on.
    pub video: usize,
    /// Decoded caps of that stream.
    pub decoded: gst::Caps,
    /// Size of the file or object, where its source knows it.
    pub bytes: Option<u64>,
    /// Length as the container states it.
    pub duration: Option<gst::ClockTime>,
    /// Who says what its colours mean.
    pub colour: ColourSource,
    /// Value of the `image-orientation` tag, where it is not `rotate-0`.
    pub orientation: Option<String>,
}

/// Who says what the colours mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColourSource {
    /// The coded stream; the decoder passes it on.
    Stream,
    /// The container alone; the decoder does not know.
    Container(String),
    /// Nobody; the decoder assumes something by the size.
    Nobody,
}

impl Source {
    /// The colorimetry to go by.
    pub fn colorimetry(&self) -> Option<String> {
        match &self.colour {
            ColourSource::Container(c) => Some(c.clone()),
            ColourSource::Stream => self.decoded.structure(0)?.get::<String>("colorimetry").ok(),
            // What every element assumes for frames of this size: to be kept when they grow.
            ColourSource::Nobody => Some(
                gst_video::VideoInfo::from_caps(&self.decoded)
                    .ok()?
                    .colorimetry()
                    .to_string(),
            ),
        }
    }
}

/// Hides the container's colorimetry from the parsers of codecs that carry their own.
///
/// The parsers prefer the container's, but the one in a QuickTime file cannot say "full range":
/// a GoPro's pictures would come out washed out. What was hidden is given to `found`.
pub fn hide_container_colour(
    parse: &gst::Element,
    found: impl Fn(String) + Send + Sync + Clone + 'static,
) {
    let Some(bin) = parse.downcast_ref::<gst::Bin>() else {
        return;
    };
    bin.connect_element_added(move |_, element| {
        let name = element
            .factory()
            .map(|f| f.name().to_string())
            .unwrap_or_default();
        if !matches!(name.as_str(), "h264parse" | "h265parse") {
            return;
        }
        let Some(pad) = element.static_pad("sink") else {
            return;
        };
        let found = found.clone();
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(gst::PadProbeData::Event(event)) = &info.data
                && let gst::EventView::Caps(c) = event.view()
                && let Some(colour) = c
                    .caps()
                    .structure(0)
                    .and_then(|s| s.get::<String>("colorimetry").ok())
            {
                found(colour);
                let mut caps = c.caps_owned();
                if let Some(s) = caps.make_mut().structure_mut(0) {
                    s.remove_field("colorimetry");
                }
                info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
            }
            gst::PadProbeReturn::Ok
        });
    });
}

/// Links `src` (which may have its pad only later) to `sink`.
pub fn link_source(src: &gst::Element, sink: &gst::Element) -> Result<(), Failure> {
    if src.static_pad("src").is_some() {
        return src
            .link(sink)
            .map_err(|_| Failure::new("the source and the demuxer do not link"));
    }
    let sink = sink.downgrade();
    src.connect_pad_added(move |_, pad| {
        if let Some(target) = sink.upgrade().and_then(|s| s.static_pad("sink"))
            && !target.is_linked()
        {
            let _ = pad.link(&target);
        }
    });
    Ok(())
}

#[derive(Debug, Default)]
struct Found {
    pads: Vec<gst::Pad>,
    complete: bool,
    decoded: Option<gst::Caps>,
    container_colour: Option<String>,
}

/// Opens `input`, decodes its first frame, and returns what is in it.
pub fn probe(input: &str, timeout: Duration) -> Result<Source, Failure> {
    let pipeline = gst::Pipeline::new();
    let src = source(input)?;
    let parse = make("parsebin")?;
    pipeline
        .add_many([&src, &parse])
        .map_err(|e| Failure::new(e.to_string()))?;
    link_source(&src, &parse)?;

    let found = Arc::new(Mutex::new(Found::default()));
    let f = Arc::clone(&found);
    hide_container_colour(&parse, move |colour| {
        f.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .container_colour
            .get_or_insert(colour);
    });
    let weak = pipeline.downgrade();
    let f = Arc::clone(&found);
    parse.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        let first_video = {
            let mut found = f.lock().unwrap_or_else(PoisonError::into_inner);
            let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
            let first = Kind::of(&caps) == Kind::Video
                && !found.pads.iter().any(|p| {
                    p.current_caps()
                        .is_some_and(|c| Kind::of(&c) == Kind::Video)
                });
            found.pads.push(pad.clone());
            first
        };
        if attach(&pipeline, pad, first_video, &f).is_err() {
            gst::warning!(gst::CAT_DEFAULT, "the probe could not take {}", pad.name());
        }
    });

    let result = wait(&pipeline, &found, timeout, input);
    let collected = result.and_then(|()| collect(&src, &parse, &found, input));
    let _ = pipeline.set_state(gst::State::Null);
    collected
}

/// Puts a sink (and for the video a decoder) behind a pad of the parser.
fn attach(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    decode: bool,
    found: &Arc<Mutex<Found>>,
) -> Result<(), Failure> {
    let fail = |e: gst::glib::BoolError| Failure::new(e.to_string());
    let queue = make("queue")?;
    queue.set_property("max-size-time", 0u64);
    queue.set_property("max-size-buffers", 0u32);
    queue.set_property("max-size-bytes", 64u32 << 20);
    let sink = make("fakesink")?;
    sink.set_property("async", false);
    pipeline.add_many([&queue, &sink]).map_err(fail)?;
    if decode {
        let decoder = make("decodebin")?;
        decoder.set_property("force-sw-decoders", true);
        pipeline.add(&decoder).map_err(fail)?;
        queue.link(&decoder).map_err(fail)?;
        let (f, s) = (Arc::clone(found), sink.clone());
        decoder.connect_pad_added(move |_, pad| {
            let Some(target) = s.static_pad("sink") else {
                return;
            };
            if target.is_linked() || pad.link(&target).is_err() {
                return;
            }
            let f = Arc::clone(&f);
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
                f.lock().unwrap_or_else(PoisonError::into_inner).decoded = pad.current_caps();
                gst::PadProbeReturn::Remove
            });
        });
        decoder.sync_state_with_parent().map_err(fail)?;
    } else {
        queue.link(&sink).map_err(fail)?;
    }
    sink.sync_state_with_parent().map_err(fail)?;
    queue.sync_state_with_parent().map_err(fail)?;
    let target = queue
        .static_pad("sink")
        .ok_or_else(|| Failure::new("a queue without a pad"))?;
    let f = Arc::clone(found);
    target.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        // parsebin adds all its pads before data flows on any.
        f.lock().unwrap_or_else(PoisonError::into_inner).complete = true;
        gst::PadProbeReturn::Remove
    });
    pad.link(&target).map_err(|e| Failure::new(e.to_string()))?;
    Ok(())
}

fn wait(
    pipeline: &gst::Pipeline,
    found: &Mutex<Found>,
    timeout: Duration,
    input: &str,
) -> Result<(), Failure> {
    let bus = pipeline
        .bus()
        .ok_or_else(|| Failure::new("a pipeline without a bus"))?;
    let started = pipeline.set_state(gst::State::Paused);
    let deadline = Instant::now() + timeout;
    let ready = || {
        let found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.complete && found.decoded.is_some()
    };
    let unreadable = |why: Failure| Failure {
        what: format!("{input}: cannot be read as a video: {}", why.what),
        ..why
    };
    let mut broken = None;
    loop {
        if ready() {
            return Ok(());
        }
        let msg = bus.timed_pop_filtered(
            gst::ClockTime::from_mseconds(20),
            &[gst::MessageType::Error, gst::MessageType::Eos],
        );
        match msg.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(e)) => {
                // The frames in front of the break are still on their way to the decoder.
                broken.get_or_insert((Failure::from_gst(e), Instant::now()));
            }
            Some(gst::MessageView::Eos(_)) if broken.is_none() => {
                broken = Some((
                    Failure::new("it ends before the first frame"),
                    Instant::now(),
                ));
            }
            _ => {}
        }
        if let Some((why, at)) = &broken
            && at.elapsed() > Duration::from_millis(1000)
        {
            return Err(unreadable(why.clone()));
        }
        if started.is_err() && broken.is_none() {
            return Err(Failure::new(format!("{input}: cannot be opened")));
        }
        let nothing_to_decode = {
            let found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.complete
                && !found.pads.iter().any(|p| {
                    p.current_caps()
                        .is_some_and(|c| Kind::of(&c) == Kind::Video)
                })
        };
        if nothing_to_decode {
            return Err(Failure::new(format!("{input}: there is no video in it")));
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!(
                "{input}: no frame within {} s; the file is damaged or not a video",
                timeout.as_secs()
            )));
        }
    }
}

fn collect(
    src: &gst::Element,
    parse: &gst::Element,
    found: &Mutex<Found>,
    input: &str,
) -> Result<Source, Failure> {
    let found = found.lock().unwrap_or_else(PoisonError::into_inner);
    let mut streams: Vec<Stream> = found
        .pads
        .iter()
        .filter_map(|pad| {
            let caps = pad.current_caps()?;
            let mut tags = gst::TagList::new();
            pad.sticky_events_foreach(|event| {
                if let gst::EventView::Tag(t) = event.view() {
                    tags.make_mut().insert(t.tag(), gst::TagMergeMode::Replace);
                }
                std::ops::ControlFlow::Continue(gst::EventForeachAction::Keep)
            });
            Some(Stream {
                id: pad.stream_id().map(|s| s.to_string()).unwrap_or_default(),
                kind: Kind::of(&caps),
                caps,
                tags,
            })
        })
        .collect();
    streams.sort_by(|a, b| a.id.cmp(&b.id));
    let video = streams
        .iter()
        .position(|s| s.kind == Kind::Video)
        .ok_or_else(|| Failure::new(format!("{input}: there is no video in it")))?;
    let orientation = streams[video]
        .tags
        .get::<gst::tags::ImageOrientation>()
        .map(|v| v.get().to_string())
        .filter(|o| o != "rotate-0");
    let colour = if streams[video]
        .caps
        .structure(0)
        .is_some_and(|s| s.has_field("colorimetry"))
    {
        ColourSource::Stream
    } else {
        match &found.container_colour {
            Some(c) => ColourSource::Container(c.clone()),
            None => ColourSource::Nobody,
        }
    };
    Ok(Source {
        bytes: src
            .query_duration::<gst::format::Bytes>()
            .map(u64::from)
            .filter(|b| *b > 0),
        video,
        colour,
        decoded: found
            .decoded
            .clone()
            .ok_or_else(|| Failure::new(format!("{input}: no frame")))?,
        duration: parse.query_duration::<gst::ClockTime>().or_else(|| {
            found
                .pads
                .iter()
                .filter_map(|p| p.query_duration::<gst::ClockTime>())
                .max()
        }),
        orientation,
        streams,
    })
}
