//! Reading and writing against a real server.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{MIB, block_on, bytes, connection, read, uri, write};
use gstneural_s3::{
    Attributes, Checksum, Connection, Credentials, ErrorKind, ObjectReader, ObjectWriter, OnError,
    ReadOptions, Secret, WriteOptions,
};
use gstneural_s3_rig::{At, Fault, FaultProxy, Op, Plan, Rule, Server};

const PART: u64 = WriteOptions::MIN_PART;

fn server() -> (Server, Connection) {
    let server = Server::start().unwrap();
    server.create_bucket("films").unwrap();
    let connection = connection(&server.endpoint(), server.access_key(), server.secret_key());
    (server, connection)
}

fn options() -> WriteOptions {
    WriteOptions {
        part_bytes: PART,
        parallel: 3,
        ..WriteOptions::default()
    }
}

#[test]
fn round_trips_are_byte_identical() {
    let (server, connection) = server();
    let part = PART as usize;
    for (length, parts) in [
        (0, 0),
        (1, 0),
        (part - 1, 0),
        (part, 0),
        (part + 1, 2),
        (3 * part, 3),
        (3 * part + 1, 4),
    ] {
        let data = bytes(length, length as u64);
        let uri = uri(&format!("folder/object {length}.bin"));
        let finished = write(&connection, &uri, options(), &data).unwrap();
        assert_eq!(
            (finished.size, finished.parts),
            (length as u64, parts),
            "{length}"
        );
        assert_eq!(
            server.get("films", &uri.key).unwrap().unwrap(),
            data,
            "{length}"
        );
        let options = ReadOptions {
            range_bytes: 256 << 10,
            ..ReadOptions::default()
        };
        assert_eq!(read(&connection, &uri, &options).unwrap(), data, "{length}");
    }
    assert!(server.pending_uploads().unwrap().is_empty());
}

#[test]
fn every_checksum_works() {
    let (_server, connection) = server();
    for checksum in [Checksum::None, Checksum::Crc32, Checksum::Crc64Nvme] {
        for length in [MIB, 2 * PART as usize + 5] {
            let data = bytes(length, 3);
            let options = WriteOptions {
                checksum,
                ..options()
            };
            // A key of its own each: this server keeps the checksums of an object that is replaced.
            let uri = uri(&format!("{checksum:?} {length}"));
            let finished = write(&connection, &uri, options, &data).unwrap();
            assert_eq!(finished.checksum.is_some(), checksum != Checksum::None);
            assert_eq!(
                read(&connection, &uri, &ReadOptions::default()).unwrap(),
                data
            );
        }
    }
}

#[test]
fn reading_here_and_there_gives_the_same_as_a_file() {
    let (server, connection) = server();
    let data = bytes(20 * MIB, 5);
    server.put("films", "a.bin", &data).unwrap();
    block_on(async {
        let options = ReadOptions {
            range_bytes: 1 << 20,
            parallel: 4,
            ..ReadOptions::default()
        };
        let reader = ObjectReader::open(&connection, &uri("a.bin"), &options)
            .await
            .unwrap();
        let mut random = 12345u64;
        for _ in 0..300 {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let at = (random >> 33) as usize % (data.len() + 10);
            let length = 1 + (random >> 13) as usize % 300_000;
            let mut piece = vec![0; length];
            let count = reader.read_at(at as u64, &mut piece).await.unwrap();
            let expected = data.get(at..).unwrap_or_default();
            let expected = &expected[..expected.len().min(length)];
            assert_eq!(&piece[..count], expected, "{length} bytes at {at}");
            assert!(reader.stats().bytes_held <= 4 << 20);
        }
    });
}

