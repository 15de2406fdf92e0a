//! One stream: its publisher comes, goes and comes back; its playlists go on.

use super::feed::{Change, Event, Feed, Found};
use super::hls::publisher::Publisher;
use super::hls::store;
use super::lock;
use super::run::{Counts, Run};
use super::settings::{OverLimit, Settings};
use super::slots::{Slot, Slots};
use super::source::{End, Source};
use super::status::{self, Phase};
use super::uri::secrets;
use crate::failure::Failure;
use std::collections::VecDeque;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often things are looked at.
const TICK: Duration = Duration::from_millis(200);
/// Between two attempts to reach the publisher's server.
const RETRY: Duration = Duration::from_secs(1);
/// Runs that may end by errors or changes within [`WINDOW`] before the stream is given up.
const TRIES: usize = 12;
/// See [`TRIES`].
const WINDOW: Duration = Duration::from_secs(60);
/// How long nothing may come from a publisher that is known to have left.
const LAST_WORDS: Duration = Duration::from_millis(700);
/// How long a stream with sound alone is listened to.
const NO_VIDEO: Duration = Duration::from_secs(10);

/// What a stream tells the outside.
pub type Say = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Where a stream comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Public name.
    pub name: String,
    /// URI; may hold a key, and is never shown.
    pub uri: String,
    /// Whether [`Handle::published`] tells when somebody publishes; otherwise the URI is tried again and again.
    pub told: bool,
}

/// What the two sides share.
struct Shared {
    origin: Origin,
    settings: Arc<Settings>,
    slots: Arc<Slots>,
    stop: AtomicBool,
    /// Somebody publishes, as far as the ingest server says.
    published: AtomicBool,
    compare: AtomicBool,
    status: Mutex<status::Stream>,
    publisher: Mutex<Option<Arc<Publisher>>>,
    /// From the arrival of a segment's first frame until the segment could be fetched.
    delay_ns: Arc<AtomicU64>,
    say: Say,
}

