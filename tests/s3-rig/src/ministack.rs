//! MiniStack, a server of many AWS services, as a child process.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};
use tempfile::TempDir;

use crate::background::listen;

/// How long it may take to answer; it needs 2 to 5 s on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often another port is tried when somebody else took the one that was free.
const ATTEMPTS: usize = 3;
/// What MiniStack says then.
const TAKEN: &str = "already in use";
const LOG: &str = "log.txt";
const ACCESS_KEY: &str = "rigroot";
const SECRET_KEY: &str = "rigrootsecret";

/// [MiniStack](https://pypi.org/project/ministack/) on a free port of 127.0.0.1: S3 with
/// versions, events, lifecycle rules and SSE headers, and IAM, STS, SQS and others on the same
/// port.
///
/// Everything is held in memory. IAM is enforced for users that a test creates there; the keys
/// given here are the root's, whose secret MiniStack does not look at. The process group ends
/// when this is dropped, and the process when its parent dies.
#[derive(Debug)]
pub struct MiniStack {
    // The keeper ends the child when this goes.
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<thread::JoinHandle<()>>,
    addr: SocketAddr,
    _folder: TempDir,
}

impl MiniStack {
    /// Where the program is: what `GST_NEURAL_MINISTACK` names, else the checkout's
    /// `.deps/venv/bin/ministack`, else `ministack` on the path.
    #[must_use]
    pub fn program() -> Option<PathBuf> {
        if let Some(named) = std::env::var_os("GST_NEURAL_MINISTACK") {
            return Some(PathBuf::from(named));
        }
        let checkout = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.deps/venv/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::iter::once(checkout)
            .chain(std::env::split_paths(&path))
            .map(|folder| folder.join("ministack"))
            .find(|program| program.is_file())
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// If it is not installed, ends at once or does not answer within a minute.
    pub fn start() -> Result<Self> {
        let program = Self::program().ok_or_else(|| {
            anyhow!("ministack was not found; packaging/setup.sh installs it into .deps/venv")
        })?;
        // Its port is free now; if it is taken before MiniStack is there, it says so and ends.
        let mut attempt = 1;
        loop {
            match Self::attempt(&program) {
                Err(error) if attempt < ATTEMPTS && format!("{error}").contains(TAKEN) => {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn attempt(program: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("s3-rig-ministack-")
            .tempdir()
            .context("cannot make the temporary folder of ministack")?;
        let (listener, addr) = listen(0)?;
        drop(listener);
        let (stop, stopped) = mpsc::channel();
        let (ready, told) = mpsc::channel();
        let (program, home) = (program.to_owned(), folder.path().to_owned());
        // The kernel ends the child when the *thread* that made it ends, so that has to be one
        // which lives as long as the child should.
        let keeper = thread::Builder::new()
            .name("s3-rig-ministack".to_owned())
            .spawn(move || keep(&program, addr, &home, &ready, &stopped))
            .context("cannot start the thread that keeps ministack")?;
        let stack = Self {
            stop: Some(stop),
            keeper: Some(keeper),
            addr,
            _folder: folder,
        };
        told.recv()
            .unwrap_or_else(|_| Err(anyhow!("the thread that keeps ministack died")))?;
        Ok(stack)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens, as an `http://` URL without a slash at the end.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The root's access key.
    #[must_use]
    pub fn access_key(&self) -> &str {
        ACCESS_KEY
    }

    /// The root's secret key.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        SECRET_KEY
    }
}

impl Drop for MiniStack {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// Runs the child until told to stop, having said whether it answers.
fn keep(
    program: &Path,
    addr: SocketAddr,
    folder: &Path,
    ready: &mpsc::Sender<Result<()>>,
    stopped: &mpsc::Receiver<()>,
) {
    let mut child = match spawn(program, addr, folder) {
        Ok(child) => child,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let answers = wait_until_it_answers(&mut child, addr, stopped)
        .with_context(|| format!("ministack said: {}", said(folder)));
    let failed = answers.is_err();
    let _ = ready.send(answers.map_err(|error| anyhow!("{error:#}")));
    if !failed {
        // Until the sender is dropped.
        let _ = stopped.recv();
    }
    end(&mut child);
}

fn spawn(program: &Path, addr: SocketAddr, folder: &Path) -> Result<Child> {
    let log = File::create(folder.join(LOG)).context("cannot write ministack's log")?;
    let mut command = Command::new(program);
    command
        .env("AUTH", "true")
        .env("BIND_HOST", addr.ip().to_string())
        .env("GATEWAY_PORT", addr.port().to_string())
        .env("IOT_MTLS_ENABLED", "0")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env_remove("AWS_SESSION_TOKEN")
        .env("TMPDIR", folder)
        .env("PERSIST_STATE", "0")
        .env("S3_PERSIST", "0")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share ministack's log")?)
        .stderr(log)
        .process_group(0);
    // SAFETY: one system call, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)
        });
    }
    command
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

fn wait_until_it_answers(
    child: &mut Child,
    addr: SocketAddr,
    stopped: &mpsc::Receiver<()>,
) -> Result<()> {
    let limit = Instant::now() + START_LIMIT;
    while Instant::now() < limit {
        if let Some(status) = child.try_wait().context("cannot ask after ministack")? {
            bail!("ministack ended while starting ({status})");
        }
        if answers(addr) {
            return Ok(());
        }
        // Also the pause between two tries.
        match stopped.recv_timeout(Duration::from_millis(50)) {
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            _ => bail!("ministack was stopped while starting"),
        }
    }
    bail!(
        "ministack did not answer at {addr} within {} s",
        START_LIMIT.as_secs()
    )
}

/// Whether its health page comes.
fn answers(addr: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(
            format!("GET /_ministack/health HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(start == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

/// The last lines of its log.
fn said(folder: &Path) -> String {
    let log = std::fs::read(folder.join(LOG)).unwrap_or_default();
    let tail = &log[log.len().saturating_sub(2000)..];
    String::from_utf8_lossy(tail).trim().to_owned()
}

/// Ends the child and all it started, without asking: it has nothing to save.
fn end(child: &mut Child) {
    if let Ok(id) = i32::try_from(child.id())
        && let Some(group) = Pid::from_raw(id)
    {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}
