//! The thread that writes: segments, then the playlists that name them, then it deletes what no
//! playlist names any more.

use super::master::{self, Measured, Stated};
use super::names;
use super::options::{Container, Options, RenditionSpec};
use super::playlist::{Entry, MediaPlaylist, PartEntry, Refused};
use super::publisher::Published;
use super::queue::{END, Job, Queue};
use super::shelf::Shelf;
use super::store::{Content, Store};
use crate::failure::Failure;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Most files that are remembered because they could not be deleted.
const MAX_UNDELETED: usize = 1000;

/// A rendition, and where its playlist stands.
#[derive(Debug)]
struct Rendition {
    spec: RenditionSpec,
    playlist: MediaPlaylist,
    shelf: Shelf,
    measured: Measured,
    stated: Option<Stated>,
    map: Option<String>,
    /// An initialisation segment that could not be written yet.
    unwritten: Option<(String, Bytes)>,
    /// The next segment is the first of its run, and others were before.
    discontinuity: bool,
    has_segment: bool,
    /// Length of all its segments so far.
    length: Duration,
    /// Segments on the store that no playlist on the store names yet.
    unannounced: Vec<Published>,
}

/// What is written to the store for one stream.
pub(super) struct Worker {
    store: Arc<dyn Store>,
    queue: Arc<Queue>,
    stream: String,
    stamp: String,
    options: Options,
    renditions: BTreeMap<String, Rendition>,
    master: Option<String>,
    undeleted: Vec<String>,
}

impl Worker {
    pub fn new(
        store: Arc<dyn Store>,
        queue: Arc<Queue>,
        stream: &str,
        stamp: &str,
        options: &Options,
    ) -> Self {
        Self {
            store,
            queue,
            stream: stream.to_owned(),
            stamp: stamp.to_owned(),
            options: options.clone(),
            renditions: BTreeMap::new(),
            master: None,
            undeleted: Vec::new(),
        }
    }

