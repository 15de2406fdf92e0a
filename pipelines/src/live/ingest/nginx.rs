//! Runs nginx with its RTMP module as a child of ours.

use crate::failure::Failure;
use crate::live::lock;
use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TEMPLATE: &str = include_str!("../../../../packaging/nginx/rtmp.conf.in");
const APT: &str = "apt install nginx-light libnginx-mod-rtmp";
/// The RTMP application that publishers and players name.
const APPLICATION: &str = "live";
/// Seconds between what nginx tells of each publisher.
pub const UPDATE_S: u64 = 3;
/// Until the port answers. nginx itself tries for 2.5 s to get it.
const START: Duration = Duration::from_secs(10);
/// Until nginx is gone after it was told to stop; the shell below kills after two seconds.
const STOP: Duration = Duration::from_secs(5);
/// Lines of nginx's that are kept for an error message.
const SAID_MAX: usize = 20;

/// Runs its arguments until they end or our end of its standard input is closed, which also happens
/// when we are killed. It is the leader of a process group; at its end nobody of the group is left.
const KEEPER: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
child=$!
{ read -r line <&3; kill -TERM $child; sleep 2; kill -KILL 0; } &
exec 3<&-
wait $child
status=$?
trap '' TERM
kill -TERM 0
exit $status
"#;

/// How the RTMP server is run.
#[derive(Clone)]
pub struct Options {
    /// Where publishers connect. Loopback by default.
    pub address: IpAddr,
    /// TCP port; 0 takes a free one.
    pub port: u16,
    /// A folder for its files, made if it is not there.
    pub folder: PathBuf,
    /// Where nginx asks: `http://127.0.0.1:PORT/control/TOKEN`.
    pub control: String,
    /// Publishers and players together that may be connected at once, 1 to 10000.
    pub connections: u32,
    /// A publisher that sends nothing for this long has left; whole seconds.
    pub idle: Duration,
    /// The program, where it is not found by itself.
    pub program: Option<PathBuf>,
    /// The RTMP module, where it is not found by itself.
    pub module: Option<PathBuf>,
}

impl fmt::Debug for Options {
    /// Without the control address, which has a secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address)
            .field("port", &self.port)
            .field("folder", &self.folder)
            .field("connections", &self.connections)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// What is usual: loopback, port 1935, 64 connections, 10 s.
    pub fn new(folder: impl Into<PathBuf>, control: impl Into<String>) -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 1935,
            folder: folder.into(),
            control: control.into(),
            connections: 64,
            idle: Duration::from_secs(10),
            program: None,
            module: None,
        }
    }
}

/// A running RTMP server. It ends when this is dropped, and when this process ends in any way.
#[derive(Debug)]
pub struct Ingest {
    keeper: Child,
    /// Closing it is what stops the server.
    stdin: Option<ChildStdin>,
    address: IpAddr,
    port: u16,
    said: Arc<Mutex<VecDeque<String>>>,
}

