//! A stand-in for the program behind the servers, the HTTP server on it, and plain HTTP.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use gst_neural::live::ingest::Keys;
use gst_neural::live::serve::{Options, Server};
use gst_neural::live::status::{Control, Phase, Refusal, Rendition, Stream};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Takes publishers by their keys and notes what happens.
#[derive(Debug, Default)]
pub struct Fake {
    pub keys: Keys,
    pub most: usize,
    pub live: Mutex<Vec<String>>,
    pub said: Mutex<Vec<String>>,
    pub streams: Mutex<Vec<Stream>>,
    pub reached: Mutex<HashMap<String, watch::Receiver<(u64, u32)>>>,
}

impl Fake {
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

impl Control for Fake {
    fn publish(&self, key: &str) -> Result<String, Refusal> {
        let mut live = self.live.lock().unwrap();
        let result = match self.keys.name_of(key) {
            None => Err(Refusal::Key),
            Some(name) if live.iter().any(|l| l == name) => Err(Refusal::Busy),
            Some(_) if live.len() >= self.most => Err(Refusal::Full),
            Some(name) => {
                live.push(name.to_owned());
                Ok(name.to_owned())
            }
        };
        self.said
            .lock()
            .unwrap()
            .push(format!("publish {result:?}"));
        result
    }

    fn unpublished(&self, name: &str) {
        self.live.lock().unwrap().retain(|l| l != name);
        self.said
            .lock()
            .unwrap()
            .push(format!("unpublished {name}"));
    }

    fn streams(&self) -> Vec<Stream> {
        self.streams.lock().unwrap().clone()
    }

    fn compare(&self, name: &str, on: bool) -> bool {
        let mut streams = self.streams.lock().unwrap();
        let stream = streams.iter_mut().find(|s| s.name == name);
        stream.map(|s| s.compare = on).is_some()
    }

    fn reached(&self, path: &str) -> Option<watch::Receiver<(u64, u32)>> {
        self.reached.lock().unwrap().get(path).cloned()
    }
}

/// A stream as it may be.
pub fn stream(name: &str, phase: Phase) -> Stream {
    Stream {
        name: name.into(),
        phase,
        playlist: format!("{name}/master.m3u8"),
        width: 640,
        height: 360,
        fps: 29.97,
        model: "luma-x2-fast".into(),
        renditions: vec![Rendition {
            name: "720p".into(),
            width: 1280,
            height: 720,
            segments: 12,
            bytes: 3_456_789,
            ..Rendition::default()
        }],
        frames_in: 900,
        frames_out: 899,
        fallback_frames: 4,
        dropped_frames: 1,
        inference_p95_s: 0.0123,
        delay_s: 2.4,
        latency_s: 0.2,
        audio: true,
        ..Stream::default()
    }
}

/// A server with a folder of its own, and one live stream.
pub struct Rig {
    pub server: Server,
    pub fake: Arc<Fake>,
    pub out: tempfile::TempDir,
    pub at: SocketAddr,
}

pub fn rig() -> Rig {
    let out = tempfile::tempdir().unwrap();
    let fake = Arc::new(Fake {
        streams: vec![stream("cam", Phase::Live)].into(),
        ..Fake::default()
    });
    let options = Options {
        out: Some(out.path().to_owned()),
        names: vec!["tv.example".into()],
        ..Options::default()
    };
    let server = Server::start(options, fake.clone()).unwrap();
    Rig {
        at: server.address(),
        server,
        fake,
        out,
    }
}

impl Rig {
    pub fn write(&self, path: &str, content: &[u8]) {
        let place = self.out.path().join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        // As the writer of playlists does it: never half a file under its name.
        let part = place.with_extension("part");
        std::fs::write(&part, content).unwrap();
        std::fs::rename(part, place).unwrap();
    }

    pub fn moves(&self, path: &str, from: (u64, u32)) -> watch::Sender<(u64, u32)> {
        let (sender, receiver) = watch::channel(from);
        self.fake
            .reached
            .lock()
            .unwrap()
            .insert(path.into(), receiver);
        sender
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Sends a request as it is, and reads until the server closes.
pub fn raw(at: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(at).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(request).unwrap();
    let mut all = Vec::new();
    // A server that refuses a large body may close before it has read it.
    let _ = stream.read_to_end(&mut all);
    parse(&all)
}

fn parse(all: &[u8]) -> Answer {
    let end = all
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(all)));
    let head = std::str::from_utf8(&all[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let code = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines
        .filter_map(|l| l.split_once(": "))
        .map(|(n, v)| (n.to_lowercase(), v.to_owned()))
        .collect();
    Answer {
        code,
        headers,
        body: all[end + 4..].to_vec(),
    }
}

/// A request with some headers.
pub fn request(at: SocketAddr, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|h| h.starts_with("Host:")) {
        text += &format!("Host: {at}\r\n");
    }
    for header in headers {
        text += &format!("{header}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    raw(at, text.as_bytes())
}

pub fn get(at: SocketAddr, path: &str) -> Answer {
    request(at, "GET", path, &[], "")
}

/// Asks until it is so, at most for this long.
pub fn until(what: &str, limit: Duration, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
