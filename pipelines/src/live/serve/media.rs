//! Playlists and segments.

use super::Shared;
use super::file;
use super::wait::{self, Asked, Waited};
use axum::Router;
use axum::extract::{Path as UrlPath, RawQuery, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folders and the file: `NAME/RENDITION/FILE`, and one more.
const DEPTH_MAX: usize = 4;
/// Longest name of a folder or file, in bytes.
const NAME_MAX: usize = 128;

/// `open`: players on other sites may play what is here; nothing else here is for them.
pub(super) fn routes(open: bool) -> Router<Arc<Shared>> {
    let routes = Router::new().route("/hls/{*path}", get(media).options(preflight));
    if open {
        routes.layer(axum::middleware::map_response(for_all_sites))
    } else {
        routes
    }
}

async fn for_all_sites(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("content-length, content-range, date"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    response
}

async fn preflight() -> Response {
    (
        StatusCode::NO_CONTENT,
        [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "range"),
        ],
    )
        .into_response()
}

async fn media(
    State(shared): State<Arc<Shared>>,
    UrlPath(path): UrlPath<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let (Some(out), Some(kind)) = (&shared.options.out, kind(&path)) else {
        return failed(StatusCode::NOT_FOUND);
    };
    let place = out.join(&path);
    let waited = if kind.playlist {
        match Asked::of(query.as_deref()) {
            Ok(Some(asked)) => wait::for_playlist(&shared, &path, &place, asked).await,
            Ok(None) => Waited::Done,
            Err(()) => Waited::Nonsense,
        }
    } else if tokio::fs::try_exists(&place).await.unwrap_or(false) {
        Waited::Done
    } else {
        wait::for_hinted(&shared, &path, &place).await
    };
    match waited {
        Waited::Done => {}
        Waited::Late => return failed(StatusCode::SERVICE_UNAVAILABLE),
        Waited::Nonsense => return failed(StatusCode::BAD_REQUEST),
    }
    let sent = match inside(out, &place).await {
        Ok(real) => file::send(&real, &headers).await,
        Err(e) => Err(e),
    };
    match sent {
        Ok(mut response) => {
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind.mime));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(kind.cache));
            response
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => failed(StatusCode::NOT_FOUND),
        Err(_) => failed(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn failed(code: StatusCode) -> Response {
    let no_store: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];
    (code, no_store).into_response()
}

/// What a file is, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    mime: &'static str,
    cache: &'static str,
    playlist: bool,
}

/// What `path` is, or `None` if nothing of this kind is ever given out: only plain names, none of
/// which begins with a dot, and only files of HLS.
fn kind(path: &str) -> Option<Kind> {
    let plain = |name: &str| {
        (1..=NAME_MAX).contains(&name.len())
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    if path.split('/').count() > DEPTH_MAX || !path.split('/').all(plain) {
        return None;
    }
    let media = |mime| Kind {
        mime,
        // Long enough for caches between us and the viewers to be of use. Another stream of the same
        // name may have files of the same names, hence not for ever.
        cache: "public, max-age=60",
        playlist: false,
    };
    Some(match path.rsplit_once('.')?.1 {
        "m3u8" => Kind {
            mime: "application/vnd.apple.mpegurl",
            cache: "no-cache",
            playlist: true,
        },
        "ts" => media("video/mp2t"),
        "m4s" => media("video/iso.segment"),
        "mp4" => media("video/mp4"),
        "aac" => media("audio/aac"),
        "vtt" => media("text/vtt; charset=utf-8"),
        "jpg" => media("image/jpeg"),
        _ => return None,
    })
}

/// The file's own place, if that is in the folder: links do not lead out.
async fn inside(out: &Path, place: &Path) -> io::Result<PathBuf> {
    let real = tokio::fs::canonicalize(place).await?;
    // Opening a pipe would wait for somebody to write.
    if real.starts_with(out) && tokio::fs::metadata(&real).await?.is_file() {
        Ok(real)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_of_hls_files_are_given_out() {
        for good in [
            "a/master.m3u8",
            "a/720p/index.m3u8",
            "a/720p/s-00_1.2.m4s",
            "x.ts",
        ] {
            assert!(kind(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "/",
            "a",
            "a/",
            "/a.ts",
            "a//b.ts",
            "../a.ts",
            "a/../b.ts",
            "a/./b.ts",
            "a/.ts",
            ".hidden/a.ts",
            "a\\b.ts",
            "a b.ts",
            "a%2fb.ts",
            "a\0.ts",
            "ä.ts",
            "a.ts.part",
            "keys.txt",
            "a/b/c/d/e.ts",
        ] {
            assert!(kind(bad).is_none(), "{bad}");
        }
        assert!(kind(&format!("{}.ts", "a".repeat(NAME_MAX))).is_none());
    }
}
