//! Statistics of an element, and typed access to its messages.

use std::time::Duration;

const STATS: &str = "nnupscale-stats";
const FALLBACK: &str = "nnupscale-fallback";
/// Inference times kept for the percentiles.
const KEPT: usize = 512;

/// What an `nnupscale` did so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Frames that went out.
    pub frames: u64,
    /// Frames left out by `qos-mode=drop`.
    pub dropped_frames: u64,
    /// Frames that went out without the network.
    pub fallback_frames: u64,
    /// Tiles of all frames.
    pub tiles: u64,
    /// Tiles that equalled the previous frame's and were copied.
    pub tiles_reused: u64,
    /// Median time in the network for a frame, over the last 512.
    pub inference_p50: Duration,
    /// 95th percentile of the time in the network for a frame, over the last 512.
    pub inference_p95: Duration,
    /// The model's name.
    pub model: String,
    /// Output size / input size.
    pub scale: u32,
    /// What the network runs on: `cpu`, `cuda` or `tensorrt`; empty before there are caps.
    pub device: String,
    /// `fp32` or `fp16`; empty before there are caps.
    pub precision: String,
    /// Planes of frames that were copied from the host to a GPU; 0 where all stays in its memory.
    pub copies_to_device: u64,
    /// Planes of frames that were copied from a GPU to the host.
    pub copies_to_host: u64,
}

impl Stats {
    /// Reads an `nnupscale-stats` message; None for any other.
    pub fn parse(message: &gst::MessageRef) -> Option<Self> {
        Self::from_structure(message.structure().filter(|s| s.name() == STATS)?)
    }

    /// Reads the value of the property `stats`.
    pub fn from_structure(s: &gst::StructureRef) -> Option<Self> {
        let ns = |name: &str| s.get::<u64>(name).ok().map(Duration::from_nanos);
        Some(Self {
            frames: s.get("frames").ok()?,
            dropped_frames: s.get("dropped-frames").ok()?,
            fallback_frames: s.get("fallback-frames").ok()?,
            tiles: s.get("tiles").ok()?,
            tiles_reused: s.get("tiles-reused").ok()?,
            inference_p50: ns("inference-p50-ns")?,
            inference_p95: ns("inference-p95-ns")?,
            model: s.get::<Option<String>>("model").ok()?.unwrap_or_default(),
            scale: s.get("scale").ok()?,
            device: s.get::<Option<String>>("device").ok()?.unwrap_or_default(),
            precision: s
                .get::<Option<String>>("precision")
                .ok()?
                .unwrap_or_default(),
            copies_to_device: s.get("copies-to-device").ok()?,
            copies_to_host: s.get("copies-to-host").ok()?,
        })
    }

    pub(super) fn to_structure(&self) -> gst::Structure {
        let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        gst::Structure::builder(STATS)
            .field("frames", self.frames)
            .field("dropped-frames", self.dropped_frames)
            .field("fallback-frames", self.fallback_frames)
            .field("tiles", self.tiles)
            .field("tiles-reused", self.tiles_reused)
            .field("inference-p50-ns", ns(self.inference_p50))
            .field("inference-p95-ns", ns(self.inference_p95))
            .field("model", self.model.as_str())
            .field("scale", self.scale)
            .field("device", self.device.as_str())
            .field("precision", self.precision.as_str())
            .field("copies-to-device", self.copies_to_device)
            .field("copies-to-host", self.copies_to_host)
            .build()
    }
}

/// The network was left out, or is used again (`qos-mode=fallback`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FallbackEvent {
    /// True when it was left out.
    pub active: bool,
    /// The running time of the first frame concerned.
    pub running_time: Option<gst::ClockTime>,
}

impl FallbackEvent {
    /// Reads an `nnupscale-fallback` message; None for any other.
    pub fn parse(message: &gst::MessageRef) -> Option<Self> {
        let s = message.structure().filter(|s| s.name() == FALLBACK)?;
        Some(Self {
            active: s.get("active").ok()?,
            running_time: s
                .get::<u64>("running-time")
                .ok()
                .map(gst::ClockTime::from_nseconds),
        })
    }

    pub(super) fn to_structure(self) -> gst::Structure {
        let mut s = gst::Structure::builder(FALLBACK)
            .field("active", self.active)
            .build();
        if let Some(t) = self.running_time {
            s.set("running-time", t.nseconds());
        }
        s
    }
}

/// Counts, and keeps the last inference times.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub total: Stats,
    times: Vec<Duration>,
    at: usize,
}

impl Counters {
    /// Adds the time that one frame spent in the network.
    pub fn add_time(&mut self, time: Duration) {
        if self.times.len() < KEPT {
            self.times.push(time);
        } else {
            self.times[self.at] = time;
            self.at = (self.at + 1) % KEPT;
        }
    }

    /// The statistics with their percentiles.
    pub fn snapshot(&self) -> Stats {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            sorted
                .get(sorted.len().saturating_sub(1) * percent / 100)
                .copied()
                .unwrap_or_default()
        };
        Stats {
            inference_p50: at(50),
            inference_p95: at(95),
            ..self.total.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        gst::init().unwrap();
        let total = Stats {
            frames: 7,
            model: "m".into(),
            scale: 2,
            ..Default::default()
        };
        let mut c = Counters {
            total,
            ..Default::default()
        };
        (1..=100).for_each(|i| c.add_time(Duration::from_micros(i)));
        let stats = c.snapshot();
        assert_eq!(stats.inference_p50, Duration::from_micros(50));
        let message = gst::message::Element::new(stats.to_structure());
        assert_eq!(Stats::parse(&message), Some(stats));
        let event = FallbackEvent {
            active: true,
            running_time: Some(gst::ClockTime::SECOND),
        };
        let message = gst::message::Element::new(event.to_structure());
        assert_eq!(FallbackEvent::parse(&message), Some(event));
        assert_eq!(Stats::parse(&message), None);
    }
}
