//! Frames, streams and harnesses for the tests of the elements.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Once;

use gst::prelude::*;
use gst_check::Harness;
use gst_video::prelude::*;

pub fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().unwrap();
        gstneuralcodec::plugin_register_static().unwrap();
    });
}

/// Numbers without pattern, the same each time.
pub struct Noise(u32);

impl Noise {
    pub fn new(seed: u32) -> Self {
        Self(seed.wrapping_mul(2_654_435_761) | 1)
    }

    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

pub fn info(format: &str, width: u32, height: u32) -> gst_video::VideoInfo {
    init();
    gst_video::VideoInfo::builder(gst_video::VideoFormat::from_string(format), width, height)
        .fps(gst::Fraction::new(25, 1))
        .build()
        .unwrap()
}

pub const FRAME: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// Frame `t` of a moving pattern with some noise.
pub fn frame(info: &gst_video::VideoInfo, t: u32) -> gst::Buffer {
    let mut noise = Noise::new(t + 1);
    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
    {
        let b = buffer.get_mut().unwrap();
        b.set_pts(FRAME * u64::from(t));
        b.set_duration(FRAME);
        let wide = info.comp_depth(0) > 8;
        let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(b, info).unwrap();
        for p in 0..info.n_planes() {
            let stride = info.stride()[p as usize] as usize;
            let data = frame.plane_data_mut(p).unwrap();
            for (y, row) in data.chunks_mut(stride).enumerate() {
                for (i, sample) in row.chunks_mut(1 + usize::from(wide)).enumerate() {
                    let x = i as u32 + 2 * t;
                    let value = (x * x / 9 + y as u32 * 3 + 40 * p) % 200 + noise.next() % 4;
                    if wide {
                        let value = (value * 4 + noise.next() % 4) as u16;
                        sample.copy_from_slice(&value.to_le_bytes()[..sample.len()]);
                    } else {
                        sample[0] = value as u8;
                    }
                }
            }
        }
    }
    buffer
}

/// What can be seen of a frame, without padding.
pub fn visible(buffer: &gst::BufferRef, info: &gst_video::VideoInfo) -> Vec<u8> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).unwrap();
    let mut out = Vec::new();
    for c in 0..info.n_components() {
        let row = info.comp_width(c as u8) as usize * info.comp_pstride(c as u8) as usize;
        let stride = frame.plane_stride()[c as usize] as usize;
        let rows = info.comp_height(c as u8) as usize;
        for line in frame.plane_data(c).unwrap().chunks(stride).take(rows) {
            out.extend(&line[..row]);
        }
    }
    out
}

/// An element in a harness, and what it says.
pub struct Rig {
    pub h: Harness,
    pub bus: gst::Bus,
}

impl Rig {
    /// Properties as text.
    pub fn new(element: &str, properties: &[(&str, &str)]) -> Self {
        init();
        let element = gst::ElementFactory::make(element).build().unwrap();
        for (name, value) in properties {
            element.set_property_from_str(name, value);
        }
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let h = Harness::with_element(&element, Some("sink"), Some("src"));
        Self { h, bus }
    }

    pub fn error(&self) -> Option<String> {
        let message = self.bus.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(e) => Some(format!(
                "{} {}",
                e.error().message(),
                e.debug().unwrap_or_default()
            )),
            _ => None,
        }
    }

    pub fn all(&mut self) -> Vec<gst::Buffer> {
        std::iter::from_fn(|| self.h.try_pull()).collect()
    }

    pub fn out_caps(&self) -> gst::Caps {
        self.h.sinkpad().unwrap().current_caps().unwrap()
    }

    /// Force-key-unit events that went upstream since the last call.
    pub fn asked(&mut self) -> usize {
        std::iter::from_fn(|| self.h.try_pull_upstream_event())
            .filter(|e| gst_video::UpstreamForceKeyUnitEvent::parse(e).is_ok())
            .count()
    }
}

/// A coded clip.
pub struct Coded {
    pub info: gst_video::VideoInfo,
    pub caps: gst::Caps,
    pub units: Vec<gst::Buffer>,
    /// What was coded.
    pub frames: Vec<Vec<u8>>,
}

pub fn code(info: &gst_video::VideoInfo, frames: u32, properties: &[(&str, &str)]) -> Coded {
    let mut rig = Rig::new("neuralenc", properties);
    rig.h.set_src_caps(info.to_caps().unwrap());
    let mut shown = Vec::new();
    for t in 0..frames {
        let buffer = frame(info, t);
        shown.push(visible(&buffer, info));
        rig.h.push(buffer).unwrap();
    }
    rig.h.push_event(gst::event::Eos::new());
    let units = rig.all();
    Coded {
        info: info.clone(),
        caps: rig.out_caps(),
        units,
        frames: shown,
    }
}

impl Coded {
    pub fn decoder(&self, properties: &[(&str, &str)]) -> Rig {
        let mut rig = Rig::new("neuraldec", properties);
        rig.h.set_src_caps(self.caps.clone());
        rig
    }

    pub fn key(&self, i: usize) -> bool {
        !self.units[i].flags().contains(gst::BufferFlags::DELTA_UNIT)
    }

    pub fn decoded(&self, buffer: &gst::BufferRef) -> Vec<u8> {
        visible(buffer, &self.info)
    }
}

/// The same buffer with other bytes.
pub fn with_bytes(buffer: &gst::Buffer, change: impl FnOnce(&mut Vec<u8>)) -> gst::Buffer {
    let mut bytes = buffer.map_readable().unwrap().to_vec();
    change(&mut bytes);
    let mut out = gst::Buffer::from_mut_slice(bytes);
    let b = out.get_mut().unwrap();
    b.set_pts(buffer.pts());
    b.set_dts(buffer.dts());
    b.set_duration(buffer.duration());
    b.set_flags(buffer.flags());
    out
}
