//! The videos of a comparison.

use super::measure::Expected;
use crate::deinterlace;
use crate::failure::Failure;
use crate::probe::{self, ColourSource, Source};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// A video of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    /// What it is called in tables.
    pub name: String,
    /// Path or URI.
    pub input: String,
    /// Of its frames.
    pub width: u32,
    /// Of its frames.
    pub height: u32,
    /// Of its decoded frames.
    pub format: String,
    /// What it is coded with.
    pub codec: String,
    /// Frames a second, where that is fixed.
    pub frame_rate: Option<f64>,
    /// Its length.
    pub duration_s: Option<f64>,
    /// Value of the tag that says how the picture is to be turned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orientation: Option<String>,
    /// Whether its frames are made of two fields.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interlaced: bool,
    /// What its samples mean, where it says that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colorimetry: Option<String>,
    /// Its decoded caps.
    #[serde(skip)]
    pub caps: Option<gst::Caps>,
    /// Size of the file.
    pub bytes: Option<u64>,
    /// Size of the file by its length.
    pub bitrate_bps: Option<f64>,
}

impl Subject {
    /// Looks at a file.
    pub fn probe(input: &str, timeout: Duration) -> Result<(Self, Source), Failure> {
        let source = probe::probe(input, timeout)?;
        let s = source.decoded.structure(0);
        let side = |name: &str| {
            s.and_then(|s| s.get::<i32>(name).ok())
                .and_then(|v| u32::try_from(v).ok())
                .unwrap_or(0)
        };
        let rate = s
            .and_then(|s| s.get::<gst::Fraction>("framerate").ok())
            .filter(|f| f.numer() > 0 && f.denom() > 0)
            .map(|f| f64::from(f.numer()) / f64::from(f.denom()));
        let bytes = std::fs::metadata(input)
            .ok()
            .filter(std::fs::Metadata::is_file)
            .map(|m| m.len())
            .or(source.bytes);
        let duration_s = source.duration.map(|d| d.nseconds() as f64 / 1e9);
        let subject = Self {
            name: file_name(input),
            input: input.into(),
            width: side("width"),
            height: side("height"),
            format: s
                .and_then(|s| s.get::<String>("format").ok())
                .unwrap_or_default(),
            codec: source.streams[source.video].codec(),
            frame_rate: rate,
            duration_s,
            orientation: source.orientation.clone(),
            interlaced: deinterlace::is_interlaced(&source.decoded),
            colorimetry: source
                .colorimetry()
                .filter(|_| source.colour != ColourSource::Nobody),
            caps: Some(source.decoded.clone()),
            bytes,
            bitrate_bps: bytes
                .zip(duration_s)
                .filter(|(_, d)| *d > 0.0)
                .map(|(b, d)| b as f64 * 8.0 / d),
        };
        Ok((subject, source))
    }

    /// Its size when it is turned as its tag says.
    pub(crate) fn upright(&self) -> (u32, u32) {
        match &self.orientation {
            Some(o) if o.contains("90") || o.contains("270") => (self.height, self.width),
            _ => (self.width, self.height),
        }
    }

    /// Size, codec and bit rate in a line.
    pub fn detail(&self) -> String {
        let mut text = format!("{}\u{d7}{}", self.width, self.height);
        for part in [&self.codec, &self.format] {
            if !part.is_empty() {
                text.push_str(&format!(", {part}"));
            }
        }
        if let Some(bps) = self.bitrate_bps {
            text.push_str(&format!(", {}", bitrate(bps)));
        }
        text
    }

    pub(crate) fn expected(&self) -> Expected {
        Expected {
            frames: self
                .duration_s
                .zip(self.frame_rate)
                .map(|(d, r)| (d * r).round() as u64),
            rate: self.frame_rate,
        }
    }
}

/// Whether samples of these colorimetries mean the same, as far as both are known.
pub(crate) fn same_colours(a: Option<&str>, b: Option<&str>) -> bool {
    let read = |text: Option<&str>| text?.parse::<gst_video::VideoColorimetry>().ok();
    match (read(a), read(b)) {
        (Some(a), Some(b)) => {
            a.range() == b.range()
                && a.matrix() == b.matrix()
                && a.transfer().is_equivalent(8, b.transfer(), 8)
        }
        _ => true,
    }
}

/// Whether a colorimetry is that of HDR video: hybrid log-gamma or perceptual quantisation.
pub(crate) fn is_hdr(colorimetry: &str) -> bool {
    use gst_video::VideoTransferFunction as T;
    colorimetry
        .parse::<gst_video::VideoColorimetry>()
        .is_ok_and(|c| matches!(c.transfer(), T::AribStdB67 | T::Smpte2084))
}

/// A bit rate for people.
pub fn bitrate(bps: f64) -> String {
    if bps >= 1e6 {
        format!("{:.2} Mbit/s", bps / 1e6)
    } else {
        format!("{:.0} kbit/s", bps / 1e3)
    }
}

fn file_name(input: &str) -> String {
    let path = input.split(['?', '#']).next().unwrap_or(input);
    let path = if input.contains("://") { path } else { input };
    Path::new(path)
        .file_name()
        .map_or_else(|| input.into(), |n| n.to_string_lossy().into_owned())
}

/// Names that several candidates share become their whole paths, and, if need be, numbered.
pub(super) fn distinct_names(subjects: &mut [Subject]) {
    let short: Vec<String> = subjects.iter().map(|s| s.name.clone()).collect();
    for (i, s) in subjects.iter_mut().enumerate() {
        if short.iter().filter(|n| **n == short[i]).count() > 1 {
            s.name = s.input.clone();
        }
    }
    for i in 1..subjects.len() {
        let name = subjects[i].name.clone();
        let before = subjects[..i].iter().filter(|s| s.name == name).count();
        if before > 0 {
            subjects[i].name = format!("{name} ({})", before + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_told_apart() {
        gst::init().unwrap();
        assert!(same_colours(Some("bt709"), Some("bt709")));
        assert!(same_colours(Some("bt709"), None));
        assert!(!same_colours(Some("bt709"), Some("bt601")));
        assert!(!same_colours(Some("bt2100-hlg"), Some("bt2020-10")));
        assert!(is_hdr("bt2100-hlg") && is_hdr("bt2100-pq") && !is_hdr("bt2020"));
    }

    #[test]
    fn names_are_distinct() {
        let subject = |input: &str| Subject {
            name: file_name(input),
            input: input.into(),
            width: 1,
            height: 1,
            format: String::new(),
            codec: String::new(),
            frame_rate: None,
            duration_s: None,
            orientation: None,
            interlaced: false,
            caps: None,
            colorimetry: None,
            bytes: None,
            bitrate_bps: None,
        };
        let mut all = [
            subject("a/x.mp4"),
            subject("b/x.mp4"),
            subject("c.mp4"),
            subject("c.mp4"),
            subject("https://host/p/v.mp4?token=1"),
        ];
        distinct_names(&mut all);
        let names: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["a/x.mp4", "b/x.mp4", "c.mp4", "c.mp4 (2)", "v.mp4"]);
    }
}
