//! What reaches the store, in which order, and what happens when the store does not do its part.
#![allow(clippy::unwrap_used)]

use super::options::{Container, Kind, Options, QueueLimits, RenditionSpec};
use super::publisher::{Part, Publisher, Segment};
use super::store::{Content, Folder, Store};
use crate::failure::Failure;
use bytes::Bytes;
use m3u8_rs::Playlist;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A store in memory that keeps a diary, and fails or sleeps as told.
#[derive(Debug, Default)]
struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    diary: Vec<String>,
    fails: Option<&'static str>,
    delay: Duration,
    /// Whenever a playlist named a file that was not there.
    wrong: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Memory>>);

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
    fn text(&self, name: &str) -> String {
        let memory = self.0.lock().unwrap();
        String::from_utf8(memory.files.get(name).cloned().unwrap_or_default()).unwrap()
    }

    fn media(&self, name: &str) -> m3u8_rs::MediaPlaylist {
        match m3u8_rs::parse_playlist_res(self.text(name).as_bytes()) {
            Ok(Playlist::MediaPlaylist(parsed)) => parsed,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the store is like that.
    fn until(&self, what: impl Fn(&Memory) -> bool) {
        let begun = Instant::now();
        while !what(&self.0.lock().unwrap()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", self.0);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn count(&self, what: &str) -> usize {
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

fn video(name: &str, height: u32) -> RenditionSpec {
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

fn ladder() -> Vec<RenditionSpec> {
    vec![video("hi", 720), video("lo", 360)]
}

fn at(n: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + 2 * n)
}

fn segment(n: u64) -> Segment {
    Segment {
        bytes: Bytes::from(vec![n as u8; 1000]),
        duration: Duration::from_secs(2),
        begins: at(n),
    }
}

fn start(options: Options) -> (Arc<Publisher>, Shared) {
    let store = Shared::default();
    let publisher = Publisher::new(Box::new(store.clone()), "show", options).unwrap();
    (publisher, store)
}

#[test]
fn playlists_name_only_what_is_there() {
    let (publisher, store) = start(Options::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let (seen, files) = (told.clone(), store.clone());
    publisher.on_published(move |p| {
        let listed = files.media(&format!("show/{}/index.m3u8", p.rendition));
        assert_eq!(
            listed.media_sequence + listed.segments.len() as u64,
            p.sequence + 1
        );
        seen.lock()
            .unwrap()
            .push((p.rendition.clone(), p.sequence, p.bytes));
    });
    publisher.begin(&ladder()).unwrap();
    let reached = publisher.reached("show/hi/index.m3u8").unwrap();
    assert_eq!(*reached.borrow(), (0, 0));
    for n in 0..20 {
        publisher.segment("hi", segment(n)).unwrap();
        if n == 0 {
            store.until(|m| m.files.contains_key("show/hi/index.m3u8"));
            assert_eq!(store.text("show/master.m3u8"), "");
        }
        publisher.segment("lo", segment(n)).unwrap();
    }
    store.until(|m| {
        m.files
            .keys()
            .any(|k| k.contains("lo/") && k.ends_with("-000019.ts"))
    });
    publisher.finish().unwrap();
    assert_eq!(*reached.borrow(), (u64::MAX, u32::MAX));
    assert!(publisher.reached("show/other/index.m3u8").is_none());
    assert!(publisher.reached("show2/hi/index.m3u8").is_none());
    for name in ["hi", "lo"] {
        let seen = store.media(&format!("show/{name}/index.m3u8"));
        assert!(seen.end_list);
        assert_eq!((seen.media_sequence, seen.segments.len()), (14, 6));
        let stays = seen
            .segments
            .first()
            .unwrap()
            .uri
            .split_once('-')
            .unwrap()
            .0
            .len();
        assert_eq!(stays, 6);
    }
    let memory = store.0.lock().unwrap();
    assert_eq!(memory.wrong, Vec::<String>::new());
    assert_eq!(
        memory
            .diary
            .iter()
            .filter(|d| *d == "show/master.m3u8")
            .count(),
        1
    );
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 40);
    assert!(told.contains(&("lo".to_owned(), 19, 1000)));
    let counters = publisher.counters();
    assert_eq!(
        counters
            .iter()
            .map(|c| (c.segments, c.bytes))
            .collect::<Vec<_>>(),
        [(20, 20_000); 2]
    );
    assert!(
        publisher
            .segment("hi", segment(20))
            .unwrap_err()
            .what
            .contains("over")
    );
}

#[test]
fn a_thousand_segments_leave_few_files() {
    let (publisher, store) = start(Options::default());
    publisher.begin(&ladder()).unwrap();
    for n in 0..1000 {
        for name in ["hi", "lo"] {
            publisher.segment(name, segment(n)).unwrap();
        }
        let kept = store.count("/hi/");
        // The window, those that are kept, and the playlist.
        assert!(kept <= 6 + 8 + 1, "{kept} after {n}");
    }
    publisher.finish().unwrap();
    assert!(store.count(".ts") <= 2 * 14);
    let memory = store.0.lock().unwrap();
    // RFC 8216, 6.2.2: its own length and that of the playlist after it left.
    let order: Vec<&str> = memory
        .diary
        .iter()
        .filter(|d| d.contains("/hi/"))
        .map(|d| d.as_str())
        .collect();
    let written = order
        .iter()
        .position(|d| d.ends_with("-000000.ts"))
        .unwrap();
    let deleted = order.iter().position(|d| d.starts_with('-')).unwrap();
    let between = order[written..deleted]
        .iter()
        .filter(|d| d.ends_with(".ts"))
        .count();
    assert_eq!(between, 6 + 1 + 7);
    assert_eq!(memory.wrong, Vec::<String>::new());
}

#[test]
fn a_new_run_goes_on_with_a_discontinuity() {
    let (publisher, store) = start(Options {
        window: None,
        ..Options::default()
    });
    publisher.begin(&ladder()).unwrap();
    publisher.begin(&ladder()).unwrap();
    for n in 0..3 {
        publisher.segment("hi", segment(n)).unwrap();
        if n < 2 {
            publisher.segment("lo", segment(n)).unwrap();
        }
    }
    // One is gone, another one is new; the one that stays lacks a segment.
    publisher
        .begin(&[video("lo", 360), video("new", 480)])
        .unwrap();
    assert!(
        publisher
            .segment("hi", segment(3))
            .unwrap_err()
            .what
            .contains("hi: no rendition")
    );
    publisher
        .begin(&[video("lo", 360), video("new", 480)])
        .unwrap();
    for n in 3..5 {
        publisher.segment("lo", segment(n)).unwrap();
        publisher.segment("new", segment(n)).unwrap();
    }
    store.until(|m| m.diary.iter().filter(|d| *d == "show/master.m3u8").count() == 2);
    let master = store.text("show/master.m3u8");
    assert!(
        master.contains("new/index.m3u8") && !master.contains("hi/index.m3u8"),
        "{master}"
    );
    // And back.
    publisher.begin(&ladder()).unwrap();
    for n in 5..7 {
        publisher.segment("lo", segment(n)).unwrap();
        publisher.segment("hi", segment(n)).unwrap();
    }
    publisher.finish().unwrap();
    let shape = |name: &str| {
        let seen = store.media(&format!("show/{name}/index.m3u8"));
        let breaks: String = seen
            .segments
            .iter()
            .map(|s| if s.discontinuity { '|' } else { '.' })
            .collect();
        assert!(seen.end_list);
        (seen.media_sequence, seen.discontinuity_sequence, breaks)
    };
    assert_eq!(shape("lo"), (0, 0, "...|.|.".to_owned()));
    assert_eq!(shape("new"), (3, 1, "..".to_owned()));
    assert_eq!(shape("hi"), (5, 2, "..".to_owned()));
    let text = store.text("show/lo/index.m3u8");
    assert_eq!(text.matches("#EXT-X-GAP").count(), 1);
    assert_eq!(store.0.lock().unwrap().wrong, Vec::<String>::new());
}

#[test]
fn a_store_that_fails_leaves_gaps_and_recovers() {
    let (publisher, store) = start(Options {
        window: None,
        ..Options::default()
    });
    publisher.begin(&[video("hi", 720)]).unwrap();
    let mut errors = Vec::new();
    for n in 0..6 {
        store.0.lock().unwrap().fails = (2..4).contains(&n).then_some(".ts");
        errors.extend(publisher.segment("hi", segment(n)).err());
        let done =
            |m: &Memory| m.diary.iter().filter(|d| d.ends_with("index.m3u8")).count() as u64 > n;
        store.until(done);
    }
    publisher.finish().unwrap();
    assert!(
        errors.len() == 2 && errors[0].what.contains("out of order"),
        "{errors:?}"
    );
    assert_eq!(publisher.error(), Some(errors[1].clone()));
    let text = store.text("show/hi/index.m3u8");
    assert_eq!(text.matches("#EXT-X-GAP\n").count(), 2);
    assert_eq!(store.media("show/hi/index.m3u8").segments.len(), 6);
    assert_eq!(publisher.counters()[0].segments, 4);
}

#[test]
fn a_playlist_that_could_not_be_written_is_made_up_for() {
    let (publisher, store) = start(Options::default());
    let told = Arc::new(Mutex::new(0));
    let count = told.clone();
    publisher.on_published(move |_| *count.lock().unwrap() += 1);
    publisher.begin(&[video("hi", 720)]).unwrap();
    store.0.lock().unwrap().fails = Some("m3u8");
    let reached = publisher.reached("show/hi/index.m3u8").unwrap();
    for n in 0..3 {
        let _ = publisher.segment("hi", segment(n));
        store.until(|m| m.files.len() as u64 == n + 1);
    }
    assert_eq!((*told.lock().unwrap(), *reached.borrow()), (0, (0, 0)));
    store.0.lock().unwrap().fails = None;
    let _ = publisher.segment("hi", segment(3));
    store.until(|m| m.files.contains_key("show/master.m3u8"));
    assert_eq!((*told.lock().unwrap(), *reached.borrow()), (4, (4, 0)));
    let _ = publisher.finish();
}

#[test]
fn what_cannot_be_deleted_is_tried_again() {
    let (publisher, store) = start(Options::default());
    publisher.begin(&[video("hi", 720)]).unwrap();
    store.0.lock().unwrap().fails = Some("delete");
    for n in 0..40 {
        let _ = publisher.segment("hi", segment(n));
    }
    store.until(|m| m.files.keys().filter(|k| k.ends_with(".ts")).count() == 40);
    store.0.lock().unwrap().fails = None;
    let _ = publisher.segment("hi", segment(40));
    let _ = publisher.finish();
    assert!(store.count(".ts") <= 14, "{}", store.count(".ts"));
}

#[test]
fn a_slow_store_is_an_error_after_a_while_and_never_a_growing_queue() {
    let queue = QueueLimits {
        bytes: 2500,
        items: 10,
        patience: Duration::from_millis(50),
        finish: Duration::from_millis(300),
    };
    let (publisher, store) = start(Options {
        queue,
        window: None,
        ..Options::default()
    });
    publisher.begin(&[video("hi", 720)]).unwrap();
    store.0.lock().unwrap().delay = Duration::from_millis(200);
    let mut slow = 0;
    for n in 0..8 {
        let begun = Instant::now();
        if let Err(error) = publisher.segment("hi", segment(n)) {
            assert!(error.what.contains("too slow"), "{error:?}");
            slow += 1;
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert!((1..8).contains(&slow), "{slow}");
    store.0.lock().unwrap().delay = Duration::ZERO;
    publisher.finish().unwrap();
    let text = store.text("show/hi/index.m3u8");
    assert_eq!(text.matches("#EXT-X-GAP\n").count(), slow);
    assert_eq!(store.media("show/hi/index.m3u8").segments.len(), 8);

    let (publisher, store) = start(Options {
        queue,
        ..Options::default()
    });
    publisher.begin(&[video("hi", 720)]).unwrap();
    store.0.lock().unwrap().delay = Duration::from_millis(400);
    publisher.segment("hi", segment(0)).unwrap();
    publisher.segment("hi", segment(1)).unwrap();
    let error = publisher.finish().unwrap_err();
    assert!(error.what.contains("were not written"), "{error:?}");
}

#[test]
fn dropped_it_stops_and_ends_nothing() {
    let (publisher, store) = start(Options::default());
    publisher.begin(&ladder()).unwrap();
    publisher.segment("hi", segment(0)).unwrap();
    store.until(|m| m.files.contains_key("show/hi/index.m3u8"));
    let reached = publisher.reached("show/hi/index.m3u8").unwrap();
    drop(publisher);
    assert!(!store.text("show/hi/index.m3u8").contains("ENDLIST"));
    assert!(reached.has_changed().is_err());
    assert_eq!(Arc::strong_count(&store.0), 1);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (publisher, _store) = start(Options {
        container: Container::Cmaf,
        ..Options::default()
    });
    let (bytes, other) = (Bytes::from_static(b"init"), Bytes::from_static(b"other"));
    assert!(publisher.begin(&[]).is_err());
    assert!(
        publisher
            .begin(&[video("a", 720), video("a", 360)])
            .is_err()
    );
    assert!(publisher.begin(&[video("../a", 720)]).is_err());
    publisher.begin(&[video("a", 720)]).unwrap();
    let error = publisher.segment("a", segment(0)).unwrap_err();
    assert!(
        error.what.contains("before the initialisation"),
        "{error:?}"
    );
    publisher.init("a", bytes.clone()).unwrap();
    publisher.segment("a", segment(0)).unwrap();
    publisher.init("a", bytes).unwrap();
    let error = publisher.init("a", other.clone()).unwrap_err();
    assert!(error.what.contains("without a new run"), "{error:?}");
    publisher.begin(&[video("a", 720)]).unwrap();
    publisher.init("a", other).unwrap();
    let long = Segment {
        duration: Duration::from_millis(2500),
        ..segment(1)
    };
    let error = publisher.segment("a", long).unwrap_err();
    assert!(
        error.what.contains("2.500 s") && error.hint.is_some(),
        "{error:?}"
    );
    publisher.finish().unwrap();
    let made =
        |stream: &str| Publisher::new(Box::new(Shared::default()), stream, Options::default());
    assert!(made("a/b").is_err() && made("..").is_err() && made("ok").is_ok());
    let parts = Options {
        container: Container::Cmaf,
        part: Some(Duration::from_millis(500)),
        ..Options::default()
    };
    let s3 = super::store::open("s3://bucket/x").unwrap();
    assert!(
        Publisher::new(s3, "a", parts)
            .unwrap_err()
            .what
            .contains("S3")
    );
}

fn low_latency() -> Options {
    Options {
        container: Container::Cmaf,
        segment: Duration::from_secs(2),
        part: Some(Duration::from_millis(500)),
        ..Options::default()
    }
}

fn part(n: u64, index: u64) -> Part {
    Part {
        bytes: Bytes::from(format!("{n}.{index};")),
        duration: Duration::from_millis(500),
        independent: index == 0,
        begins: at(n) + Duration::from_millis(500 * index),
    }
}

#[test]
fn parts_come_before_their_segment_and_hints_come_true() {
    let (publisher, store) = start(low_latency());
    publisher.begin(&[video("hi", 720)]).unwrap();
    publisher.init("hi", Bytes::from_static(b"init")).unwrap();
    let reached = publisher.reached("show/hi/index.m3u8").unwrap();
    let mut hint = None::<String>;
    for n in 0..200 {
        for index in 0..4 {
            publisher.part("hi", part(n, index)).unwrap();
            if n < 8 {
                store.until(|_| *reached.borrow() == (n, index as u32 + 1));
                let text = store.text("show/hi/index.m3u8");
                let is = |h: &String| {
                    text.contains(&format!("#EXT-X-PART:DURATION=0.500000,URI=\"{h}\""))
                };
                assert!(hint.as_ref().is_none_or(is), "{hint:?}\n{text}");
                let (_, rest) = text.split_once("TYPE=PART,URI=\"").unwrap();
                hint = Some(rest.split_once('"').unwrap().0.to_owned());
            }
        }
        publisher.segment("hi", segment(n)).unwrap();
    }
    publisher.finish().unwrap();
    assert_eq!(store.0.lock().unwrap().wrong, Vec::<String>::new());
    let listed = store.media("show/hi/index.m3u8").segments;
    assert_eq!(listed.len(), 6);
    assert!(store.count("-part") <= 4 * 8, "{}", store.count("-part"));
    assert!(store.count(".m4s") - store.count("-part") <= 14);
    assert_eq!(store.count("-init-0.mp4"), 1);
}

#[test]
fn parts_whose_segment_does_not_come_become_one() {
    let (publisher, store) = start(low_latency());
    publisher.begin(&[video("hi", 720)]).unwrap();
    publisher.init("hi", Bytes::from_static(b"init")).unwrap();
    publisher.part("hi", part(0, 0)).unwrap();
    publisher.part("hi", part(0, 1)).unwrap();
    publisher.begin(&[video("hi", 720)]).unwrap();
    publisher.init("hi", Bytes::from_static(b"init 2")).unwrap();
    publisher.part("hi", part(9, 0)).unwrap();
    publisher.finish().unwrap();
    let seen = store.media("show/hi/index.m3u8").segments;
    let shape: Vec<_> = seen.iter().map(|s| (s.duration, s.discontinuity)).collect();
    assert_eq!(shape, [(1.0, false), (0.5, true)]);
    let name = format!("show/hi/{}", seen[0].uri);
    assert_eq!(store.text(&name), "0.0;0.1;");
    assert_eq!(store.0.lock().unwrap().wrong, Vec::<String>::new());
    let long = Part {
        duration: Duration::from_millis(501),
        ..part(0, 0)
    };
    assert!(publisher.part("hi", long).is_err());
}

#[test]
fn initialisation_segments_go_when_nothing_needs_them() {
    let (publisher, store) = start(Options {
        container: Container::Cmaf,
        ..Options::default()
    });
    for run in 0..10 {
        publisher.begin(&[video("hi", 720)]).unwrap();
        publisher
            .init("hi", Bytes::from(format!("init {run}")))
            .unwrap();
        for n in 0..8 {
            publisher.segment("hi", segment(8 * run + n)).unwrap();
        }
    }
    publisher.finish().unwrap();
    assert!(store.count("-init-") <= 3, "{}", store.count("-init-"));
    assert_eq!(store.0.lock().unwrap().wrong, Vec::<String>::new());
}

#[test]
fn an_earlier_run_in_the_same_folder_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("show/hi");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("000old-000000.ts"), "old").unwrap();
    std::fs::write(folder.join("index.m3u8"), "#EXTM3U\n000old-000000.ts\n").unwrap();
    let store = Folder::new(dir.path()).unwrap();
    let publisher = Publisher::new(Box::new(store), "show", Options::default()).unwrap();
    publisher.begin(&[video("hi", 720)]).unwrap();
    publisher.segment("hi", segment(0)).unwrap();
    publisher.finish().unwrap();
    let text = std::fs::read_to_string(folder.join("index.m3u8")).unwrap();
    assert!(!text.contains("old"), "{text}");
    assert_eq!(
        std::fs::read_to_string(folder.join("000old-000000.ts")).unwrap(),
        "old"
    );
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
    assert!(dir.path().join("show/master.m3u8").is_file());
}
