//! Probes that mend or note what passes a pad.

use crate::plan::is_markup;
use gst::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The pixels are turned, so the tag must not turn them again.
pub(crate) fn drop_orientation(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &info.data
            && let gst::EventView::Tag(tag) = event.view()
            && tag.tag().get::<gst::tags::ImageOrientation>().is_some()
        {
            let mut tags = tag.tag_owned();
            tags.make_mut().remove::<gst::tags::ImageOrientation>();
            info.data = Some(gst::PadProbeData::Event(gst::event::Tag::new(tags)));
        }
        gst::PadProbeReturn::Ok
    });
}

/// The fields of the decoded caps that the output's header must repeat.
pub(crate) type Described = Arc<Mutex<Vec<(&'static str, gst::glib::SendValue)>>>;

/// Notes what the decoded frames are said to be, after putting in what the decoder does not know.
pub(crate) fn watch_raw(pad: &gst::Pad, forced: Option<String>, rate: bool, described: &Described) {
    let described = Arc::clone(described);
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &info.data
            && let gst::EventView::Caps(c) = event.view()
        {
            let mut caps = c.caps_owned();
            // av1enc of GStreamer 1.22 divides by the rate, even by "variable". The times stay.
            if rate
                && let Some(s) = caps.make_mut().structure_mut(0)
                && !s
                    .get::<gst::Fraction>("framerate")
                    .is_ok_and(|f| f.numer() > 0)
            {
                s.set("framerate", gst::Fraction::new(30, 1));
            }
            if let (Some(c), Some(s)) = (&forced, caps.make_mut().structure_mut(0)) {
                s.set("colorimetry", c.as_str());
            }
            if let Some(s) = caps.structure(0) {
                *described.lock().unwrap_or_else(PoisonError::into_inner) = [
                    "colorimetry",
                    "mastering-display-info",
                    "content-light-level",
                ]
                .into_iter()
                .filter_map(|name| Some((name, s.value(name).ok()?.clone())))
                .collect();
            }
            info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
        }
        gst::PadProbeReturn::Ok
    });
}

/// Counts the frames of which the decoder says that they are not what was encoded.
pub(crate) fn watch_damage(pad: &gst::Pad, damaged: &Arc<AtomicU64>) {
    let damaged = Arc::clone(damaged);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data
            && buffer.flags().contains(gst::BufferFlags::CORRUPTED)
        {
            damaged.fetch_add(1, Ordering::SeqCst);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Turns GStreamer's markup into plain text, which is what muxers take.
pub(crate) fn plain_text(pad: &gst::Pad) {
    let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(mask, |_, info| {
        match &info.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Caps(c) = event.view()
                    && is_markup(c.caps())
                {
                    let caps = gst::Caps::builder("text/x-raw")
                        .field("format", "utf8")
                        .build();
                    info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let text = buffer
                    .map_readable()
                    .map(|m| String::from_utf8_lossy(&m).into_owned());
                if let Ok(text) = text {
                    let mut plain =
                        gst::Buffer::from_slice(crate::plan::strip_markup(&text).into_bytes());
                    let fresh = plain.make_mut();
                    fresh.set_pts(buffer.pts());
                    fresh.set_dts(buffer.dts());
                    fresh.set_duration(buffer.duration());
                    info.data = Some(gst::PadProbeData::Buffer(plain));
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Counts the packets that reach the muxer, and tells it what the encoder or its parser forgets.
pub(crate) fn watch_muxed(pad: &gst::Pad, muxed: &Arc<AtomicU64>, described: &Described) {
    let (muxed, described) = (Arc::clone(muxed), Arc::clone(described));
    pad.add_probe(
        gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM,
        move |_, info| {
            match &info.data {
                Some(gst::PadProbeData::Buffer(_)) => {
                    muxed.fetch_add(1, Ordering::SeqCst);
                }
                Some(gst::PadProbeData::Event(event)) => {
                    if let gst::EventView::Caps(c) = event.view() {
                        let mut caps = c.caps_owned();
                        if let Some(s) = caps.make_mut().structure_mut(0) {
                            for (name, value) in
                                &*described.lock().unwrap_or_else(PoisonError::into_inner)
                            {
                                s.set_value(*name, value.clone());
                            }
                        }
                        info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
                    }
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        },
    );
}
