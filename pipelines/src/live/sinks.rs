//! Behind the muxers: what they write becomes segments, at the times that all renditions agreed on.

use super::cuts::{Cuts, Follower};
use super::hls::options::{Container, Kind, RenditionSpec};
use super::hls::publisher::{Part, Publisher, Segment};
use super::hls::ts::{Splitter, TsSegment};
use super::ladder::{Planned, Source, Way};
use super::lock;
use crate::failure::Failure;
use bytes::Bytes;
use gst::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

/// Segments held until all renditions are known; a few seconds of all of them.
const WAITING: usize = 64;
/// The rendition of audio alone.
const AUDIO: &str = "audio";
/// For audio, beside the video's rate.
const AUDIO_BPS: u64 = 192_000;
/// A 90 kHz tick is this many ns / 9.
const TICK_NS_BY_9: u64 = 100_000;
/// Times of MPEG-TS have 33 bits.
const TS_WRAP: u64 = 1 << 33;

/// Which muxer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlet {
    /// That of a rendition, by the plan's index.
    Video(usize),
    /// That of the audio alone.
    Audio,
}

/// All sinks of a run.
#[derive(Debug)]
pub struct Sinks {
    publisher: Arc<Publisher>,
    container: Container,
    source: Source,
    renditions: Vec<Planned>,
    audio: Option<String>,
    cuts: Arc<Cuts>,
    began: OnceLock<SystemTime>,
    state: Mutex<State>,
}

/// Longest segment in bytes.
const SEGMENT_BYTES: usize = 128 << 20;

#[derive(Debug, Default)]
struct State {
    codecs: Vec<Option<String>>,
    waiting: Vec<(usize, Output)>,
    begun: bool,
    error: Option<Failure>,
}

/// What a sink hands on.
#[derive(Debug)]
enum Output {
    Init(Bytes),
    Part(Part),
    Segment(Segment),
}

impl Sinks {
    /// For a run of these renditions. `audio` is the RFC 6381 name of its codec, if there is any.
    pub fn new(
        publisher: &Arc<Publisher>,
        container: Container,
        source: &Source,
        renditions: &[Planned],
        audio: Option<String>,
        cuts: &Arc<Cuts>,
    ) -> Arc<Self> {
        Arc::new(Self {
            publisher: Arc::clone(publisher),
            container,
            source: source.clone(),
            renditions: renditions.to_vec(),
            audio,
            cuts: Arc::clone(cuts),
            began: OnceLock::new(),
            state: Mutex::new(State {
                codecs: vec![None; renditions.len()],
                ..State::default()
            }),
        })
    }

    /// The wall-clock time of the run's time zero; before anything comes out.
    pub fn began(&self, at: SystemTime) {
        let _ = self.began.set(at);
    }

    /// The first error there was; the run is to be ended then.
    pub fn error(&self) -> Option<Failure> {
        lock(&self.state).error.clone()
    }

    /// The codec of a rendition, as RFC 6381 writes it.
    pub fn codec(&self, outlet: Outlet, codec: String) {
        let Outlet::Video(index) = outlet else {
            return;
        };
        let mut state = lock(&self.state);
        if let Some(slot) = state.codecs.get_mut(index) {
            *slot = Some(codec);
        }
        self.begin(&mut state);
    }

