//! `s3hlssink` against a real server.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use common::{play, reach, server};
use gst::prelude::*;
use gstneural_s3::{Connection, Credentials, S3Uri, Secret, delete_object, runtime};
use gstneural_s3_rig::{Fault, FaultProxy, Op, Plan, Rule, Server};
use gsts3::s3hlssink::Segment;

const PLAYLIST: &str = "live/playlist.m3u8";

fn sink(server: &Server, proxy: Option<&FaultProxy>) -> gst::Element {
    let sink = gst::ElementFactory::make("s3hlssink").build().unwrap();
    reach(&sink, server, proxy);
    sink.set_property("location", "s3://films/live/segment%05d.ts");
    sink.set_property("target-duration", 2u32);
    sink.set_property("playlist-length", 0u32);
    sink
}

/// H.264 and AAC, so many seconds of it, a keyframe each second.
fn stream(sink: &gst::Element, seconds: u32, source: &str) -> gst::Pipeline {
    let (frames, blocks) = (seconds * 25, seconds * 48000 / 1024);
    let text = format!(
        "{source} num-buffers={frames} ! video/x-raw,width=160,height=120,framerate=25/1 \
         ! x264enc key-int-max=25 speed-preset=ultrafast bframes=0 ! h264parse ! queue name=video \
         audiotestsrc samplesperbuffer=1024 num-buffers={blocks} ! audio/x-raw,rate=48000 \
         ! avenc_aac ! aacparse ! queue name=audio"
    );
    let pipeline = gst::parse::launch(&text).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    pipeline.add(sink).unwrap();
    for name in ["video", "audio"] {
        let queue = pipeline.by_name(name).unwrap();
        queue.link_pads(Some("src"), sink, Some(name)).unwrap();
    }
    pipeline
}

fn playlist(server: &Server) -> String {
    let bytes = server.get("films", PLAYLIST).unwrap();
    String::from_utf8(bytes.unwrap_or_default()).unwrap()
}

/// The keys of what the playlist names.
fn named(server: &Server) -> Vec<String> {
    let text = playlist(server);
    let names = text
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    names.map(|name| format!("live/{name}")).collect()
}

fn keys(server: &Server) -> Vec<String> {
    let objects = server.objects("films").unwrap();
    objects.into_iter().map(|o| o.key).collect()
}

/// What the server keeps beside the objects: their attributes.
fn attributes(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
    let files = files.filter(|f| f.to_string_lossy().ends_with(".metadata.json"));
    files.map(|f| fs::read_to_string(f).unwrap()).collect()
}

/// Errors and warnings as they are posted.
fn complaints(pipeline: &gst::Pipeline) -> Arc<Mutex<Vec<String>>> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let into = all.clone();
    pipeline.bus().unwrap().set_sync_handler(move |_, message| {
        if let gst::MessageView::Warning(w) = message.view() {
            into.lock()
                .unwrap()
                .push(w.debug().unwrap_or_default().to_string());
        }
        gst::BusSyncReply::Pass
    });
    all
}

