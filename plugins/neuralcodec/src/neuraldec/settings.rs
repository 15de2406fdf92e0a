//! The properties; `max-errors`, `qos` and others are the base class's.

use std::sync::LazyLock;

use gst::{glib, prelude::*};

use crate::{coding::LayersChoice, device::Place};

/// The settings.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// 0: one for each core.
    pub threads: u32,
    pub place: Place,
    pub layers: LayersChoice,
    pub skip_late: bool,
    /// A file with networks; empty: those that are built in.
    pub model: String,
}

impl Settings {
    /// Sets a property.
    pub fn set(&mut self, value: &glib::Value, pspec: &glib::ParamSpec) {
        if self.place.set(value, pspec.name()) {
            return;
        }
        match pspec.name() {
            "threads" => self.threads = value.get().unwrap_or(self.threads),
            "layers" => self.layers = value.get().unwrap_or(self.layers),
            "skip-late" => self.skip_late = value.get().unwrap_or(self.skip_late),
            "model" => self.model = value.get().ok().flatten().unwrap_or_default(),
            _ => {}
        }
    }

    /// The value of a property.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        Some(match pspec.name() {
            "threads" => self.threads.to_value(),
            "layers" => self.layers.to_value(),
            "skip-late" => self.skip_late.to_value(),
            "model" => (!self.model.is_empty()).then_some(&self.model).to_value(),
            name => return self.place.get(name),
        })
    }
}

/// The ParamSpecs.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let d = Settings::default();
        let mut all = vec![
            glib::ParamSpecUInt::builder("threads")
                .nick("Threads")
                .blurb("Threads, 0 = one for each core; the pictures do not depend on it")
                .maximum(1024)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("device", d.place.device)
                .nick("Device")
                .blurb("Where the networks of a lossy profile run; the pictures do not depend on it")
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("active-device")
                .nick("Active device")
                .blurb("Where the networks of the stream run: cuda or cpu; unset before there is one")
                .read_only()
                .build(),
            glib::ParamSpecEnum::builder_with_default("layers", d.layers)
                .nick("Layers")
                .blurb("How much of a stream with a layer to decode")
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("model")
                .nick("Model")
                .blurb("File with the networks of a lossy profile (.gnm), beside those built in and in GST_NEURAL_CODEC_MODELS")
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("skip-late")
                .nick("Skip late frames")
                .blurb("Leave out late frames that no other frame needs; otherwise every frame that comes in goes out")
                .default_value(d.skip_late)
                .mutable_playing()
                .build(),
        ];
        all.extend(Place::properties());
        all
    });
    &PROPERTIES
}