/// A stream, which ends when this is dropped.
pub struct Handle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("name", &self.shared.origin.name)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Begins the stream, in a thread of its own.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        origin: Origin,
        settings: &Arc<Settings>,
        slots: &Arc<Slots>,
        say: &Say,
    ) -> Result<Self, Failure> {
        let name = origin.name.clone();
        let shared = Arc::new(Shared {
            status: Mutex::new(status::Stream {
                name: name.clone(),
                playlist: format!("{name}/master.m3u8"),
                ..status::Stream::default()
            }),
            settings: Arc::clone(settings),
            slots: Arc::clone(slots),
            stop: AtomicBool::new(false),
            published: AtomicBool::new(origin.told),
            compare: AtomicBool::new(false),
            publisher: Mutex::default(),
            delay_ns: Arc::default(),
            say: Arc::clone(say),
            origin,
        });
        let inside = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("live-{name}"))
            .spawn(move || Stream::new(&inside).live())
            .map_err(|e| Failure::new(format!("a thread for {name}: {e}")))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// How it stands.
    pub fn status(&self) -> status::Stream {
        lock(&self.shared.status).clone()
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The ingest server says whether somebody publishes.
    pub fn published(&self, now: bool) {
        self.shared.published.store(now, SeqCst);
    }

    /// Whether somebody publishes, as far as is known.
    pub fn is_published(&self) -> bool {
        self.shared.published.load(SeqCst)
    }

    /// Before and after side by side, or not.
    pub fn compare(&self, on: bool) {
        self.shared.compare.store(on, SeqCst);
    }

    /// Its playlists and segments, once there are some.
    pub fn publisher(&self) -> Option<Arc<Publisher>> {
        lock(&self.shared.publisher).clone()
    }

    /// Asks it to come to its end: what has come in is put into segments, and the playlists get
    /// their end. Dropping the handle waits for that.
    pub fn stop(&self) {
        self.shared.stop.store(true, SeqCst);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How a connection to the publisher ended.
enum Left {
    /// It may come back.
    Gone(Option<String>),
    /// It is not to come back.
    Refused(String),
    /// It is not taken yet, for others use the network.
    NotYet,
    /// The program stops.
    Stopped,
}

/// The thread's side.
struct Stream<'a> {
    shared: &'a Shared,
    publisher: Option<Arc<Publisher>>,
    /// Of the runs that are over.
    past: Counts,
    /// When runs ended before their time.
    troubles: VecDeque<Instant>,
    pass: bool,
    runs: u64,
    fps: Meter,
}

/// Frames a second over the last few.
#[derive(Default)]
struct Meter(VecDeque<(Instant, u64)>);

impl Meter {
    fn rate(&mut self, frames: u64) -> f64 {
        let now = Instant::now();
        self.0.push_back((now, frames));
        while self
            .0
            .front()
            .is_some_and(|(t, _)| now.duration_since(*t) > Duration::from_secs(5))
        {
            self.0.pop_front();
        }
        let Some((then, before)) = self.0.front() else {
            return 0.0;
        };
        let time = now.duration_since(*then).as_secs_f64();
        if time < 0.5 {
            0.0
        } else {
            frames.saturating_sub(*before) as f64 / time
        }
    }
}

fn sum(a: Counts, b: Counts) -> Counts {
    Counts {
        frames_in: a.frames_in + b.frames_in,
        frames_out: a.frames_out + b.frames_out,
        fallback: a.fallback + b.fallback,
        dropped: a.dropped + b.dropped,
        ..b
    }
}

impl<'a> Stream<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            publisher: None,
            past: Counts::default(),
            troubles: VecDeque::new(),
            pass: true,
            runs: 0,
            fps: Meter::default(),
        }
    }

    fn say(&self, text: &str) {
        (self.shared.say)(&self.shared.origin.name, &self.clean(text));
    }

    /// Without what may be a key.
    fn clean(&self, text: &str) -> String {
        let origin = &self.shared.origin;
        let clean = text.replace(origin.uri.as_str(), "the source");
        // A server of ours knows no keys, only names.
        let hidden = if origin.told {
            vec![]
        } else {
            secrets(&origin.uri)
        };
        let hide = |text: String, secret: &str| text.replace(secret, "...");
        hidden.into_iter().fold(clean, hide)
    }

    fn stopping(&self) -> bool {
        self.shared.stop.load(SeqCst)
    }

    fn phase(&self, phase: Phase, error: Option<String>) {
        let mut status = lock(&self.shared.status);
        status.phase = phase;
        if error.is_some() {
            status.error = error;
        }
    }

    /// From the first publisher until none comes any more.
    fn live(mut self) {
        let reconnect = self.shared.settings.reconnect;
        let mut away = Instant::now();
        let mut refused = None;
        while !self.stopping() {
            let waited_for = !self.shared.origin.told || self.shared.published.load(SeqCst);
            // Before the first frame a source that is asked again and again is waited for.
            let given_up = (self.runs > 0 || self.shared.origin.told) && away.elapsed() > reconnect;
            if given_up {
                self.say(&format!(
                    "nobody came back within {} s",
                    reconnect.as_secs()
                ));
                break;
            }
            if !waited_for {
                std::thread::sleep(TICK);
                continue;
            }
            match self.connection() {
                Left::Stopped => break,
                Left::Refused(text) => {
                    self.say(&text);
                    refused = Some(text);
                    break;
                }
                Left::NotYet => {
                    let why = "as many streams as may use the network do: waiting";
                    let known = lock(&self.shared.status).error.replace(why.into());
                    if known.as_deref() != Some(why) {
                        self.say(why);
                    }
                    // It is we who wait, not for the publisher.
                    away = Instant::now();
                    self.rest(TICK);
                }
                Left::Gone(why) => {
                    if self.runs > 0 || why.is_some() {
                        let why = why.unwrap_or_else(|| "the publisher is done".into());
                        lock(&self.shared.status).error = Some(self.clean(&why));
                    }
                    if lock(&self.shared.status).phase == Phase::Live {
                        self.say("the publisher is gone");
                        away = Instant::now();
                    }
                    self.phase(Phase::Waiting, None);
                    if self.shared.origin.told {
                        // The server says when somebody is there again.
                        self.shared.published.store(false, SeqCst);
                    }
                    self.rest(RETRY);
                }
            }
        }
        let finished = self.publisher.take().map_or(Ok(()), |p| p.finish());
        if let Err(e) = &finished {
            self.say(&format!("the playlists did not get their end: {}", e.what));
        }
        match refused.or_else(|| finished.err().map(|e| e.what)) {
            Some(text) => {
                let text = self.clean(&text);
                self.phase(Phase::Failed, Some(text));
            }
            None => self.phase(Phase::Ended, None),
        }
    }

    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.stopping() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One connection to the publisher, with its runs.
    fn connection(&mut self) -> Left {
        let shared = self.shared;
        let settings = &shared.settings;
        let mut slot = shared.slots.take();
        if slot.is_none() && settings.over_limit == OverLimit::Wait {
            return Left::NotYet;
        }
        let (sender, events) = mpsc::channel();
        let feed = Feed::new(settings.limits, sender);
        let source = match Source::start(&shared.origin.uri, &feed) {
            Ok(source) => source,
            Err(e) if e.hint.is_some() => return Left::Refused(e.to_string()),
            Err(e) => return Left::Gone(Some(e.what)),
        };
        let begun = Instant::now();
        let mut run: Option<Run> = None;
        let left = loop {
            if self.stopping() {
                break Left::Stopped;
            }
            match events.recv_timeout(TICK) {
                Ok(Event::Ready(found)) => match self.begin(&feed, &found, slot.is_some()) {
                    Ok(begun) => {
                        if begun.model.is_none() {
                            // Nothing is enlarged: the place is for others.
                            slot = None;
                        }
                        run = Some(begun);
                    }
                    Err(e) => break Left::Refused(e.to_string()),
                },
                Ok(Event::Changed(why)) => {
                    self.say(&why.to_string());
                    if why == Change::Keyframes {
                        self.pass = false;
                        self.abandon(run.take());
                    } else {
                        self.end(run.take());
                    }
                    if self.too_often() {
                        break Left::Refused(format!("{why}, too often"));
                    }
                }
                Ok(Event::Refused(text)) => break Left::Refused(text),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Left::Gone(None),
            }
            if let Some(end) = source.ended() {
                break Left::Gone(match end {
                    End::Done => None,
                    End::Broken(text) => Some(text),
                });
            }
            if feed.idle() > settings.idle {
                let text = format!("nothing came for {} s", settings.idle.as_secs());
                break Left::Gone((run.is_some()).then_some(text));
            }
            if run.is_none() && feed.only_audio(NO_VIDEO) {
                break Left::Refused(
                    "the publisher sends sound without video: there is nothing to enlarge".into(),
                );
            }
            // The server says so before all that was sent has come through it.
            let left = shared.origin.told && !shared.published.load(SeqCst);
            if left && begun.elapsed() > RETRY && feed.idle() > LAST_WORDS {
                break Left::Gone(None);
            }
            if let Some(now) = &run {
                if let Some(e) = now.error() {
                    self.say(&e.to_string());
                    lock(&shared.status).error = Some(self.clean(&e.what));
                    feed.renew();
                    self.abandon(run.take());
                    if self.too_often() {
                        break Left::Refused(format!("{}, too often", e.what));
                    }
                    continue;
                }
                self.turn(now, &mut slot);
                self.report(now);
            }
        };
        drop(source);
        feed.close();
        self.end(run.take());
        left
    }

    fn too_often(&mut self) -> bool {
        let now = Instant::now();
        self.troubles.push_back(now);
        self.troubles.retain(|t| now.duration_since(*t) < WINDOW);
        self.troubles.len() > TRIES
    }

    fn begin(&mut self, feed: &Feed, found: &Found, network: bool) -> Result<Run, Failure> {
        let shared = self.shared;
        let publisher = match &self.publisher {
            Some(publisher) => Arc::clone(publisher),
            None => {
                let settings = &shared.settings;
                let store = store::open(&settings.out)?;
                let new = Publisher::new(store, &shared.origin.name, settings.hls.clone())?;
                let delay = Arc::clone(&shared.delay_ns);
                new.on_published(move |segment| {
                    let behind = segment.begins.elapsed().unwrap_or_default();
                    delay.store(behind.as_nanos() as u64, Relaxed);
                });
                *lock(&shared.publisher) = Some(Arc::clone(&new));
                self.publisher = Some(Arc::clone(&new));
                new
            }
        };
        let say = |text: &str| self.say(text);
        let pass = self.pass;
        let run = Run::start(
            &shared.settings,
            feed,
            &publisher,
            found,
            pass,
            network,
            say,
        )?;
        let renditions: Vec<_> = run
            .plan
            .renditions
            .iter()
            .map(|r| status::Rendition {
                name: r.name.clone(),
                width: r.width,
                height: r.height,
                passthrough: r.way == super::ladder::Way::Pass,
                ..status::Rendition::default()
            })
            .collect();
        let names: Vec<_> = renditions
            .iter()
            .map(|r| {
                format!(
                    "{}{}",
                    r.name,
                    if r.passthrough {
                        " (passed through)"
                    } else {
                        ""
                    }
                )
            })
            .collect();
        self.say(&format!(
            "live: {}x{}{} -> {}{}",
            run.source.width,
            run.source.height,
            match run.source.frame_rate {
                (n, d) if n > 0 && d > 0 => format!(" at {:.4} fps", f64::from(n) / f64::from(d)),
                _ => String::new(),
            },
            names.join(", "),
            if run.audio { "" } else { ", without sound" }
        ));
        let mut status = lock(&shared.status);
        status.phase = Phase::Live;
        status.error = None;
        status.width = run.source.width;
        status.height = run.source.height;
        status.model = run.model.clone().unwrap_or_default();
        status.audio = run.audio;
        status.renditions = renditions;
        status.discontinuities = self.runs;
        drop(status);
        self.runs += 1;
        run.compare(shared.compare.load(SeqCst));
        Ok(run)
    }

    /// The run has got its last packet.
    fn end(&mut self, run: Option<Run>) {
        let Some(run) = run else {
            return;
        };
        self.report(&run);
        let (counts, failure) = run.drain();
        self.past = sum(self.past, counts);
        if let Some(e) = failure {
            self.say(&format!("the end of the run is not complete: {e}"));
        }
    }

    /// The run is broken.
    fn abandon(&mut self, run: Option<Run>) {
        if let Some(run) = run {
            self.past = sum(self.past, run.counts());
        }
    }

    /// What the outside asks for, while it runs.
    fn turn(&self, run: &Run, slot: &mut Option<Slot>) {
        let on = self.shared.compare.load(SeqCst);
        let shown = std::mem::replace(&mut lock(&self.shared.status).compare, on);
        if shown != on {
            run.compare(on);
        }
        if slot.is_none() && run.model.is_some() {
            *slot = self.shared.slots.take();
            if slot.is_some() {
                self.say("the network is free: using it");
                run.allow_network(true);
            }
        }
    }

    fn report(&mut self, run: &Run) {
        let counts = run.counts();
        let total = sum(self.past, counts);
        let fps = self.fps.rate(total.frames_in);
        let published = self.publisher.as_ref().map(|p| (p.counters(), p.error()));
        let mut status = lock(&self.shared.status);
        status.fps = fps;
        // While frames come out, more of them by the classical upscale than before: it is in use.
        status.fallback = total.fallback > status.fallback_frames;
        status.frames_in = total.frames_in;
        status.frames_out = total.frames_out;
        status.fallback_frames = total.fallback;
        status.dropped_frames = total.dropped;
        status.inference_p95_s = counts.inference_p95.as_secs_f64();
        status.latency_s = counts.latency.as_secs_f64();
        status.delay_s = self.shared.delay_ns.load(Relaxed) as f64 / 1e9;
        if let Some((counters, error)) = published {
            for rendition in &mut status.renditions {
                if let Some(c) = counters.iter().find(|c| c.rendition == rendition.name) {
                    rendition.segments = c.segments;
                    rendition.bytes = c.bytes;
                }
            }
            if let Some(e) = error {
                status.error = Some(e.what);
            }
        }
    }
}
