//! `s3src` against a real server.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::{MIB, bytes, chain, collector, element, play, reach, server};
use gst::prelude::*;
use gstneural_s3_rig::{At, Fault, FaultProxy, Op, Plan, Rule};
use gsts3::s3src::Opened;

#[test]
fn reads_objects_of_all_sizes() {
    let server = server();
    for length in [0, 1, 256 * 1024, 5 * MIB + 3] {
        let data = bytes(length, length as u64);
        server.put("films", "a b/ü.bin", &data).unwrap();
        let source = element("s3src", &server, "a%20b/%C3%BC.bin");
        let (sink, got) = collector();
        let ended = play(&chain(&[&source, &sink]));
        assert!(ended.error.is_none(), "{length}: {:?}", ended.error);
        assert!(*got.lock().unwrap() == data, "{length}");
        let opened = ended.find(Opened::from_message).unwrap();
        assert_eq!(opened.size, length as u64);
        assert!(opened.etag.is_some());
    }
}

#[test]
fn seeks_like_a_file() {
    let server = server();
    let data = bytes(12 * MIB, 1);
    server.put("films", "a", &data).unwrap();
    let source = element("s3src", &server, "a");
    source.set_property("range-size", 1u64 << 20);
    let (sink, got) = collector();
    let pipeline = chain(&[&source, &sink]);
    pipeline.set_state(gst::State::Paused).unwrap();
    pipeline.state(common::LIMIT).0.unwrap();
    let mut query = gst::query::Seeking::new(gst::Format::Bytes);
    assert!(source.query(&mut query));
    assert!(query.result().0, "seekable");
    assert_eq!(
        source.query_duration::<gst::format::Bytes>().unwrap(),
        (12 * MIB as u64) * gst::format::Bytes::ONE
    );
    let mut random = 99u64;
    for _ in 0..40 {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let at = (random >> 33) as usize % data.len();
        got.lock().unwrap().clear();
        let target = gst::format::Bytes::from_usize(at);
        pipeline.seek_simple(gst::SeekFlags::FLUSH, target).unwrap();
        pipeline.state(common::LIMIT).0.unwrap();
        // The preroll buffer is not handed off before PLAYING; it is the first after the seek.
        let sample = sink.property::<Option<gst::Sample>>("last-sample").unwrap();
        let buffer = sample.buffer().unwrap();
        let map = buffer.map_readable().unwrap();
        assert_eq!(buffer.offset(), at as u64);
        assert!(map[..] == data[at..(at + map.len())], "at {at}");
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_demuxer_finds_an_index_at_the_end_with_few_requests() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("late.mp4");
    let line = format!(
        "videotestsrc num-buffers=250 pattern=snow ! video/x-raw,width=1280,height=720,framerate=25/1 \
         ! x264enc speed-preset=ultrafast bitrate=20000 ! mp4mux ! filesink location={}",
        file.display()
    );
    let made = gst::parse::launch(&line)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    assert!(play(&made).error.is_none());
    let data = std::fs::read(&file).unwrap();
    let index = data.windows(4).position(|w| w == b"moov").unwrap();
    assert!(
        index > data.len() / 2 && data.len() > 8 * MIB,
        "{index} of {}",
        data.len()
    );
    server.put("films", "late.mp4", &data).unwrap();

    let proxy = FaultProxy::start(server.addr(), Plan::default().latency_ms(20)).unwrap();
    let source = element("s3src", &server, "late.mp4");
    reach(&source, &server, Some(&proxy));
    let pipeline = gst::parse::launch(
        "qtdemux name=d ! h264parse ! fakesink name=s sync=false signal-handoffs=true",
    );
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.add(&source).unwrap();
    source.link(&pipeline.by_name("d").unwrap()).unwrap();
    let frames = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = frames.clone();
    pipeline
        .by_name("s")
        .unwrap()
        .connect("handoff", false, move |_| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            None
        });
    let ended = play(&pipeline);
    assert!(ended.error.is_none(), "{:?}", ended.error);
    assert_eq!(frames.load(std::sync::atomic::Ordering::Relaxed), 250);
    let (requests, sent) = (
        proxy.count(Op::GetObject),
        proxy
            .requests()
            .iter()
            .map(|r| r.response_bytes)
            .sum::<u64>(),
    );
    assert!(requests < 30, "{requests} requests");
    assert!(
        sent < data.len() as u64 + 4 * MIB as u64,
        "{sent} bytes of {}",
        data.len()
    );
}

