//! The proxy in front of a real server: each fault looks as it should, and nothing else does.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

mod common;

use std::io;
use std::time::{Duration, Instant};

use common::{Client, Reply, ask, bytes, tag};
use gstneural_s3_rig::{At, Fault, FaultProxy, Op, Plan, Rule, Server};

struct Rig {
    // First no client, then no proxy, then no server.
    proxy: FaultProxy,
    server: Server,
    content: Vec<u8>,
}

/// A server with an object of 300,000 bytes at `/box/k`, behind a proxy.
fn rig(plan: Plan) -> Rig {
    let server = Server::builder().anonymous().start().unwrap();
    server.create_bucket("box").unwrap();
    let content = bytes(300_000);
    server.put("box", "k", &content).unwrap();
    let proxy = FaultProxy::start(server.addr(), plan).unwrap();
    Rig {
        proxy,
        server,
        content,
    }
}

fn with(fault: Fault) -> Rig {
    rig(Plan::default().rule(Rule::new(fault).nth(1)))
}

impl Rig {
    fn ask(&self, method: &str, target: &str, body: &[u8]) -> io::Result<Reply> {
        ask(self.proxy.addr(), method, target, body)
    }

    /// The next GET gives the right bytes.
    fn recovered(&self) {
        let reply = self.ask("GET", "/box/k", b"").unwrap();
        assert_eq!((reply.status, reply.broken), (200, None));
        assert!(reply.body == self.content);
        assert_eq!(self.proxy.injected(), 1);
    }

    fn fault(&self, at: usize) -> Option<&'static str> {
        assert!(self.proxy.wait_until_idle(Duration::from_secs(10)));
        self.proxy.requests()[at].fault
    }
}

/// A reset, as it looks to who reads and to who writes.
fn was_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn upload(rig: &Rig, key: &str) -> String {
    let begun = rig
        .ask("POST", &format!("/box/{key}?uploads"), b"")
        .unwrap();
    tag(&begun.text(), "UploadId")
}

#[test]
fn without_a_plan_everything_goes_through() {
    let rig = rig(Plan::default());
    let mut client = Client::connect(rig.proxy.addr());
    for _ in 0..3 {
        let reply = client.ask("GET", "/box/k", b"").unwrap();
        assert!(reply.status == 200 && reply.body == rig.content);
    }
    let reply = client.ask("HEAD", "/box/k", b"").unwrap();
    assert_eq!(reply.header("content-length"), Some("300000"));
    let reply = client
        .ask_with("GET", "/box/k", "Range: bytes=1000-1999\r\n", b"")
        .unwrap();
    assert_eq!(
        (reply.status, &reply.body[..]),
        (206, &rig.content[1000..2000])
    );
    assert_eq!(
        client.ask("PUT", "/box/l", &rig.content).unwrap().status,
        200
    );
    assert!(rig.server.get("box", "l").unwrap().unwrap() == rig.content);
    assert_eq!(client.ask("DELETE", "/box/l", b"").unwrap().status, 204);
    assert_eq!(client.ask("GET", "/box/none", b"").unwrap().status, 404);
    assert_eq!(client.ask("PUT", "/box/empty", b"").unwrap().status, 200);

    assert!(rig.proxy.wait_until_idle(Duration::from_secs(5)));
    assert_eq!(rig.proxy.count(Op::GetObject), 5);
    assert_eq!(rig.proxy.injected(), 0);
    let log = rig.proxy.requests();
    assert_eq!(log.len(), 9);
    assert_eq!(log[4].bytes(), Some((1000, Some(1999))));
    assert_eq!((log[4].status, log[4].response_bytes), (Some(206), 1000));
    assert_eq!((log[5].op, log[5].request_bytes), (Op::PutObject, 300_000));
    assert_eq!((log[7].op, log[7].status), (Op::GetObject, Some(404)));
    assert_eq!(rig.proxy.peak(Op::GetObject), 1);
}

