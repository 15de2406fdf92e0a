//! Frames by way of a GPU, wherever they lie: what is in CUDA memory stays there.

use gst_video::VideoFrameRef;
use gstneural_cuda::{Counts, DeviceFrameBuf, GstCudaContext};
use gstneural_inference::{
    Report,
    gpu::{Gpu, GpuFrame, GpuPrevious, GpuUpscaler, Unchanged},
};
use gstneural_pixels::{Color, PixelFormat, rect_equal};

use super::{
    cuda::{Layout, Mapped},
    frames,
};

/// Comparisons in vain before fewer are made.
const EAGER: u32 = 8;
/// Frames between two comparisons where none has found anything for long, as a power of two.
const SELDOM: u32 = 5;

/// When frames are compared with the one before. A comparison on the device has to be waited for:
/// where pictures always move, fewer and fewer are made.
#[derive(Debug, Default)]
struct Watch {
    /// Comparisons in a row that found nothing.
    in_vain: u32,
    /// Frames until the next one.
    pause: u32,
}

impl Watch {
    /// Whether the next frame is to be compared.
    fn is_due(&mut self) -> bool {
        let due = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        due
    }

    /// Takes notice of whether a comparison found something.
    fn learn(&mut self, found: bool) {
        self.in_vain = if found {
            0
        } else {
            self.in_vain.saturating_add(1)
        };
        let doublings = self.in_vain.saturating_sub(EAGER - 1).min(SELDOM);
        self.pause = (1 << doublings) - 1;
    }
}

/// A frame before the one that is upscaled, of which parts may be the same.
#[derive(Debug)]
pub(super) struct Earlier<'a> {
    pub unchanged: Unchanged,
    /// Its result.
    pub output: &'a gst::BufferRef,
}

/// An upscaler on the device and what carries frames to it and from it.
#[derive(Debug)]
pub(super) struct Worker {
    pub upscaler: GpuUpscaler,
    gpu: Gpu,
    /// Of frames in CUDA memory that are the network's own; others come through the host.
    context: Option<GstCudaContext>,
    format: PixelFormat,
    color: Color,
    /// Copies of frames that lie elsewhere, for each of a window.
    uploads: Vec<DeviceFrameBuf>,
    /// The result, where it goes elsewhere.
    result: Option<DeviceFrameBuf>,
    watch: Watch,
}

/// Both sides of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides<'a> {
    pub input: &'a gst_video::VideoInfo,
    pub output: &'a gst_video::VideoInfo,
}

impl Worker {
    pub fn new(
        upscaler: GpuUpscaler,
        gpu: Gpu,
        context: Option<GstCudaContext>,
        format: PixelFormat,
        color: Color,
    ) -> Self {
        Self {
            upscaler,
            gpu,
            context,
            format,
            color,
            uploads: Vec::new(),
            result: None,
            watch: Watch::default(),
        }
    }

    /// Which tiles of a frame equal those of the one before, compared where both lie; None if that
    /// is not looked at now, or they lie in different places.
    ///
    /// # Errors
    /// A text for users.
    pub fn unchanged(
        &mut self,
        input: &gst::BufferRef,
        previous: &gst::BufferRef,
        info: &gst_video::VideoInfo,
    ) -> Result<Option<Unchanged>, String> {
        if !self.watch.is_due() {
            return Ok(None);
        }
        let on_device = (
            Mapped::read(input, self.layout(info))?,
            Mapped::read(previous, self.layout(info))?,
        );
        let unchanged = match on_device {
            (Some(a), Some(b)) => {
                let unchanged = self.upscaler.unchanged(&a.frame(), &b.frame());
                unchanged.map_err(|e| e.to_string())?
            }
            (None, None) => {
                let map = |b| {
                    VideoFrameRef::from_buffer_ref_readable(b, info)
                        .map_err(|_| "an input buffer could not be mapped".to_owned())
                };
                let (a, b) = (map(input)?, map(previous)?);
                let read = |f| frames::read(f, self.format, self.color).map_err(|e| e.to_string());
                let (a, b) = (read(&a)?, read(&b)?);
                let areas = self.upscaler.areas().iter();
                Unchanged::new(areas.map(|area| rect_equal(&a, &b, *area)))
            }
            _ => return Ok(None),
        };
        self.watch.learn(unchanged.is_any());
        Ok(Some(unchanged))
    }

    /// Frames that went between host and device since the upscaler was made.
    pub fn copies(&self) -> Counts {
        self.gpu.stream().copies()
    }

