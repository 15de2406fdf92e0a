//! From the demuxer to the run: packets with times from zero, a bounded backlog, and what changes
//! on the way.
//!
//! A publisher's stream is cut into runs: one goes from a keyframe until something changes that
//! the graph cannot follow (size, codec, audio that appears, a jump of the times) or the end.

use super::allowed::Allowed;
use super::cuts::Arrivals;
use super::lock;
use super::settings::Limits;
use gst::prelude::*;
use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Bytes held before a run takes them.
const BACKLOG_BYTES: usize = 64 << 20;
/// How long audio is waited for once there is video.
const AUDIO_WAIT: Duration = Duration::from_millis(1500);
/// Without a frame for longer, a new run begins: a segment would be longer than it may be.
const JUMP_NS: i64 = 450_000_000;
/// Without video for longer, sound alone does not go on.
const ALONE_NS: u64 = 5_000_000_000;
/// Behind the other stream by this much, a stream is told to have a gap.
const GAP_NS: u64 = 2_000_000_000;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Video.
    Video,
    /// Audio.
    Audio,
}

/// Why a run ends though the publisher goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Another size or codec of the video.
    Video,
    /// Another frame rate, as the video itself says.
    FrameRate,
    /// Another codec of the audio, or audio that appeared.
    Audio,
    /// The times jumped.
    Times,
    /// The video stopped and the sound did not.
    NoVideo,
    /// Keyframes are too far apart to pass the packets through.
    Keyframes,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Video => "the video's size or codec changed",
            Self::FrameRate => "the video's frame rate changed",
            Self::Audio => "the audio changed",
            Self::Times => "frames are missing, or the publisher's times jumped",
            Self::NoVideo => "the video stopped and the sound did not",
            Self::Keyframes => "keyframes are too far apart to pass them through",
        })
    }
}

/// What a publisher sends.
#[derive(Debug, Clone)]
pub struct Found {
    /// Caps of the video.
    pub video: gst::Caps,
    /// Caps of the audio, if there is some.
    pub audio: Option<gst::Caps>,
    /// To be given back when the run is attached.
    generation: u64,
}

/// What the stream has to know.
#[derive(Debug)]
pub enum Event {
    /// A run can begin.
    Ready(Found),
    /// The run has got its last packet; another will follow.
    Changed(Change),
    /// The publisher sends more than is allowed, or what cannot be used.
    Refused(String),
}

/// Where a run's packets go.
#[derive(Debug, Clone)]
pub struct Inlets {
    /// Video.
    pub video: gst_app::AppSrc,
    /// Audio, if there is some.
    pub audio: Option<gst_app::AppSrc>,
    /// Told of each video frame.
    pub arrivals: Arc<Arrivals>,
    /// Where packets are passed through, keyframes are asked whether they may come that late.
    pub keyframes: Option<Arc<super::cuts::Cuts>>,
}

#[derive(Clone)]
struct Packet {
    kind: Kind,
    buffer: gst::Buffer,
    /// Running times, ns.
    pts: i64,
    dts: i64,
}

enum State {
    /// Until what there is, is known. `since` is when the first keyframe came.
    Gathering { since: Option<Instant> },
    /// Known, and the run is being built.
    Waiting,
    /// On its way. `kept` are the packets since the last cut, where the run may have to be begun
    /// again with them.
    Running {
        inlets: Inlets,
        base: i64,
        video: u64,
        audio: u64,
        kept: Vec<Packet>,
    },
    /// Nothing is taken any more.
    Over,
}

struct Inner {
    state: State,
    video: Option<gst::Caps>,
    audio: Option<gst::Caps>,
    backlog: VecDeque<Packet>,
    bytes: usize,
    generation: u64,
    last_video: Option<i64>,
    last_packet: Instant,
    opened: Instant,
    began: SystemTime,
    allowed: Allowed,
    events: Sender<Event>,
}