#[test]
fn a_stream_becomes_fragments_and_then_the_playlist() {
    let server = server();
    let proxy = FaultProxy::start(server.addr(), Plan::default().latency_ms(20)).unwrap();
    let sink = sink(&server, Some(&proxy));
    let ended = play(&stream(&sink, 10, "videotestsrc"));
    assert!(ended.error.is_none(), "{:?}", ended.error);
    assert!(server.pending_uploads().unwrap().is_empty());

    let segments: Vec<_> = (0..5).map(|n| format!("live/segment{n:05}.ts")).collect();
    let mut all = segments.clone();
    all.insert(0, PLAYLIST.to_owned());
    assert_eq!(keys(&server), all);
    assert_eq!(named(&server), segments);
    assert!(playlist(&server).contains("#EXT-X-ENDLIST"));

    let messages = ended.messages.iter();
    let told: Vec<_> = messages.filter_map(|m| Segment::from_message(m)).collect();
    assert_eq!(told.len(), 5);
    for (told, key) in told.iter().zip(&segments) {
        assert_eq!(told.uri, format!("s3://films/{key}"));
        let stored = server.get("films", key).unwrap().unwrap();
        assert_eq!(told.size, stored.len() as u64);
        let seconds = told.duration.unwrap().seconds_f64();
        assert!((1.9..=2.1).contains(&seconds), "{seconds}");
    }

    let attributes = attributes(server.folder());
    let with = |texts: &[&str]| {
        let has = |a: &&String| texts.iter().all(|t| a.contains(t));
        attributes.iter().filter(has).count()
    };
    assert_eq!(with(&["\"video/mp2t\"", "\"max-age=300\""]), 5);
    assert_eq!(
        with(&["\"application/vnd.apple.mpegurl\"", "\"no-cache\""]),
        1
    );

    // The n-th playlist names n fragments, which were all there before it was sent.
    let requests = proxy.requests();
    let playlists: Vec<_> = requests.iter().filter(|r| r.key == PLAYLIST).collect();
    assert_eq!(playlists.len(), 6);
    for (index, playlist) in playlists.iter().enumerate() {
        for key in segments.iter().take(index + 1) {
            let put = requests.iter().find(|r| r.key == *key).unwrap();
            assert_eq!((put.op, put.status), (Op::PutObject, Some(200)));
            assert!(put.ended.unwrap() <= playlist.begun, "{key}");
        }
    }

    let folder = tempfile::tempdir().unwrap();
    for key in &all {
        let name = key.rsplit('/').next().unwrap();
        let bytes = server.get("films", key).unwrap().unwrap();
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=codec_name,nb_read_frames"])
        .arg(folder.path().join("playlist.m3u8"))
        .output()
        .unwrap();
    let text = String::from_utf8(probe.stdout).unwrap();
    assert!(text.contains("h264,250"), "{text}");
    assert!(text.contains("aac,"), "{text}");
}

#[test]
fn old_fragments_are_deleted() {
    let server = server();
    let proxy = FaultProxy::start(server.addr(), Plan::default()).unwrap();
    let sink = sink(&server, Some(&proxy));
    sink.set_property("playlist-length", 3u32);
    sink.set_property("max-files", 4u32);
    let ended = play(&stream(&sink, 14, "videotestsrc"));
    assert!(ended.error.is_none(), "{:?}", ended.error);
    let kept: Vec<_> = (3..7).map(|n| format!("live/segment{n:05}.ts")).collect();
    assert_eq!(keys(&server)[1..], kept);
    assert_eq!(named(&server), kept[1..]);
    assert_eq!(proxy.count(Op::DeleteObject), 3);
}

#[test]
fn what_cannot_be_deleted_is_a_warning() {
    let server = server();
    let rule = Rule::new(Fault::access_denied()).op(Op::DeleteObject);
    let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
    let sink = sink(&server, Some(&proxy));
    sink.set_property("playlist-length", 3u32);
    sink.set_property("max-files", 3u32);
    let pipeline = stream(&sink, 10, "videotestsrc");
    let complaints = complaints(&pipeline);
    let ended = play(&pipeline);
    assert!(ended.error.is_none(), "{:?}", ended.error);
    let complaints = complaints.lock().unwrap();
    assert_eq!(complaints.len(), 2);
    assert!(complaints[0].contains("DeleteObject of s3://films/live/segment0000"));
    assert!(complaints[0].contains("AccessDenied"));
    assert_eq!(keys(&server).len(), 6);
}

#[test]
fn a_failing_fragment_is_an_error_and_no_playlist_names_it() {
    let faults = [
        Fault::access_denied(),
        Fault::internal_error(),
        Fault::ResetBefore,
    ];
    for fault in faults {
        let server = server();
        let rule = Rule::new(fault.clone()).key("segment00002");
        let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
        let sink = sink(&server, Some(&proxy));
        sink.set_property("retry-attempts", 3u32);
        let ended = play(&stream(&sink, 20, "videotestsrc"));
        let text = ended.text();
        assert!(
            text.contains("PutObject of s3://films/live/segment00002.ts"),
            "{text}"
        );
        if fault == Fault::access_denied() {
            assert!(text.contains("AccessDenied"), "{text}");
        }
        let named = named(&server);
        assert!(
            !named.iter().any(|n| n.contains("segment00002")),
            "{named:?}"
        );
        assert!(!playlist(&server).contains("ENDLIST"));
        for key in named {
            assert!(server.get("films", &key).unwrap().is_some());
        }
        assert!(server.pending_uploads().unwrap().is_empty());
    }
}

#[test]
fn there_is_no_eos_after_the_last_fragment_failed() {
    let server = server();
    let rule = Rule::new(Fault::access_denied()).key("segment00001");
    let plan = Plan::default().latency_ms(200).rule(rule);
    let proxy = FaultProxy::start(server.addr(), plan).unwrap();
    let pipeline = stream(&sink(&server, Some(&proxy)), 4, "videotestsrc");
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let all = [gst::MessageType::Error, gst::MessageType::Eos];
    let first = bus.timed_pop_filtered(common::LIMIT, &all).unwrap();
    assert_eq!(first.type_(), gst::MessageType::Error);
    let limit = gst::ClockTime::from_mseconds(500);
    assert!(bus.timed_pop_filtered(limit, &all).is_none());
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(named(&server), ["live/segment00000.ts"]);
}

#[test]
fn a_failing_playlist_is_an_error() {
    let server = server();
    let rule = Rule::new(Fault::access_denied()).key(".m3u8").skip(1);
    let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
    let ended = play(&stream(&sink(&server, Some(&proxy)), 10, "videotestsrc"));
    let text = ended.text();
    assert!(text.contains("PutObject of s3://films/live/playlist.m3u8"));
    assert_eq!(named(&server), ["live/segment00000.ts"]);
}

#[test]
fn faults_that_pass_leave_no_trace() {
    let server = server();
    let plan = Plan::default()
        .rule(Rule::new(Fault::internal_error()).nth(1))
        .rule(Rule::new(Fault::slow_down()).nth(4))
        .rule(Rule::new(Fault::ResetAfter).nth(6));
    let proxy = FaultProxy::start(server.addr(), plan).unwrap();
    let ended = play(&stream(&sink(&server, Some(&proxy)), 6, "videotestsrc"));
    assert!(ended.error.is_none(), "{:?}", ended.error);
    assert_eq!(proxy.injected(), 3);
    assert_eq!(named(&server).len(), 3);
}

/// Plays until `until`, and then stops without EOS; how long the stop took.
fn break_off(pipeline: &gst::Pipeline, until: impl Fn(&gst::Bus) -> bool) -> Duration {
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let begun = Instant::now();
    while !until(&bus) {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
        std::thread::sleep(Duration::from_millis(20));
    }
    let begun = Instant::now();
    pipeline.set_state(gst::State::Null).unwrap();
    begun.elapsed()
}

#[test]
fn a_stop_without_eos_leaves_what_is_complete() {
    let server = server();
    let sink = sink(&server, None);
    sink.set_property("target-duration", 1u32);
    let pipeline = stream(&sink, 60, "videotestsrc is-live=true");
    let told = Mutex::new(0);
    break_off(&pipeline, |bus| {
        let mut told = told.lock().unwrap();
        while let Some(message) = bus.pop() {
            *told += usize::from(Segment::from_message(&message).is_some());
        }
        *told >= 2
    });
    let named = named(&server);
    assert!(named.len() >= 2);
    assert!(playlist(&server).contains("#EXT-X-ENDLIST"));
    assert_eq!(keys(&server)[1..], named);
    assert!(server.pending_uploads().unwrap().is_empty());
    // Once more: a run leaves nothing behind in the element.
    let ended = play(&stream(&reused(&pipeline, &sink), 3, "videotestsrc"));
    assert!(ended.error.is_none(), "{:?}", ended.error);
}

/// The sink, taken out of a pipeline that is over.
fn reused(pipeline: &gst::Pipeline, sink: &gst::Element) -> gst::Element {
    for pad in sink.pads() {
        pad.peer().unwrap().unlink(&pad).unwrap();
        sink.release_request_pad(&pad);
    }
    pipeline.remove(sink).unwrap();
    sink.clone()
}

/// About 0.3 MB for each frame.
fn one_large_fragment(sink: &gst::Element, frames: u32) -> gst::Pipeline {
    let text = format!(
        "videotestsrc pattern=snow num-buffers={frames} ! video/x-raw,width=640,height=480 \
         ! x264enc speed-preset=ultrafast pass=quant quantizer=1 ! h264parse ! queue name=q"
    );
    let pipeline = gst::parse::launch(&text).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    pipeline.add(sink).unwrap();
    let queue = pipeline.by_name("q").unwrap();
    queue.link_pads(Some("src"), sink, Some("video")).unwrap();
    pipeline
}

#[test]
fn a_stop_in_the_middle_of_parts_leaves_no_upload() {
    let server = server();
    let proxy = FaultProxy::start(server.addr(), Plan::default().up(8 << 20)).unwrap();
    let sink = sink(&server, Some(&proxy));
    sink.set_property("target-duration", 0u32);
    let pipeline = one_large_fragment(&sink, 1_000_000);
    break_off(&pipeline, |_| proxy.count(Op::UploadPart) >= 2);
    assert!(proxy.wait_until_idle(Duration::from_secs(10)));
    assert!(server.pending_uploads().unwrap().is_empty());
    assert!(keys(&server).is_empty());
}

#[test]
fn a_server_that_hangs_does_not_hold_up_a_stop() {
    let server = server();
    let rule = Rule::new(Fault::Hang).op(Op::PutObject);
    let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
    let sink = sink(&server, Some(&proxy));
    sink.set_property("request-timeout", 60_000u32);
    let pipeline = stream(&sink, 60, "videotestsrc");
    let took = break_off(&pipeline, |_| proxy.count(Op::PutObject) >= 1);
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(keys(&server).is_empty());
}

#[test]
fn a_pause_is_no_stop() {
    let server = server();
    let proxy = FaultProxy::start(server.addr(), Plan::default().latency_ms(10)).unwrap();
    let sink = sink(&server, Some(&proxy));
    let pipeline = stream(&sink, 20, "videotestsrc");
    pipeline.set_state(gst::State::Playing).unwrap();
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(50));
        pipeline.set_state(gst::State::Paused).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        pipeline.set_state(gst::State::Playing).unwrap();
    }
    let ended = play(&pipeline);
    assert!(ended.error.is_none(), "{:?}", ended.error);
    assert_eq!(named(&server).len(), 10);
}

