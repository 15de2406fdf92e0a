//! The master playlist: which renditions there are, and what a player needs to choose.

use super::options::{Kind, RenditionSpec};
use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

/// The bit rate of a rendition as its segments show it.
#[derive(Debug, Clone)]
pub struct Measured {
    target: Duration,
    /// The segments that can still be in a set with the next one, newest last.
    recent: VecDeque<(u64, Duration)>,
    peak_bps: u64,
    bytes: u64,
    duration: Duration,
}

impl Measured {
    /// Nothing measured yet; `target` is the target duration of its playlist.
    pub fn new(target: Duration) -> Self {
        Self {
            target,
            recent: VecDeque::new(),
            peak_bps: 0,
            bytes: 0,
            duration: Duration::ZERO,
        }
    }

    /// Adds a segment.
    pub fn add(&mut self, bytes: u64, duration: Duration) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.duration += duration;
        self.recent.push_back((bytes, duration));
        // The peak as RFC 8216 (4.3.4.2, 1.1) has it: of any segments in a row that together
        // last between half and one and a half target durations.
        let (mut bytes, mut length) = (0_u64, Duration::ZERO);
        let mut used = 0;
        for (b, d) in self.recent.iter().rev() {
            bytes = bytes.saturating_add(*b);
            length += *d;
            if length > self.target.mul_f64(1.5) {
                break;
            }
            used += 1;
            if length >= self.target / 2 {
                self.peak_bps = self.peak_bps.max(rate_bps(bytes, length));
            }
        }
        let old = self.recent.len() - used;
        self.recent.drain(..old);
    }

    /// The greatest bit rate so far, in bits a second; 0 before there is one.
    pub fn peak_bps(&self) -> u64 {
        self.peak_bps
    }

    /// The bit rate of everything so far, in bits a second; 0 before there is one.
    pub fn average_bps(&self) -> u64 {
        rate_bps(self.bytes, self.duration)
    }
}

/// Rounded up, so that what is said is never less than what is.
fn rate_bps(bytes: u64, duration: Duration) -> u64 {
    let (bits, us) = (u128::from(bytes) * 8, duration.as_micros());
    if us == 0 {
        return 0;
    }
    u64::try_from((bits * 1_000_000).div_ceil(us)).unwrap_or(u64::MAX)
}

/// A rendition in the master playlist: what it is, and its bit rates as they are stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// What it is.
    pub spec: RenditionSpec,
    /// Bits a second at most.
    pub peak_bps: u64,
    /// Bits a second on average.
    pub average_bps: u64,
}

impl Stated {
    /// What is to be stated, given what was stated before. The average is left alone while it is
    /// within a tenth of what is measured: the playlist would change with every segment otherwise.
    pub fn from_measured(spec: &RenditionSpec, measured: &Measured, before: Option<&Self>) -> Self {
        let kilo = |bps: u64| bps.div_ceil(1000).saturating_mul(1000);
        let stated = before.filter(|b| b.spec == *spec);
        let peak_bps = kilo(measured.peak_bps().max(spec.max_bitrate_bps))
            .max(stated.map_or(0, |b| b.peak_bps));
        let average = kilo(measured.average_bps()).min(peak_bps);
        let average_bps = match stated.map(|b| b.average_bps) {
            Some(before) if before.abs_diff(average) <= before / 10 => before,
            _ => average,
        };
        Self {
            spec: spec.clone(),
            peak_bps,
            average_bps,
        }
    }
}

const GROUP: &str = "audio";

/// The text of the master playlist of these renditions, the highest first.
///
/// Sound that is a rendition of its own goes with each picture that has none; it is a variant
/// itself where there is no such picture.
pub fn text(renditions: &[Stated]) -> String {
    let mut text = String::from("#EXTM3U\n");
    // Writing to a String does not fail.
    let _ = write(&mut text, renditions);
    text
}

