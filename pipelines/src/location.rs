//! Where videos come from and go to: files, and whatever GStreamer has an element for by its URI.

use crate::failure::{Failure, make};
use crate::output::PartFile;
use crate::plugins;
use gst::prelude::*;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The scheme of a URI; `None` for a path.
pub(crate) fn scheme(location: &str) -> Option<&str> {
    let (scheme, _) = location.split_once("://")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (!scheme.is_empty() && scheme.chars().all(plain)).then_some(scheme)
}

/// Makes the element that reads `input`, a path or a URI.
pub(crate) fn source(input: &str) -> Result<gst::Element, Failure> {
    match scheme(input) {
        // It seeks and reads ahead by itself: nothing has to be put behind it.
        Some("s3") => {
            plugins::ensure_s3()?;
            of_uri(gst::URIType::Src, input)
        }
        Some(_) => {
            // Asked for here, so that the error says what is missing.
            of_uri(gst::URIType::Src, input)?;
            let src = make("urisourcebin")?;
            src.set_property("uri", input);
            Ok(src)
        }
        None => file(input),
    }
}

/// The element that reads (or writes) this URI.
fn of_uri(kind: gst::URIType, uri: &str) -> Result<gst::Element, Failure> {
    let element = made(kind, uri)?;
    // Servers other than AWS rarely have a name for each bucket, but all of them know paths.
    let other = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
        .into_iter()
        .any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    if other && element.has_property("force-path-style") {
        element.set_property("force-path-style", true);
    }
    Ok(element)
}

fn made(kind: gst::URIType, uri: &str) -> Result<gst::Element, Failure> {
    gst::Element::make_from_uri(kind, uri, None).map_err(|e| {
        let scheme = scheme(uri).unwrap_or_default();
        if !e.matches(gst::URIError::UnsupportedProtocol) {
            return Failure::usage(format!("{uri}: {}", e.message().trim_end_matches('.')));
        }
        let does = match kind {
            gst::URIType::Sink => "writes",
            _ => "reads",
        };
        let failure = Failure::new(format!(
            "{uri}: GStreamer has no element that {does} {scheme}://"
        ));
        match (kind, scheme) {
            (gst::URIType::Src, "http" | "https") => {
                failure.hint("apt install gstreamer1.0-plugins-good")
            }
            (gst::URIType::Src, "rtmp" | "rtmps" | "srt") => {
                failure.hint("apt install gstreamer1.0-plugins-bad")
            }
            _ => failure,
        }
    })
}

fn file(input: &str) -> Result<gst::Element, Failure> {
    let path = Path::new(input);
    let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::new(format!("{input}: no such file")),
        _ => Failure::io("reading", path, &e),
    })?;
    if meta.is_dir() {
        return Err(Failure::new(format!("{input}: is a folder")));
    }
    if meta.is_file() && meta.len() == 0 {
        return Err(Failure::new(format!("{input}: the file is empty")));
    }
    std::fs::File::open(path).map_err(|e| Failure::io("reading", path, &e))?;
    let src = make("filesrc")?;
    src.set_property("location", input);
    Ok(src)
}

/// Where a job writes.
#[derive(Debug)]
pub(crate) enum Output {
    /// A file, under another name until it is complete.
    File(PartFile),
    /// An object, which its element makes appear when it is complete.
    Object(Object),
}

/// An object in a store.
#[derive(Debug)]
pub(crate) struct Object {
    uri: String,
    force: bool,
    extent: Arc<Extent>,
}

/// How far an element has written; muxers go back to complete their header.
#[derive(Debug, Default)]
struct Extent {
    at: Mutex<u64>,
    end: AtomicU64,
}

impl Output {
    /// Checks `target`, a path or a URI, before anything is read.
    ///
    /// Without `force`, what exists is an error. A file is begun under another name.
    pub fn create(target: &Path, input: &str, force: bool) -> Result<Self, Failure> {
        let uri = target.to_string_lossy();
        match scheme(&uri) {
            None => PartFile::create(target, input.as_ref(), force).map(Self::File),
            Some("s3") => {
                if uri == input {
                    return Err(Failure::usage(format!(
                        "{uri}: input and output are the same object"
                    )));
                }
                plugins::ensure_s3()?;
                let object = Object {
                    uri: uri.into_owned(),
                    force,
                    extent: Arc::default(),
                };
                // A wrong URI is found here; the element is made again for the graph.
                object.element()?;
                if !force && exists(&object.uri)? {
                    return Err(taken(&object.uri));
                }
                Ok(Self::Object(object))
            }
            Some(other) => Err(Failure::usage(format!(
                "{uri}: {other}:// is nothing to write a file to; take a path or s3://BUCKET/KEY"
            ))),
        }
    }

    /// The sink of the graph.
    pub fn sink(&self) -> Result<gst::Element, Failure> {
        let sink = match self {
            Self::File(part) => {
                let sink = make("filesink")?;
                sink.set_property("location", part.path().to_string_lossy().as_ref());
                sink
            }
            Self::Object(object) => object.sink()?,
        };
        for name in ["sync", "async"] {
            if sink.has_property(name) {
                sink.set_property(name, false);
            }
        }
        Ok(sink)
    }

    /// The file, as long as what was written can be changed.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(part) => Some(part.path()),
            Self::Object(_) => None,
        }
    }

    /// What becomes of a result that is not to be trusted.
    pub fn fate(&self) -> &'static str {
        match self {
            Self::File(_) => "the file is not kept",
            Self::Object(_) => "the object is there all the same: delete it",
        }
    }

    /// Gives a file its name; the number of bytes.
    pub fn publish(self) -> Result<u64, Failure> {
        match self {
            Self::File(part) => part.publish(),
            Self::Object(object) => Ok(object.extent.end.load(Ordering::SeqCst)),
        }
    }
}

