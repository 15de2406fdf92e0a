//! A tokio runtime on a thread of its own, ended by being dropped.

use std::future::Future;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime;
use tokio::sync::oneshot;

/// How long tasks that block may hold up the end.
const GRACE: Duration = Duration::from_secs(2);

/// A future that runs until it is done or this is dropped.
#[derive(Debug)]
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Background {
    /// Runs what `body` makes. Dropping works on any thread, also on one of another runtime.
    pub(crate) fn start<B, F>(name: &str, body: B) -> Result<Self>
    where
        B: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()>,
    {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(name)
            .enable_all()
            .build()
            .with_context(|| format!("cannot start the runtime of {name}"))?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        () = body() => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_timeout(GRACE);
            })
            .with_context(|| format!("cannot start the thread of {name}"))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A listener on a free port of 127.0.0.1, ready to be handed to a runtime.
pub(crate) fn listen(port: u16) -> Result<(std::net::TcpListener, std::net::SocketAddr)> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", port))
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
    listener
        .set_nonblocking(true)
        .context("cannot make the listener non-blocking")?;
    let addr = listener
        .local_addr()
        .context("the listener has no address")?;
    Ok((listener, addr))
}
