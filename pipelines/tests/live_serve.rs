//! The HTTP server, asked as browsers, players, Prometheus and attackers would.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod live_support;

use gst_neural::live::serve::{Options, Server};
use gst_neural::live::status::Phase;
use live_support::{Fake, get, raw, request, rig, stream};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn the_page_and_its_parts_come_from_here_alone() {
    let rig = rig();
    let page = get(rig.at, "/");
    assert_eq!(page.code, 200);
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(page.header("access-control-allow-origin").is_empty());
    let text = page.text();
    assert!(
        !text.contains("http://") && !text.contains("https://"),
        "{text}"
    );
    assert!(
        !text.contains("<style") && !text.contains(" style="),
        "{text}"
    );
    assert!(!text.contains(" onclick="), "{text}");
    let mut parts = 0;
    for reference in text.split(['"']).filter(|p| p.starts_with("/assets/")) {
        let part = get(rig.at, reference);
        assert_eq!(part.code, 200, "{reference}");
        assert_eq!(part.header("x-content-type-options"), "nosniff");
        assert!(part.body.len() > 100, "{reference}");
        parts += 1;
    }
    assert!(parts >= 4);
    for script in text.split("<script").skip(1) {
        assert!(script.trim_start().starts_with("src="), "{script}");
    }
}

#[test]
fn hls_js_is_the_one_we_know() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/live/serve/assets");
    let note = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let wanted = note
        .split_whitespace()
        .find(|w| w.len() == 64 && w.bytes().all(|b| b.is_ascii_hexdigit()))
        .unwrap();
    let output = std::process::Command::new("sha256sum")
        .arg(folder.join("hls.min.js"))
        .output()
        .unwrap();
    let sum = String::from_utf8(output.stdout).unwrap();
    assert_eq!(sum.split(' ').next(), Some(wanted));
    assert!(
        std::fs::read_to_string(folder.join("hls.LICENSE"))
            .unwrap()
            .contains("Apache License")
    );
}

#[test]
fn health_says_what_is_wrong() {
    let rig = rig();
    let fine = get(rig.at, "/healthz");
    assert_eq!(
        (fine.code, fine.json()["status"].as_str()),
        (200, Some("ok"))
    );
    rig.server.problem("ingest", Some("nginx ended".into()));
    let bad = get(rig.at, "/healthz");
    assert_eq!(bad.code, 503);
    assert_eq!(bad.json()["problems"][0]["what"], "ingest");
    assert_eq!(bad.json()["problems"][0]["text"], "nginx ended");
    rig.server.problem("ingest", None);
    assert_eq!(get(rig.at, "/healthz").code, 200);
    // One failed stream beside one that works is a warning.
    let mut failed = stream("other", Phase::Failed);
    failed.error = Some("garbage".into());
    rig.fake.streams.lock().unwrap().push(failed);
    let half = get(rig.at, "/healthz");
    assert_eq!(half.code, 200);
    assert_eq!(half.json()["warnings"][0]["text"], "garbage");
    rig.fake.streams.lock().unwrap().remove(0);
    assert_eq!(get(rig.at, "/healthz").code, 503);
    rig.fake.streams.lock().unwrap().clear();
    assert_eq!(get(rig.at, "/healthz").code, 200);
    std::fs::remove_dir_all(rig.out.path()).unwrap();
    let gone = get(rig.at, "/healthz");
    assert_eq!(
        (gone.code, gone.json()["problems"][0]["what"].as_str()),
        (503, Some("output"))
    );
}

