//! Interlaced video: one picture of each frame.
//!
//! Of the methods of GStreamer 1.22's `deinterlace`, yadif is the best by far, but it gives its
//! frames wrong times. One field of each frame is taken (the first one), so that as many frames come
//! out as went in, in the same order: the times are put back by number.

use crate::failure::{Failure, make};
use crate::parts::{sink_pad, src_pad};
use gst::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether decoded frames with these caps are made of two fields, or some of them are.
pub(crate) fn is_interlaced(caps: &gst::CapsRef) -> bool {
    caps.structure(0)
        .and_then(|s| s.get::<&str>("interlace-mode").ok())
        .is_some_and(|m| m != "progressive")
}

/// The 8-bit format that `format` has to become, as `deinterlace` takes no more bits.
pub(crate) fn reduced(caps: &gst::CapsRef) -> Option<&'static str> {
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    let format = info.format_info();
    if format.depth().first().is_none_or(|bits| *bits <= 8) {
        return None;
    }
    Some(match (format.w_sub().get(1), format.h_sub().get(1)) {
        (Some(1), Some(1)) => "I420",
        (Some(1), Some(0)) => "Y42B",
        _ => "Y444",
    })
}

/// The elements that make progressive frames of those with the caps `decoded`; none if they are that.
///
/// What begins progressive is taken for that: the decoders of GStreamer 1.22 do not say when a
/// stream changes from progressive to interlaced.
pub(crate) fn chain(decoded: &gst::CapsRef) -> Result<Vec<gst::Element>, Failure> {
    if !is_interlaced(decoded) {
        return Ok(Vec::new());
    }
    // In front of it, so that what others do to the times at the beginning of the chain is done.
    let mut chain = vec![make("videoconvert")?];
    if let Some(format) = reduced(decoded) {
        let filter = make("capsfilter")?;
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", format)
            .build();
        filter.set_property("caps", caps);
        chain.push(filter);
    }
    let element = make("deinterlace")?;
    let bottom_first = decoded
        .structure(0)
        .and_then(|s| s.get::<&str>("field-order").ok())
        .is_some_and(|o| o == "bottom-field-first");
    element.set_property_from_str("method", "yadif");
    element.set_property_from_str("fields", if bottom_first { "bottom" } else { "top" });
    keep_times(&element)?;
    chain.push(element);
    Ok(chain)
}

type Time = (Option<gst::ClockTime>, Option<gst::ClockTime>);

#[derive(Debug, Default)]
struct Times {
    /// Of the frames that are in the element.
    waiting: VecDeque<Time>,
    last: Option<gst::Buffer>,
}

fn stamp(buffer: &mut gst::Buffer, (pts, duration): Time) {
    let buffer = buffer.make_mut();
    buffer.set_pts(pts);
    buffer.set_duration(duration);
}

/// Gives the frames that come out of `element` the times of those that went in, one by one.
///
/// Where progressive and interlaced frames meet, the element of 1.22 gives a frame twice or keeps
/// one back: what comes without a time waiting for it goes, and the last one stands in for what is
/// missing at the end.
fn keep_times(element: &gst::Element) -> Result<(), Failure> {
    let times = Arc::new(Mutex::new(Times::default()));
    let all = Arc::clone(&times);
    let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_FLUSH;
    sink_pad(element)?.add_probe(mask, move |_, info| {
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        match &info.data {
            Some(gst::PadProbeData::Buffer(b)) => all.waiting.push_back((b.pts(), b.duration())),
            Some(gst::PadProbeData::Event(_)) => *all = Times::default(),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    src_pad(element)?.add_probe(mask, move |pad, info| {
        let mut all = times.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let Some(time) = all.waiting.pop_front() else {
                    return gst::PadProbeReturn::Handled;
                };
                stamp(buffer, time);
                all.last = Some(buffer.clone());
            }
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => {
                let missing = std::mem::take(&mut *all);
                drop(all);
                if let Some(peer) = pad.peer()
                    && let Some(last) = missing.last
                {
                    for time in missing.waiting {
                        let mut copy = last.clone();
                        stamp(&mut copy, time);
                        if peer.chain(copy).is_err() {
                            break;
                        }
                    }
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(format: &str, mode: &str) -> gst::Caps {
        gst::init().unwrap();
        gst::Caps::builder("video/x-raw")
            .field("format", format)
            .field("width", 64)
            .field("height", 64)
            .field("interlace-mode", mode)
            .build()
    }

    #[test]
    fn progressive_video_is_left_alone() {
        assert!(chain(&caps("I420", "progressive")).unwrap().is_empty());
        assert_eq!(chain(&caps("I420", "interleaved")).unwrap().len(), 2);
        assert_eq!(chain(&caps("I420", "mixed")).unwrap().len(), 2);
    }

    #[test]
    fn more_bits_than_the_element_takes_are_reduced() {
        for (format, wanted) in [
            ("I420", None),
            ("I420_10LE", Some("I420")),
            ("P010_10LE", Some("I420")),
            ("I422_10LE", Some("Y42B")),
            ("Y444_10LE", Some("Y444")),
        ] {
            assert_eq!(reduced(&caps(format, "mixed")), wanted, "{format}");
        }
    }
}
