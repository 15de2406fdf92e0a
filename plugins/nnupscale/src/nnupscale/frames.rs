//! GStreamer's mapped frames as the frames of `gstneural-pixels`.

use gst_video::prelude::*;
use gstneural_pixels::{Color, FrameMut, FrameRef, PixelError, PixelFormat, PlaneMut, PlaneRef};

type Readable<'a> = gst_video::VideoFrameRef<&'a gst::BufferRef>;
type Writable<'a> = gst_video::VideoFrameRef<&'a mut gst::BufferRef>;

fn stride(strides: &[i32], plane: usize) -> usize {
    strides
        .get(plane)
        .and_then(|s| usize::try_from(*s).ok())
        .unwrap_or(0)
}

/// A mapped frame to read.
pub(super) fn read<'a>(
    frame: &'a Readable<'_>,
    format: PixelFormat,
    color: Color,
) -> Result<FrameRef<'a>, PixelError> {
    let data = frame.planes_data();
    let mut planes = [PlaneRef {
        data: &[],
        stride: 0,
    }; 4];
    let count = (frame.n_planes() as usize).min(planes.len());
    for (i, plane) in planes.iter_mut().enumerate().take(count) {
        *plane = PlaneRef {
            data: data[i],
            stride: stride(frame.plane_stride(), i),
        };
    }
    FrameRef::new(
        format,
        frame.width() as usize,
        frame.height() as usize,
        color,
        &planes[..count],
    )
}

/// A mapped frame to write.
pub(super) fn write<'a>(
    frame: &'a mut Writable<'_>,
    format: PixelFormat,
    color: Color,
) -> Result<FrameMut<'a>, PixelError> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let count = frame.n_planes() as usize;
    let strides: [usize; 4] = std::array::from_fn(|i| stride(frame.plane_stride(), i));
    let planes = frame
        .planes_data_mut()
        .into_iter()
        .take(count)
        .zip(strides)
        .map(|(data, stride)| PlaneMut { data, stride });
    FrameMut::new(format, width, height, color, planes)
}
