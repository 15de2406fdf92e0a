//! What happens to each stream of the input, decided before anything is written.

use crate::encoder::Codec;
use crate::failure::Failure;
use crate::probe::{ColourSource, Kind, Source, Stream};
use std::path::Path;

/// The output's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// MPEG-4 part 14.
    Mp4,
    /// QuickTime.
    Mov,
    /// Matroska.
    Mkv,
    /// WebM.
    Webm,
    /// MPEG transport stream.
    Ts,
}

impl Container {
    /// Tells from the file name's extension.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let ext = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or("")
            .to_ascii_lowercase();
        Ok(match ext.as_str() {
            "mp4" | "m4v" => Self::Mp4,
            "mov" => Self::Mov,
            "mkv" => Self::Mkv,
            "webm" => Self::Webm,
            "ts" | "m2ts" | "mts" => Self::Ts,
            _ => {
                return Err(Failure::usage(format!(
                    "{}: the extension says the container: .mp4, .mkv, .webm, .mov or .ts",
                    path.display()
                )));
            }
        })
    }

    /// The GStreamer element.
    pub fn muxer(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4mux",
            Self::Mov => "qtmux",
            Self::Mkv => "matroskamux",
            Self::Webm => "webmmux",
            Self::Ts => "mpegtsmux",
        }
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Mkv => "mkv",
            Self::Webm => "webm",
            Self::Ts => "ts",
        }
    }

    /// Whether it is made of ISO boxes, in which we can write what the muxer does not.
    pub fn is_iso(self) -> bool {
        matches!(self, Self::Mp4 | Self::Mov)
    }

    /// Audio encoders to try for it, best first.
    fn audio_encoders(self) -> &'static [&'static str] {
        match self {
            Self::Webm => &["opusenc", "vorbisenc"],
            Self::Mkv => &["opusenc", "avenc_aac", "voaacenc"],
            _ => &["avenc_aac", "fdkaacenc", "voaacenc"],
        }
    }

    /// The request pad template of the muxer that takes `caps`, by name.
    pub fn template_for(self, caps: &gst::CapsRef) -> Option<String> {
        // `neuralmkvmux` takes it, and all else that `matroskamux` takes, by the same names.
        let name = caps.structure(0).map(|s| s.name().as_str());
        if name == Some(Codec::Neural.media_type()) {
            return (self == Self::Mkv).then(|| "video_%u".into());
        }
        let factory = gst::ElementFactory::find(self.muxer())?;
        factory
            .static_pad_templates()
            .iter()
            .filter(|t| {
                t.direction() == gst::PadDirection::Sink
                    && t.presence() == gst::PadPresence::Request
            })
            .find(|t| t.caps().can_intersect(caps))
            .map(|t| t.name_template().to_string())
    }

    /// Whether the muxer takes this codec of ours.
    pub fn takes(self, codec: Codec) -> bool {
        self.template_for(&gst::Caps::new_empty_simple(codec.media_type()))
            .is_some()
    }
}

/// What happens to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The video that the job is about: decoded, perhaps upscaled, encoded.
    Work,
    /// Copied packet by packet, through a parser where the muxer wants another framing.
    Copy(Option<&'static str>),
    /// Decoded and encoded by this element, as the container does not take it.
    Encode(&'static str),
    /// Left out.
    Drop,
}

/// What happens to the orientation that the source's tag asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// There is none.
    None,
    /// Written as a tag again.
    Tag(String),
    /// Done to the pixels.
    Pixels(String),
}

/// Something that the user should know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// A word for scripts.
    pub code: &'static str,
    /// A sentence for people.
    pub text: String,
}

/// All decisions.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The container.
    pub container: Container,
    /// One per stream of the source, in its order.
    pub actions: Vec<Action>,
    /// Whether what the muxer does not write (orientation, edit lists) is written into the file
    /// when it is finished.
    pub finished_in_place: bool,
    /// Orientation.
    pub rotation: Rotation,
    /// What to tell.
    pub notes: Vec<Note>,
}