/// The two ends: the demuxer's threads push, the stream's thread attaches runs.
pub struct Feed {
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// What of the caps makes a difference to a run.
fn essence(caps: &gst::Caps) -> gst::Caps {
    let mut caps = caps.clone();
    for structure in caps.make_mut().iter_mut() {
        for field in [
            "framerate",
            "profile",
            "level",
            "streamheader",
            "codec_data",
            "parsed",
            "bitrate",
            "chroma-format",
            "bit-depth-luma",
            "bit-depth-chroma",
            "lcevc",
            "coded-picture-structure",
            "interlace-mode",
            "colorimetry",
            "base-profile",
            "framed",
            "chroma-site",
        ] {
            structure.remove_field(field);
        }
    }
    caps
}

/// Whether both say a frame rate, and not the same: those of a metadata header and of the video
/// differ by rounding.
fn another_rate(old: &gst::Caps, new: &gst::Caps) -> bool {
    let rate = |caps: &gst::Caps| {
        let rate = caps.structure(0)?.get::<gst::Fraction>("framerate").ok()?;
        (rate.numer() > 0).then(|| f64::from(rate.numer()) / f64::from(rate.denom()))
    };
    match (rate(old), rate(new)) {
        (Some(old), Some(new)) => (old / new - 1.0).abs() > 0.01,
        _ => false,
    }
}

impl Feed {
    /// `limits`: what a publisher may send.
    pub fn new(limits: Limits, events: Sender<Event>) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            inner: Mutex::new(Inner {
                state: State::Gathering { since: None },
                video: None,
                audio: None,
                backlog: VecDeque::new(),
                bytes: 0,
                generation: 0,
                last_video: None,
                last_packet: now,
                opened: now,
                began: SystemTime::now(),
                allowed: Allowed::new(limits, now),
                events,
            }),
        })
    }

    /// How long nothing has come.
    pub fn idle(&self) -> Duration {
        lock(&self.inner).last_packet.elapsed()
    }

    /// Whether sound has come for this long, and no video.
    pub fn only_audio(&self, time: Duration) -> bool {
        let inner = lock(&self.inner);
        inner.video.is_none() && inner.audio.is_some() && inner.opened.elapsed() > time
    }

    /// Takes no more; the run gets its end.
    pub fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.end_run();
        inner.state = State::Over;
        inner.backlog.clear();
        inner.bytes = 0;
    }

    /// A packet with its caps and running times.
    pub fn push(&self, kind: Kind, sample: &gst::SampleRef) {
        let (Some(buffer), Some(caps)) = (sample.buffer_owned(), sample.caps_owned()) else {
            return;
        };
        let Some(segment) = sample
            .segment()
            .and_then(|s| s.downcast_ref::<gst::ClockTime>())
        else {
            return;
        };
        // Decoding times of the first frames can lie before the segment.
        let running = |t: Option<gst::ClockTime>| {
            Some(match segment.to_running_time_full(t?)? {
                gst::Signed::Positive(t) => i64::try_from(t.nseconds()).ok()?,
                gst::Signed::Negative(t) => -i64::try_from(t.nseconds()).ok()?,
            })
        };
        let Some(pts) = running(buffer.pts()).or_else(|| running(buffer.dts())) else {
            return;
        };
        let dts = running(buffer.dts()).unwrap_or(pts).min(pts);
        let mut inner = lock(&self.inner);
        inner.last_packet = Instant::now();
        let frame = (kind == Kind::Video).then_some(dts);
        if let Err(text) = inner.allowed.take(Instant::now(), buffer.size(), frame) {
            inner.refuse(text);
            return;
        }
        inner.caps(kind, caps);
        let packet = Packet {
            kind,
            buffer,
            pts,
            dts,
        };
        inner.take(packet);
    }

    /// Connects a run that was built for what [`Event::Ready`] said; before anything goes to it,
    /// `began` is told the wall-clock time of its first frame.
    pub fn attach(&self, found: &Found, inlets: Inlets, began: impl FnOnce(SystemTime)) {
        let mut inner = lock(&self.inner);
        if !matches!(inner.state, State::Waiting) || inner.generation != found.generation {
            // Over, or changed meanwhile: the run ends with nothing.
            let _ = inlets.video.end_of_stream();
            if let Some(audio) = &inlets.audio {
                let _ = audio.end_of_stream();
            }
            return;
        }
        began(inner.began);
        let base = inner.backlog.front().map_or(0, |p| p.dts);
        inner.state = State::Running {
            inlets,
            base,
            video: 0,
            audio: 0,
            kept: Vec::new(),
        };
        let backlog = std::mem::take(&mut inner.backlog);
        inner.bytes = 0;
        // Those packets are looked at for the second time.
        inner.last_video = None;
        for packet in backlog {
            inner.take(packet);
        }
    }

    /// Ends the run, and begins another with the next keyframe.
    pub fn renew(&self) {
        let mut inner = lock(&self.inner);
        if !matches!(inner.state, State::Over) {
            inner.end_run();
            inner.gather();
        }
    }
}

impl Inner {
    fn send(&self, event: Event) {
        // Nobody listens any more: the stream is over.
        let _ = self.events.send(event);
    }

    fn refuse(&mut self, text: String) {
        if !matches!(self.state, State::Over) {
            self.end_run();
            self.state = State::Over;
            self.send(Event::Refused(text));
        }
    }

