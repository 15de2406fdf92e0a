//! The element: the bin, its pads, properties and states.
//!
//! Locks: `settings`, `inner` and `running`, each held for moments and never two at once. None is
//! held while the element inside or the server is called.

use std::sync::{Arc, LazyLock, Mutex};

use gst::{glib, prelude::*, subclass::prelude::*};
use gstneural_s3::S3Uri;

use super::{
    session::{Job, Running, Session, lock},
    settings::{self, Plan, Settings},
    stream::{Stream, Target},
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "s3hlssink",
        gst::DebugColorFlags::empty(),
        Some("HLS into S3"),
    )
});

/// The element that is inside if no other is given.
const DEFAULT_INNER: &str = "hlssink2";
/// The signals it is spoken to by.
const SIGNALS: [&str; 3] = [
    "get-playlist-stream",
    "get-fragment-stream",
    "delete-fragment",
];

/// The element's instance.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct S3HlsSink {
    settings: Mutex<Settings>,
    inner: Mutex<Option<gst::Element>>,
    running: Mutex<Option<Running>>,
}

#[glib::object_subclass]
impl ObjectSubclass for S3HlsSink {
    const NAME: &'static str = "GstNeuralS3HlsSink";
    type Type = super::S3HlsSink;
    type ParentType = gst::Bin;
}

impl ObjectImpl for S3HlsSink {
    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if pspec.name() == "hlssink" {
            let element: Option<gst::Element> = value.get().ok().flatten();
            if let Some(element) = element {
                self.replace(element);
            }
            return;
        }
        lock(&self.settings).set(pspec.name(), value);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "hlssink" {
            return self.inner().to_value();
        }
        let value = lock(&self.settings).get(pspec.name());
        value.unwrap_or_else(|| glib::Value::from_type(pspec.value_type()))
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.obj().set_element_flags(gst::ElementFlags::SINK);
        match gst::ElementFactory::make(DEFAULT_INNER).build() {
            Ok(element) => self.replace(element),
            // Said when it is needed: another may still be given.
            Err(_) => gst::info!(CAT, imp = self, "there is no {DEFAULT_INNER}"),
        }
    }
}

impl GstObjectImpl for S3HlsSink {}

impl ElementImpl for S3HlsSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "S3 HLS sink",
                "Sink/Muxer/Network",
                "Writes an HLS stream into S3: fragments of MPEG-TS and their playlist",
                "The gst-neural developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let (sink, request) = (gst::PadDirection::Sink, gst::PadPresence::Request);
            let template =
                |name| gst::PadTemplate::new(name, sink, request, &gst::Caps::new_any()).ok();
            ["video", "audio"]
                .into_iter()
                .filter_map(template)
                .collect()
        });
        &TEMPLATES
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        _name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let name = template.name_template();
        if self.obj().static_pad(name).is_some() {
            gst::error!(CAT, imp = self, "there is a pad {name} already");
            return None;
        }
        let inner = self.inner()?;
        let target = inner.request_pad_simple(name)?;
        let pad = gst::GhostPad::builder_from_template_with_target(template, &target)
            .ok()?
            .name(name)
            .build();
        let added = pad.set_active(true).and_then(|()| self.obj().add_pad(&pad));
        if let Err(error) = added {
            gst::error!(CAT, imp = self, "no pad {name}: {error}");
            inner.release_request_pad(&target);
            return None;
        }
        Some(pad.upcast())
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let target = pad.downcast_ref::<gst::GhostPad>().and_then(|p| p.target());
        let _ = pad.set_active(false);
        let _ = self.obj().remove_pad(pad);
        if let (Some(inner), Some(target)) = (self.inner(), target) {
            inner.release_request_pad(&target);
        }
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::NullToReady if self.inner().is_none() => {
                gst::element_imp_error!(
                    self,
                    gst::CoreError::MissingPlugin,
                    [
                        "there is no {}: install the plugins 'bad' of GStreamer \
                         (gstreamer1.0-plugins-bad), or give another element by hlssink",
                        DEFAULT_INNER
                    ]
                );
                return Err(gst::StateChangeError);
            }
            gst::StateChange::ReadyToPaused => self.start().map_err(|error| {
                self.post_error_message(error);
                gst::StateChangeError
            })?,
            gst::StateChange::PausedToReady => {
                if let Some(session) = self.session() {
                    session.interrupt();
                }
            }
            _ => {}
        }
        let changed = self.parent_change_state(transition);
        let over = match transition {
            gst::StateChange::ReadyToPaused => changed.is_err(),
            gst::StateChange::PausedToReady => true,
            _ => false,
        };
        if over {
            let running = lock(&self.running).take();
            if let Some(running) = running {
                running.stop();
            }
        }
        changed
    }
}

