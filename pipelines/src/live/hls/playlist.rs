//! The media playlist: what it lists, and its text.

use super::options::{Options, rounded_s};
use super::utc;
use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

/// A part of a segment, for low latency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartEntry {
    /// Its name beside the playlist.
    pub uri: String,
    /// Its length.
    pub duration: Duration,
    /// Whether it begins with a keyframe.
    pub independent: bool,
    /// It could not be written: players leave it out.
    pub gap: bool,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name beside the playlist.
    pub uri: String,
    /// Its length.
    pub duration: Duration,
    /// When its first frame was there, on the wall clock.
    pub begins: SystemTime,
    /// Time starts anew with it: another encoder, another source.
    pub discontinuity: bool,
    /// It does not exist: players leave it out. It keeps the numbers of all renditions together.
    pub gap: bool,
    /// The initialisation segment it needs.
    pub map: Option<String>,
    /// Its parts, while they are listed.
    pub parts: Vec<PartEntry>,
}

/// Why a playlist does not take something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The length (of a segment, or of a part) and the longest that the playlist has announced.
    TooLong(Duration, Duration),
    /// The playlist has its end.
    Ended,
}

/// What left a playlist, and is needed until those with an older copy have fetched it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// A segment that is no longer listed.
    Segment(Entry),
    /// A part whose segment is listed without its parts now.
    Part(PartEntry),
}

/// A media playlist.
#[derive(Debug, Clone)]
pub struct MediaPlaylist {
    target_s: u64,
    part_target: Option<Duration>,
    window: Option<usize>,
    with_map: bool,
    sequence: u64,
    discontinuity_sequence: u64,
    segments: VecDeque<Entry>,
    /// The segment that is being written; its length and name are not known yet.
    open: Option<Entry>,
    /// The name of the part that comes next.
    hint: Option<String>,
    ended: bool,
}

impl MediaPlaylist {
    /// An empty playlist whose first segment will have this number, after as many discontinuities.
    pub fn new(options: &Options, sequence: u64, discontinuity_sequence: u64) -> Self {
        Self {
            target_s: options.target_s(),
            part_target: options.part,
            window: options.window,
            with_map: options.container == super::options::Container::Cmaf,
            sequence,
            discontinuity_sequence,
            segments: VecDeque::new(),
            open: None,
            hint: None,
            ended: false,
        }
    }

    /// The number of the segment that is being written, or will be next.
    pub fn next_sequence(&self) -> u64 {
        self.sequence + self.segments.len() as u64
    }

    /// The discontinuities that lie before the segment that is being written.
    pub fn discontinuities(&self) -> u64 {
        let listed = self.segments.iter().chain(&self.open);
        self.discontinuity_sequence + listed.filter(|s| s.discontinuity).count() as u64
    }

    /// The parts of the segment that is being written.
    pub fn open_parts(&self) -> usize {
        self.open.as_ref().map_or(0, |o| o.parts.len())
    }

    /// The segments it lists, and the number of the first.
    pub fn listed(&self) -> (u64, impl Iterator<Item = &Entry>) {
        (self.sequence, self.segments.iter())
    }

    /// The length of all that is listed, the parts of the open segment too.
    pub fn duration(&self) -> Duration {
        let open = self.open.iter().flat_map(|o| &o.parts);
        let segments: Duration = self.segments.iter().map(|s| s.duration).sum();
        segments + open.map(|p| p.duration).sum::<Duration>()
    }

    /// Whether it lists no segment: it has had none since it began.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether it has its end.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Sets the name of the part that comes next.
    pub fn hint(&mut self, uri: String) {
        self.hint = Some(uri);
    }

    /// Adds a part of the segment that is being written. The first part of a segment says when it
    /// `begins`, which `map` it needs and whether it is a `discontinuity`.
    ///
    /// # Errors
    /// A part longer than the part target; a playlist that has its end.
    pub fn part(
        &mut self,
        part: PartEntry,
        begins: SystemTime,
        map: Option<&str>,
        discontinuity: bool,
    ) -> Result<(), Refused> {
        if self.ended {
            return Err(Refused::Ended);
        }
        let target = self.part_target.unwrap_or_default();
        if part.duration > target {
            return Err(Refused::TooLong(part.duration, target));
        }
        let open = self.open.get_or_insert_with(|| Entry {
            uri: String::new(),
            duration: Duration::ZERO,
            begins,
            discontinuity,
            gap: false,
            map: map.map(str::to_owned),
            parts: Vec::new(),
        });
        open.parts.push(part);
        Ok(())
    }

    /// Adds a segment, and gives what is no longer listed. What the first part said of it stays.
    ///
    /// # Errors
    /// A segment whose length rounds to more than the target duration; a playlist that has its end.
    pub fn segment(&mut self, segment: Entry) -> Result<Vec<Left>, Refused> {
        if self.ended {
            return Err(Refused::Ended);
        }
        if rounded_s(segment.duration) > self.target_s {
            let target = Duration::from_secs(self.target_s);
            return Err(Refused::TooLong(segment.duration, target));
        }
        self.segments.push_back(match self.open.take() {
            Some(open) => Entry {
                uri: segment.uri,
                duration: segment.duration,
                gap: segment.gap,
                ..open
            },
            None => segment,
        });
        let mut left = Vec::new();
        self.slide(&mut left);
        self.forget_parts(&mut left);
        Ok(left)
    }

