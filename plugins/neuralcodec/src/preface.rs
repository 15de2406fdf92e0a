//! What stands before a keyframe where a container has no place for `codec_data`, or demuxers do
//! not hand it out: `codec_data` itself, then what players must know and it does not say
//! (`docs/bitstream.md`, "Preface").

use gstneural_codec::bitstream::HEADER_BYTES;

/// First bytes of `codec_data`; no access unit begins so.
const CODEC_DATA: &[u8] = b"GNVC";
/// First bytes of the description.
const DESCRIPTION: &[u8] = b"GNVD";
/// The longest description that is written or read.
const MAX_DESCRIPTION: usize = 4096;

/// Fields of the caps that a description may hold, and no others.
pub(crate) const FIELDS: [&str; 7] = [
    "pixel-aspect-ratio",
    "chroma-site",
    "interlace-mode",
    "field-order",
    "multiview-mode",
    "mastering-display-info",
    "content-light-level",
];

/// Fields of caps with their values as text.
pub(crate) type Description = Vec<(&'static str, String)>;

/// The fields of `caps` that a description holds.
pub(crate) fn describe(caps: &gst::StructureRef) -> Description {
    let text = |name: &str| {
        caps.get::<gst::Fraction>(name).map_or_else(
            |_| caps.get::<String>(name).ok(),
            |f| Some(format!("{}/{}", f.numer(), f.denom())),
        )
    };
    // What everybody assumes anyway is left out.
    let usual = |name: &str, value: &str| {
        matches!(
            (name, value),
            ("pixel-aspect-ratio", "1/1")
                | ("interlace-mode", "progressive")
                | ("multiview-mode", "mono")
        )
    };
    FIELDS
        .iter()
        .filter_map(|&name| Some((name, text(name)?)))
        .filter(|(name, value)| !usual(name, value) && !value.contains(['\n', '=']))
        .collect()
}

/// Puts a description into caps; values that make no sense are left out.
pub(crate) fn apply(description: &Description, caps: &mut gst::StructureRef) {
    for (name, value) in description {
        if *name == "pixel-aspect-ratio" {
            let parts = value.split_once('/');
            let parsed =
                parts.and_then(|(n, d)| Some((n.parse::<i32>().ok()?, d.parse::<i32>().ok()?)));
            if let Some((n @ 1.., d @ 1..)) = parsed {
                caps.set(*name, gst::Fraction::new(n, d));
            }
        } else {
            caps.set(*name, value.as_str());
        }
    }
}

/// The bytes before a keyframe.
pub(crate) fn write(codec_data: &[u8], description: &Description) -> Vec<u8> {
    let mut out = codec_data.to_vec();
    let mut text = String::new();
    for (name, value) in description {
        if text.len() + name.len() + value.len() + 2 <= MAX_DESCRIPTION {
            text.push_str(&format!("{name}={value}\n"));
        }
    }
    if let (false, Ok(length)) = (text.is_empty(), u16::try_from(text.len())) {
        let begin = out.len();
        out.extend(DESCRIPTION);
        out.extend(length.to_le_bytes());
        out.extend(text.as_bytes());
        let crc = crc32fast::hash(out.get(begin..).unwrap_or_default());
        out.extend(crc.to_le_bytes());
    }
    out
}

/// What a buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    /// `codec_data`, not looked into.
    pub codec_data: Option<&'a [u8]>,
    /// The description that follows it; empty if there is none or it is damaged.
    pub description: Description,
    /// The access unit.
    pub unit: &'a [u8],
}

/// Takes the preface, if there is one, from the access unit.
pub(crate) fn split(bytes: &[u8]) -> Parts<'_> {
    let whole = Parts {
        codec_data: None,
        description: Vec::new(),
        unit: bytes,
    };
    if !bytes.starts_with(CODEC_DATA) {
        return whole;
    }
    let Some((codec_data, rest)) = bytes.split_at_checked(HEADER_BYTES) else {
        return whole;
    };
    let (description, unit) = described(rest).unwrap_or((Vec::new(), rest));
    Parts {
        codec_data: Some(codec_data),
        description,
        unit,
    }
}

/// A description and what follows it.
fn described(bytes: &[u8]) -> Option<(Description, &[u8])> {
    let rest = bytes.strip_prefix(DESCRIPTION)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let covered = bytes.get(..DESCRIPTION.len() + 2 + text.len())?;
    if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
        // The unit behind it can be good all the same.
        return Some((Vec::new(), rest));
    }
    let text = std::str::from_utf8(text).unwrap_or_default();
    let known = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let name = FIELDS.iter().find(|f| **f == name)?;
        Some((*name, value.to_string()))
    };
    Some((text.lines().filter_map(known).collect(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec_data() -> Vec<u8> {
        let mut bytes = CODEC_DATA.to_vec();
        bytes.resize(HEADER_BYTES, 7);
        bytes
    }

    #[test]
    fn a_preface_comes_off_as_it_was_put_on() {
        let description = vec![
            ("pixel-aspect-ratio", "16/11".to_string()),
            ("chroma-site", "mpeg2".to_string()),
        ];
        for description in [description, Vec::new()] {
            let mut bytes = write(&codec_data(), &description);
            bytes.extend([0xA7, 1, 2]);
            let parts = split(&bytes);
            assert_eq!(parts.codec_data, Some(&codec_data()[..]));
            assert_eq!(parts.description, description);
            assert_eq!(parts.unit, [0xA7, 1, 2]);
        }
        assert_eq!(split(&[0xA7, 3]).unit, [0xA7, 3]);
        assert_eq!(split(&[0xA7, 3]).codec_data, None);
    }

    #[test]
    fn cut_and_flipped_prefaces_are_read_without_harm() {
        let bytes = write(&codec_data(), &vec![("chroma-site", "mpeg2".to_string())]);
        for cut in 0..bytes.len() {
            let _ = split(&bytes[..cut]);
        }
        for at in HEADER_BYTES + 6..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert!(split(&flipped).description.is_empty(), "{at}");
        }
    }

    #[test]
    fn caps_are_described_by_what_is_not_usual() {
        gst::init().unwrap();
        let caps = gst::Structure::builder("video/x-neural")
            .field("pixel-aspect-ratio", gst::Fraction::new(4, 3))
            .field("interlace-mode", "progressive")
            .field("chroma-site", "mpeg2")
            .build();
        let description = describe(&caps);
        assert_eq!(description.len(), 2);
        let mut again = gst::Structure::new_empty("video/x-raw");
        apply(&description, &mut again);
        assert_eq!(
            again.get::<gst::Fraction>("pixel-aspect-ratio").unwrap(),
            gst::Fraction::new(4, 3)
        );
        assert_eq!(again.get::<String>("chroma-site").unwrap(), "mpeg2");
    }
}
