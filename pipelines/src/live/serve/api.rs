//! What is known of the streams, as JSON and as metrics, and the one thing that can be changed.

use super::{Shared, lock, metrics};
use crate::live::ingest::keys::is_name;
use crate::live::status::{Phase, Stream};
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// No other site's form can send it without asking us first, and we never say yes.
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
const NO_STORE: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(exposition))
        .route("/api/streams", get(streams))
        .route("/api/streams/{name}/compare", post(compare))
}

#[derive(Serialize)]
struct Problem {
    what: String,
    text: String,
}

/// 200 while the program as a whole does its work. One failed stream of several is no reason to
/// start everything anew, so it is told of and no more.
async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let streams = shared.control.streams();
    let mut problems: Vec<Problem> = lock(&shared.problems)
        .iter()
        .map(|(what, text)| Problem {
            what: what.clone(),
            text: text.clone(),
        })
        .collect();
    if let Some(out) = &shared.options.out
        && !out.is_dir()
    {
        problems.push(Problem {
            what: "output".into(),
            text: format!("the folder {} is gone", out.display()),
        });
    }
    let failed: Vec<Problem> = streams
        .iter()
        .filter(|s| s.phase == Phase::Failed)
        .map(|s| Problem {
            what: format!("stream {}", s.name),
            text: s.error.clone().unwrap_or_else(|| "failed".into()),
        })
        .collect();
    let mut warnings = Vec::new();
    if !streams.is_empty() && failed.len() == streams.len() {
        problems.extend(failed);
    } else {
        warnings = failed;
    }
    let (code, status) = if problems.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "failing")
    };
    let live = streams.iter().filter(|s| s.phase == Phase::Live).count();
    let body = json!({
        "status": status,
        "problems": problems,
        "warnings": warnings,
        "streams": streams.len(),
        "live": live,
    });
    (code, NO_STORE, Json(body)).into_response()
}

async fn exposition(State(shared): State<Arc<Shared>>) -> Response {
    let text = metrics::exposition(&shared.control.streams(), &shared.metrics);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    (NO_STORE, [(CONTENT_TYPE, kind)], text).into_response()
}

#[derive(Serialize)]
struct Streams<'a> {
    /// What to put before a stream's `playlist`.
    base: &'a str,
    /// Our clock, in milliseconds since 1970: viewers' clocks differ.
    now_ms: u64,
    streams: Vec<Stream>,
}

async fn streams(State(shared): State<Arc<Shared>>) -> Response {
    let body = Streams {
        base: shared.options.playlist_base.as_deref().unwrap_or("/hls/"),
        now_ms: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as u64),
        streams: shared.control.streams(),
    };
    (NO_STORE, Json(body)).into_response()
}

#[derive(Deserialize)]
struct Compare {
    on: bool,
}

async fn compare(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(wanted): Json<Compare>,
) -> Response {
    if let Err((code, text)) = from_our_page(&headers, &shared.options.names) {
        return answer(code, &text);
    }
    if !is_name(&name) || !shared.control.compare(&name, wanted.on) {
        return answer(StatusCode::NOT_FOUND, "there is no such stream");
    }
    (StatusCode::OK, NO_STORE, Json(json!({ "on": wanted.on }))).into_response()
}

fn answer(code: StatusCode, text: &str) -> Response {
    (code, NO_STORE, Json(json!({ "error": text }))).into_response()
}

/// Whether a request that changes something comes from our page and not from another site in the
/// same browser: it has a header that other sites cannot send (CSRF), it names the site it comes
/// from, if any, as this one, and this one by an address, as `localhost` or by a name that was given
/// (a name that somebody else points here is not ours: DNS rebinding).
fn from_our_page(headers: &HeaderMap, names: &[String]) -> Result<(), (StatusCode, String)> {
    let text = |name: &HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(host) = text(&HOST) else {
        return Err((StatusCode::BAD_REQUEST, "no Host".into()));
    };
    if !is_ours(host, names) {
        return Err((
            StatusCode::MISDIRECTED_REQUEST,
            "this server does not know itself under that name; give it the name when it is started, or use its address".into(),
        ));
    }
    if !headers.contains_key(&REQUESTED_WITH) {
        return Err((StatusCode::FORBIDDEN, "no X-Requested-With".into()));
    }
    let from_here = match headers.get(&ORIGIN) {
        None => true,
        Some(origin) => origin
            .to_str()
            .ok()
            .and_then(|o| o.strip_prefix("http://").or(o.strip_prefix("https://")))
            .is_some_and(|o| o.eq_ignore_ascii_case(host)),
    };
    if !from_here {
        return Err((StatusCode::FORBIDDEN, "from another site".into()));
    }
    Ok(())
}

fn is_ours(host: &str, names: &[String]) -> bool {
    let name = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|n| n.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(headers: &[(&'static str, &'static str)]) -> u16 {
        let headers: HeaderMap = headers
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap()))
            .collect();
        match from_our_page(&headers, &["tv.example".to_owned()]) {
            Ok(()) => 200,
            Err((code, _)) => code.as_u16(),
        }
    }

    #[test]
    fn only_our_page_may_change_something() {
        let with = ("x-requested-with", "x");
        for host in [
            "127.0.0.1:80",
            "localhost",
            "[::1]:8080",
            "192.0.2.1",
            "TV.example:8",
        ] {
            assert_eq!(judge(&[("host", host), with]), 200, "{host}");
            assert_eq!(judge(&[("host", host)]), 403, "{host}");
        }
        for host in ["evil.example", "", "127.0.0.1.evil.example:80", "[", "[::1"] {
            assert_eq!(judge(&[("host", host), with]), 421, "{host}");
        }
        assert_eq!(judge(&[with]), 400);
        let host = ("host", "localhost:80");
        assert_eq!(judge(&[host, with, ("origin", "http://localhost:80")]), 200);
        for origin in [
            "http://localhost:81",
            "null",
            "https://evil.example",
            "localhost:80",
        ] {
            assert_eq!(judge(&[host, with, ("origin", origin)]), 403, "{origin}");
        }
    }
}
