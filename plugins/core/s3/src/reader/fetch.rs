//! The transfer of one range, which goes on after a broken connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use tokio::time::timeout;

use super::{Shared, window::Plan};
use crate::{
    client::Client,
    error::{ErrorKind, S3Error, chain},
    retry::pause,
    uri::S3Uri,
};

/// The object itself is not what was opened, so that trying again cannot help.
const CHANGED: &str = "the object was replaced while it was read";

/// One range on its way.
pub(super) struct Fetch {
    shared: Arc<Shared>,
    id: u64,
    next: u64,
    end: u64,
    /// An answer that has begun already.
    opened: Option<Opening>,
}

/// The first bytes of an object, asked for before anything is known of it.
pub(super) struct Opening {
    answer: Box<GetObjectOutput>,
    latency: Duration,
}

/// Asks for the first bytes; `None` where that fails, as it does for an empty object: what is
/// wrong, HEAD says.
pub(super) async fn open(client: &Client, uri: &S3Uri, bytes: u64) -> Option<Opening> {
    let request = client.sdk.get_object().bucket(&uri.bucket).key(&uri.key);
    let request = request
        .set_version_id(uri.version_id.clone())
        .range(format!("bytes=0-{}", bytes.saturating_sub(1)))
        .set_request_payer(client.payer());
    let asked = Instant::now();
    let answer = timeout(client.connection.request_timeout, request.send()).await;
    Some(Opening {
        answer: Box::new(answer.ok()?.ok()?),
        latency: asked.elapsed(),
    })
}

impl Fetch {
    pub fn new(shared: Arc<Shared>, plan: &Plan) -> Self {
        Self {
            shared,
            id: plan.id,
            next: plan.start,
            end: plan.end,
            opened: None,
        }
    }

    /// Begins with an answer that is there.
    pub fn opened(mut self, opening: Opening) -> Self {
        self.opened = Some(opening);
        self
    }

    /// Fetches the range and says in the window how it ended.
    pub async fn run(mut self) {
        let result = self.fetch().await;
        self.shared.window().ended(self.id, result);
        self.shared.changed.notify_waiters();
    }

    /// Tries until the range is complete. Bytes that came are never asked for again; a try that
    /// brought some counts as half a one, so that a poor line may need more of them.
    async fn fetch(&mut self) -> Result<(), S3Error> {
        let allowed = self.shared.client.connection.attempts.saturating_mul(2);
        let (mut used, mut tries) = (0, 0);
        loop {
            let before = self.next;
            tries += 1;
            let Err(mut error) = self.attempt(tries > 1).await else {
                return Ok(());
            };
            used += if self.next > before { 1 } else { 2 };
            error.attempts = tries;
            if !error.retryable() || used >= allowed {
                return Err(error);
            }
            tokio::time::sleep(pause(used.div_ceil(2), error.kind)).await;
        }
    }

    fn error(&self, kind: ErrorKind, text: impl Into<String>) -> S3Error {
        S3Error::local(kind, "GetObject", &self.shared.uri, text)
    }

    async fn attempt(&mut self, again: bool) -> Result<(), S3Error> {
        let shared = self.shared.clone();
        let (client, uri) = (&shared.client, &shared.uri);
        let request = client.sdk.get_object().bucket(&uri.bucket).key(&uri.key);
        let request = request
            .set_version_id(shared.version_id.clone())
            .set_if_match(shared.etag.clone())
            .range(format!("bytes={}-{}", self.next, self.end - 1))
            .set_request_payer(client.payer());
        shared.stats.request(again);
        let answer = match self.opened.take() {
            Some(opening) => {
                shared.stats.answer(opening.latency);
                *opening.answer
            }
            None => {
                let asked = Instant::now();
                let limit = client.connection.request_timeout;
                let answer = timeout(limit, request.send()).await.map_err(|_| {
                    let text = format!("no answer within {} s", limit.as_secs_f32());
                    self.error(ErrorKind::Timeout, text)
                })?;
                shared.stats.answer(asked.elapsed());
                answer.map_err(|e| self.explain(S3Error::from_sdk("GetObject", uri, e)))?
            }
        };
        self.compare(&answer)?;

        let mut body = answer.body;
        let limit = client.connection.stall_timeout;
        while self.next < self.end {
            let piece = timeout(limit, body.try_next()).await.map_err(|_| {
                let text = format!("not a byte came for {} s", limit.as_secs_f32());
                self.error(ErrorKind::Timeout, text)
            })?;
            let piece = piece.map_err(|e| self.error(ErrorKind::Network, chain(&e)))?;
            let Some(piece) = piece else {
                let text = format!("the answer ended {} bytes early", self.end - self.next);
                return Err(self.error(ErrorKind::Network, text));
            };
            let count = piece.len() as u64;
            shared.stats.received(count);
            if !shared.window().received(self.id, &piece) {
                return Err(self.error(ErrorKind::Server, "more bytes came than were asked for"));
            }
            self.next += count;
            shared.changed.notify_waiters();
        }
        Ok(())
    }