impl Ingest {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    ///
    /// nginx or its module is not installed, the port is taken, the folder cannot be written, or
    /// nginx does not answer within ten seconds; with what nginx said.
    pub fn start(options: &Options) -> Result<Self, Failure> {
        let (program, module) = installed(options.program.as_deref(), options.module.as_deref())?;
        let port = free_port(options.address, options.port)?;
        let folder = prepare(&options.folder)?;
        let config = folder.join("nginx.conf");
        write_private(&config, &configuration(options, &module, port)?)?;
        let mut keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "sh"])
            .arg(&program)
            .args(["-e", "stderr", "-p"])
            .arg(&folder)
            .arg("-c")
            .arg(&config)
            // Ctrl-C in a terminal is for us; we then stop it in our own order.
            .process_group(0)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Failure::new(format!("starting nginx: {e}")))?;
        let said = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stderr) = keeper.stderr.take() {
            let said = Arc::clone(&said);
            std::thread::Builder::new()
                .name("rtmp-said".into())
                .spawn(move || listen(stderr, &said))
                .map_err(|e| Failure::new(format!("starting a thread: {e}")))?;
        }
        let mut ingest = Self {
            stdin: keeper.stdin.take(),
            keeper,
            address: options.address,
            port,
            said,
        };
        ingest.wait_until_ready()?;
        Ok(ingest)
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let here = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port);
        loop {
            self.check()?;
            // Another program may hold the port, and nginx complains of it before it ends.
            if lock(&self.said).is_empty()
                && TcpStream::connect_timeout(&here, Duration::from_millis(200)).is_ok()
            {
                return Ok(());
            }
            if begun.elapsed() > START {
                return Err(self.failure("nginx does not answer"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    ///
    /// It has ended; with what it said last.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.keeper.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                // What it said last may still be on its way.
                std::thread::sleep(Duration::from_millis(50));
                Err(self.failure(&format!("nginx ended ({status})")))
            }
            Err(e) => Err(Failure::new(format!("nginx: {e}"))),
        }
    }

    fn failure(&self, what: &str) -> Failure {
        let said: Vec<String> = lock(&self.said).iter().cloned().collect();
        let failure = Failure::new(match said.last() {
            Some(last) => format!("the RTMP server: {what}: {last}"),
            None => format!("the RTMP server: {what}"),
        });
        if said.iter().any(|l| l.contains("Address already in use")) {
            failure.hint(format!("something else uses port {}", self.port))
        } else {
            failure
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What publishers type as the server; the stream key is a field of its own in OBS, and one more
    /// `/KEY` behind this for ffmpeg.
    pub fn publish_url(&self) -> String {
        let host = match self.address {
            a if a.is_unspecified() => "THIS-MACHINE".to_owned(),
            IpAddr::V4(a) => a.to_string(),
            IpAddr::V6(a) => format!("[{a}]"),
        };
        format!("rtmp://{host}:{}/{APPLICATION}", self.port)
    }

    /// Where the stream with this public name can be played, on this machine only.
    pub fn play_url(&self, name: &str) -> String {
        format!("rtmp://127.0.0.1:{}/{APPLICATION}/{name}", self.port)
    }

    /// Stops it; takes up to some seconds.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stdin.take());
        let begun = Instant::now();
        while begun.elapsed() < STOP {
            if !matches!(self.keeper.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // It is gone already, or not ours to end any more: nothing is left to do about it.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.end();
    }
}

/// Keeps the last lines.
fn listen(stderr: impl std::io::Read, said: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if line.is_empty() {
            continue;
        }
        let mut said = lock(said);
        if said.len() == SAID_MAX {
            said.pop_front();
        }
        said.push_back(line);
    }
}

/// nginx and its RTMP module: those that are given, else where they usually are.
///
/// # Errors
///
/// One of them is not there; with the command that installs it.
pub fn installed(
    program: Option<&Path>,
    module: Option<&Path>,
) -> Result<(PathBuf, PathBuf), Failure> {
    let programs = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
    let modules = [
        "/usr/lib/nginx/modules/ngx_rtmp_module.so",
        "/usr/lib64/nginx/modules/ngx_rtmp_module.so",
        "/usr/local/nginx/modules/ngx_rtmp_module.so",
    ];
    Ok((
        found(program, &programs, "nginx")?,
        found(module, &modules, "the RTMP module of nginx")?,
    ))
}

fn found(given: Option<&Path>, usual: &[&str], what: &str) -> Result<PathBuf, Failure> {
    let place = match given {
        Some(path) => path.is_file().then(|| path.to_path_buf()),
        None => usual.iter().map(PathBuf::from).find(|p| p.is_file()),
    };
    place.ok_or_else(|| {
        Failure::new(match given {
            Some(path) => format!("{what} is not at {}", path.display()),
            None => format!("{what} is not installed"),
        })
        .hint(APT)
    })
}

/// The port asked for, if it is free, or any free one. nginx takes it a moment later; should somebody
/// else be faster, nginx says so.
fn free_port(address: IpAddr, port: u16) -> Result<u16, Failure> {
    let at = SocketAddr::new(address, port);
    TcpListener::bind(at)
        .and_then(|l| l.local_addr())
        .map(|a| a.port())
        .map_err(|e| {
            let failure = Failure::new(format!("the RTMP server cannot listen on {at}: {e}"));
            match e.kind() {
                std::io::ErrorKind::AddrInUse => failure.hint(
                    "another program uses this port (an nginx of the system?): give another one",
                ),
                _ => failure,
            }
        })
}

/// Makes the folder if need be; only we can look into it, for the configuration has a token in it.
fn prepare(folder: &Path) -> Result<PathBuf, Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .and_then(|()| folder.canonicalize())
        .map_err(|e| Failure::io("making the folder of the RTMP server", folder, &e))
}

fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let written = || -> std::io::Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?
            .write_all(text.as_bytes())
    };
    written().map_err(|e| Failure::io("writing", path, &e))
}

