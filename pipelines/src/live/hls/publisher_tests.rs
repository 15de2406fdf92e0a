//! What reaches the store, and in which order.
#![allow(clippy::unwrap_used)]

use super::options::{Container, Options};
use super::publisher::{Part, Publisher, Segment};
use super::store::Folder;
use super::test_store::*;
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
