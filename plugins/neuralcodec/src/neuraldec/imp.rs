//! The implementation: negotiation, buffers, errors. Decoding is `gstneural-codec`'s.
//!
//! Order of locks: `settings` and `state` are never held together. `state` is released around
//! everything that can call back into the element: negotiating, pushing, posting.

use std::path::Path;
use std::sync::{LazyLock, Mutex};

use gst::{glib, subclass::prelude::*};
use gst_video::{
    VideoCodecFrame, VideoCodecFrameFlags, VideoDecoderRequestSyncPointFlags, prelude::*,
    subclass::prelude::*,
};
use gstneural_codec::{
    CodecError, Picture,
    bitstream::{FrameType, VERSION, frame_type},
};

use super::{
    settings::{self, Settings},
    stream::Stream,
};
use crate::{
    coding::{self, MEDIA_TYPE, active},
    device,
    locks::lock,
    models,
    neuralmkvmux::FOURCC,
    pictures,
    preface::{self, Description},
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "neuraldec",
        gst::DebugColorFlags::empty(),
        Some("Neural video decoder"),
    )
});

/// What is known since the start.
#[derive(Default)]
struct State {
    /// What the container says of the stream.
    input: Option<gst_video::VideoCodecState<'static, gst_video::video_codec_state::Readable>>,
    stream: Option<Stream>,
}

/// What becomes of an access unit.
enum Outcome {
    /// A frame, and why it is not what was encoded.
    Show(Picture, Option<String>),
    /// Nothing can be shown.
    Nothing(String),
    /// The device that has to be used does not work.
    Failed(String),
    /// It refers to frames from before the place where decoding began.
    TooEarly,
}

/// The element's instance.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct NeuralDec {
    settings: Mutex<Settings>,
    state: Mutex<State>,
}

#[glib::object_subclass]
impl ObjectSubclass for NeuralDec {
    const NAME: &'static str = "GstNeuralDec";
    type Type = super::NeuralDec;
    type ParentType = gst_video::VideoDecoder;
}

impl ObjectImpl for NeuralDec {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.set_packetized(true);
        // What comes before the first keyframe, and what follows a seek up to one, is left out.
        obj.set_needs_sync_point(true);
        // The base class would throw away what is decoded too late. `skip-late` decides that, and
        // saves the decoding.
        obj.set_qos(false);
    }

    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        lock(&self.settings).set(value, pspec);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "active-device" {
            let state = lock(&self.state);
            return state.stream.as_ref().map(|s| active(&s.gpu)).to_value();
        }
        lock(&self.settings)
            .get(pspec)
            .unwrap_or_else(|| glib::Value::from_type(pspec.value_type()))
    }
}

impl GstObjectImpl for NeuralDec {}

