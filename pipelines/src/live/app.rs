//! `gst-neural live`: the streams, the RTMP server, the page.

use super::args::{Live, seconds};
use super::choose::Speeds;
use super::hls::options::{Container, Options};
use super::hls::store;
use super::ingest::keys::is_name;
use super::ingest::{self, Ingest, Keys, StreamKey};
use super::lock;
use super::serve::{self, Server};
use super::settings::{Limits, Settings};
use super::slots::Slots;
use super::status::{self, Control, Phase, Refusal};
use super::stream::{Handle, Origin, Say};
use crate::failure::{Exit, Failure};
use crate::report::Reporter;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often the main thread looks.
const TICK: Duration = Duration::from_millis(100);
/// Between two lines of figures.
const EVERY: Duration = Duration::from_secs(10);

/// The streams and what may begin one.
#[derive(Debug)]
pub struct App {
    settings: Arc<Settings>,
    slots: Arc<Slots>,
    keys: Keys,
    max_streams: usize,
    stopping: AtomicBool,
    /// Where the RTMP server plays streams, without their names.
    play: OnceLock<String>,
    streams: Mutex<BTreeMap<String, Handle>>,
    say: Speaker,
}

/// [`Say`], which has no `Debug`.
struct Speaker(Say);

impl std::fmt::Debug for Speaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Speaker")
    }
}

/// An event for scripts.
#[derive(Serialize)]
struct Said<'a> {
    stream: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Ready<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ingest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<&'a str>,
}

#[derive(Serialize)]
struct Figures<'a> {
    streams: &'a [status::Stream],
}

impl App {
    fn begin(&self, origin: Origin) -> Result<(), Failure> {
        let name = origin.name.clone();
        let handle = Handle::start(origin, &self.settings, &self.slots, &self.say.0)?;
        lock(&self.streams).insert(name, handle);
        Ok(())
    }

    fn all_over(&self) -> bool {
        lock(&self.streams).values().all(Handle::is_over)
    }

    /// Streams that are over though somebody still publishes.
    fn turned_away(&self) -> Vec<String> {
        let streams = lock(&self.streams);
        let away = streams
            .iter()
            .filter(|(_, h)| h.is_over() && h.is_published());
        away.map(|(name, _)| name.clone()).collect()
    }

    /// All streams come to their end at the same time.
    fn stop(&self) {
        self.stopping.store(true, SeqCst);
        lock(&self.streams).values().for_each(Handle::stop);
    }
}

impl Control for App {
    fn publish(&self, key: &str) -> Result<String, Refusal> {
        let name = self.keys.name_of(key).ok_or(Refusal::Key)?.to_owned();
        if self.stopping.load(SeqCst) {
            return Err(Refusal::Stopping);
        }
        let play = self.play.get().ok_or(Refusal::Stopping)?;
        let mut streams = lock(&self.streams);
        if let Some(handle) = streams.get(&name).filter(|h| !h.is_over()) {
            if handle.is_published() {
                return Err(Refusal::Busy);
            }
            handle.published(true);
            return Ok(name);
        }
        if streams.values().filter(|h| !h.is_over()).count() >= self.max_streams {
            return Err(Refusal::Full);
        }
        let origin = Origin {
            uri: format!("{play}{name}"),
            name: name.clone(),
            told: true,
        };
        let handle = Handle::start(origin, &self.settings, &self.slots, &self.say.0)
            .map_err(|_| Refusal::Full)?;
        streams.insert(name.clone(), handle);
        Ok(name)
    }

    fn unpublished(&self, name: &str) {
        if let Some(handle) = lock(&self.streams).get(name) {
            handle.published(false);
        }
    }

    fn streams(&self) -> Vec<status::Stream> {
        lock(&self.streams).values().map(Handle::status).collect()
    }

    fn compare(&self, name: &str, on: bool) -> bool {
        let streams = lock(&self.streams);
        let found = streams.get(name).filter(|h| !h.is_over());
        found.inspect(|h| h.compare(on)).is_some()
    }

    fn reached(&self, path: &str) -> Option<watch::Receiver<(u64, u32)>> {
        let (name, _) = path.split_once('/')?;
        let publisher = lock(&self.streams).get(name)?.publisher()?;
        publisher.reached(path)
    }
}

/// The parts of `rtmp://HOST:PORT/APP/KEY` that matter to a server of ours.
fn listen(uri: &str) -> Result<(IpAddr, u16, Option<StreamKey>), Failure> {
    let wrong =
        || Failure::usage("--ingest: with --with-ingest it is rtmp://ADDRESS:PORT/live/KEY");
    let rest = uri.strip_prefix("rtmp://").ok_or_else(wrong)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (address, port) = match host.parse::<SocketAddr>() {
        Ok(both) => (both.ip(), both.port()),
        Err(_) => match host.rsplit_once(':') {
            Some(("localhost", port)) => (
                IpAddr::from([127, 0, 0, 1]),
                port.parse().map_err(|_| wrong())?,
            ),
            _ => (host.parse().map_err(|_| wrong())?, 1935),
        },
    };
    let key = match path.split_once('/') {
        Some(("live", key)) if !key.is_empty() => Some(StreamKey::new(key)?),
        None if path.is_empty() || path == "live" => None,
        Some(("live", _)) => None,
        _ => return Err(wrong()),
    };
    Ok((address, port, key))
}

