//! The properties.

use std::sync::LazyLock;

use gst::{glib, prelude::*};

use crate::{coding::Wishes, device::Place};

/// The settings; what they mean to the codec is [`Wishes`]' business.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings(pub Wishes);

impl Settings {
    /// Sets a property.
    pub fn set(&mut self, value: &glib::Value, pspec: &glib::ParamSpec) {
        fn put<T: for<'a> glib::value::FromValue<'a> + 'static>(to: &mut T, value: &glib::Value) {
            if let Ok(v) = value.get_owned::<T>() {
                *to = v;
            }
        }
        let s = &mut self.0;
        if s.place.set(value, pspec.name()) {
            return;
        }
        match pspec.name() {
            "profile" => put(&mut s.profile, value),
            "quality" => put(&mut s.quality, value),
            "bitrate" => put(&mut s.bitrate_bps, value),
            "buffer-time" => put(&mut s.buffer_ms, value),
            "near" => put(&mut s.near, value),
            "layer" => put(&mut s.layer, value),
            "scene-cut" => put(&mut s.scene_cuts, value),
            "temporal-layers" => put(&mut s.layers, value),
            "model" => s.model = value.get().ok().flatten().unwrap_or_default(),
            "keyint" => put(&mut s.keyframe_interval, value),
            "tier" => put(&mut s.tier, value),
            "threads" => put(&mut s.threads, value),
            "picture-crc" => put(&mut s.picture_crc, value),
            _ => {}
        }
    }

    /// The value of a property.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        let s = &self.0;
        Some(match pspec.name() {
            "profile" => s.profile.to_value(),
            "quality" => s.quality.to_value(),
            "bitrate" => s.bitrate_bps.to_value(),
            "buffer-time" => s.buffer_ms.to_value(),
            "near" => s.near.to_value(),
            "layer" => s.layer.to_value(),
            "scene-cut" => s.scene_cuts.to_value(),
            "temporal-layers" => s.layers.to_value(),
            "model" => (!s.model.is_empty()).then_some(&s.model).to_value(),
            "keyint" => s.keyframe_interval.to_value(),
            "tier" => s.tier.to_value(),
            "threads" => s.threads.to_value(),
            "picture-crc" => s.picture_crc.to_value(),
            name => return s.place.get(name),
        })
    }
}

/// The ParamSpecs.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let d = Settings::default().0;
        let mut all = vec![
            glib::ParamSpecEnum::builder_with_default("profile", d.profile)
                .nick("Profile")
                .blurb("How frames are coded")
                .mutable_ready()
                .build(),
            glib::ParamSpecInt::builder("quality")
                .nick("Quality")
                .blurb("Constant quality of a lossy profile, 0 = coarse to 31 = fine; -1 = not set")
                .minimum(-1)
                .maximum(31)
                .default_value(d.quality)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("bitrate")
                .nick("Bit rate")
                .blurb("Bits a second that a lossy profile aims at, 0 = constant quality")
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("buffer-time")
                .nick("Buffer")
                .blurb("Milliseconds that a decoder's buffer holds at the bit rate; it never runs dry")
                .minimum(40)
                .maximum(60_000)
                .default_value(d.buffer_ms)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("near")
                .nick("Near-lossless")
                .blurb("Greatest error of a sample in profile=lossless and with layer=lossless, 0 = none")
                .maximum(15)
                .default_value(d.near)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("layer", d.layer)
                .nick("Layer")
                .blurb("What stands on the pictures of a lossy profile; decoders can leave it out")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("keyint")
                .nick("Keyframe interval")
                .blurb("Every how many frames a keyframe comes, 1 = all of them are")
                .minimum(1)
                .default_value(d.keyframe_interval)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("scene-cut")
                .nick("Scene cut")
                .blurb("Begin a new scene with a keyframe (lossy profiles)")
                .default_value(d.scene_cuts)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("temporal-layers")
                .nick("Temporal layers")
                .blurb("2 = every second frame is one that no other needs (lossy profiles)")
                .minimum(1)
                .maximum(2)
                .default_value(d.layers)
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("model")
                .nick("Model")
                .blurb("File with the networks of a lossy profile (.gnm); unset = those built in")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("tier")
                .nick("Tier")
                .blurb("Size of the networks of a lossy profile, 0 = the smallest; a decoder needs the same")
                .maximum(3)
                .default_value(d.tier)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("threads")
                .nick("Threads")
                .blurb("Threads, 0 = one for each core; the stream does not depend on it")
                .maximum(1024)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("device", d.place.device)
                .nick("Device")
                .blurb(
                    "Where the networks of a lossy profile run; the stream does not depend on it",
                )
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("active-device")
                .nick("Active device")
                .blurb("Where the networks of the stream run: cuda or cpu; unset before there is one")
                .read_only()
                .build(),
            glib::ParamSpecBoolean::builder("picture-crc")
                .nick("Picture CRC")
                .blurb(
                    "Put a checksum of the decoded picture into each frame, which decoders compare",
                )
                .default_value(d.picture_crc)
                .mutable_ready()
                .build(),
        ];
        all.extend(Place::properties());
        all
    });
    &PROPERTIES
}
