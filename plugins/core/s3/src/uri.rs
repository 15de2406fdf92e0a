//! Names of objects: `s3://BUCKET/KEY[?versionId=ID]` and the forms other tools use.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Longest key S3 takes, in bytes of UTF-8.
const MAX_KEY_BYTES: usize = 1024;
/// Longest version id S3 gives out, in bytes.
const MAX_VERSION_BYTES: usize = 1024;
/// Longest URI that is looked at: every byte of a key may be written as three.
const MAX_URI_BYTES: usize = 3 * (MAX_KEY_BYTES + MAX_VERSION_BYTES) + 512;

/// What a key's bytes are escaped for inside a URI.
const KEY_ESCAPES: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
const QUERY_ESCAPES: &AsciiSet = &KEY_ESCAPES.add(b'&').add(b'+').add(b'=');

/// What is wrong with the name of an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Another scheme, or none.
    #[error("'{0}' does not begin with s3://; write s3://BUCKET/KEY")]
    Scheme(String),
    /// The bucket's name is missing or against S3's rules.
    #[error(
        "'{0}' is no name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens, or the \
         ARN of an access point"
    )]
    Bucket(String),
    /// The key is missing.
    #[error("the key is missing in '{0}'; write s3://BUCKET/KEY")]
    NoKey(String),
    /// The key is too long.
    #[error("the key has {0} bytes; S3 takes 1024 at most")]
    LongKey(usize),
    /// The text is too long to be the name of an object.
    #[error("the URI has {0} bytes, more than any object's name needs")]
    LongUri(usize),
    /// Percent escapes that are not UTF-8.
    #[error("the {0} is not UTF-8 once its percent escapes are decoded")]
    NotUtf8(&'static str),
    /// A query that is not understood.
    #[error("'{0}' after the question mark is not understood; only versionId=ID is")]
    Query(String),
    /// A fragment, which no object has.
    #[error("a '#' has to be written %23 in a URI")]
    Fragment,
    /// The region of the three-part form is missing or malformed.
    #[error("'{0}' is no name of a region (as in s3://REGION/BUCKET/KEY)")]
    Region(String),
}

/// The name of an object, or of one version of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Uri {
    /// The bucket, or the ARN of an access point.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// The version, where one is named.
    pub version_id: Option<String>,
    /// The region, where the URI names one (the three-part form does).
    pub region: Option<String>,
}

impl S3Uri {
    /// Reads `s3://BUCKET/KEY[?versionId=ID]`; the key may be percent-encoded.
    ///
    /// The bucket may be the ARN of an access point:
    /// `s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/KEY`.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let rest = after_scheme(text)?;
        let (path, query) = split_query(rest)?;
        let (bucket, key) = split_bucket(path).ok_or_else(|| UriError::NoKey(shorten(text)))?;
        Self::assemble(bucket, key, query, None, text)
    }

    /// Reads the form of gst-plugin-aws: `s3://REGION/BUCKET/KEY[?version=ID]`.
    pub fn parse_with_region(text: &str) -> Result<Self, UriError> {
        let rest = after_scheme(text)?;
        let (path, query) = split_query(rest)?;
        let no_key = || UriError::NoKey(shorten(text));
        let (region, path) = path.split_once('/').ok_or_else(no_key)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if region.is_empty() || region.len() > 64 || !region.bytes().all(plain) {
            return Err(UriError::Region(shorten(region)));
        }
        let (bucket, key) = split_bucket(path).ok_or_else(no_key)?;
        Self::assemble(bucket, key, query, Some(region.to_owned()), text)
    }

    /// A name from its parts, nothing of it encoded.
    pub fn from_parts(bucket: &str, key: &str) -> Result<Self, UriError> {
        let uri = Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version_id: None,
            region: None,
        };
        uri.checked(bucket)
    }

    fn assemble(
        bucket: &str,
        key: &str,
        query: Option<&str>,
        region: Option<String>,
        text: &str,
    ) -> Result<Self, UriError> {
        let decode = |part: &str, what| {
            let decoded = percent_decode_str(part).decode_utf8();
            decoded
                .map(|s| s.into_owned())
                .map_err(|_| UriError::NotUtf8(what))
        };
        let mut version_id = None;
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|p| !p.is_empty())
        {
            match pair.split_once('=') {
                Some(("versionId" | "version", id)) if !id.is_empty() && version_id.is_none() => {
                    version_id = Some(decode(id, "version")?);
                }
                _ => return Err(UriError::Query(shorten(pair))),
            }
        }
        let uri = Self {
            bucket: decode(bucket, "bucket")?,
            key: decode(key, "key")?,
            version_id,
            region,
        };
        uri.checked(text)
    }

    fn checked(self, text: &str) -> Result<Self, UriError> {
        if !is_bucket(&self.bucket) {
            return Err(UriError::Bucket(shorten(&self.bucket)));
        }
        if self.key.is_empty() {
            return Err(UriError::NoKey(shorten(text)));
        }
        if self.key.len() > MAX_KEY_BYTES {
            return Err(UriError::LongKey(self.key.len()));
        }
        let version_bytes = self.version_id.as_deref().map_or(0, str::len);
        if version_bytes > MAX_VERSION_BYTES {
            return Err(UriError::LongUri(version_bytes));
        }
        Ok(self)
    }
}