    /// Works until it is told to end.
    pub fn run(mut self) {
        // Told by a drop, so that nobody waits for a thread that broke down.
        struct Ended(Arc<Queue>);
        impl Drop for Ended {
            fn drop(&mut self) {
                self.0.ended();
            }
        }
        let _ended = Ended(self.queue.clone());
        while let Some(job) = self.queue.next() {
            let size = Queue::size(&job);
            let over = matches!(job, Job::Finish);
            self.work(job);
            self.queue.done(size);
            if over {
                return;
            }
        }
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Begin(specs, sequence) => self.begin(&specs, sequence),
            Job::Init {
                rendition,
                name,
                bytes,
            } => {
                if let Some(state) = self.renditions.get_mut(&rendition) {
                    state.map = Some(name.clone());
                    state.unwritten = Some((name, bytes));
                }
                self.write_init(&rendition);
            }
            Job::Part {
                rendition,
                name,
                next,
                bytes,
                duration,
                independent,
                begins,
            } => {
                let gap = !self.put(&rendition, &name, bytes);
                let part = PartEntry {
                    uri: name,
                    duration,
                    independent,
                    gap,
                };
                self.list_part(&rendition, part, next, begins);
            }
            Job::Segment {
                rendition,
                name,
                bytes,
                duration,
                begins,
            } => {
                let size = bytes.as_ref().map_or(0, Bytes::len) as u64;
                let gap = !self.put(&rendition, &name, bytes);
                let entry = Entry {
                    uri: name,
                    duration,
                    begins,
                    discontinuity: false,
                    gap,
                    map: None,
                    parts: Vec::new(),
                };
                self.list_segment(&rendition, entry, size);
            }
            Job::Finish => {
                for name in self.renditions.keys().cloned().collect::<Vec<_>>() {
                    self.end(&name);
                }
                self.write_master();
            }
        }
    }

    fn begin(&mut self, specs: &[RenditionSpec], sequence: u64) {
        let gone = |name: &&String| !specs.iter().any(|s| s.name == **name);
        for name in self
            .renditions
            .keys()
            .filter(gone)
            .cloned()
            .collect::<Vec<_>>()
        {
            self.end(&name);
        }
        self.fill(sequence);
        for state in self.renditions.values_mut() {
            state.has_segment = false;
            // Without a segment since the last one, there is nothing to be told apart.
            state.discontinuity |= !state.playlist.is_empty();
        }
        // What the discontinuities will be once the first segments of this run are there.
        let ahead = |r: &Rendition| r.playlist.discontinuities() + u64::from(r.discontinuity);
        let going_on = self.renditions.values().filter(|r| !r.playlist.has_ended());
        let discontinuities = going_on.map(ahead).max();
        let discontinuities = discontinuities.or_else(|| self.renditions.values().map(ahead).max());
        let discontinuities = discontinuities.unwrap_or(0);
        for spec in specs {
            let Some(state) = self.renditions.get_mut(&spec.name) else {
                let new = self.rendition(spec, sequence, discontinuities);
                self.renditions.insert(spec.name.clone(), new);
                continue;
            };
            state.spec = spec.clone();
            if state.playlist.has_ended() {
                state
                    .shelf
                    .take(state.playlist.restart(sequence, discontinuities));
                state.discontinuity = false;
                self.queue.set_reached(&spec.name, (sequence, 0));
            }
        }
    }

    fn rendition(&self, spec: &RenditionSpec, sequence: u64, discontinuities: u64) -> Rendition {
        let target = Duration::from_secs(self.options.target_s());
        let mut playlist = MediaPlaylist::new(&self.options, sequence, discontinuities);
        playlist.hint(names::part(&self.stamp, 0));
        Rendition {
            spec: spec.clone(),
            playlist,
            shelf: Shelf::new(self.options.keep, target),
            measured: Measured::new(target),
            stated: None,
            map: None,
            unwritten: None,
            discontinuity: false,
            has_segment: false,
            length: Duration::ZERO,
            unannounced: Vec::new(),
        }
    }

    /// Puts gaps where a rendition lacks segments that another one has, up to this number.
    fn fill(&mut self, sequence: u64) {
        let going_on = self.renditions.values().filter(|r| !r.playlist.has_ended());
        let Some(leader) = going_on.max_by_key(|r| r.playlist.next_sequence()) else {
            return;
        };
        let (first, listed) = leader.playlist.listed();
        let known: Vec<Entry> = listed.cloned().collect();
        let container = self.options.container;
        for state in self
            .renditions
            .values_mut()
            .filter(|r| !r.playlist.has_ended())
        {
            while state.playlist.next_sequence() < sequence {
                let number = state.playlist.next_sequence();
                let index = number
                    .checked_sub(first)
                    .and_then(|i| usize::try_from(i).ok());
                let other = index.and_then(|i| known.get(i));
                let entry = Entry {
                    uri: names::segment(&self.stamp, container, number),
                    duration: other.map_or(self.options.segment, |o| o.duration),
                    begins: other.map_or_else(SystemTime::now, |o| o.begins),
                    discontinuity: other.map_or(state.discontinuity, |o| o.discontinuity),
                    gap: true,
                    map: state.map.clone(),
                    parts: Vec::new(),
                };
                state.discontinuity &= !entry.discontinuity;
                state.length += entry.duration;
                match state.playlist.segment(entry) {
                    Ok(left) => state.shelf.take(left),
                    Err(_) => break,
                }
            }
        }
    }

    fn path(&self, rendition: &str, name: &str) -> String {
        format!("{}/{rendition}/{name}", self.stream)
    }

    /// Writes a segment or a part and what it needs; `false` if it is not on the store.
    fn put(&mut self, rendition: &str, name: &str, bytes: Option<Bytes>) -> bool {
        let Some(bytes) = bytes else {
            return false;
        };
        let audio = self.is_audio(rendition);
        let content = match self.options.container {
            Container::Ts => Content::Ts,
            Container::Cmaf => Content::Fragment { audio },
        };
        let path = self.path(rendition, name);
        self.write_init(rendition) && self.kept(self.store.put(&path, content, &bytes))
    }

    fn is_audio(&self, rendition: &str) -> bool {
        let state = self.renditions.get(rendition);
        state.is_some_and(|r| r.spec.kind.is_audio())
    }

    /// Writes the initialisation segment, if that is not done yet.
    fn write_init(&mut self, rendition: &str) -> bool {
        let unwritten = self
            .renditions
            .get(rendition)
            .and_then(|r| r.unwritten.clone());
        let Some((name, bytes)) = unwritten else {
            return true;
        };
        let audio = self.is_audio(rendition);
        let path = self.path(rendition, &name);
        let written = self.kept(self.store.put(&path, Content::Init { audio }, &bytes));
        if written && let Some(state) = self.renditions.get_mut(rendition) {
            state.unwritten = None;
        }
        written
    }

    fn list_part(&mut self, rendition: &str, part: PartEntry, next: String, begins: SystemTime) {
        let Some(state) = self.renditions.get_mut(rendition) else {
            return;
        };
        let discontinuity = match state.playlist.open_parts() {
            0 => std::mem::take(&mut state.discontinuity),
            _ => false,
        };
        let map = state.map.as_deref();
        let listed = state.playlist.part(part, begins, map, discontinuity);
        state.playlist.hint(next);
        self.kept(listed.map_err(|e| refused(rendition, &e)));
        // Behind its time already: the next one's playlist tells of this one too.
        if !self.queue.has_media_of(rendition) {
            self.write_playlist(rendition);
        }
    }

    fn list_segment(&mut self, rendition: &str, mut entry: Entry, bytes: u64) {
        let Some(state) = self.renditions.get_mut(rendition) else {
            return;
        };
        entry.map.clone_from(&state.map);
        if state.playlist.open_parts() == 0 {
            entry.discontinuity = std::mem::take(&mut state.discontinuity);
        }
        let published = Published {
            rendition: rendition.to_owned(),
            sequence: state.playlist.next_sequence(),
            bytes,
            duration: entry.duration,
            begins: entry.begins,
        };
        let gap = entry.gap;
        let listed = state.playlist.segment(entry);
        match listed {
            Ok(left) => {
                state.shelf.take(left);
                state.length += published.duration;
                state.has_segment = true;
                if !gap {
                    state.measured.add(bytes, published.duration);
                    state.unannounced.push(published);
                }
            }
            Err(why) => self.queue.fail(refused(rendition, &why)),
        }
        self.write_playlist(rendition);
        self.write_master();
    }

    /// Writes a rendition's playlist, says how far it has come, and deletes what it and those
    /// before it no longer name.
    fn write_playlist(&mut self, rendition: &str) {
        let Some(state) = self.renditions.get(rendition) else {
            return;
        };
        let text = state.playlist.text();
        let path = self.path(rendition, "index.m3u8");
        if !self.kept(self.store.put(&path, Content::Playlist, text.as_bytes())) {
            return;
        }
        let Some(state) = self.renditions.get_mut(rendition) else {
            return;
        };
        let parts = u32::try_from(state.playlist.open_parts()).unwrap_or(u32::MAX);
        let reached = match state.playlist.has_ended() {
            true => END,
            false => (state.playlist.next_sequence(), parts),
        };
        self.queue.set_reached(rendition, reached);
        for published in state.unannounced.drain(..) {
            self.queue.published(&published);
        }
        let names = state.shelf.published(&state.playlist, state.length);
        let paths: Vec<String> = names.iter().map(|n| self.path(rendition, n)).collect();
        self.delete(paths);
    }

    fn delete(&mut self, paths: Vec<String>) {
        let mut paths = [std::mem::take(&mut self.undeleted), paths].concat();
        if paths.is_empty() {
            return;
        }
        let mut failed = None;
        paths.retain(|path| {
            // After one failure the others are left for the next time: they would fail as slowly.
            if failed.is_none() {
                failed = self.store.delete(path).err();
                return failed.is_some();
            }
            true
        });
        let forgotten = paths.len().saturating_sub(MAX_UNDELETED);
        paths.drain(..forgotten);
        self.undeleted = paths;
        self.kept(failed.map_or(Ok(()), Err));
    }

    /// Writes the master playlist, if every rendition of the run has a segment and something in it
    /// is new.
    fn write_master(&mut self) {
        let mut all: Vec<&mut Rendition> = self
            .renditions
            .values_mut()
            .filter(|r| r.has_segment || !r.playlist.has_ended())
            .collect();
        if all.is_empty() || !all.iter().all(|r| r.has_segment) {
            return;
        }
        let mut stated = Vec::new();
        for state in &mut all {
            let now = Stated::from_measured(&state.spec, &state.measured, state.stated.as_ref());
            state.stated = Some(now.clone());
            stated.push(now);
        }
        let text = master::text(&stated);
        if self.master.as_ref() == Some(&text) {
            return;
        }
        let path = format!("{}/master.m3u8", self.stream);
        if self.kept(self.store.put(&path, Content::Playlist, text.as_bytes())) {
            self.master = Some(text);
        }
    }

    /// Ends a rendition, if it goes on.
    fn end(&mut self, rendition: &str) {
        let Some(state) = self.renditions.get_mut(rendition) else {
            return;
        };
        if state.playlist.has_ended() {
            return;
        }
        let left = state.playlist.end();
        state.shelf.take(left);
        // A playlist that was never there needs no end.
        match state.playlist.is_empty() {
            true => self.queue.set_reached(rendition, END),
            false => self.write_playlist(rendition),
        }
    }

    /// Keeps an error for those who ask; `false` if there was one.
    fn kept(&self, result: Result<(), Failure>) -> bool {
        result.map_err(|e| self.queue.fail(e)).is_ok()
    }
}

fn refused(rendition: &str, why: &Refused) -> Failure {
    Failure::new(format!(
        "{rendition}: its playlist does not take a segment: {why:?}"
    ))
}
