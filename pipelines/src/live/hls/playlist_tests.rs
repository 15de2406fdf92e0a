//! Texts, the window, and what other readers make of them.
#![allow(clippy::unwrap_used)]

use super::options::{Container, Options};
use super::playlist::*;
use m3u8_rs::{MediaPlaylistType, Playlist};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const S: Duration = Duration::from_secs(1);

fn at(seconds: f64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_secs_f64(seconds)
}

fn entry(n: u64, duration: Duration) -> Entry {
    Entry {
        uri: format!("{n}.ts"),
        duration,
        begins: at(2.0 * n as f64),
        discontinuity: false,
        gap: false,
        map: None,
        parts: Vec::new(),
    }
}

fn uris(left: &[Left]) -> Vec<&str> {
    let uri = |l| match l {
        &Left::Segment(Entry { ref uri, .. }) | &Left::Part(PartEntry { ref uri, .. }) => uri,
    };
    left.iter().map(|l| uri(l).as_str()).collect()
}

fn parsed(playlist: &MediaPlaylist) -> m3u8_rs::MediaPlaylist {
    let text = playlist.text();
    match m3u8_rs::parse_playlist_res(text.as_bytes()) {
        Ok(Playlist::MediaPlaylist(parsed)) => parsed,
        other => panic!("{other:?}\n{text}"),
    }
}

#[test]
fn a_transport_stream_playlist_slides() {
    let options = Options {
        window: Some(3),
        ..Options::default()
    };
    let mut playlist = MediaPlaylist::new(&options, 0, 0);
    for n in 0..3 {
        assert_eq!(playlist.segment(entry(n, 2 * S)), Ok(vec![]));
    }
    let left = playlist
        .segment(entry(3, Duration::from_millis(1967)))
        .unwrap();
    // Less than three target durations would be left.
    assert_eq!(left, []);
    let left = playlist
        .segment(Entry {
            discontinuity: true,
            ..entry(4, 2 * S)
        })
        .unwrap();
    assert_eq!(uris(&left), ["0.ts"]);
    assert_eq!(
        playlist.text(),
        "#EXTM3U\n\
         #EXT-X-VERSION:3\n\
         #EXT-X-TARGETDURATION:2\n\
         #EXT-X-MEDIA-SEQUENCE:1\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:0\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:02.000Z\n\
         #EXTINF:2.000000,\n\
         1.ts\n\
         #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:04.000Z\n\
         #EXTINF:2.000000,\n\
         2.ts\n\
         #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:06.000Z\n\
         #EXTINF:1.967000,\n\
         3.ts\n\
         #EXT-X-DISCONTINUITY\n\
         #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:08.000Z\n\
         #EXTINF:2.000000,\n\
         4.ts\n"
    );
    let seen = parsed(&playlist);
    assert_eq!((seen.media_sequence, seen.segments.len()), (1, 4));
    assert!(!seen.end_list);
    playlist.end();
    assert!(playlist.text().ends_with("4.ts\n#EXT-X-ENDLIST\n"));
    assert_eq!(playlist.segment(entry(5, S)), Err(Refused::Ended));
    assert!(parsed(&playlist).end_list);
}

#[test]
fn discontinuities_are_counted_when_they_leave() {
    let options = Options {
        window: Some(3),
        ..Options::default()
    };
    let mut playlist = MediaPlaylist::new(&options, 7, 2);
    for n in 7..30 {
        let discontinuity = n == 9 || n == 12;
        let segment = Entry {
            discontinuity,
            ..entry(n, 2 * S)
        };
        playlist.segment(segment).unwrap();
        let seen = parsed(&playlist);
        let first = n.saturating_sub(2).max(7);
        assert_eq!(seen.media_sequence, first);
        let gone = [9, 12].iter().filter(|d| **d < first).count() as u64;
        assert_eq!(seen.discontinuity_sequence, 2 + gone, "at {n}");
        let total = 2 + [9, 12].iter().filter(|d| **d <= n).count() as u64;
        assert_eq!(playlist.discontinuities(), total);
        assert_eq!(playlist.next_sequence(), n + 1);
    }
}

#[test]
fn a_segment_that_rounds_to_more_than_the_target_is_refused() {
    let mut playlist = MediaPlaylist::new(&Options::default(), 0, 0);
    assert!(
        playlist
            .segment(entry(0, Duration::from_millis(2499)))
            .is_ok()
    );
    let long = Duration::from_millis(2500);
    assert_eq!(
        playlist.segment(entry(1, long)),
        Err(Refused::TooLong(long, 2 * S))
    );
    assert_eq!(playlist.next_sequence(), 1);
}

#[test]
fn short_segments_stay_until_three_target_durations_are_there() {
    let options = Options {
        window: Some(3),
        ..Options::default()
    };
    let mut playlist = MediaPlaylist::new(&options, 0, 0);
    for n in 0..40 {
        let left = playlist.segment(entry(n, S)).unwrap();
        assert_eq!(left.is_empty(), n < 6, "{n}");
        assert!(playlist.duration() >= 6 * S || n < 6);
    }
    assert_eq!(playlist.listed().1.count(), 6);
}

#[test]
fn an_event_playlist_keeps_everything_and_changes_only_at_its_end() {
    let options = Options {
        window: None,
        ..Options::default()
    };
    let mut playlist = MediaPlaylist::new(&options, 0, 0);
    let mut before = playlist.text();
    assert!(before.contains("#EXT-X-PLAYLIST-TYPE:EVENT\n"));
    for n in 0..200 {
        assert_eq!(playlist.segment(entry(n, 2 * S)), Ok(vec![]));
        let now = playlist.text();
        assert!(now.starts_with(&before));
        before = now;
    }
    playlist.end();
    let seen = parsed(&playlist);
    assert_eq!(seen.playlist_type, Some(MediaPlaylistType::Event));
    assert_eq!((seen.segments.len(), seen.end_list), (200, true));
}