#[test]
fn errors_say_what_and_why() {
    let server = server();
    server.put("films", "a", b"x").unwrap();
    let fail = |key: &str, change: &dyn Fn(&gst::Element)| {
        let source = element("s3src", &server, key);
        change(&source);
        let (sink, _) = collector();
        let ended = play(&chain(&[&source, &sink]));
        (ended.error.as_ref().unwrap().0.clone(), ended.text())
    };
    let (error, text) = fail("missing", &|_| ());
    assert!(error.matches(gst::ResourceError::NotFound), "{text}");
    assert!(
        text.contains("NoSuchKey") && text.contains("s3://films/missing"),
        "{text}"
    );
    let (error, text) = fail("a", &|s| s.set_property("secret-access-key", "hidden-word"));
    assert!(error.matches(gst::ResourceError::NotAuthorized), "{text}");
    assert!(
        text.contains("SignatureDoesNotMatch") && !text.contains("hidden-word"),
        "{text}"
    );
    let (error, text) = fail("a", &|s| s.set_property("uri", "s3://FILMS/a"));
    assert!(error.matches(gst::ResourceError::Settings), "{text}");
    let (_, text) = fail("a", &|s| s.set_property("uri", None::<String>));
    assert!(text.contains("no object is named"), "{text}");
    let (_, text) = fail("a", &|s| s.set_property("endpoint-uri", "nonsense"));
    assert!(text.contains("endpoint-uri"), "{text}");
}

#[test]
fn an_error_on_the_way_has_its_code() {
    let server = server();
    server.put("films", "a", &bytes(40 * MIB, 1)).unwrap();
    let rule = Rule::new(Fault::access_denied()).op(Op::GetObject).skip(2);
    let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
    let source = element("s3src", &server, "a");
    reach(&source, &server, Some(&proxy));
    let (sink, _) = collector();
    let ended = play(&chain(&[&source, &sink]));
    assert!(
        ended.text().contains("AccessDenied") && ended.text().contains("HTTP 403"),
        "{}",
        ended.text()
    );
}

#[test]
fn stopping_does_not_wait_for_a_server_that_hangs() {
    let server = server();
    server.put("films", "a", &bytes(8 * MIB, 1)).unwrap();
    let rule = Rule::new(Fault::HangInResponse(At::Byte(1000))).op(Op::GetObject);
    let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
    let source = element("s3src", &server, "a");
    reach(&source, &server, Some(&proxy));
    let (sink, _) = collector();
    let pipeline = chain(&[&source, &sink]);
    pipeline.set_state(gst::State::Playing).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let begun = std::time::Instant::now();
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

/// Properties at their ends, in all combinations of a few: an error or the right bytes.
#[test]
fn no_settings_hang_or_panic() {
    let server = server();
    let data = bytes(3 * MIB + 17, 3);
    server.put("films", "a", &data).unwrap();
    for range in ["65536", "1073741824"] {
        for parallel in ["1", "256"] {
            for timeout in ["1", "4294967295"] {
                for blocksize in ["1000", "4294967295"] {
                    let source = element("s3src", &server, "a");
                    source.set_property_from_str("range-size", range);
                    source.set_property_from_str("parallel", parallel);
                    source.set_property_from_str("blocksize", blocksize);
                    for name in ["connect-timeout", "request-timeout", "stall-timeout"] {
                        source.set_property_from_str(name, timeout);
                    }
                    source.set_property("retry-attempts", 2u32);
                    let (sink, got) = collector();
                    let ended = play(&chain(&[&source, &sink]));
                    if ended.error.is_none() {
                        assert!(*got.lock().unwrap() == data);
                    } else {
                        let text = ended.text();
                        assert!(timeout == "1" || blocksize != "1000", "{text}");
                    }
                }
            }
        }
    }
}

#[test]
fn uris_and_stats() {
    let server = server();
    server.put("films", "a", &bytes(MIB, 1)).unwrap();
    common::init();
    let made = gst::Element::make_from_uri(gst::URIType::Src, "s3://films/a?versionId=7", None);
    let made = made.unwrap();
    assert_eq!(made.factory().unwrap().name(), "s3src");
    assert_eq!(
        made.property::<String>("location"),
        "s3://films/a?versionId=7"
    );
    assert!(gst::Element::make_from_uri(gst::URIType::Src, "s3://F/a", None).is_err());

    let source = gst::ElementFactory::make("s3src").build().unwrap();
    reach(&source, &server, None);
    source.set_property("uri-has-region", true);
    source.set_property("uri", "s3://eu-west-1/films/a");
    let (sink, _) = collector();
    let pipeline = chain(&[&source, &sink]);
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    bus.timed_pop_filtered(
        common::LIMIT,
        &[gst::MessageType::Eos, gst::MessageType::Error],
    )
    .unwrap();
    let stats = source.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("bytes-read").unwrap(), MIB as u64);
    assert!(stats.get::<u64>("latency-p50").unwrap() > 0);
    assert!(stats.get::<f64>("throughput").unwrap() > 0.0);
    pipeline.set_state(gst::State::Null).unwrap();
}