#[test]
fn metrics_and_streams_are_there() {
    let rig = rig();
    let metrics = get(rig.at, "/metrics");
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    for line in [
        "gst_neural_frames_out_total{stream=\"cam\"} 899",
        "gst_neural_fallback_frames_total{stream=\"cam\"} 4",
        "gst_neural_segments_total{stream=\"cam\",rendition=\"720p\"} 12",
        "gst_neural_phase{stream=\"cam\",phase=\"live\"} 1",
    ] {
        assert!(metrics.text().lines().any(|l| l == line), "{line}");
    }
    let answer = get(rig.at, "/api/streams");
    let streams = answer.json();
    assert_eq!(streams["base"], "/hls/");
    assert_eq!(streams["streams"][0]["playlist"], "cam/master.m3u8");
    assert_eq!(streams["streams"][0]["phase"], "live");
    assert!(streams["now_ms"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[test]
fn before_and_after_is_switched_by_our_page_only() {
    let rig = rig();
    let path = "/api/streams/cam/compare";
    let json = "Content-Type: application/json";
    let ours = "X-Requested-With: gst-neural";
    let on = "{\"on\":true}";
    let compare = || rig.fake.streams.lock().unwrap()[0].compare;
    let origin = format!("Origin: http://{}", rig.at);
    for (headers, code) in [
        (vec![json], 403),
        (vec![json, ours, "Origin: http://evil.example"], 403),
        (vec![json, ours, "Host: evil.example"], 421),
        (vec![ours], 415),
    ] {
        let answer = request(rig.at, "POST", path, &headers, on);
        assert_eq!(answer.code, code, "{headers:?}: {}", answer.text());
        assert!(!compare());
    }
    assert_eq!(
        request(rig.at, "POST", path, &[json, ours, &origin], on).code,
        200
    );
    assert!(compare());
    let named = [
        json,
        ours,
        "Host: tv.example:99",
        "Origin: https://tv.example:99",
    ];
    assert_eq!(
        request(rig.at, "POST", path, &named, "{\"on\":false}").code,
        200
    );
    assert!(!compare());
    assert_eq!(
        request(
            rig.at,
            "POST",
            "/api/streams/none/compare",
            &[json, ours],
            on
        )
        .code,
        404
    );
    assert_eq!(request(rig.at, "GET", path, &[ours], "").code, 405);
    let large = format!("{{\"on\":true,\"x\":\"{}\"}}", "x".repeat(9000));
    assert_eq!(
        request(rig.at, "POST", path, &[json, ours], &large).code,
        413
    );
}

#[test]
fn on_loopback_other_sites_get_nothing_to_read() {
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("a.m3u8"), "#EXTM3U\n").unwrap();
    let server = |names: &[&str]| {
        let options = Options {
            out: Some(out.path().to_owned()),
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            ..Options::default()
        };
        Server::start(options, Arc::new(Fake::default())).unwrap()
    };
    let ask = |server: &Server, path: &str, host: &str| {
        let host = format!("Host: {host}");
        let origin = "Origin: https://evil.example";
        request(server.address(), "GET", path, &[&host, origin], "")
    };
    let closed = server(&[]);
    for path in ["/", "/hls/a.m3u8", "/api/streams", "/metrics", "/healthz"] {
        // A name that somebody else has pointed here.
        let answer = ask(&closed, path, "evil.example:80");
        assert_eq!(answer.code, 421, "{path}");
        assert!(answer.text().contains("--host"), "{}", answer.text());
        let answer = ask(&closed, path, "localhost:80");
        assert_eq!(answer.code, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
        assert_eq!(
            answer.header("cross-origin-resource-policy"),
            "same-origin",
            "{path}"
        );
    }
    // Behind a web server that shows it to others.
    let open = server(&["tv.example"]);
    let media = ask(&open, "/hls/a.m3u8", "tv.example");
    assert_eq!(
        (media.code, media.header("access-control-allow-origin")),
        (200, "*")
    );
    assert_eq!(media.header("cross-origin-resource-policy"), "cross-origin");
    let streams = ask(&open, "/api/streams", "tv.example");
    assert_eq!(streams.header("access-control-allow-origin"), "");
    assert_eq!(ask(&open, "/hls/a.m3u8", "evil.example").code, 421);
}

#[test]
fn one_connection_is_one_request_at_a_time() {
    let rig = rig();
    // HTTP/2 would be any number of them: it is not spoken, on neither of the two ports.
    let inner = rig.server.control_url()["http://".len()..]
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    for at in [rig.at, inner] {
        let mut stream = TcpStream::connect(at).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .unwrap();
        let mut answer = Vec::new();
        // It is closed, be it with an error or in order.
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    // And of a head without end no more is held than a head needs.
    let mut stream = TcpStream::connect(rig.at).unwrap();
    let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(20_000));
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
}

#[test]
fn nginx_asks_with_the_token_and_nobody_else() {
    let fake = Arc::new(Fake {
        keys: gst_neural::live::ingest::Keys::single(
            "cam",
            gst_neural::live::ingest::StreamKey::new("secret-key-1").unwrap(),
        )
        .unwrap(),
        most: 1,
        ..Fake::default()
    });
    let server = Server::start(Options::default(), fake.clone()).unwrap();
    let url = server.control_url().to_owned();
    let (inner, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let inner: SocketAddr = inner.parse().unwrap();
    assert!(inner.ip().is_loopback());
    let form = "Content-Type: application/x-www-form-urlencoded";
    let call = |at, path: &str, body: &str| request(at, "POST", path, &[form], body);
    let good = "app=live&clientid=4&call=publish&name=secret-key-1&type=live";
    let publish = format!("/{path}/publish");
    // Not where the viewers are, and not without the token.
    assert_eq!(call(server.address(), &publish, good).code, 404);
    assert_eq!(call(inner, "/control/x/publish", good).code, 404);
    assert!(fake.said().is_empty());
    // A publisher that tries to be two.
    let twice = format!("{good}&clientid=9");
    assert_eq!(call(inner, &publish, &twice).code, 422);
    let begun = Instant::now();
    assert_eq!(
        call(inner, &publish, "clientid=4&call=publish&name=wrong").code,
        403
    );
    // Keys cannot be tried as fast as the machine is.
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let taken = call(inner, &publish, good);
    assert_eq!((taken.code, taken.header("location")), (302, "cam"));
    let second = good.replace("clientid=4", "clientid=5");
    assert_eq!(call(inner, &publish, &second).code, 409);
    let update = format!("/{path}/update");
    let heard = "clientid=4&call=update_publish&name=secret-key-1";
    assert_eq!(call(inner, &update, heard).code, 204);
    assert_eq!(
        call(inner, &update, "clientid=77&call=update_publish").code,
        403
    );
    assert_eq!(
        call(inner, &update, "clientid=78&call=update_play&name=cam").code,
        204
    );
    assert!(server.kick("cam"));
    assert_eq!(call(inner, &update, heard).code, 403);
    let done = "clientid=4&call=publish_done&name=secret-key-1";
    assert_eq!(call(inner, &format!("/{path}/unpublished"), done).code, 204);
    assert_eq!(call(inner, &format!("/{path}/unpublished"), done).code, 204);
    let said = fake.said();
    assert_eq!(
        said.iter().filter(|s| *s == "unpublished cam").count(),
        1,
        "{said:?}"
    );
}

#[test]
fn hostile_requests_get_an_answer_or_none_and_others_go_on() {
    let rig = rig();
    for bad in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/streams/cam/compare HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ] {
        assert!(raw(rig.at, bad).code >= 400);
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(700_000));
    let mut stream = TcpStream::connect(rig.at).unwrap();
    // The server may close before it has read all of it.
    let _ = stream.write_all(long.as_bytes());
    // Many that say nothing.
    let silent: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(rig.at).unwrap())
        .collect();
    assert_eq!(get(rig.at, "/healthz").code, 200);
    drop(silent);
}

#[test]
fn stopping_ends_requests_that_wait() {
    let rig = rig();
    let path = "cam/720p/index.m3u8";
    rig.write(path, b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n");
    let _moves = rig.moves(path, (1, 0));
    let at = rig.at;
    let waits = std::thread::spawn(move || get(at, &format!("/hls/{path}?_HLS_msn=1")));
    // An idle connection must not hold the server either.
    let mut idle = TcpStream::connect(at).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    rig.server.stop();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(waits.join().unwrap().code, 503);
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest);
    assert!(TcpStream::connect(at).is_err());
}

#[test]
fn what_cannot_be_served_is_said_at_the_start() {
    let fake = Arc::new(Fake::default());
    let start = |options| {
        Server::start(options, fake.clone())
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let missing = start(Options {
        out: Some("/nowhere/at/all".into()),
        ..Options::default()
    });
    assert!(missing.contains("/nowhere/at/all"), "{missing}");
    let base = start(Options {
        playlist_base: Some("cdn.example".into()),
        ..Options::default()
    });
    assert!(base.contains("cdn.example"), "{base}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let taken = start(Options {
        port,
        ..Options::default()
    });
    assert!(taken.contains("another program"), "{taken}");
}

#[test]
fn too_many_connections_wait_and_nginx_is_heard_all_the_same() {
    let rig = rig();
    let mut silent: Vec<TcpStream> = (0..256)
        .map(|_| TcpStream::connect(rig.at).unwrap())
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let at = rig.at;
    let waits = std::thread::spawn(move || get(at, "/healthz").code);
    std::thread::sleep(Duration::from_secs(1));
    assert!(!waits.is_finished());
    let url = rig.server.control_url().to_owned();
    let (inner, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let answer = request(
        inner.parse().unwrap(),
        "POST",
        &format!("/{path}/publish"),
        &["Content-Type: application/x-www-form-urlencoded"],
        "clientid=1&call=publish&name=whoever",
    );
    assert_eq!(answer.code, 403);
    silent.pop();
    assert_eq!(waits.join().unwrap(), 200);
}

/// What is in the page once its script has run.
fn dom(url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let out = std::process::Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            "--virtual-time-budget=4000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .output()
        .expect("chromium is installed: apt install chromium");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let complaint = said.lines().find(|l| l.contains("CONSOLE"));
    assert_eq!(complaint, None);
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_page_says_in_words_what_is_going_on() {
    let rig = rig();
    rig.fake.streams.lock().unwrap().clear();
    assert!(dom(&rig.server.url()).contains("Waiting for the first publisher"));
    *rig.fake.streams.lock().unwrap() = vec![stream("cam", Phase::Waiting)];
    let page = dom(&rig.server.url());
    assert!(page.contains("Waiting for the publisher"), "{page}");
    assert!(
        page.contains("luma-x2-fast") && page.contains("640×360"),
        "{page}"
    );
    // What comes from outside stays text.
    let mut failed = stream("cam", Phase::Failed);
    failed.error = Some("<img src=x onerror=document.title='owned'><script>1</script>".into());
    failed.model = "<b>bold</b>".into();
    *rig.fake.streams.lock().unwrap() = vec![failed];
    let page = dom(&rig.server.url());
    assert!(page.contains("The stream has failed"), "{page}");
    assert!(
        page.contains("&lt;img src=x") && page.contains("&lt;b&gt;bold"),
        "{page}"
    );
    assert!(!page.contains("<title>owned"), "{page}");
}

/// For looking at the page by hand: serves `GST_NEURAL_SERVE_DIR` for ten minutes. `cam` is a stream
/// there, with `cam/master.m3u8`.
#[test]
#[ignore = "for a person"]
fn serve_a_folder() {
    let folder = std::env::var_os("GST_NEURAL_SERVE_DIR").unwrap();
    let fake = Arc::new(Fake {
        streams: vec![
            stream("cam", Phase::Live),
            stream("away", Phase::Waiting),
            gst_neural::live::status::Stream {
                error: Some("the publisher sends 1920x1080, which is more than --max-size".into()),
                ..stream("broken", Phase::Failed)
            },
        ]
        .into(),
        ..Fake::default()
    });
    let options = Options {
        out: Some(folder.into()),
        ..Options::default()
    };
    let server = Server::start(options, fake).unwrap();
    println!("{}", server.url());
    std::thread::sleep(Duration::from_secs(600));
}
