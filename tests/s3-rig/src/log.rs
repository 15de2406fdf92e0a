//! What was asked for, when, and what became of it.

use std::time::Duration;

use crate::http::{Op, Request};

/// A request that came to the proxy. Headers are not kept, but for the range.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The operation.
    pub op: Op,
    /// The method.
    pub method: String,
    /// The path as it came, escaped.
    pub path: String,
    /// The query as it came, without the `?`; without signatures of presigned URLs.
    pub query: String,
    /// The bucket.
    pub bucket: String,
    /// The key, unescaped.
    pub key: String,
    /// The part's number.
    pub part: Option<u32>,
    /// The `Range` header's value.
    pub range: Option<String>,
    /// When its head had come, since the proxy's start.
    pub begun: Duration,
    /// When it was over; none while it goes on.
    pub ended: Option<Duration>,
    /// The status that the client was sent, if it got that far.
    pub status: Option<u16>,
    /// The fault that took effect.
    pub fault: Option<&'static str>,
    /// How much of the request's body was read.
    pub request_bytes: u64,
    /// How much of the answer's body was sent.
    pub response_bytes: u64,
}

impl Entry {
    pub(crate) fn new(request: &Request, begun: Duration) -> Self {
        let query: Vec<_> = request
            .query
            .split('&')
            .filter(|pair| !pair.to_ascii_lowercase().starts_with("x-amz-"))
            .collect();
        Self {
            op: request.op,
            method: request.method.clone(),
            path: request.path.clone(),
            query: query.join("&"),
            bucket: request.bucket.clone(),
            key: request.key.clone(),
            part: request.part,
            range: request.range.clone(),
            begun,
            ended: None,
            status: None,
            fault: None,
            request_bytes: 0,
            response_bytes: 0,
        }
    }

    /// The first and last byte asked for, for a range of the form `bytes=A-B` or `bytes=A-`.
    #[must_use]
    pub fn bytes(&self) -> Option<(u64, Option<u64>)> {
        let (first, last) = self
            .range
            .as_deref()?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let last = match last {
            "" => None,
            last => Some(last.parse().ok()?),
        };
        Some((first.parse().ok()?, last))
    }
}

/// The greatest number of these that went on at the same time.
pub(crate) fn peak<'a>(entries: impl Iterator<Item = &'a Entry>) -> usize {
    let mut moments: Vec<(Duration, i32)> = Vec::new();
    for entry in entries {
        moments.push((entry.begun, 1));
        moments.push((entry.ended.unwrap_or(Duration::MAX), -1));
    }
    // Ends before beginnings: one after the other is not both at once.
    moments.sort_unstable();
    let (mut now, mut most) = (0i32, 0i32);
    for (_, change) in moments {
        now += change;
        most = most.max(now);
    }
    usize::try_from(most).unwrap_or(0)
}
