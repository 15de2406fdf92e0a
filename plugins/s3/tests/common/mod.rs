//! What the tests of the elements have in common.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::{sync::Once, time::Duration};

use gst::{glib, prelude::*};
use gstneural_s3_rig::{FaultProxy, Server};

pub const MIB: usize = 1 << 20;
/// Longest time a pipeline may take.
pub const LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(90);

pub fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().unwrap();
        gsts3::plugin_register_static().unwrap();
    });
}

/// A server with the bucket `films`.
pub fn server() -> Server {
    init();
    let server = Server::start().unwrap();
    server.create_bucket("films").unwrap();
    server
}

/// Bytes without a pattern, the same for the same seed.
pub fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Lets an element reach the server, through the proxy if there is one.
pub fn reach(element: &gst::Element, server: &Server, proxy: Option<&FaultProxy>) {
    let endpoint = proxy.map_or_else(|| server.endpoint(), FaultProxy::endpoint);
    element.set_property("endpoint-uri", endpoint);
    element.set_property("force-path-style", true);
    element.set_property("region", "us-east-1");
    element.set_property("access-key", server.access_key());
    element.set_property("secret-access-key", server.secret_key());
    element.set_property("request-timeout", 5000u32);
    element.set_property("stall-timeout", 5000u32);
}

pub fn element(factory: &str, server: &Server, key: &str) -> gst::Element {
    let element = gst::ElementFactory::make(factory).build().unwrap();
    reach(&element, server, None);
    element.set_property("uri", format!("s3://films/{key}"));
    element
}

/// A pipeline of these elements, one behind the other.
pub fn chain(elements: &[&gst::Element]) -> gst::Pipeline {
    let pipeline = gst::Pipeline::new();
    pipeline.add_many(elements.iter().copied()).unwrap();
    gst::Element::link_many(elements.iter().copied()).unwrap();
    pipeline
}

/// How a pipeline ended: all messages of elements, and the error if there was one.
pub struct Ended {
    pub messages: Vec<gst::Message>,
    pub error: Option<(glib::Error, String)>,
}

impl Ended {
    /// The error's text; panics without one.
    pub fn text(&self) -> String {
        let (error, debug) = self.error.as_ref().expect("an error");
        format!("{error} {debug}")
    }

    pub fn find<T>(&self, read: impl Fn(&gst::MessageRef) -> Option<T>) -> Option<T> {
        self.messages.iter().rev().find_map(|m| read(m))
    }
}

/// Plays to the end, or to the first error.
pub fn play(pipeline: &gst::Pipeline) -> Ended {
    let bus = pipeline.bus().unwrap();
    let started = pipeline.set_state(gst::State::Playing);
    let mut messages = Vec::new();
    let mut error = None;
    let deadline = std::time::Instant::now() + Duration::from(LIMIT);
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let left = if started.is_err() {
            Duration::from_millis(500)
        } else {
            left
        };
        let left = gst::ClockTime::from_nseconds(left.as_nanos() as u64);
        let Some(message) = bus.timed_pop(left) else {
            assert!(started.is_err(), "the pipeline hangs");
            break;
        };
        match message.view() {
            gst::MessageView::Error(e) => {
                error = Some((
                    e.error(),
                    e.debug().map(|d| d.to_string()).unwrap_or_default(),
                ));
                break;
            }
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Element(_) => messages.push(message),
            _ => {}
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
    Ended { messages, error }
}

/// An appsrc that gives these bytes in buffers of 64 KiB, and then ends.
pub fn source(data: &[u8]) -> gst::Element {
    let source = gst::ElementFactory::make("appsrc").build().unwrap();
    source.set_property("format", gst::Format::Bytes);
    for piece in data.chunks(65536) {
        let buffer = gst::Buffer::from_slice(piece.to_vec());
        let _ = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
    }
    let _ = source.emit_by_name::<gst::FlowReturn>("end-of-stream", &[]);
    source
}

/// A sink that collects all bytes it is given.
pub fn collector() -> (gst::Element, std::sync::Arc<std::sync::Mutex<Vec<u8>>>) {
    let sink = gst::ElementFactory::make("fakesink")
        .property("signal-handoffs", true)
        .property("sync", false)
        .build()
        .unwrap();
    let all = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = all.clone();
    sink.connect("handoff", false, move |values| {
        let buffer = values[1].get::<gst::Buffer>().unwrap();
        into.lock()
            .unwrap()
            .extend_from_slice(&buffer.map_readable().unwrap());
        None
    });
    (sink, all)
}
