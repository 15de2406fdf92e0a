//! The RTMP server with real publishers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod live_support;

use gst_neural::live::ingest::{Ingest, Keys, Options, StreamKey};
use gst_neural::live::serve::{Options as ServeOptions, Server};
use live_support::{Fake, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const KEY: &str = "s3cret-Key-of-cam1";
const OTHER: &str = "s3cret-Key-of-cam2";
const WRONG: &str = "wr0ng-Key-of-nobody";
const SOON: Duration = Duration::from_secs(15);
/// Asks this program to be a parent that will be killed, see `nginx_ends_when_we_are_killed`.
const PARENT: &str = "GST_NEURAL_TEST_INGEST_PARENT";

fn clip() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/media/rooftop_360p.mp4")
}

struct Rig {
    ingest: Option<Ingest>,
    // After the one that asks it.
    server: Server,
    fake: Arc<Fake>,
    folder: tempfile::TempDir,
}

fn rig(most: usize, change: impl Fn(&mut Options)) -> Rig {
    let mut keys = Keys::single("cam1", StreamKey::new(KEY).unwrap()).unwrap();
    keys.add("cam2", StreamKey::new(OTHER).unwrap()).unwrap();
    let fake = Arc::new(Fake {
        keys,
        most,
        ..Fake::default()
    });
    let server = Server::start(ServeOptions::default(), fake.clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(
        folder.path().join("it's \"a\" folder"),
        server.control_url(),
    );
    options.port = 0;
    change(&mut options);
    // Without nginx this fails, and says what to install.
    let ingest = Ingest::start(&options).unwrap_or_else(|e| panic!("{e}"));
    Rig {
        ingest: Some(ingest),
        server,
        fake,
        folder,
    }
}

impl Rig {
    fn ingest(&self) -> &Ingest {
        self.ingest.as_ref().unwrap()
    }

    fn publish(&self, key: &str) -> Publisher {
        Publisher::new(&format!("{}/{key}", self.ingest().publish_url()))
    }

    /// Waits for something that the program is told.
    fn told(&self, what: &str) {
        until(what, SOON, || self.fake.said().iter().any(|s| s == what));
    }

    fn count(&self, what: &str) -> usize {
        self.fake.said().iter().filter(|s| *s == what).count()
    }
}

/// ffmpeg, as slow as the clip and for ever.
struct Publisher(Child);

impl Publisher {
    fn new(url: &str) -> Self {
        Self::with(&["-c", "copy"], url)
    }

    fn with(what: &[&str], url: &str) -> Self {
        Self(
            Command::new("ffmpeg")
                .args(["-v", "error", "-re", "-stream_loop", "-1", "-i"])
                .arg(clip())
                .args(what)
                .args(["-f", "flv", url])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("ffmpeg is installed"),
        )
    }

    fn ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What plays at `url`: codecs and widths.
fn plays(url: &str) -> String {
    let output = Command::new("timeout")
        .args(["10", "ffprobe", "-v", "error", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=codec_name,width", url])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Processes with this in their command line.
fn running(with: &str) -> Vec<u32> {
    let of = |entry: std::fs::DirEntry| -> Option<u32> {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        // A process that has ended and was not asked for has none.
        String::from_utf8_lossy(&line).contains(with).then_some(pid)
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| of(e.ok()?))
        .collect()
}

fn everything_in(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(everything_in(&path));
        } else {
            std::fs::File::open(path)
                .unwrap()
                .read_to_end(&mut all)
                .unwrap();
        }
    }
    all
}

#[test]
fn a_publisher_with_a_key_appears_under_its_public_name() {
    let rig = rig(8, |_| {});
    let _publisher = rig.publish(KEY);
    rig.told("publish Ok(\"cam1\")");
    let seen = plays(&rig.ingest().play_url("cam1"));
    assert!(seen.contains("h264,640") && seen.contains("aac"), "{seen}");
    // Nobody finds it under its key.
    assert_eq!(
        plays(&format!(
            "rtmp://127.0.0.1:{}/live/{KEY}",
            rig.ingest().port()
        )),
        ""
    );
    drop(_publisher);
    rig.told("unpublished cam1");
    // And it may come back.
    let _again = rig.publish(KEY);
    until("the second publisher", SOON, || {
        rig.count("publish Ok(\"cam1\")") == 2
    });
    assert!(plays(&rig.ingest().play_url("cam1")).contains("h264"));
}

#[test]
fn others_are_turned_away_and_no_key_is_written_down() {
    let mut rig = rig(1, |_| {});
    let mut good = rig.publish(KEY);
    rig.told("publish Ok(\"cam1\")");
    for (key, refusal) in [
        (WRONG, "publish Err(Key)"),
        (KEY, "publish Err(Busy)"),
        (OTHER, "publish Err(Full)"),
    ] {
        let mut refused = rig.publish(key);
        rig.told(refusal);
        until("the refused publisher ends", SOON, || refused.ended());
    }
    // As an argument, to be somebody else.
    let mut odd = rig.publish(&format!("{OTHER}?clientid=1&name={KEY}"));
    until("the odd publisher ends", SOON, || odd.ended());
    // In the wrong place.
    let port = rig.ingest().port();
    let mut misplaced = Publisher::new(&format!("rtmp://127.0.0.1:{port}/{WRONG}/x"));
    until("the misplaced publisher ends", SOON, || misplaced.ended());
    assert!(!good.ended());
    assert_eq!(rig.fake.live.lock().unwrap().as_slice(), ["cam1"]);
    drop(good);
    rig.told("unpublished cam1");
    let ingest = rig.ingest.take().unwrap();
    let shown = format!("{ingest:?} {:?}", rig.server);
    let (_, token) = rig.server.control_url().rsplit_once('/').unwrap();
    assert!(!shown.contains(token), "{shown}");
    ingest.stop();
    let written = [everything_in(rig.folder.path()), shown.into_bytes()].concat();
    assert!(written.windows(10).any(|w| w == b"on_publish"));
    for key in [KEY, OTHER, WRONG] {
        let found = written.windows(key.len()).any(|w| w == key.as_bytes());
        assert!(
            !found,
            "a key is in {:?}",
            String::from_utf8_lossy(&written)
        );
    }
}

#[test]
fn a_publisher_that_is_not_wanted_any_more_is_sent_away() {
    let rig = rig(8, |_| {});
    let mut publisher = rig.publish(KEY);
    let _other = rig.publish(OTHER);
    rig.told("publish Ok(\"cam1\")");
    rig.told("publish Ok(\"cam2\")");
    assert!(rig.server.kick("cam1"));
    rig.told("unpublished cam1");
    until("the publisher ends", SOON, || publisher.ended());
    assert_eq!(rig.count("unpublished cam2"), 0);
}

#[test]
fn sound_without_a_picture_and_a_picture_without_sound_come_through() {
    let rig = rig(8, |_| {});
    let url = |key: &str| format!("{}/{key}", rig.ingest().publish_url());
    let _sound = Publisher::with(&["-vn", "-c:a", "copy"], &url(KEY));
    let _picture = Publisher::with(&["-an", "-c:v", "copy"], &url(OTHER));
    rig.told("publish Ok(\"cam1\")");
    rig.told("publish Ok(\"cam2\")");
    let sound = plays(&rig.ingest().play_url("cam1"));
    assert!(sound.contains("aac") && !sound.contains("h264"), "{sound}");
    let picture = plays(&rig.ingest().play_url("cam2"));
    assert!(
        picture.contains("h264") && !picture.contains("aac"),
        "{picture}"
    );
}

#[test]
fn a_short_stall_is_nothing_and_a_long_one_is_the_end() {
    let rig = rig(8, |o| o.idle = Duration::from_secs(4));
    let publisher = rig.publish(KEY);
    rig.told("publish Ok(\"cam1\")");
    let signal = |name: &str| {
        let pid = publisher.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    std::thread::sleep(Duration::from_secs(1));
    signal("-STOP");
    std::thread::sleep(Duration::from_secs(2));
    signal("-CONT");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(rig.count("unpublished cam1"), 0);
    signal("-STOP");
    rig.told("unpublished cam1");
    signal("-CONT");
}

#[test]
fn there_is_a_limit_on_connections_and_room_to_ask_behind_it() {
    let rig = rig(8, |o| o.connections = 3);
    let _publisher = rig.publish(KEY);
    rig.told("publish Ok(\"cam1\")");
    let silent: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(("127.0.0.1", rig.ingest().port())).unwrap())
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let mut refused = rig.publish(OTHER);
    until("the publisher over the limit ends", SOON, || {
        refused.ended()
    });
    drop(silent);
    std::thread::sleep(Duration::from_millis(500));
    let _other = rig.publish(OTHER);
    rig.told("publish Ok(\"cam2\")");
}

#[test]
fn garbage_ends_its_own_connection_and_nothing_else() {
    let mut rig = rig(8, |_| {});
    let mut publisher = rig.publish(KEY);
    rig.told("publish Ok(\"cam1\")");
    for round in 0u32..40 {
        let mut stream = TcpStream::connect(("127.0.0.1", rig.ingest().port())).unwrap();
        let mut state = round.wrapping_mul(2_654_435_761).wrapping_add(1);
        let noise: Vec<u8> = (0..20_000)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Half of them begin as RTMP does.
                if i == 0 && round % 2 == 0 {
                    3
                } else {
                    (state >> 24) as u8
                }
            })
            .collect();
        // nginx may close at once.
        let _ = stream.write_all(&noise);
    }
    assert!(plays(&rig.ingest().play_url("cam1")).contains("h264"));
    assert!(!publisher.ended());
    rig.ingest.as_mut().unwrap().check().unwrap();
}

#[test]
fn a_worker_that_dies_is_replaced_and_its_publishers_are_forgotten() {
    let rig = rig(8, |_| {});
    let mut publisher = rig.publish(KEY);
    rig.told("publish Ok(\"cam1\")");
    let folder = rig.folder.path().to_str().unwrap();
    let master = running(folder)
        .into_iter()
        .find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == "nginx")
        })
        .unwrap();
    let children =
        std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap();
    let worker = children.split_whitespace().next().unwrap().to_owned();
    assert!(
        Command::new("kill")
            .args(["-KILL", &worker])
            .status()
            .unwrap()
            .success()
    );
    until("the publisher ends", SOON, || publisher.ended());
    until("it is forgotten", Duration::from_secs(25), || {
        rig.count("unpublished cam1") == 1
    });
    let _again = rig.publish(KEY);
    until("the second publisher", SOON, || {
        rig.count("publish Ok(\"cam1\")") == 2
    });
}