#[test]
fn the_beginning_can_be_rewritten_until_the_end() {
    let (server, connection) = server();
    let part = PART as usize;
    for length in [1000, part + 10, 3 * part + 10] {
        let mut data = bytes(length, 9);
        block_on(async {
            let mut writer = ObjectWriter::open(&connection, &uri("r"), options())
                .await
                .unwrap();
            writer.write(&data, &mut 0).await.unwrap();
            for (at, count) in [(0, 100), (500, 300), (length - 5, 5)] {
                let new = bytes(count, at as u64 + 1);
                writer.seek(at as u64).unwrap();
                writer.write(&new, &mut 0).await.unwrap();
                data[at..at + count].copy_from_slice(&new);
            }
            // Over the end: the rest is appended.
            writer.seek(length as u64 - 2).unwrap();
            writer.write(b"tail!", &mut 0).await.unwrap();
            data.truncate(length - 2);
            data.extend_from_slice(b"tail!");
            if length > 2 * part {
                let error = writer.seek(part as u64 + 1).unwrap_err();
                assert_eq!(error.kind, ErrorKind::Unsupported);
                // From what can be rewritten into what has been sent.
                writer.seek(part as u64 - 1).unwrap();
                let mut consumed = 0;
                assert!(
                    writer
                        .write(&[data[part - 1], 0], &mut consumed)
                        .await
                        .is_err()
                );
                assert_eq!(consumed, 1);
                writer.seek(writer.len()).unwrap();
            }
            writer.finish().await.unwrap();
        });
        assert!(
            server.get("films", "r").unwrap().unwrap() == data,
            "{length}"
        );
    }
}

#[test]
fn parts_and_ranges_go_in_parallel_and_no_more_than_allowed() {
    let (server, _) = server();
    let proxy = FaultProxy::start(server.addr(), Plan::default().latency_ms(50)).unwrap();
    let connection = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
    let data = bytes(8 * PART as usize, 1);
    write(&connection, &uri("a"), options(), &data).unwrap();
    assert_eq!(proxy.count(Op::UploadPart), 8);
    assert_eq!(proxy.peak(Op::UploadPart), 3);
    let options = ReadOptions {
        range_bytes: 2 << 20,
        parallel: 4,
        ..ReadOptions::default()
    };
    assert_eq!(read(&connection, &uri("a"), &options).unwrap(), data);
    let peak = proxy.peak(Op::GetObject);
    assert!((2..=4).contains(&peak), "{peak}");
    let requests = proxy.count(Op::GetObject);
    assert!(requests < 40, "{requests} requests for 40 MiB");
}

#[test]
fn what_is_under_way_ends_with_a_jump() {
    let (server, _) = server();
    let data = bytes(64 * MIB, 1);
    server.put("films", "a", &data).unwrap();
    // 8 MiB/s: all that is asked for ahead would take seconds.
    let proxy = FaultProxy::start(server.addr(), Plan::default().down(8 << 20)).unwrap();
    let connection = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
    block_on(async {
        let options = ReadOptions {
            sequential: true,
            ..ReadOptions::default()
        };
        let reader = ObjectReader::open(&connection, &uri("a"), &options)
            .await
            .unwrap();
        let mut piece = vec![0; MIB];
        reader.read_at(0, &mut piece).await.unwrap();
        let at = 50 * MIB;
        reader.jump(at as u64);
        let begun = std::time::Instant::now();
        reader.read_at(at as u64, &mut piece).await.unwrap();
        assert!(piece == data[at..at + MIB]);
        let took = begun.elapsed();
        assert!(
            took < Duration::from_secs(2),
            "it waited for the rest: {took:?}"
        );
        reader.forget();
    });
    assert!(proxy.wait_until_idle(Duration::from_secs(5)));
    let sent: u64 = proxy.requests().iter().map(|r| r.response_bytes).sum();
    assert!(sent < 20 << 20, "{sent} bytes for 2 MiB that were wanted");
}

