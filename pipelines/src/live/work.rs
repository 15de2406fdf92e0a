//! The graph of a run: packets in, the packets of each rendition's segments out.
//!
//! ```text
//! appsrc -+-> parser ------------------------------------------> muxer   (passed through)
//!         +-> decoder -> drops what is late -+-> scaler -> encoder -> muxer
//!                                          +-> nnupscale -+-> encoder -> muxer
//!                                                         +-> scaler -> encoder -> muxer
//! appsrc --> audio -----------------------------------------> each muxer
//! ```
//! Every queue has a bound. Where the processor is too slow even for the classical upscale, frames
//! that are too old are dropped before it; sound and passed-through packets go on.

use super::cuts::{Arrivals, Cuts};
use super::feed::Inlets;
use super::hls::options::Container;
use super::ladder::{Plan, Planned, Source, Way, frame_time};
use super::late::Lateness;
use super::lock;
use super::sinks::{Outlet, Sinks};
use crate::failure::{Failure, make};
use crate::parts::{add_chain, byte_queue, fail, sink_pad, src_pad, upscaler};
use gst::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Raw frames that may wait for the network; the packets behind them wait as packets.
const RAW_FRAMES: u32 = 15;
/// How old a frame may be that is still upscaled and encoded.
const OLDEST: Duration = Duration::from_secs(3);
/// What an inlet may hold.
const INLET: gst::ClockTime = gst::ClockTime::from_seconds(15);
/// Programme identifiers in the transport streams.
const VIDEO_PID: &str = "sink_256";
const AUDIO_PID: &str = "sink_257";
/// Of audio, where there are no parts: its segments begin this much after the video's at most.
const AUDIO_FRAGMENT: Duration = Duration::from_millis(100);
/// The longest frame of AAC in use: 1024 samples at 44.1 kHz.
const AUDIO_FRAME: Duration = Duration::from_micros(23_220);
/// Times of RTMP are in milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);
/// Of video, where there are no parts.
const CHUNK: Duration = Duration::from_millis(300);
/// Bits per second of audio that is encoded anew.
const AUDIO_BPS: i32 = 128_000;

/// What a run counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames decoded.
    pub decoded: AtomicU64,
    /// Frames dropped for their age.
    pub dropped: AtomicU64,
    /// Frames that came out of the upscaler, or of the decoder where there is none.
    pub upscaled: AtomicU64,
    /// From the arrival of the last encoded frame until it was encoded, ns.
    pub latency_ns: AtomicU64,
    /// Frames whose size or rate is beyond the limits have been seen.
    pub oversize: AtomicBool,
}

/// What a run is made of.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Of the video.
    pub source: &'a Source,
    /// What to make.
    pub plan: &'a Plan,
    /// Caps of the packets.
    pub video: &'a gst::Caps,
    /// Caps of the packets, if there is audio.
    pub audio: Option<&'a gst::Caps>,
    /// Properties of `nnupscale`.
    pub element: &'a [(String, String)],
    /// Of the segments.
    pub container: Container,
    /// Length of a part, if there are parts.
    pub part: Option<Duration>,
    /// x264's preset.
    pub preset: &'a str,
    /// Most pixels of a frame.
    pub max_pixels: u64,
    /// When segments begin.
    pub cuts: &'a Arc<Cuts>,
    /// When frames came.
    pub arrivals: &'a Arc<Arrivals>,
    /// What is counted.
    pub counters: &'a Arc<Counters>,
    /// Where the segments go.
    pub sinks: &'a Arc<Sinks>,
}

/// A graph, built but not started.
#[derive(Debug)]
pub struct Work {
    /// The pipeline.
    pub pipeline: gst::Pipeline,
    /// The network, if one is needed.
    pub upscaler: Option<gst::Element>,
    video: gst_app::AppSrc,
    audio: Option<gst_app::AppSrc>,
    pass: bool,
}

