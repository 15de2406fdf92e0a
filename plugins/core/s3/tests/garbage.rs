//! What cannot be understood, from users and from servers: an error, never a panic or a hang.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{bytes, connection, read, uri, write};
use gstneural_s3::{ReadOptions, S3Uri, WriteOptions};
use gstneural_s3_rig::{Fault, FaultProxy, Op, Plan, Rule, Server};

/// Numbers without a pattern, the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}

#[test]
fn uris_parse_or_are_refused_and_print_as_they_parse() {
    let seeds = [
        "s3://films/a b/c.mp4?versionId=x%2By",
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/films/a/b.mp4",
        "s3://eu-west-1/films/%F0%9F%8E%AC.mp4?version=7",
    ];
    let alphabet: Vec<char> = "s3:/?#%&=+.-_ aZ09\u{0}\u{7f}äß\u{1f3ac}\"<>[]{}|\\^`\n"
        .chars()
        .collect();
    let mut random = Random(42);
    let mut understood = 0;
    for round in 0..200_000 {
        let mut text: Vec<char> = seeds[round % seeds.len()].chars().collect();
        for _ in 0..random.below(6) {
            let at = random.below(text.len());
            let new = alphabet[random.below(alphabet.len())];
            match random.below(4) {
                0 => text.insert(at, new),
                1 if text.len() > 1 => drop(text.remove(at)),
                2 => text.truncate(at + 1),
                _ => text[at] = new,
            }
        }
        let text: String = text.into_iter().collect();
        if let Ok(uri) = S3Uri::parse(&text) {
            understood += 1;
            assert_eq!(
                S3Uri::parse(&uri.to_string()).as_ref(),
                Ok(&uri),
                "{text:?}"
            );
        }
        if let Ok(uri) = S3Uri::parse_with_region(&text) {
            let printed = uri.to_string();
            assert_eq!(
                S3Uri::parse_with_region(&printed).as_ref(),
                Ok(&uri),
                "{text:?}"
            );
        }
    }
    assert!(understood > 10_000, "{understood}");
}

/// An answer of HTTP that is right but for a few bytes, or not right at all.
fn answer(random: &mut Random) -> Vec<u8> {
    let bodies = [
        "<?xml version=\"1.0\"?><InitiateMultipartUploadResult><Bucket>films</Bucket><Key>a</Key>\
         <UploadId>id</UploadId></InitiateMultipartUploadResult>",
        "<?xml version=\"1.0\"?><ListPartsResult><Part><PartNumber>1</PartNumber><Size>5</Size>\
         </Part><IsTruncated>true</IsTruncated></ListPartsResult>",
        "<?xml version=\"1.0\"?><ListMultipartUploadsResult><Upload><Key>a</Key><UploadId>i</UploadId>\
         <Initiated>2026-01-01T00:00:00Z</Initiated></Upload></ListMultipartUploadsResult>",
        "<?xml version=\"1.0\"?><CompleteMultipartUploadResult><ETag>\"x-1\"</ETag>\
         </CompleteMultipartUploadResult>",
        "<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
        "",
    ];
    let body = bodies[random.below(bodies.len())];
    let status = [
        "200 OK",
        "206 Partial Content",
        "404 Not Found",
        "500 Oops",
        "999 What",
        "301 Gone",
    ];
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-length: {}\r\netag: \"e\"\r\ncontent-range: bytes 0-9/10\r\n\
         last-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nx-amz-checksum-crc64nvme: AAAAAAAAAAA=\r\n\r\n",
        status[random.below(status.len())],
        body.len() + random.below(3),
    );
    let mut all = head.into_bytes();
    all.extend_from_slice(body.as_bytes());
    for _ in 0..random.below(8) {
        let at = random.below(all.len());
        match random.below(3) {
            0 => all[at] = random.below(256) as u8,
            1 => all.truncate(at + 1),
            _ => all.insert(at, random.below(256) as u8),
        }
    }
    all
}

#[test]
fn answers_of_any_kind_end_in_time() {
    let server = Server::start().unwrap();
    server.create_bucket("films").unwrap();
    let data = bytes(11 << 20, 1);
    server.put("films", "b", &data).unwrap();
    let mut random = Random(7);
    let ops = [
        Op::HeadObject,
        Op::GetObject,
        Op::PutObject,
        Op::CreateMultipartUpload,
        Op::UploadPart,
        Op::CompleteMultipartUpload,
        Op::ListMultipartUploads,
        Op::ListParts,
        Op::AbortMultipartUpload,
    ];
    let (mut failed, mut faults) = (0, 0);
    for round in 0..240 {
        let op = ops[round % ops.len()];
        let fault = Fault::Raw(answer(&mut random));
        let plan = Plan::default().rule(Rule::new(fault).op(op).times(2));
        let proxy = FaultProxy::start(server.addr(), plan).unwrap();
        let mut c = connection(&proxy.endpoint(), server.access_key(), server.secret_key());
        c.attempts = 2;
        c.request_timeout = Duration::from_millis(500);
        c.stall_timeout = Duration::from_millis(500);
        let begun = Instant::now();
        // Only that it ends, and how: a server may lie about what it has stored.
        let ended = match op {
            Op::HeadObject | Op::GetObject => {
                read(&c, &uri("b"), &ReadOptions::default()).map(|got| assert!(got == data))
            }
            _ => {
                let options = WriteOptions {
                    part_bytes: WriteOptions::MIN_PART,
                    resume: true,
                    ..WriteOptions::default()
                };
                let whole = if op == Op::PutObject {
                    &data[..1000]
                } else {
                    &data[..]
                };
                write(&c, &uri("a"), options, whole).map(drop)
            }
        };
        failed += usize::from(ended.is_err());
        faults += proxy.injected();
        assert!(begun.elapsed() < Duration::from_secs(60), "{op:?} {round}");
    }
    assert!(
        failed > 20 && faults > 200,
        "{failed} failed, {faults} faults"
    );
}
