//! What happens when the store does not do its part, or the publisher ends early.
#![allow(clippy::unwrap_used)]

use super::options::{Options, QueueLimits};
use super::test_store::*;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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
        store.until(|m| {
            let text = m.files.get("show/hi/index.m3u8");
            text.is_some_and(|t| String::from_utf8_lossy(t).matches("#EXTINF").count() as u64 > n)
        });
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
