//! The publisher's side: a pipeline that takes the stream apart and feeds its packets.

use super::feed::{Feed, Kind};
use super::uri::on_loopback;
use crate::failure::{Failure, make};
use crate::location;
use crate::parts::{add_chain, fail, play, sink_pad};
use crate::probe::link_source;
use gst::prelude::*;
use std::sync::Arc;

/// The running pipeline.
#[derive(Debug)]
pub struct Source {
    pipeline: gst::Pipeline,
    bus: gst::Bus,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The publisher is done, or is gone.
    Done,
    /// The stream is broken, or the server cannot be reached.
    Broken(String),
}

impl Source {
    /// Connects to `uri`. Nothing is waited for.
    ///
    /// # Errors
    /// When the URI is none that GStreamer can read, or elements are missing.
    pub fn start(uri: &str, feed: &Arc<Feed>) -> Result<Self, Failure> {
        let pipeline = gst::Pipeline::new();
        let scheme = location::scheme(uri).unwrap_or_default();
        let (src, demux) = match scheme {
            "rtmp" | "rtmps" => {
                let src = make("rtmp2src")?;
                src.set_property("location", uri);
                (src, make("flvdemux")?)
            }
            "srt" => {
                let src = make("srtsrc")?;
                src.set_property("uri", on_loopback(uri));
                let demux = make("tsdemux")?;
                // Else frames get the times at which they came, by and by: jitter of the line, which
                // can turn their order round.
                demux.set_property("ignore-pcr", true);
                (src, demux)
            }
            _ => (location::source(uri)?, make("parsebin")?),
        };
        pipeline.add_many([&src, &demux]).map_err(fail)?;
        link_source(&src, &demux)?;
        let weak = pipeline.downgrade();
        let feed = Arc::clone(feed);
        demux.connect_pad_added(move |_, pad| {
            let Some(pipeline) = weak.upgrade() else {
                return;
            };
            if let Err(e) = connect(&pipeline, pad, &feed) {
                gst::element_error!(pipeline, gst::CoreError::Pad, ("{}", e.what));
            }
        });
        let bus = play(&pipeline)?;
        Ok(Self { pipeline, bus })
    }

    /// Whether it has ended.
    pub fn ended(&self) -> Option<End> {
        let types = [gst::MessageType::Error, gst::MessageType::Eos];
        let message = self.bus.pop_filtered(&types)?;
        Some(match message.view() {
            gst::MessageView::Error(e) => {
                let failure = Failure::from_gst(e);
                End::Broken(failure.what)
            }
            _ => End::Done,
        })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Behind a demuxer's pad: a parser and the way into the feed; what is no audio or video that we
/// know, goes nowhere.
fn connect(pipeline: &gst::Pipeline, pad: &gst::Pad, feed: &Arc<Feed>) -> Result<(), Failure> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let Some(structure) = caps.structure(0) else {
        return Ok(());
    };
    let version = structure.get::<i32>("mpegversion").unwrap_or(0);
    let (kind, parser, format) = match structure.name().as_str() {
        "video/x-h264" => (
            Kind::Video,
            "h264parse",
            "video/x-h264,stream-format=byte-stream,alignment=au",
        ),
        "video/x-h265" => (
            Kind::Video,
            "h265parse",
            "video/x-h265,stream-format=byte-stream,alignment=au",
        ),
        "audio/mpeg" if version == 4 || version == 2 => {
            (Kind::Audio, "aacparse", "audio/mpeg,stream-format=raw")
        }
        "audio/mpeg" => (Kind::Audio, "mpegaudioparse", "audio/mpeg"),
        "audio/x-opus" => (Kind::Audio, "opusparse", "audio/x-opus"),
        name => {
            gst::warning!(gst::CAT_DEFAULT, "{name} is left out");
            let sink = make("fakesink")?;
            sink.set_property("sync", false);
            sink.set_property("async", false);
            pipeline.add(&sink).map_err(fail)?;
            sink.sync_state_with_parent().map_err(fail)?;
            pad.link(&sink_pad(&sink)?).map_err(fail)?;
            return Ok(());
        }
    };
    let parser = make(parser)?;
    if parser.has_property("config-interval") {
        // So that every keyframe can be the first one.
        parser.set_property("config-interval", -1i32);
    }
    let filter = make("capsfilter")?;
    filter.set_property_from_str("caps", format);
    let feed = Arc::clone(feed);
    let sink = gst_app::AppSink::builder()
        .sync(false)
        .async_(false)
        .callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    feed.push(kind, &sample);
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        )
        .build();
    let chain = [parser, filter, sink.upcast()];
    let (first, _) = add_chain(pipeline, &chain)?;
    for element in chain.iter().rev() {
        element.sync_state_with_parent().map_err(fail)?;
    }
    pad.link(&sink_pad(&first)?).map_err(fail)?;
    Ok(())
}