    /// Upscales the middle frame of a window into `output`, with `weight` of the network; 0 leaves
    /// it out. What did not change since `earlier`, the last frame that came out of here, is taken
    /// from its result.
    ///
    /// # Errors
    /// A text for users.
    pub fn run(
        &mut self,
        window: &[&gst::BufferRef],
        output: &mut gst::BufferRef,
        sides: Sides<'_>,
        weight: f32,
        earlier: Option<Earlier<'_>>,
    ) -> Result<Option<Report>, String> {
        let mut held = Vec::with_capacity(window.len());
        let mut inputs = Vec::with_capacity(window.len());
        for (at, buffer) in window.iter().enumerate() {
            match Mapped::read(buffer, self.layout(sides.input))? {
                Some(mapped) => {
                    inputs.push(mapped.frame());
                    held.push(mapped);
                }
                None => inputs.push(self.upload(at, buffer, sides.input)?),
            }
        }
        let target = Mapped::write(output, self.layout(sides.output))?;
        let to = match &target {
            Some(mapped) => mapped.frame(),
            None => self.result(sides.output)?,
        };
        let before = match &earlier {
            Some(earlier) => Mapped::read(earlier.output, self.layout(sides.output))?,
            None => None,
        };
        // A result that went elsewhere is still here.
        let kept = self.result.as_ref().map(DeviceFrameBuf::frame);
        let kept = before.as_ref().map(Mapped::frame).or(kept);
        let previous = earlier
            .as_ref()
            .zip(kept)
            .map(|(earlier, output)| GpuPrevious {
                unchanged: &earlier.unchanged,
                output,
            });
        let text = |e: gstneural_inference::Error| e.to_string();
        let report = if weight > 0.0 {
            let frame = GpuFrame {
                window: &inputs,
                output: to,
                previous,
            };
            Some(self.upscaler.run(frame, weight).map_err(text)?)
        } else {
            if let Some(input) = inputs.get(inputs.len() / 2) {
                self.upscaler.run_classical(input, &to).map_err(text)?;
            }
            None
        };
        let elsewhere = target.is_none();
        drop(target);
        if elsewhere {
            let mut frame = VideoFrameRef::from_buffer_ref_writable(output, sides.output)
                .map_err(|_| "an output buffer could not be mapped")?;
            let mut frame =
                frames::write(&mut frame, self.format, self.color).map_err(|e| e.to_string())?;
            to.download(self.gpu.stream(), &mut frame)
                .map_err(|e| e.to_string())?;
        }
        Ok(report)
    }

    fn layout<'a>(&'a self, info: &'a gst_video::VideoInfo) -> Layout<'a> {
        Layout {
            info,
            format: self.format,
            color: self.color,
            context: self.context.as_ref(),
        }
    }

    fn buffer(&self, info: &gst_video::VideoInfo) -> Result<DeviceFrameBuf, String> {
        let (w, h) = (info.width() as usize, info.height() as usize);
        DeviceFrameBuf::new(self.gpu.device(), self.format, w, h, self.color)
            .map_err(|e| e.to_string())
    }

    /// Copies a frame to the device.
    fn upload(
        &mut self,
        at: usize,
        buffer: &gst::BufferRef,
        info: &gst_video::VideoInfo,
    ) -> Result<gstneural_cuda::DeviceFrame, String> {
        while self.uploads.len() <= at {
            self.uploads.push(self.buffer(info)?);
        }
        let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info)
            .map_err(|_| "an input buffer could not be mapped: it is smaller than its caps say")?;
        let frame = frames::read(&frame, self.format, self.color).map_err(|e| e.to_string())?;
        let to = self.uploads.get(at).ok_or("no room for an input")?.frame();
        to.upload(self.gpu.stream(), &frame)
            .map_err(|e| e.to_string())?;
        Ok(to)
    }

    fn result(
        &mut self,
        info: &gst_video::VideoInfo,
    ) -> Result<gstneural_cuda::DeviceFrame, String> {
        if self.result.is_none() {
            self.result = Some(self.buffer(info)?);
        }
        Ok(self
            .result
            .as_ref()
            .ok_or("no room for the result")?
            .frame())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_always_moves_is_seldom_compared() {
        let mut watch = Watch::default();
        let mut asked = |frames: usize, still: bool| {
            let due = (0..frames).filter(|_| {
                let due = watch.is_due();
                if due {
                    watch.learn(still);
                }
                due
            });
            due.count()
        };
        assert_eq!(asked(8, false), 8);
        let seldom = asked(960, false);
        assert!((30..=40).contains(&seldom), "{seldom}");
        // A still picture is noticed within 32 frames, and then each one is.
        assert!(asked(32, true) >= 1);
        assert_eq!(asked(50, true), 50);
    }
}