#[test]
fn a_replaced_object_is_an_error_and_never_a_mix() {
    let (server, connection) = server();
    let (old, new) = (bytes(8 * MIB, 1), bytes(8 * MIB, 2));
    server.put("films", "a", &old).unwrap();
    block_on(async {
        let options = ReadOptions {
            range_bytes: 256 << 10,
            parallel: 2,
            ..ReadOptions::default()
        };
        let reader = ObjectReader::open(&connection, &uri("a"), &options)
            .await
            .unwrap();
        let mut piece = vec![0; 100_000];
        reader.read_at(0, &mut piece).await.unwrap();
        server.put("films", "a", &new).unwrap();
        let mut at = piece.len();
        let error = loop {
            match reader.read_at(at as u64, &mut piece).await {
                Ok(count) => {
                    assert_eq!(piece[..count], old[at..at + count], "a mix at {at}");
                    at += count;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind, ErrorKind::Changed, "{error}");
        assert!(error.to_string().contains("replaced"), "{error}");
    });
}

#[test]
fn the_version_that_was_found_is_asked_for_to_the_end() {
    let (server, _) = server();
    server.put("films", "a", &bytes(4 * MIB, 1)).unwrap();
    // The server has no versions, so the one that seems to be there is gone afterwards.
    let header = Fault::Header("x-amz-version-id".into(), Some("v1".into()));
    let rule = Rule::new(header).op(Op::HeadObject);
    let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
    let connection = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
    let error = read(&connection, &uri("a"), &ReadOptions::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Changed, "{error}");
    assert_eq!(error.code.as_deref(), Some("NoSuchVersion"), "{error}");
    let requests = proxy.requests();
    let gets = requests.iter().filter(|r| r.op == Op::GetObject);
    // The first is on its way before anything is known.
    let (with, without): (Vec<_>, Vec<_>) = gets.partition(|r| r.query.contains("versionId=v1"));
    assert!(!with.is_empty() && without.len() == 1, "{requests:?}");
}

#[test]
fn broken_connections_are_gone_on_with() {
    let (server, _) = server();
    let data = bytes(6 * MIB, 4);
    server.put("films", "a", &data).unwrap();
    let faults = [
        Fault::ResetInResponse(At::Fraction(0.5)),
        Fault::Truncate(At::Fraction(0.3)),
        Fault::slow_down(),
        Fault::ResetBefore,
    ];
    for fault in faults {
        let rule = Rule::new(fault.clone()).op(Op::GetObject).times(3);
        let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
        let connection = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
        let got = read(&connection, &uri("a"), &ReadOptions::default()).unwrap();
        assert!(got == data, "{fault:?}");
        assert_eq!(proxy.injected(), 3);
        // What had come is not asked for again (but for what a reset makes the kernel throw away).
        let sent: u64 = proxy.requests().iter().map(|r| r.response_bytes).sum();
        assert!(sent < data.len() as u64 + (3 << 20), "{fault:?}: {sent}");
    }
}

#[test]
fn a_part_that_fails_for_good_leaves_nothing() {
    let (server, _) = server();
    let rule = Rule::new(Fault::internal_error())
        .op(Op::UploadPart)
        .part(2);
    let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
    let mut connection = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
    connection.attempts = 3;
    let error = write(&connection, &uri("a"), options(), &bytes(30 * MIB, 1)).unwrap_err();
    assert_eq!((error.status, error.attempts), (Some(500), 3), "{error}");
    assert_eq!(server.get("films", "a").unwrap(), None);
    assert!(server.pending_uploads().unwrap().is_empty());
}

#[test]
fn a_refused_completion_is_an_error_and_leaves_nothing() {
    let (server, _) = server();
    for fault in [Fault::access_denied(), Fault::error_in_200()] {
        let rule = Rule::new(fault).op(Op::CompleteMultipartUpload);
        let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
        let mut c = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
        c.attempts = 2;
        write(&c, &uri("a"), options(), &bytes(12 * MIB, 1)).unwrap_err();
        assert_eq!(server.get("films", "a").unwrap(), None);
        assert!(server.pending_uploads().unwrap().is_empty());
    }
}

#[test]
fn a_completion_whose_answer_is_lost_is_found_out() {
    let (server, _) = server();
    let data = bytes(12 * MIB, 1);
    for op in [Op::CompleteMultipartUpload, Op::PutObject] {
        let data = if op == Op::PutObject {
            &data[..MIB]
        } else {
            &data[..]
        };
        let rule = Rule::new(Fault::ResetAfter).op(op).times(1);
        let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
        let connection = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
        let options = WriteOptions {
            if_none_match: true,
            ..options()
        };
        let key = format!("{op:?}");
        let finished = write(&connection, &uri(&key), options, data).unwrap();
        assert_eq!(finished.size, data.len() as u64);
        assert_eq!(proxy.injected(), 1);
        assert!(server.get("films", &key).unwrap().unwrap() == data);
    }
}

#[test]
fn damaged_bytes_are_noticed() {
    let (server, _) = server();
    let data = bytes(MIB, 1);
    // On their way there: the server compares, and the second try is right.
    let rule = Rule::new(Fault::FlipInRequest(At::Fraction(0.5)))
        .op(Op::PutObject)
        .times(1);
    let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
    let to = |proxy: &FaultProxy| {
        connection(&proxy.endpoint(), server.access_key(), server.secret_key())
    };
    write(&to(&proxy), &uri("a"), options(), &data).unwrap();
    assert!(server.get("films", "a").unwrap().unwrap() == data);
    // And back: the checksum of the whole is compared at the end.
    let rule = Rule::new(Fault::FlipInResponse(At::Fraction(0.5)))
        .op(Op::GetObject)
        .times(1);
    let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
    let error = read(&to(&proxy), &uri("a"), &ReadOptions::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Checksum, "{error}");
}

#[test]
fn a_server_that_hangs_ends_in_time() {
    let (server, _) = server();
    server.put("films", "a", &bytes(MIB, 1)).unwrap();
    for (op, fault) in [
        (Op::HeadObject, Fault::Hang),
        (Op::GetObject, Fault::HangInResponse(At::Byte(1000))),
        (Op::UploadPart, Fault::Hang),
        (Op::UploadPart, Fault::HangInRequest(At::Byte(1000))),
        (Op::CompleteMultipartUpload, Fault::Hang),
    ] {
        let proxy = FaultProxy::start(
            server.addr(),
            Plan::default().rule(Rule::new(fault.clone()).op(op)),
        )
        .unwrap();
        let mut c = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
        c.attempts = 2;
        c.request_timeout = Duration::from_millis(400);
        c.stall_timeout = Duration::from_millis(400);
        let begun = std::time::Instant::now();
        let error = match op {
            Op::HeadObject | Op::GetObject => {
                read(&c, &uri("a"), &ReadOptions::default()).unwrap_err()
            }
            _ => write(&c, &uri("b"), options(), &bytes(12 * MIB, 1)).unwrap_err(),
        };
        assert_eq!(error.kind, ErrorKind::Timeout, "{op:?} {fault:?}: {error}");
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{op:?} {fault:?}"
        );
    }
    assert!(server.pending_uploads().unwrap().is_empty());
}

#[test]
fn errors_say_what_to_do() {
    let (server, good) = server();
    server.put("films", "a", b"x").unwrap();
    let open = |connection: &Connection, key: &str| {
        let (uri, options) = (uri(key), ReadOptions::default());
        block_on(ObjectReader::open(connection, &uri, &options)).unwrap_err()
    };
    let missing = open(&good, "b");
    assert_eq!(missing.kind, ErrorKind::NotFound);
    assert_eq!(missing.code.as_deref(), Some("NoSuchKey"), "{missing}");
    assert_eq!(missing.status, Some(404));
    let mut wrong = good.clone();
    wrong.credentials = Credentials::Keys {
        access_key: server.access_key().to_owned(),
        secret_key: Secret::new("not-the-secret"),
        session_token: None,
    };
    let denied = open(&wrong, "a");
    assert_eq!(denied.kind, ErrorKind::Denied);
    assert_eq!(
        denied.code.as_deref(),
        Some("SignatureDoesNotMatch"),
        "{denied}"
    );
    assert!(!denied.to_string().contains("not-the-secret"));
    let mut nobody = good.clone();
    nobody.endpoint = Some("http://127.0.0.1:9".into());
    nobody.attempts = 1;
    let refused = open(&nobody, "a");
    assert_eq!(refused.kind, ErrorKind::Network);
    assert!(refused.to_string().contains("endpoint-uri"), "{refused}");

    let rule = Rule::new(Fault::redirect("eu-west-1"));
    let proxy = FaultProxy::start(server.addr(), Plan::default().rule(rule)).unwrap();
    let elsewhere = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
    let error = open(&elsewhere, "a");
    assert_eq!(error.kind, ErrorKind::WrongRegion);
    assert!(
        error.to_string().contains("set region=eu-west-1"),
        "{error}"
    );
    for (code, kind) in [
        ("ExpiredToken", ErrorKind::Expired),
        ("RequestTimeTooSkewed", ErrorKind::ClockSkew),
    ] {
        let fault = Fault::status(if code == "ExpiredToken" { 400 } else { 403 }, code);
        let plan = Plan::default().rule(Rule::new(fault));
        let proxy = FaultProxy::start(server.addr(), plan).unwrap();
        let c = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
        let error = open(&c, "a");
        assert_eq!(error.kind, kind, "{code}");
        // All that whoever runs the server needs to find the request again.
        let id = error.request_id.clone().unwrap();
        let text = error.to_string();
        for part in [code, "HTTP 4", "films/a", &id] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn what_exists_is_not_replaced_when_that_is_not_wanted() {
    let (server, connection) = server();
    server.put("films", "a", b"old").unwrap();
    let options = WriteOptions {
        if_none_match: true,
        ..options()
    };
    let error = write(&connection, &uri("a"), options, b"new").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists, "{error}");
    assert_eq!(server.get("films", "a").unwrap().unwrap(), b"old");
}

#[test]
fn what_is_broken_off_is_dealt_with_as_wished() {
    let (server, connection) = server();
    let data = bytes(12 * MIB, 1);
    for (on_error, pending) in [
        (OnError::Abort, 0),
        (OnError::Keep, 1),
        (OnError::Complete, 1),
    ] {
        let key = format!("{on_error:?}");
        let finished = block_on(async {
            let options = WriteOptions {
                on_error,
                attributes: Attributes {
                    content_type: Some("video/mp4".into()),
                    ..Default::default()
                },
                ..options()
            };
            let mut writer = ObjectWriter::open(&connection, &uri(&key), options)
                .await
                .unwrap();
            writer.write(&data, &mut 0).await.unwrap();
            let finished = writer.give_up(Duration::from_secs(10)).await.unwrap();
            assert!(writer.write(b"x", &mut 0).await.is_err(), "it is over");
            finished
        });
        assert_eq!(finished.is_some(), on_error == OnError::Complete);
        let there = server.get("films", &key).unwrap();
        assert_eq!(
            there.is_some_and(|b| b == data),
            on_error == OnError::Complete
        );
        // The one that was kept stays in the count.
        assert_eq!(
            server.pending_uploads().unwrap().len(),
            pending,
            "{on_error:?}"
        );
    }
}

#[test]
fn a_dropped_writer_aborts_in_the_background() {
    let (server, connection) = server();
    block_on(async {
        let mut writer = ObjectWriter::open(&connection, &uri("a"), options())
            .await
            .unwrap();
        writer.write(&bytes(12 * MIB, 1), &mut 0).await.unwrap();
    });
    for _ in 0..200 {
        if server.pending_uploads().unwrap().is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{:?}", server.pending_uploads().unwrap());
}
