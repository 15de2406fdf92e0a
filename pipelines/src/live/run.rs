//! A run of a stream: from one keyframe to the end, or to a change that needs another graph.

use super::choose;
use super::cuts::{Arrivals, Cuts};
use super::feed::{Feed, Found};
use super::hls::publisher::Publisher;
use super::ladder::{self, Plan, Source};
use super::settings::Settings;
use super::sinks::Sinks;
use super::work::{Counters, Setup, Work};
use crate::failure::Failure;
use crate::parts::play;
use gst::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long the end of a run may stand still on its way through the graph.
const DRAIN: Duration = Duration::from_secs(20);

/// A run under way.
#[derive(Debug)]
pub struct Run {
    /// What it makes.
    pub plan: Plan,
    /// Of what.
    pub source: Source,
    /// The network, if one is used.
    pub model: Option<String>,
    /// Whether there is audio.
    pub audio: bool,
    work: Work,
    bus: gst::Bus,
    counters: Arc<Counters>,
    sinks: Arc<Sinks>,
}

/// What it has counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Frames decoded.
    pub frames_in: u64,
    /// Frames upscaled.
    pub frames_out: u64,
    /// Of those, by the classical upscale.
    pub fallback: u64,
    /// Frames dropped.
    pub dropped: u64,
    /// 95th percentile.
    pub inference_p95: Duration,
    /// From arrival to encoded.
    pub latency: Duration,
}

/// What the caps of the video say.
///
/// # Errors
/// When they say no size, or one beyond the limits.
pub fn source_of(caps: &gst::Caps, settings: &Settings) -> Result<Source, String> {
    let structure = caps.structure(0).ok_or("the video has no format")?;
    let size = |name| {
        structure
            .get::<i32>(name)
            .ok()
            .and_then(|v| u32::try_from(v).ok())
            .filter(|v| *v > 0)
    };
    let (Some(width), Some(height)) = (size("width"), size("height")) else {
        return Err("the video does not say its size".into());
    };
    let fraction = |name| {
        let f = structure.get::<gst::Fraction>(name).ok()?;
        Some((
            u32::try_from(f.numer()).ok()?,
            u32::try_from(f.denom()).ok()?,
        ))
    };
    let limits = settings.limits;
    if u64::from(width) * u64::from(height) > limits.pixels {
        return Err(format!(
            "the publisher sends {width}x{height}, more than is allowed (--max-size)"
        ));
    }
    let frame_rate = fraction("framerate").unwrap_or((0, 1));
    if frame_rate.1 > 0 && f64::from(frame_rate.0) / f64::from(frame_rate.1) > limits.fps + 0.5 {
        return Err(format!(
            "the publisher sends {:.1} frames a second, more than the {} that are allowed (--max-fps)",
            f64::from(frame_rate.0) / f64::from(frame_rate.1),
            limits.fps
        ));
    }
    Ok(Source {
        width,
        height,
        frame_rate,
        pixel_aspect: fraction("pixel-aspect-ratio")
            .filter(|f| f.0 > 0 && f.1 > 0)
            .unwrap_or((1, 1)),
        playable: structure.name() == "video/x-h264" && is_420_8bit(structure),
    })
}

/// What browsers decode.
fn is_420_8bit(structure: &gst::StructureRef) -> bool {
    let is = |name: &str, value: &str| structure.get::<&str>(name).map_or(true, |v| v == value);
    let depth = |name: &str| structure.get::<u32>(name).map_or(true, |v| v == 8);
    is("chroma-format", "4:2:0")
        && is("interlace-mode", "progressive")
        && depth("bit-depth-luma")
        && depth("bit-depth-chroma")
}

/// The RFC 6381 name of AAC: that of its object type, Low Complexity where it is encoded anew.
fn audio_codec(caps: &gst::Caps) -> String {
    let kind = caps.structure(0).and_then(|s| {
        (s.get::<i32>("mpegversion").ok()? != 1).then_some(())?;
        let data = s.get::<gst::Buffer>("codec_data").ok()?;
        let map = data.map_readable().ok()?;
        map.first().map(|b| b >> 3).filter(|k| (1..31).contains(k))
    });
    format!("mp4a.40.{}", kind.unwrap_or(2))
}

