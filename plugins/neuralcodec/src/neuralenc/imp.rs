//! The implementation: negotiation, buffers, errors. Coding is `gstneural-codec`'s.
//!
//! Order of locks: `settings` and `state` are never held together. `state` is released around
//! everything that can call back into the element: negotiating, pushing, posting.

use std::sync::{LazyLock, Mutex};

use gst::{glib, subclass::prelude::*};
use gst_video::{VideoCodecFrameFlags, VideoInfo, prelude::*, subclass::prelude::*};
use gstneural_codec::{
    Encoder, Format, Picture,
    bitstream::{FrameType, Header, VERSION, frame_type},
};

use super::settings::{self, Settings};
use crate::{
    coding::{MEDIA_TYPE, Source, UsedGpu, Wishes, active},
    colour,
    locks::lock,
    pictures,
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "neuralenc",
        gst::DebugColorFlags::empty(),
        Some("Neural video encoder"),
    )
});

/// A stream that is being coded.
struct State {
    encoder: Encoder,
    gpu: UsedGpu,
    info: VideoInfo,
    format: Format,
    /// The last frame, for its memory.
    picture: Picture,
}

/// The element's instance.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct NeuralEnc {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
}

#[glib::object_subclass]
impl ObjectSubclass for NeuralEnc {
    const NAME: &'static str = "GstNeuralEnc";
    type Type = super::NeuralEnc;
    type ParentType = gst_video::VideoEncoder;
    type Interfaces = (gst::Preset,);
}

impl ObjectImpl for NeuralEnc {
    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        lock(&self.settings).set(value, pspec);
        if !matches!(pspec.name(), "quality" | "bitrate") {
            return;
        }
        let Settings(wishes) = lock(&self.settings).clone();
        if let Some(state) = lock(&self.state).as_mut()
            && let Err(e) = state.encoder.set_rate(wishes.rate())
        {
            gst::warning!(CAT, imp = self, "{} stays as it was: {e}", pspec.name());
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "active-device" {
            let state = lock(&self.state);
            return state.as_ref().map(|s| active(&s.gpu)).to_value();
        }
        lock(&self.settings)
            .get(pspec)
            .unwrap_or_else(|| glib::Value::from_type(pspec.value_type()))
    }
}

impl GstObjectImpl for NeuralEnc {}
impl PresetImpl for NeuralEnc {}

impl ElementImpl for NeuralEnc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Neural video encoder",
                "Codec/Encoder/Video",
                "Codes video so that it decodes to the same bits everywhere",
                "The gst-neural developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let side = gst::IntRange::new(1, 16384);
            let rate =
                gst::FractionRange::new(gst::Fraction::new(0, 1), gst::Fraction::new(i32::MAX, 1));
            let raw = gst_video::VideoCapsBuilder::new()
                .format_list(pictures::formats())
                .width_range(1..=16384)
                .height_range(1..=16384)
                .build();
            let coded = gst::Caps::builder(MEDIA_TYPE)
                .field("width", side)
                .field("height", side)
                .field("framerate", rate)
                .field(
                    "profile",
                    gst::List::new(["intra", "inter", "lossless", "vq"]),
                )
                .field("version", i32::from(VERSION))
                .field("alignment", "au")
                .build();
            [
                ("sink", gst::PadDirection::Sink, raw),
                ("src", gst::PadDirection::Src, coded),
            ]
            .into_iter()
            .filter_map(|(name, direction, caps)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
            })
            .collect()
        });
        &TEMPLATES
    }
}

