//! One stream's presentation: takes finished segments, and has them and the playlists on the store
//! in an order in which no playlist names what is not there.
//!
//! ```text
//! STREAM/master.m3u8
//! STREAM/RENDITION/index.m3u8
//! STREAM/RENDITION/STAMP-000042.ts        (.m4s)
//! STREAM/RENDITION/STAMP-part000007.m4s
//! STREAM/RENDITION/STAMP-init-0.mp4
//! ```
//!
//! STAMP tells runs of the program apart. Where an earlier one left its files, its playlists are
//! replaced; its segments stay, and nothing of this run has their names.

use super::names;
use super::options::{Container, Options, RenditionSpec, folder_name, rounded_s};
use super::queue::{Job, Queue};
use super::store::Store;
use super::worker::Worker;
use crate::failure::Failure;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Longest time that giving up may take; a store that hangs longer is left to itself.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(10);

/// A finished segment.
#[derive(Debug, Clone)]
pub struct Segment {
    /// All its bytes; where it has parts, those of all of them.
    pub bytes: Bytes,
    /// Its length.
    pub duration: Duration,
    /// When its first frame was there. Where it has parts, the first of them has said that.
    pub begins: SystemTime,
}

/// A finished part of the segment that is being written.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its length.
    pub duration: Duration,
    /// Whether it begins with a keyframe.
    pub independent: bool,
    /// When its first frame was there.
    pub begins: SystemTime,
}

/// A segment that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Of which rendition.
    pub rendition: String,
    /// Its media sequence number.
    pub sequence: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its length in time.
    pub duration: Duration,
    /// When its first frame was there.
    pub begins: SystemTime,
}

/// What was published of a rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Its name.
    pub rendition: String,
    /// Segments that could be fetched, those that are deleted by now too.
    pub segments: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// What is known of a rendition by those who hand over its segments.
#[derive(Debug, Default)]
struct Rendition {
    /// The number of the segment that is being written.
    sequence: u64,
    next_part: u64,
    next_init: u64,
    init: Option<Bytes>,
    /// Something of this run has come.
    has_media: bool,
    /// It is not part of this run.
    gone: bool,
    /// The parts of the segment that is being written.
    open: Vec<Part>,
}

#[derive(Debug, Default)]
struct Run {
    renditions: BTreeMap<String, Rendition>,
    finished: bool,
}