/// Who may publish; and the file in `folder` that a key made here was written to.
fn keys(
    args: &Live,
    given: Option<StreamKey>,
    folder: &Path,
    say: &Say,
) -> Result<(Keys, Option<PathBuf>), Failure> {
    if let Some(file) = &args.keys {
        if given.is_some() {
            return Err(Failure::usage(
                "a key in --ingest and --keys: take one of them",
            ));
        }
        let (keys, warning) = Keys::from_file(file)?;
        if let Some(warning) = warning {
            say("", &warning);
        }
        return Ok((keys, None));
    }
    let (key, file) = match given {
        Some(key) => (key, None),
        None => {
            let key = StreamKey::generate()?;
            let file = folder.join("stream-key");
            let written = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&file)
                .and_then(|mut f| writeln!(f, "{}", key.reveal()));
            written.map_err(|e| Failure::io("writing", &file, &e))?;
            (key, Some(file))
        }
    };
    Ok((Keys::single(&args.name, key)?, file))
}

fn settings(args: &Live, say: &Say) -> Result<Settings, Failure> {
    let part = args
        .part
        .map(|p| seconds("--part", p, 0.1..=0.45))
        .transpose()?;
    let container = match (args.container, part) {
        (Some(form), _) => form.into(),
        (None, Some(_)) => Container::Cmaf,
        (None, None) => Container::Ts,
    };
    let hls = Options {
        container,
        segment: seconds("--segment", args.segment, 1.0..=10.0)?,
        part,
        window: (!args.event).then_some(args.window),
        keep: args.keep,
        ..Options::default()
    };
    hls.validate()?;
    if container == Container::Cmaf {
        crate::plugins::ensure_cmafmux()?;
    }
    let model = (args.model != "auto").then(|| args.model.clone());
    let speeds = match &model {
        Some(name) => {
            // Said now, not when somebody publishes.
            super::choose::scale_of(args.model_dir.as_deref(), name)?;
            Speeds::default()
        }
        None => Speeds::measured(
            args.model_dir.as_deref(),
            args.threads,
            &args.device,
            |text| say("", text),
        )?,
    };
    // Said now, not when somebody publishes.
    store::open(&args.out)?;
    Ok(Settings {
        ladder: args.ladder.0.clone(),
        hls,
        out: args.out.clone(),
        model,
        model_dir: args.model_dir.clone(),
        threads: args.threads,
        element: [
            ("device", args.device.as_str()),
            ("qos-mode", "fallback"),
            ("compare", "split"),
            ("split-pos", "0"),
        ]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .to_vec(),
        speeds,
        preset: args.preset.clone(),
        limits: Limits {
            pixels: u64::from(args.max_size.0) * u64::from(args.max_size.1),
            fps: args.max_fps,
            bps: args.max_bitrate,
        },
        reconnect: Duration::from_secs(args.reconnect),
        idle: Duration::from_secs(args.idle),
        over_limit: args.over_limit,
    })
}

