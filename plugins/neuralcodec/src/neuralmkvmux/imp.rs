//! The implementation: `matroskamux` in a bin, with pads that translate the video's caps.

use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use gst::{glib, prelude::*, subclass::prelude::*};

use super::video::Video;
use crate::{coding::MEDIA_TYPE, locks::lock};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "neuralmkvmux",
        gst::DebugColorFlags::empty(),
        Some("Matroska muxer for neural video"),
    )
});

/// What Matroska carries beside the video; `matroskamux` says it in more detail when it is linked.
const AUDIO: [&str; 17] = [
    "audio/mpeg",
    "audio/x-ac3",
    "audio/x-eac3",
    "audio/x-dts",
    "audio/x-vorbis",
    "audio/x-flac",
    "audio/x-opus",
    "audio/x-speex",
    "audio/x-raw",
    "audio/x-tta",
    "audio/x-pn-realaudio",
    "audio/x-wma",
    "audio/x-alaw",
    "audio/x-mulaw",
    "audio/x-adpcm",
    "audio/G722",
    "audio/x-wavpack",
];
const SUBTITLES: [&str; 7] = [
    "text/x-raw",
    "subtitle/x-kate",
    "application/x-ssa",
    "application/x-ass",
    "application/x-usf",
    "subpicture/x-dvd",
    "application/x-subtitle-unknown",
];

/// The element's instance.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct NeuralMkvMux {
    /// `matroskamux`, where it is installed.
    mux: OnceLock<gst::Element>,
    videos: Mutex<Vec<(gst::Pad, Arc<Video>)>>,
}

#[glib::object_subclass]
impl ObjectSubclass for NeuralMkvMux {
    const NAME: &'static str = "GstNeuralMkvMux";
    type Type = super::NeuralMkvMux;
    type ParentType = gst::Bin;
}

impl ObjectImpl for NeuralMkvMux {
    fn constructed(&self) {
        self.parent_constructed();
        let Ok(mux) = gst::ElementFactory::make("matroskamux").name("mux").build() else {
            return;
        };
        let obj = self.obj();
        let template = obj.pad_template("src");
        let (Some(template), Some(target)) = (template, mux.static_pad("src")) else {
            return;
        };
        let added = obj.add(&mux).is_ok();
        let pad = gst::GhostPad::builder_from_template(&template)
            .name("src")
            .with_target(&target)
            .map(|b| b.build());
        if let (true, Ok(pad)) = (added, pad)
            && obj.add_pad(&pad).is_ok()
        {
            let _ = self.mux.set(mux);
        }
    }
}

impl GstObjectImpl for NeuralMkvMux {}

impl ElementImpl for NeuralMkvMux {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Matroska muxer for neural video",
                "Codec/Muxer",
                "Writes video of neuralenc with sound and subtitles into Matroska files",
                "The gst-neural developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let names = |names: &[&str]| {
                names
                    .iter()
                    .map(|n| gst::Structure::new_empty(*n))
                    .collect::<gst::Caps>()
            };
            let video = gst::Caps::builder(MEDIA_TYPE)
                .field("alignment", "au")
                .build();
            let file = gst::Caps::new_empty_simple("video/x-matroska");
            let (sink, request) = (gst::PadDirection::Sink, gst::PadPresence::Request);
            [
                ("video_%u", sink, request, video),
                ("audio_%u", sink, request, names(&AUDIO)),
                ("subtitle_%u", sink, request, names(&SUBTITLES)),
                (
                    "src",
                    gst::PadDirection::Src,
                    gst::PadPresence::Always,
                    file,
                ),
            ]
            .into_iter()
            .filter_map(|(name, direction, presence, caps)| {
                gst::PadTemplate::new(name, direction, presence, &caps).ok()
            })
            .collect()
        });
        &TEMPLATES
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let mux = self.mux.get()?;
        let kind = template.name_template();
        let target = mux.request_pad(&mux.pad_template(kind)?, name, None)?;
        let name = target.name();
        let builder = gst::GhostPad::builder_from_template(template).name(name);
        let builder = if kind == "video_%u" {
            let video = Arc::new(Video::default());
            lock(&self.videos).push((target.clone(), Arc::clone(&video)));
            translating(builder, &video)
        } else {
            builder
        };
        let pad = builder.with_target(&target).ok()?.build();
        if let Err(e) = self.obj().add_pad(&pad) {
            gst::warning!(CAT, imp = self, "{e}");
            mux.release_request_pad(&target);
            return None;
        }
        Some(pad.upcast())
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let target = pad
            .downcast_ref::<gst::GhostPad>()
            .and_then(|ghost| ghost.target());
        let _ = self.obj().remove_pad(pad);
        if let (Some(mux), Some(target)) = (self.mux.get(), target) {
            lock(&self.videos).retain(|(t, _)| *t != target);
            mux.release_request_pad(&target);
        }
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::NullToReady && self.mux.get().is_none() {
            gst::element_imp_error!(
                self,
                gst::CoreError::MissingPlugin,
                ("GStreamer has no element `matroskamux`: install its \"good\" plugins (gstreamer1.0-plugins-good)")
            );
            return Err(gst::StateChangeError);
        }
        if transition == gst::StateChange::ReadyToPaused {
            for (_, video) in &*lock(&self.videos) {
                video.reset();
            }
        }
        self.parent_change_state(transition)
    }
}

impl BinImpl for NeuralMkvMux {}

/// A pad that lets video of ours through to a muxer that does not know it.
fn translating(
    builder: gst::PadBuilder<gst::GhostPad>,
    video: &Arc<Video>,
) -> gst::PadBuilder<gst::GhostPad> {
    let (of_events, of_buffers) = (Arc::clone(video), Arc::clone(video));
    builder
        .event_function(move |pad, parent, event| match of_events.event(event) {
            Ok(Some(event)) => gst::Pad::event_default(pad, parent, event),
            Ok(None) => true,
            Err(why) => {
                gst::error!(CAT, obj = pad, "{why}");
                false
            }
        })
        .chain_function(move |pad, parent, buffer| {
            gst::ProxyPad::chain_default(pad, parent, of_buffers.buffer(buffer))
        })
        .query_function(|pad, parent, query| match query.view_mut() {
            gst::QueryViewMut::Caps(q) => {
                let ours = pad.pad_template_caps();
                let result = match q.filter() {
                    Some(filter) => {
                        filter.intersect_with_mode(&ours, gst::CapsIntersectMode::First)
                    }
                    None => ours,
                };
                q.set_result(&result);
                true
            }
            gst::QueryViewMut::AcceptCaps(q) => {
                let takes = q.caps().can_intersect(&pad.pad_template_caps());
                q.set_result(takes);
                true
            }
            _ => gst::Pad::query_default(pad, parent, query),
        })
}
