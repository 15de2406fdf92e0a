//! Live presentations in S3, on a real server and behind a proxy that misbehaves; and in a folder,
//! of real segments, looked at by a strict checker that is a program of its own.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use gst::prelude::*;
use gst_neural::live::hls::options::{Container, Kind, Options, QueueLimits, RenditionSpec};
use gst_neural::live::hls::publisher::{Part, Publisher, Segment};
use gst_neural::live::hls::store::{Folder, S3, Store};
use gst_neural::live::hls::ts::{Splitter, TsSegment, clock};
use gstneural_s3::{Connection, Credentials, ObjectReader, ReadOptions, S3Uri, Secret, runtime};
use gstneural_s3_rig::{Fault, FaultProxy, Op, Plan, Rule, Server};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

const BUCKET: &str = "streams";

fn server() -> Server {
    let server = Server::start().unwrap();
    server.create_bucket(BUCKET).unwrap();
    server
}

fn connection(server: &Server, endpoint: String) -> Connection {
    Connection {
        credentials: Credentials::Keys {
            access_key: server.access_key().to_owned(),
            secret_key: Secret::new(server.secret_key()),
            session_token: None,
        },
        region: Some("us-east-1".into()),
        endpoint: Some(endpoint),
        path_style: true,
        request_timeout: Duration::from_secs(2),
        attempts: 3,
        ..Connection::default()
    }
}

fn store(server: &Server, endpoint: String) -> Box<dyn Store> {
    let connection = connection(server, endpoint);
    Box::new(S3::new(&format!("s3://{BUCKET}/live"), connection).unwrap())
}

fn start(server: &Server, endpoint: String) -> Arc<Publisher> {
    let queue = QueueLimits {
        finish: Duration::from_secs(20),
        ..QueueLimits::default()
    };
    let options = Options {
        queue,
        ..Options::default()
    };
    let publisher = Publisher::new(store(server, endpoint), "show", options).unwrap();
    publisher
        .begin(&[RenditionSpec {
            name: "720p".into(),
            kind: Kind::Video {
                width: 1280,
                height: 720,
                frame_rate: (30, 1),
                with_audio: true,
            },
            codecs: vec!["avc1.64001f".into(), "mp4a.40.2".into()],
            max_bitrate_bps: 3_000_000,
        }])
        .unwrap();
    publisher
}

fn segment(n: u64) -> Segment {
    Segment {
        bytes: Bytes::from(vec![n as u8; 20_000]),
        duration: Duration::from_secs(2),
        begins: SystemTime::now() + Duration::from_secs(2 * n),
    }
}

fn text(server: &Server, key: &str) -> String {
    let bytes = server.get(BUCKET, key).unwrap();
    String::from_utf8(bytes.unwrap_or_default()).unwrap()
}

#[test]
fn a_presentation_is_complete_in_s3() {
    let server = server();
    let proxy = FaultProxy::start(server.addr(), Plan::default()).unwrap();
    let publisher = start(&server, proxy.endpoint());
    for n in 0..30 {
        publisher.segment("720p", segment(n)).unwrap();
    }
    publisher.finish().unwrap();
    let list = text(&server, "live/show/720p/index.m3u8");
    assert!(list.contains("#EXT-X-MEDIA-SEQUENCE:24\n"), "{list}");
    let keys: Vec<String> = server
        .objects(BUCKET)
        .unwrap()
        .into_iter()
        .map(|o| o.key)
        .collect();
    for uri in list.lines().filter(|l| !l.starts_with('#')) {
        assert!(
            keys.contains(&format!("live/show/720p/{uri}")),
            "{uri} of {keys:?}"
        );
    }
    assert!(
        keys.iter().filter(|k| k.ends_with(".ts")).count() <= 14,
        "{keys:?}"
    );
    assert!(text(&server, "live/show/master.m3u8").contains("\n720p/index.m3u8\n"));
    assert!(server.pending_uploads().unwrap().is_empty());
    let segment = keys.iter().find(|k| k.ends_with(".ts")).unwrap();
    for (key, expected) in [
        ("live/show/master.m3u8", "application/vnd.apple.mpegurl"),
        (segment.as_str(), "video/mp2t"),
    ] {
        let uri = S3Uri::from_parts(BUCKET, key).unwrap();
        let connection = connection(&server, server.endpoint());
        let options = ReadOptions::default();
        let open = ObjectReader::open(&connection, &uri, &options);
        let reader = runtime::handle().unwrap().block_on(open).unwrap();
        assert_eq!(
            reader.info().content_type.as_deref(),
            Some(expected),
            "{key}"
        );
    }
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    let server = server();
    let plan = Plan::default()
        .rule(Rule::new(Fault::slow_down()).op(Op::PutObject).times(2))
        .rule(
            Rule::new(Fault::internal_error())
                .op(Op::PutObject)
                .skip(5)
                .times(1),
        );
    let proxy = FaultProxy::start(server.addr(), plan).unwrap();
    let publisher = start(&server, proxy.endpoint());
    for n in 0..4 {
        publisher.segment("720p", segment(n)).unwrap();
    }
    publisher.finish().unwrap();
    let list = text(&server, "live/show/720p/index.m3u8");
    assert_eq!(list.matches("#EXTINF").count(), 4);
    assert!(!list.contains("#EXT-X-GAP"), "{list}");
}

