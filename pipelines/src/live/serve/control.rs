//! What nginx asks: may this one publish, and who still does.
//!
//! nginx calls with the key, for it forgets nothing it was once told; here the key is looked at once
//! and then the connection's number stands for it.

use super::{Shared, lock};
use crate::live::status::Refusal;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// How long a publisher waits for its answer: nginx keeps no frames, so our player has to be there
/// before the first keyframe comes.
const HEAD_START: Duration = Duration::from_millis(500);
/// How long a wrong key waits for its answer: with nginx's limit on connections, so many keys can be
/// tried in that time and no more.
const WRONG_KEY: Duration = Duration::from_secs(1);
/// A publisher of which nginx has said nothing for this long is one that nginx has lost. It speaks
/// of each every three seconds.
const SILENT: Duration = Duration::from_secs(15);
/// How often that is looked for.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Publisher {
    name: String,
    heard: Instant,
    /// To be sent away when nginx asks next.
    unwanted: bool,
}

/// Who publishes, by the number nginx gives to connections.
#[derive(Debug, Default)]
pub(super) struct Publishers(Mutex<HashMap<u64, Publisher>>);

impl Publishers {
    fn add(&self, client: u64, name: &str) -> Option<String> {
        let publisher = Publisher {
            name: name.to_owned(),
            heard: Instant::now(),
            unwanted: false,
        };
        lock(&self.0).insert(client, publisher).map(|old| old.name)
    }

    fn take(&self, client: u64) -> Option<String> {
        lock(&self.0).remove(&client).map(|p| p.name)
    }

    /// Notes that it is still there; `false` if it has to go.
    fn heard(&self, client: u64) -> bool {
        match lock(&self.0).get_mut(&client) {
            Some(publisher) => {
                publisher.heard = Instant::now();
                !publisher.unwanted
            }
            // Of another life of ours.
            None => false,
        }
    }

    pub(super) fn kick(&self, name: &str) -> bool {
        let mut publishers = lock(&self.0);
        let mut any = false;
        for publisher in publishers.values_mut().filter(|p| p.name == name) {
            publisher.unwanted = true;
            any = true;
        }
        any
    }

    pub(super) fn take_all(&self) -> Vec<String> {
        lock(&self.0).drain().map(|(_, p)| p.name).collect()
    }

    fn take_silent(&self, limit: Duration) -> Vec<String> {
        let mut gone = Vec::new();
        lock(&self.0).retain(|_, p| {
            let stays = p.heard.elapsed() < limit;
            if !stays {
                gone.push(p.name.clone());
            }
            stays
        });
        gone
    }
}

/// Takes publishers away that nginx does not speak of any more: its worker has died with them.
pub(super) async fn forget_silent(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.clone();
    while tokio::time::timeout(LOOK, stopping.wait_for(|stop| *stop))
        .await
        .is_err()
    {
        for name in shared.publishers.take_silent(SILENT) {
            shared.control.unpublished(&name);
        }
    }
}

/// What nginx sends, as far as it is of use.
#[derive(serde::Deserialize)]
struct Call {
    call: String,
    #[serde(default)]
    name: String,
    clientid: u64,
}

#[derive(Clone)]
struct Guarded {
    shared: Arc<Shared>,
    token: Arc<str>,
}

impl Guarded {
    fn knows(&self, token: &str) -> bool {
        self.token.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

pub(super) fn routes(shared: &Arc<Shared>, token: &str) -> Router {
    Router::new()
        .route("/control/{token}/publish", post(publish))
        .route("/control/{token}/unpublished", post(unpublished))
        .route("/control/{token}/update", post(update))
        .layer(DefaultBodyLimit::max(super::BODY_MAX))
        .with_state(Guarded {
            shared: Arc::clone(shared),
            token: token.into(),
        })
}

async fn publish(
    State(guarded): State<Guarded>,
    Path(token): Path<String>,
    Form(call): Form<Call>,
) -> Response {
    if !guarded.knows(&token) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Shared {
        control,
        publishers,
        ..
    } = &*guarded.shared;
    match control.publish(&call.name) {
        Ok(name) => {
            let Ok(location) = HeaderValue::from_str(&name) else {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            };
            // A connection publishes once; should it do so again, its first stream is over.
            if let Some(old) = publishers
                .add(call.clientid, &name)
                .filter(|old| *old != name)
            {
                control.unpublished(&old);
            }
            tokio::time::sleep(HEAD_START).await;
            // nginx goes on with this name.
            (StatusCode::FOUND, [(LOCATION, location)]).into_response()
        }
        Err(Refusal::Key) => {
            tokio::time::sleep(WRONG_KEY).await;
            StatusCode::FORBIDDEN.into_response()
        }
        Err(Refusal::Busy) => StatusCode::CONFLICT.into_response(),
        Err(Refusal::Full | Refusal::Stopping) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn unpublished(
    State(guarded): State<Guarded>,
    Path(token): Path<String>,
    Form(call): Form<Call>,
) -> StatusCode {
    if !guarded.knows(&token) {
        return StatusCode::NOT_FOUND;
    }
    if let Some(name) = guarded.shared.publishers.take(call.clientid) {
        guarded.shared.control.unpublished(&name);
    }
    StatusCode::NO_CONTENT
}

async fn update(
    State(guarded): State<Guarded>,
    Path(token): Path<String>,
    Form(call): Form<Call>,
) -> StatusCode {
    if !guarded.knows(&token) {
        return StatusCode::NOT_FOUND;
    }
    // Players are ours.
    if call.call != "update_publish" || guarded.shared.publishers.heard(call.clientid) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::FORBIDDEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_publishers_are_taken_and_others_stay() {
        let publishers = Publishers::default();
        assert_eq!(publishers.add(1, "a"), None);
        assert_eq!(publishers.add(2, "b"), None);
        std::thread::sleep(Duration::from_millis(30));
        assert!(publishers.heard(2));
        assert_eq!(publishers.take_silent(Duration::from_millis(20)), ["a"]);
        assert_eq!(publishers.take(2).as_deref(), Some("b"));
        assert!(!publishers.heard(2));
    }

    #[test]
    fn an_unwanted_publisher_is_sent_away_when_nginx_asks() {
        let publishers = Publishers::default();
        publishers.add(7, "a");
        assert!(publishers.heard(7));
        assert!(publishers.kick("a"));
        assert!(!publishers.kick("b"));
        assert!(!publishers.heard(7));
    }
}
