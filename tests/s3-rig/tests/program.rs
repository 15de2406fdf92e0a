//! The program, as tests in other languages use it.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::ask;
use serde_json::Value;

struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    addr: SocketAddr,
    folder: String,
}

fn serve(arguments: &[&str]) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_s3-rig"))
        .arg("serve")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut running = Running {
        child,
        output,
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        folder: String::new(),
    };
    let first = running.line();
    assert!(!first["access_key"].as_str().unwrap().is_empty());
    assert!(!first["secret_key"].as_str().unwrap().is_empty());
    let endpoint = first["endpoint"].as_str().unwrap();
    running.addr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    running.folder = first["folder"].as_str().unwrap().to_owned();
    running
}

impl Running {
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn say(&mut self, line: &str) -> Value {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.line()
    }

    fn ended(&mut self) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(5), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!std::path::Path::new(&self.folder).exists());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_ends_with_its_input() {
    let mut plain = serve(&["--bucket", "box"]);
    assert_eq!(ask(plain.addr, "GET", "/box/k", b"").unwrap().status, 403);
    assert_eq!(
        plain.say("stats")["pending_uploads"],
        Value::Array(Vec::new())
    );
    drop(plain.child.stdin.take());
    plain.ended();
}

#[test]
fn it_ends_by_a_signal() {
    let mut plain = serve(&[]);
    let id = rustix::process::Pid::from_raw(i32::try_from(plain.child.id()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    plain.ended();
}

#[test]
fn it_does_what_the_rules_say() {
    let rule = "status=503/SlowDown:op=PutObject,nth=2";
    let mut serving = serve(&[
        "--anonymous",
        "--bucket",
        "box",
        "--latency-ms",
        "30",
        "--fault",
        rule,
    ]);
    let begun = Instant::now();
    let mut put = |_| ask(serving.addr, "PUT", "/box/k", b"text").unwrap().status;
    assert_eq!([0, 1, 2].map(&mut put), [200, 503, 200]);
    assert!(begun.elapsed() >= Duration::from_millis(90));
    let stats = serving.say("stats");
    assert_eq!(stats["requests"]["PutObject"], 3);
    assert_eq!(stats["faults"]["status"], 1);
    assert_eq!(stats["peak"]["PutObject"], 1);
    serving.say("clear");
    assert_eq!(serving.say("stats")["requests"]["PutObject"], Value::Null);
    assert!(serving.say("sing")["error"].is_string());
}

#[test]
fn a_rule_that_is_none_is_refused() {
    let done = Command::new(env!("CARGO_BIN_EXE_s3-rig"))
        .args(["serve", "--fault", "explode"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("explode"));
}