impl Object {
    fn element(&self) -> Result<gst::Element, Failure> {
        let sink = of_uri(gst::URIType::Sink, &self.uri)?;
        if !self.force {
            // The store itself refuses, should the name come into use in the meantime.
            if !sink.has_property("if-none-match") {
                return Err(Failure::new(format!(
                    "{}: this s3sink cannot refuse to overwrite",
                    self.uri
                ))
                .hint("--force overwrites whatever is there"));
            }
            sink.set_property("if-none-match", "*");
        }
        Ok(sink)
    }

    fn sink(&self) -> Result<gst::Element, Failure> {
        let sink = self.element()?;
        if let Some(pad) = sink.static_pad("sink") {
            self.extent.watch(&pad);
        }
        Ok(sink)
    }
}

impl Extent {
    /// Follows what is written through `pad`.
    fn watch(self: &Arc<Self>, pad: &gst::Pad) {
        let this = Arc::clone(self);
        let mask = gst::PadProbeType::BUFFER
            | gst::PadProbeType::BUFFER_LIST
            | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(mask, move |_, info| {
            let mut at = this.at.lock().unwrap_or_else(PoisonError::into_inner);
            match &info.data {
                Some(gst::PadProbeData::Event(event)) => {
                    if let gst::EventView::Segment(s) = event.view()
                        && let Some(s) = s.segment().downcast_ref::<gst::format::Bytes>()
                        && let Some(start) = s.start()
                    {
                        *at = u64::from(start);
                    }
                }
                Some(gst::PadProbeData::Buffer(buffer)) => *at += buffer.size() as u64,
                Some(gst::PadProbeData::BufferList(list)) => {
                    *at += list.calculate_size() as u64;
                }
                _ => {}
            }
            this.end.fetch_max(*at, Ordering::SeqCst);
            gst::PadProbeReturn::Ok
        });
    }
}

/// Whether the object can be read. What cannot be found out shows when it is written.
fn exists(uri: &str) -> Result<bool, Failure> {
    let fail = |e: gst::glib::BoolError| Failure::new(e.to_string());
    let pipeline = gst::Pipeline::new();
    let src = source(uri)?;
    let sink = make("fakesink")?;
    pipeline.add_many([&src, &sink]).map_err(fail)?;
    src.link(&sink).map_err(fail)?;
    let Some(bus) = pipeline.bus() else {
        return Ok(false);
    };
    let _ = pipeline.set_state(gst::State::Paused);
    let deadline = Instant::now() + Duration::from_secs(10);
    let wanted = [
        gst::MessageType::Error,
        gst::MessageType::Eos,
        gst::MessageType::AsyncDone,
    ];
    let mut there = false;
    while Instant::now() < deadline {
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(100), &wanted);
        if let Some(message) = message {
            there = message.type_() != gst::MessageType::Error;
            break;
        }
    }
    let _ = pipeline.set_state(gst::State::Null);
    Ok(there)
}

fn taken(uri: &str) -> Failure {
    Failure::new(format!("{uri} exists")).hint("--force overwrites it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_uris_are_told_apart() {
        assert_eq!(scheme("s3://bucket/key.mp4"), Some("s3"));
        assert_eq!(scheme("https://host/a?b=c://d"), Some("https"));
        for path in ["a.mp4", "/a/b.mp4", "./s3/x", "a b://c", "://x", ""] {
            assert_eq!(scheme(path), None, "{path}");
        }
    }

    #[test]
    fn what_nothing_reads_or_writes_is_an_error_that_says_so() {
        gst::init().unwrap();
        let failure = source("gopher://host/a.mp4").unwrap_err();
        assert!(
            failure.what.contains("no element that reads gopher://"),
            "{failure}"
        );
        let target = Path::new("https://host/a.mp4");
        let failure = Output::create(target, "in.mp4", false).unwrap_err();
        assert!(failure.what.contains("s3://BUCKET/KEY"), "{failure}");
        assert_eq!(failure.exit, crate::failure::Exit::Usage);
    }

    #[test]
    fn the_size_of_what_was_written_counts_rewritten_bytes_once() {
        gst::init().unwrap();
        let sink = make("fakesink").unwrap();
        let pad = sink.static_pad("sink").unwrap();
        let extent = Arc::new(Extent::default());
        extent.watch(&pad);
        pad.set_active(true).unwrap();
        sink.set_property("sync", false);
        sink.set_property("async", false);
        sink.set_state(gst::State::Playing).unwrap();
        let segment = |start: u64| {
            let mut s = gst::FormattedSegment::<gst::format::Bytes>::new();
            s.set_start(gst::format::Bytes::from_u64(start));
            pad.send_event(gst::event::Segment::new(&s));
        };
        pad.send_event(gst::event::StreamStart::new("a"));
        segment(0);
        pad.chain(gst::Buffer::with_size(1000).unwrap()).unwrap();
        segment(10);
        pad.chain(gst::Buffer::with_size(20).unwrap()).unwrap();
        segment(1000);
        pad.chain(gst::Buffer::with_size(5).unwrap()).unwrap();
        sink.set_state(gst::State::Null).unwrap();
        assert_eq!(extent.end.load(Ordering::SeqCst), 1005);
    }
}
