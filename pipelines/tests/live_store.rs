//! Live presentations in S3, on a real server and behind a proxy that misbehaves.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use gst_neural::live::hls::options::{Kind, Options, QueueLimits, RenditionSpec};
use gst_neural::live::hls::publisher::{Publisher, Segment};
use gst_neural::live::hls::store::{S3, Store};
use gstneural_s3::{Connection, Credentials, Secret};
use gstneural_s3_rig::{Fault, FaultProxy, Op, Plan, Rule, Server};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const BUCKET: &str = "streams";

fn server() -> Server {
    let server = Server::start().unwrap();
    server.create_bucket(BUCKET).unwrap();
    server
}

fn store(server: &Server, endpoint: String) -> Box<dyn Store> {
    let connection = Connection {
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
    };
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
