//! `s3sink` against a real server.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use common::{MIB, bytes, chain, element, play, reach, server, source};
use gst::prelude::*;
use gstneural_s3_rig::{At, Fault, FaultProxy, Op, Plan, Rule};
use gsts3::s3sink::{Uploaded, Uploading};

const PART: usize = 5 * MIB;

fn small_parts(sink: &gst::Element) {
    sink.set_property("part-size", PART as u64);
    sink.set_property("parallel", 3u32);
}

#[test]
fn writes_objects_of_all_sizes() {
    let server = server();
    for (length, parts) in [(0, 0), (1, 0), (PART, 0), (2 * PART, 2), (2 * PART + 1, 3)] {
        let data = bytes(length, length as u64);
        let sink = element("s3sink", &server, "a");
        small_parts(&sink);
        let ended = play(&chain(&[&source(&data), &sink]));
        assert!(ended.error.is_none(), "{length}: {:?}", ended.error);
        assert!(
            server.get("films", "a").unwrap().unwrap() == data,
            "{length}"
        );
        let uploaded = ended.find(Uploaded::from_message).unwrap();
        assert_eq!((uploaded.size, uploaded.parts), (length as u64, parts));
        assert_eq!(uploaded.uri, "s3://films/a");
        assert!(uploaded.etag.is_some() && uploaded.checksum.is_some());
    }
    assert!(server.pending_uploads().unwrap().is_empty());
}

#[test]
fn mp4_gets_its_header_and_index() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    for (muxer, key, kbits) in [
        ("mp4mux", "small.mp4", 1000),
        ("mp4mux", "large.mp4", 30000),
        ("mp4mux faststart=true", "fast.mp4", 30000),
        ("matroskamux", "large.mkv", 30000),
    ] {
        let line = format!(
            "videotestsrc num-buffers=250 pattern=snow ! video/x-raw,width=1280,height=720,framerate=25/1 \
             ! x264enc speed-preset=ultrafast bitrate={kbits} ! {muxer} name=m"
        );
        let pipeline = gst::parse::launch(&line)
            .unwrap()
            .downcast::<gst::Pipeline>()
            .unwrap();
        let sink = element("s3sink", &server, key);
        small_parts(&sink);
        pipeline.add(&sink).unwrap();
        pipeline.by_name("m").unwrap().link(&sink).unwrap();
        let ended = play(&pipeline);
        assert!(ended.error.is_none(), "{key}: {:?}", ended.error);
        let parts = ended.find(Uploaded::from_message).unwrap().parts;
        assert!(kbits < 10000 || parts >= 3, "{key}: {parts} parts");
        let file = folder.path().join(key);
        std::fs::write(&file, server.get("films", key).unwrap().unwrap()).unwrap();
        let probe = Command::new("ffprobe")
            .args(["-v", "error", "-count_packets", "-show_entries"])
            .args([
                "stream=nb_read_packets:format=duration,size",
                "-of",
                "csv=p=0",
            ])
            .arg(&file)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&probe.stdout).into_owned();
        assert!(
            probe.stderr.is_empty(),
            "{key}: {}",
            String::from_utf8_lossy(&probe.stderr)
        );
        assert!(
            text.contains("250") && text.contains("10.0"),
            "{key}: {text}"
        );
    }
    // The first kind has its index at the end, behind a proper header; the other at the beginning.
    let at = |key: &str, what: &[u8]| {
        let data = server.get("films", key).unwrap().unwrap();
        (data.windows(4).position(|w| w == what).unwrap(), data.len())
    };
    let ((late, length), (early, _)) = (at("large.mp4", b"moov"), at("fast.mp4", b"moov"));
    assert!(
        late > length / 2 && early < 1000,
        "{late} of {length}, {early}"
    );
}

#[test]
fn segments_of_splitmuxsink_are_objects() {
    let server = server();
    common::init();
    let line = "videotestsrc num-buffers=100 ! video/x-raw,width=320,height=240,framerate=25/1 \
                ! x264enc key-int-max=25 speed-preset=ultrafast ! h264parse \
                ! splitmuxsink name=split max-size-time=1000000000 location=s3://films/segments/part%05d.mp4";
    let pipeline = gst::parse::launch(line)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let sink = gst::ElementFactory::make("s3sink").build().unwrap();
    reach(&sink, &server, None);
    pipeline
        .by_name("split")
        .unwrap()
        .set_property("sink", &sink);
    let ended = play(&pipeline);
    assert!(ended.error.is_none(), "{:?}", ended.error);
    let mut keys: Vec<String> = server
        .objects("films")
        .unwrap()
        .into_iter()
        .map(|o| o.key)
        .collect();
    keys.sort();
    let expected: Vec<String> = (0..4).map(|n| format!("segments/part{n:05}.mp4")).collect();
    assert_eq!(keys, expected);
    let first = server.get("films", &keys[0]).unwrap().unwrap();
    assert!(first.windows(4).any(|w| w == b"moov"));
}

