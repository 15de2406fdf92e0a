//! As much of HTTP/1.1 as a proxy needs, and what the requests of S3 mean.

use std::fmt;
use std::io;
use std::str::FromStr;

use anyhow::bail;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// A head that is longer is refused.
const MAX_HEAD_BYTES: usize = 64 * 1024;

macro_rules! operations {
    ($($(#[$about:meta])* $name:ident),* $(,)?) => {
        /// An operation of S3, guessed from a request's method, path and query.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Op {
            $($(#[$about])* $name,)*
        }

        impl fmt::Display for Op {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => stringify!($name),)* })
            }
        }

        impl FromStr for Op {
            type Err = anyhow::Error;

            fn from_str(text: &str) -> anyhow::Result<Self> {
                $(if text == stringify!($name) {
                    return Ok(Self::$name);
                })*
                bail!("{text:?} is no operation; there are: {}", [$(stringify!($name)),*].join(", "))
            }
        }
    };
}

operations! {
    /// `GET /bucket/key`
    GetObject,
    /// `HEAD /bucket/key`
    HeadObject,
    /// `PUT /bucket/key`
    PutObject,
    /// `PUT /bucket/key` with `x-amz-copy-source`
    CopyObject,
    /// `DELETE /bucket/key`
    DeleteObject,
    /// `POST /bucket?delete`
    DeleteObjects,
    /// `POST /bucket/key?uploads`
    CreateMultipartUpload,
    /// `PUT /bucket/key?partNumber&uploadId`
    UploadPart,
    /// `PUT /bucket/key?partNumber&uploadId` with `x-amz-copy-source`
    UploadPartCopy,
    /// `POST /bucket/key?uploadId`
    CompleteMultipartUpload,
    /// `DELETE /bucket/key?uploadId`
    AbortMultipartUpload,
    /// `GET /bucket/key?uploadId`
    ListParts,
    /// `GET /bucket?uploads`
    ListMultipartUploads,
    /// `GET /bucket`, either version
    ListObjects,
    /// `GET /`
    ListBuckets,
    /// `PUT /bucket`
    CreateBucket,
    /// `HEAD /bucket`
    HeadBucket,
    /// `DELETE /bucket`
    DeleteBucket,
    /// Anything else: tags, ACLs, policies, no S3 at all
    Other,
}

/// Query parameters that make another operation of a request.
const SUBRESOURCES: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "attributes",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "versioning",
    "versions",
    "website",
];

/// The first line and the headers of a request or a response.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// All of it as it came, with the empty line.
    pub raw: Vec<u8>,
    /// The first line.
    pub first: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// What a request asks for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub op: Op,
    pub bucket: String,
    pub key: String,
    pub part: Option<u32>,
    pub range: Option<String>,
    pub framing: Framing,
    /// Waits for `100 Continue` before it sends its body.
    pub expects: bool,
    /// Wants the connection closed afterwards.
    pub closes: bool,
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("malformed HTTP: {what}"),
    )
}

/// Reads up to and with the line's end.
pub(crate) async fn read_line<R: AsyncBufRead + Unpin>(
    reader: &mut R,
    into: &mut Vec<u8>,
    limit: usize,
) -> io::Result<usize> {
    let mut read = 0;
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Ok(read);
        }
        let end = available.iter().position(|&b| b == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(available.len());
        if read + taken > limit {
            return Err(malformed("a line or a head that is too long"));
        }
        into.extend_from_slice(&available[..taken]);
        reader.consume(taken);
        read += taken;
        if end.is_some() {
            return Ok(read);
        }
    }
}

