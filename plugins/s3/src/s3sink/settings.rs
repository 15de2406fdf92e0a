//! The properties of `s3sink` beyond those of the connection.

use std::sync::LazyLock;

use gst::{glib, prelude::*};
use gstneural_s3::{Attributes, Checksum, Encryption, OnError, WriteOptions};

use crate::connection::{ConnectionSettings, boolean, string, text};

/// The checksum that parts and object are sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstNeuralS3SinkChecksum")]
#[repr(i32)]
pub enum ChecksumKind {
    /// None.
    #[enum_value(name = "None", nick = "none")]
    None = 0,
    /// CRC-32.
    #[enum_value(name = "CRC-32", nick = "crc32")]
    Crc32 = 1,
    /// CRC-64/NVME.
    #[default]
    #[enum_value(name = "CRC-64/NVME", nick = "crc64nvme")]
    Crc64Nvme = 2,
}

impl From<ChecksumKind> for Checksum {
    fn from(kind: ChecksumKind) -> Self {
        match kind {
            ChecksumKind::None => Checksum::None,
            ChecksumKind::Crc32 => Checksum::Crc32,
            ChecksumKind::Crc64Nvme => Checksum::Crc64Nvme,
        }
    }
}

/// How the server encrypts the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstNeuralS3SinkEncryption")]
#[repr(i32)]
pub enum EncryptionKind {
    /// As the bucket says.
    #[default]
    #[enum_value(name = "As the bucket says", nick = "bucket-default")]
    BucketDefault = 0,
    /// With keys that S3 keeps.
    #[enum_value(name = "With keys that S3 keeps (SSE-S3)", nick = "s3")]
    S3 = 1,
    /// With a key of KMS.
    #[enum_value(name = "With a key of KMS (SSE-KMS)", nick = "kms")]
    Kms = 2,
}

/// What becomes of an upload that cannot be ended properly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstNeuralS3SinkOnError")]
#[repr(i32)]
pub enum ErrorAction {
    /// Nothing stays.
    #[default]
    #[enum_value(name = "The upload is aborted", nick = "abort")]
    Abort = 0,
    /// What was uploaded becomes the object, where the stream stops without EOS.
    #[enum_value(
        name = "What came before a stop without EOS becomes the object",
        nick = "complete"
    )]
    Complete = 1,
    /// The parts stay, for `resume`.
    #[enum_value(name = "The parts stay, so that resume can go on", nick = "nothing")]
    Nothing = 2,
}

/// The values of all properties.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub connection: ConnectionSettings,
    options: WriteOptions,
    checksum: ChecksumKind,
    on_error: ErrorAction,
    encryption: EncryptionKind,
    kms_key: Option<String>,
    bucket_key: bool,
    if_none_match: Option<String>,
    metadata: Option<gst::Structure>,
    tagging: Option<gst::Structure>,
}

pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let default = WriteOptions::default();
        let structure = |name: &'static str, nick: &'static str, blurb: &'static str| {
            glib::ParamSpecBoxed::builder::<gst::Structure>(name)
                .nick(nick)
                .blurb(blurb)
                .mutable_ready()
                .build()
        };
        let mut all = ConnectionSettings::properties();
        all.extend([
            glib::ParamSpecUInt64::builder("part-size")
                .nick("Part size")
                .blurb(
                    "Bytes of a part (they grow from the 1001st on, so that 5 TiB fit); what is no \
                     longer than one is written by a single PutObject",
                )
                .minimum(WriteOptions::MIN_PART)
                .maximum(WriteOptions::MAX_PART)
                .default_value(default.part_bytes)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("parallel")
                .nick("Parallel parts")
                .blurb(
                    "Most parts on their way at once; (parallel + 2) * part-size are held at most",
                )
                .minimum(1)
                .maximum(WriteOptions::MAX_PARALLEL)
                .default_value(default.parallel)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("checksum", ChecksumKind::default())
                .nick("Checksum")
                .blurb("The checksum that the server compares")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("on-error", ErrorAction::default())
                .nick("On error")
                .blurb("What becomes of an upload that fails or is stopped without EOS")
                .mutable_ready()
                .build(),
            boolean(
                "resume",
                "Resume",
                "Go on with an upload of this key that was broken off; the same bytes have to come \
                 again, and are compared",
            ),
            string(
                "if-none-match",
                "If none match",
                "'*': an object of this name is not replaced, the upload fails",
            ),
            string(
                "content-type",
                "Content type",
                "The media type (default: guessed from the caps)",
            ),
            string(
                "content-disposition",
                "Content disposition",
                "How a browser presents the object",
            ),
            string(
                "content-encoding",
                "Content encoding",
                "How the object is packed, such as gzip",
            ),
            string(
                "content-language",
                "Content language",
                "In which language the object is",
            ),
            string(
                "cache-control",
                "Cache control",
                "How long caches may keep the object",
            ),
            structure(
                "metadata",
                "Metadata",
                "Names and values that are stored with the object",
            ),
            structure(
                "tagging",
                "Tags",
                "Names and values of the object's tags, 10 at most",
            ),
            string(
                "acl",
                "ACL",
                "A canned access control list, such as public-read",
            ),
            string(
                "storage-class",
                "Storage class",
                "The storage class, such as STANDARD_IA",
            ),
            glib::ParamSpecEnum::builder_with_default("encryption", EncryptionKind::default())
                .nick("Encryption")
                .blurb("How the server encrypts the object")
                .mutable_ready()
                .build(),
            string(
                "kms-key-id",
                "KMS key",
                "Id, alias or ARN of the key for encryption=kms",
            ),
            boolean(
                "bucket-key",
                "Bucket key",
                "Use the bucket's key with encryption=kms",
            ),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb("How far the upload has come")
                .read_only()
                .build(),
        ]);
        all
    });
    &PROPERTIES
}