    fn caps(&mut self, kind: Kind, caps: gst::Caps) {
        let slot = match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        };
        if slot.as_ref() == Some(&caps) {
            return;
        }
        let change = match slot.as_ref() {
            Some(old) if essence(old) == essence(&caps) => {
                another_rate(old, &caps).then_some(Change::FrameRate)
            }
            _ => Some(match kind {
                Kind::Video => Change::Video,
                Kind::Audio => Change::Audio,
            }),
        };
        *slot = Some(caps);
        // A run that is being built is for something else then: it gets nothing.
        if let Some(change) = change
            && matches!(self.state, State::Running { .. } | State::Waiting)
        {
            self.restart(change);
        }
    }

    /// Ends the run and gathers for another.
    fn restart(&mut self, why: Change) {
        self.end_run();
        self.gather();
        self.send(Event::Changed(why));
    }

    fn gather(&mut self) {
        self.generation += 1;
        self.backlog.clear();
        self.bytes = 0;
        self.last_video = None;
        self.state = State::Gathering { since: None };
    }

    fn end_run(&mut self) {
        if let State::Running { inlets, .. } = &self.state {
            let _ = inlets.video.end_of_stream();
            if let Some(audio) = &inlets.audio {
                let _ = audio.end_of_stream();
            }
        }
    }

    fn take(&mut self, packet: Packet) {
        if packet.kind == Kind::Video {
            let jumped = self
                .last_video
                .is_some_and(|last| packet.dts > last + JUMP_NS || packet.dts + JUMP_NS < last);
            if jumped && matches!(self.state, State::Running { .. } | State::Waiting) {
                self.restart(Change::Times);
            }
            self.last_video = Some(packet.dts);
        }
        match &self.state {
            State::Running { .. } => self.forward(packet),
            State::Over => {}
            State::Gathering { .. } | State::Waiting => {
                self.keep(packet);
                self.look();
            }
        }
    }

    /// Into the backlog, which begins with a keyframe.
    fn keep(&mut self, packet: Packet) {
        let key = packet.kind == Kind::Video
            && !packet.buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        if let State::Gathering { since } = &mut self.state
            && since.is_none()
        {
            if !key {
                return;
            }
            *since = Some(Instant::now());
            self.began = SystemTime::now();
        }
        self.bytes += packet.buffer.size();
        self.backlog.push_back(packet);
        if self.bytes > BACKLOG_BYTES {
            self.refuse("the stream cannot be taken up fast enough".into());
        }
    }

    fn look(&mut self) {
        let State::Gathering { since: Some(since) } = self.state else {
            return;
        };
        let span = match (self.backlog.front(), self.backlog.back()) {
            (Some(first), Some(last)) => last.pts - first.pts,
            _ => 0,
        };
        let waited = since.elapsed() >= AUDIO_WAIT || span >= AUDIO_WAIT.as_nanos() as i64;
        if let Some(video) = &self.video
            && (self.audio.is_some() || waited)
        {
            let event = Event::Ready(Found {
                video: video.clone(),
                audio: self.audio.clone(),
                generation: self.generation,
            });
            self.state = State::Waiting;
            self.send(event);
        }
    }

    fn forward(&mut self, mut packet: Packet) {
        let State::Running {
            inlets,
            base,
            video,
            audio,
            kept,
        } = &mut self.state
        else {
            return;
        };
        let Ok(pts) = u64::try_from(packet.pts - *base) else {
            return;
        };
        let dts = u64::try_from(packet.dts - *base).unwrap_or(0);
        let buffer = packet.buffer.make_mut();
        buffer.set_pts(gst::ClockTime::from_nseconds(pts));
        buffer.set_dts(gst::ClockTime::from_nseconds(dts));
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        // A full inlet drops by itself, and one that is stopping has no use for more.
        match packet.kind {
            Kind::Video => {
                if let Some(cuts) = &inlets.keyframes {
                    let cut = match key {
                        true => cuts.keyframe(pts),
                        false => match cuts.since_last(pts) {
                            time if time > cuts.longest_ns() => Err(time),
                            _ => Ok(false),
                        },
                    };
                    match cut {
                        Ok(true) => kept.clear(),
                        Ok(false) => {}
                        Err(_) => {
                            // The run is thrown away from its last cut on, and begun again there.
                            let mut again = std::mem::take(kept);
                            again.push(packet);
                            let since = again.first().map_or(0, |p| p.dts - *base);
                            let began = self.began + Duration::from_nanos(since.max(0) as u64);
                            self.gather();
                            self.send(Event::Changed(Change::Keyframes));
                            again.into_iter().for_each(|p| self.take(p));
                            // They came when they came.
                            self.began = began;
                            return;
                        }
                    }
                    kept.push(packet.clone());
                }
                // By decoding times: of B-frames and what they refer to, none is early or late then.
                inlets.arrivals.add(dts);
                *video = (*video).max(dts);
                let _ = inlets.video.push_buffer(packet.buffer);
                if let Some(src) = &inlets.audio {
                    bridge(src, audio, *video);
                }
            }
            Kind::Audio => {
                if inlets.keyframes.is_some() {
                    kept.push(packet.clone());
                }
                if let Some(src) = &inlets.audio {
                    *audio = (*audio).max(pts);
                    if *audio > *video + ALONE_NS {
                        self.restart(Change::NoVideo);
                        return;
                    }
                    let _ = src.push_buffer(packet.buffer);
                    bridge(&inlets.video, video, *audio);
                }
            }
        }
    }
}

/// Tells the muxers not to wait for a stream of which nothing comes.
fn bridge(src: &gst_app::AppSrc, at: &mut u64, other: u64) {
    if other > *at + GAP_NS {
        let until = other - GAP_NS / 2;
        let gap = gst::event::Gap::builder(gst::ClockTime::from_nseconds(*at))
            .duration(gst::ClockTime::from_nseconds(until - *at))
            .build();
        src.send_event(gap);
        *at = until;
    }
}
