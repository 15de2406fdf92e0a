//! A store in memory for the tests of the publisher, and small streams to publish.
#![allow(clippy::unwrap_used)]

use super::options::{Kind, Options, RenditionSpec};
use super::publisher::{Publisher, Segment};
use super::store::{Content, Store};
use crate::failure::Failure;
use bytes::Bytes;
use m3u8_rs::Playlist;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A store in memory that keeps a diary, and fails or sleeps as told.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub files: BTreeMap<String, Vec<u8>>,
    pub diary: Vec<String>,
    pub fails: Option<&'static str>,
    pub delay: Duration,
    /// Whenever a playlist named a file that was not there.
    pub wrong: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Shared(pub Arc<Mutex<Memory>>);

impl Store for Shared {
    fn put(&self, name: &str, content: Content, bytes: &[u8]) -> Result<(), Failure> {
        let delay = self.0.lock().unwrap().delay;
        std::thread::sleep(delay);
        let mut memory = self.0.lock().unwrap();
        if memory.fails.is_some_and(|f| name.contains(f)) {
            return Err(Failure::new(format!("{name}: out of order")));
        }
        if content == Content::Playlist {
            let text = std::str::from_utf8(bytes).unwrap();
            let folder = name.rsplit_once('/').unwrap().0;
            let missing: Vec<String> = named(text)
                .iter()
                .map(|n| format!("{folder}/{n}"))
                .filter(|n| !memory.files.contains_key(n))
                .collect();
            memory.wrong.extend(missing);
            assert!(m3u8_rs::parse_playlist_res(bytes).is_ok(), "{text}");
        }
        memory.diary.push(name.to_owned());
        memory.files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<(), Failure> {
        let mut memory = self.0.lock().unwrap();
        if memory.fails == Some("delete") {
            return Err(Failure::new(format!("{name}: may not be deleted")));
        }
        memory.diary.push(format!("-{name}"));
        memory.files.remove(name);
        Ok(())
    }

    fn can_wait(&self) -> bool {
        true
    }
}

impl Shared {
    pub fn text(&self, name: &str) -> String {
        let memory = self.0.lock().unwrap();
        String::from_utf8(memory.files.get(name).cloned().unwrap_or_default()).unwrap()
    }

    pub fn media(&self, name: &str) -> m3u8_rs::MediaPlaylist {
        match m3u8_rs::parse_playlist_res(self.text(name).as_bytes()) {
            Ok(Playlist::MediaPlaylist(parsed)) => parsed,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the store is like that.
    pub fn until(&self, what: impl Fn(&Memory) -> bool) {
        let begun = Instant::now();
        while !what(&self.0.lock().unwrap()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", self.0);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn count(&self, what: &str) -> usize {
        self.0
            .lock()
            .unwrap()
            .files
            .keys()
            .filter(|k| k.contains(what))
            .count()
    }
}

/// Everything a playlist names that has to be there.
fn named(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut gap = false;
    for line in text.lines() {
        let uri = line
            .split_once("URI=\"")
            .and_then(|(_, r)| r.split_once('"'));
        match uri {
            _ if line == "#EXT-X-GAP" => gap = true,
            Some((uri, _)) if !line.contains("PRELOAD-HINT") && !line.contains("GAP=YES") => {
                names.push(uri.to_owned());
            }
            None if !line.starts_with('#') && !std::mem::take(&mut gap) => names.push(line.into()),
            _ => {}
        }
    }
    names
}

pub(super) fn video(name: &str, height: u32) -> RenditionSpec {
    RenditionSpec {
        name: name.into(),
        kind: Kind::Video {
            width: height * 16 / 9,
            height,
            frame_rate: (30, 1),
            with_audio: true,
        },
        codecs: vec!["avc1.64001f".into(), "mp4a.40.2".into()],
        max_bitrate_bps: 2_000_000,
    }
}

pub(super) fn ladder() -> Vec<RenditionSpec> {
    vec![video("hi", 720), video("lo", 360)]
}

pub(super) fn at(n: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + 2 * n)
}

pub(super) fn segment(n: u64) -> Segment {
    Segment {
        bytes: Bytes::from(vec![n as u8; 1000]),
        duration: Duration::from_secs(2),
        begins: at(n),
    }
}

pub(super) fn start(options: Options) -> (Arc<Publisher>, Shared) {
    let store = Shared::default();
    let publisher = Publisher::new(Box::new(store.clone()), "show", options).unwrap();
    (publisher, store)
}
