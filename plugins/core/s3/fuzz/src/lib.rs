//! A server that says what the fuzzer wants: it stands in for the network, in this process.
//!
//! An input is a byte that says what is done ([`Scenario`]), then answers with `\0` between them.
//! An answer is a letter for the request that it answers ([`letter`]), the status, header lines, an
//! empty line and the body. Where none is left for a request, the right answer is given.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use gstneural_s3::{
    Checksum, Connection, Credentials, ObjectReader, ObjectWriter, OnError, ReadOptions, S3Error,
    S3Uri, Secret, WriteOptions, delete_object, runtime, testing,
};

/// Length of the object that the server has if the fuzzer does not say otherwise.
const SIZE: u64 = 200_000;
/// Bytes that are read at most of an object that is said to be longer.
const MOST: u64 = 1 << 20;
/// No MD5, which would have to be that of the bytes.
const TAG: &str = "\"tag\"";

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn parse(text: &[u8]) -> Option<(u8, Self)> {
        let (&letter, rest) = text.split_first()?;
        let mut lines = rest.split_inclusive(|b| *b == b'\n');
        let first = String::from_utf8_lossy(lines.next()?);
        let status = first.trim().parse().ok()?;
        let mut headers = Vec::new();
        let mut body = Vec::new();
        for line in lines.by_ref() {
            let line = String::from_utf8_lossy(line);
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.trim().to_owned(), value.trim().to_owned())),
                None => break,
            }
        }
        body.extend(lines.flatten());
        let answer = Self { status, headers, body };
        Some((letter, answer))
    }

    fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        Self { status, headers: headers.iter().map(own).collect(), body: body.into() }
    }
}

/// What is left to be said, by letter.
fn script() -> MutexGuard<'static, HashMap<u8, VecDeque<Answer>>> {
    static SCRIPT: OnceLock<Mutex<HashMap<u8, VecDeque<Answer>>>> = OnceLock::new();
    SCRIPT.get_or_init(Mutex::default).lock().unwrap_or_else(|e| e.into_inner())
}

/// The letter of a request: Head, Get, Put, Create, part (U), complete (D), Abort, List parts,
/// list uploads (M), delete (X).
fn letter(request: &HttpRequest) -> u8 {
    let query = request.uri().split_once('?').map_or("", |(_, query)| query);
    let of_upload = query.contains("uploadId=");
    match request.method() {
        "HEAD" => b'H',
        "GET" if of_upload => b'L',
        "GET" if query.contains("uploads") => b'M',
        "GET" => b'G',
        "PUT" if query.contains("partNumber=") => b'U',
        "PUT" => b'P',
        "POST" if of_upload => b'D',
        "POST" => b'C',
        _ if of_upload => b'A',
        _ => b'X',
    }
}

fn byte(offset: u64) -> u8 {
    (offset.wrapping_mul(2654435761) >> 13) as u8
}

/// What a server says that has nothing to hide.
fn usual(letter: u8, request: &HttpRequest) -> Answer {
    const ID: &str = "<UploadId>id</UploadId>";
    let tag = ("etag", TAG);
    match letter {
        b'H' => Answer::new(200, &[tag, ("content-length", &SIZE.to_string())], ""),
        b'G' => {
            let range = request.headers().get("range").and_then(|r| {
                let (first, last) = r.strip_prefix("bytes=")?.split_once('-')?;
                Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?.min(SIZE - 1)))
            });
            let Some((first, last)) = range.filter(|(first, last)| first <= last) else {
                return Answer::new(416, &[], "<Error><Code>InvalidRange</Code></Error>");
            };
            let body: Vec<u8> = (first..=last).map(byte).collect();
            let length = body.len().to_string();
            let range = format!("bytes {first}-{last}/{SIZE}");
            Answer::new(206, &[tag, ("content-length", &length), ("content-range", &range)], body)
        }
        b'P' | b'U' => Answer::new(200, &[tag], ""),
        b'C' => Answer::new(200, &[], format!(
            "<InitiateMultipartUploadResult>{ID}</InitiateMultipartUploadResult>"
        )),
        b'D' => Answer::new(200, &[], format!(
            "<CompleteMultipartUploadResult><ETag>{TAG}</ETag></CompleteMultipartUploadResult>"
        )),
        b'L' => Answer::new(404, &[], "<Error><Code>NoSuchUpload</Code></Error>"),
        b'M' => Answer::new(200, &[], "<ListMultipartUploadsResult></ListMultipartUploadsResult>"),
        _ => Answer::new(204, &[], ""),
    }
}

#[derive(Debug)]
struct Server;