/// One stream's presentation. Any thread may call; the segments of one rendition have to come from
/// one thread at a time.
///
/// An error of the store ends nothing: it is kept, given by the next call that hands something
/// over (which is taken all the same) and by [`Self::error`], and what could not be written is
/// marked as a gap.
///
/// Dropped without [`Self::finish`], it stops writing and leaves the playlists without an end.
#[derive(Debug)]
pub struct Publisher {
    stream: String,
    stamp: String,
    options: Options,
    store: Arc<dyn Store>,
    queue: Arc<Queue>,
    // Locked before the queue, and never while waiting for it.
    run: Mutex<Run>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Publisher {
    /// Starts the thread that writes; nothing is written yet.
    ///
    /// # Errors
    /// A name that cannot be a folder's, options that cannot be, parts on a store that cannot hold
    /// requests back, a thread that cannot be started.
    pub fn new(
        store: Box<dyn Store>,
        stream_name: &str,
        options: Options,
    ) -> Result<Arc<Self>, Failure> {
        folder_name(stream_name)?;
        options.validate()?;
        if options.part.is_some() && !store.can_wait() {
            return Err(Failure::usage(
                "low-latency parts need a server that holds playlist requests back, which S3 does not",
            )
            .hint("write to a folder that is served by --serve, or leave the parts out"));
        }
        let store: Arc<dyn Store> = Arc::from(store);
        let queue = Arc::new(Queue::new(options.queue));
        let stamp = names::fresh_stamp();
        let worker = Worker::new(store.clone(), queue.clone(), stream_name, &stamp, &options);
        let thread = std::thread::Builder::new()
            .name(format!("hls-{stream_name}"))
            .spawn(move || worker.run())
            .map_err(|e| Failure::new(format!("the thread for the segments: {e}")))?;
        Ok(Arc::new(Self {
            stream: stream_name.to_owned(),
            stamp,
            options,
            store,
            queue,
            run: Mutex::default(),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// How it presents the stream.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where the master playlist is below the output.
    pub fn playlist(&self) -> String {
        format!("{}/master.m3u8", self.stream)
    }

    /// A run begins: the first, or another one because the publisher came back or the source
    /// changed. Every playlist then gets a discontinuity before its next segment and goes on with
    /// its numbers. Renditions are known by their names; new ones begin with the number at which
    /// the others are, and those that are gone get their end. Where one lacks segments that others
    /// have, gaps stand in for them, so that the numbers of all stay together.
    ///
    /// # Errors
    /// No rendition, two of the same name, one that cannot be, sound of its own beside pictures in
    /// transport streams; a presentation that is finished.
    pub fn begin(&self, specs: &[RenditionSpec]) -> Result<(), Failure> {
        if specs.is_empty() {
            return Err(Failure::usage("a stream has at least one rendition"));
        }
        for (index, spec) in specs.iter().enumerate() {
            spec.validate()?;
            if specs.iter().take(index).any(|s| s.name == spec.name) {
                return Err(Failure::usage(format!(
                    "there are two renditions of the name {}",
                    spec.name
                )));
            }
        }
        let mut run = self.lock()?;
        self.close(&mut run);
        let sequence = run
            .renditions
            .values()
            .map(|r| r.sequence)
            .max()
            .unwrap_or_default();
        for (name, rendition) in &mut run.renditions {
            rendition.gone = !specs.iter().any(|s| s.name == *name);
        }
        for spec in specs {
            let rendition = run.renditions.entry(spec.name.clone()).or_default();
            rendition.sequence = sequence;
            rendition.has_media = false;
            self.queue.know(&spec.name, sequence);
        }
        self.queue.push(Job::Begin(specs.to_vec(), sequence));
        Ok(())
    }

    /// The initialisation segment of a rendition, for CMAF: before its first segment, and again in
    /// later runs. If it is the same as before, nothing is written.
    ///
    /// # Errors
    /// A rendition that is not part of the run, another initialisation segment within a run.
    pub fn init(&self, rendition: &str, bytes: Bytes) -> Result<(), Failure> {
        let mut run = self.lock()?;
        let state = known(&mut run, rendition)?;
        if state.init.as_ref() == Some(&bytes) {
            return Ok(());
        }
        if state.has_media {
            return Err(Failure::new(format!(
                "{rendition}: the initialisation segment changed without a new run"
            )));
        }
        let name = names::init(&self.stamp, state.next_init);
        state.next_init += 1;
        state.init = Some(bytes.clone());
        self.queue.push(Job::Init {
            rendition: rendition.to_owned(),
            name,
            bytes,
        });
        Ok(())
    }

    /// A part of the segment that is being written. Waits for room as [`Self::segment`] does.
    ///
    /// # Errors
    /// As for [`Self::segment`]; a part that is longer than [`Options::part`], or with which the
    /// segment would get too long.
    pub fn part(&self, rendition: &str, part: Part) -> Result<(), Failure> {
        let most = self.options.part.unwrap_or_default();
        if part.duration > most {
            return Err(Failure::new(format!(
                "{rendition}: a part of {:.6} s, where {:.6} s were announced as the longest",
                part.duration.as_secs_f64(),
                most.as_secs_f64()
            )));
        }
        let size = part.bytes.len();
        let room = self.queue.reserve(size);
        let pushed = self.push_part(rendition, part, room.is_ok());
        if pushed.is_err() && room.is_ok() {
            self.queue.release(size);
        }
        pushed.and(room).and_then(|()| self.queue.unreported())
    }

    fn push_part(&self, rendition: &str, part: Part, has_room: bool) -> Result<(), Failure> {
        let mut run = self.lock()?;
        let state = known(&mut run, rendition)?;
        self.check_init(rendition, state)?;
        let open: Duration = state.open.iter().map(|p| p.duration).sum();
        self.check_length(rendition, open + part.duration)?;
        state.has_media = true;
        let name = names::part(&self.stamp, state.next_part);
        state.next_part += 1;
        self.queue.push(Job::Part {
            rendition: rendition.to_owned(),
            name,
            next: names::part(&self.stamp, state.next_part),
            bytes: has_room.then(|| part.bytes.clone()),
            duration: part.duration,
            independent: part.independent,
            begins: part.begins,
        });
        state.open.push(part);
        Ok(())
    }

    /// A finished segment. Waits for room, at most for [`patience`](super::options::QueueLimits).
    ///
    /// # Errors
    /// A rendition that is not part of the run; a segment whose length rounds to more than the
    /// target duration (it has no place in the playlist: begin a new run, as time goes on with a
    /// jump); CMAF without its initialisation segment;
    /// a store that is too slow, when the segment is left out and marked as a gap; an earlier error
    /// of the store, when the segment was taken all the same.
    pub fn segment(&self, rendition: &str, segment: Segment) -> Result<(), Failure> {
        self.check_length(rendition, segment.duration)?;
        let size = segment.bytes.len();
        let room = self.queue.reserve(size);
        let pushed = self.push_segment(rendition, segment, room.is_ok());
        if pushed.is_err() && room.is_ok() {
            self.queue.release(size);
        }
        pushed.and(room).and_then(|()| self.queue.unreported())
    }

    fn push_segment(
        &self,
        rendition: &str,
        segment: Segment,
        has_room: bool,
    ) -> Result<(), Failure> {
        let mut run = self.lock()?;
        let state = known(&mut run, rendition)?;
        self.check_init(rendition, state)?;
        state.open.clear();
        self.push_as_next(rendition, state, segment, has_room);
        Ok(())
    }

    fn push_as_next(&self, name: &str, state: &mut Rendition, segment: Segment, has_room: bool) {
        state.has_media = true;
        let sequence = state.sequence;
        state.sequence += 1;
        self.queue.push(Job::Segment {
            rendition: name.to_owned(),
            name: names::segment(&self.stamp, self.options.container, sequence),
            bytes: has_room.then_some(segment.bytes),
            duration: segment.duration,
            begins: segment.begins,
        });
    }

    /// Makes segments of parts whose segment will not come.
    fn close(&self, run: &mut Run) {
        for (name, state) in &mut run.renditions {
            let parts = std::mem::take(&mut state.open);
            let Some(begins) = parts.first().map(|p| p.begins) else {
                continue;
            };
            let mut bytes = BytesMut::new();
            for part in &parts {
                bytes.extend_from_slice(&part.bytes);
            }
            let segment = Segment {
                bytes: bytes.freeze(),
                duration: parts.iter().map(|p| p.duration).sum(),
                begins,
            };
            self.queue.claim(segment.bytes.len());
            self.push_as_next(name, state, segment, true);
        }
    }

    /// Ends all playlists and waits until everything is on the store, at most for
    /// [`finish`](super::options::QueueLimits).
    ///
    /// # Errors
    /// An error of the store that no call has reported yet; a store that takes longer.
    pub fn finish(&self) -> Result<(), Failure> {
        {
            let mut run = self.lock()?;
            self.close(&mut run);
            run.finished = true;
            self.queue.push(Job::Finish);
        }
        if !self.queue.wait_for_end(self.queue.finish_limit()) {
            self.give_up();
            return Err(Failure::new(format!(
                "the last segments and the ends of the playlists were not written: the store did \
                 not take them in {} s",
                self.queue.finish_limit().as_secs()
            )));
        }
        self.join();
        self.queue.unreported()
    }

    /// How far the media playlist at this path below the output (`STREAM/RENDITION/index.m3u8`) has
    /// come on the store: the number of the segment that is being written, and how many of its
    /// parts are listed; the greatest numbers once it has its end.
    pub fn reached(&self, path: &str) -> Option<watch::Receiver<(u64, u32)>> {
        let rest = path.strip_prefix(self.stream.as_str())?;
        let rendition = rest.strip_prefix('/')?.strip_suffix("/index.m3u8")?;
        self.queue.reached(rendition)
    }

    /// Sets what is called, on the thread that writes, when a segment can be fetched. It is kept as
    /// long as the publisher: what it holds must not hold the publisher in turn.
    pub fn on_published(&self, told: impl Fn(&Published) + Send + Sync + 'static) {
        self.queue.on_published(Arc::new(told));
    }

    /// What was published of each rendition, by name.
    pub fn counters(&self) -> Vec<Counters> {
        self.queue.counters()
    }

    /// The last error of the store.
    pub fn error(&self) -> Option<Failure> {
        self.queue.last_error()
    }

    fn lock(&self) -> Result<MutexGuard<'_, Run>, Failure> {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        match run.finished {
            true => Err(Failure::new("the stream's output is over")),
            false => Ok(run),
        }
    }

    fn check_length(&self, rendition: &str, length: Duration) -> Result<(), Failure> {
        let target = self.options.target_s();
        if rounded_s(length) <= target {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{rendition}: a segment of {:.3} s, where its playlist has announced {target} s as the \
             longest",
            length.as_secs_f64()
        ))
        .hint("the source's keyframes are too far apart: shorten its keyframe interval, or make segments longer"))
    }

    fn check_init(&self, rendition: &str, state: &Rendition) -> Result<(), Failure> {
        if self.options.container == Container::Cmaf && state.init.is_none() {
            return Err(Failure::new(format!(
                "{rendition}: a segment came before the initialisation segment"
            )));
        }
        Ok(())
    }

    fn give_up(&self) {
        self.queue.stop();
        self.store.cancel();
        if self.queue.wait_for_end(GIVE_UP_LIMIT) {
            self.join();
        }
    }

    fn join(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// A rendition of this run.
fn known<'a>(run: &'a mut Run, name: &str) -> Result<&'a mut Rendition, Failure> {
    let rendition = run.renditions.get_mut(name).filter(|r| !r.gone);
    rendition.ok_or_else(|| Failure::new(format!("{name}: no rendition of this run")))
}