/// The URI again; what parses is printed so that it parses to the same.
impl fmt::Display for S3Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("s3://")?;
        if let Some(region) = &self.region {
            write!(f, "{region}/")?;
        }
        write!(f, "{}/", self.bucket)?;
        utf8_percent_encode(&self.key, KEY_ESCAPES).fmt(f)?;
        if let Some(version) = &self.version_id {
            f.write_str("?versionId=")?;
            utf8_percent_encode(version, QUERY_ESCAPES).fmt(f)?;
        }
        Ok(())
    }
}

fn after_scheme(text: &str) -> Result<&str, UriError> {
    if text.len() > MAX_URI_BYTES {
        return Err(UriError::LongUri(text.len()));
    }
    let scheme = text.get(..5).filter(|s| s.eq_ignore_ascii_case("s3://"));
    scheme
        .and_then(|s| text.get(s.len()..))
        .ok_or_else(|| UriError::Scheme(shorten(text)))
}

fn split_query(rest: &str) -> Result<(&str, Option<&str>), UriError> {
    if rest.contains('#') {
        return Err(UriError::Fragment);
    }
    Ok(match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    })
}

/// Bucket and key. The ARN of an access point holds slashes (or colons) of its own.
fn split_bucket(path: &str) -> Option<(&str, &str)> {
    if path.starts_with("arn:") {
        let end = arn_end(path)?;
        return Some((path.get(..end)?, path.get(end + 1..)?));
    }
    path.split_once('/')
}

/// Where the ARN of an access point ends: before the slash behind its name.
fn arn_end(path: &str) -> Option<usize> {
    const RESOURCE: &str = "accesspoint";
    let between = [':', '/'];
    let (before, after) = path.split_at_checked(path.find(RESOURCE)?)?;
    let name = after.strip_prefix(RESOURCE)?.strip_prefix(between)?;
    let length = name.find('/').unwrap_or(name.len());
    let whole = before.ends_with(between) && length > 0;
    whole.then_some(before.len() + RESOURCE.len() + 1 + length)
}

fn is_bucket(name: &str) -> bool {
    if let Some(arn) = name.strip_prefix("arn:") {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'/' | b'-');
        return arn.len() < 256
            && arn.split(':').count() >= 5
            && arn.bytes().all(plain)
            && arn_end(name) == Some(name.len());
    }
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.first().copied().is_some_and(inside)
        && bytes.last().copied().is_some_and(inside)
        && bytes.iter().all(|&b| inside(b) || matches!(b, b'-' | b'.'))
        && !name.contains("..")
}