impl Settings {
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        if self.connection.set(name, value) {
            return;
        }
        let (options, flag) = (&mut self.options, || value.get().unwrap_or_default());
        match name {
            "part-size" => options.part_bytes = value.get().unwrap_or(options.part_bytes),
            "parallel" => options.parallel = value.get().unwrap_or(options.parallel),
            "resume" => options.resume = flag(),
            "checksum" => self.checksum = value.get().unwrap_or_default(),
            "on-error" => self.on_error = value.get().unwrap_or_default(),
            "encryption" => self.encryption = value.get().unwrap_or_default(),
            "kms-key-id" => self.kms_key = text(value),
            "bucket-key" => self.bucket_key = flag(),
            "if-none-match" => self.if_none_match = text(value),
            "content-type" => options.attributes.content_type = text(value),
            "content-disposition" => options.attributes.content_disposition = text(value),
            "content-encoding" => options.attributes.content_encoding = text(value),
            "content-language" => options.attributes.content_language = text(value),
            "cache-control" => options.attributes.cache_control = text(value),
            "acl" => options.attributes.acl = text(value),
            "storage-class" => options.attributes.storage_class = text(value),
            "metadata" => self.metadata = value.get().ok().flatten(),
            "tagging" => self.tagging = value.get().ok().flatten(),
            _ => {}
        }
    }

    pub fn get(&self, name: &str) -> Option<glib::Value> {
        let attributes = &self.options.attributes;
        Some(match name {
            "part-size" => self.options.part_bytes.to_value(),
            "parallel" => self.options.parallel.to_value(),
            "resume" => self.options.resume.to_value(),
            "checksum" => self.checksum.to_value(),
            "on-error" => self.on_error.to_value(),
            "encryption" => self.encryption.to_value(),
            "kms-key-id" => self.kms_key.to_value(),
            "bucket-key" => self.bucket_key.to_value(),
            "if-none-match" => self.if_none_match.to_value(),
            "content-type" => attributes.content_type.to_value(),
            "content-disposition" => attributes.content_disposition.to_value(),
            "content-encoding" => attributes.content_encoding.to_value(),
            "content-language" => attributes.content_language.to_value(),
            "cache-control" => attributes.cache_control.to_value(),
            "acl" => attributes.acl.to_value(),
            "storage-class" => attributes.storage_class.to_value(),
            "metadata" => self.metadata.to_value(),
            "tagging" => self.tagging.to_value(),
            name => return self.connection.get(name),
        })
    }

    /// The options of the upload, as far as they can be checked here.
    pub fn options(&self) -> Result<WriteOptions, gst::ErrorMessage> {
        let refused = |text: String| gst::error_msg!(gst::ResourceError::Settings, ("{}", text));
        let encryption = match self.encryption {
            EncryptionKind::Kms => Encryption::Kms {
                key_id: self.kms_key.clone(),
                bucket_key: self.bucket_key,
            },
            _ if self.kms_key.is_some() || self.bucket_key => {
                let text = "kms-key-id and bucket-key need encryption=kms";
                return Err(refused(text.to_owned()));
            }
            EncryptionKind::S3 => Encryption::S3,
            EncryptionKind::BucketDefault => Encryption::BucketDefault,
        };
        let if_none_match = match self.if_none_match.as_deref() {
            None => false,
            Some("*") => true,
            Some(other) => {
                let text = format!("if-none-match={other}: S3 knows only '*' here");
                return Err(refused(text));
            }
        };
        let pairs = |structure: &Option<gst::Structure>, what: &str| {
            let fields = structure.iter().flat_map(|s| s.iter());
            let pairs = fields.map(|(name, value)| {
                let text = match value.get::<String>() {
                    Ok(text) => Some(text),
                    Err(_) => value.transform::<String>().ok().and_then(|v| v.get().ok()),
                };
                let text = text.ok_or_else(|| refused(format!("{what}: {name} has no text")))?;
                Ok((name.to_string(), text))
            });
            pairs.collect::<Result<Vec<_>, gst::ErrorMessage>>()
        };
        Ok(WriteOptions {
            checksum: self.checksum.into(),
            on_error: match self.on_error {
                ErrorAction::Abort => OnError::Abort,
                ErrorAction::Complete => OnError::Complete,
                ErrorAction::Nothing => OnError::Keep,
            },
            if_none_match,
            attributes: Attributes {
                encryption,
                metadata: pairs(&self.metadata, "metadata")?,
                tagging: pairs(&self.tagging, "tagging")?,
                ..self.options.attributes.clone()
            },
            ..self.options.clone()
        })
    }
}