impl Run {
    /// Builds the graph for what the feed has found and starts it; `pass` is whether packets may be
    /// passed through, `network` whether the network may be used from the first frame on
    /// ([`Run::allow_network`]). `say` is told what was chosen and why.
    pub fn start(
        settings: &Settings,
        feed: &Feed,
        publisher: &Arc<Publisher>,
        found: &Found,
        pass: bool,
        network: bool,
        mut say: impl FnMut(&str),
    ) -> Result<Self, Failure> {
        let (video, audio) = (&found.video, found.audio.as_ref());
        let source = source_of(video, settings).map_err(Failure::new)?;
        // Parts are out before it shows that the source's keyframes are too far apart.
        let pass = pass && settings.hls.part.is_none();
        let mut plan = ladder::plan(&settings.ladder, &source, pass)?;
        let mut element = settings.element.clone();
        let mut model = None;
        if plan.scale > 1 {
            let size = (source.width, source.height);
            let choice = match &settings.model {
                Some(name) => {
                    let scale = choose::scale_of(settings.model_dir.as_deref(), name)?;
                    choose::Choice {
                        model: name.clone(),
                        scale,
                        why: String::new(),
                    }
                }
                None => {
                    let choice = settings
                        .speeds
                        .choose(plan.scale, size, source.frame_rate)?;
                    say(&format!("network {}: {}", choice.model, choice.why));
                    choice
                }
            };
            plan.scale = choice.scale;
            if let Some(dir) = &settings.model_dir {
                element.push(("model-dir".into(), dir.to_string_lossy().into_owned()));
            }
            element.push(("model".into(), choice.model.clone()));
            element.push(("threads".into(), settings.threads.to_string()));
            element.push(("force-fallback".into(), (!network).to_string()));
            model = Some(choice.model);
        }
        let cuts = Cuts::new(settings.hls.segment);
        let arrivals = Arc::new(Arrivals::default());
        let counters = Arc::new(Counters::default());
        let codec = audio.map(audio_codec);
        let container = settings.hls.container;
        let sinks = Sinks::new(
            publisher,
            container,
            &source,
            &plan.renditions,
            codec,
            &cuts,
        );
        let setup = Setup {
            source: &source,
            plan: &plan,
            video,
            audio,
            element: &element,
            container,
            part: settings.hls.part,
            preset: &settings.preset,
            max_pixels: settings.limits.pixels,
            cuts: &cuts,
            arrivals: &arrivals,
            counters: &counters,
            sinks: &sinks,
        };
        let work = Work::build(&setup)?;
        let bus = play(&work.pipeline)?;
        feed.attach(found, work.inlets(&setup), |began| sinks.began(began));
        Ok(Self {
            audio: audio.is_some(),
            work,
            bus,
            counters,
            sinks,
            model,
            plan,
            source,
        })
    }

    /// The first error there was.
    pub fn error(&self) -> Option<Failure> {
        if let Some(e) = self.sinks.error() {
            return Some(e);
        }
        if self.counters.oversize.load(Relaxed) {
            return Some(Failure::new(
                "the frames are larger than their headers said, and than is allowed",
            ));
        }
        let message = self.bus.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(e) => Some(Failure::from_gst(e)),
            _ => None,
        }
    }

    /// Changes between before and after side by side, and after alone.
    pub fn compare(&self, on: bool) {
        if let Some(element) = &self.work.upscaler {
            element.set_property("split-pos", if on { 0.5 } else { 0.0 });
        }
    }

    /// Takes the network away, or gives it back.
    pub fn allow_network(&self, allowed: bool) {
        if let Some(element) = &self.work.upscaler {
            element.set_property("force-fallback", !allowed);
        }
    }

    /// What has been counted so far.
    pub fn counts(&self) -> Counts {
        let stats = self
            .work
            .upscaler
            .as_ref()
            .and_then(|e| e.property::<Option<gst::Structure>>("stats"));
        let stat = |name: &str| {
            stats
                .as_ref()
                .and_then(|s| s.get::<u64>(name).ok())
                .unwrap_or(0)
        };
        Counts {
            frames_in: self.counters.decoded.load(Relaxed),
            frames_out: self.counters.upscaled.load(Relaxed),
            fallback: stat("fallback-frames"),
            dropped: self.counters.dropped.load(Relaxed),
            inference_p95: Duration::from_nanos(stat("inference-p95-ns")),
            latency: Duration::from_nanos(self.counters.latency_ns.load(Relaxed)),
        }
    }

    /// Changes with each frame that is decoded, upscaled or encoded.
    fn progress(&self) -> [u64; 3] {
        let c = &self.counters;
        [&c.decoded, &c.upscaled, &c.latency_ns].map(|n| n.load(Relaxed))
    }

    /// Waits until the packets that are under way are in their segments. The feed has ended the run.
    pub fn drain(self) -> (Counts, Option<Failure>) {
        let mut until = Instant::now() + DRAIN;
        let mut seen = self.progress();
        let types = [gst::MessageType::Eos, gst::MessageType::Error];
        let mut failure = self.sinks.error();
        while failure.is_none() {
            // What is under way is bounded, so this ends, however busy the machine is.
            let now = self.progress();
            if now != seen {
                (seen, until) = (now, Instant::now() + DRAIN);
            }
            if Instant::now() >= until {
                failure = Some(Failure::new("the graph did not come to its end"));
                break;
            }
            let message = self
                .bus
                .timed_pop_filtered(gst::ClockTime::from_mseconds(200), &types);
            match message.as_ref().map(|m| m.view()) {
                Some(gst::MessageView::Eos(_)) => break,
                Some(gst::MessageView::Error(e)) => {
                    failure = self.sinks.error().or_else(|| Some(Failure::from_gst(e)));
                }
                _ => {}
            }
        }
        (self.counts(), failure.or_else(|| self.sinks.error()))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.work.pipeline.set_state(gst::State::Null);
    }
}