    /// Ends it; parts without their segment go.
    pub fn end(&mut self) -> Vec<Left> {
        self.ended = true;
        let open = self.open.take().into_iter().flat_map(|o| o.parts);
        open.map(Left::Part).collect()
    }

    /// Begins anew after an end, for a rendition that went away and came back: empty, with these
    /// numbers. Gives all that was listed.
    pub fn restart(&mut self, sequence: u64, discontinuity_sequence: u64) -> Vec<Left> {
        let mut left = self.end();
        for mut segment in self.segments.drain(..) {
            left.extend(segment.parts.drain(..).map(Left::Part));
            left.push(Left::Segment(segment));
        }
        self.ended = false;
        self.sequence = sequence;
        self.discontinuity_sequence = discontinuity_sequence;
        left
    }

    fn slide(&mut self, left: &mut Vec<Left>) {
        let Some(window) = self.window else {
            return;
        };
        let least = Duration::from_secs(3 * self.target_s);
        let mut listed: Duration = self.segments.iter().map(|s| s.duration).sum();
        while self.segments.len() > window
            && let Some(first) = self.segments.front()
            && listed.saturating_sub(first.duration) >= least
            && let Some(mut gone) = self.segments.pop_front()
        {
            listed = listed.saturating_sub(gone.duration);
            self.sequence += 1;
            self.discontinuity_sequence += u64::from(gone.discontinuity);
            left.extend(gone.parts.drain(..).map(Left::Part));
            left.push(Left::Segment(gone));
        }
    }

    /// Parts are of use to those near the end only: within three target durations.
    fn forget_parts(&mut self, left: &mut Vec<Left>) {
        let near = Duration::from_secs(3 * self.target_s);
        let mut after = Duration::ZERO;
        for segment in self.segments.iter_mut().rev() {
            if after >= near {
                left.extend(segment.parts.drain(..).map(Left::Part));
            }
            after += segment.duration;
        }
    }

    /// Its text, as it is served.
    pub fn text(&self) -> String {
        let mut text = String::from("#EXTM3U\n");
        // Writing to a String does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        // EXT-X-MAP outside I-frame playlists needs 6, lengths with a fraction need 3.
        writeln!(text, "#EXT-X-VERSION:{}", if self.with_map { 6 } else { 3 })?;
        writeln!(text, "#EXT-X-TARGETDURATION:{}", self.target_s)?;
        if let Some(part) = self.part_target {
            let hold = seconds(part * 3);
            writeln!(
                text,
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={hold}"
            )?;
            writeln!(text, "#EXT-X-PART-INF:PART-TARGET={}", seconds(part))?;
        }
        writeln!(text, "#EXT-X-MEDIA-SEQUENCE:{}", self.sequence)?;
        writeln!(
            text,
            "#EXT-X-DISCONTINUITY-SEQUENCE:{}",
            self.discontinuity_sequence
        )?;
        if self.window.is_none() {
            writeln!(text, "#EXT-X-PLAYLIST-TYPE:EVENT")?;
        }
        writeln!(text, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        let mut map = None;
        for segment in &self.segments {
            Self::write_head(text, segment, &mut map)?;
            if segment.gap {
                writeln!(text, "#EXT-X-GAP")?;
            }
            writeln!(text, "#EXTINF:{},", seconds(segment.duration))?;
            writeln!(text, "{}", segment.uri)?;
        }
        if let Some(open) = &self.open {
            Self::write_head(text, open, &mut map)?;
        }
        if self.ended {
            return writeln!(text, "#EXT-X-ENDLIST");
        }
        if let (Some(_), Some(hint)) = (self.part_target, &self.hint) {
            writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{hint}\"")?;
        }
        Ok(())
    }

    /// What comes before a segment's own lines.
    fn write_head<'a>(
        text: &mut String,
        segment: &'a Entry,
        map: &mut Option<&'a str>,
    ) -> std::fmt::Result {
        if segment.discontinuity {
            writeln!(text, "#EXT-X-DISCONTINUITY")?;
        }
        if *map != segment.map.as_deref()
            && let Some(uri) = segment.map.as_deref()
        {
            writeln!(text, "#EXT-X-MAP:URI=\"{uri}\"")?;
            *map = Some(uri);
        }
        writeln!(
            text,
            "#EXT-X-PROGRAM-DATE-TIME:{}",
            utc::iso8601(segment.begins)
        )?;
        for part in &segment.parts {
            write!(
                text,
                "#EXT-X-PART:DURATION={},URI=\"{}\"",
                seconds(part.duration),
                part.uri
            )?;
            if part.independent {
                write!(text, ",INDEPENDENT=YES")?;
            }
            if part.gap {
                write!(text, ",GAP=YES")?;
            }
            writeln!(text)?;
        }
        Ok(())
    }
}

/// Seconds with six decimals.
fn seconds(duration: Duration) -> String {
    format!("{}.{:06}", duration.as_secs(), duration.subsec_micros())
}
