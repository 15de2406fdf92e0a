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
mod site;
mod wait;

use super::lock;
use super::status::Control;
use crate::failure::Failure;
use crate::live::ingest::keys::random_text;
use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use control::Publishers;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use limits::{Connection, Limited, Most};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// For viewers. The longest wait for a playlist is well below the patience.
const VIEWERS: Most = Most {
    connections: 256,
    of_one_peer: 128,
    patience: Duration::from_secs(60),
};
/// For nginx: one connection for each publisher and player that it just asks about, and it asks at
/// once.
const NGINX: Most = Most {
    connections: 256,
    of_one_peer: 256,
    patience: Duration::from_secs(10),
};
/// Largest head of a request, in bytes; as much is held of each connection.
const HEAD_MAX: usize = 16 * 1024;
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
    /// Names under which it may be used, beside addresses and `localhost`: those of a web server
    /// before it. On loopback a request under any other name is refused, and everywhere one that
    /// changes something: the name may be another site's that points here (DNS rebinding).
    pub names: Vec<String>,
}

impl Options {
    /// Whether it is there for others than this machine. Else other sites' pages, which the browser
    /// of this machine shows, get nothing to read.
    fn open(&self) -> bool {
        !self.address.is_loopback() || !self.names.is_empty()
    }
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
            serve(&runtime, listener, VIEWERS, routes(&shared), &shared)?,
            serve(
                &runtime,
                inner,
                NGINX,
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

/// Answers until the server stops. HTTP/1.1 and nothing else: in HTTP/2 one connection is any number
/// of requests, and the limits count connections.
fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    most: Most,
    routes: Router,
    shared: &Arc<Shared>,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let _inside = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|e| Failure::new(format!("starting the HTTP server: {e}")))?;
    let listener = Limited::new(listener, most);
    let mut stopping = shared.stopping.clone();
    Ok(runtime.spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        loop {
            let connection = tokio::select! {
                connection = listener.accept() => connection,
                Some(_) = open.join_next() => continue,
                // An error means that the server is gone, which is a reason to stop as well.
                _ = stopping.wait_for(|stop| *stop) => break,
            };
            open.spawn(converse(connection, routes.clone(), stopping.clone()));
        }
        drop(listener);
        while open.join_next().await.is_some() {}
    }))
}

/// Answers the requests of one connection; at the stop, the one that is under way.
async fn converse(connection: Connection, routes: Router, mut stopping: watch::Receiver<bool>) {
    let talk = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        // A connection has a deadline of its own.
        .header_read_timeout(None::<Duration>)
        .serve_connection(TokioIo::new(connection), TowerToHyperService::new(routes));
    let mut talk = pin!(talk);
    // An error is the client's: it sent what is no request, or went away.
    let stop = tokio::select! {
        _ = talk.as_mut() => false,
        _ = stopping.wait_for(|stop| *stop) => true,
    };
    if stop {
        talk.as_mut().graceful_shutdown();
        let _ = talk.await;
    }
}

fn routes(shared: &Arc<Shared>) -> Router {
    Router::new()
        .merge(page::routes())
        .merge(api::routes())
        .merge(media::routes(shared.options.open()))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_MAX))
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(shared),
            site::under_our_name,
        ))
        .layer(axum::middleware::map_response(careful))
        .with_state(Arc::clone(shared))
}

/// What browsers should not do with anything from here.
async fn careful(mut response: Response) -> Response {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        // Other sites' pages do not even get it as a picture or a script. Media may say otherwise.
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        response
            .headers_mut()
            .entry(HeaderName::from_static(name))
            .or_insert(HeaderValue::from_static(value));
    }
    response
}
