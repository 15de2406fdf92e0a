//! nnupscale inside a graph of one's own, as a media server would build it.
//!
//! ```text
//! embed-rust IN OUT.mkv [MODEL]
//! ```
//!
//! A decoder whose pads appear as the file turns out to be, the upscaler, an encoder and a muxer;
//! sound is copied into the same file if there is any. The stats that the element keeps are read
//! while it runs and at the end, and what it posts on the bus is shown.

use std::{env, process::ExitCode, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use gst::prelude::*;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (input, output, model) = match arguments.as_slice() {
        [input, output] => (input, output, "luma-x2"),
        [input, output, model] => (input, output, model.as_str()),
        _ => {
            eprintln!("usage: embed-rust IN OUT.mkv [MODEL]");
            return ExitCode::from(2);
        }
    };
    match run(input, output, model) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(input: &str, output: &str, model: &str) -> Result<()> {
    gst::init()?;
    let pipeline = gst::Pipeline::new();
    let source = make("filesrc")?.property("location", input).build()?;
    let decoder = make("decodebin")?.build()?;
    let muxer = make("matroskamux")?.build()?;
    let sink = make("filesink")?.property("location", output).build()?;
    pipeline.add_many([&source, &decoder, &muxer, &sink])?;
    source.link(&decoder)?;
    muxer.link(&sink)?;

    let upscaler = make("nnupscale")?.property("model", model).build()?;
    let video = branch(
        &pipeline,
        &muxer,
        &[
            make("queue")?.build()?,
            upscaler.clone(),
            make("videoconvert")?.build()?,
            make("x264enc")?
                .property_from_str("speed-preset", "veryfast")
                .build()?,
            make("h264parse")?.build()?,
        ],
    )?;
    let (weak, first) = (pipeline.downgrade(), video.clone());
    decoder.connect_no_more_pads(move |_| {
        if let Some(pipeline) = weak.upgrade().filter(|_| !first.is_linked()) {
            gst::element_error!(pipeline, gst::StreamError::WrongType, ["no video in it"]);
        }
    });
    let weak = pipeline.downgrade();
    decoder.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        if let Err(error) = connect(&pipeline, &muxer, &video, pad) {
            gst::element_error!(pipeline, gst::StreamError::Format, ["{error:#}"]);
        }
    });
    play(&pipeline, &upscaler)
}

fn make(name: &str) -> Result<gst::element_factory::ElementBuilder<'_>> {
    gst::ElementFactory::find(name)
        .with_context(|| format!("GStreamer has no element {name}; is GST_PLUGIN_PATH right?"))?;
    Ok(gst::ElementFactory::make(name))
}

/// Puts a chain of elements before the muxer; its first pad takes the stream.
fn branch(
    pipeline: &gst::Pipeline,
    muxer: &gst::Element,
    elements: &[gst::Element],
) -> Result<gst::Pad> {
    pipeline.add_many(elements)?;
    gst::Element::link_many(elements)?;
    let (Some(first), Some(last)) = (elements.first(), elements.last()) else {
        bail!("a branch needs elements");
    };
    last.link(muxer)?;
    for element in elements {
        element.sync_state_with_parent()?;
    }
    first
        .static_pad("sink")
        .context("the first element of a branch takes no input")
}

/// Gives a decoded stream to the branch it belongs to.
fn connect(
    pipeline: &gst::Pipeline,
    muxer: &gst::Element,
    video: &gst::Pad,
    pad: &gst::Pad,
) -> Result<()> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let kind = caps.structure(0).map_or("", |s| s.name().as_str());
    let sink = if kind.starts_with("video/") && !video.is_linked() {
        video.clone()
    } else if kind.starts_with("audio/") {
        let elements = ["queue", "audioconvert", "opusenc"]
            .into_iter()
            .map(|name| Ok(make(name)?.build()?))
            .collect::<Result<Vec<_>>>()?;
        branch(pipeline, muxer, &elements)?
    } else {
        let ignore = make("fakesink")?.build()?;
        pipeline.add(&ignore)?;
        ignore.sync_state_with_parent()?;
        ignore.static_pad("sink").context("fakesink has a pad")?
    };
    pad.link(&sink)?;
    Ok(())
}

/// Runs the graph to its end and tells what the upscaler did.
fn play(pipeline: &gst::Pipeline, upscaler: &gst::Element) -> Result<()> {
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|_| first_error(&bus))?;
    let result = loop {
        let Some(message) = bus.timed_pop(gst::ClockTime::from_seconds(1)) else {
            report(upscaler, "so far");
            continue;
        };
        match message.view() {
            gst::MessageView::Eos(_) => break Ok(()),
            gst::MessageView::Error(error) => break Err(described(error)),
            gst::MessageView::Element(element) => {
                if let Some(s) = element
                    .structure()
                    .filter(|s| s.name() == "nnupscale-fallback")
                {
                    println!("{s}");
                }
            }
            _ => {}
        }
    };
    report(upscaler, "in all");
    pipeline.set_state(gst::State::Null)?;
    result
}

/// Frames and times from the read-only property `stats`.
fn report(upscaler: &gst::Element, when: &str) {
    let stats = upscaler.property::<gst::Structure>("stats");
    let number = |field| stats.get::<u64>(field).unwrap_or(0);
    println!(
        "{when}: {} frames, {} by the fallback, the network takes {:.1?}",
        number("frames"),
        number("fallback-frames"),
        Duration::from_nanos(number("inference-p50-ns")),
    );
}

fn described(error: &gst::message::Error) -> anyhow::Error {
    anyhow!("{} {}", error.error(), error.debug().unwrap_or_default())
}

/// What the bus says about a state change that failed.
fn first_error(bus: &gst::Bus) -> anyhow::Error {
    match bus.pop_filtered(&[gst::MessageType::Error]) {
        Some(message) => match message.view() {
            gst::MessageView::Error(error) => described(error),
            _ => anyhow!("the graph did not start"),
        },
        None => anyhow!("the graph did not start"),
    }
}