fn write(text: &mut String, renditions: &[Stated]) -> std::fmt::Result {
    let silent = |r: &&Stated| {
        matches!(
            r.spec.kind,
            Kind::Video {
                with_audio: false,
                ..
            }
        )
    };
    let sounds = renditions.iter().filter(|r| r.spec.kind.is_audio());
    let group: Vec<&Stated> = match renditions.iter().any(|r| silent(&r)) {
        true => sounds.collect(),
        false => Vec::new(),
    };
    // Renditions in groups are understood from 4 on.
    writeln!(
        text,
        "#EXT-X-VERSION:{}",
        if group.is_empty() { 3 } else { 4 }
    )?;
    for (index, sound) in group.iter().enumerate() {
        let name = &sound.spec.name;
        write!(
            text,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{GROUP}\",NAME=\"{name}\""
        )?;
        let default = if index == 0 { "YES" } else { "NO" };
        write!(text, ",DEFAULT={default},AUTOSELECT=YES")?;
        if let Kind::Audio { channels } = sound.spec.kind {
            write!(text, ",CHANNELS=\"{channels}\"")?;
        }
        writeln!(text, ",URI=\"{name}/index.m3u8\"")?;
    }
    let in_group = |r: &&Stated| !r.spec.kind.is_audio() || group.is_empty();
    let mut variants: Vec<&Stated> = renditions.iter().filter(in_group).collect();
    variants.sort_by_key(|r| std::cmp::Reverse((pixels(&r.spec.kind), r.peak_bps)));
    for variant in variants {
        let with: &[&Stated] = if silent(&variant) { &group } else { &[] };
        write_variant(text, variant, with)?;
    }
    Ok(())
}

fn pixels(kind: &Kind) -> u64 {
    match kind {
        Kind::Video { width, height, .. } => u64::from(*width) * u64::from(*height),
        Kind::Audio { .. } => 0,
    }
}

