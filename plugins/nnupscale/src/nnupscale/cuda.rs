//! GStreamer's CUDA memory and contexts, by the binding of `gstneural-cuda`.
//!
//! The only module of this plugin with unsafe code: GStreamer's objects go through C here.

use std::{marker::PhantomData, ptr, sync::Mutex};

use gst::{ffi, glib::translate::*, prelude::*};
use gst_video::VideoFormat;
use gstneural_cuda::{
    ContextCell, Device, DeviceFrame, DevicePlane, GST_MAP_CUDA, GstCuda, GstCudaContext,
};
use gstneural_pixels::{Color, PixelFormat};

use super::imp::lock;

/// The caps feature of frames in CUDA memory.
pub(super) const FEATURE: &str = "memory:CUDAMemory";
/// The type of contexts that elements share.
pub(super) const CONTEXT: &str = "gst.cuda.context";
/// Formats that libgstcuda has memory for and that the kernels are tested on.
pub(super) const FORMATS: [VideoFormat; 4] = [
    VideoFormat::Nv12,
    VideoFormat::P01010le,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
];

/// The library, where there is a GPU and a libgstcuda that accepts it.
pub(super) fn library() -> Option<&'static GstCuda> {
    GstCuda::load().ok()
}

/// An element's context, shared with its neighbours.
#[derive(Debug, Default)]
pub(super) struct Link {
    cell: ContextCell,
}

impl Link {
    /// Takes a context that the application or a neighbour gives; true if it is one of CUDA.
    pub fn take(&self, element: &gst::Element, context: &gst::Context) -> bool {
        if context.context_type() != CONTEXT {
            return false;
        }
        let Some(library) = library() else {
            return false;
        };
        let element: *mut ffi::GstElement = element.to_glib_none().0;
        // SAFETY: an element and a context of GStreamer's, both alive.
        unsafe {
            let context = context.as_ptr().cast_mut().cast();
            library.handle_set_context(element.cast(), context, -1, &self.cell)
        }
    }

    /// The context of `device`'s primary context: the element's own, a neighbour's, the
    /// application's, else a new one, which others are told of.
    ///
    /// # Errors
    /// What libgstcuda says.
    pub fn context(
        &self,
        element: &gst::Element,
        device: &Device,
    ) -> gstneural_cuda::Result<GstCudaContext> {
        GstCuda::load()?;
        if let Some(found) = self.fitting(device) {
            return Ok(found);
        }
        for pads in [element.src_pads(), element.sink_pads()] {
            for pad in pads {
                let mut query = gst::query::Context::new(CONTEXT);
                if pad.peer_query(&mut query)
                    && let Some(context) = query.context_owned()
                {
                    self.offer(element, &context, device);
                }
            }
            if let Some(found) = self.fitting(device) {
                return Ok(found);
            }
        }
        // Whoever answers does it by `set_context`, before this returns.
        let message = gst::message::NeedContext::builder(CONTEXT)
            .src(element)
            .build();
        let _ = element.post_message(message);
        if let Some(found) = self.fitting(device) {
            return Ok(found);
        }
        self.make(element, device)
    }

    /// A new context, which others are told of.
    ///
    /// # Errors
    /// What libgstcuda says.
    pub fn make(
        &self,
        element: &gst::Element,
        device: &Device,
    ) -> gstneural_cuda::Result<GstCudaContext> {
        if let Some(found) = self.fitting(device) {
            return Ok(found);
        }
        let library = GstCuda::load()?;
        let own = shared(library, device)?;
        self.cell.set(Some(own.clone()));
        let raw = library.new_gst_context(&own);
        // SAFETY: a GstContext that is ours to keep.
        let context: gst::Context = unsafe { from_glib_full(raw.cast::<ffi::GstContext>()) };
        element.set_context(&context);
        let message = gst::message::HaveContext::builder(context)
            .src(element)
            .build();
        let _ = element.post_message(message);
        Ok(own)
    }

    /// The element's context if it is of the device's primary context, the one that the network
    /// runs in.
    fn fitting(&self, device: &Device) -> Option<GstCudaContext> {
        self.cell.get().ok().flatten().filter(|c| c.is_of(device))
    }

    /// Takes a neighbour's context, in place of one that does not fit.
    fn offer(&self, element: &gst::Element, context: &gst::Context, device: &Device) {
        if self.fitting(device).is_none() {
            self.cell.set(None);
            self.take(element, context);
        }
    }

    /// Answers a query for a context; true if it was answered.
    pub fn answer(&self, element: &gst::Element, query: &mut gst::QueryRef) -> bool {
        let (Some(library), Ok(Some(context))) = (library(), self.cell.get()) else {
            return false;
        };
        let element: *mut ffi::GstElement = element.to_glib_none().0;
        // SAFETY: an element and a writable context query of GStreamer's, both alive.
        unsafe { library.handle_context_query(element.cast(), query.as_mut_ptr().cast(), &context) }
    }

    /// Lets go of the context.
    pub fn clear(&self) {
        self.cell.set(None);
    }
}

/// The one object of this process that stands for a device's primary context: neighbours of two
/// elements of ours find the same one, and encoders compare objects.
fn shared(library: &'static GstCuda, device: &Device) -> gstneural_cuda::Result<GstCudaContext> {
    static ALL: Mutex<Vec<(usize, GstCudaContext)>> = Mutex::new(Vec::new());
    let mut all = lock(&ALL);
    if let Some((_, found)) = all.iter().find(|(ordinal, _)| *ordinal == device.ordinal()) {
        return Ok(found.clone());
    }
    let made = library.wrap(device)?;
    all.push((device.ordinal(), made.clone()));
    Ok(made)
}