    /// A range or a version that is gone means that the object is another one now.
    fn explain(&self, mut error: S3Error) -> S3Error {
        let gone = matches!(error.kind, ErrorKind::NotFound) || error.status == Some(416);
        if error.kind == ErrorKind::Changed || gone {
            error.kind = ErrorKind::Changed;
            error.text = format!("{CHANGED}: {}", error.text);
        }
        error
    }

    /// Servers are known that take no notice of If-Match: the answer has to say the same.
    fn compare(&self, answer: &GetObjectOutput) -> Result<(), S3Error> {
        let shared = &self.shared;
        if let (Some(expected), Some(found)) = (shared.etag.as_deref(), answer.e_tag())
            && expected != found
        {
            let text = format!("{CHANGED}: its tag was {expected} and is {found}");
            return Err(self.error(ErrorKind::Changed, text));
        }
        if let (Some(expected), Some(found)) = (shared.version_id.as_deref(), answer.version_id())
            && expected != found
        {
            return Err(self.error(
                ErrorKind::Changed,
                format!("{CHANGED}: another version came"),
            ));
        }
        let length = answer.content_length().and_then(|n| u64::try_from(n).ok());
        match answer.content_range() {
            Some(text) => {
                let expected = (self.next, self.end - 1, shared.size);
                let found = parse_content_range(text);
                if found.is_some_and(|(_, _, size)| size.is_some_and(|s| s != shared.size)) {
                    let text = format!("{CHANGED}: its length was {} bytes", shared.size);
                    return Err(self.error(ErrorKind::Changed, text));
                }
                if found.is_none_or(|(first, last, _)| (first, last) != (expected.0, expected.1)) {
                    let text = format!("another range came than was asked for: {text}");
                    return Err(self.error(ErrorKind::Server, text));
                }
            }
            // The whole object, where the whole was asked for.
            None if self.next == 0 && length == Some(shared.size) && self.end == shared.size => {}
            None if shared.etag.is_some() && answer.e_tag().is_none() => {
                let text = "the answer is not the object";
                return Err(self.error(ErrorKind::Server, text));
            }
            None => {
                let text = "the server does not give parts of an object (Range)";
                return Err(self.error(ErrorKind::Unsupported, text));
            }
        }
        if length.is_some_and(|n| n != self.end - self.next) {
            return Err(self.error(ErrorKind::Server, "the answer has another length"));
        }
        Ok(())
    }
}

/// First and last byte and, unless it is `*`, the length of the whole (RFC 9110, 14.4).
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let size = match size {
        "*" => None,
        size => Some(size.parse().ok()?),
    };
    Some((first.parse().ok()?, last.parse().ok()?, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(
            parse_content_range("bytes 0-9/100"),
            Some((0, 9, Some(100)))
        );
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, 9, None)));
        for wrong in [
            "",
            "bytes",
            "bytes */100",
            "items 0-9/100",
            "bytes 0-9",
            "bytes a-9/10",
        ] {
            assert_eq!(parse_content_range(wrong), None, "{wrong}");
        }
    }
}
