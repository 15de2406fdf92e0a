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