#[test]
fn a_stop_without_eos_is_an_error_and_leaves_nothing() {
    let server = server();
    let sink = element("s3sink", &server, "a");
    small_parts(&sink);
    let source = gst::ElementFactory::make("appsrc").build().unwrap();
    let pipeline = chain(&[&source, &sink]);
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for _ in 0..12 {
        let buffer = gst::Buffer::from_slice(bytes(MIB, 1));
        let flow = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
        assert_eq!(flow, gst::FlowReturn::Ok);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while sink
        .property::<gst::Structure>("stats")
        .get::<u64>("bytes-written")
        .unwrap()
        < 12 * MIB as u64
    {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    // Not to NULL at once: a pipeline forgets its messages on the way there.
    let _ = pipeline.set_state(gst::State::Ready);
    let message = bus
        .timed_pop_filtered(common::LIMIT, &[gst::MessageType::Error])
        .unwrap();
    let gst::MessageView::Error(error) = message.view() else {
        panic!("{message:?}");
    };
    assert!(
        error.error().to_string().contains("without EOS"),
        "{:?}",
        error.error()
    );
    assert_eq!(server.get("films", "a").unwrap(), None);
    assert!(server.pending_uploads().unwrap().is_empty());
}

#[test]
fn failures_end_in_an_error_and_never_in_eos() {
    let server = server();
    let data = bytes(3 * PART, 1);
    for (op, fault) in [
        (Op::CompleteMultipartUpload, Fault::access_denied()),
        (Op::CompleteMultipartUpload, Fault::error_in_200()),
        (Op::UploadPart, Fault::access_denied()),
        (Op::CreateMultipartUpload, Fault::access_denied()),
        (Op::UploadPart, Fault::HangInRequest(At::Byte(1000))),
    ] {
        let rule = Rule::new(fault.clone()).op(op);
        let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
        let sink = element("s3sink", &server, "a");
        reach(&sink, &server, Some(&proxy));
        small_parts(&sink);
        sink.set_property("retry-attempts", 2u32);
        sink.set_property("stall-timeout", 500u32);
        let ended = play(&chain(&[&source(&data), &sink]));
        let text = ended.text();
        assert!(text.contains("s3://films/a"), "{op:?} {fault:?}: {text}");
        assert_eq!(server.get("films", "a").unwrap(), None);
        assert!(
            server.pending_uploads().unwrap().is_empty(),
            "{op:?} {fault:?}"
        );
    }
}

#[test]
fn pausing_in_the_middle_loses_nothing() {
    let server = server();
    let proxy = FaultProxy::start(server.addr(), Plan::default().up(20 << 20)).unwrap();
    let data = bytes(6 * PART, 1);
    let sink = element("s3sink", &server, "a");
    reach(&sink, &server, Some(&proxy));
    small_parts(&sink);
    sink.set_property("parallel", 1u32);
    let pipeline = chain(&[&source(&data), &sink]);
    let bus = pipeline.bus().unwrap();
    for _ in 0..10 {
        pipeline.set_state(gst::State::Playing).unwrap();
        std::thread::sleep(Duration::from_millis(70));
        pipeline.set_state(gst::State::Paused).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    let types = [gst::MessageType::Error, gst::MessageType::Eos];
    let message = bus.timed_pop_filtered(common::LIMIT, &types).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(server.get("films", "a").unwrap().unwrap() == data);
}

#[test]
fn attributes_reach_the_server() {
    let server = server();
    let proxy = FaultProxy::start(server.addr(), Plan::default()).unwrap();
    let sink = element("s3sink", &server, "clip.m3u8");
    reach(&sink, &server, Some(&proxy));
    sink.set_property("cache-control", "no-cache");
    sink.set_property(
        "metadata",
        gst::Structure::builder("metadata")
            .field("made-by", "us")
            .field("n", 7)
            .build(),
    );
    let ended = play(&chain(&[&source(b"#EXTM3U\n"), &sink]));
    assert!(ended.error.is_none(), "{:?}", ended.error);
    // What the server keeps of it is asked for with the official client, in tests/s3.
    assert_eq!(proxy.count(Op::PutObject), 1);
}

#[test]
fn settings_that_cannot_be_right_are_errors() {
    let server = server();
    let fail = |change: &dyn Fn(&gst::Element)| {
        let sink = element("s3sink", &server, "a");
        change(&sink);
        play(&chain(&[&source(b"x"), &sink])).text()
    };
    assert!(fail(&|s| s.set_property("acl", "everybody")).contains("public-read"));
    assert!(fail(&|s| s.set_property("storage-class", "cheap")).contains("GLACIER"));
    assert!(fail(&|s| s.set_property("if-none-match", "\"etag\"")).contains("'*'"));
    assert!(fail(&|s| s.set_property("kms-key-id", "k")).contains("encryption=kms"));
    assert!(fail(&|s| s.set_property("uri", "s3://films/a?versionId=1")).contains("version"));
    assert!(fail(&|s| s.set_property("content-type", "a\nb")).contains("content-type"));
    assert!(fail(&|s| s.set_property("access-key", None::<String>)).contains("access-key"));
}

/// Properties at their ends, in all combinations of a few: an error or the right object.
#[test]
fn no_settings_hang_or_panic() {
    let server = server();
    let data = bytes(2 * PART + 17, 3);
    for part in ["5242880", "5368709120"] {
        for parallel in ["1", "256"] {
            for timeout in ["1", "4294967295"] {
                for attempts in ["1", "100"] {
                    let sink = element("s3sink", &server, "a");
                    sink.set_property_from_str("part-size", part);
                    sink.set_property_from_str("parallel", parallel);
                    for name in ["connect-timeout", "request-timeout", "stall-timeout"] {
                        sink.set_property_from_str(name, timeout);
                    }
                    let attempts = if timeout == "1" { "2" } else { attempts };
                    sink.set_property_from_str("retry-attempts", attempts);
                    let ended = play(&chain(&[&source(&data), &sink]));
                    if ended.error.is_none() {
                        assert!(server.get("films", "a").unwrap().unwrap() == data);
                    } else {
                        assert_eq!(timeout, "1", "{}", ended.text());
                    }
                }
            }
        }
    }
}

#[test]
fn uris_for_writing() {
    common::init();
    let made = gst::Element::make_from_uri(gst::URIType::Sink, "s3://films/a", None).unwrap();
    assert_eq!(made.factory().unwrap().name(), "s3sink");
    let sink = gst::ElementFactory::make("s3sink").build().unwrap();
    sink.set_property("bucket", "films");
    sink.set_property("key", "a b?.mp4");
    assert_eq!(sink.property::<String>("uri"), "s3://films/a%20b%3F.mp4");
}

#[test]
fn progress_is_told() {
    let server = server();
    let proxy = FaultProxy::start(server.addr(), Plan::default().up(8 << 20)).unwrap();
    let sink = element("s3sink", &server, "a");
    reach(&sink, &server, Some(&proxy));
    small_parts(&sink);
    sink.set_property("parallel", 1u32);
    let ended = play(&chain(&[&source(&bytes(6 * PART, 1)), &sink]));
    assert!(ended.error.is_none(), "{:?}", ended.error);
    let told = ended.find(Uploading::from_message).unwrap();
    assert!(
        told.bytes_written >= told.bytes_uploaded && told.upload_id.is_some(),
        "{told:?}"
    );
    // The source waits for the line: no more is taken than may be held.
    let held = |m: &gst::MessageRef| {
        let told = Uploading::from_message(m)?;
        Some(told.bytes_written - told.bytes_uploaded)
    };
    let most = ended.messages.iter().filter_map(|m| held(m)).max().unwrap();
    assert!((1..=3 * PART as u64).contains(&most), "{most} bytes held");
}

#[test]
fn many_elements_share_few_threads() {
    let server = server();
    let threads = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter(|t| {
                let name = t
                    .as_ref()
                    .map(|t| std::fs::read_to_string(t.path().join("comm")));
                matches!(name, Ok(Ok(name)) if name.starts_with("gst-s3"))
            })
            .count()
    };
    let sinks: Vec<_> = (0..200)
        .map(|n| element("s3sink", &server, &format!("many/{n}")))
        .collect();
    let pipelines: Vec<_> = sinks
        .iter()
        .map(|sink| chain(&[&source(b"few bytes"), sink]))
        .collect();
    for pipeline in &pipelines {
        pipeline.set_state(gst::State::Playing).unwrap();
    }
    for pipeline in &pipelines {
        let types = [gst::MessageType::Error, gst::MessageType::Eos];
        let message = pipeline
            .bus()
            .unwrap()
            .timed_pop_filtered(common::LIMIT, &types)
            .unwrap();
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    }
    assert!(threads() <= 6, "{}", threads());
    for pipeline in &pipelines {
        pipeline.set_state(gst::State::Null).unwrap();
    }
    assert_eq!(server.objects("films").unwrap().len(), 200);
}
