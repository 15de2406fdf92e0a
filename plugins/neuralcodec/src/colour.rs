//! GStreamer's colorimetry as the code points of ITU-T H.273 that the stream carries.

use gst_video::{
    VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoTransferFunction,
};
use gstneural_codec::bitstream::Colour;

/// H.273's "unspecified".
const UNKNOWN: u8 = 2;

/// What the stream says of `colorimetry`.
pub(crate) fn to_stream(colorimetry: &VideoColorimetry) -> Colour {
    let point = |iso: u32| u8::try_from(iso).unwrap_or(UNKNOWN);
    Colour {
        range: match colorimetry.range() {
            VideoColorRange::Range16_235 => 1,
            VideoColorRange::Range0_255 => 2,
            _ => 0,
        },
        matrix: point(colorimetry.matrix().to_iso()),
        primaries: point(colorimetry.primaries().to_iso()),
        transfer: point(colorimetry.transfer().to_iso()),
    }
}

/// What a stream says; None if it says nothing.
pub(crate) fn from_stream(colour: Colour) -> Option<VideoColorimetry> {
    let said = [colour.primaries, colour.transfer, colour.matrix]
        .iter()
        .any(|&point| point != UNKNOWN && point != 0);
    (said || colour.range != 0).then(|| {
        VideoColorimetry::new(
            match colour.range {
                1 => VideoColorRange::Range16_235,
                2 => VideoColorRange::Range0_255,
                _ => VideoColorRange::Unknown,
            },
            VideoColorMatrix::from_iso(colour.matrix.into()),
            VideoTransferFunction::from_iso(colour.transfer.into()),
            VideoColorPrimaries::from_iso(colour.primaries.into()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_video_is_tagged_with_comes_back() {
        gst::init().unwrap();
        for name in [
            "bt601",
            "bt709",
            "bt2020",
            "bt2020-10",
            "bt2100-pq",
            "bt2100-hlg",
            "1:4:0:0",
        ] {
            let colorimetry: VideoColorimetry = name.parse().unwrap();
            assert_eq!(
                from_stream(to_stream(&colorimetry)),
                Some(colorimetry),
                "{name}"
            );
        }
        assert_eq!(from_stream(Colour::default()), None);
    }
}