/// Reads a head; none if the other side closed before it began.
pub(crate) async fn read_head<R: AsyncBufRead + Unpin>(reader: &mut R) -> io::Result<Option<Head>> {
    let mut raw = Vec::with_capacity(1024);
    loop {
        let begun = raw.len();
        let read = read_line(reader, &mut raw, MAX_HEAD_BYTES - begun).await?;
        if read == 0 && begun == 0 {
            return Ok(None);
        }
        if !raw.ends_with(b"\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = &raw[begun..];
        if line == b"\r\n" || line == b"\n" {
            if begun == 0 {
                // An empty line before a request is allowed.
                raw.clear();
                continue;
            }
            return Head::parse(raw).map(Some);
        }
    }
}

impl Head {
    fn parse(raw: Vec<u8>) -> io::Result<Self> {
        let text = String::from_utf8_lossy(&raw);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed("a header line"))?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self {
            first,
            headers,
            raw,
        })
    }

    /// The value of a header, its name in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    fn says(&self, name: &str, word: &str) -> bool {
        self.get(name).is_some_and(|value| {
            value
                .split(',')
                .any(|v| v.trim().eq_ignore_ascii_case(word))
        })
    }

    fn length(&self) -> io::Result<Option<u64>> {
        self.get("content-length")
            .map(|value| value.parse().map_err(|_| malformed("a content-length")))
            .transpose()
    }

    fn closes(&self) -> bool {
        self.says("connection", "close") || self.first.contains("HTTP/1.0")
    }

    /// The status of a response's head.
    pub(crate) fn status(&self) -> io::Result<u16> {
        let code = self
            .first
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok());
        match code {
            Some(code) if self.first.starts_with("HTTP/1.") => Ok(code),
            _ => Err(malformed("a status line")),
        }
    }

    /// How long the body of this response to a request by `method` is, and whether the
    /// connection can be used again.
    pub(crate) fn response(&self, method: &str) -> io::Result<(Framing, bool)> {
        let status = self.status()?;
        if method == "HEAD" || status == 204 || status == 304 {
            return Ok((Framing::Length(0), !self.closes()));
        }
        if self.says("transfer-encoding", "chunked") {
            return Ok((Framing::Chunked, !self.closes()));
        }
        Ok(match self.length()? {
            Some(length) => (Framing::Length(length), !self.closes()),
            None => (Framing::UntilClose, false),
        })
    }

    /// This head with a header set, or taken away.
    pub(crate) fn with_header(&self, name: &str, value: Option<&str>) -> Vec<u8> {
        let mut raw = Vec::with_capacity(self.raw.len() + 64);
        for (at, line) in self.raw.split_inclusive(|&b| b == b'\n').enumerate() {
            let ends = line == b"\r\n" || line == b"\n";
            let named = at > 0
                && line
                    .split(|&b| b == b':')
                    .next()
                    .is_some_and(|n| n.trim_ascii().eq_ignore_ascii_case(name.as_bytes()));
            if ends && let Some(value) = value {
                raw.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            if !named {
                raw.extend_from_slice(line);
            }
        }
        raw
    }
}

impl Request {
    /// What a request's head says.
    pub(crate) fn parse(head: &Head) -> io::Result<Self> {
        let mut words = head.first.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(malformed("a request line"));
        };
        if !version.starts_with("HTTP/1.") {
            return Err(malformed("a version that is not HTTP/1"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (bucket, key) = {
            let rest = path.trim_start_matches('/');
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            (unescape(bucket), unescape(key))
        };
        let framing = if head.says("transfer-encoding", "chunked") {
            Framing::Chunked
        } else {
            Framing::Length(head.length()?.unwrap_or(0))
        };
        let copies = head.get("x-amz-copy-source").is_some();
        Ok(Self {
            op: operation(method, &bucket, &key, query, copies),
            part: parameter(query, "partNumber").and_then(|n| n.parse().ok()),
            range: head.get("range").map(str::to_owned),
            framing,
            expects: head.says("expect", "100-continue"),
            closes: head.closes(),
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            bucket,
            key,
        })
    }
}

/// The value of a query parameter, as it stands there; empty if it has none.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find_map(|(n, value)| (n == name).then_some(value))
}

fn operation(method: &str, bucket: &str, key: &str, query: &str, copies: bool) -> Op {
    let has = |name: &str| parameter(query, name).is_some();
    if SUBRESOURCES.iter().any(|name| has(name)) {
        return Op::Other;
    }
    let (upload, part) = (has("uploadId"), has("partNumber"));
    match (method, bucket.is_empty(), key.is_empty()) {
        ("GET", true, _) => Op::ListBuckets,
        ("GET", _, true) if has("uploads") => Op::ListMultipartUploads,
        ("GET", _, true) => Op::ListObjects,
        ("GET", _, false) if upload => Op::ListParts,
        ("GET", _, false) => Op::GetObject,
        ("HEAD", false, true) => Op::HeadBucket,
        ("HEAD", false, false) => Op::HeadObject,
        ("PUT", false, true) => Op::CreateBucket,
        ("PUT", false, false) if upload && part && copies => Op::UploadPartCopy,
        ("PUT", false, false) if upload && part => Op::UploadPart,
        ("PUT", false, false) if copies => Op::CopyObject,
        ("PUT", false, false) => Op::PutObject,
        ("POST", false, true) if has("delete") => Op::DeleteObjects,
        ("POST", false, false) if has("uploads") => Op::CreateMultipartUpload,
        ("POST", false, false) if upload => Op::CompleteMultipartUpload,
        ("DELETE", false, true) => Op::DeleteBucket,
        ("DELETE", false, false) if upload => Op::AbortMultipartUpload,
        ("DELETE", false, false) => Op::DeleteObject,
        _ => Op::Other,
    }
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str, headers: &str) -> Request {
        let head = Head::parse(format!("{line} HTTP/1.1\r\n{headers}\r\n").into_bytes()).unwrap();
        Request::parse(&head).unwrap()
    }