/// Wishes that touch streams other than the video.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes {
    /// Leave the sound out.
    pub no_audio: bool,
    /// Leave the subtitles out.
    pub no_subtitles: bool,
}

/// Decides. `is_file` says whether the output can be changed once it is written.
pub fn plan(
    source: &Source,
    container: Container,
    wishes: Wishes,
    is_file: bool,
) -> Result<Plan, Failure> {
    let finished_in_place = container.is_iso() && is_file;
    let mut notes = Vec::new();
    let mut actions = Vec::new();
    let mut count = [0usize; 3];
    for (i, stream) in source.streams.iter().enumerate() {
        let n = match stream.kind {
            Kind::Video => 0,
            Kind::Audio => 1,
            _ => 2,
        };
        count[n] += 1;
        let nth = count[n];
        let action = match stream.kind {
            Kind::Video if i == source.video => Action::Work,
            Kind::Video => {
                notes.push(Note {
                    code: "video-dropped",
                    text: format!(
                        "video track {nth} ({}) is left out: one video track is taken",
                        stream.codec()
                    ),
                });
                Action::Drop
            }
            Kind::Audio if wishes.no_audio => Action::Drop,
            Kind::Audio => audio(stream, nth, container, &mut notes)?,
            Kind::Subtitle if wishes.no_subtitles => Action::Drop,
            Kind::Subtitle => subtitle(stream, nth, container, &mut notes),
            Kind::Other => {
                notes.push(Note {
                    code: "data-dropped",
                    text: format!("a data track ({}) is left out", stream.media_type()),
                });
                Action::Drop
            }
        };
        actions.push(action);
    }
    if source.colour == ColourSource::Nobody {
        notes.push(Note {
            code: "colour-assumed",
            text: format!(
                "the input does not say its colours: they are read by its size, as players do, and the output says so ({})",
                source.colorimetry().unwrap_or_default()
            ),
        });
    }
    let rotation = match &source.orientation {
        None => Rotation::None,
        Some(o) if finished_in_place => Rotation::Tag(o.clone()),
        Some(o) => {
            notes.push(Note {
                code: "rotation-applied",
                text: if container.is_iso() {
                    format!("the orientation ({o}) cannot be written there: the pixels are turned")
                } else {
                    format!(
                        "{} has no place for the orientation ({o}): the pixels are turned",
                        container.name()
                    )
                },
            });
            Rotation::Pixels(o.clone())
        }
    };
    Ok(Plan {
        container,
        finished_in_place,
        actions,
        rotation,
        notes,
    })
}

fn audio(
    stream: &Stream,
    nth: usize,
    container: Container,
    notes: &mut Vec<Note>,
) -> Result<Action, Failure> {
    if container.template_for(&stream.caps).is_some() {
        return Ok(Action::Copy(None));
    }
    if let Some(parser) = reframe(stream, container) {
        return Ok(Action::Copy(Some(parser)));
    }
    let encoder = container
        .audio_encoders()
        .iter()
        .find(|name| gst::ElementFactory::find(name).is_some())
        .ok_or_else(|| {
            Failure::new(format!(
                "{} does not take {} sound, and there is no encoder for another",
                container.name(),
                stream.codec()
            ))
            .hint("apt install gstreamer1.0-libav gstreamer1.0-plugins-bad, or --no-audio, or an .mkv")
        })?;
    let to = if encoder.contains("opus") {
        "opus"
    } else if encoder.contains("vorbis") {
        "vorbis"
    } else {
        "aac"
    };
    let language = stream
        .language()
        .map(|l| format!(", {l}"))
        .unwrap_or_default();
    notes.push(Note {
        code: "audio-reencoded",
        text: format!(
            "audio track {nth} ({}{language}) is encoded again, to {to}: {} does not take it as it is",
            stream.codec(),
            container.name()
        ),
    });
    Ok(Action::Encode(encoder))
}