#[test]
fn a_pause_in_the_middle_of_a_write_loses_nothing() {
    let server = server();
    let proxy = FaultProxy::start(server.addr(), Plan::default().up(16 << 20)).unwrap();
    let sink = sink(&server, Some(&proxy));
    sink.set_property("target-duration", 0u32);
    let pipeline = one_large_fragment(&sink, 400);
    pipeline.set_state(gst::State::Playing).unwrap();
    let begun = Instant::now();
    while proxy.count(Op::UploadPart) < 6 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        pipeline.set_state(gst::State::Paused).unwrap();
        pipeline
            .state(gst::ClockTime::from_mseconds(100))
            .0
            .unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5));
        pipeline.set_state(gst::State::Playing).unwrap();
    }
    let ended = play(&pipeline);
    assert!(ended.error.is_none(), "{:?}", ended.error);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segment00000.ts");
    let bytes = server.get("films", "live/segment00000.ts").unwrap();
    fs::write(&path, bytes.unwrap()).unwrap();
    let probe = Command::new("ffprobe")
        .args(["-v", "warning", "-count_frames", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=nb_read_frames"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(probe.stdout).unwrap();
    assert!(text.contains("400"), "{text}");
    assert_eq!(String::from_utf8(probe.stderr).unwrap(), "");
}

#[test]
fn settings_that_cannot_be_right_are_refused() {
    let server = server();
    type Change = fn(&gst::Element);
    let cases: [(Change, &str); 9] = [
        (|s| s.set_property("location", ""), "location is not set"),
        (
            |s| s.set_property("location", "s3://films/%s%n.ts"),
            "one number",
        ),
        (
            |s| s.set_property("location", "s3://films/%d/a.ts"),
            "behind the last slash",
        ),
        (
            |s| s.set_property("playlist-location", "s3://films/other/a.m3u8"),
            "playlist-root",
        ),
        (
            |s| s.set_property("playlist-location", "a.m3u8"),
            "s3://BUCKET/KEY",
        ),
        (|s| s.set_property("max-files", 3u32), "playlist-length"),
        (|s| s.set_property("acl", "everybody"), "public-read"),
        (
            |s| s.set_property("segment-cache-control", "a\nb"),
            "cache-control",
        ),
        (
            |s| s.set_property("endpoint-uri", "nowhere"),
            "endpoint-uri",
        ),
    ];
    for (change, expected) in cases {
        let sink = sink(&server, None);
        change(&sink);
        let ended = play(&stream(&sink, 1, "videotestsrc"));
        let text = ended.text();
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(keys(&server).is_empty());
}

#[test]
fn another_element_inside_needs_the_signals() {
    let server = server();
    let sink = sink(&server, None);
    let inside = || sink.property::<Option<gst::Element>>("hlssink").unwrap();
    let first = inside();
    let identity = gst::ElementFactory::make("identity").build().unwrap();
    sink.set_property("hlssink", &identity);
    assert_eq!(inside(), first);
    let other = gst::ElementFactory::make("hlssink2").build().unwrap();
    sink.set_property("hlssink", &other);
    assert_eq!(inside(), other);
    let ended = play(&stream(&sink, 2, "videotestsrc"));
    assert!(ended.error.is_none(), "{:?}", ended.error);
    assert_eq!(named(&server).len(), 1);
}

#[test]
fn names_are_escaped_and_the_playlist_may_be_above() {
    let server = server();
    let sink = sink(&server, None);
    sink.set_property("location", "s3://films/a%20b/parts/s 100%25 %03d.ts");
    sink.set_property("playlist-location", "s3://films/a%20b/main.m3u8");
    let ended = play(&stream(&sink, 2, "videotestsrc"));
    assert!(ended.error.is_none(), "{:?}", ended.error);
    assert_eq!(keys(&server), ["a b/main.m3u8", "a b/parts/s 100% 000.ts"]);
    let playlist = server.get("films", "a b/main.m3u8").unwrap().unwrap();
    let playlist = String::from_utf8(playlist).unwrap();
    assert!(
        playlist.contains("\nparts/s%20100%25%20000.ts"),
        "{playlist}"
    );
}

#[test]
fn no_secret_is_dumped() {
    let server = server();
    let sink = sink(&server, None);
    sink.set_property("session-token", "a-token-of-nobody");
    let pipeline = stream(&sink, 1, "videotestsrc");
    let dump = pipeline.debug_to_dot_data(gst::DebugGraphDetails::all());
    assert!(dump.contains("segment%05d"));
    for secret in [
        server.access_key(),
        server.secret_key(),
        "a-token-of-nobody",
    ] {
        assert!(!dump.contains(secret));
    }
    // Nor in errors.
    sink.set_property("location", "s3://nowhere/%d.ts");
    let text = play(&pipeline).text();
    assert!(text.contains("NoSuchBucket"), "{text}");
    assert!(!text.contains(server.secret_key()), "{text}");
}

#[test]
fn deleting_what_is_not_there_is_fine() {
    let server = server();
    server.put("films", "a", b"a").unwrap();
    let rule = Rule::new(Fault::internal_error()).nth(1);
    let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
    let connection = Connection {
        endpoint: Some(proxy.endpoint()),
        region: Some("us-east-1".into()),
        path_style: true,
        credentials: Credentials::Keys {
            access_key: server.access_key().into(),
            secret_key: Secret::new(server.secret_key()),
            session_token: None,
        },
        ..Connection::default()
    };
    let delete = |uri: &str, connection: &Connection| {
        let uri = S3Uri::parse(uri).unwrap();
        let handle = runtime::handle().unwrap();
        handle.block_on(delete_object(connection, &uri))
    };
    delete("s3://films/a", &connection).unwrap();
    assert!(keys(&server).is_empty());
    delete("s3://films/a", &connection).unwrap();
    let anonymous = Connection {
        credentials: Credentials::Anonymous,
        ..connection
    };
    let error = delete("s3://films/a", &anonymous).unwrap_err();
    assert!(error.to_string().contains("DeleteObject of s3://films/a"));
}