/// In a process of its own, so that its log, its dot file and its output can be looked at.
#[test]
fn secrets_reach_no_log_no_dump_and_no_error() {
    let server = server();
    server.put("films", "a", b"x").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    for wrong in [false, true] {
        let secret = if wrong {
            "wrong+hidden/word"
        } else {
            server.secret_key()
        };
        let output = Command::new(&program)
            .args(["--ignored", "--exact", "child_with_secrets", "--nocapture"])
            .env("RIG_ENDPOINT", server.endpoint())
            .env("RIG_KEY", server.access_key())
            .env("RIG_SECRET", secret)
            .env("GST_DEBUG", "s3*:9,GST_ELEMENT*:6,basesrc:6,basesink:6")
            .env("GST_DEBUG_FILE", folder.path().join("log"))
            .env("GST_DEBUG_DUMP_DOT_DIR", folder.path())
            .env("RUST_LOG", "trace")
            .output()
            .unwrap();
        let mut all = output.stdout;
        all.extend(output.stderr);
        let mut dots = 0;
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            dots += usize::from(path.extension().is_some_and(|e| e == "dot"));
            all.extend(std::fs::read(path).unwrap());
        }
        let all = String::from_utf8_lossy(&all);
        assert!(dots > 0 && all.contains("s3src"), "{all}");
        assert!(all.contains("endpoint-uri"), "the dump shows what is set");
        assert!(!all.contains(secret), "the secret shows");
        assert!(!all.contains("token-of-nobody"), "the token shows");
    }
}

#[test]
#[ignore = "is run by secrets_reach_no_log_no_dump_and_no_error, in a process of its own"]
fn child_with_secrets() {
    common::init();
    let get = |name: &str| std::env::var(name).unwrap();
    let source = gst::ElementFactory::make("s3src").build().unwrap();
    source.set_property("uri", "s3://films/a");
    source.set_property("endpoint-uri", get("RIG_ENDPOINT"));
    source.set_property("force-path-style", true);
    source.set_property("access-key", get("RIG_KEY"));
    source.set_property("secret-access-key", get("RIG_SECRET"));
    source.set_property("session-token", "token-of-nobody");
    let (sink, _) = collector();
    let pipeline = chain(&[&source, &sink]);
    let writing = gst::ElementFactory::make("s3sink").build().unwrap();
    for name in [
        "endpoint-uri",
        "secret-access-key",
        "access-key",
        "session-token",
    ] {
        let value = match name {
            "endpoint-uri" => get("RIG_ENDPOINT"),
            "access-key" => get("RIG_KEY"),
            "session-token" => "token-of-nobody".to_owned(),
            _ => get("RIG_SECRET"),
        };
        writing.set_property(name, value);
    }
    writing.set_property("uri", "s3://films/b");
    writing.set_property("force-path-style", true);
    let upload = chain(&[&common::source(b"few bytes"), &writing]);
    upload.debug_to_dot_file(gst::DebugGraphDetails::all(), "upload");
    println!("{:?} {:?}", play(&upload).error, writing);
    pipeline.debug_to_dot_file(gst::DebugGraphDetails::all(), "before");
    let ended = play(&pipeline);
    pipeline.debug_to_dot_file(gst::DebugGraphDetails::all(), "after");
    println!("{:?} {:?}", ended.error, source);
}