#[test]
fn multipart_and_chunked_bodies_go_through() {
    let rig = rig(Plan::default());
    let id = upload(&rig, "m");
    let part = bytes(5 * 1024 * 1024);
    let mut xml = "<CompleteMultipartUpload>".to_owned();
    for number in 1..=2 {
        let target = format!("/box/m?partNumber={number}&uploadId={id}");
        let reply = rig.ask("PUT", &target, &part).unwrap();
        let etag = reply.header("etag").unwrap();
        xml += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    xml += "</CompleteMultipartUpload>";
    let done = rig
        .ask("POST", &format!("/box/m?uploadId={id}"), xml.as_bytes())
        .unwrap();
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(
        done.text().contains("CompleteMultipartUploadResult"),
        "{}",
        done.text()
    );
    assert_eq!(
        rig.server.get("box", "m").unwrap().unwrap().len(),
        2 * part.len()
    );
    let counts = rig.proxy.counts();
    assert_eq!(counts[&Op::CreateMultipartUpload], 1);
    assert_eq!(counts[&Op::UploadPart], 2);
    assert_eq!(counts[&Op::CompleteMultipartUpload], 1);
    assert_eq!(rig.proxy.requests()[2].part, Some(2));

    // A chunked request: S3 wants a length, but the proxy must get over it.
    let mut client = Client::connect(rig.proxy.addr());
    client
        .send(b"GET /box/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .unwrap();
    assert!(client.reply("GET").is_ok());
    rig.recovered_without_faults();
}

impl Rig {
    fn recovered_without_faults(&self) {
        let reply = self.ask("GET", "/box/k", b"").unwrap();
        assert!(reply.status == 200 && reply.body == self.content);
        assert_eq!(self.proxy.injected(), 0);
    }
}

#[test]
fn who_waits_for_100_continue_gets_it() {
    for fault in [None, Some(Fault::slow_down())] {
        let plan = fault
            .clone()
            .map_or(Plan::default(), |f| Plan::default().rule(Rule::new(f)));
        let rig = rig(plan);
        let mut client = Client::connect(rig.proxy.addr());
        client
            .send(b"PUT /box/l HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            .unwrap();
        let go_on = client.reply("HEAD").unwrap();
        assert_eq!(go_on.status, 100);
        client.send(b"text").unwrap();
        let reply = client.reply("PUT").unwrap();
        assert_eq!(reply.status, if fault.is_some() { 503 } else { 200 });
    }
}

#[test]
fn errors_look_as_those_of_s3() {
    let rig = with(Fault::slow_down());
    let mut client = Client::connect(rig.proxy.addr());
    let reply = client.ask("PUT", "/box/l", &bytes(200_000)).unwrap();
    assert_eq!(
        (reply.status, tag(&reply.text(), "Code").as_str()),
        (503, "SlowDown")
    );
    assert!(reply.header("x-amz-request-id").is_some());
    assert_eq!(rig.server.get("box", "l").unwrap(), None);
    // The connection goes on.
    assert_eq!(client.ask("PUT", "/box/l", b"text").unwrap().status, 200);
    assert_eq!(rig.fault(0), Some("status"));
    rig.recovered();

    let rig = with(Fault::access_denied());
    let reply = rig.ask("HEAD", "/box/k", b"").unwrap();
    assert_eq!((reply.status, reply.body.len()), (403, 0));
    let rig = with(Fault::redirect("eu-west-1"));
    let reply = rig.ask("GET", "/box/k", b"").unwrap();
    assert_eq!(reply.header("x-amz-bucket-region"), Some("eu-west-1"));
    let rig = with(Fault::error_in_200());
    let reply = rig.ask("POST", "/box/k?uploadId=1", b"<a/>").unwrap();
    assert_eq!(
        (reply.status, tag(&reply.text(), "Code").as_str()),
        (200, "InternalError")
    );
}

#[test]
fn a_part_fails_as_often_as_it_should() {
    let rig = rig(Plan::default().rule(
        Rule::new(Fault::internal_error())
            .op(Op::UploadPart)
            .part(2)
            .times(2),
    ));
    let id = upload(&rig, "m");
    let put = |part: u32| {
        let target = format!("/box/m?partNumber={part}&uploadId={id}");
        rig.ask("PUT", &target, b"part").unwrap().status
    };
    assert_eq!(
        [put(1), put(2), put(2), put(2), put(1)],
        [200, 500, 500, 200, 200]
    );
    assert_eq!(rig.proxy.faults()["status"], 2);
    assert_eq!(rig.server.pending_uploads().unwrap()[0].parts, [1, 2]);
}

#[test]
fn a_reset_before_the_request_is_forwarded() {
    let rig = with(Fault::ResetBefore);
    let error = rig.ask("PUT", "/box/l", b"text").unwrap_err();
    assert!(was_reset(&error), "{error}");
    assert_eq!(rig.server.get("box", "l").unwrap(), None);
    rig.recovered();
}

#[test]
fn a_reset_in_the_request() {
    let rig = with(Fault::ResetInRequest(At::Fraction(0.5)));
    let error = rig.ask("PUT", "/box/l", &bytes(3_000_000)).unwrap_err();
    assert!(was_reset(&error), "{error}");
    assert_eq!(rig.fault(0), Some("reset-in-request"));
    assert_eq!(rig.proxy.requests()[0].request_bytes, 1_500_000);
    assert_eq!(rig.server.get("box", "l").unwrap(), None);
    rig.recovered();
}

#[test]
fn a_reset_after_the_work_was_done() {
    let rig = with(Fault::ResetAfter);
    let error = rig.ask("PUT", "/box/l", b"text").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(rig.server.get("box", "l").unwrap().unwrap(), b"text");
    assert_eq!(rig.fault(0), Some("reset-after"));
    rig.recovered();
}

#[test]
fn a_reset_and_a_close_in_the_answer() {
    for (fault, kind) in [
        (
            Fault::ResetInResponse(At::Byte(1000)),
            io::ErrorKind::ConnectionReset,
        ),
        (
            Fault::Truncate(At::Byte(1000)),
            io::ErrorKind::UnexpectedEof,
        ),
    ] {
        let rig = with(fault);
        // A reset may overtake the bytes before it, even the head.
        match rig.ask("GET", "/box/k", b"") {
            Err(error) => assert_eq!(error.kind(), kind),
            Ok(reply) => {
                assert_eq!(reply.broken, Some(kind));
                assert_eq!(reply.header("content-length"), Some("300000"));
                assert!(reply.body.len() <= 1000 && rig.content.starts_with(&reply.body));
                if kind == io::ErrorKind::UnexpectedEof {
                    assert_eq!(reply.body.len(), 1000);
                }
            }
        }
        assert!(rig.proxy.wait_until_idle(Duration::from_secs(10)));
        assert_eq!(rig.proxy.requests()[0].response_bytes, 1000);
        rig.recovered();
    }
}

#[test]
fn one_byte_is_changed() {
    let rig = with(Fault::FlipInResponse(At::Byte(200_000)));
    let reply = rig.ask("GET", "/box/k", b"").unwrap();
    assert_eq!((reply.status, reply.broken), (200, None));
    let differ: Vec<_> = (0..300_000)
        .filter(|&n| reply.body[n] != rig.content[n])
        .collect();
    assert_eq!(differ, [200_000]);
    rig.recovered();

    let rig = with(Fault::FlipInRequest(At::Byte(0)));
    let mut client = Client::connect(rig.proxy.addr());
    // The MD5 of "text" in base64: the server notices.
    let md5 = "Content-MD5: HLJPWaAEVqzdHejEjZQohg==\r\n";
    let refused = client.ask_with("PUT", "/box/l", md5, b"text").unwrap();
    assert_eq!(
        (refused.status, tag(&refused.text(), "Code").as_str()),
        (400, "BadDigest")
    );
    assert_eq!(rig.fault(0), Some("flip-in-request"));
    rig.recovered();
}

#[test]
fn an_empty_body_has_no_middle() {
    for fault in [
        Fault::FlipInResponse(At::Random),
        Fault::ResetInRequest(At::Random),
    ] {
        let rig = with(fault);
        assert_eq!(rig.ask("HEAD", "/box/k", b"").unwrap().status, 200);
        assert_eq!(rig.proxy.injected(), 0);
    }
}

#[test]
fn who_hangs_is_not_answered() {
    let limit = Duration::from_millis(300);
    for fault in [
        Fault::Hang,
        Fault::HangInRequest(At::Fraction(0.5)),
        Fault::HangInResponse(At::Byte(0)),
    ] {
        let rig = with(fault.clone());
        let mut client = Client::connect(rig.proxy.addr()).read_timeout(limit);
        let begun = Instant::now();
        let reply = client.ask("PUT", "/box/l", b"text");
        let kind = match reply {
            Ok(reply) => {
                assert!(fault.kind() == "hang-in-response" && reply.body.is_empty());
                // An answer to PUT has no body to hang in.
                assert_eq!(reply.broken, None);
                continue;
            }
            Err(error) => error.kind(),
        };
        assert!(
            matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            "{kind}"
        );
        assert!(begun.elapsed() >= limit);
        let stored = rig.server.get("box", "l").unwrap();
        assert_eq!(stored, None);
    }
    let rig = with(Fault::HangInResponse(At::Byte(1000)));
    let mut client = Client::connect(rig.proxy.addr()).read_timeout(limit);
    let reply = client.ask("GET", "/box/k", b"").unwrap();
    assert!(matches!(
        reply.broken,
        Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
    ));
    assert_eq!(reply.body.len(), 1000);
    // The proxy lets go when the client does.
    drop(client);
    assert!(rig.proxy.wait_until_idle(Duration::from_secs(5)));
    rig.recovered();
}

#[test]
fn even_hanging_ends() {
    let rig = rig(Plan::default()
        .hang_limit(Duration::from_millis(200))
        .rule(Rule::new(Fault::Hang)));
    let error = rig.ask("GET", "/box/k", b"").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn latency_and_delay_are_added() {
    let rig = rig(Plan::default()
        .latency_ms(60)
        .rule(Rule::new(Fault::Delay(Duration::from_millis(200))).nth(2)));
    let mut client = Client::connect(rig.proxy.addr());
    let mut took = || {
        let begun = Instant::now();
        assert_eq!(client.ask("HEAD", "/box/k", b"").unwrap().status, 200);
        begun.elapsed().as_millis()
    };
    let (first, second, third) = (took(), took(), took());
    assert!(first >= 60 && third >= 60, "{first} {third}");
    assert!(second >= 260, "{second}");
}

#[test]
fn bandwidth_is_shared() {
    let rig = rig(Plan::default().down(1_000_000).up(1_000_000));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(rig.ask("GET", "/box/k", b"").unwrap().body.len(), 300_000));
        }
    });
    let took = begun.elapsed().as_secs_f64();
    assert!(
        (0.5..2.0).contains(&took),
        "600,000 bytes at 1 MB/s took {took} s"
    );
    let begun = Instant::now();
    assert_eq!(
        rig.ask("PUT", "/box/l", &bytes(400_000)).unwrap().status,
        200
    );
    let took = begun.elapsed().as_secs_f64();
    assert!(
        (0.35..1.5).contains(&took),
        "400,000 bytes at 1 MB/s took {took} s"
    );
    assert_eq!(rig.proxy.peak(Op::GetObject), 2);
}

