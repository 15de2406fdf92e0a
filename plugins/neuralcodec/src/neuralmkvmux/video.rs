//! The way of the video into `matroskamux`.

use std::sync::Mutex;

use super::FOURCC;
use crate::{locks::lock, preface};

/// What is known of the video that comes in on a pad.
#[derive(Debug, Default)]
pub(super) struct Video {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    preface: Vec<u8>,
    /// Whether the muxer has its caps: it takes them once.
    told: bool,
}

impl Video {
    /// The caps by which `matroskamux` writes a track of a FourCC that it does not know; None if
    /// `caps` has no `codec_data` or no size.
    ///
    /// Of all caps that it writes as `V_MS/VFW/FOURCC`, only these let the FourCC be chosen. They
    /// are seen by nobody else.
    fn disguised(caps: &gst::StructureRef) -> Option<gst::Caps> {
        caps.get::<gst::Buffer>("codec_data").ok()?;
        caps.get::<i32>("width").ok()?;
        caps.get::<i32>("height").ok()?;
        let mut out = caps.to_owned();
        out.set_name("video/x-wmv");
        out.remove_fields(["profile", "version", "alignment"]);
        out.set("wmvversion", 3i32);
        out.set("format", FOURCC);
        let mut caps = gst::Caps::new_empty();
        caps.get_mut()?.append_structure(out);
        Some(caps)
    }

    /// An event on its way to the muxer; None if it goes no further.
    ///
    /// # Errors
    /// If the caps cannot be muxed.
    pub fn event(&self, event: gst::Event) -> Result<Option<gst::Event>, String> {
        let gst::EventView::Caps(c) = event.view() else {
            return Ok(Some(event));
        };
        let caps = c.caps();
        let structure = caps.structure(0).ok_or("empty caps")?;
        let disguised = Self::disguised(structure)
            .ok_or_else(|| format!("{caps} has no codec_data, width or height"))?;
        let codec_data = structure
            .get::<gst::Buffer>("codec_data")
            .map_err(|e| e.to_string())?;
        let codec_data = codec_data.map_readable().map_err(|e| e.to_string())?;
        let mut state = lock(&self.state);
        state.preface = preface::write(&codec_data, &preface::describe(structure));
        if std::mem::replace(&mut state.told, true) {
            // A track's header is written once. From here on the prefaces say what has changed.
            return Ok(None);
        }
        Ok(Some(
            gst::event::Caps::builder(&disguised)
                .seqnum(event.seqnum())
                .build(),
        ))
    }

    /// A buffer on its way to the muxer.
    pub fn buffer(&self, mut buffer: gst::Buffer) -> gst::Buffer {
        let b = buffer.make_mut();
        // The muxer writes one time, which it takes from here for such a track. Matroska's is the
        // time of display.
        if b.pts().is_some() {
            b.set_dts(b.pts());
        }
        if !b.flags().contains(gst::BufferFlags::DELTA_UNIT) {
            let preface = lock(&self.state).preface.clone();
            b.prepend_memory(gst::Memory::from_mut_slice(preface));
        }
        buffer
    }

    /// Begins anew.
    pub fn reset(&self) {
        *lock(&self.state) = State::default();
    }
}