impl Work {
    /// Builds it.
    ///
    /// # Errors
    /// When elements are missing or do not fit each other.
    pub fn build(setup: &Setup<'_>) -> Result<Self, Failure> {
        let pipeline = gst::Pipeline::new();
        let video = inlet(setup.video);
        pipeline.add(&video).map_err(fail)?;
        let muxers = Muxers::build(&pipeline, setup)?;
        let split = make("tee")?;
        add_chain(&pipeline, std::slice::from_ref(&split))?;
        video.link(&split).map_err(fail)?;
        let renditions = &setup.plan.renditions;
        let mut work = Self {
            pipeline,
            upscaler: None,
            video,
            audio: None,
            pass: false,
        };
        for (i, _) in renditions
            .iter()
            .enumerate()
            .filter(|(_, r)| r.way == Way::Pass)
        {
            work.pass = true;
            let (first, last) = add_chain(&work.pipeline, &[byte_queue(16)?])?;
            split.link(&first).map_err(fail)?;
            muxers.video(&work.pipeline, i, &last, parser_of(setup.video))?;
        }
        if renditions.iter().any(|r| r.way != Way::Pass) {
            work.raw(setup, &split, &muxers)?;
        }
        if let Some(caps) = setup.audio {
            let src = inlet(caps);
            work.pipeline.add(&src).map_err(fail)?;
            muxers.audio(&work.pipeline, &src, caps)?;
            work.audio = Some(src);
        }
        Ok(work)
    }

    /// Where packets go in.
    pub fn inlets(&self, setup: &Setup<'_>) -> Inlets {
        Inlets {
            video: self.video.clone(),
            audio: self.audio.clone(),
            arrivals: Arc::clone(setup.arrivals),
            keyframes: self.pass.then(|| Arc::clone(setup.cuts)),
        }
    }

    /// The decoder and all behind it.
    fn raw(
        &mut self,
        setup: &Setup<'_>,
        split: &gst::Element,
        muxers: &Muxers<'_>,
    ) -> Result<(), Failure> {
        let decoder = make(match parser_of(setup.video) {
            "h265parse" => "avdec_h265",
            _ => "avdec_h264",
        })?;
        let filter = make("capsfilter")?;
        filter.set_property_from_str("caps", "video/x-raw,format=I420");
        let queue = crate::parts::frame_queue(RAW_FRAMES)?;
        let chain = [
            byte_queue(16)?,
            decoder.clone(),
            make("videoconvert")?,
            filter,
            queue.clone(),
        ];
        let (first, _) = add_chain(&self.pipeline, &chain)?;
        split.link(&first).map_err(fail)?;
        watch_decoded(&src_pad(&decoder)?, setup);
        if !self.pass {
            cut(&src_pad(&queue)?, setup);
        }
        let renditions = || setup.plan.renditions.iter().enumerate();
        let tee = |of: &gst::Element| -> Result<gst::Element, Failure> {
            let (tee, _) = add_chain(&self.pipeline, &[make("tee")?])?;
            of.link(&tee).map_err(fail)?;
            Ok(tee)
        };
        let decoded = tee(&queue)?;
        for (i, rendition) in renditions().filter(|(_, r)| r.way == Way::Decoded) {
            let same =
                (rendition.width, rendition.height) == (setup.source.width, setup.source.height);
            self.encode(setup, &decoded, i, rendition, !same, muxers)?;
        }
        if renditions().any(|(_, r)| r.way == Way::Upscaled) {
            let element = upscaler(setup.element.iter().map(|(n, v)| (n.as_str(), v.as_str())))?;
            add_chain(&self.pipeline, std::slice::from_ref(&element))?;
            decoded.link(&element).map_err(fail)?;
            watch_upscaled(&element, setup)?;
            let upscaled = tee(&element)?;
            let scale = setup.plan.scale;
            for (i, rendition) in renditions().filter(|(_, r)| r.way == Way::Upscaled) {
                let natural = (setup.source.width * scale, setup.source.height * scale);
                let resize = (rendition.width, rendition.height) != natural;
                self.encode(setup, &upscaled, i, rendition, resize, muxers)?;
            }
            self.upscaler = Some(element);
        }
        Ok(())
    }

