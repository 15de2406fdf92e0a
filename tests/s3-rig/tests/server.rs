//! The servers by themselves.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

mod common;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{ask, bytes, tag};
use gstneural_s3_rig::{MiniStack, Object, Server};

#[test]
fn without_a_signature_nothing_is_given() {
    let server = Server::start().unwrap();
    server.create_bucket("box").unwrap();
    server.put("box", "k", b"text").unwrap();
    let refused = ask(server.addr(), "GET", "/box/k", b"").unwrap();
    assert_eq!(
        (refused.status, tag(&refused.text(), "Code").as_str()),
        (403, "AccessDenied")
    );
    let refused = ask(server.addr(), "PUT", "/box/l", b"text").unwrap();
    assert_eq!(refused.status, 403);
    assert_eq!(server.objects("box").unwrap().len(), 1);
}

#[test]
fn objects_come_and_go_past_the_protocol() {
    let server = Server::builder().anonymous().start().unwrap();
    server.create_bucket("box").unwrap();
    server.create_bucket("box").unwrap();
    let content = bytes(100_000);
    server.put("box", "a folder/k", &content).unwrap();
    let reply = ask(server.addr(), "GET", "/box/a%20folder/k", b"").unwrap();
    assert_eq!((reply.status, &reply.body), (200, &content));
    let first = reply.header("etag").unwrap().to_owned();
    assert_eq!(first.len(), 34);

    server.put("box", "a folder/k", b"other").unwrap();
    let reply = ask(server.addr(), "HEAD", "/box/a%20folder/k", b"").unwrap();
    assert_eq!(reply.header("content-length"), Some("5"));
    assert_ne!(reply.header("etag").unwrap(), first);

    assert_eq!(
        ask(server.addr(), "PUT", "/box/l", b"xyz").unwrap().status,
        200
    );
    let object = |key: &str, size| Object {
        key: key.to_owned(),
        size,
    };
    assert_eq!(
        server.objects("box").unwrap(),
        [object("a folder/k", 5), object("l", 3)]
    );
    assert_eq!(server.get("box", "l").unwrap().unwrap(), b"xyz");
    assert_eq!(server.get("box", "m").unwrap(), None);
    assert!(server.objects("cup").is_err());
    for key in ["", "/etc/passwd", "../x", "a/../../x"] {
        assert!(server.put("box", key, b"").is_err(), "{key}");
    }
    assert!(server.create_bucket("../c").is_err());
}

#[test]
fn uploads_that_are_left_are_seen() {
    let server = Server::builder().anonymous().start().unwrap();
    server.create_bucket("box").unwrap();
    let begun = ask(server.addr(), "POST", "/box/a/key?uploads", b"").unwrap();
    let id = tag(&begun.text(), "UploadId");
    for part in [2, 1] {
        let target = format!("/box/a/key?partNumber={part}&uploadId={id}");
        assert_eq!(
            ask(server.addr(), "PUT", &target, b"part").unwrap().status,
            200
        );
    }
    let pending = server.pending_uploads().unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].upload_id, id);
    assert_eq!(pending[0].bucket.as_deref(), Some("box"));
    assert_eq!(pending[0].key.as_deref(), Some("a/key"));
    assert_eq!(pending[0].parts, [1, 2]);
    assert!(server.objects("box").unwrap().is_empty());

    let target = format!("/box/a/key?uploadId={id}");
    assert_eq!(
        ask(server.addr(), "DELETE", &target, b"").unwrap().status,
        204
    );
    assert!(server.pending_uploads().unwrap().is_empty());
}

#[test]
fn nothing_is_left_when_it_is_dropped() {
    let server = Server::start().unwrap();
    let (addr, folder) = (server.addr(), server.folder().to_owned());
    // A connection in the middle of a request does not hold it up.
    let mut client = common::Client::connect(addr);
    client
        .send(b"PUT /box/k HTTP/1.1\r\nContent-Length: 10\r\n\r\nfive.")
        .unwrap();
    let begun = Instant::now();
    drop(server);
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(TcpStream::connect(addr).is_err());
    assert!(!folder.exists());
}

#[test]
fn a_panic_ends_it() {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let server = Server::start().unwrap();
        tell.send((server.addr(), server.folder().to_owned()))
            .unwrap();
        panic!("as planned");
    });
    assert!(thread.join().is_err());
    let (addr, folder) = told.recv().unwrap();
    assert!(TcpStream::connect(addr).is_err());
    assert!(!folder.exists());
}

#[test]
fn it_can_be_dropped_in_another_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async { drop(Server::start().unwrap()) });
}

#[test]
fn a_folder_that_was_given_stays() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::builder().folder(folder.path()).start().unwrap();
    server.create_bucket("box").unwrap();
    server.put("box", "k", b"text").unwrap();
    drop(server);
    let server = Server::builder().folder(folder.path()).start().unwrap();
    assert_eq!(server.get("box", "k").unwrap().unwrap(), b"text");
    assert!(
        Server::builder()
            .folder(&folder.path().join("none"))
            .start()
            .is_err()
    );
}

#[test]
fn ministack_answers_and_ends() {
    if MiniStack::program().is_none() {
        eprintln!("left out: ministack is not installed (packaging/setup.sh does that)");
        return;
    }
    let begun = Instant::now();
    let stack = MiniStack::start().unwrap();
    eprintln!(
        "ministack took {:.1} s to start",
        begun.elapsed().as_secs_f64()
    );
    let addr = stack.addr();
    assert!(addr.ip().is_loopback());
    let health = ask(addr, "GET", "/_ministack/health", b"").unwrap();
    assert!(
        health.text().contains("\"auth\": \"enabled\""),
        "{}",
        health.text()
    );
    drop(stack);
    assert!(TcpStream::connect(addr).is_err());
}
