//! What an object is written with.

use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption, StorageClass};

use super::plan::{MAX_PART, MIN_PART};
use crate::{
    checksum::Checksum,
    error::{ErrorKind, S3Error},
    uri::S3Uri,
};

/// What becomes of an upload that cannot be ended properly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnError {
    /// It is aborted: no trace of it stays.
    #[default]
    Abort,
    /// Its parts stay, so that a later run with `resume` can go on (and storage is paid for until
    /// then).
    Keep,
    /// The object is completed from what was uploaded.
    Complete,
}

/// How the server encrypts the object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encryption {
    /// As the bucket says.
    #[default]
    BucketDefault,
    /// With keys that S3 keeps (SSE-S3).
    S3,
    /// With a key of KMS (SSE-KMS).
    Kms {
        /// Id, alias or ARN of the key; `None`: the key that AWS manages.
        key_id: Option<String>,
        /// Whether the bucket's key is used, which costs fewer requests to KMS.
        bucket_key: bool,
    },
}

/// What is stored with an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// The media type.
    pub content_type: Option<String>,
    /// How a browser presents it.
    pub content_disposition: Option<String>,
    /// How it is packed, such as `gzip`.
    pub content_encoding: Option<String>,
    /// In which language it is.
    pub content_language: Option<String>,
    /// How long it may be kept in caches.
    pub cache_control: Option<String>,
    /// Metadata of the user: names and values.
    pub metadata: Vec<(String, String)>,
    /// Tags: names and values.
    pub tagging: Vec<(String, String)>,
    /// A canned access control list, such as `public-read`.
    pub acl: Option<String>,
    /// A storage class, such as `STANDARD_IA`.
    pub storage_class: Option<String>,
    /// How the server encrypts it.
    pub encryption: Encryption,
}

/// How an object is written.
///
/// The memory held never exceeds `(parallel + 2) * part_bytes` for the first thousand parts: those
/// on their way, the one that is being filled, and the first, which is held back so that a muxer
/// can rewrite its header. Parts that grow later (from 8 GB on, at 8 MiB) take that memory in turn
/// and fewer of them are on their way at the same time; one always is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// Length of the first parts, 5 MiB to 5 GiB. An object no longer than one part is written by
    /// one PutObject.
    pub part_bytes: u64,
    /// Parts on their way at the same time, 1 to 256.
    pub parallel: u32,
    /// The checksum that each part and the whole are sent with.
    pub checksum: Checksum,
    /// What is stored with the object.
    pub attributes: Attributes,
    /// Whether an object of this name is left alone, and the upload fails instead.
    pub if_none_match: bool,
    /// What becomes of an upload that fails.
    pub on_error: OnError,
    /// Whether an upload of this key that was broken off is taken up again.
    pub resume: bool,
}

impl WriteOptions {
    /// Most parts on their way at the same time.
    pub const MAX_PARALLEL: u32 = 256;
    /// Smallest part, in bytes.
    pub const MIN_PART: u64 = MIN_PART;
    /// Largest part, in bytes.
    pub const MAX_PART: u64 = MAX_PART;
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            part_bytes: 8 << 20,
            parallel: 8,
            checksum: Checksum::default(),
            attributes: Attributes::default(),
            if_none_match: false,
            on_error: OnError::default(),
            resume: false,
        }
    }
}