    fn encode(
        &self,
        setup: &Setup<'_>,
        from: &gst::Element,
        index: usize,
        rendition: &Planned,
        resize: bool,
        muxers: &Muxers<'_>,
    ) -> Result<(), Failure> {
        let queue = crate::parts::frame_queue(8)?;
        let mut chain = vec![queue];
        if resize {
            let scale = make("videoscale")?;
            scale.set_property_from_str("method", "lanczos");
            scale.set_property("add-borders", false);
            let filter = make("capsfilter")?;
            let (n, d) = setup.source.pixel_aspect;
            filter.set_property(
                "caps",
                gst::Caps::builder("video/x-raw")
                    .field("width", rendition.width as i32)
                    .field("height", rendition.height as i32)
                    .field("pixel-aspect-ratio", gst::Fraction::new(n as i32, d as i32))
                    .build(),
            );
            chain.extend([scale, filter]);
        }
        let encoder = encoder(setup, rendition)?;
        chain.push(encoder.clone());
        let (first, last) = add_chain(&self.pipeline, &chain)?;
        from.link(&first).map_err(fail)?;
        force_keyframes(&sink_pad(&encoder)?, setup.cuts)?;
        watch_encoded(&src_pad(&encoder)?, setup);
        muxers.video(&self.pipeline, index, &last, "h264parse")
    }
}

fn inlet(caps: &gst::Caps) -> gst_app::AppSrc {
    gst_app::AppSrc::builder()
        .caps(caps)
        .format(gst::Format::Time)
        .stream_type(gst_app::AppStreamType::Stream)
        .max_time(INLET)
        .max_bytes(0)
        .leaky_type(gst_app::AppLeakyType::Downstream)
        .build()
}

fn parser_of(caps: &gst::Caps) -> &'static str {
    match caps.structure(0).map(|s| s.name().as_str()) {
        Some("video/x-h265") => "h265parse",
        _ => "h264parse",
    }
}

/// x264 for live streams: keyframes only where segments begin, a rate that is kept, little delay.
fn encoder(setup: &Setup<'_>, rendition: &Planned) -> Result<gst::Element, Failure> {
    let encoder = make("x264enc")?;
    encoder.set_property_from_str("speed-preset", setup.preset);
    encoder.set_property_from_str("pass", "cbr");
    let kbps = u32::try_from(rendition.bitrate_bps / 1000).unwrap_or(u32::MAX);
    encoder.set_property("bitrate", kbps.clamp(1, 2_048_000));
    encoder.set_property("vbv-buf-capacity", 1000u32);
    encoder.set_property("bframes", 0u32);
    encoder.set_property("rc-lookahead", 10i32);
    encoder.set_property("sync-lookahead", 0i32);
    encoder.set_property("key-int-max", 100_000u32);
    encoder.set_property("option-string", "scenecut=0");
    Ok(encoder)
}

