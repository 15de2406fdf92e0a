//! Which network a live stream gets: the largest one that leaves half of each frame's time free.

use super::ladder::frame_time;
use crate::failure::{Failure, make};
use crate::models::roots;
use crate::parts::{add_chain, fail};
use gst::prelude::*;
use gstneural_inference::{Model, ModelStore};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The size that is measured; other sizes are taken to cost by their pixels.
const SIZE: (u32, u32) = (640, 360);
/// Frames of a measurement.
const FRAMES: i32 = 45;
/// The networks for live streams by their scale, the best first.
const CANDIDATES: [(u32, &[&str]); 2] = [(2, &["luma-x2", "luma-x2-fast"]), (4, &["luma-x4"])];
/// The part of a frame's time that the network may take.
const PART: f64 = 0.5;

/// How long networks take on this machine: 95th percentiles for 640x360, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Speeds(BTreeMap<String, Duration>);

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Name or file of the network.
    pub model: String,
    /// Its scale.
    pub scale: u32,
    /// Why, for a person.
    pub why: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Cache {
    /// What the figures depend on.
    machine: String,
    p95_ns: BTreeMap<String, u64>,
}

impl Speeds {
    /// For tests and for callers who know better.
    pub fn of(speeds: &[(&str, Duration)]) -> Self {
        Self(speeds.iter().map(|(n, d)| ((*n).to_owned(), *d)).collect())
    }

    /// Measures the candidates on `threads` threads (0: all) of `device`, or takes what was measured
    /// before. A network that does not load is left out.
    ///
    /// # Errors
    /// When none of them can be run.
    pub fn measured(
        dir: Option<&Path>,
        threads: u32,
        device: &str,
        mut say: impl FnMut(&str),
    ) -> Result<Self, Failure> {
        let store = ModelStore::new(dir, &roots());
        let file = cache_file();
        let machine = machine(threads, device);
        let mut cache: Cache = file
            .as_deref()
            .and_then(|f| fs::read(f).ok())
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        if cache.machine != machine {
            cache = Cache {
                machine,
                ..Cache::default()
            };
        }
        let mut speeds = BTreeMap::new();
        let (mut failure, mut fresh) = (None, false);
        for name in CANDIDATES.iter().flat_map(|(_, names)| names.iter()) {
            let Ok(path) = store.resolve(name) else {
                continue;
            };
            let key = format!("{name} {}", stamp(&path));
            let known = cache.p95_ns.get(&key).map(|ns| Duration::from_nanos(*ns));
            let p95 = match known {
                Some(p95) => p95,
                None => {
                    say(&format!("measuring {name} on this machine"));
                    match measure(&path, threads, device) {
                        Ok(p95) => p95,
                        Err(e) => {
                            failure = Some(e);
                            continue;
                        }
                    }
                }
            };
            fresh |= known.is_none();
            cache.p95_ns.insert(key, p95.as_nanos() as u64);
            speeds.insert((*name).to_owned(), p95);
        }
        if let (Some(file), true) = (file, fresh) {
            // A cache that cannot be kept costs a second at the next start.
            let _ = keep(&file, &cache);
        }
        match (speeds.is_empty(), failure) {
            (true, Some(failure)) => Err(failure),
            (true, None) => Err(
                Failure::new("none of the live networks is in a model folder")
                    .hint("--model names one, --model-dir a folder"),
            ),
            _ => Ok(Self(speeds)),
        }
    }

    /// The best network that is fast enough for frames of this size: of at least this scale if
    /// there is one, else a scaler does the rest.
    ///
    /// # Errors
    /// When there is no network at all.
    pub fn choose(
        &self,
        scale: u32,
        size: (u32, u32),
        frame_rate: (u32, u32),
    ) -> Result<Choice, Failure> {
        let frame = frame_time(frame_rate);
        let limit = frame.mul_f64(PART);
        let times = f64::from(size.0) * f64::from(size.1) / (f64::from(SIZE.0) * f64::from(SIZE.1));
        let mut seen = Vec::new();
        let mut last = None;
        let enough = CANDIDATES.iter().find(|(s, _)| *s >= scale);
        let less = CANDIDATES.iter().rev().filter(|(s, _)| *s < scale);
        let all = enough
            .into_iter()
            .chain(less)
            .flat_map(|(s, names)| names.iter().map(move |n| (*s, *n)));
        for (scale, name) in all {
            let Some(p95) = self.0.get(name).map(|p| p.mul_f64(times)) else {
                continue;
            };
            let text = format!("{name} takes {:.1} ms", p95.as_secs_f64() * 1e3);
            let choice = |why| Choice {
                model: name.to_owned(),
                scale,
                why,
            };
            let limits = format!(
                "for a frame of {}x{} (95th percentile), and half of a frame's {:.1} ms are {:.1} ms",
                size.0,
                size.1,
                frame.as_secs_f64() * 1e3,
                limit.as_secs_f64() * 1e3
            );
            seen.push(text);
            if p95 <= limit {
                return Ok(choice(format!("{} {limits}", seen.join(", "))));
            }
            let text = format!(
                "{} {limits}: none is fast enough, the classical upscale will take its place at times",
                seen.join(", ")
            );
            // The fastest of them, then.
            if last.as_ref().is_none_or(|(least, _)| p95 < *least) {
                last = Some((p95, choice(text)));
            }
        }
        last.map(|(_, choice)| choice)
            .ok_or_else(|| Failure::new("there is no live network").hint("--model names one"))
    }
}

