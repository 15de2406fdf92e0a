//! Input over HTTP, and objects in S3 on either side, from real servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use gstneural_s3_rig::Server;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Serves one file over HTTP/1.1, with ranges if told so, until the test ends.
struct Http {
    address: String,
}

impl Http {
    fn serve(file: &Path, with_ranges: bool) -> Self {
        let bytes = Arc::new(std::fs::read(file).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let bytes = Arc::clone(&bytes);
                std::thread::spawn(move || answer(stream, &bytes, with_ranges));
            }
        });
        Self { address }
    }
}

fn answer(mut stream: TcpStream, bytes: &[u8], with_ranges: bool) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else {
        return;
    };
    let mut from = None;
    for line in lines.map_while(Result::ok).take_while(|l| !l.is_empty()) {
        let line = line.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range
                .split('-')
                .next()
                .and_then(|n| n.parse::<usize>().ok());
        }
    }
    let (head, body) = match from {
        _ if !request.contains("/clip") => ("404 Not Found\r\n".to_string(), &b""[..]),
        Some(from) if with_ranges && from < bytes.len() => {
            let (last, all) = (bytes.len() - 1, bytes.len());
            let head =
                format!("206 Partial Content\r\nContent-Range: bytes {from}-{last}/{all}\r\n");
            (head, &bytes[from..])
        }
        _ => ("200 OK\r\n".to_string(), bytes),
    };
    let accepts = if with_ranges {
        "Accept-Ranges: bytes\r\n"
    } else {
        ""
    };
    let head = format!(
        "HTTP/1.1 {head}{accepts}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    if !request.starts_with("HEAD") {
        let _ = stream.write_all(body);
    }
}

#[test]
fn input_over_http_is_that_of_the_file() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let clip = clips.join("stream_of_water_360p.mp4");
    let out = dir.path().join("out.mp4");
    for with_ranges in [true, false] {
        let server = Http::serve(&clip, with_ranges);
        let url = format!("{}/clip.mp4", server.address);
        expect(upscale(Path::new(&url), &out).arg("--force"), 0);
        assert_eq!(frames(&out), frames(&clip), "ranges: {with_ranges}");
        assert_eq!(packets(&out, "a:0"), {
            let mut all = packets(&clip, "a:0");
            all.truncate(packets(&out, "a:0").len());
            all
        });
        if with_ranges {
            let part = ["--force", "--start", "1.6", "--duration", "0.5"];
            expect(upscale(Path::new(&url), &out).args(part), 0);
            assert_eq!(frames(&out), 15);
        }
    }
    let server = Http::serve(&clip, true);
    let url = format!("{}/none.mp4", server.address);
    let said = expect(&mut upscale(Path::new(&url), &dir.path().join("no.mp4")), 1);
    assert!(
        said.contains("/none.mp4") && said.contains("no such file"),
        "{said}"
    );
    only(dir.path(), &["out.mp4"]);
}