    /// The sink behind a muxer.
    pub fn element(self: &Arc<Self>, outlet: Outlet) -> gst::Element {
        let this = Arc::clone(self);
        let index = match outlet {
            Outlet::Video(i) => i,
            Outlet::Audio => self.renditions.len(),
        };
        let collect = Mutex::new(Collect::new(&this, index));
        let collect = Arc::new(collect);
        let at_end = Arc::clone(&collect);
        let and = Arc::clone(self);
        let callbacks = gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                lock(&collect)
                    .sample(&this, &sample)
                    .map_err(|e| this.fail(e))?;
                Ok(gst::FlowSuccess::Ok)
            })
            .eos(move |_| {
                if let Err(e) = lock(&at_end).end(&and) {
                    let _ = and.fail(e);
                }
            })
            .build();
        gst_app::AppSink::builder()
            .sync(false)
            .async_(false)
            .buffer_list(self.container == Container::Cmaf)
            .callbacks(callbacks)
            .build()
            .upcast()
    }

    fn fail(&self, failure: Failure) -> gst::FlowError {
        lock(&self.state).error.get_or_insert(failure);
        gst::FlowError::Error
    }

    fn specs(&self, codecs: &[Option<String>]) -> Option<Vec<RenditionSpec>> {
        let apart = self.container == Container::Cmaf;
        let mut specs = Vec::new();
        for (rendition, codec) in self.renditions.iter().zip(codecs) {
            let mut all = vec![codec.clone()?];
            if !apart {
                all.extend(self.audio.clone());
            }
            let audio = if self.audio.is_some() { AUDIO_BPS } else { 0 };
            // What is passed through has a rate that only its segments tell.
            let video = match rendition.way {
                Way::Pass => 0,
                _ => rendition.bitrate_bps + rendition.bitrate_bps / 10,
            };
            specs.push(RenditionSpec {
                name: rendition.name.clone(),
                kind: Kind::Video {
                    width: rendition.width,
                    height: rendition.height,
                    frame_rate: match self.source.frame_rate {
                        (n, d) if n > 0 && d > 0 => (n, d),
                        _ => (30, 1),
                    },
                    with_audio: self.audio.is_some() && !apart,
                },
                codecs: all,
                max_bitrate_bps: video + audio,
            });
        }
        if let Some(audio) = self.audio.clone().filter(|_| apart) {
            specs.push(RenditionSpec {
                name: AUDIO.into(),
                kind: Kind::Audio { channels: 2 },
                codecs: vec![audio],
                max_bitrate_bps: AUDIO_BPS,
            });
        }
        Some(specs)
    }

    /// Tells the publisher what there is, once it is known, and gives it what has waited.
    fn begin(&self, state: &mut State) {
        if state.begun {
            return;
        }
        let Some(specs) = self.specs(&state.codecs) else {
            return;
        };
        state.begun = true;
        let waiting = std::mem::take(&mut state.waiting);
        let done = self.publisher.begin(&specs).and_then(|()| {
            waiting
                .into_iter()
                .try_for_each(|(index, output)| self.give(index, output))
        });
        if let Err(e) = done {
            state.error.get_or_insert(e);
        }
    }

    fn give(&self, index: usize, output: Output) -> Result<(), Failure> {
        let name = self.renditions.get(index).map_or(AUDIO, |r| &r.name);
        let given = match output {
            Output::Init(bytes) => self.publisher.init(name, bytes),
            Output::Part(part) => self.publisher.part(name, part),
            Output::Segment(segment) => self.publisher.segment(name, segment),
        };
        match given {
            // The store's trouble: the publisher marks what is missing, and the run goes on.
            Err(e) if self.publisher.error().is_some_and(|kept| kept == e) => Ok(()),
            other => other,
        }
    }

    fn put(&self, index: usize, output: Output) -> Result<(), Failure> {
        {
            let mut state = lock(&self.state);
            if let Some(e) = &state.error {
                return Err(e.clone());
            }
            if !state.begun {
                if state.waiting.len() >= WAITING {
                    return Err(Failure::new("a rendition does not begin"));
                }
                state.waiting.push((index, output));
                return Ok(());
            }
        }
        self.give(index, output)
    }

    fn wall(&self, time_ns: u64) -> SystemTime {
        let began = self.began.get().copied().unwrap_or_else(SystemTime::now);
        began + Duration::from_nanos(time_ns)
    }
}

/// One muxer's bytes on their way to be segments.
struct Collect {
    index: usize,
    kind: Bytewise,
}

enum Bytewise {
    Ts(Box<Ts>),
    Cmaf(Cmaf),
}

/// Asked at each keyframe, with its time in the muxer's own ticks.
type Begins = Box<dyn FnMut(u64) -> bool + Send>;

struct Ts {
    splitter: Splitter<Begins>,
    first: Arc<OnceLock<u64>>,
}

struct Cmaf {
    cuts: Follower,
    audio: bool,
    /// Sound is ahead of the frames that decide where segments begin, and waits for them here.
    held: VecDeque<Fragment>,
    bytes: Vec<u8>,
    begins: Option<u64>,
    end: u64,
}

/// A fragment, or a chunk of one.
struct Fragment {
    bytes: Vec<u8>,
    /// Running time and length, ns.
    time: u64,
    duration: u64,
    /// It does not begin with a keyframe.
    delta: bool,
}

/// ns after the first keyframe, of times with 33 bits.
fn after(first: u64, pts: u64) -> u64 {
    let ticks = pts.wrapping_sub(first) % TS_WRAP;
    // Nothing comes much before the first one.
    let ticks = if ticks > TS_WRAP / 2 { 0 } else { ticks };
    ticks * TICK_NS_BY_9 / 9
}

impl Collect {
    fn new(sinks: &Arc<Sinks>, index: usize) -> Self {
        let mut cuts = sinks.cuts.follow();
        let kind = match sinks.container {
            Container::Ts => {
                let first = Arc::new(OnceLock::new());
                let (of_first, of) = (Arc::clone(&first), Arc::clone(&sinks.cuts));
                let begins = move |pts| {
                    let first = *of_first.get_or_init(|| pts);
                    cuts.due(of.first().unwrap_or(0) + after(first, pts))
                };
                Bytewise::Ts(Box::new(Ts {
                    splitter: Splitter::new(SEGMENT_BYTES, Box::new(begins)),
                    first,
                }))
            }
            Container::Cmaf => Bytewise::Cmaf(Cmaf {
                cuts,
                audio: index >= sinks.renditions.len(),
                held: VecDeque::new(),
                bytes: Vec::new(),
                begins: None,
                end: 0,
            }),
        };
        Self { index, kind }
    }

