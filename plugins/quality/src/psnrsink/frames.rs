//! GStreamer's mapped frames as the frames of `gstneural-pixels`.

use gst_video::prelude::*;
use gstneural_pixels::{
    ChromaSite, Color, FrameRef, Matrix, PixelError, PixelFormat, PlaneRef, Range, SiteH, SiteV,
};

/// What belongs to the caps of a stream.
#[derive(Debug, Clone)]
pub(super) struct StreamInfo {
    pub video: gst_video::VideoInfo,
    pub format: PixelFormat,
    pub color: Color,
}

impl StreamInfo {
    pub fn new(caps: &gst::CapsRef) -> Option<Self> {
        use gst_video::{VideoChromaSite as S, VideoColorMatrix as M, VideoColorRange as R};
        let video = gst_video::VideoInfo::from_caps(caps).ok()?;
        let format = PixelFormat::from_name(video.format().to_str().as_str())?;
        let site = match video.chroma_site() {
            site if site.is_empty() => S::H_COSITED,
            site => site,
        };
        // The siting matters to scaling, the rest to networks, which see RGB; all other metrics
        // compare values as they are.
        let colorimetry = video.colorimetry();
        let color = Color {
            matrix: match colorimetry.matrix() {
                M::Bt601 => Matrix::Bt601,
                M::Bt2020 => Matrix::Bt2020,
                M::Fcc => Matrix::Fcc,
                M::Smpte240m => Matrix::Smpte240m,
                _ => Matrix::Bt709,
            },
            range: match colorimetry.range() {
                R::Range0_255 => Range::Full,
                _ => Range::Limited,
            },
            site: ChromaSite {
                h: match site.contains(S::H_COSITED) {
                    true => SiteH::Left,
                    false => SiteH::Center,
                },
                v: match site.contains(S::V_COSITED) {
                    true => SiteV::Top,
                    false => SiteV::Center,
                },
            },
        };
        Some(Self {
            video,
            format,
            color,
        })
    }

    /// Frames a second; None if it varies or is unknown.
    pub fn rate(&self) -> Option<f64> {
        let fps = self.video.fps();
        (fps.numer() > 0 && fps.denom() > 0)
            .then(|| f64::from(fps.numer()) / f64::from(fps.denom()))
    }
}

type Readable<'a> = gst_video::VideoFrameRef<&'a gst::BufferRef>;

/// A mapped frame to read.
pub(super) fn read<'a>(
    frame: &'a Readable<'_>,
    info: &StreamInfo,
) -> Result<FrameRef<'a>, PixelError> {
    let (data, strides) = (frame.planes_data(), frame.plane_stride());
    let mut planes = [PlaneRef {
        data: &[],
        stride: 0,
    }; 4];
    let count = (frame.n_planes() as usize).min(planes.len());
    for (i, plane) in planes.iter_mut().enumerate().take(count) {
        *plane = PlaneRef {
            data: data[i],
            stride: strides
                .get(i)
                .and_then(|s| usize::try_from(*s).ok())
                .unwrap_or(0),
        };
    }
    let (w, h) = (frame.width() as usize, frame.height() as usize);
    FrameRef::new(info.format, w, h, info.color, &planes[..count])
}