fn configuration(options: &Options, module: &Path, port: u16) -> Result<String, Failure> {
    let odd = |what: &str| Failure::usage(format!("{what} cannot be written to nginx.conf"));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/:[]".contains(&b);
    if !options.control.starts_with("http://") || !options.control.bytes().all(plain) {
        return Err(odd("the control address"));
    }
    let module = module
        .to_str()
        .filter(|m| !m.contains(['"', '\\', '$', '\n']))
        .ok_or_else(|| odd("the module's path"))?;
    if !(1..=10_000).contains(&options.connections) {
        return Err(Failure::usage("1 to 10000 connections are possible"));
    }
    let listen: Vec<String> = listens(options.address, port)
        .iter()
        .map(|at| match at {
            SocketAddr::V4(_) => format!("        listen {at};"),
            // Else it would take the other family's addresses as well.
            SocketAddr::V6(_) => format!("        listen {at} ipv6only=on;"),
        })
        .collect();
    // As root, the process that parses what comes from outside is nobody.
    let user = if root() { "user nobody nogroup;" } else { "" };
    // Each publisher has a callback's connection beside its own.
    let connections = options.connections.saturating_mul(2).saturating_add(32);
    Ok(TEMPLATE
        .replace("@MODULE@", module)
        .replace("@USER@", user)
        .replace("@CONNECTIONS@", &connections.to_string())
        .replace("@PEERS@", &options.connections.to_string())
        .replace("@LISTEN@", &listen.join("\n"))
        .replace("@IDLE@", &options.idle.as_secs().max(1).to_string())
        .replace("@PLAY@", "            allow play 127.0.0.1;")
        .replace("@UPDATE@", &UPDATE_S.to_string())
        .replace("@CONTROL@", &options.control))
}

/// What to listen on: what was asked for, and loopback in any case, for players come from there. All
/// addresses of IPv6 means those of IPv4 as well, as usual.
fn listens(address: IpAddr, port: u16) -> Vec<SocketAddr> {
    let mut all = vec![address];
    match address {
        IpAddr::V4(a) if a.is_unspecified() || a == Ipv4Addr::LOCALHOST => {}
        IpAddr::V6(a) if a.is_unspecified() => all.push(Ipv4Addr::UNSPECIFIED.into()),
        _ => all.push(Ipv4Addr::LOCALHOST.into()),
    }
    all.into_iter().map(|a| SocketAddr::new(a, port)).collect()
}

/// Whether we are root, as the owner of our own entry in `/proc` says.
fn root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options::new("/nowhere", "http://127.0.0.1:1/control/abc")
    }

    fn conf(options: &Options) -> Result<String, Failure> {
        configuration(options, Path::new("/m.so"), 1935)
    }

    #[test]
    fn the_template_is_filled_in_everywhere() {
        let conf = conf(&options()).unwrap();
        let directives: Vec<&str> = conf
            .lines()
            .filter(|l| !l.trim_start().starts_with('#'))
            .collect();
        assert!(!directives.iter().any(|l| l.contains('@')), "{conf}");
        assert!(conf.contains("listen 127.0.0.1:1935;"));
        assert!(conf.contains("on_publish http://127.0.0.1:1/control/abc/publish;"));
        assert_eq!(conf.matches("listen ").count(), 1);
    }

    #[test]
    fn players_always_find_it_on_loopback() {
        for (address, listens) in [("0.0.0.0", 1), ("192.0.2.1", 2), ("::", 2), ("::1", 2)] {
            let options = Options {
                address: address.parse().unwrap(),
                ..options()
            };
            let conf = conf(&options).unwrap();
            assert_eq!(conf.matches("listen ").count(), listens, "{conf}");
        }
    }

    #[test]
    fn nothing_can_be_slipped_into_the_configuration() {
        for control in [
            "http://h/; include /etc/passwd;",
            "ftp://h/",
            "http://h/\n}",
        ] {
            let options = Options {
                control: control.into(),
                ..options()
            };
            assert!(conf(&options).is_err());
        }
        assert!(configuration(&options(), Path::new("/a\";evil"), 1).is_err());
    }

    #[test]
    fn a_missing_server_says_what_to_install() {
        for options in [
            Options {
                program: Some("/nowhere/nginx".into()),
                ..options()
            },
            Options {
                module: Some("/nowhere/ngx_rtmp_module.so".into()),
                ..options()
            },
        ] {
            let failure = Ingest::start(&options).unwrap_err().to_string();
            assert!(
                failure.contains("apt install nginx-light libnginx-mod-rtmp"),
                "{failure}"
            );
        }
    }
}
