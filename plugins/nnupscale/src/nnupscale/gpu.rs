//! Frames by way of a GPU, wherever they lie: what is in CUDA memory stays there.

use gst_video::VideoFrameRef;
use gstneural_cuda::{Counts, DeviceFrameBuf, GstCudaContext};
use gstneural_inference::{
    Report,
    gpu::{Gpu, GpuFrame, GpuUpscaler},
};
use gstneural_pixels::{Color, PixelFormat};

use super::{
    cuda::{Layout, Mapped},
    frames,
};

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
        }
    }

    /// Frames that went between host and device since the upscaler was made.
    pub fn copies(&self) -> Counts {
        self.gpu.stream().copies()
    }

    /// Upscales the middle frame of a window into `output`, with `weight` of the network; 0 leaves
    /// it out.
    ///
    /// # Errors
    /// A text for users.
    pub fn run(
        &mut self,
        window: &[&gst::BufferRef],
        output: &mut gst::BufferRef,
        sides: Sides<'_>,
        weight: f32,
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
        let text = |e: gstneural_inference::Error| e.to_string();
        let report = if weight > 0.0 {
            let frame = GpuFrame {
                window: &inputs,
                output: to,
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
