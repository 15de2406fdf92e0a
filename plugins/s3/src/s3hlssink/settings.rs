//! The properties beyond those of the connection.

use std::sync::LazyLock;

use gst::{glib, prelude::*};
use gstneural_s3::{Attributes, Connection, S3Uri, WriteOptions};

use super::location::Template;
use crate::{
    connection::{ConnectionSettings, text},
    s3sink::ChecksumKind,
};

const DEFAULT_TARGET_DURATION: u32 = 15;
const DEFAULT_PLAYLIST_LENGTH: u32 = 5;
/// Not longer: a stream that is started again uses the same names again.
const DEFAULT_SEGMENT_CACHE: &str = "max-age=300";
const DEFAULT_PLAYLIST_CACHE: &str = "no-cache";

/// The values of all properties.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    connection: ConnectionSettings,
    location: Option<String>,
    playlist_location: Option<String>,
    playlist_root: Option<String>,
    pub target_duration: u32,
    pub playlist_length: u32,
    pub max_files: u32,
    pub keyframe_requests: bool,
    segment_cache: Option<String>,
    playlist_cache: Option<String>,
    checksum: ChecksumKind,
    acl: Option<String>,
    storage_class: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connection: ConnectionSettings::default(),
            location: None,
            playlist_location: None,
            playlist_root: None,
            target_duration: DEFAULT_TARGET_DURATION,
            playlist_length: DEFAULT_PLAYLIST_LENGTH,
            max_files: 0,
            keyframe_requests: true,
            segment_cache: Some(DEFAULT_SEGMENT_CACHE.to_owned()),
            playlist_cache: Some(DEFAULT_PLAYLIST_CACHE.to_owned()),
            checksum: ChecksumKind::default(),
            acl: None,
            storage_class: None,
        }
    }
}

/// Where everything goes and how, checked.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub connection: Connection,
    pub template: Template,
    pub playlist: S3Uri,
    pub root: Option<String>,
    pub segment_options: WriteOptions,
    pub playlist_options: WriteOptions,
}

pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let string = |name: &'static str, nick: &'static str, blurb: &'static str| {
            glib::ParamSpecString::builder(name)
                .nick(nick)
                .blurb(blurb)
                .mutable_ready()
        };
        let number = |name: &'static str, nick: &'static str, blurb: &'static str, default| {
            glib::ParamSpecUInt::builder(name)
                .nick(nick)
                .blurb(blurb)
                .default_value(default)
                .mutable_ready()
                .build()
        };
        let mut all = ConnectionSettings::server_properties();
        all.extend([
            glib::ParamSpecObject::builder::<gst::Element>("hlssink")
                .nick("HLS sink")
                .blurb(
                    "The element that makes fragments and playlist, with the signals of hlssink2, \
                     which is the default",
                )
                .mutable_ready()
                .build(),
            string(
                "location",
                "Location",
                "The fragments: s3://BUCKET/FOLDER/segment%05d.ts",
            )
            .build(),
            string(
                "playlist-location",
                "Playlist location",
                "The playlist: s3://BUCKET/FOLDER/playlist.m3u8 (default: that, beside the \
                 fragments)",
            )
            .build(),
            string(
                "playlist-root",
                "Playlist root",
                "What stands before the fragments' names in the playlist (default: what leads \
                 there from the playlist)",
            )
            .build(),
            number(
                "target-duration",
                "Target duration",
                "Length of a fragment in seconds; 0: one fragment for all",
                DEFAULT_TARGET_DURATION,
            ),
            number(
                "playlist-length",
                "Playlist length",
                "Fragments that the playlist names, 3 or more for players to be content; 0: all",
                DEFAULT_PLAYLIST_LENGTH,
            ),
            number(
                "max-files",
                "Most files",
                "Fragments that are kept in S3, no fewer than playlist-length; older ones are \
                 deleted; 0: nothing is deleted",
                0,
            ),
            glib::ParamSpecBoolean::builder("send-keyframe-requests")
                .nick("Keyframe requests")
                .blurb("Ask the encoder for keyframes where fragments begin")
                .default_value(true)
                .mutable_ready()
                .build(),
            string(
                "segment-cache-control",
                "Cache control of fragments",
                "How long caches may keep a fragment; 'max-age=31536000, immutable' where no name \
                 is ever used again",
            )
            .default_value(DEFAULT_SEGMENT_CACHE)
            .build(),
            string(
                "playlist-cache-control",
                "Cache control of the playlist",
                "How long caches may keep the playlist",
            )
            .default_value(DEFAULT_PLAYLIST_CACHE)
            .build(),
            glib::ParamSpecEnum::builder_with_default("checksum", ChecksumKind::default())
                .nick("Checksum")
                .blurb("The checksum that the server compares")
                .mutable_ready()
                .build(),
            string(
                "acl",
                "ACL",
                "A canned access control list, such as public-read",
            )
            .build(),
            string(
                "storage-class",
                "Storage class",
                "The storage class of the fragments, such as STANDARD_IA",
            )
            .build(),
        ]);
        all
    });
    &PROPERTIES
}

