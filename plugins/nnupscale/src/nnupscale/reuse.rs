//! Work that is saved: what did not change since the frame before is not upscaled again.

use gst_base::subclass::prelude::*;
use gst_video::{VideoFrameRef, prelude::*};
use gstneural_inference::gpu::Unchanged;
use gstneural_pixels::{Rect, rect_equal};

use super::{
    frames,
    imp::NnUpscale,
    work::{Stream, Worker},
};

/// What is known of a frame before it is upscaled.
pub(super) enum Known {
    Nothing,
    /// Tiles that did not change.
    Parts(Unchanged),
    /// Everything.
    Result(gst::Buffer),
}

impl NnUpscale {
    /// What is known of the next frame beside the one before; the same memory as its result for one
    /// that equals it.
    pub(super) fn repeat(
        &self,
        stream: &mut Stream,
        count: usize,
        weight: f32,
    ) -> Result<Known, gst::FlowError> {
        let Some((last_in, last_out)) = &stream.previous else {
            return Ok(Known::Nothing);
        };
        let Some(input) = stream.inputs.get(stream.next) else {
            return Ok(Known::Nothing);
        };
        let usable =
            stream.worker.is_reusable() && weight >= 1.0 && count == 1 && stream.window == 1;
        if !usable {
            return Ok(Known::Nothing);
        }
        match &mut stream.worker {
            Worker::Gpu(worker) => {
                let unchanged = worker.unchanged(input, last_in, &stream.in_info);
                match unchanged.map_err(|e| self.error(&e))? {
                    Some(unchanged) if !unchanged.is_whole() => {
                        return Ok(Known::Parts(unchanged));
                    }
                    None => return Ok(Known::Nothing),
                    Some(_) => {}
                }
            }
            Worker::Cpu(_) => {
                let (Ok(a), Ok(b)) = (
                    VideoFrameRef::from_buffer_ref_readable(input, &stream.in_info),
                    VideoFrameRef::from_buffer_ref_readable(last_in, &stream.in_info),
                ) else {
                    return Err(self.map_error("input"));
                };
                let whole = Rect {
                    x: 0,
                    y: 0,
                    w: a.width() as usize,
                    h: a.height() as usize,
                };
                let read =
                    |f| frames::read(f, stream.format, stream.color).map_err(|e| self.error(&e));
                if !rect_equal(&read(&a)?, &read(&b)?, whole) {
                    return Ok(Known::Nothing);
                }
            }
        }
        let mut out = last_out
            .copy_region(gst::BufferCopyFlags::MEMORY, ..)
            .map_err(|e| self.error(&e))?;
        let to = out.make_mut();
        if let Some(meta) = last_out.meta::<gst_video::VideoMeta>() {
            // Where planes lie in that memory.
            gst_video::VideoMeta::add_full(
                to,
                meta.video_frame_flags(),
                meta.format(),
                meta.width(),
                meta.height(),
                meta.offset(),
                meta.stride(),
            )
            .map_err(|e| self.error(&e))?;
        }
        self.parent_copy_metadata(input, to)
            .map_err(|e| self.error(&e))?;
        Ok(Known::Result(out))
    }
}
