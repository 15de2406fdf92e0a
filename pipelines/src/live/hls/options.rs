//! What a presentation is to look like.

use crate::failure::Failure;
use std::time::Duration;

/// What segments are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Container {
    /// MPEG transport streams, sound and picture together.
    #[default]
    Ts,
    /// Fragmented MP4 with an initialisation segment, sound on its own.
    Cmaf,
}

/// How much may wait for the store, and how long is waited for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes of segments that wait; one segment may wait however long it is.
    pub bytes: usize,
    /// Segments and parts that wait.
    pub items: usize,
    /// Longest time that handing over a segment or a part waits for room.
    pub patience: Duration,
    /// Longest time that the end waits until everything is on the store.
    pub finish: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            items: 256,
            patience: Duration::from_secs(2),
            finish: Duration::from_secs(30),
        }
    }
}

/// How a stream is presented. Every playlist says its program date-time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What segments are.
    pub container: Container,
    /// How long segments are meant to be, 0.5 s to 60 s.
    pub segment: Duration,
    /// The longest that a segment can get, where that is more than [`Self::segment`]: a source that
    /// is passed through has its own keyframes. It decides the playlists' target duration, which
    /// never changes.
    pub longest: Option<Duration>,
    /// The longest that a low-latency part can get, 0.1 s to [`Self::segment`]; `None`: no parts.
    /// For [`Container::Cmaf`] only, and only where playlists are served by a server that holds
    /// requests for what does not exist yet.
    pub part: Option<Duration>,
    /// Segments in a sliding playlist, at least 3; `None`: all of them, as an EVENT playlist.
    pub window: Option<usize>,
    /// Segments that stay on the store after they left the playlist. They stay longer where RFC
    /// 8216 (6.2.2) wants that: a segment's own length and that of the longest playlist with it.
    pub keep: usize,
    /// What may wait for the store.
    pub queue: QueueLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            container: Container::default(),
            segment: Duration::from_secs(2),
            longest: None,
            part: None,
            window: Some(6),
            keep: 3,
            queue: QueueLimits::default(),
        }
    }
}

impl Options {
    /// The target duration in whole seconds: no segment's length rounds to more.
    pub fn target_s(&self) -> u64 {
        let segment = self.segment.as_millis().div_ceil(1000);
        let longest = rounded_s(self.longest.unwrap_or_default());
        u64::try_from(segment)
            .unwrap_or(u64::MAX)
            .max(longest)
            .max(1)
    }

    /// Says what cannot be.
    pub fn validate(&self) -> Result<(), Failure> {
        let within =
            |d: Duration| (Duration::from_millis(500)..=Duration::from_secs(60)).contains(&d);
        if !within(self.segment) || !self.longest.is_none_or(within) {
            return Err(Failure::usage(
                "segments are between 0.5 and 60 seconds long",
            ));
        }
        if let Some(part) = self.part {
            if self.container != Container::Cmaf {
                return Err(Failure::usage("low-latency parts need CMAF segments")
                    .hint("choose CMAF, or leave the parts out"));
            }
            if part < Duration::from_millis(100) || part > self.segment {
                return Err(Failure::usage(
                    "low-latency parts are between 0.1 seconds and a segment long",
                ));
            }
        }
        if self.window.is_some_and(|n| n < 3) {
            return Err(Failure::usage("a sliding playlist has at least 3 segments"));
        }
        if self.queue.items == 0 {
            return Err(Failure::usage(
                "at least one segment has to have room to wait in",
            ));
        }
        Ok(())
    }
}

/// To the nearest second, as players compare lengths with the target duration.
pub(super) fn rounded_s(duration: Duration) -> u64 {
    u64::try_from((duration.as_micros() + 500_000) / 1_000_000).unwrap_or(u64::MAX)
}

/// What a rendition shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A picture.
    Video {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Frames a second, as a fraction.
        frame_rate: (u32, u32),
        /// Whether its segments have the sound too.
        with_audio: bool,
    },
    /// Sound alone.
    Audio {
        /// Number of channels.
        channels: u32,
    },
}

