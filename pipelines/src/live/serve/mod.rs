//! The HTTP server: the page, playlists and segments, metrics, and what the RTMP server asks.
//!
//! Two listeners, so that nothing a viewer does can keep the RTMP server from asking: one for people
//! ([`Options::address`]), and one on loopback, on a port of its own, for nginx ([`control`]).
//! Everything runs on two threads of its own; a slow viewer costs a connection and nothing else.

mod api;
mod control;
mod file;
mod limits;
mod media;
mod metrics;
mod page;
mod wait;

use super::lock;
use super::status::Control;
use crate::failure::Failure;
use crate::live::ingest::keys::random_text;
use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use control::Publishers;
use limits::Limited;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Connections of viewers that are open at once; further ones wait.
const CONNECTIONS_MAX: usize = 256;
/// Connections of nginx: one for each publisher and player that it just asks about.
const CONTROL_CONNECTIONS_MAX: usize = 256;
/// Largest body of a request, in bytes.
const BODY_MAX: usize = 8 * 1024;
/// For answers that are under way when the server is stopped.
const STOP: Duration = Duration::from_secs(3);
/// Random bytes of the token in the control server's address.
const TOKEN: usize = 24;

/// How the server is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens. Loopback by default; anything else shows the streams to that network.
    pub address: IpAddr,
    /// TCP port; 0 takes a free one.
    pub port: u16,
    /// The folder with playlists and segments; `None` when they are elsewhere.
    pub out: Option<PathBuf>,
    /// Where the playlists are when they are elsewhere, as an address of the web that ends in `/`.
    pub playlist_base: Option<String>,
    /// Names under which the page may be used, beside addresses and `localhost`. A request that
    /// changes something is refused under any other name (DNS rebinding).
    pub names: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            out: None,
            playlist_base: None,
            names: Vec::new(),
        }
    }
}

/// What all requests share.
#[derive(Debug)]
struct Shared {
    control: Arc<dyn Control>,
    options: Options,
    publishers: Publishers,
    problems: Mutex<BTreeMap<String, String>>,
    /// Becomes true when the server is to stop: requests that wait give up.
    stopping: watch::Receiver<bool>,
    metrics: metrics::Process,
    /// The only programs and places the page may use.
    policy: HeaderValue,
}

/// A running HTTP server. It is stopped when this is dropped.
pub struct Server {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    stop: watch::Sender<bool>,
    address: SocketAddr,
    control_url: String,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl fmt::Debug for Server {
    /// Without the control address, which has a secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Starts it; it answers when this returns.
    ///
    /// # Errors
    ///
    /// The port is taken, the folder is none, or an option makes no sense.
    pub fn start(options: Options, control: Arc<dyn Control>) -> Result<Self, Failure> {
        let options = checked(options)?;
        let listener = listen(SocketAddr::new(options.address, options.port))?;
        let inner = listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?;
        let address = |l: &TcpListener| {
            l.local_addr()
                .map_err(|e| Failure::new(format!("the HTTP server: {e}")))
        };
        let (public, private) = (address(&listener)?, address(&inner)?);
        let token = random_text(TOKEN)?;
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            policy: page::policy(options.playlist_base.as_deref())?,
            control,
            options,
            publishers: Publishers::default(),
            problems: Mutex::default(),
            stopping,
            metrics: metrics::Process::new(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("live-http")
            .enable_all()
            .build()
            .map_err(|e| Failure::new(format!("starting the HTTP server: {e}")))?;
        let tasks = vec![
            serve(
                &runtime,
                listener,
                CONNECTIONS_MAX,
                routes(&shared),
                &shared,
            )?,
            serve(
                &runtime,
                inner,
                CONTROL_CONNECTIONS_MAX,
                control::routes(&shared, &token),
                &shared,
            )?,
            runtime.spawn(control::forget_silent(Arc::clone(&shared))),
        ];
        Ok(Self {
            shared,
            runtime: Some(runtime),
            stop,
            address: public,
            control_url: format!("http://{private}/control/{token}"),
            tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page's address, for a person.
    pub fn url(&self) -> String {
        match self.address {
            a if a.ip().is_unspecified() => format!("http://127.0.0.1:{}/", a.port()),
            a => format!("http://{a}/"),
        }
    }

    /// Where nginx asks ([`crate::live::ingest::Options::control`]). It has a secret in it.
    pub fn control_url(&self) -> &str {
        &self.control_url
    }

    /// Says that something outside the streams is wrong (`ingest`, `disk`), or no longer is; it makes
    /// `/healthz` say so too.
    pub fn problem(&self, what: &str, text: Option<String>) {
        let mut problems = lock(&self.shared.problems);
        match text {
            Some(text) => problems.insert(what.to_owned(), text),
            None => problems.remove(what),
        };
    }

    /// Sends the publisher of a stream away, within [`crate::live::ingest::nginx::UPDATE_S`] seconds;
    /// [`Control::unpublished`] follows. `false` if nobody publishes it.
    pub fn kick(&self, name: &str) -> bool {
        self.shared.publishers.kick(name)
    }

    /// The RTMP server has ended: all of its publishers are gone.
    pub fn forget_publishers(&self) {
        for name in self.shared.publishers.take_all() {
            self.shared.control.unpublished(&name);
        }
    }

    /// Stops it: requests that wait are answered, downloads get three seconds to end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut self.tasks);
        runtime.block_on(async {
            let all = async {
                for task in tasks {
                    let _ = task.await;
                }
            };
            let _ = tokio::time::timeout(STOP, all).await;
        });
        runtime.shutdown_timeout(Duration::from_millis(200));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The options, with the folder as the file system names it.
fn checked(mut options: Options) -> Result<Options, Failure> {
    if let Some(out) = &options.out {
        let real = out
            .canonicalize()
            .map_err(|e| Failure::io("opening the folder", out, &e))?;
        if !real.is_dir() {
            return Err(Failure::usage(format!("{} is no folder", out.display())));
        }
        options.out = Some(real);
    }
    Ok(options)
}

fn listen(at: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(at)
        .and_then(|l| l.set_nonblocking(true).map(|()| l))
        .map_err(|e| {
            let failure = Failure::new(format!("the HTTP server cannot listen on {at}: {e}"));
            match e.kind() {
                std::io::ErrorKind::AddrInUse => {
                    failure.hint("another program uses this port: give another one")
                }
                _ => failure,
            }
        })
}

fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    connections: usize,
    routes: Router,
    shared: &Arc<Shared>,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let _inside = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|e| Failure::new(format!("starting the HTTP server: {e}")))?;
    let mut stopping = shared.stopping.clone();
    let served = axum::serve(Limited::new(listener, connections), routes).with_graceful_shutdown(
        async move {
            // An error means that the server is gone, which is a reason to stop as well.
            let _ = stopping.wait_for(|stop| *stop).await;
        },
    );
    Ok(runtime.spawn(async move {
        // It only ends when it is told to.
        let _ = served.await;
    }))
}

fn routes(shared: &Arc<Shared>) -> Router {
    Router::new()
        .merge(page::routes())
        .merge(api::routes())
        .merge(media::routes())
        .layer(axum::extract::DefaultBodyLimit::max(BODY_MAX))
        .layer(axum::middleware::map_response(careful))
        .with_state(Arc::clone(shared))
}

/// What browsers should not do with anything from here.
async fn careful(mut response: Response) -> Response {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        response.headers_mut().insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}
