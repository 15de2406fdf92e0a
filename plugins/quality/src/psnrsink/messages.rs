//! The messages, and typed access to them.

use gst::glib;
use gst::prelude::*;
use gstneural_metrics::Pooled;

const FRAME: &str = "psnrsink-frame";
const FAULT: &str = "psnrsink-fault";
const SUMMARY: &str = "psnrsink-summary";
const PAD: &str = "psnrsink-pad";
const METRIC: &str = "psnrsink-metric";

/// What can be wrong with the frames of a distorted stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// Frames of the reference without a distorted one.
    Missing,
    /// Distorted frames without a frame of the reference.
    Extra,
    /// A second distorted frame for one frame of the reference, or a picture that stands still
    /// while the reference moves on.
    Repeated,
    /// Frames that come later than the reference's, though within the tolerance.
    Late,
    /// Frames that come earlier than the reference's, though within the tolerance.
    Early,
    /// The two frame rates differ.
    FrameRate,
    /// The two streams have different numbers of frames.
    Length,
}

impl FaultKind {
    /// All of them.
    pub const ALL: &[FaultKind] = &[
        FaultKind::Missing,
        FaultKind::Extra,
        FaultKind::Repeated,
        FaultKind::Late,
        FaultKind::Early,
        FaultKind::FrameRate,
        FaultKind::Length,
    ];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Missing => "missing",
            FaultKind::Extra => "extra",
            FaultKind::Repeated => "repeated",
            FaultKind::Late => "late",
            FaultKind::Early => "early",
            FaultKind::FrameRate => "frame-rate",
            FaultKind::Length => "length",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.name() == name)
    }
}

/// A fault in a distorted stream: one frame or several in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The distorted pad.
    pub pad: String,
    /// What is wrong.
    pub kind: FaultKind,
    /// Number, from 0, of the first frame concerned: in the distorted stream for extra and repeated
    /// frames, else in the reference.
    pub frame: u64,
    /// Frames concerned.
    pub count: u64,
    /// The first frame's running time.
    pub running_time: Option<gst::ClockTime>,
    /// The whole in words.
    pub text: String,
}

impl Fault {
    /// Reads a `psnrsink-fault` message; None for any other.
    pub fn parse(message: &gst::MessageRef) -> Option<Self> {
        let s = message.structure().filter(|s| s.name() == FAULT)?;
        Some(Self {
            pad: s.get("pad").ok()?,
            kind: FaultKind::from_name(s.get("kind").ok()?)?,
            frame: s.get("frame").ok()?,
            count: s.get("count").ok()?,
            running_time: time(s),
            text: s.get("text").ok()?,
        })
    }

    pub(super) fn to_structure(&self) -> gst::Structure {
        let mut s = gst::Structure::builder(FAULT)
            .field("pad", &self.pad)
            .field("kind", self.kind.name())
            .field("frame", self.frame)
            .field("count", self.count)
            .field("text", &self.text)
            .build();
        set_time(&mut s, self.running_time);
        s
    }
}

fn time(s: &gst::StructureRef) -> Option<gst::ClockTime> {
    let ns = s.get::<u64>("running-time").ok()?;
    Some(gst::ClockTime::from_nseconds(ns))
}

fn set_time(s: &mut gst::Structure, time: Option<gst::ClockTime>) {
    if let Some(t) = time {
        s.set("running-time", t.nseconds());
    }
}

/// The scores of one pair (`message-per-frame`).
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The distorted pad.
    pub pad: String,
    /// Number of the frame in the reference, from 0.
    pub frame: u64,
    /// Number of the frame in the distorted stream, from 0.
    pub distorted_frame: u64,
    /// Running time of the frame of the reference.
    pub running_time: Option<gst::ClockTime>,
    /// Whether every sample is the same; PSNR is 100 dB then.
    pub identical: bool,
    /// Columns and their values, in the order of the metrics.
    pub scores: Vec<(String, f64)>,
}