    fn sample(&mut self, sinks: &Sinks, sample: &gst::SampleRef) -> Result<(), Failure> {
        match &mut self.kind {
            Bytewise::Ts(ts) => {
                let Some(map) = sample.buffer().and_then(|b| b.map_readable().ok()) else {
                    return Ok(());
                };
                let mut done = Vec::new();
                ts.splitter.push(&map, &mut done)?;
                ts.hand_on(sinks, self.index, done)
            }
            Bytewise::Cmaf(cmaf) => cmaf.sample(sinks, self.index, sample),
        }
    }

    fn end(&mut self, sinks: &Sinks) -> Result<(), Failure> {
        match &mut self.kind {
            Bytewise::Ts(ts) => {
                let done = ts.splitter.finish();
                ts.hand_on(sinks, self.index, done)
            }
            Bytewise::Cmaf(cmaf) => {
                cmaf.flush(sinks, self.index, true)?;
                cmaf.segment(sinks, self.index, cmaf.end)
            }
        }
    }
}

impl Ts {
    fn hand_on(&self, sinks: &Sinks, index: usize, done: Vec<TsSegment>) -> Result<(), Failure> {
        let zero = sinks.cuts.first().unwrap_or(0);
        for segment in done {
            let first = self.first.get().copied().unwrap_or(segment.first_pts);
            let segment = Segment {
                begins: sinks.wall(zero + after(first, segment.first_pts)),
                bytes: segment.bytes,
                duration: segment.duration,
            };
            sinks.put(index, Output::Segment(segment))?;
        }
        Ok(())
    }
}

impl Cmaf {
    fn sample(
        &mut self,
        sinks: &Sinks,
        index: usize,
        sample: &gst::SampleRef,
    ) -> Result<(), Failure> {
        let Some(list) = sample.buffer_list() else {
            return Ok(());
        };
        let segment = sample
            .segment()
            .and_then(|s| s.downcast_ref::<gst::ClockTime>());
        let mut rest = list.iter().peekable();
        if let Some(first) = rest.next_if(|b| is_init(b)) {
            let map = first.map_readable().map_err(crate::parts::fail)?;
            sinks.put(index, Output::Init(Bytes::copy_from_slice(&map)))?;
        }
        let Some(first) = rest.peek() else {
            return Ok(());
        };
        let delta = first.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let duration = first.duration().map_or(0, |d| d.nseconds());
        let time = segment
            .and_then(|s| s.to_running_time(first.pts()))
            .map_or(0, |t| t.nseconds());
        let mut bytes = Vec::new();
        for buffer in rest {
            bytes.extend_from_slice(&buffer.map_readable().map_err(crate::parts::fail)?);
        }
        let fragment = Fragment {
            bytes,
            time,
            duration,
            delta,
        };
        if !self.audio {
            return self.take(sinks, index, fragment);
        }
        self.held.push_back(fragment);
        self.flush(sinks, index, false)
    }

    /// Takes the sound for which it is known whether a segment begins with it, or all of it.
    fn flush(&mut self, sinks: &Sinks, index: usize, all: bool) -> Result<(), Failure> {
        let known = |f: &Fragment| all || sinks.cuts.decided(f.time);
        while let Some(fragment) = self.held.pop_front_if(|f| known(f)) {
            self.take(sinks, index, fragment)?;
        }
        Ok(())
    }

    fn take(&mut self, sinks: &Sinks, index: usize, fragment: Fragment) -> Result<(), Failure> {
        let Fragment { time, delta, .. } = fragment;
        if !delta && (self.cuts.due(time) || self.begins.is_none()) {
            self.segment(sinks, index, time)?;
            self.begins = Some(time);
        }
        self.bytes.extend_from_slice(&fragment.bytes);
        self.end = time + fragment.duration;
        if sinks.publisher.options().part.is_none() {
            return Ok(());
        }
        let part = Part {
            bytes: fragment.bytes.into(),
            duration: Duration::from_nanos(fragment.duration),
            independent: self.audio || !delta,
            begins: sinks.wall(time),
        };
        sinks.put(index, Output::Part(part))
    }

    /// What has been collected is a segment, which ends at `end`.
    fn segment(&mut self, sinks: &Sinks, index: usize, end: u64) -> Result<(), Failure> {
        let bytes = std::mem::take(&mut self.bytes);
        let Some(begins) = self.begins.take().filter(|_| !bytes.is_empty()) else {
            return Ok(());
        };
        let segment = Segment {
            bytes: bytes.into(),
            duration: Duration::from_nanos(end.saturating_sub(begins)),
            begins: sinks.wall(begins),
        };
        sinks.put(index, Output::Segment(segment))
    }
}

/// Whether a buffer begins with a file type box, as initialisation segments do.
fn is_init(buffer: &gst::BufferRef) -> bool {
    let mut start = [0; 8];
    buffer.copy_to_slice(0, &mut start).is_ok() && start.ends_with(b"ftyp")
}