#[test]
fn a_server_that_refuses_is_an_error_that_names_the_key() {
    let server = server();
    let plan = Plan::default().rule(
        Rule::new(Fault::access_denied())
            .op(Op::PutObject)
            .key("-000001.ts"),
    );
    let proxy = FaultProxy::start(server.addr(), plan).unwrap();
    let publisher = start(&server, proxy.endpoint());
    let mut said = Vec::new();
    for n in 0..4 {
        said.extend(publisher.segment("720p", segment(n)).err());
    }
    said.extend(publisher.finish().err());
    assert_eq!(said.len(), 1, "{said:?}");
    let what = &said[0].what;
    assert!(
        what.contains("s3://streams/live/show/720p/") && what.contains("-000001.ts"),
        "{what}"
    );
    let list = text(&server, "live/show/720p/index.m3u8");
    assert_eq!(list.matches("#EXT-X-GAP\n").count(), 1, "{list}");
}

#[test]
fn a_server_that_hangs_is_left_in_time() {
    let server = server();
    let plan = Plan::default().latency_ms(60_000);
    let proxy = FaultProxy::start(server.addr(), plan).unwrap();
    let publisher = start(&server, proxy.endpoint());
    publisher.segment("720p", segment(0)).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    drop(publisher);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

/// Twelve seconds of picture at 30 fps with a keyframe every two, and sound, in segments.
fn segments(width: u32, height: u32) -> Vec<TsSegment> {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc num-buffers=360 pattern=ball ! video/x-raw,format=I420,width={width},height={height},\
         framerate=30/1 ! x264enc key-int-max=60 bframes=0 speed-preset=ultrafast bitrate=300 \
         ! h264parse config-interval=-1 ! queue ! mux. \
         audiotestsrc num-buffers=563 samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=2 \
         ! avenc_aac ! aacparse ! queue ! mux. mpegtsmux name=mux ! appsink name=sink sync=false"
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut splitter = Splitter::new(8 << 20, |_| true);
    let mut all = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        splitter.push(&map, &mut all).unwrap();
    }
    pipeline.set_state(gst::State::Null).unwrap();
    all.extend(splitter.finish());
    all
}

fn picture(name: &str, width: u32, height: u32, codecs: &[&str]) -> RenditionSpec {
    RenditionSpec {
        name: name.into(),
        kind: Kind::Video {
            width,
            height,
            frame_rate: (30, 1),
            with_audio: codecs.len() > 1,
        },
        codecs: codecs.iter().map(|c| (*c).to_owned()).collect(),
        max_bitrate_bps: 500_000,
    }
}

/// Keeps the playlists as they are whenever a segment can be fetched.
fn remember(publisher: &Publisher, stream: &Path, history: &Path) {
    let (stream, history) = (stream.to_owned(), history.to_owned());
    let count = AtomicUsize::new(0);
    publisher.on_published(move |_| {
        let moment = count.fetch_add(1, Ordering::SeqCst);
        for folder in std::fs::read_dir(&stream)
            .unwrap()
            .map(|e| e.unwrap().path())
        {
            let list = folder.join("index.m3u8");
            if list.is_file() {
                let kept = history
                    .join(format!("{moment:04}"))
                    .join(folder.file_name().unwrap());
                std::fs::create_dir_all(&kept).unwrap();
                std::fs::copy(list, kept.join("index.m3u8")).unwrap();
            }
        }
    });
}

