//! A stream that is being decoded: what it is, and what its frames are to GStreamer.

use gst_video::VideoInfo;
use gstneural_codec::{Decoded, Decoder, Format, Picture, bitstream::hex};

use crate::{
    coding::UsedGpu,
    colour, pictures,
    preface::{self, Description},
};

/// A stream.
pub(super) struct Stream {
    pub decoder: Decoder,
    /// The GPU that it uses.
    pub gpu: UsedGpu,
    /// What its `codec_data` was.
    pub codec_data: Vec<u8>,
    /// What `codec_data` does not say of it.
    pub description: Description,
    /// The caps of its frames.
    pub caps: gst::Caps,
    pub info: VideoInfo,
    /// The last picture, which stands in for one that cannot be decoded.
    pub last: Option<Picture>,
    /// The memory of the frame before it, for the next one.
    pub spare: Decoded,
    /// The number of the last frame since a keyframe.
    pub last_number: Option<u32>,
    /// Whether a keyframe has been asked for since the last one.
    pub asked: bool,
}

impl Stream {
    /// Keeps the picture that was shown.
    pub fn shown(&mut self, picture: Picture) {
        if let Some(before) = self.last.replace(picture) {
            self.spare.picture = before;
        }
    }

    /// `input` is what the container says, which goes before the stream where it knows more.
    ///
    /// # Errors
    /// A sentence that says what is not supported.
    pub fn new(
        (decoder, gpu): (Decoder, UsedGpu),
        codec_data: &[u8],
        description: Description,
        input: Option<&gst::StructureRef>,
    ) -> Result<Self, String> {
        let header = decoder.header();
        let format = Format::of(header);
        let unknown = || {
            format!(
                "GStreamer has no name for frames of {format} (model {})",
                hex(&header.model)
            )
        };
        let video_format = pictures::video_format(&format).ok_or_else(unknown)?;
        let of_container = input.and_then(|s| s.get::<gst::Fraction>("framerate").ok());
        let fps = match of_container.filter(|f| f.numer() > 0) {
            Some(fps) => fps,
            None => match (i32::try_from(header.fps.0), i32::try_from(header.fps.1)) {
                (Ok(n), Ok(d @ 1..)) => gst::Fraction::new(n, d),
                _ => gst::Fraction::new(0, 1),
            },
        };
        let colorimetry = colour::from_stream(header.colour);
        let plain = VideoInfo::builder(video_format, format.width, format.height)
            .fps(fps)
            .colorimetry_if_some(colorimetry.as_ref())
            .build()
            .and_then(|info| info.to_caps())
            .map_err(|_| unknown())?;
        let mut caps = plain.clone();
        if let Some(s) = caps.make_mut().structure_mut(0) {
            preface::apply(&description, s);
        }
        // A description that makes no sense is left out as a whole.
        let (caps, info) = match VideoInfo::from_caps(&caps) {
            Ok(info) => (caps, info),
            Err(_) => {
                let info = VideoInfo::from_caps(&plain).map_err(|_| unknown())?;
                (plain, info)
            }
        };
        Ok(Self {
            decoder,
            gpu,
            codec_data: codec_data.to_vec(),
            description,
            caps,
            info,
            last: None,
            spare: Decoded::default(),
            last_number: None,
            asked: false,
        })
    }
}
