//! The branches of a pipeline for everything but the video.

use crate::failure::{Failure, make};
use crate::parts::{add_chain, byte_queue, decoder, fail, link_later, sink_pad, src_pad, to_muxer};
use crate::plan::{Container, Plan, is_markup};
use crate::probe::{Kind, Stream};
use crate::timing::{self, Control, Cut, Track};
use crate::watch::plain_text;
use gst::prelude::*;
use std::sync::Arc;

/// A stream that goes to the muxer as it is, through `parser` if the muxer wants another form of it.
/// Gives the pad where its packets come in.
pub(crate) fn copy(
    pipeline: &gst::Pipeline,
    mux: &gst::Element,
    plan: &Plan,
    stream: &Stream,
    parser: Option<&'static str>,
    control: &Arc<Control>,
    track: &Arc<Track>,
) -> Result<gst::Pad, Failure> {
    let mut chain = vec![byte_queue(64)?];
    if let Some(parser) = parser {
        chain.push(make(parser)?);
    }
    let (first, last) = add_chain(pipeline, &chain)?;
    let mut caps = stream.caps.clone();
    if let (Some(_), Some(s)) = (parser, caps.make_mut().structure_mut(0)) {
        s.remove_fields([
            "stream-format",
            "framed",
            "parsed",
            "alignment",
            "codec_data",
        ]);
    }
    if parser == Some("ssaparse") {
        caps = gst::Caps::builder("text/x-raw")
            .field("format", "utf8")
            .build();
    }
    let entry = sink_pad(&first)?;
    let cut = match stream.kind {
        Kind::Subtitle => Cut::Text,
        _ => Cut::Packets {
            lead: plan.finished_in_place,
        },
    };
    if is_markup(&stream.caps) {
        plain_text(&entry);
        caps = gst::Caps::builder("text/x-raw")
            .field("format", "utf8")
            .build();
    }
    to_muxer(mux, plan.container, &caps, &last)?;
    timing::install(&entry, control, track, cut);
    timing::install_tail(&src_pad(&chain[0])?, control, track);
    Ok(entry)
}

/// Sound that is decoded and encoded again by `encoder`. Gives the pad where its packets come in.
pub(crate) fn encode(
    pipeline: &gst::Pipeline,
    mux: &gst::Element,
    container: Container,
    encoder: &str,
    control: &Arc<Control>,
    track: &Arc<Track>,
) -> Result<gst::Pad, Failure> {
    let entry = byte_queue(64)?;
    let decode = decoder()?;
    pipeline.add_many([&entry, &decode]).map_err(fail)?;
    entry.link(&decode).map_err(fail)?;
    let mut chain = vec![
        make("audioconvert")?,
        make("audioresample")?,
        make(encoder)?,
    ];
    let parser = match encoder {
        "opusenc" => Some("opusparse"),
        "vorbisenc" => None,
        _ => Some("aacparse"),
    };
    if let Some(parser) = parser.filter(|p| gst::ElementFactory::find(p).is_some()) {
        chain.push(make(parser)?);
    }
    chain.push(byte_queue(64)?);
    let (first, last) = add_chain(pipeline, &chain)?;
    let name = match encoder {
        "opusenc" => "audio/x-opus",
        "vorbisenc" => "audio/x-vorbis",
        _ => "audio/mpeg",
    };
    let mut caps = gst::Caps::new_empty_simple(name);
    if name == "audio/mpeg" {
        caps.make_mut().set("mpegversion", 4i32);
    }
    to_muxer(mux, container, &caps, &last)?;
    let raw_pad = sink_pad(&first)?;
    timing::install(&raw_pad, control, track, Cut::Samples);
    timing::install_tail(&src_pad(&last)?, control, track);
    link_later(&decode, raw_pad);
    sink_pad(&entry)
}