const FRAME_FIELDS: &[&str] = &[
    "pad",
    "frame",
    "distorted-frame",
    "running-time",
    "identical",
];

impl Frame {
    /// Reads a `psnrsink-frame` message; None for any other.
    pub fn parse(message: &gst::MessageRef) -> Option<Self> {
        let s = message.structure().filter(|s| s.name() == FRAME)?;
        Some(Self {
            pad: s.get("pad").ok()?,
            frame: s.get("frame").ok()?,
            distorted_frame: s.get("distorted-frame").ok()?,
            running_time: time(s),
            identical: s.get("identical").ok()?,
            scores: s
                .iter()
                .filter(|(name, _)| !FRAME_FIELDS.contains(&name.as_str()))
                .filter_map(|(name, value)| Some((name.to_string(), value.get().ok()?)))
                .collect(),
        })
    }

    /// The value of a column.
    pub fn score(&self, column: &str) -> Option<f64> {
        let found = self.scores.iter().find(|(name, _)| name == column);
        found.map(|(_, value)| *value)
    }

    pub(super) fn to_structure(&self) -> gst::Structure {
        let mut s = gst::Structure::builder(FRAME)
            .field("pad", &self.pad)
            .field("frame", self.frame)
            .field("distorted-frame", self.distorted_frame)
            .field("identical", self.identical)
            .build();
        set_time(&mut s, self.running_time);
        for (name, value) in &self.scores {
            s.set(name.as_str(), *value);
        }
        s
    }
}

/// Frames by fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultCounts {
    /// Frames of the reference without a distorted one.
    pub missing: u64,
    /// Distorted frames without a frame of the reference.
    pub extra: u64,
    /// Distorted frames that repeat the one before.
    pub repeated: u64,
    /// Frames that come late or early, within the tolerance.
    pub late: u64,
}

impl FaultCounts {
    /// Whether there is none.
    pub fn none(&self) -> bool {
        *self == Self::default()
    }
}

/// What was measured on one distorted pad.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PadSummary {
    /// The distorted pad.
    pub pad: String,
    /// Pairs that were measured.
    pub frames: u64,
    /// Pairs that are the same in every sample.
    pub identical: u64,
    /// What was wrong with the frames.
    pub faults: FaultCounts,
    /// Columns and their pooled values, in the order of the metrics.
    pub metrics: Vec<(String, Pooled)>,
}

impl PadSummary {
    /// A column pooled over all frames.
    pub fn metric(&self, column: &str) -> Option<&Pooled> {
        let found = self.metrics.iter().find(|(name, _)| name == column);
        found.map(|(_, pooled)| pooled)
    }

    fn to_structure(&self) -> gst::Structure {
        let metric = |(name, p): &(String, Pooled)| {
            let mut s = gst::Structure::builder(METRIC)
                .field("name", name)
                .field("frames", p.frames)
                .field("mean", p.mean)
                .field("harmonic-mean", p.harmonic_mean)
                .field("min", p.min)
                .field("max", p.max)
                .field("p1", p.p1)
                .field("p5", p.p5)
                .build();
            if let Some(db) = p.of_mean_mse {
                s.set("of-mean-mse", db);
            }
            s.to_send_value()
        };
        gst::Structure::builder(PAD)
            .field("pad", &self.pad)
            .field("frames", self.frames)
            .field("identical", self.identical)
            .field("missing", self.faults.missing)
            .field("extra", self.faults.extra)
            .field("repeated", self.faults.repeated)
            .field("late", self.faults.late)
            .field(
                "metrics",
                gst::Array::from_values(self.metrics.iter().map(metric)),
            )
            .build()
    }