#[test]
fn headers_are_set_and_taken_away() {
    let rig = with(Fault::Header(
        "ETag".to_owned(),
        Some("\"other\"".to_owned()),
    ));
    let reply = rig.ask("GET", "/box/k", b"").unwrap();
    assert_eq!(reply.header("etag"), Some("\"other\""));
    assert!(reply.body == rig.content);
    let rig = with(Fault::Header("etag".to_owned(), None));
    assert_eq!(rig.ask("GET", "/box/k", b"").unwrap().header("etag"), None);
}

#[test]
fn anything_can_be_answered() {
    let rig = with(Fault::Raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\0\x01\xff".to_vec(),
    ));
    let reply = rig.ask("GET", "/box/k", b"").unwrap();
    assert_eq!((reply.status, &reply.body[..]), (200, &b"\0\x01\xff"[..]));
    rig.recovered();
}

#[test]
fn no_more_connections_than_allowed() {
    let rig = rig(Plan::default().connections(2).latency_ms(50));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(rig.ask("GET", "/box/k", b"").unwrap().status, 200));
        }
    });
    assert!(rig.proxy.wait_until_idle(Duration::from_secs(5)));
    assert_eq!(rig.proxy.peak(Op::GetObject), 2);
}

#[test]
fn another_plan_begins_anew() {
    let rig = with(Fault::slow_down());
    assert_eq!(rig.ask("GET", "/box/k", b"").unwrap().status, 503);
    rig.proxy
        .set_plan(Plan::default().rule(Rule::new(Fault::internal_error()).nth(2)));
    assert_eq!((rig.proxy.injected(), rig.proxy.requests().len()), (0, 0));
    assert_eq!(rig.ask("GET", "/box/k", b"").unwrap().status, 200);
    assert_eq!(rig.ask("GET", "/box/k", b"").unwrap().status, 500);
    rig.recovered();
}