/// Runs until it is interrupted, or the only stream there can be is over.
///
/// # Errors
/// When something is missing or cannot be used as asked for, before anything begins.
pub fn run(
    args: &Live,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<Exit, Failure> {
    if !is_name(&args.name) {
        return Err(Failure::usage(format!(
            "--name {}: letters, digits, - and _, at most 64",
            args.name
        )));
    }
    let quiet = args.quiet || args.json;
    let queue: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let say: Say = {
        let queue = Arc::clone(&queue);
        Arc::new(move |stream, text| lock(&queue).push((stream.to_owned(), text.to_owned())))
    };
    crate::plugins::ensure_nnupscale()?;
    let (listening, given) = match (&args.ingest, args.with_ingest) {
        (Some(uri), true) => {
            let (address, port, key) = listen(uri)?;
            (Some((address, port)), key)
        }
        (None, true) => (Some((IpAddr::from([127, 0, 0, 1]), 1935)), None),
        (Some(_), false) => (None, None),
        (None, false) => {
            return Err(Failure::usage("where does the stream come from?")
                .hint("--ingest URI takes it from a server, --with-ingest starts one"));
        }
    };
    let folder = tempfile::Builder::new()
        .prefix("gst-neural-live-")
        .tempdir()
        .map_err(|e| Failure::new(format!("a temporary folder: {e}")))?;
    let (keys, key_file) = match listening {
        Some(_) => keys(args, given, folder.path(), &say)?,
        None => (Keys::default(), None),
    };
    let settings = Arc::new(settings(args, &say)?);
    let out = (crate::location::scheme(&args.out).is_none()).then(|| PathBuf::from(&args.out));
    let app = Arc::new(App {
        settings,
        slots: Slots::new(args.max_networks),
        keys,
        max_streams: args.max_streams.max(1),
        stopping: AtomicBool::new(false),
        play: OnceLock::new(),
        streams: Mutex::default(),
        say: Speaker(say),
    });
    let server = Server::start(
        serve::Options {
            // Without a page the RTMP server still has its questions, and nobody else has any.
            address: args.serve.map_or(Ipv4Addr::LOCALHOST.into(), |_| args.bind),
            port: args.serve.unwrap_or(0),
            out: out.filter(|_| args.serve.is_some()),
            names: args.host.clone(),
            ..serve::Options::default()
        },
        Arc::clone(&app) as Arc<dyn Control>,
    )?;
    let mut nginx = match listening {
        Some((address, port)) => {
            let ingest = Ingest::start(&ingest::Options {
                address,
                port,
                idle: Duration::from_secs(args.idle),
                ..ingest::Options::new(folder.path().join("rtmp"), server.control_url())
            })?;
            let _ = app.play.set(ingest.play_url(""));
            Some(ingest)
        }
        None => {
            let uri = args.ingest.clone().unwrap_or_default();
            app.begin(Origin {
                name: args.name.clone(),
                uri,
                told: false,
            })?;
            None
        }
    };
    announce(args, &server, nginx.as_ref(), key_file, reporter);

    let mut told = Instant::now();
    let mut stopped = false;
    loop {
        for (stream, message) in std::mem::take(&mut *lock(&queue)) {
            reporter.event(
                "said",
                &Said {
                    stream: &stream,
                    message: &message,
                },
            );
            if !quiet {
                let colon = if stream.is_empty() { "" } else { ": " };
                eprintln!("{stream}{colon}{message}");
            }
        }
        if interrupts.load(SeqCst) > 0 && !stopped {
            stopped = true;
            app.stop();
        }
        if interrupts.load(SeqCst) > 1 {
            return Ok(Exit::Interrupted);
        }
        if (stopped || nginx.is_none()) && app.all_over() {
            break;
        }
        if let Some(ingest) = &mut nginx
            && !stopped
            && let Err(e) = ingest.check()
        {
            app.stop();
            return Err(e);
        }
        for name in app.turned_away() {
            server.kick(&name);
        }
        if told.elapsed() >= EVERY {
            told = Instant::now();
            figures(&app.streams(), quiet, reporter);
        }
        std::thread::sleep(TICK);
    }
    let streams = app.streams();
    figures(&streams, quiet, reporter);
    drop(nginx);
    drop(server);
    match streams.iter().find(|s| s.phase == Phase::Failed) {
        Some(failed) => Err(Failure::new(format!(
            "{}: {}",
            failed.name,
            failed.error.clone().unwrap_or_else(|| "it failed".into())
        ))),
        None => Ok(Exit::Ok),
    }
}

fn announce(
    args: &Live,
    server: &Server,
    nginx: Option<&Ingest>,
    key_file: Option<PathBuf>,
    reporter: &Reporter,
) {
    let page = args.serve.map(|_| server.url());
    let ingest = nginx.map(Ingest::publish_url);
    let key_file = key_file.map(|f| f.display().to_string());
    reporter.event(
        "ready",
        &Ready {
            page: page.as_deref(),
            ingest: ingest.as_deref(),
            key_file: key_file.as_deref(),
        },
    );
    if args.json || args.quiet {
        return;
    }
    if let Some(ingest) = &ingest {
        eprintln!("publish to {ingest}, with the stream key");
    }
    if let Some(file) = &key_file {
        eprintln!("the stream key is in {file}");
    }
    if let Some(page) = &page {
        eprintln!("watch on {page}");
    }
    if !args.bind.is_loopback() && args.serve.is_some() {
        eprintln!(
            "warning: anybody who reaches {} can watch, and switch before and after",
            args.bind
        );
    }
}

fn figures(streams: &[status::Stream], quiet: bool, reporter: &Reporter) {
    reporter.event("figures", &Figures { streams });
    if quiet || !std::io::stderr().is_terminal() && streams.is_empty() {
        return;
    }
    for s in streams.iter().filter(|s| s.frames_in > 0) {
        let share = 100.0 * s.fallback_frames as f64 / s.frames_out.max(1) as f64;
        eprintln!(
            "{}: {} frames, {:.1} fps, {share:.1} % by the classical upscale, {} dropped, {:.1} s behind",
            s.name, s.frames_in, s.fps, s.dropped_frames, s.delay_s
        );
    }
}