#[test]
fn initialisation_segments_change_at_discontinuities() {
    let options = Options {
        container: Container::Cmaf,
        ..Options::default()
    };
    let mut playlist = MediaPlaylist::new(&options, 0, 0);
    for n in 0..4 {
        playlist
            .segment(Entry {
                uri: format!("{n}.m4s"),
                map: Some(format!("init-{}.mp4", n / 2)),
                discontinuity: n == 2,
                gap: n == 3,
                ..entry(n, 2 * S)
            })
            .unwrap();
    }
    assert_eq!(
        playlist.text(),
        "#EXTM3U\n\
         #EXT-X-VERSION:6\n\
         #EXT-X-TARGETDURATION:2\n\
         #EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:0\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-MAP:URI=\"init-0.mp4\"\n\
         #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.000Z\n\
         #EXTINF:2.000000,\n\
         0.m4s\n\
         #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:02.000Z\n\
         #EXTINF:2.000000,\n\
         1.m4s\n\
         #EXT-X-DISCONTINUITY\n\
         #EXT-X-MAP:URI=\"init-1.mp4\"\n\
         #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:04.000Z\n\
         #EXTINF:2.000000,\n\
         2.m4s\n\
         #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:06.000Z\n\
         #EXT-X-GAP\n\
         #EXTINF:2.000000,\n\
         3.m4s\n"
    );
    let maps: Vec<_> = parsed(&playlist)
        .segments
        .iter()
        .map(|s| s.map.as_ref().map(|m| m.uri.clone()))
        .collect();
    let (first, second) = (Some("init-0.mp4".into()), Some("init-1.mp4".into()));
    assert_eq!(maps, [first, None, second, None]);
}

fn with_parts() -> Options {
    Options {
        container: Container::Cmaf,
        segment: S,
        part: Some(Duration::from_millis(500)),
        window: Some(8),
        ..Options::default()
    }
}

fn part(n: u64) -> PartEntry {
    PartEntry {
        uri: format!("p{n}.m4s"),
        duration: Duration::from_millis(500),
        independent: n.is_multiple_of(2),
        gap: n == 3,
    }
}

#[test]
fn parts_are_listed_before_their_segment_is_complete() {
    let mut playlist = MediaPlaylist::new(&with_parts(), 0, 0);
    for n in 0..3 {
        playlist
            .part(part(n), at(0.5 * n as f64), Some("i.mp4"), false)
            .unwrap();
        playlist.hint(format!("p{}.m4s", n + 1));
        if n == 1 {
            let uri = "0.m4s".to_owned();
            // The second part of it said when it begins; what is said here comes too late.
            let segment = Entry {
                uri,
                begins: at(99.0),
                ..entry(0, S)
            };
            assert_eq!(playlist.segment(segment), Ok(vec![]));
            assert_eq!(playlist.open_parts(), 0);
        }
    }
    assert_eq!((playlist.next_sequence(), playlist.open_parts()), (1, 1));
    assert_eq!(
        playlist.text(),
        "#EXTM3U\n\
         #EXT-X-VERSION:6\n\
         #EXT-X-TARGETDURATION:1\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.500000\n\
         #EXT-X-PART-INF:PART-TARGET=0.500000\n\
         #EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:0\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-MAP:URI=\"i.mp4\"\n\
         #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.000Z\n\
         #EXT-X-PART:DURATION=0.500000,URI=\"p0.m4s\",INDEPENDENT=YES\n\
         #EXT-X-PART:DURATION=0.500000,URI=\"p1.m4s\"\n\
         #EXTINF:1.000000,\n\
         0.m4s\n\
         #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:01.000Z\n\
         #EXT-X-PART:DURATION=0.500000,URI=\"p2.m4s\",INDEPENDENT=YES\n\
         #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p3.m4s\"\n"
    );
    let left = playlist.end();
    assert_eq!(uris(&left), ["p2.m4s"]);
    let text = playlist.text();
    assert!(text.ends_with("0.m4s\n#EXT-X-ENDLIST\n"), "{text}");
}

#[test]
fn parts_are_listed_for_three_target_durations() {
    let mut playlist = MediaPlaylist::new(&with_parts(), 0, 0);
    for n in 0..20 {
        for half in 0..2 {
            let begins = at(n as f64 + 0.5 * half as f64);
            playlist
                .part(part(2 * n + half), begins, Some("i.mp4"), false)
                .unwrap();
        }
        let uri = format!("{n}.m4s");
        let left = playlist.segment(Entry { uri, ..entry(n, S) }).unwrap();
        let parts = left.iter().filter(|l| matches!(l, Left::Part(_))).count();
        assert_eq!(parts, if n < 3 { 0 } else { 2 }, "{n}");
        let shown = playlist.text().matches("#EXT-X-PART:").count() as u64;
        assert_eq!(shown, 2 * (n + 1).min(3));
    }
    let long = PartEntry {
        duration: Duration::from_millis(501),
        ..part(9)
    };
    let refused = playlist.part(long, at(0.0), None, false);
    assert!(matches!(refused, Err(Refused::TooLong(..))));
    assert_eq!(playlist.open_parts(), 0);
}