#[test]
fn what_is_no_http_is_refused() {
    let rig = rig(Plan::default());
    for text in [
        "\x16\x03\x01 hello\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut client = Client::connect(rig.proxy.addr());
        client.send(text.as_bytes()).unwrap();
        assert_eq!(client.reply("GET").unwrap().status, 400);
    }
    let mut client = Client::connect(rig.proxy.addr());
    let _ = client.send(&vec![b'a'; 1_000_000]);
    assert!(
        client
            .reply("GET")
            .map_or(true, |reply| reply.status == 400)
    );
    rig.recovered_without_faults();
}

#[test]
fn a_server_that_is_gone_is_a_closed_connection() {
    let Rig { proxy, server, .. } = rig(Plan::default());
    drop(server);
    let error = ask(proxy.addr(), "GET", "/box/k", b"").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_drop_ends_what_goes_on() {
    let Rig { proxy, server, .. } = with(Fault::Hang);
    let addr = proxy.addr();
    let client =
        std::thread::spawn(move || ask(addr, "GET", "/box/k", b"").map(|reply| reply.status));
    while proxy.count(Op::GetObject) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    drop(proxy);
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(client.join().unwrap().is_err());
    drop(server);
}

#[test]
fn the_same_seed_does_the_same() {
    let run = |seed: u64| {
        let faults = vec![
            Fault::slow_down(),
            Fault::ResetBefore,
            Fault::Truncate(At::Random),
        ];
        let rig = rig(Plan::chaos(seed, 0.5, faults));
        let outcome: Vec<_> = (0..40)
            .map(
                |n| match rig.ask("GET", &format!("/box/k?n={}", n % 4), b"") {
                    Ok(reply) => (reply.status, reply.body.len()),
                    Err(_) => (0, 0),
                },
            )
            .collect();
        outcome
    };
    let first = run(1);
    assert_eq!(first, run(1));
    assert_ne!(first, run(2));
    assert!(first.contains(&(200, 300_000)) && first.contains(&(503, 184)) || first.len() == 40);
}
