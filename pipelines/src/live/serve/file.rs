//! Answers with a file: whole or a range of it, read while it is sent.

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use std::io::{self, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::UNIX_EPOCH;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt, ReadBuf};

/// Read at once; what a slow viewer costs in memory.
const PIECE: usize = 64 * 1024;

/// Answers with the regular file at `path`, which the caller has found to be one that may be seen.
/// A range is answered with 206 or 416, several with everything; a tag that the client has with 304.
pub(super) async fn send(path: &Path, headers: &HeaderMap) -> io::Result<Response> {
    let mut file = File::open(path).await?;
    let about = file.metadata().await?;
    if !about.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let length = about.len();
    let changed = about
        .modified()
        .ok()
        .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |d| d.as_nanos());
    let tag = format!("\"{changed:x}-{length:x}\"");
    let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(known) = text(IF_NONE_MATCH)
        && known
            .split(',')
            .any(|t| t.trim().trim_start_matches("W/") == tag)
    {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    // A range of another version of the file is of no use.
    let same = text(IF_RANGE).is_none_or(|t| t == tag);
    let wanted = match text(RANGE).filter(|_| same) {
        Some(range) => Wanted::of(range, length),
        None => Wanted::All,
    };
    let (code, first, count) = match wanted {
        Wanted::All => (StatusCode::OK, 0, length),
        Wanted::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Wanted::Nothing => {
            let range = format!("bytes */{length}");
            return Ok(
                (StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, range)]).into_response(),
            );
        }
    };
    if first > 0 {
        file.seek(SeekFrom::Start(first)).await?;
    }
    let body = Piecewise {
        file,
        left: count,
        buffer: BytesMut::new(),
    };
    let mut response = (
        code,
        [
            (ETAG, tag),
            (ACCEPT_RANGES, "bytes".into()),
            (CONTENT_LENGTH, count.to_string()),
        ],
        Body::new(body),
    )
        .into_response();
    if let Wanted::Part(first, last) = wanted
        && let Ok(range) = format!("bytes {first}-{last}/{length}").parse()
    {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    Ok(response)
}

/// What of the file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    /// First and last byte.
    Part(u64, u64),
    /// A range that is not in it.
    Nothing,
}

impl Wanted {
    /// Reads a `Range` header (RFC 9110, 14.2). What makes no sense, and several ranges, count as no
    /// header at all, as the standard allows.
    fn of(header: &str, length: u64) -> Self {
        let Some(range) = header.trim().strip_prefix("bytes=") else {
            return Self::All;
        };
        let Some((first, last)) = range.split_once('-') else {
            return Self::All;
        };
        let end = length.saturating_sub(1);
        match (number(first), number(last)) {
            (Some(first), None) if last.is_empty() => {
                if first < length {
                    Self::Part(first, end)
                } else {
                    Self::Nothing
                }
            }
            (Some(first), Some(last)) if first <= last => {
                if first < length {
                    Self::Part(first, last.min(end))
                } else {
                    Self::Nothing
                }
            }
            (None, Some(count)) if first.is_empty() => {
                if count > 0 && length > 0 {
                    Self::Part(length.saturating_sub(count), end)
                } else {
                    Self::Nothing
                }
            }
            _ => Self::All,
        }
    }
}

fn number(text: &str) -> Option<u64> {
    // `parse` would take a sign.
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The next `left` bytes of a file.
struct Piecewise {
    file: File,
    left: u64,
    buffer: BytesMut,
}

impl http_body::Body for Piecewise {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let piece = usize::try_from(this.left).map_or(PIECE, |left| left.min(PIECE));
        this.buffer.resize(piece, 0);
        let mut into = ReadBuf::new(&mut this.buffer);
        let read =
            ready!(Pin::new(&mut this.file).poll_read(cx, &mut into)).map(|()| into.filled().len());
        Poll::Ready(Some(match read {
            // Somebody has cut the file: the client must not take this for its end.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                this.left = this.left.saturating_sub(count as u64);
                this.buffer.truncate(count);
                Ok(Frame::data(this.buffer.split().freeze()))
            }
            Err(e) => Err(e),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (header, wanted) in [
            ("bytes=0-", Wanted::Part(0, 9)),
            ("bytes=0-0", Wanted::Part(0, 0)),
            ("bytes=3-100", Wanted::Part(3, 9)),
            ("bytes=9-9", Wanted::Part(9, 9)),
            ("bytes=-3", Wanted::Part(7, 9)),
            ("bytes=-300", Wanted::Part(0, 9)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=10-12", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-3", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=99999999999999999999-", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("", Wanted::All),
        ] {
            assert_eq!(Wanted::of(header, 10), wanted, "{header}");
        }
        assert_eq!(Wanted::of("bytes=0-", 0), Wanted::Nothing);
        assert_eq!(Wanted::of("bytes=-1", 0), Wanted::Nothing);
    }
}
