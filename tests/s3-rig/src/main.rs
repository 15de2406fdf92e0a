//! `s3-rig`: the servers of this crate for what is not written in Rust.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use gstneural_s3_rig::{Fault, FaultProxy, Op, Plan, Rule, Server};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// A real S3 server for tests and benchmarks, and a proxy that makes it misbehave.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves on a free port of 127.0.0.1 until its input ends or it is told to by a signal.
    ///
    /// The first line of its output is a JSON object with endpoint, access_key, secret_key,
    /// region and folder. To each line of its input it answers with one: "stats" gives what was
    /// asked since the last "clear", and the uploads that are left.
    Serve(Box<Serve>),
}

#[derive(Debug, Args)]
struct Serve {
    /// Keep the data in this folder instead of a temporary one
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Make this bucket (can be given more than once)
    #[arg(long, value_name = "NAME")]
    bucket: Vec<String>,
    /// Listen on this port instead of a free one
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// The only access key that is known
    #[arg(long, requires = "secret_key")]
    access_key: Option<String>,
    /// Its secret
    #[arg(long, requires = "access_key")]
    secret_key: Option<String>,
    /// Let requests without a signature do everything
    #[arg(long)]
    anonymous: bool,
    /// Let each request wait so long first
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    latency_ms: u64,
    /// All uploads together, in bytes a second
    #[arg(long, value_name = "N")]
    up: Option<u64>,
    /// All downloads together, in bytes a second
    #[arg(long, value_name = "N")]
    down: Option<u64>,
    /// FAULT[=ARGUMENT][:op=Op,part=N,key=TEXT,method=M,nth=N,skip=N,times=N,p=P]
    /// (can be given more than once), for instance "truncate=0.5:op=GetObject,nth=2"
    #[arg(long, value_name = "RULE")]
    fault: Vec<Rule>,
    /// Befall requests with this probability by what networks do
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.0,
        hide_default_value = true
    )]
    chaos: f64,
    /// What probabilities and random places follow from
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    seed: u64,
}

fn main() -> Result<()> {
    let Cli {
        command: Command::Serve(serve),
    } = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // Before anybody can know of this process: a signal must not leave the folder behind.
    let signals = {
        let _inside = runtime.enter();
        Signals::catch()?
    };
    let mut builder = Server::builder().port(if serve.is_plain() { serve.port } else { 0 });
    if let (Some(access), Some(secret)) = (&serve.access_key, &serve.secret_key) {
        builder = builder.keys(access, secret);
    }
    if serve.anonymous {
        builder = builder.anonymous();
    }
    if let Some(folder) = &serve.dir {
        builder = builder.folder(folder);
    }
    let server = builder.start()?;
    for bucket in &serve.bucket {
        server.create_bucket(bucket)?;
    }
    let proxy = match serve.plan() {
        Some(plan) => Some(FaultProxy::start_on(serve.port, server.addr(), plan)?),
        None => None,
    };
    say(&json!({
        "endpoint": proxy.as_ref().map_or_else(|| server.endpoint(), FaultProxy::endpoint),
        "access_key": server.access_key(),
        "secret_key": server.secret_key(),
        "region": "us-east-1",
        "folder": server.folder(),
    }))?;

    runtime.block_on(converse(signals, &server, proxy.as_ref(), &serve))
}

impl Serve {
    /// Whether no proxy is needed.
    fn is_plain(&self) -> bool {
        self.latency_ms == 0
            && self.up.is_none()
            && self.down.is_none()
            && self.fault.is_empty()
            && self.chaos <= 0.0
    }

    fn plan(&self) -> Option<Plan> {
        if self.is_plain() {
            return None;
        }
        let faults = if self.chaos > 0.0 {
            Fault::of_the_network()
        } else {
            Vec::new()
        };
        let mut plan =
            Plan::chaos(self.seed, self.chaos.min(1.0), faults).latency_ms(self.latency_ms);
        if let Some(rate) = self.up {
            plan = plan.up(rate);
        }
        if let Some(rate) = self.down {
            plan = plan.down(rate);
        }
        for rule in &self.fault {
            plan = plan.rule(rule.clone());
        }
        Some(plan)
    }
}

/// The signals that end it.
struct Signals {
    terminated: Signal,
    interrupted: Signal,
}

impl Signals {
    fn catch() -> Result<Self> {
        Ok(Self {
            terminated: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupted: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }
}

/// Answers to what comes in until that ends or a signal says so.
async fn converse(
    mut signals: Signals,
    server: &Server,
    proxy: Option<&FaultProxy>,
    serve: &Serve,
) -> Result<()> {
    let (heard, mut lines) = mpsc::channel(16);
    // This thread may stay in its read when the process ends.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if heard.blocking_send(line).is_err() {
                break;
            }
        }
    });
    loop {
        let line = tokio::select! {
            _ = signals.terminated.recv() => return Ok(()),
            _ = signals.interrupted.recv() => return Ok(()),
            line = lines.recv() => line,
        };
        match line.as_deref().map(str::trim) {
            None => return Ok(()),
            Some("stats") => say(&stats(server, proxy)?)?,
            Some("clear") => {
                if let (Some(proxy), Some(plan)) = (proxy, serve.plan()) {
                    proxy.set_plan(plan);
                }
                say(&json!({ "cleared": true }))?;
            }
            Some(other) => {
                say(&json!({ "error": format!("{other:?} is neither stats nor clear") }))?
            }
        }
    }
}

fn stats(server: &Server, proxy: Option<&FaultProxy>) -> Result<Value> {
    let uploads: Vec<_> = server
        .pending_uploads()?
        .into_iter()
        .map(|upload| {
            json!({
                "upload_id": upload.upload_id,
                "bucket": upload.bucket,
                "key": upload.key,
                "parts": upload.parts,
            })
        })
        .collect();
    let mut told = Map::new();
    told.insert("pending_uploads".to_owned(), uploads.into());
    if let Some(proxy) = proxy {
        let counts = proxy.counts();
        let of = |number: &dyn Fn(Op) -> u64| -> Value {
            let entries = counts.keys().map(|op| (op.to_string(), number(*op).into()));
            Value::Object(entries.collect())
        };
        told.insert("requests".to_owned(), of(&|op| counts[&op]));
        told.insert("peak".to_owned(), of(&|op| proxy.peak(op) as u64));
        told.insert("faults".to_owned(), json!(proxy.faults()));
    }
    Ok(Value::Object(told))
}

fn say(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")
        .and_then(|()| out.flush())
        .context("cannot write to the output")
}
