//! GStreamer's frames as pictures of the codec, and back.

use gst_video::{VideoFormat, VideoFrameRef, VideoInfo, prelude::*};
use gstneural_codec::{Format, Picture, Plane, bitstream::Chroma};

/// The formats that the codec takes, and what they are to it.
const FORMATS: [(VideoFormat, Chroma, u8); 7] = [
    (VideoFormat::I420, Chroma::C420, 8),
    (VideoFormat::Y42b, Chroma::C422, 8),
    (VideoFormat::Y444, Chroma::C444, 8),
    (VideoFormat::Gray8, Chroma::Gray, 8),
    (VideoFormat::I42010le, Chroma::C420, 10),
    (VideoFormat::I42210le, Chroma::C422, 10),
    (VideoFormat::Y44410le, Chroma::C444, 10),
];

/// All of them, best known first.
pub(crate) fn formats() -> impl Iterator<Item = VideoFormat> {
    FORMATS.iter().map(|f| f.0)
}

/// What the frames of `info` are to the codec.
pub(crate) fn format_of(info: &VideoInfo) -> Option<Format> {
    let (_, chroma, depth) = FORMATS.iter().find(|f| f.0 == info.format())?;
    Some(Format {
        width: info.width(),
        height: info.height(),
        chroma: *chroma,
        depth: *depth,
    })
}

/// GStreamer's name for the frames of a stream.
pub(crate) fn video_format(format: &Format) -> Option<VideoFormat> {
    FORMATS
        .iter()
        .find(|f| (f.1, f.2) == (format.chroma, format.depth))
        .map(|f| f.0)
}

/// Reads a frame into a picture, whose memory is used again. None if it is not of `format`, or
/// cannot be mapped.
pub(crate) fn read(
    buffer: &gst::BufferRef,
    info: &VideoInfo,
    format: Format,
    picture: &mut Picture,
) -> Option<()> {
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info).ok()?;
    picture.format = format;
    let planes = &mut picture.planes;
    planes.resize_with(format.chroma.planes(), Plane::default);
    for (p, plane) in planes.iter_mut().enumerate() {
        let (width, height) = format.plane_size(p);
        let data = frame.plane_data(u32::try_from(p).ok()?).ok()?;
        let stride = usize::try_from(*frame.plane_stride().get(p)?).ok()?.max(1);
        let samples = &mut plane.samples;
        samples.clear();
        samples.reserve_exact(width * height);
        for row in data.chunks(stride).take(height) {
            if format.depth == 8 {
                samples.extend(row.get(..width)?.iter().map(|&b| u16::from(b)));
            } else {
                let (pairs, _) = row.get(..2 * width)?.as_chunks::<2>();
                // What a source leaves above the ten bits is no picture.
                samples.extend(pairs.iter().map(|&b| u16::from_le_bytes(b) & format.max()));
            }
        }
        if samples.len() != width * height {
            return None;
        }
        (plane.width, plane.height) = (width, height);
    }
    Some(())
}

/// Writes a picture. None if the buffer cannot be mapped or is too small.
pub(crate) fn write(
    picture: &Picture,
    buffer: &mut gst::BufferRef,
    info: &VideoInfo,
) -> Option<()> {
    let mut frame = VideoFrameRef::from_buffer_ref_writable(buffer, info).ok()?;
    for (p, plane) in picture.planes.iter().enumerate() {
        let stride = usize::try_from(*frame.plane_stride().get(p)?).ok()?.max(1);
        let data = frame.plane_data_mut(u32::try_from(p).ok()?).ok()?;
        for (y, row) in data.chunks_mut(stride).take(plane.height).enumerate() {
            let samples = plane.row(y);
            if picture.format.depth == 8 {
                let to = row.get_mut(..samples.len())?;
                for (to, &s) in to.iter_mut().zip(samples) {
                    *to = s as u8;
                }
            } else {
                let (pairs, _) = row.get_mut(..2 * samples.len())?.as_chunks_mut::<2>();
                for (to, &s) in pairs.iter_mut().zip(samples) {
                    *to = s.to_le_bytes();
                }
            }
        }
    }
    Some(())
}
