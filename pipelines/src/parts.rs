//! The parts that pipelines are put together from.

use crate::encoder::Codec;
use crate::failure::{Failure, make};
use crate::plan::Container;
use gst::prelude::*;

pub(crate) fn fail(e: impl std::fmt::Display) -> Failure {
    Failure::new(format!("the pipeline cannot be built: {e}"))
}

pub(crate) fn sink_pad(element: &gst::Element) -> Result<gst::Pad, Failure> {
    element
        .static_pad("sink")
        .ok_or_else(|| fail(format!("{} has no sink pad", element.name())))
}

pub(crate) fn src_pad(element: &gst::Element) -> Result<gst::Pad, Failure> {
    element
        .static_pad("src")
        .ok_or_else(|| fail(format!("{} has no source pad", element.name())))
}

/// Starts a pipeline and gives its bus; one that does not start is stopped again, and says why.
pub(crate) fn play(pipeline: &gst::Pipeline) -> Result<gst::Bus, Failure> {
    let bus = pipeline
        .bus()
        .ok_or_else(|| fail("a pipeline without a bus"))?;
    if pipeline.set_state(gst::State::Playing).is_ok() {
        return Ok(bus);
    }
    let message = bus.pop_filtered(&[gst::MessageType::Error]);
    let _ = pipeline.set_state(gst::State::Null);
    Err(match message.as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Error(e)) => Failure::from_gst(e),
        _ => fail("it does not start"),
    })
}

/// A queue bounded by bytes alone: the muxer waits for the slowest stream, however far it is behind.
pub(crate) fn byte_queue(mebibytes: u32) -> Result<gst::Element, Failure> {
    let queue = make("queue")?;
    queue.set_property("max-size-time", 0u64);
    queue.set_property("max-size-buffers", 0u32);
    queue.set_property("max-size-bytes", mebibytes << 20);
    Ok(queue)
}

/// A queue of a few raw frames, so that its two sides work at the same time.
pub(crate) fn frame_queue(frames: u32) -> Result<gst::Element, Failure> {
    let queue = make("queue")?;
    queue.set_property("max-size-time", 0u64);
    queue.set_property("max-size-buffers", frames);
    queue.set_property("max-size-bytes", 0u32);
    Ok(queue)
}

pub(crate) fn decoder() -> Result<gst::Element, Failure> {
    let decoder = make("decodebin")?;
    decoder.set_property("force-sw-decoders", true);
    Ok(decoder)
}

/// Has the `neuraldec` that a decoder finds, if it finds one, take properties as the user wrote them.
pub(crate) fn tell_neuraldec(
    decoder: &gst::Element,
    properties: &[(String, String)],
) -> Result<(), Failure> {
    let Some(bin) = decoder.downcast_ref::<gst::Bin>() else {
        return Err(fail("a decoder that is no bin"));
    };
    if properties.is_empty() {
        return Ok(());
    }
    // What is wrong with them is told now: later nobody listens.
    crate::plugins::ensure_neuralcodec()?;
    let given = properties.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    set_properties(&make("neuraldec")?, given)?;
    let properties = properties.to_vec();
    // It is not started yet when it is added.
    bin.connect_element_added(move |_, element| {
        if element.factory().is_some_and(|f| f.name() == "neuraldec") {
            for (name, value) in &properties {
                element.set_property_from_str(name, value);
            }
        }
    });
    Ok(())
}

/// Links the pad that a decoder makes later.
pub(crate) fn link_later(decoder: &gst::Element, sink: gst::Pad) {
    decoder.connect_pad_added(move |_, pad| {
        if !sink.is_linked() {
            let _ = pad.link(&sink);
        }
    });
}

pub(crate) fn muxer(container: Container, codec: Codec) -> Result<gst::Element, Failure> {
    if codec == Codec::Neural {
        crate::plugins::ensure_neuralcodec()?;
        return make("neuralmkvmux");
    }
    let mux = make(container.muxer())?;
    if container.is_iso() {
        // 90 kHz holds every frame rate and time in use exactly, or to 11 us.
        mux.set_property("movie-timescale", 90_000u32);
    }
    Ok(mux)
}

pub(crate) fn to_muxer(
    mux: &gst::Element,
    container: Container,
    caps: &gst::Caps,
    last: &gst::Element,
) -> Result<gst::Pad, Failure> {
    let name = container
        .template_for(caps)
        .ok_or_else(|| fail(format!("{} does not take {caps}", container.name())))?;
    let template = mux
        .pad_template(&name)
        .ok_or_else(|| fail(format!("no template {name}")))?;
    let pad = mux
        .request_pad(&template, None, None)
        .ok_or_else(|| fail(format!("no pad {name}")))?;
    if container.is_iso() && name.starts_with("video") {
        pad.set_property("trak-timescale", 90_000u32);
    }
    src_pad(last)?.link(&pad).map_err(fail)?;
    Ok(pad)
}