/// The parser that turns the same packets into the framing that the muxer wants, if that is all it takes.
fn reframe(stream: &Stream, container: Container) -> Option<&'static str> {
    let s = stream.caps.structure(0)?;
    let parser = match s.name().as_str() {
        "audio/mpeg" if s.get::<i32>("mpegversion").is_ok_and(|v| v == 1) => "mpegaudioparse",
        "audio/mpeg" => "aacparse",
        "audio/x-ac3" | "audio/x-eac3" => "ac3parse",
        "audio/x-flac" => "flacparse",
        "audio/x-opus" => "opusparse",
        _ => return None,
    };
    gst::ElementFactory::find(parser)?;
    let mut bare = stream.caps.copy();
    if let Some(s) = bare.get_mut()?.structure_mut(0) {
        s.remove_fields([
            "stream-format",
            "framed",
            "parsed",
            "alignment",
            "codec_data",
        ]);
    }
    container.template_for(&bare).map(|_| parser)
}

fn subtitle(stream: &Stream, nth: usize, container: Container, notes: &mut Vec<Note>) -> Action {
    // webmmux takes what Matroska takes, but WebM players read WebVTT alone.
    let plain = gst::Caps::builder("text/x-raw")
        .field("format", "utf8")
        .build();
    let caps = if is_markup(&stream.caps) {
        &plain
    } else {
        &stream.caps
    };
    if container != Container::Webm && container.template_for(caps).is_some() {
        return Action::Copy(None);
    }
    let parser = match stream.media_type().as_str() {
        "application/x-ssa" | "application/x-ass" => Some("ssaparse"),
        _ => None,
    };
    if let Some(parser) = parser
        && container != Container::Webm
        && gst::ElementFactory::find(parser).is_some()
        && container.template_for(&plain).is_some()
    {
        notes.push(Note {
            code: "subtitle-converted",
            text: format!(
                "subtitle track {nth} ({}) becomes plain text in {}",
                stream.codec(),
                container.name()
            ),
        });
        return Action::Copy(Some(parser));
    }
    let language = stream
        .language()
        .map(|l| format!(", {l}"))
        .unwrap_or_default();
    notes.push(Note {
        code: "subtitle-dropped",
        text: format!(
            "subtitle track {nth} ({}{language}) is left out: {} does not take it (an .mkv would)",
            stream.codec(),
            container.name()
        ),
    });
    Action::Drop
}

/// Whether these are subtitles with GStreamer's markup in them.
pub fn is_markup(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|s| {
        s.name() == "text/x-raw" && s.get::<&str>("format").is_ok_and(|f| f == "pango-markup")
    })
}

/// The text without tags, its entities resolved.
pub fn strip_markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '<'
            && let Some(end) = rest.find('>')
        {
            rest = &rest[end + 1..];
            continue;
        }
        let entity = [
            ("&amp;", '&'),
            ("&lt;", '<'),
            ("&gt;", '>'),
            ("&quot;", '"'),
            ("&apos;", '\''),
            ("&#39;", '\''),
        ]
        .into_iter()
        .find(|(e, _)| rest.starts_with(e));
        match entity {
            Some((e, plain)) => {
                out.push(plain);
                rest = &rest[e.len()..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_goes_and_text_stays() {
        assert_eq!(
            strip_markup("<i>A &amp; B</i> &lt;3 \u{e9}"),
            "A & B <3 \u{e9}"
        );
        assert_eq!(strip_markup("1 < 2"), "1 < 2");
        assert_eq!(strip_markup(""), "");
    }

    #[test]
    fn the_extension_says_the_container() {
        assert_eq!(Container::of(Path::new("a.MP4")), Ok(Container::Mp4));
        assert_eq!(Container::of(Path::new("a.webm")), Ok(Container::Webm));
        assert!(Container::of(Path::new("mp4")).is_err());
        assert!(Container::of(Path::new("a.avi")).is_err());
    }
}