/// The beginning of a text, for a message.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn usual_names() {
        let uri = S3Uri::parse("s3://films/2026/trailer.mp4").unwrap();
        assert_eq!(
            (uri.bucket.as_str(), uri.key.as_str()),
            ("films", "2026/trailer.mp4")
        );
        assert_eq!(uri.version_id, None);
        let uri = S3Uri::parse("S3://films/a%20b%3Fc.mp4?versionId=x%2By").unwrap();
        assert_eq!(uri.key, "a b?c.mp4");
        assert_eq!(uri.version_id.as_deref(), Some("x+y"));
        assert_eq!(uri.to_string(), "s3://films/a%20b%3Fc.mp4?versionId=x%2By");
        let uri = S3Uri::parse("s3://films/ä//b/").unwrap();
        assert_eq!(uri.key, "ä//b/");
    }

    #[test]
    fn access_points() {
        let arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/films";
        let uri = S3Uri::parse(&format!("s3://{arn}/a/b.mp4")).unwrap();
        assert_eq!((uri.bucket.as_str(), uri.key.as_str()), (arn, "a/b.mp4"));
        assert!(S3Uri::parse(&format!("s3://{arn}")).is_err());
        assert!(S3Uri::parse("s3://arn:aws:s3:eu-west-1:1:object/x/y").is_err());
        let arn = "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1/accesspoint/films";
        let uri = S3Uri::from_parts(arn, "a/b.mp4").unwrap();
        assert_eq!(S3Uri::parse(&uri.to_string()).unwrap(), uri);
        assert_eq!((uri.bucket.as_str(), uri.key.as_str()), (arn, "a/b.mp4"));
        // What would be printed so that it reads as something else.
        for wrong in [
            "arn:aws:s3:eu-west-1:1:object",
            "arn:aws:s3:eu-west-1:1:accesspoint",
            "arn:aws:s3:eu-west-1:1:accesspoint/",
            "arn:aws:s3:eu-west-1:1:accesspoint/films/x",
        ] {
            assert!(S3Uri::from_parts(wrong, "a").is_err(), "{wrong}");
        }
        assert!(S3Uri::parse("s3://arn:aws:s3:eu:1:accesspoint/fi%2Flms/a").is_err());
    }

    #[test]
    fn the_form_with_a_region() {
        let uri = S3Uri::parse_with_region("s3://eu-west-1/films/a.mp4?version=7").unwrap();
        assert_eq!(uri.region.as_deref(), Some("eu-west-1"));
        assert_eq!((uri.bucket.as_str(), uri.key.as_str()), ("films", "a.mp4"));
        assert_eq!(uri.version_id.as_deref(), Some("7"));
        assert!(S3Uri::parse_with_region("s3://eu_west/films/a").is_err());
    }

    #[test]
    fn what_is_refused() {
        let refused = |text: &str| S3Uri::parse(text).unwrap_err();
        assert!(matches!(refused("http://a/b"), UriError::Scheme(_)));
        assert!(matches!(refused(""), UriError::Scheme(_)));
        assert!(matches!(refused("s3://"), UriError::NoKey(_)));
        assert!(matches!(refused("s3://films"), UriError::NoKey(_)));
        assert!(matches!(refused("s3://films/"), UriError::NoKey(_)));
        assert!(matches!(refused("s3://Films/a"), UriError::Bucket(_)));
        assert!(matches!(refused("s3://a/b"), UriError::Bucket(_)));
        assert!(matches!(refused("s3://../../etc"), UriError::Bucket(_)));
        assert!(matches!(refused("s3://films/a?x=1"), UriError::Query(_)));
        assert!(matches!(
            refused("s3://films/a?versionId="),
            UriError::Query(_)
        ));
        assert!(matches!(refused("s3://films/a#b"), UriError::Fragment));
        assert!(matches!(
            refused("s3://films/%ff"),
            UriError::NotUtf8("key")
        ));
        let long = format!("s3://films/{}", "a".repeat(1025));
        assert_eq!(refused(&long), UriError::LongKey(1025));
        let long = format!("s3://films/{}", "a".repeat(100_000));
        assert!(matches!(refused(&long), UriError::LongUri(_)));
    }

    #[test]
    fn what_is_printed_reads_as_the_same() {
        for key in [
            "a b",
            "%41",
            "100%",
            "ü/?#&=+",
            "a//b",
            "[x]{y}|\"z\"",
            "\u{1}",
        ] {
            let uri = S3Uri::from_parts("films", key).unwrap();
            assert_eq!(S3Uri::parse(&uri.to_string()).unwrap(), uri, "{key:?}");
        }
    }
}