impl BinImpl for S3HlsSink {
    fn handle_message(&self, message: gst::Message) {
        let session = match message.view() {
            gst::MessageView::Eos(_) => self.session(),
            _ => None,
        };
        let Some(session) = session else {
            return self.parent_handle_message(message);
        };
        // Not before everything is in S3, and not at all after an error. The thread that brings
        // the message is not kept: a pause would wait for it.
        let weak = self.obj().downgrade();
        session.send(Job::Then(Box::new(move |well| {
            if let Some(element) = weak.upgrade().filter(|_| well) {
                element.imp().parent_handle_message(message);
            }
        })));
    }
}

impl S3HlsSink {
    fn inner(&self) -> Option<gst::Element> {
        lock(&self.inner).clone()
    }

    fn session(&self) -> Option<Arc<Session>> {
        lock(&self.running).as_ref().map(|r| r.session.clone())
    }

    /// Puts another element inside, if it can be one and nothing depends on the present one.
    fn replace(&self, element: gst::Element) {
        let obj = self.obj();
        let old = self.inner();
        if old.as_ref() == Some(&element) {
            return;
        }
        let missing = SIGNALS
            .into_iter()
            .find(|name| glib::subclass::SignalId::lookup(name, element.type_()).is_none());
        let refusal = if let Some(signal) = missing {
            Some(format!("it has no signal {signal}"))
        } else if obj.current_state() > gst::State::Null || !obj.pads().is_empty() {
            Some("hlssink has to be set before the state and before pads are asked for".into())
        } else {
            let parent = element.parent();
            parent.map(|p| format!("it is in {} already", p.name()))
        };
        if let Some(refusal) = refusal {
            let name = element.name();
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Settings,
                ["hlssink={} is not taken: {}", name, refusal]
            );
            return;
        }
        if let Some(old) = old {
            let _ = obj.remove(&old);
        }
        if let Err(error) = obj.add(&element) {
            gst::error!(CAT, imp = self, "hlssink: {error}");
            *lock(&self.inner) = None;
            return;
        }
        self.connect(&element);
        *lock(&self.inner) = Some(element);
    }

    /// Answers the signals. The streams are never `None`: the element would write files.
    fn connect(&self, element: &gst::Element) {
        let location = |values: &[glib::Value]| {
            let location = values.get(1).and_then(|v| v.get::<String>().ok());
            location.unwrap_or_default()
        };
        let weak = self.obj().downgrade();
        element.connect("get-playlist-stream", false, move |_| {
            let session = weak.upgrade().and_then(|e| e.imp().session());
            // Swallowed, if there is nowhere to write it.
            let target = session.map_or(Target::Nowhere, |session| {
                session.complete_all();
                Target::Playlist(session, Mutex::default())
            });
            Some(Stream::new(target).to_value())
        });
        let weak = self.obj().downgrade();
        element.connect("get-fragment-stream", false, move |values| {
            let session = weak.upgrade().and_then(|e| e.imp().session());
            let target = session.and_then(|session| {
                let fragment = session.begin(&location(values))?;
                Some(Target::Fragment(session, fragment))
            });
            Some(Stream::new(target.unwrap_or(Target::Nowhere)).to_value())
        });
        let weak = self.obj().downgrade();
        element.connect("delete-fragment", false, move |values| {
            let session = weak.upgrade().and_then(|e| e.imp().session());
            if let (Some(session), Ok(uri)) = (session, S3Uri::parse(&location(values))) {
                session.send(Job::Delete(uri));
            }
            None
        });
    }

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let plan = settings.plan()?;
        self.set_up(&settings, &plan);
        let running = Running::start(&self.obj(), plan)?;
        *lock(&self.running) = Some(running);
        Ok(())
    }

    /// Tells the element inside what it has to know.
    fn set_up(&self, settings: &Settings, plan: &Plan) {
        let Some(inner) = self.inner() else {
            return;
        };
        let values: [(&str, glib::Value); 7] = [
            ("location", plan.template.printf.to_value()),
            ("playlist-location", plan.playlist.to_string().to_value()),
            ("playlist-root", plan.root.to_value()),
            ("target-duration", settings.target_duration.to_value()),
            ("playlist-length", settings.playlist_length.to_value()),
            ("max-files", settings.max_files.to_value()),
            (
                "send-keyframe-requests",
                settings.keyframe_requests.to_value(),
            ),
        ];
        let in_range = |pspec: &glib::ParamSpec, value: &glib::Value| {
            let range = pspec.downcast_ref::<glib::ParamSpecUInt>();
            let range = range.map(|p| p.minimum()..=p.maximum());
            range.is_none_or(|r| value.get().is_ok_and(|v: u32| r.contains(&v)))
        };
        for (name, value) in values {
            match inner.find_property(name) {
                Some(pspec)
                    if pspec.value_type() == value.type_()
                        && in_range(&pspec, &value)
                        && pspec.flags().contains(glib::ParamFlags::WRITABLE) =>
                {
                    inner.set_property_from_value(name, &value);
                }
                _ => gst::warning!(CAT, imp = self, "{} has no such {name}", inner.name()),
            }
        }
    }
}