impl HttpConnector for Server {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let letter = letter(&request);
        let told = script().get_mut(&letter).and_then(VecDeque::pop_front);
        let answer = told.unwrap_or_else(|| usual(letter, &request));
        let Ok(status) = StatusCode::try_from(answer.status) else {
            let error = std::io::Error::other("no status");
            let error = aws_smithy_runtime_api::client::result::ConnectorError::io(error.into());
            return HttpConnectorFuture::ready(Err(error));
        };
        let mut response = HttpResponse::new(status, SdkBody::from(answer.body));
        for (name, value) in answer.headers {
            // What HTTP cannot carry does not arrive.
            let _ = response.headers_mut().try_append(name, value);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// What a client does: the lowest two bits say what, the others how.
#[derive(Debug, Clone, Copy)]
pub struct Scenario(pub u8);

fn connection() -> Connection {
    Connection {
        credentials: Credentials::Keys {
            access_key: "key".to_owned(),
            secret_key: Secret::new("secret"),
            session_token: None,
        },
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        path_style: true,
        region: Some("us-east-1".to_owned()),
        attempts: 2,
        request_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(5),
        ..Connection::default()
    }
}

/// Runs one input to its end.
pub fn run(input: &[u8]) {
    static CLIENT: OnceLock<ObjectWriter> = OnceLock::new();
    let handle = runtime::handle().expect("a runtime");
    let uri = S3Uri::from_parts("films", "a").expect("a name");
    // It asks nothing; as long as it lives, the client that all use is made once.
    CLIENT.get_or_init(|| {
        testing::without_pauses();
        let server = SharedHttpConnector::new(Server);
        testing::replace_http(http_client_fn(move |_, _| server.clone()));
        let connection = connection();
        let open = ObjectWriter::open(&connection, &uri, WriteOptions::default());
        handle.block_on(open).expect("settings that are right")
    });
    let Some((&first, rest)) = input.split_first() else { return };
    let mut told: HashMap<u8, VecDeque<Answer>> = HashMap::new();
    for (letter, answer) in rest.split(|b| *b == 0).filter_map(Answer::parse) {
        told.entry(letter).or_default().push_back(answer);
    }
    let honest = !told.contains_key(&b'G');
    *script() = told;
    let flag = |bit: u8| first >> bit & 1 == 1;
    let checksums = [Checksum::None, Checksum::Crc32, Checksum::Crc64Nvme, Checksum::Crc64Nvme];
    let options = WriteOptions {
        part_bytes: WriteOptions::MIN_PART,
        parallel: 2,
        checksum: checksums[usize::from(first >> 2 & 3)],
        if_none_match: flag(4),
        resume: flag(5),
        on_error: if flag(6) { OnError::Complete } else { OnError::Abort },
        ..WriteOptions::default()
    };
    handle.block_on(async {
        let connection = connection();
        let _ = match first & 3 {
            0 => read(&connection, &uri, flag(2), honest).await,
            1 => write(&connection, &uri, options, 1000).await,
            2 => write(&connection, &uri, options, WriteOptions::MIN_PART as usize + 1).await,
            _ => delete_object(&connection, &uri).await,
        };
    });
}

/// An object is read as what it was said to be, or not at all.
async fn read(connection: &Connection, uri: &S3Uri, sequential: bool, honest: bool) -> Result<(), S3Error> {
    let options = ReadOptions { range_bytes: ReadOptions::MIN_RANGE, parallel: 2, sequential, ..Default::default() };
    let reader = ObjectReader::open(connection, uri, &options).await?;
    let size = reader.info().size;
    let (mut at, mut block) = (0, vec![0; 50_000]);
    while at < MOST.min(size) {
        let count = reader.read_at(at, &mut block).await? as u64;
        assert_eq!(count, (size - at).min(block.len() as u64), "fewer bytes than there are");
        if honest {
            let same = block.iter().zip(at..at + count).all(|(b, at)| *b == byte(at));
            assert!(same, "other bytes than were sent, at {at}");
        }
        at += count;
        assert!(reader.stats().bytes_held <= 2 * ReadOptions::MIN_RANGE);
    }
    Ok(())
}

async fn write(connection: &Connection, uri: &S3Uri, options: WriteOptions, length: usize) -> Result<(), S3Error> {
    static DATA: [u8; 6 << 20] = [7; 6 << 20];
    let mut writer = ObjectWriter::open(connection, uri, options).await?;
    let done = async {
        writer.write(&DATA[..length.min(DATA.len())], &mut 0).await?;
        writer.finish().await
    };
    match done.await {
        Ok(finished) => assert_eq!(finished.size, length as u64),
        Err(_) => drop(writer.give_up(Duration::from_secs(5)).await?),
    }
    Ok(())
}