impl ElementImpl for NeuralDec {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Neural video decoder",
                "Codec/Decoder/Video",
                "Decodes what neuralenc codes, to the same bits everywhere",
                "The gst-neural developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let coded = gst::Caps::builder_full()
                .structure(
                    gst::Structure::builder(MEDIA_TYPE)
                        .field("alignment", "au")
                        .build(),
                )
                // What matroskademux makes of our files: it does not know the FourCC.
                .structure(
                    gst::Structure::builder("video/x-unknown")
                        .field("codec-id", "V_MS/VFW/FOURCC")
                        .field("fourcc", FOURCC)
                        .build(),
                )
                .build();
            let raw = gst_video::VideoCapsBuilder::new()
                .format_list(pictures::formats())
                .build();
            [
                ("sink", gst::PadDirection::Sink, coded),
                ("src", gst::PadDirection::Src, raw),
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

impl VideoDecoderImpl for NeuralDec {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let wanted = lock(&self.settings).place.device;
        device::check(wanted)
            .map_err(|why| gst::error_msg!(gst::LibraryError::Settings, ["{why}"]))?;
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        Ok(())
    }

    fn set_format(
        &self,
        input: &gst_video::VideoCodecState<'static, gst_video::video_codec_state::Readable>,
    ) -> Result<(), gst::LoggableError> {
        lock(&self.state).input = Some(input.clone());
        let caps = input.caps_owned();
        let said = caps.as_ref().and_then(|c| c.structure(0));
        if let Some(version) = said.and_then(|s| s.get::<i32>("version").ok())
            && version > i32::from(VERSION)
        {
            return Err(self.refuse(&CodecError::Version {
                found: u8::try_from(version).unwrap_or(u8::MAX),
                known: VERSION,
            }));
        }
        let codec_data = input.codec_data_owned();
        let codec_data = codec_data.as_ref().and_then(|b| b.map_readable().ok());
        // Without codec_data the stream brings it along, before its keyframes.
        if let Some(codec_data) = codec_data {
            let description = said.map(preface::describe).unwrap_or_default();
            self.open(&codec_data, description)?;
        }
        self.parent_set_format(input)
    }

    fn handle_frame(&self, mut frame: VideoCodecFrame) -> Result<gst::FlowSuccess, gst::FlowError> {
        let obj = self.obj();
        let input = frame.input_buffer_owned();
        let Some(input) = input.as_ref().and_then(|b| b.map_readable().ok()) else {
            return obj.drop_frame(frame);
        };
        if frame.pts().is_none() {
            // Files in which the only time of a frame is called a decoding time.
            frame.set_pts(frame.dts());
        }
        let parts = preface::split(&input);
        if let Some(codec_data) = parts.codec_data
            && let Err(why) = self.open(codec_data, parts.description)
        {
            why.log();
            return Err(gst::FlowError::NotNegotiated);
        }
        let skip_late = lock(&self.settings).skip_late;
        let kind = frame_type(parts.unit);
        if skip_late && kind == Some(FrameType::Droppable) && obj.max_decode_time(&frame) < 0 {
            return obj.drop_frame(frame);
        }
        match self.decode(parts.unit) {
            Outcome::Show(picture, damage) => {
                if let Some(why) = damage {
                    frame.set_flags(VideoCodecFrameFlags::CORRUPTED);
                    self.damaged(&frame, &why)?;
                }
                let result = self.show(frame, &picture);
                if let Some(stream) = &mut lock(&self.state).stream {
                    stream.shown(picture);
                }
                result
            }
            Outcome::Nothing(why) => {
                self.damaged(&frame, &why)?;
                obj.drop_frame(frame)
            }
            Outcome::Failed(why) => {
                gst::element_imp_error!(self, gst::LibraryError::Failed, ("{why}"));
                Err(gst::FlowError::Error)
            }
            Outcome::TooEarly => {
                self.ask_for_keyframe(&frame);
                obj.release_frame(frame);
                Ok(gst::FlowSuccess::Ok)
            }
        }
    }

    fn flush(&self) -> bool {
        if let Some(stream) = &mut lock(&self.state).stream {
            stream.decoder.flush();
            stream.last = None;
            stream.last_number = None;
            stream.asked = false;
        }
        true
    }
}

impl NeuralDec {
    /// Tells why the stream is not decoded.
    fn refuse(&self, why: &dyn std::fmt::Display) -> gst::LoggableError {
        // Without this the user would only read "not negotiated".
        gst::element_imp_error!(self, gst::StreamError::Format, ("{why}"));
        gst::loggable_error!(CAT, "{why}")
    }

    /// Gets ready for the stream with this `codec_data`, unless that is the one being decoded.
    fn open(&self, codec_data: &[u8], description: Description) -> Result<(), gst::LoggableError> {
        let settings = lock(&self.settings).clone();
        let input = {
            let state = lock(&self.state);
            if let Some(stream) = &state.stream
                && stream.codec_data == codec_data
                && stream.description == description
            {
                return Ok(());
            }
            state.input.clone()
        };
        let model = match settings.model.as_str() {
            "" => None,
            path => Some(models::load(Path::new(path)).map_err(|e| self.refuse(&e))?),
        };
        let (threads, place) = (settings.threads, &settings.place);
        // What the stream before has of a GPU's memory and slots is given back first.
        let good = || lock(&self.state).stream = None;
        let layers = settings.layers;
        let opened = coding::decoder(codec_data, threads, model.as_ref(), place, layers, good);
        let (decoder, gpu) = match opened {
            Ok(opened) => opened,
            Err(CodecError::Checksum { .. }) if lock(&self.state).stream.is_some() => {
                // Damage on the way; the stream that is known goes on.
                gst::warning!(CAT, imp = self, "a damaged codec_data is left out");
                return Ok(());
            }
            Err(e) => return Err(self.refuse(&e)),
        };
        let caps = input.as_ref().and_then(|i| i.caps());
        let said = caps.and_then(|c| c.structure(0));
        let stream = Stream::new((decoder, gpu), codec_data, description, said)
            .map_err(|why| self.refuse(&why))?;
        gst::info!(CAT, imp = self, "decoding {}", stream.caps);
        let obj = self.obj();
        let (info, caps) = (stream.info.clone(), stream.caps.clone());
        lock(&self.state).stream = Some(stream);
        let mut output = obj
            .set_output_state(info.format(), info.width(), info.height(), input.as_ref())
            .map_err(|_| gst::loggable_error!(CAT, "{caps} is not taken"))?;
        output.set_info(info);
        output.set_caps(&caps);
        obj.negotiate(output)
            .map_err(|_| gst::loggable_error!(CAT, "downstream does not take {caps}"))
    }