    fn from_structure(s: &gst::StructureRef) -> Option<Self> {
        let metric = |value: &glib::SendValue| {
            let s = value.get::<gst::Structure>().ok()?;
            let number = |name: &str| s.get::<f64>(name).ok();
            let pooled = Pooled {
                frames: s.get("frames").ok()?,
                mean: number("mean")?,
                harmonic_mean: number("harmonic-mean")?,
                min: number("min")?,
                max: number("max")?,
                p1: number("p1")?,
                p5: number("p5")?,
                of_mean_mse: number("of-mean-mse"),
            };
            Some((s.get("name").ok()?, pooled))
        };
        let metrics = s.get::<gst::Array>("metrics").ok()?;
        Some(Self {
            pad: s.get("pad").ok()?,
            frames: s.get("frames").ok()?,
            identical: s.get("identical").ok()?,
            faults: FaultCounts {
                missing: s.get("missing").ok()?,
                extra: s.get("extra").ok()?,
                repeated: s.get("repeated").ok()?,
                late: s.get("late").ok()?,
            },
            metrics: metrics.iter().filter_map(metric).collect(),
        })
    }
}

/// The summary of a stream, posted before its EOS.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// One for each distorted pad.
    pub pads: Vec<PadSummary>,
}

impl Summary {
    /// Reads a `psnrsink-summary` message; None for any other.
    pub fn parse(message: &gst::MessageRef) -> Option<Self> {
        Self::from_structure(message.structure()?)
    }

    /// Reads the value of the property `summary`; None for any other structure.
    pub fn from_structure(s: &gst::StructureRef) -> Option<Self> {
        if s.name() != SUMMARY {
            return None;
        }
        let pads = s.get::<gst::Array>("pads").ok()?;
        let pad = |v: &glib::SendValue| {
            let s = v.get::<gst::Structure>().ok()?;
            PadSummary::from_structure(&s)
        };
        Some(Self {
            pads: pads.iter().filter_map(pad).collect(),
        })
    }

    /// The summary of a pad by its name.
    pub fn pad(&self, name: &str) -> Option<&PadSummary> {
        self.pads.iter().find(|p| p.pad == name)
    }

    pub(super) fn to_structure(&self) -> gst::Structure {
        let pads = self.pads.iter().map(|p| p.to_structure().to_send_value());
        gst::Structure::builder(SUMMARY)
            .field("pads", gst::Array::from_values(pads))
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        gst::init().unwrap();
        let fault = Fault {
            pad: "distorted_0".into(),
            kind: FaultKind::Missing,
            frame: 7,
            count: 2,
            running_time: Some(gst::ClockTime::SECOND),
            text: "x".into(),
        };
        let message = gst::message::Element::new(fault.to_structure());
        assert_eq!(Fault::parse(&message), Some(fault));

        let frame = Frame {
            pad: "distorted".into(),
            frame: 3,
            distorted_frame: 4,
            running_time: None,
            identical: true,
            scores: vec![("psnr-y".into(), 100.0), ("vmaf-v0.6.1".into(), 97.0)],
        };
        let message = gst::message::Element::new(frame.to_structure());
        assert_eq!(Frame::parse(&message), Some(frame.clone()));
        assert_eq!(frame.score("vmaf-v0.6.1"), Some(97.0));
        assert_eq!(Summary::parse(&message), None);

        let pooled = Pooled {
            frames: 1,
            mean: 1.0,
            harmonic_mean: 2.0,
            min: 3.0,
            max: 4.0,
            p1: 5.0,
            p5: 6.0,
            of_mean_mse: None,
        };
        let summary = Summary {
            pads: vec![PadSummary {
                pad: "distorted".into(),
                frames: 2,
                identical: 1,
                faults: FaultCounts {
                    missing: 1,
                    ..FaultCounts::default()
                },
                metrics: vec![("ssim".into(), pooled)],
            }],
        };
        let message = gst::message::Element::new(summary.to_structure());
        assert_eq!(Summary::parse(&message), Some(summary.clone()));
        assert_eq!(
            summary.pad("distorted").unwrap().metric("ssim").unwrap().p5,
            6.0
        );
    }
}
