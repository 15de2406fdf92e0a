//! Whom a request comes from: our page, or another site in the same browser.

use super::Shared;
use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// No other site's form can send it without asking us first, and we never say yes.
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
const NOT_OUR_NAME: &str = "this server does not know itself under that name: start it with --host NAME, or use its address";

/// Refuses requests on loopback under names that are not ours. What is no browser may leave the name
/// out.
pub(super) async fn under_our_name(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let options = &shared.options;
    let ours = !options.address.is_loopback()
        || request.headers().get(HOST).is_none_or(|host| {
            host.to_str()
                .is_ok_and(|host| is_ours(host, &options.names))
        });
    if ours {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, NOT_OUR_NAME).into_response()
    }
}

/// Whether a request that changes something comes from our page and not from another site in the
/// same browser: it has a header that other sites cannot send (CSRF), it names the site it comes
/// from, if any, as this one, and this one by an address, as `localhost` or by a name that was given
/// (a name that somebody else points here is not ours: DNS rebinding).
pub(super) fn from_our_page(
    headers: &HeaderMap,
    names: &[String],
) -> Result<(), (StatusCode, String)> {
    let text = |name: &HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(host) = text(&HOST) else {
        return Err((StatusCode::BAD_REQUEST, "no Host".into()));
    };
    if !is_ours(host, names) {
        return Err((StatusCode::MISDIRECTED_REQUEST, NOT_OUR_NAME.into()));
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
