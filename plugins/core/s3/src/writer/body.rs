//! A body that tells how far it has been sent.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// Bytes handed to the connection at a time: small enough to see a line that is slow but alive.
const PIECE: usize = 64 << 10;

/// How far a body has been sent, and when it last moved.
#[derive(Debug)]
pub(super) struct Sent {
    begun: Instant,
    /// Milliseconds since `begun`.
    moved: AtomicU64,
    bytes: AtomicU64,
    size: u64,
}

impl Sent {
    pub fn new(size: u64) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            size,
        })
    }

    fn restart(&self) {
        self.bytes.store(0, Relaxed);
        self.touch();
    }

    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.touch();
    }

    fn touch(&self) {
        let passed = self.begun.elapsed().as_millis() as u64;
        self.moved.store(passed, Relaxed);
    }

    /// Ends when nothing has moved for `stall`, or, once all is sent, when no answer has come for
    /// `answer`; gives that time.
    pub async fn stalled(&self, stall: Duration, answer: Duration) -> Duration {
        loop {
            let limit = match self.bytes.load(Relaxed) >= self.size {
                true => answer,
                false => stall,
            };
            let last = self.begun + Duration::from_millis(self.moved.load(Relaxed));
            if last.elapsed() >= limit {
                return limit;
            }
            sleep_until(last + limit).await;
        }
    }
}

struct Counted {
    bytes: Bytes,
    sent: Arc<Sent>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let count = self.bytes.len().min(PIECE);
        let piece = self.bytes.split_to(count);
        self.sent.add(count as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// The bytes as a body of a request.
pub(super) fn counted(bytes: Bytes, sent: Arc<Sent>) -> ByteStream {
    let make = move || {
        sent.restart();
        SdkBody::from_body_1_x(Counted {
            bytes: bytes.clone(),
            sent: sent.clone(),
        })
    };
    ByteStream::new(SdkBody::retryable(make))
}