fn write_variant(text: &mut String, variant: &Stated, group: &[&Stated]) -> std::fmt::Result {
    let most = |rate: fn(&Stated) -> u64| group.iter().map(|r| rate(r)).max().unwrap_or(0);
    let peak = variant.peak_bps.saturating_add(most(|r| r.peak_bps));
    let average = variant.average_bps.saturating_add(most(|r| r.average_bps));
    let mut codecs: Vec<&str> = Vec::new();
    for rendition in std::iter::once(&variant).chain(group) {
        for codec in &rendition.spec.codecs {
            if !codecs.contains(&codec.as_str()) {
                codecs.push(codec);
            }
        }
    }
    write!(
        text,
        "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{}\"",
        codecs.join(",")
    )?;
    if let Kind::Video {
        width,
        height,
        frame_rate: (num, den),
        ..
    } = variant.spec.kind
    {
        let rate = f64::from(num) / f64::from(den.max(1));
        write!(text, ",RESOLUTION={width}x{height},FRAME-RATE={rate:.3}")?;
    }
    if !group.is_empty() {
        write!(text, ",AUDIO=\"{GROUP}\"")?;
    }
    writeln!(text, "\n{}/index.m3u8", variant.spec.name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use m3u8_rs::Playlist;

    fn video(name: &str, width: u32, height: u32, with_audio: bool) -> Stated {
        Stated {
            spec: RenditionSpec {
                name: name.into(),
                kind: Kind::Video {
                    width,
                    height,
                    frame_rate: (30_000, 1001),
                    with_audio,
                },
                codecs: match with_audio {
                    true => vec!["avc1.64001f".into(), "mp4a.40.2".into()],
                    false => vec!["avc1.64001f".into()],
                },
                max_bitrate_bps: 3_000_000,
            },
            peak_bps: u64::from(width) * 2000,
            average_bps: u64::from(width) * 1000,
        }
    }

    fn audio() -> Stated {
        Stated {
            spec: RenditionSpec {
                name: "sound".into(),
                kind: Kind::Audio { channels: 2 },
                codecs: vec!["mp4a.40.2".into()],
                max_bitrate_bps: 128_000,
            },
            peak_bps: 131_000,
            average_bps: 128_000,
        }
    }

    fn parsed(text: &str) -> m3u8_rs::MasterPlaylist {
        match m3u8_rs::parse_playlist_res(text.as_bytes()) {
            Ok(Playlist::MasterPlaylist(parsed)) => parsed,
            other => panic!("{other:?}\n{text}"),
        }
    }

    #[test]
    fn muxed_sound_is_in_each_variant() {
        let text = text(&[
            video("360p", 640, 360, true),
            video("720p", 1280, 720, true),
        ]);
        assert_eq!(
            text,
            "#EXTM3U\n\
             #EXT-X-VERSION:3\n\
             #EXT-X-STREAM-INF:BANDWIDTH=2560000,AVERAGE-BANDWIDTH=1280000,\
             CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970\n\
             720p/index.m3u8\n\
             #EXT-X-STREAM-INF:BANDWIDTH=1280000,AVERAGE-BANDWIDTH=640000,\
             CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=29.970\n\
             360p/index.m3u8\n"
        );
        assert_eq!(parsed(&text).variants.len(), 2);
    }

    #[test]
    fn sound_of_its_own_is_a_group() {
        let text = text(&[audio(), video("720p", 1280, 720, false)]);
        assert_eq!(
            text,
            "#EXTM3U\n\
             #EXT-X-VERSION:4\n\
             #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"sound\",DEFAULT=YES,\
             AUTOSELECT=YES,CHANNELS=\"2\",URI=\"sound/index.m3u8\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=2691000,AVERAGE-BANDWIDTH=1408000,\
             CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970,\
             AUDIO=\"audio\"\n\
             720p/index.m3u8\n"
        );
        let seen = parsed(&text);
        assert_eq!((seen.variants.len(), seen.alternatives.len()), (1, 1));
    }

    #[test]
    fn sound_without_a_picture_is_a_variant() {
        let text = text(&[audio()]);
        assert_eq!(
            text,
            "#EXTM3U\n\
             #EXT-X-VERSION:3\n\
             #EXT-X-STREAM-INF:BANDWIDTH=131000,AVERAGE-BANDWIDTH=128000,CODECS=\"mp4a.40.2\"\n\
             sound/index.m3u8\n"
        );
    }

    #[test]
    fn the_peak_is_that_of_segments_in_a_row() {
        let mut measured = Measured::new(Duration::from_secs(2));
        assert_eq!((measured.peak_bps(), measured.average_bps()), (0, 0));
        measured.add(250_000, Duration::from_secs(2));
        assert_eq!(
            (measured.peak_bps(), measured.average_bps()),
            (1_000_000, 1_000_000)
        );
        // Too short to count by itself; together with the one before it does.
        measured.add(200_000, Duration::from_millis(500));
        assert_eq!(measured.peak_bps(), 1_440_000);
        measured.add(1_000, Duration::from_secs(2));
        assert_eq!(measured.peak_bps(), 1_440_000);
        measured.add(500_000, Duration::from_secs(2));
        assert_eq!(measured.peak_bps(), 2_000_000);
        let (bits, seconds) = (8.0 * 951_000.0, 6.5);
        assert_eq!(measured.average_bps(), f64::ceil(bits / seconds) as u64);
    }

    #[test]
    fn what_is_stated_changes_seldom_and_is_never_too_low() {
        let spec = audio().spec;
        let mut measured = Measured::new(Duration::from_secs(2));
        let mut stated = None::<Stated>;
        let mut changes = 0;
        for n in 0..1000_u64 {
            measured.add(30_000 + n * 7919 % 4000, Duration::from_secs(2));
            let now = Stated::from_measured(&spec, &measured, stated.as_ref());
            assert!(now.peak_bps >= measured.peak_bps().max(spec.max_bitrate_bps));
            assert!(now.average_bps <= now.peak_bps);
            changes += u32::from(stated.as_ref() != Some(&now));
            stated = Some(now);
        }
        assert!(changes < 20, "{changes}");
    }
}
