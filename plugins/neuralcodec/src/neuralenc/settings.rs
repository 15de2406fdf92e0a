//! The properties.

use std::sync::LazyLock;

use gst::{glib, prelude::*};

use crate::coding::{Device, ProfileChoice, Wishes};

const DEFAULT_KEYINT: u32 = 64;

/// The settings; what they mean to the codec is [`Wishes`]' business.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings(pub Wishes);

impl Default for Settings {
    fn default() -> Self {
        Self(Wishes {
            profile: ProfileChoice::Auto,
            quality: -1,
            bitrate_bps: 0,
            near: 0,
            keyframe_interval: DEFAULT_KEYINT,
            tier: 0,
            threads: 0,
            device: Device::Auto,
            picture_crc: false,
        })
    }
}

impl Settings {
    /// Sets a property.
    pub fn set(&mut self, value: &glib::Value, pspec: &glib::ParamSpec) {
        fn put<T: for<'a> glib::value::FromValue<'a> + 'static>(to: &mut T, value: &glib::Value) {
            if let Ok(v) = value.get_owned::<T>() {
                *to = v;
            }
        }
        let s = &mut self.0;
        match pspec.name() {
            "profile" => put(&mut s.profile, value),
            "quality" => put(&mut s.quality, value),
            "bitrate" => put(&mut s.bitrate_bps, value),
            "near" => put(&mut s.near, value),
            "keyint" => put(&mut s.keyframe_interval, value),
            "tier" => put(&mut s.tier, value),
            "threads" => put(&mut s.threads, value),
            "device" => put(&mut s.device, value),
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
            "near" => s.near.to_value(),
            "keyint" => s.keyframe_interval.to_value(),
            "tier" => s.tier.to_value(),
            "threads" => s.threads.to_value(),
            "device" => s.device.to_value(),
            "picture-crc" => s.picture_crc.to_value(),
            _ => return None,
        })
    }
}

/// The ParamSpecs.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let d = Settings::default().0;
        vec![
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
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("bitrate")
                .nick("Bit rate")
                .blurb("Bits a second that a lossy profile aims at, 0 = constant quality")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("near")
                .nick("Near-lossless")
                .blurb("Greatest error of a sample in profile=lossless, 0 = none")
                .maximum(15)
                .default_value(d.near)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("keyint")
                .nick("Keyframe interval")
                .blurb("Every how many frames a keyframe comes, 1 = all of them are")
                .minimum(1)
                .default_value(d.keyframe_interval)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("tier")
                .nick("Tier")
                .blurb("Size of the networks of a lossy profile; a decoder needs the same")
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
            glib::ParamSpecEnum::builder_with_default("device", d.device)
                .nick("Device")
                .blurb(
                    "Where the networks of a lossy profile run; the stream does not depend on it",
                )
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("picture-crc")
                .nick("Picture CRC")
                .blurb(
                    "Put a checksum of the decoded picture into each frame, which decoders compare",
                )
                .default_value(d.picture_crc)
                .mutable_ready()
                .build(),
        ]
    });
    &PROPERTIES
}