/// A pool of frames in `context`, configured; and the size of its buffers.
///
/// # Errors
/// What libgstcuda says, or that it refuses the caps.
pub(super) fn pool(
    context: &GstCudaContext,
    caps: &gst::Caps,
    size: u32,
    least: u32,
) -> Result<(gst::BufferPool, u32), String> {
    let library = GstCuda::load().map_err(|e| e.to_string())?;
    let raw = library
        .new_buffer_pool(context)
        .map_err(|e| e.to_string())?;
    // SAFETY: a GstBufferPool that is ours to keep.
    let pool: gst::BufferPool =
        unsafe { from_glib_full(raw.as_ptr().cast::<ffi::GstBufferPool>()) };
    let mut config = pool.config();
    config.set_params(Some(caps), size, least, 0);
    config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META.as_str());
    pool.set_config(config)
        .map_err(|e| format!("a pool for {caps}: {e}"))?;
    // Pitches make buffers larger than their caps say.
    let size = pool.config().params().map_or(size, |(_, size, _, _)| size);
    Ok((pool, size))
}

/// A buffer mapped for the device.
#[derive(Debug)]
pub(super) struct Mapped<'a> {
    buffer: *mut ffi::GstBuffer,
    map: ffi::GstMapInfo,
    frame: DeviceFrame,
    of: PhantomData<&'a gst::BufferRef>,
}

/// How the frames of one pad are understood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout<'a> {
    pub info: &'a gst_video::VideoInfo,
    pub format: PixelFormat,
    pub color: Color,
    /// Memory of another context is not mapped.
    pub context: Option<&'a GstCudaContext>,
}

impl<'a> Mapped<'a> {
    /// Maps a buffer to be read; None if its memory lies elsewhere.
    ///
    /// # Errors
    /// If it cannot be mapped, or is smaller than its caps say.
    pub fn read(buffer: &'a gst::BufferRef, layout: Layout<'_>) -> Result<Option<Self>, String> {
        Self::new(
            buffer,
            buffer.as_ptr().cast_mut(),
            ffi::GST_MAP_READ,
            layout,
        )
    }

    /// Maps a buffer to be written; None if its memory lies elsewhere.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn write(
        buffer: &'a mut gst::BufferRef,
        layout: Layout<'_>,
    ) -> Result<Option<Self>, String> {
        let raw = buffer.as_mut_ptr();
        Self::new(buffer, raw, ffi::GST_MAP_WRITE, layout)
    }

    fn new(
        buffer: &'a gst::BufferRef,
        raw: *mut ffi::GstBuffer,
        access: ffi::GstMapFlags,
        layout: Layout<'_>,
    ) -> Result<Option<Self>, String> {
        let (Some(library), Some(context)) = (library(), layout.context) else {
            return Ok(None);
        };
        if buffer.n_memory() != 1 {
            return Ok(None);
        }
        let memory = buffer.peek_memory(0).as_ptr().cast_mut();
        // SAFETY: a GstMemory that lives as long as the buffer.
        unsafe {
            // Several objects may stand for one context.
            let of = library.memory_handle(memory.cast());
            if of != Some(context.handle()) {
                return Ok(None);
            }
            library.memory_sync(memory.cast());
        }
        let mut map = EMPTY;
        // SAFETY: the buffer lives while this does, and is the caller's alone where it is written.
        if unsafe { ffi::gst_buffer_map(raw, &mut map, access | GST_MAP_CUDA) } == 0 {
            return Err("a buffer in CUDA memory could not be mapped".into());
        }
        let address = map.data as usize as u64;
        let planes = planes(buffer, layout.info, address, map.size);
        let size = (layout.info.width() as usize, layout.info.height() as usize);
        match DeviceFrame::new(layout.format, size.0, size.1, layout.color, &planes) {
            Ok(frame) => Ok(Some(Self {
                buffer: raw,
                map,
                frame,
                of: PhantomData,
            })),
            Err(e) => {
                // SAFETY: mapped above.
                unsafe { ffi::gst_buffer_unmap(raw, &mut map) };
                Err(e.to_string())
            }
        }
    }

    /// The frame, valid while this lives.
    pub fn frame(&self) -> DeviceFrame {
        self.frame
    }
}

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, undone once; the buffer outlives this.
        unsafe { ffi::gst_buffer_unmap(self.buffer, &mut self.map) };
    }
}

const EMPTY: ffi::GstMapInfo = ffi::GstMapInfo {
    memory: ptr::null_mut(),
    flags: 0,
    data: ptr::null_mut(),
    size: 0,
    maxsize: 0,
    user_data: [ptr::null_mut(); 4],
    _gst_reserved: [ptr::null_mut(); 4],
};

/// Where the planes lie: what the buffer's meta says, else what its caps do.
fn planes(
    buffer: &gst::BufferRef,
    info: &gst_video::VideoInfo,
    address: u64,
    size: usize,
) -> Vec<DevicePlane> {
    let plane = |offset: usize, stride: i32| DevicePlane {
        address: address + offset as u64,
        pitch: usize::try_from(stride).unwrap_or(0),
        bytes: size.saturating_sub(offset),
    };
    let both = |offsets: &[usize], strides: &[i32]| {
        offsets
            .iter()
            .zip(strides)
            .map(|(o, s)| plane(*o, *s))
            .collect()
    };
    match buffer.meta::<gst_video::VideoMeta>() {
        Some(meta) => both(meta.offset(), meta.stride()),
        None => both(info.offset(), info.stride()),
    }
}