#[test]
fn stopping_leaves_nothing_behind() {
    let mut rig = rig(8, |_| {});
    let _publisher = rig.publish(KEY);
    rig.told("publish Ok(\"cam1\")");
    let folder = rig.folder.path().to_str().unwrap().to_owned();
    let port = rig.ingest().port();
    assert!(!running(&folder).is_empty());
    rig.ingest.take().unwrap().stop();
    assert_eq!(running(&folder), [0u32; 0]);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    rig.server.forget_publishers();
    assert_eq!(rig.count("unpublished cam1"), 1);
}

/// Does nothing unless the test below runs it in a process of its own.
#[test]
fn a_parent_that_will_be_killed() {
    let Some(folder) = std::env::var_os(PARENT) else {
        return;
    };
    let mut options = Options::new(folder, "http://127.0.0.1:9/control/none");
    options.port = 0;
    let ingest = Ingest::start(&options).unwrap_or_else(|e| panic!("{e}"));
    println!("port {}", ingest.port());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn nginx_ends_when_we_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_parent_that_will_be_killed", "--nocapture"])
        .env(PARENT, folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let port: u16 = BufReader::new(parent.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|l| l.split("port ").nth(1)?.trim().parse().ok())
        .expect("the server in the other process has started");
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    let folder = folder.path().to_str().unwrap();
    until("nginx is gone", SOON, || running(folder).is_empty());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(folder.path(), "http://127.0.0.1:9/control/none");
    options.port = taken.local_addr().unwrap().port();
    let failure = Ingest::start(&options).unwrap_err().to_string();
    assert!(failure.contains(&options.port.to_string()), "{failure}");
}

#[test]
fn players_find_it_on_loopback_whatever_it_listens_on() {
    for address in ["0.0.0.0", "::1", "::"] {
        let rig = rig(8, |o| o.address = address.parse().unwrap());
        let _publisher = Publisher::new(&format!(
            "rtmp://127.0.0.1:{}/live/{KEY}",
            rig.ingest().port()
        ));
        rig.told("publish Ok(\"cam1\")");
        assert!(
            plays(&rig.ingest().play_url("cam1")).contains("h264"),
            "{address}"
        );
    }
}