    fn decode(&self, unit: &[u8]) -> Outcome {
        let mut state = lock(&self.state);
        let Some(stream) = state.stream.as_mut() else {
            return Outcome::Nothing(
                "the stream does not say what it is: codec_data is neither in its caps nor before a keyframe"
                    .into(),
            );
        };
        let mut decoded = std::mem::take(&mut stream.spare);
        match stream.decoder.decode_into(unit, &mut decoded) {
            Ok(()) => {
                let number = decoded.number;
                // No profile changes the order of frames: one that comes late is shown at a time
                // that is not its own.
                let late = stream
                    .last_number
                    .filter(|_| !decoded.keyframe)
                    .is_some_and(|last| number.wrapping_sub(last) as i32 <= 0);
                stream.last_number = Some(number);
                let damage = match decoded.damaged_slices.len() {
                    _ if late => Some(format!("frame {number} comes after a later one")),
                    0 if !decoded.damaged_layer_slices.is_empty() => Some(format!(
                        "frame {number}: {} slice(s) without their layer",
                        decoded.damaged_layer_slices.len()
                    )),
                    0 if decoded.corrupt => Some(format!(
                        "frame {number}: the picture's checksum does not match"
                    )),
                    0 => None,
                    n => Some(format!("frame {number}: {n} damaged slice(s)")),
                };
                if decoded.keyframe {
                    // A damaged one is asked for again.
                    stream.asked = false;
                }
                let picture = std::mem::take(&mut decoded.picture);
                stream.spare = decoded;
                Outcome::Show(picture, damage)
            }
            Err(CodecError::NoKeyframe) => Outcome::TooEarly,
            Err(e @ CodecError::Device(_)) => Outcome::Failed(e.to_string()),
            Err(e) => match stream.last.take() {
                Some(last) => Outcome::Show(last, Some(e.to_string())),
                None => Outcome::Nothing(e.to_string()),
            },
        }
    }

    /// Counts a damaged frame; an error if there are more than `max-errors`.
    fn damaged(&self, frame: &VideoCodecFrame, why: &str) -> Result<(), gst::FlowError> {
        self.ask_for_keyframe(frame);
        gst_video::video_decoder_error!(
            self.obj(),
            1,
            gst::StreamError::Decode,
            ("{why}"),
            ["frame {}", frame.system_frame_number()]
        )?;
        Ok(())
    }

    /// Asks upstream for a keyframe, once until one comes.
    fn ask_for_keyframe(&self, frame: &VideoCodecFrame) {
        let asked = lock(&self.state)
            .stream
            .as_mut()
            .is_some_and(|s| std::mem::replace(&mut s.asked, true));
        if !asked {
            self.obj()
                .request_sync_point(frame, VideoDecoderRequestSyncPointFlags::empty());
        }
    }

    fn show(
        &self,
        mut frame: VideoCodecFrame,
        picture: &Picture,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let obj = self.obj();
        obj.allocate_output_frame(&mut frame, None)?;
        let corrupt = frame.flags().contains(VideoCodecFrameFlags::CORRUPTED);
        let info = {
            let state = lock(&self.state);
            let stream = state.stream.as_ref().ok_or(gst::FlowError::NotNegotiated)?;
            stream.info.clone()
        };
        let written = frame.output_buffer_mut().and_then(|buffer| {
            if corrupt {
                buffer.set_flags(gst::BufferFlags::CORRUPTED);
            }
            pictures::write(picture, buffer, &info)
        });
        if written.is_none() {
            gst::element_imp_error!(
                self,
                gst::StreamError::Decode,
                (
                    "the buffer for a frame of {} cannot be written",
                    picture.format
                )
            );
            return Err(gst::FlowError::Error);
        }
        obj.finish_frame(frame)
    }
}