/// A server with the buckets `clips` and `made`, and a command that knows its keys.
struct Store {
    server: Server,
    dir: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let server = Server::start().unwrap();
        server.create_bucket("clips").unwrap();
        server.create_bucket("made").unwrap();
        Self {
            server,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn upscale(&self, input: &str, output: &str) -> Command {
        let mut command = upscale(Path::new(input), Path::new(output));
        self.known_to(&mut command);
        command
    }

    fn known_to(&self, command: &mut Command) {
        command
            .env("AWS_ENDPOINT_URL", self.server.endpoint())
            .env("AWS_ACCESS_KEY_ID", self.server.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.server.secret_key())
            .env("AWS_REGION", "us-east-1");
    }

    fn put(&self, key: &str, file: &Path) -> String {
        let bytes = std::fs::read(file).unwrap();
        self.server.put("clips", key, &bytes).unwrap();
        format!("s3://clips/{key}")
    }

    /// The object as a file that FFmpeg can look at.
    fn fetch(&self, key: &str) -> std::path::PathBuf {
        let bytes = self.server.get("made", key).unwrap().expect("the object");
        let path = self.dir.path().join(key.replace('/', "_"));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn keys(&self) -> Vec<String> {
        assert_eq!(self.server.pending_uploads().unwrap().len(), 0);
        let mut keys: Vec<String> = self
            .server
            .objects("made")
            .unwrap()
            .into_iter()
            .map(|o| o.key)
            .collect();
        keys.sort();
        keys
    }
}

#[test]
fn objects_on_either_side() {
    let Some(clips) = clips() else { return };
    let store = Store::new();
    let clip = clips.join("stream_of_water_360p.mp4");
    let input = store.put("clips/water.mp4", &clip);
    let local = store.dir.path().join("local.mp4");
    expect(&mut store.upscale(&input, local.to_str().unwrap()), 0);
    check(&clip, &local);
    for to in ["mp4", "mov", "mkv", "ts"] {
        let key = format!("results/water.{to}");
        let output = store
            .upscale(&input, &format!("s3://made/{key}"))
            .arg("--json")
            .output()
            .unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{to}: {said}");
        let result = store.fetch(&key);
        check(&clip, &result);
        let bytes = std::fs::metadata(&result).unwrap().len();
        let done: serde_json::Value = serde_json::from_str(
            String::from_utf8(output.stdout)
                .unwrap()
                .lines()
                .last()
                .unwrap(),
        )
        .unwrap();
        assert_eq!(done["bytes"], bytes, "{to}");
    }
    // What has been sought to is read from there.
    let part = ["--start", "1.6", "--duration", "0.5"];
    expect(store.upscale(&input, "s3://made/part.mp4").args(part), 0);
    assert_eq!(frames(&store.fetch("part.mp4")), 15);
}

#[test]
fn the_codec_reads_and_writes_objects() {
    let Some(clips) = clips() else { return };
    let store = Store::new();
    let clip = clips.join("carphone_qcif.mp4");
    let input = store.put("a.mp4", &clip);
    for [work, from, to] in [
        ["encode", input.as_str(), "s3://made/coded.mkv"],
        ["decode", "s3://made/coded.mkv", "s3://made/back.mkv"],
    ] {
        let mut command = Command::new(EXE);
        command
            .args([work, from, to, "--quiet"])
            .stdin(Stdio::null());
        store.known_to(&mut command);
        expect(&mut command, 0);
    }
    assert_eq!(frames(&store.fetch("back.mkv")), frames(&clip));
    assert_eq!(times(&store.fetch("coded.mkv")).len(), frames(&clip));
    assert_eq!(store.keys(), ["back.mkv", "coded.mkv"]);
}

fn check(clip: &Path, result: &Path) {
    let what = result.display();
    assert_eq!(frames(result), frames(clip), "{what}");
    let (w, h) = size(clip);
    assert_eq!(size(result), (2 * w, 2 * h), "{what}");
    assert!(packets(result, "a:0").len() > 100, "{what}: sound");
}

#[test]
fn an_object_is_not_overwritten_unasked() {
    let Some(clips) = clips() else { return };
    let store = Store::new();
    let input = store.put("a.mp4", &clips.join("carphone_qcif.mp4"));
    store.server.put("made", "a.mp4", b"precious").unwrap();
    let part = ["--duration", "0.2"];
    let said = expect(store.upscale(&input, "s3://made/a.mp4").args(part), 1);
    assert!(
        said.contains("exists") && said.contains("--force"),
        "{said}"
    );
    assert_eq!(
        store.server.get("made", "a.mp4").unwrap().unwrap(),
        b"precious"
    );
    expect(
        store
            .upscale(&input, "s3://made/a.mp4")
            .args(part)
            .arg("--force"),
        0,
    );
    assert_eq!(frames(&store.fetch("a.mp4")), 6);
    assert_eq!(store.keys(), ["a.mp4"]);
}

#[test]
fn what_fails_leaves_no_object() {
    let Some(clips) = clips() else { return };
    let store = Store::new();
    let clip = clips.join("carphone_qcif.mp4");
    let input = store.put("a.mp4", &clip);
    for (from, to, code) in [
        ("s3://clips/none.mp4", "s3://made/x.mp4", 1),
        ("s3://none/a.mp4", "s3://made/x.mp4", 1),
        (input.as_str(), input.as_str(), 2),
        (input.as_str(), "s3://made/x.avi", 2),
        (input.as_str(), "https://host/x.mp4", 2),
    ] {
        let said = expect(&mut store.upscale(from, to), code);
        let errors = said.lines().filter(|l| l.starts_with("gst-neural:"));
        assert_eq!(errors.count(), 1, "{from} {to}: {said}");
    }
    assert!(store.keys().is_empty(), "{:?}", store.keys());
    // Thrown away by a second Ctrl-C, unless that comes when all is done, which a busy machine can
    // make happen: then the object is whole.
    let gopro = store.put("long.mp4", &clips.join("gopro_max_480p.mp4"));
    let thrown_away = (0..3).any(|n| {
        let key = format!("long{n}.mkv");
        interrupt_twice(store.upscale(&gopro, &format!("s3://made/{key}")));
        let left = store.keys();
        match left.iter().position(|k| *k == key) {
            None => true,
            Some(_) => {
                assert!(frames(&store.fetch(&key)) > 0, "{left:?}");
                false
            }
        }
    });
    assert!(thrown_away, "{:?}", store.keys());
}

/// Runs a command and presses Ctrl-C when it is at work and again when it stops.
fn interrupt_twice(mut command: Command) {
    let command = command.arg("--json").stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for wanted in ["\"progress\"", "stopping"] {
        assert!(
            lines
                .by_ref()
                .map_while(Result::ok)
                .any(|l| l.contains(wanted))
        );
        let id = child.id().to_string();
        // It may have ended already.
        Command::new("kill").args(["-INT", &id]).status().unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_turned_picture_is_turned_where_no_tag_can_be_written() {
    let Some(clips) = clips() else { return };
    let store = Store::new();
    let turned = store.dir.path().join("turned.mp4");
    ffmpeg(&[
        "-i",
        clips.join("carphone_qcif.mp4").to_str().unwrap(),
        "-c",
        "copy",
        "-metadata:s:v",
        "rotate=90",
        turned.to_str().unwrap(),
    ]);
    let part = ["--duration", "0.3"];
    let said = expect(
        store
            .upscale(turned.to_str().unwrap(), "s3://made/t.mp4")
            .args(part),
        0,
    );
    assert!(said.contains("the pixels are turned"), "{said}");
    assert_eq!(size(&store.fetch("t.mp4")), (288, 352));
}

#[test]
fn objects_are_compared_and_measured() {
    let Some(clips) = clips() else { return };
    let store = Store::new();
    let clip = store.put("a.mp4", &clips.join("carphone_qcif.mp4"));
    let mut command = Command::new(EXE);
    store.known_to(&mut command);
    let said = expect(
        command.args(["compare", &clip, &clip, "--metrics", "psnr"]),
        0,
    );
    assert!(said.contains("120 identical"), "{said}");
    let said = expect(
        store.upscale(&clip, "s3://made/m.mp4").args([
            "--size",
            "176x144",
            "--metrics",
            "psnr",
            "--measure-encoded",
            "--measure",
            &clip,
        ]),
        0,
    );
    assert!(
        said.contains("upscaled") && said.contains("encoded"),
        "{said}"
    );
}