/// The scale of a network that the user named.
pub fn scale_of(dir: Option<&Path>, model: &str) -> Result<u32, Failure> {
    let store = ModelStore::new(dir, &roots());
    let path = store
        .resolve(model)
        .map_err(|e| Failure::new(e.to_string()))?;
    let model = Model::load(&path, &roots()).map_err(|e| Failure::new(e.to_string()))?;
    Ok(model.info().scale as u32)
}

fn measure(model: &Path, threads: u32, device: &str) -> Result<Duration, Failure> {
    crate::plugins::ensure_nnupscale()?;
    let pipeline = gst::Pipeline::new();
    let src = make("videotestsrc")?;
    src.set_property_from_str("pattern", "ball");
    src.set_property("num-buffers", FRAMES);
    let filter = make("capsfilter")?;
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", SIZE.0 as i32)
        .field("height", SIZE.1 as i32);
    filter.set_property("caps", caps.build());
    let up = make("nnupscale")?;
    up.set_property("model", model.to_string_lossy().as_ref());
    up.set_property("threads", threads);
    up.set_property_from_str("device", device);
    add_chain(&pipeline, &[src, filter, up.clone(), make("fakesink")?])?;
    let bus = pipeline
        .bus()
        .ok_or_else(|| fail("a pipeline without a bus"))?;
    let _ = pipeline.set_state(gst::State::Playing);
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &types);
    let stats = up.property::<Option<gst::Structure>>("stats");
    let _ = pipeline.set_state(gst::State::Null);
    match message.as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Eos(_)) => {}
        Some(gst::MessageView::Error(e)) => return Err(Failure::from_gst(e)),
        _ => {
            return Err(Failure::new(
                "a network took more than a minute for 45 frames",
            ));
        }
    }
    let p95 = stats.and_then(|s| s.get::<u64>("inference-p95-ns").ok());
    p95.filter(|p| *p > 0)
        .map(Duration::from_nanos)
        .ok_or_else(|| fail("no figures"))
}

/// What a measurement depends on beside the network.
fn machine(threads: u32, device: &str) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("", |l| l.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{name}, {cores} cores, {threads} threads, {device}, {}",
        env!("CARGO_PKG_VERSION")
    )
}

/// Size and time of a file: another file of the same name is measured anew.
fn stamp(path: &Path) -> String {
    let Ok(meta) = fs::metadata(path) else {
        return String::new();
    };
    let time = meta
        .modified()
        .ok()
        .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    format!("{} {}", meta.len(), time.map_or(0, |t| t.as_secs()))
}

fn cache_file() -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(cache.join("gst-neural").join("speeds.json"))
}

fn keep(file: &Path, cache: &Cache) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let part = file.with_extension(format!("{}.part", std::process::id()));
    fs::write(&part, serde_json::to_vec_pretty(cache)?)?;
    fs::rename(&part, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_that_is_fast_enough_is_taken() {
        let ms = Duration::from_millis;
        let speeds = Speeds::of(&[
            ("luma-x2", ms(30)),
            ("luma-x2-fast", ms(8)),
            ("luma-x4", ms(12)),
        ]);
        let choose = |scale, size, fps| speeds.choose(scale, size, (fps, 1)).unwrap();
        let choice = choose(2, (640, 360), 30);
        assert_eq!(choice.model, "luma-x2-fast");
        assert!(
            choice.why.contains("luma-x2 takes 30.0 ms") && choice.why.contains("16.7 ms"),
            "{}",
            choice.why
        );
        assert_eq!(choose(2, (640, 360), 15).model, "luma-x2");
        assert_eq!(choose(2, (320, 180), 30).model, "luma-x2");
        assert_eq!(choose(3, (320, 180), 30).model, "luma-x4");
        let slow = choose(2, (1280, 720), 60);
        assert_eq!(slow.model, "luma-x2-fast");
        assert!(slow.why.contains("none is fast enough"), "{}", slow.why);
        // Too slow by four times: twice, and a scaler.
        let speeds = Speeds::of(&[
            ("luma-x2", ms(30)),
            ("luma-x2-fast", ms(8)),
            ("luma-x4", ms(80)),
        ]);
        let choice = speeds.choose(3, (320, 180), (30, 1)).unwrap();
        assert_eq!((choice.model.as_str(), choice.scale), ("luma-x2", 2));
        assert!(Speeds::default().choose(2, (640, 360), (30, 1)).is_err());
    }
}