impl Settings {
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        let number = || value.get().unwrap_or_default();
        match name {
            "location" => self.location = text(value),
            "playlist-location" => self.playlist_location = text(value),
            "playlist-root" => self.playlist_root = text(value),
            "target-duration" => self.target_duration = number(),
            "playlist-length" => self.playlist_length = number(),
            "max-files" => self.max_files = number(),
            "send-keyframe-requests" => self.keyframe_requests = value.get().unwrap_or(true),
            "segment-cache-control" => self.segment_cache = text(value),
            "playlist-cache-control" => self.playlist_cache = text(value),
            "checksum" => self.checksum = value.get().unwrap_or_default(),
            "acl" => self.acl = text(value),
            "storage-class" => self.storage_class = text(value),
            name => {
                self.connection.set(name, value);
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "location" => self.location.to_value(),
            "playlist-location" => self.playlist_location.to_value(),
            "playlist-root" => self.playlist_root.to_value(),
            "target-duration" => self.target_duration.to_value(),
            "playlist-length" => self.playlist_length.to_value(),
            "max-files" => self.max_files.to_value(),
            "send-keyframe-requests" => self.keyframe_requests.to_value(),
            "segment-cache-control" => self.segment_cache.to_value(),
            "playlist-cache-control" => self.playlist_cache.to_value(),
            "checksum" => self.checksum.to_value(),
            "acl" => self.acl.to_value(),
            "storage-class" => self.storage_class.to_value(),
            name => return self.connection.get(name),
        })
    }

    /// Looks whether it can be right, as far as that can be seen without the server.
    pub fn plan(&self) -> Result<Plan, gst::ErrorMessage> {
        let refused = |text: String| gst::error_msg!(gst::ResourceError::Settings, ["{}", text]);
        let location = self.location.as_deref().ok_or_else(|| {
            refused("location is not set; set location=s3://BUCKET/FOLDER/segment%05d.ts".into())
        })?;
        let template = Template::parse(location).map_err(refused)?;
        let playlist = self.playlist_location.clone();
        let playlist = playlist.unwrap_or_else(|| template.playlist());
        let playlist = S3Uri::parse(&playlist)
            .map_err(|e| refused(format!("playlist-location={playlist}: {e}")))?;
        let root = match &self.playlist_root {
            Some(root) => Some(root.clone()),
            None => template.root(&playlist).map_err(refused)?,
        };
        if self.max_files > 0
            && (self.playlist_length == 0 || self.max_files < self.playlist_length)
        {
            let named = match self.playlist_length {
                0 => "all fragments (playlist-length=0)".to_owned(),
                length => format!("the last {length} (playlist-length={length})"),
            };
            return Err(refused(format!(
                "max-files={} would delete fragments that the playlist names, which names {named}; \
                 set max-files above playlist-length, or to 0",
                self.max_files
            )));
        }
        let checksum = self.checksum.into();
        let options = |content_type: &str, cache: &Option<String>, class: Option<&String>| {
            let attributes = Attributes {
                content_type: Some(content_type.to_owned()),
                cache_control: cache.clone(),
                acl: self.acl.clone(),
                storage_class: class.cloned(),
                ..Attributes::default()
            };
            WriteOptions {
                checksum,
                attributes,
                ..WriteOptions::default()
            }
        };
        let class = self.storage_class.as_ref();
        Ok(Plan {
            connection: self.connection.resolve_server()?,
            segment_options: options("video/mp2t", &self.segment_cache, class),
            playlist_options: options("application/vnd.apple.mpegurl", &self.playlist_cache, None),
            template,
            playlist,
            root,
        })
    }
}