fn passes_the_checker(stream: &Path, history: &Path) {
    let mut command = Command::new("python3");
    command
        .args(["-B", "-m", "support.hls_rules"])
        .arg(stream.join("master.m3u8"));
    command
        .arg("--history")
        .arg(history)
        .current_dir(common::root().join("tests"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", common::text(&output));
}

#[test]
fn transport_streams_of_two_runs_pass_the_checker() {
    let dir = tempfile::tempdir().unwrap();
    let (out, history) = (dir.path().join("out"), dir.path().join("history"));
    let store = Box::new(Folder::new(&out).unwrap());
    let publisher = Publisher::new(store, "show", Options::default()).unwrap();
    remember(&publisher, &out.join("show"), &history);
    let renditions = [("hi", segments(640, 360)), ("lo", segments(320, 180))];
    let mut begins = SystemTime::now();
    for run in 0..3 {
        let sound = "mp4a.40.2";
        publisher
            .begin(&[
                picture("hi", 640, 360, &["avc1.42c01e", sound]),
                picture("lo", 320, 180, &["avc1.42c00d", sound]),
            ])
            .unwrap();
        for n in 0..renditions[0].1.len() {
            for (name, segments) in &renditions {
                let segment = &segments[n];
                // The last segment of the second run is lost in one of them.
                if run == 1 && n == 5 && *name == "lo" {
                    continue;
                }
                let since = clock::duration(segments[0].first_pts, segment.first_pts);
                let segment = Segment {
                    bytes: segment.bytes.clone(),
                    duration: segment.duration,
                    begins: begins + since,
                };
                publisher.segment(name, segment).unwrap();
            }
        }
        begins += Duration::from_secs(60);
    }
    publisher.finish().unwrap();
    passes_the_checker(&out.join("show"), &history);
}

#[test]
fn low_latency_parts_pass_the_checker() {
    let dir = tempfile::tempdir().unwrap();
    let (out, history, made) = (
        dir.path().join("out"),
        dir.path().join("h"),
        dir.path().join("m"),
    );
    std::fs::create_dir_all(&made).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=320x180:r=30:d=20",
        "-c:v",
    ]);
    command.args([
        "libx264",
        "-preset",
        "ultrafast",
        "-bf",
        "0",
        "-g",
        "60",
        "-f",
        "hls",
    ]);
    command.args([
        "-pix_fmt",
        "yuv420p",
        "-hls_time",
        "0.5",
        "-hls_flags",
        "split_by_time",
    ]);
    command.args(["-hls_segment_type", "fmp4", "-hls_list_size", "0", "x.m3u8"]);
    assert!(command.current_dir(&made).status().unwrap().success());

    let options = Options {
        container: Container::Cmaf,
        part: Some(Duration::from_millis(500)),
        ..Options::default()
    };
    let store = Box::new(Folder::new(&out).unwrap());
    let publisher = Publisher::new(store, "show", options).unwrap();
    remember(&publisher, &out.join("show"), &history);
    publisher
        .begin(&[picture("v", 320, 180, &["avc1.42c00d"])])
        .unwrap();
    publisher
        .init("v", std::fs::read(made.join("init.mp4")).unwrap().into())
        .unwrap();
    let start = SystemTime::now();
    for n in 0..10 {
        let begins = start + Duration::from_secs(2 * n);
        let mut all = Vec::new();
        for index in 0..4 {
            let bytes = std::fs::read(made.join(format!("x{}.m4s", 4 * n + index))).unwrap();
            all.extend_from_slice(&bytes);
            let part = Part {
                bytes: bytes.into(),
                duration: Duration::from_millis(500),
                independent: index == 0,
                begins,
            };
            publisher.part("v", part).unwrap();
        }
        let (bytes, duration) = (all.into(), Duration::from_secs(2));
        publisher
            .segment(
                "v",
                Segment {
                    bytes,
                    duration,
                    begins,
                },
            )
            .unwrap();
    }
    publisher.finish().unwrap();
    passes_the_checker(&out.join("show"), &history);
}