    #[test]
    fn operations_are_told_apart() {
        for (line, op) in [
            ("GET /", Op::ListBuckets),
            ("GET /b", Op::ListObjects),
            ("GET /b/?list-type=2&prefix=a", Op::ListObjects),
            ("GET /b?uploads", Op::ListMultipartUploads),
            ("GET /b/k", Op::GetObject),
            (
                "GET /b/k/with/slashes?versionId=3&x-id=GetObject",
                Op::GetObject,
            ),
            ("GET /b/k?uploadId=7", Op::ListParts),
            ("GET /b/k?tagging", Op::Other),
            ("HEAD /b", Op::HeadBucket),
            ("HEAD /b/k", Op::HeadObject),
            ("PUT /b", Op::CreateBucket),
            ("PUT /b/k?x-id=PutObject", Op::PutObject),
            ("PUT /b/k?partNumber=3&uploadId=7", Op::UploadPart),
            ("POST /b/k?uploads", Op::CreateMultipartUpload),
            ("POST /b/k?uploadId=7", Op::CompleteMultipartUpload),
            ("POST /b?delete", Op::DeleteObjects),
            ("DELETE /b/k?uploadId=7", Op::AbortMultipartUpload),
            ("DELETE /b/k", Op::DeleteObject),
            ("PATCH /b/k", Op::Other),
        ] {
            assert_eq!(request(line, "").op, op, "{line}");
            assert_eq!(op.to_string().parse::<Op>().unwrap(), op);
        }
        let copy = request(
            "PUT /b/k?partNumber=3&uploadId=7",
            "x-amz-copy-source: /a/b\r\n",
        );
        assert_eq!((copy.op, copy.part), (Op::UploadPartCopy, Some(3)));
        assert!("Get".parse::<Op>().is_err());
    }

    #[test]
    fn keys_are_unescaped() {
        let asked = request("GET /bucket/a%20b/%C3%A9%2Gc", "Range: bytes=0-9\r\n");
        assert_eq!(
            (asked.bucket.as_str(), asked.key.as_str()),
            ("bucket", "a b/é%2Gc")
        );
        assert_eq!(asked.range.as_deref(), Some("bytes=0-9"));
    }

    #[test]
    fn heads_that_are_none_are_refused() {
        for line in ["GET", "GET /", "GET / x HTTP/1.1", "GET / HTTP/2"] {
            let head = Head::parse(format!("{line}\r\n\r\n").into_bytes()).unwrap();
            assert!(Request::parse(&head).is_err(), "{line}");
        }
        assert!(Head::parse(b"GET / HTTP/1.1\r\nno colon\r\n\r\n".to_vec()).is_err());
        let head = Head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".to_vec()).unwrap();
        assert!(head.response("GET").is_err());
    }

    #[test]
    fn a_header_is_set_or_taken_away() {
        let head = Head::parse(b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\nX: 1\r\n\r\n".to_vec()).unwrap();
        let set = head.with_header("ETag", Some("\"b\""));
        assert_eq!(set, b"HTTP/1.1 200 OK\r\nX: 1\r\nETag: \"b\"\r\n\r\n");
        assert_eq!(
            head.with_header("x", None),
            b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\n\r\n"
        );
    }
}
