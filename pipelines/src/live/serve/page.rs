//! The page. Everything it needs is in the program; it asks for nothing from elsewhere.

use super::Shared;
use crate::failure::Failure;
use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

/// Path, content type and content.
const ASSETS: [(&str, &str, &[u8]); 4] = [
    (
        "/assets/hls.min.js",
        "text/javascript; charset=utf-8",
        include_bytes!("assets/hls.min.js"),
    ),
    (
        "/assets/player.js",
        "text/javascript; charset=utf-8",
        include_bytes!("assets/player.js"),
    ),
    (
        "/assets/player.css",
        "text/css; charset=utf-8",
        include_bytes!("assets/player.css"),
    ),
    (
        "/assets/icon.svg",
        "image/svg+xml",
        include_bytes!("assets/icon.svg"),
    ),
];
const PAGE: &[u8] = include_bytes!("assets/index.html");

pub(super) fn routes() -> Router<Arc<Shared>> {
    let mut routes = Router::new().route("/", get(page));
    for (path, mime, content) in ASSETS {
        let asset = move || async move { answer(mime, content) };
        routes = routes.route(path, get(asset));
    }
    routes
}

fn answer(mime: &'static str, content: &'static [u8]) -> Response {
    // Another version of the program may be behind the same address tomorrow.
    let headers: [(HeaderName, &str); 2] = [(CONTENT_TYPE, mime), (CACHE_CONTROL, "no-cache")];
    (headers, content).into_response()
}

async fn page(State(shared): State<Arc<Shared>>) -> Response {
    let mut response = answer("text/html; charset=utf-8", PAGE);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, shared.policy.clone());
    response
}

/// What the page may load: our own files, and media from the site `base` is on, where they are
/// elsewhere. hls.js hands media over as `blob:`, and runs its worker from one.
///
/// # Errors
///
/// `base` is no address of the web that ends in `/`.
pub(super) fn policy(base: Option<&str>) -> Result<HeaderValue, Failure> {
    let site = match base {
        None => String::new(),
        Some(base) => format!(" {}", site(base)?),
    };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         media-src 'self' blob:{site}; connect-src 'self'{site}; worker-src 'self' blob:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).map_err(|e| Failure::new(format!("the page's policy: {e}")))
}

/// Scheme, host and port of an address.
fn site(base: &str) -> Result<String, Failure> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/:[]%".contains(&b);
    let rest = base
        .strip_prefix("https://")
        .or_else(|| base.strip_prefix("http://"))
        .filter(|r| r.ends_with('/') && !r.starts_with('/') && r.bytes().all(plain));
    match (rest, base.split_once("//")) {
        (Some(rest), Some((scheme, _))) => {
            let host = rest.split('/').next().unwrap_or_default();
            Ok(format!("{scheme}//{host}"))
        }
        _ => Err(Failure::usage(format!(
            "`{}` is no address of playlists: https://HOST/PATH/",
            base.escape_debug()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_site_of_the_media_and_no_other() {
        let text = |base| policy(base).unwrap().to_str().unwrap().to_owned();
        assert!(!text(None).contains("http"));
        let there = text(Some("https://cdn.example:8443/live/"));
        assert!(
            there.contains("connect-src 'self' https://cdn.example:8443;"),
            "{there}"
        );
        for bad in [
            "cdn.example/",
            "https://cdn.example",
            "https:///x/",
            "https://a;b/",
            "ftp://a/",
            "https://a /",
        ] {
            assert!(policy(Some(bad)).is_err(), "{bad}");
        }
    }
}