pub(crate) fn add_chain(
    pipeline: &gst::Pipeline,
    chain: &[gst::Element],
) -> Result<(gst::Element, gst::Element), Failure> {
    pipeline.add_many(chain).map_err(fail)?;
    gst::Element::link_many(chain).map_err(fail)?;
    match (chain.first(), chain.last()) {
        (Some(first), Some(last)) => Ok((first.clone(), last.clone())),
        _ => Err(fail("an empty chain")),
    }
}

/// Makes `nnupscale` with properties as the user wrote them.
pub(crate) fn upscaler<'a>(
    properties: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<gst::Element, Failure> {
    crate::plugins::ensure_nnupscale()?;
    let element = make("nnupscale")?;
    set_properties(&element, properties)?;
    Ok(element)
}

/// Sets properties as the user wrote them.
pub(crate) fn set_properties<'a>(
    element: &gst::Element,
    properties: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), Failure> {
    for (name, value) in properties {
        let pspec = element.find_property(name).ok_or_else(|| {
            let factory = element.factory().map(|f| f.name().to_string());
            let factory = factory.unwrap_or_default();
            Failure::new(format!("this {factory} has no property `{name}`"))
        })?;
        // It is checked first: setting a property to something wrong would end the program.
        let read = gst::glib::Value::deserialize_with_pspec(value, &pspec);
        if !read.is_ok_and(|v| in_range(&pspec, &v)) {
            return Err(Failure::usage(format!(
                "--{name} {value}: not a value for it"
            )));
        }
        element.set_property_from_str(name, value);
    }
    Ok(())
}

/// Whether a number is in the range of a property; what is no number has none.
fn in_range(pspec: &gst::glib::ParamSpec, value: &gst::glib::Value) -> bool {
    macro_rules! check {
        ($($kind:ident $number:ty),*) => {$(
            if let Some(spec) = pspec.downcast_ref::<gst::glib::$kind>()
                && let Ok(v) = value.get::<$number>()
            {
                return (spec.minimum()..=spec.maximum()).contains(&v);
            }
        )*};
    }
    check!(ParamSpecInt i32, ParamSpecUInt u32, ParamSpecInt64 i64, ParamSpecUInt64 u64);
    check!(ParamSpecFloat f32, ParamSpecDouble f64);
    true
}

/// The scale of an `nnupscale`'s model, which it loads on the way to PAUSED.
pub(crate) fn scale_of(element: &gst::Element) -> Result<u32, Failure> {
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let state = element.set_state(gst::State::Paused);
    let message = bus.pop_filtered(&[gst::MessageType::Error]);
    let scale = element.property::<u32>("scale");
    let _ = element.set_state(gst::State::Null);
    element.set_bus(None::<&gst::Bus>);
    if state.is_err() {
        return Err(match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(e)) => Failure::from_gst(e),
            _ => Failure::new("nnupscale does not start"),
        });
    }
    Ok(scale)
}

pub(crate) fn flip(orientation: &str) -> Result<gst::Element, Failure> {
    let flip = make("videoflip")?;
    flip.set_property_from_str(
        "video-direction",
        match orientation {
            "rotate-90" => "90r",
            "rotate-180" => "180",
            "rotate-270" => "90l",
            "flip-rotate-0" => "horiz",
            "flip-rotate-90" => "ul-lr",
            "flip-rotate-180" => "vert",
            "flip-rotate-270" => "ur-ll",
            _ => "identity",
        },
    );
    Ok(flip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_takes_no_value_that_it_has_not() {
        gst::init().unwrap();
        let queue = make("queue").unwrap();
        assert!(set_properties(&queue, [("max-size-buffers", "7")]).is_ok());
        assert_eq!(queue.property::<u32>("max-size-buffers"), 7);
        let source = make("videotestsrc").unwrap();
        assert!(set_properties(&source, [("num-buffers", "-1"), ("pattern", "ball")]).is_ok());
        // Out of range; no number; no such name; no such property.
        for wrong in [
            ("num-buffers", "-2"),
            ("num-buffers", "x"),
            ("pattern", "x"),
            ("x", "1"),
        ] {
            assert!(set_properties(&source, [wrong]).is_err(), "{wrong:?}");
        }
    }
}
