//! What is known of the streams, as JSON and as metrics, and the one thing that can be changed.

use super::site::from_our_page;
use super::{Shared, lock, metrics};
use crate::live::ingest::keys::is_name;
use crate::live::status::{Phase, Stream};
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

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