/// Asks the encoder for a keyframe where a segment begins.
fn force_keyframes(pad: &gst::Pad, cuts: &Arc<Cuts>) -> Result<(), Failure> {
    let peer = pad
        .peer()
        .ok_or_else(|| fail("an encoder without a source"))?;
    let follower = Mutex::new(cuts.follow());
    let count = AtomicU64::new(0);
    peer.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(time) = info.buffer().and_then(|b| b.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        let due = lock(&follower).due(time.nseconds());
        let number = if due { count.fetch_add(1, Relaxed) } else { 0 };
        // The first frame is a keyframe anyhow. Asked for, it would be the last: x264enc moves times
        // by a thousand hours, and GstVideoEncoder of 1.22 remembers the first request that way.
        if number > 0 {
            let event = gst_video::DownstreamForceKeyUnitEvent::builder()
                .timestamp(time)
                .stream_time(time)
                .running_time(time)
                .all_headers(true)
                .count(u32::try_from(number).unwrap_or(u32::MAX))
                .build();
            pad.push_event(event);
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

fn watch_decoded(pad: &gst::Pad, setup: &Setup<'_>) {
    let counters = Arc::clone(setup.counters);
    let arrivals = Arc::clone(setup.arrivals);
    let max_pixels = setup.max_pixels;
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |_, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                counters.decoded.fetch_add(1, Relaxed);
                let age = buffer.pts().and_then(|t| arrivals.age(t.nseconds()));
                if age.is_some_and(|a| a > OLDEST) {
                    counters.dropped.fetch_add(1, Relaxed);
                    return gst::PadProbeReturn::Drop;
                }
            }
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Caps(c) = event.view()
                    && let Ok(info) = gst_video::VideoInfo::from_caps(c.caps())
                    && u64::from(info.width()) * u64::from(info.height()) > max_pixels
                {
                    // What the headers said was something else.
                    counters.oversize.store(true, Relaxed);
                    return gst::PadProbeReturn::Drop;
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Decides where segments begin, by the frames that all encoders get.
fn cut(pad: &gst::Pad, setup: &Setup<'_>) {
    let cuts = Arc::clone(setup.cuts);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(time) = info.buffer().and_then(|b| b.pts()) {
            cuts.frame(time.nseconds());
        }
        gst::PadProbeReturn::Ok
    });
}

/// Tells the upscaler how late its frames are.
fn watch_upscaled(element: &gst::Element, setup: &Setup<'_>) -> Result<(), Failure> {
    let counters = Arc::clone(setup.counters);
    let arrivals = Arc::clone(setup.arrivals);
    let frame = frame_time(setup.source.frame_rate);
    let lateness = Mutex::new(Lateness::new(frame));
    src_pad(element)?.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        counters.upscaled.fetch_add(1, Relaxed);
        let Some(time) = info.buffer().and_then(|b| b.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        if let Some(behind) = arrivals.behind(time.nseconds()) {
            let late = lock(&lateness).frame(time.nseconds(), behind);
            let event = gst::event::Qos::builder(gst::QOSType::Underflow, 1.0, late)
                .timestamp(time)
                .build();
            pad.send_event(event);
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

fn watch_encoded(pad: &gst::Pad, setup: &Setup<'_>) {
    let counters = Arc::clone(setup.counters);
    let arrivals = Arc::clone(setup.arrivals);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        // x264enc counts from a thousand hours on, and says so in its segment.
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let time = segment.and_then(|event| {
            let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
            segment.to_running_time(info.buffer()?.pts()?)
        });
        if let Some(age) = time.and_then(|t| arrivals.age(t.nseconds())) {
            counters.latency_ns.store(age.as_nanos() as u64, Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
}

/// The muxers, one for each rendition, and one for the audio where it is apart.
struct Muxers<'a> {
    setup: &'a Setup<'a>,
    video: Vec<gst::Element>,
    audio: Option<gst::Element>,
}

impl<'a> Muxers<'a> {
    fn build(pipeline: &gst::Pipeline, setup: &'a Setup<'a>) -> Result<Self, Failure> {
        let one = |outlet| {
            let mux = match setup.container {
                Container::Ts => make("mpegtsmux")?,
                Container::Cmaf => cmaf(setup, outlet)?,
            };
            add_chain(pipeline, &[mux.clone(), setup.sinks.element(outlet)])?;
            Ok(mux)
        };
        let video = (0..setup.plan.renditions.len())
            .map(|i| one(Outlet::Video(i)))
            .collect::<Result<_, Failure>>()?;
        let apart = setup.container == Container::Cmaf && setup.audio.is_some();
        let audio = apart.then(|| one(Outlet::Audio)).transpose()?;
        Ok(Self {
            setup,
            video,
            audio,
        })
    }

    fn video(
        &self,
        pipeline: &gst::Pipeline,
        index: usize,
        from: &gst::Element,
        parser: &str,
    ) -> Result<(), Failure> {
        let mux = self
            .video
            .get(index)
            .ok_or_else(|| fail("a rendition without a muxer"))?;
        let parser = make(parser)?;
        parser.set_property("config-interval", -1i32);
        let filter = make("capsfilter")?;
        let (format, pad) = match self.setup.container {
            Container::Ts => ("byte-stream", VIDEO_PID),
            Container::Cmaf => ("avc", "sink"),
        };
        let caps = gst::Caps::builder("video/x-h264")
            .field("stream-format", format)
            .field("alignment", "au");
        filter.set_property("caps", caps.build());
        let (first, last) = add_chain(pipeline, &[parser, filter, byte_queue(16)?])?;
        from.link(&first).map_err(fail)?;
        to(mux, pad, &last)?;
        name_codec(&src_pad(&last)?, self.setup.sinks, Outlet::Video(index));
        Ok(())
    }

    fn audio(
        &self,
        pipeline: &gst::Pipeline,
        src: &gst_app::AppSrc,
        caps: &gst::Caps,
    ) -> Result<(), Failure> {
        let aac = caps.structure(0).is_some_and(|s| {
            s.name() == "audio/mpeg" && s.get::<i32>("mpegversion").is_ok_and(|v| v != 1)
        });
        let parser = make("aacparse")?;
        if aac {
            add_chain(pipeline, std::slice::from_ref(&parser))?;
            src.link(&parser).map_err(fail)?;
        } else {
            let decoder = crate::parts::decoder()?;
            pipeline.add(&decoder).map_err(fail)?;
            src.link(&decoder).map_err(fail)?;
            let encoder = make("avenc_aac")?;
            encoder.set_property("bitrate", AUDIO_BPS);
            let chain = [
                make("audioconvert")?,
                make("audioresample")?,
                encoder,
                parser.clone(),
            ];
            let (first, _) = add_chain(pipeline, &chain)?;
            crate::parts::link_later(&decoder, sink_pad(&first)?);
        }
        let (tee, _) = add_chain(pipeline, &[make("tee")?])?;
        parser.link(&tee).map_err(fail)?;
        let (muxers, format, pad) = match self.setup.container {
            Container::Ts => (self.video.iter().collect::<Vec<_>>(), "adts", AUDIO_PID),
            Container::Cmaf => (self.audio.iter().collect(), "raw", "sink"),
        };
        for mux in muxers {
            let filter = make("capsfilter")?;
            let caps = gst::Caps::builder("audio/mpeg")
                .field("mpegversion", 4i32)
                .field("stream-format", format);
            filter.set_property("caps", caps.build());
            let (first, last) = add_chain(pipeline, &[byte_queue(4)?, make("aacparse")?, filter])?;
            tee.link(&first).map_err(fail)?;
            to(mux, pad, &last)?;
        }
        Ok(())
    }
}

/// Reads the codec's RFC 6381 name off the first sequence parameter set.
fn name_codec(pad: &gst::Pad, sinks: &Arc<Sinks>, outlet: Outlet) {
    let sinks = Arc::clone(sinks);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let caps = pad.current_caps();
        let described = caps
            .as_ref()
            .and_then(|c| c.structure(0)?.get::<gst::Buffer>("codec_data").ok());
        let name = match (described, info.buffer()) {
            (Some(data), _) => data
                .map_readable()
                .ok()
                .and_then(|d| avc_name(d.get(1..4)?)),
            (None, Some(buffer)) => buffer.map_readable().ok().and_then(|d| {
                let at = d
                    .windows(4)
                    .position(|w| w[..3] == [0, 0, 1] && w[3] & 0x1f == 7)?;
                avc_name(d.get(at + 4..at + 7)?)
            }),
            _ => None,
        };
        match name {
            Some(name) => {
                sinks.codec(outlet, name);
                gst::PadProbeReturn::Remove
            }
            None => gst::PadProbeReturn::Ok,
        }
    });
}

/// Profile, constraints and level, as RFC 6381 writes them.
fn avc_name(bytes: &[u8]) -> Option<String> {
    let [profile, constraints, level] = bytes.try_into().ok()?;
    Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
}

fn cmaf(setup: &Setup<'_>, outlet: Outlet) -> Result<gst::Element, Failure> {
    crate::plugins::ensure_cmafmux()?;
    let mux = make("cmafmux")?;
    // What is asked for ends with the frame that reaches it; a part must not be longer than said.
    let within = |part: Duration, frame: Duration| {
        let most = part.saturating_sub(frame + ROUNDING);
        gst::ClockTime::try_from(most.max(frame)).map_err(fail)
    };
    // Each GOP is a fragment, and so are some frames of audio; which of them begin a segment is
    // decided behind it.
    let fragment = match outlet {
        Outlet::Video(_) => gst::ClockTime::from_mseconds(1),
        Outlet::Audio => within(setup.part.unwrap_or(AUDIO_FRAGMENT), AUDIO_FRAME)?,
    };
    mux.set_property("fragment-duration", fragment);
    mux.set_property_from_str("write-edts-mode", "never");
    mux.set_property("send-force-keyunit", false);
    if let Outlet::Video(_) = outlet {
        // In chunks anyhow: that a segment is complete shows when the next one's first chunk comes.
        let frame = frame_time(setup.source.frame_rate);
        mux.set_property(
            "chunk-duration",
            within(setup.part.unwrap_or(CHUNK), frame)?,
        );
    }
    Ok(mux)
}

fn to(mux: &gst::Element, pad: &str, from: &gst::Element) -> Result<(), Failure> {
    let pad = mux
        .static_pad(pad)
        .or_else(|| mux.request_pad_simple(pad))
        .ok_or_else(|| fail(format!("no pad {pad}")))?;
    src_pad(from)?.link(&pad).map_err(fail)?;
    Ok(())
}