impl VideoEncoderImpl for NeuralEnc {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let Settings(wishes) = lock(&self.settings).clone();
        wishes
            .check()
            .map_err(|why| gst::error_msg!(gst::LibraryError::Settings, ["{why}"]))
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        lock(&self.state).take();
        Ok(())
    }

    /// The lossy profiles take fewer formats: whatever is upstream can convert then.
    fn caps(&self, filter: Option<&gst::Caps>) -> gst::Caps {
        let Settings(wishes) = lock(&self.settings).clone();
        let template = self.obj().sink_pad().pad_template_caps();
        let mut taken = template;
        if wishes.takes_i420_only() {
            for s in taken.make_mut().iter_mut() {
                s.set("format", "I420");
            }
        }
        self.obj().proxy_getcaps(Some(&taken), filter)
    }

    fn set_format(
        &self,
        input: &gst_video::VideoCodecState<'static, gst_video::video_codec_state::Readable>,
    ) -> Result<(), gst::LoggableError> {
        let Settings(wishes) = lock(&self.settings).clone();
        let info = input.info().clone();
        let format = pictures::format_of(&info)
            .ok_or_else(|| gst::loggable_error!(CAT, "no format of the codec: {info:?}"))?;
        let source = Source {
            format,
            colour: colour::to_stream(&info.colorimetry()),
            fps: fps(&info),
        };
        let refuse = |e: String| {
            // Without this the user would only read "not negotiated".
            gst::element_imp_error!(self, gst::LibraryError::Settings, ("{e}"));
            gst::loggable_error!(CAT, "{e}")
        };
        // The one before has given out all its frames: it holds none back. What it has of a GPU's
        // memory and slots is given back first.
        lock(&self.state).take();
        let (encoder, gpu) = wishes.encoder(&source).map_err(refuse)?;
        let codec_data = encoder.codec_data();
        let header = Header::parse(&codec_data).map_err(|e| refuse(e.to_string()))?;
        let caps = gst::Caps::builder(MEDIA_TYPE)
            .field("profile", header.profile.name())
            .field("version", i32::from(VERSION))
            .field("alignment", "au")
            .field_if("layer", "lossless", header.layer)
            .field("codec_data", gst::Buffer::from_mut_slice(codec_data))
            .build();
        *lock(&self.state) = Some(State {
            encoder,
            gpu,
            info: info.clone(),
            format,
            picture: Picture::default(),
        });
        let obj = self.obj();
        let output = obj
            .set_output_state(caps, Some(input))
            .map_err(|_| gst::loggable_error!(CAT, "the output's caps are not taken"))?;
        obj.negotiate(output)
            .map_err(|_| gst::loggable_error!(CAT, "downstream does not take {MEDIA_TYPE}"))?;
        let held = frame_duration(&info) * u64::from(wishes.delay_frames());
        obj.set_latency(held, held);
        obj.merge_tags(Some(&tags(&wishes, &header)), gst::TagMergeMode::Replace);
        gst::info!(
            CAT,
            imp = self,
            "coding {format}, profile {}",
            header.profile.name()
        );
        self.parent_set_format(input)
    }

    fn handle_frame(
        &self,
        mut frame: gst_video::VideoCodecFrame,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(input) = frame.input_buffer_owned() else {
            return self.obj().finish_frame(frame);
        };
        let coded = {
            let mut guard = lock(&self.state);
            let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
            if frame.flags().contains(VideoCodecFrameFlags::FORCE_KEYFRAME) {
                state.encoder.force_keyframe();
            }
            let picture = &mut state.picture;
            match pictures::read(&input, &state.info, state.format, picture) {
                Some(()) => state.encoder.encode(picture).map_err(|e| e.to_string()),
                None => Err(format!(
                    "frame {} cannot be read as {}",
                    frame.system_frame_number(),
                    state.format
                )),
            }
        };
        let unit = coded.map_err(|why| {
            gst::element_imp_error!(self, gst::StreamError::Encode, ("{why}"));
            gst::FlowError::Error
        })?;
        let kind = frame_type(&unit);
        match kind {
            Some(FrameType::Key) => frame.set_flags(VideoCodecFrameFlags::SYNC_POINT),
            _ => frame.unset_flags(VideoCodecFrameFlags::SYNC_POINT),
        }
        let mut buffer = gst::Buffer::from_mut_slice(unit);
        if kind == Some(FrameType::Droppable) {
            buffer.make_mut().set_flags(gst::BufferFlags::DROPPABLE);
        }
        frame.set_output_buffer(buffer);
        self.obj().finish_frame(frame)
    }

    fn flush(&self) -> bool {
        // What follows is not what came before.
        if let Some(state) = lock(&self.state).as_mut() {
            state.encoder.force_keyframe();
        }
        true
    }

    fn propose_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        self.parent_propose_allocation(query)
    }

    fn src_query(&self, query: &mut gst::QueryRef) -> bool {
        let Settings(wishes) = lock(&self.settings).clone();
        if wishes.bitrate_bps > 0
            && let gst::QueryViewMut::Bitrate(q) = query.view_mut()
        {
            q.set_bitrate(wishes.bitrate_bps);
            return true;
        }
        self.parent_src_query(query)
    }
}

fn fps(info: &VideoInfo) -> (u32, u32) {
    let fps = info.fps();
    match (u32::try_from(fps.numer()), u32::try_from(fps.denom())) {
        (Ok(n @ 1..), Ok(d @ 1..)) => (n, d),
        _ => (0, 1),
    }
}

/// Zero if the rate varies.
fn frame_duration(info: &VideoInfo) -> gst::ClockTime {
    let (n, d) = fps(info);
    gst::ClockTime::SECOND
        .mul_div_floor(u64::from(d), u64::from(n.max(1)))
        .filter(|_| n > 0)
        .unwrap_or_default()
}

fn tags(wishes: &Wishes, header: &Header) -> gst::TagList {
    let mut tags = gst::TagList::new();
    if let Some(tags) = tags.get_mut() {
        let codec = format!("gst-neural {}", header.profile.name());
        let mode = gst::TagMergeMode::Replace;
        tags.add::<gst::tags::VideoCodec>(&codec.as_str(), mode);
        tags.add::<gst::tags::Encoder>(&"neuralenc", mode);
        if wishes.bitrate_bps > 0 {
            tags.add::<gst::tags::NominalBitrate>(&wishes.bitrate_bps, mode);
        }
    }
    tags
}