impl WriteOptions {
    /// Looks for what the server would refuse at the very end.
    pub(super) fn validate(&self, uri: &S3Uri) -> Result<(), S3Error> {
        let invalid = |text: String| Err(S3Error::local(ErrorKind::Invalid, "writing", uri, text));
        if !(MIN_PART..=MAX_PART).contains(&self.part_bytes) {
            return invalid(format!(
                "a part has 5 MiB to 5 GiB, not {} bytes",
                self.part_bytes
            ));
        }
        if !(1..=Self::MAX_PARALLEL).contains(&self.parallel) {
            return invalid(format!("1 to 256 parts at once, not {}", self.parallel));
        }
        if uri.version_id.is_some() {
            return invalid("a version cannot be written; leave out versionId".into());
        }
        let attributes = &self.attributes;
        if attributes.tagging.len() > 10 {
            return invalid(format!(
                "an object has 10 tags at most, not {}",
                attributes.tagging.len()
            ));
        }
        let metadata_bytes: usize = attributes
            .metadata
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if metadata_bytes > 2048 {
            return invalid(format!(
                "metadata has 2048 bytes at most, not {metadata_bytes}"
            ));
        }
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        for (name, _) in &attributes.metadata {
            if name.is_empty() || !name.bytes().all(token) {
                return invalid(format!(
                    "'{name}' cannot be the name of metadata (a token of HTTP)"
                ));
            }
        }
        let texts = [
            ("content-type", &attributes.content_type),
            ("content-disposition", &attributes.content_disposition),
            ("content-encoding", &attributes.content_encoding),
            ("content-language", &attributes.content_language),
            ("cache-control", &attributes.cache_control),
        ];
        let values = attributes
            .metadata
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        let texts = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.as_ref()?)));
        for (name, text) in texts.chain(values) {
            if !text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
                return invalid(format!("{name} may hold printable ASCII only"));
            }
        }
        if let Some(acl) = &attributes.acl
            && !ObjectCannedAcl::values().contains(&acl.as_str())
        {
            let known = ObjectCannedAcl::values().join(", ");
            return invalid(format!(
                "'{acl}' is no canned access control list; there are {known}"
            ));
        }
        if let Some(class) = &attributes.storage_class
            && !StorageClass::values().contains(&class.as_str())
        {
            let known = StorageClass::values().join(", ");
            return invalid(format!("'{class}' is no storage class; there are {known}"));
        }
        Ok(())
    }
}

impl Attributes {
    pub(super) fn acl(&self) -> Option<ObjectCannedAcl> {
        self.acl.as_deref().map(ObjectCannedAcl::from)
    }

    pub(super) fn storage_class(&self) -> Option<StorageClass> {
        self.storage_class.as_deref().map(StorageClass::from)
    }

    /// The tags as a query, which is how the header holds them.
    pub(super) fn tagging(&self) -> Option<String> {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let pairs = self
            .tagging
            .iter()
            .map(|(k, v)| format!("{}={}", encode(k), encode(v)));
        let query = pairs.collect::<Vec<_>>().join("&");
        (!query.is_empty()).then_some(query)
    }
}

impl Encryption {
    pub(super) fn algorithm(&self) -> Option<ServerSideEncryption> {
        match self {
            Encryption::BucketDefault => None,
            Encryption::S3 => Some(ServerSideEncryption::Aes256),
            Encryption::Kms { .. } => Some(ServerSideEncryption::AwsKms),
        }
    }

    pub(super) fn key_id(&self) -> Option<String> {
        match self {
            Encryption::Kms { key_id, .. } => key_id.clone(),
            _ => None,
        }
    }

    pub(super) fn bucket_key(&self) -> Option<bool> {
        match self {
            Encryption::Kms { bucket_key, .. } => bucket_key.then_some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_be_right_are_refused() {
        let uri = S3Uri::from_parts("films", "a").expect("a name");
        let refused = |change: fn(&mut WriteOptions)| {
            let mut options = WriteOptions::default();
            change(&mut options);
            options.validate(&uri).is_err()
        };
        assert!(!refused(|_| ()));
        assert!(refused(|o| o.part_bytes = MIN_PART - 1));
        assert!(refused(|o| o.parallel = 0));
        assert!(refused(|o| o.attributes.acl = Some("everybody".into())));
        assert!(!refused(|o| o.attributes.acl = Some("public-read".into())));
        assert!(refused(
            |o| o.attributes.storage_class = Some("cheap".into())
        ));
        assert!(refused(
            |o| o.attributes.metadata = vec![("a b".into(), "c".into())]
        ));
        assert!(refused(
            |o| o.attributes.metadata = vec![("a".into(), "c\r\nx: y".into())]
        ));
        assert!(refused(|o| o.attributes.cache_control = Some("a\n".into())));
        assert!(refused(
            |o| o.attributes.tagging = vec![Default::default(); 11]
        ));
    }

    #[test]
    fn tags_are_a_query() {
        let attributes = Attributes {
            tagging: vec![("a b".into(), "c&d".into()), ("e".into(), "".into())],
            ..Default::default()
        };
        assert_eq!(attributes.tagging().as_deref(), Some("a%20b=c%26d&e="));
    }
}
