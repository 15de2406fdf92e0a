//! Names of objects that may be anything: refused, or printed so that they are read as the same.
#![no_main]

use gstneural_s3::S3Uri;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(uri) = S3Uri::parse(text) {
        assert_eq!(S3Uri::parse(&uri.to_string()).as_ref(), Ok(&uri));
        assert!(!uri.key.is_empty() && uri.key.len() <= 1024);
        let parts = S3Uri::from_parts(&uri.bucket, &uri.key);
        assert_eq!(parts.map(|p| (p.bucket, p.key)), Ok((uri.bucket, uri.key)));
    }
    if let Ok(uri) = S3Uri::parse_with_region(text) {
        assert_eq!(S3Uri::parse_with_region(&uri.to_string()).as_ref(), Ok(&uri));
        assert!(uri.region.is_some());
    }
    // The texts on both sides of the first space as bucket and key, nothing of them encoded.
    let (bucket, key) = text.split_once(' ').unwrap_or(("films", text));
    if let Ok(uri) = S3Uri::from_parts(bucket, key) {
        assert_eq!(S3Uri::parse(&uri.to_string()).as_ref(), Ok(&uri));
    }
});
