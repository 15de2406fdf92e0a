//! Prometheus' text format, version 0.0.4.

use crate::live::status::{Phase, Stream};
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// `/proc` counts processor time in hundredths of a second on Linux, whatever the kernel's own clock.
const TICKS: f64 = 100.0;

/// What is known of the process without asking.
#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

impl Process {
    pub(super) fn new() -> Self {
        Self {
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |d| d.as_secs_f64()),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// A family of metrics with one value for each stream.
type Family = (&'static str, Kind, &'static str, fn(&Stream) -> f64);

const FAMILIES: &[Family] = &[
    ("frames_in_total", Kind::Counter, "Frames decoded.", |s| {
        s.frames_in as f64
    }),
    (
        "frames_out_total",
        Kind::Counter,
        "Frames that came out of the upscaler.",
        |s| s.frames_out as f64,
    ),
    (
        "fallback_frames_total",
        Kind::Counter,
        "Frames made by the classical upscale because the network was late.",
        |s| s.fallback_frames as f64,
    ),
    (
        "dropped_frames_total",
        Kind::Counter,
        "Frames left out because everything was late.",
        |s| s.dropped_frames as f64,
    ),
    (
        "discontinuities_total",
        Kind::Counter,
        "Discontinuities in the playlists.",
        |s| s.discontinuities as f64,
    ),
    (
        "fallback",
        Kind::Gauge,
        "1 while the classical upscale is in use.",
        |s| flag(s.fallback),
    ),
    (
        "fps",
        Kind::Gauge,
        "Frames a second over the last seconds.",
        |s| s.fps,
    ),
    (
        "delay_seconds",
        Kind::Gauge,
        "From the arrival of a frame until its segment can be fetched.",
        |s| s.delay_s,
    ),
    (
        "latency_seconds",
        Kind::Gauge,
        "From the arrival of a frame until it is encoded.",
        |s| s.latency_s,
    ),
    (
        "inference_p95_seconds",
        Kind::Gauge,
        "Time of a frame in the network, 95th percentile.",
        |s| s.inference_p95_s,
    ),
    (
        "source_width_pixels",
        Kind::Gauge,
        "Width of the source.",
        |s| s.width.into(),
    ),
    (
        "source_height_pixels",
        Kind::Gauge,
        "Height of the source.",
        |s| s.height.into(),
    ),
    ("audio", Kind::Gauge, "1 if there is audio.", |s| {
        flag(s.audio)
    }),
    (
        "compare",
        Kind::Gauge,
        "1 while before and after are shown.",
        |s| flag(s.compare),
    ),
];

const PHASES: [(Phase, &str); 4] = [
    (Phase::Waiting, "waiting"),
    (Phase::Live, "live"),
    (Phase::Ended, "ended"),
    (Phase::Failed, "failed"),
];

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Everything, as text.
pub(super) fn exposition(streams: &[Stream], process: &Process) -> String {
    let mut text = Text::default();
    for (name, kind, help, value) in FAMILIES {
        text.family(&format!("gst_neural_{name}"), *kind, help);
        for stream in streams {
            text.sample(&[("stream", &stream.name)], value(stream));
        }
    }
    text.family(
        "gst_neural_phase",
        Kind::Gauge,
        "1 for the phase the stream is in.",
    );
    for stream in streams {
        for (phase, name) in PHASES {
            let labels = [("stream", stream.name.as_str()), ("phase", name)];
            text.sample(&labels, flag(stream.phase == phase));
        }
    }
    text.family("gst_neural_model_info", Kind::Gauge, "The network in use.");
    for stream in streams {
        let labels = [
            ("stream", stream.name.as_str()),
            ("model", stream.model.as_str()),
        ];
        text.sample(&labels, 1.0);
    }
    text.family(
        "gst_neural_segments_total",
        Kind::Counter,
        "Segments complete.",
    );
    each_rendition(&mut text, streams, |r| r.segments);
    text.family(
        "gst_neural_segment_bytes_total",
        Kind::Counter,
        "Bytes of complete segments.",
    );
    each_rendition(&mut text, streams, |r| r.bytes);
    of_the_process(&mut text, process);
    text.text
}

fn each_rendition(
    text: &mut Text,
    streams: &[Stream],
    value: fn(&crate::live::status::Rendition) -> u64,
) {
    for stream in streams {
        for rendition in &stream.renditions {
            let labels = [
                ("stream", stream.name.as_str()),
                ("rendition", rendition.name.as_str()),
            ];
            text.sample(&labels, value(rendition) as f64);
        }
    }
}

fn of_the_process(text: &mut Text, process: &Process) {
    text.family(
        "gst_neural_build_info",
        Kind::Gauge,
        "The version that runs.",
    );
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.family(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the server was started, in seconds since 1970.",
    );
    text.sample(&[], process.started);
    if let Some(seconds) = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|s| cpu_seconds(&s))
    {
        text.family(
            "process_cpu_seconds_total",
            Kind::Counter,
            "Processor time used.",
        );
        text.sample(&[], seconds);
    }
    if let Some(bytes) = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|s| status_bytes(&s, "VmRSS:"))
    {
        text.family(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Memory in use.",
        );
        text.sample(&[], bytes as f64);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        text.family(
            "process_open_fds",
            Kind::Gauge,
            "Open files and connections.",
        );
        text.sample(&[], files.count() as f64);
    }
}

/// User and system time of `/proc/self/stat`. The program's name, which comes first, may have
/// anything in it, so counting begins behind it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system) as f64 / TICKS)
}

fn status_bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(field))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The text, and the family that samples belong to.
#[derive(Default)]
struct Text {
    text: String,
    family: String,
}

impl Text {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        name.clone_into(&mut self.family);
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            some => format!("{{{}}}", some.join(",")),
        };
        let _ = writeln!(self.text, "{}{labels} {}", self.family, number(value));
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.into()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::status::Rendition;

    #[test]
    fn every_line_is_a_comment_or_a_sample_of_the_family_above() {
        let stream = Stream {
            name: "cam".into(),
            phase: Phase::Live,
            model: "odd \"name\" \\ \n".into(),
            frames_in: 12_345_678_901,
            fps: 29.97,
            renditions: vec![Rendition {
                name: "720p".into(),
                bytes: 7,
                ..Rendition::default()
            }],
            ..Stream::default()
        };
        let text = exposition(&[stream], &Process::new());
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap();
            } else if !line.starts_with("# HELP ") {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(name, family, "{line}");
                let value = line.rsplit(' ').next().unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        for line in [
            "gst_neural_frames_in_total{stream=\"cam\"} 12345678901",
            "gst_neural_fps{stream=\"cam\"} 29.97",
            "gst_neural_phase{stream=\"cam\",phase=\"live\"} 1",
            "gst_neural_phase{stream=\"cam\",phase=\"waiting\"} 0",
            "gst_neural_segment_bytes_total{stream=\"cam\",rendition=\"720p\"} 7",
            "gst_neural_model_info{stream=\"cam\",model=\"odd \\\"name\\\" \\\\ \\n\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes "));
        assert!(text.contains("process_cpu_seconds_total "));
    }

    #[test]
    fn proc_is_read_whatever_the_program_is_called() {
        let stat = "7 (a) b) c) R 1 1 1 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (x"), None);
        assert_eq!(
            status_bytes("Name: x\nVmRSS:\t  12 kB\n", "VmRSS:"),
            Some(12288)
        );
    }
}