impl Kind {
    /// Whether it is sound alone.
    pub fn is_audio(&self) -> bool {
        matches!(self, Self::Audio { .. })
    }
}

/// One rendition of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenditionSpec {
    /// Its name, which is also that of its folder: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What it shows.
    pub kind: Kind,
    /// Its codecs as RFC 6381 writes them, such as `avc1.64001f`; of the sound too, if it has it.
    pub codecs: Vec<String>,
    /// The bit rate its encoders were told to stay under, all in, in bits a second.
    pub max_bitrate_bps: u64,
}

impl RenditionSpec {
    /// Says what cannot be.
    pub fn validate(&self) -> Result<(), Failure> {
        folder_name(&self.name)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let codec = |c: &String| !c.is_empty() && c.len() <= 64 && c.chars().all(plain);
        if self.codecs.is_empty() || !self.codecs.iter().all(codec) {
            return Err(Failure::new(format!(
                "{}: its codecs are not known as RFC 6381 writes them ({})",
                self.name,
                self.codecs.join(", ")
            )));
        }
        match self.kind {
            Kind::Video {
                width,
                height,
                frame_rate: (num, den),
                ..
            } if width == 0 || height == 0 || num == 0 || den == 0 => Err(Failure::new(format!(
                "{}: a picture of {width}x{height} at {num}/{den} frames a second",
                self.name
            ))),
            Kind::Audio { channels: 0 } => Err(Failure::new(format!(
                "{}: sound without channels",
                self.name
            ))),
            _ => Ok(()),
        }
    }
}

/// Checks a name that becomes a folder and a part of URLs: 1 to 64 letters, digits, `-`, `_` and
/// `.`, and no `.` in front.
pub fn folder_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
        let shown: String = name.chars().take(80).collect();
        return Err(
            Failure::usage(format!("{shown:?} cannot be the name of a folder"))
                .hint("1 to 64 letters, digits, '-', '_' and '.', and none of them a '.' in front"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "/etc",
            ".hidden",
            "a b",
            "ä",
            "a\0",
            "%2e%2e",
            &"x".repeat(65),
        ] {
            assert!(folder_name(bad).is_err(), "{bad:?}");
        }
        for good in ["720p", "a", "A-b_c.d", "0", &"x".repeat(64)] {
            assert!(folder_name(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn the_target_duration_is_one_that_no_segment_exceeds() {
        let target = |ms, longest: Option<u64>| {
            Options {
                segment: Duration::from_millis(ms),
                longest: longest.map(Duration::from_millis),
                ..Options::default()
            }
            .target_s()
        };
        assert_eq!(target(2000, None), 2);
        assert_eq!(target(2002, None), 3);
        assert_eq!(target(500, None), 1);
        assert_eq!(target(2000, Some(4500)), 5);
        assert_eq!(target(2000, Some(4499)), 4);
    }

    #[test]
    fn options_that_cannot_be_are_refused() {
        let base = Options::default();
        assert!(base.validate().is_ok());
        let part = Some(Duration::from_millis(500));
        let cmaf = Container::Cmaf;
        for (bad, says) in [
            (
                Options {
                    part,
                    ..base.clone()
                },
                "CMAF",
            ),
            (
                Options {
                    container: cmaf,
                    part: Some(Duration::from_secs(3)),
                    ..base.clone()
                },
                "parts",
            ),
            (
                Options {
                    window: Some(2),
                    ..base.clone()
                },
                "3 segments",
            ),
            (
                Options {
                    segment: Duration::ZERO,
                    ..base.clone()
                },
                "0.5",
            ),
            (
                Options {
                    longest: Some(Duration::from_secs(61)),
                    ..base.clone()
                },
                "60",
            ),
        ] {
            let said = bad.validate().map_err(|f| f.what);
            assert!(said.as_ref().is_err_and(|s| s.contains(says)), "{said:?}");
        }
        assert!(
            Options {
                container: cmaf,
                part,
                ..base
            }
            .validate()
            .is_ok()
        );
    }
}
