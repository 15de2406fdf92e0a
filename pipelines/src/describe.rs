//! What is said of a job before it begins.

use crate::deinterlace;
use crate::job::Work;
use crate::plan::{Action, Note, Plan};
use crate::probe::{Kind, Source};
use crate::report::StreamLine;

/// What is to be said of interlaced video.
pub(crate) fn interlaced(source: &Source, deinterlaced: bool) -> Vec<Note> {
    let caps = &source.decoded;
    if !deinterlace::is_interlaced(caps) {
        return Vec::new();
    }
    let mut notes = vec![Note {
        code: "interlaced",
        text: if deinterlaced {
            "the video is interlaced: each frame becomes one picture, of the moment of its first field".into()
        } else {
            "the video is interlaced: its fields are upscaled as they are woven".into()
        },
    }];
    if deinterlaced && let Some(format) = deinterlace::reduced(caps) {
        notes.push(Note {
            code: "depth-reduced",
            text: format!("deinterlacing takes 8 bits: the video is reduced to {format}"),
        });
    }
    notes
}

/// Formats that the codec takes, or that become one of them without any sample changing.
const EXACT: [&str; 18] = [
    "I420",
    "YV12",
    "NV12",
    "NV21",
    "Y42B",
    "YUY2",
    "UYVY",
    "YVYU",
    "NV16",
    "Y444",
    "NV24",
    "GRAY8",
    "I420_10LE",
    "P010_10LE",
    "NV12_10LE32",
    "I422_10LE",
    "v210",
    "Y444_10LE",
];

/// What is to be said where coding cannot keep the samples as they are.
pub(crate) fn converted(source: &Source) -> Option<Note> {
    let structure = source.decoded.structure(0)?;
    let format = structure.get::<String>("format").ok()?;
    (!EXACT.contains(&format.as_str())).then(|| Note {
        code: "format-converted",
        text: format!(
            "the frames are {format}, which the codec does not have: they are converted first, and what is kept is the conversion"
        ),
    })
}

/// How many frames `length_ns` has at the source's nominal rate.
pub(crate) fn frame_estimate(source: &Source, length_ns: u64) -> Option<u64> {
    let rate = source
        .decoded
        .structure(0)?
        .get::<gst::Fraction>("framerate")
        .ok()?;
    if rate.numer() <= 0 || rate.denom() <= 0 {
        return None;
    }
    Some(
        (length_ns as f64 * f64::from(rate.numer()) / f64::from(rate.denom()) / 1e9).round() as u64,
    )
}

/// Lines for the report.
pub(crate) fn streams(source: &Source, plan: &Plan, work: Work) -> Vec<StreamLine> {
    source
        .streams
        .iter()
        .zip(&plan.actions)
        .map(|(stream, action)| StreamLine {
            kind: match stream.kind {
                Kind::Video => "video",
                Kind::Audio => "audio",
                Kind::Subtitle => "subtitle",
                Kind::Other => "other",
            },
            codec: stream.codec(),
            language: stream.language(),
            action: match action {
                Action::Work => work.name(),
                Action::Copy(_) => "copy",
                Action::Encode(_) => "encode",
                Action::Drop => "drop",
            },
        })
        .collect()
}
