//! Run-time binding to GStreamer's libgstcuda (1.22 or newer), which decoders, encoders and this
//! project share a context and memory by.
//!
//! The library's interface is declared unstable: only functions that 1.22 and 1.24 have alike are
//! used, what 1.24 added is looked up apart, and `gst_cuda_allocator_alloc`, which changed, is not
//! touched. GStreamer's objects are raw pointers here, since nothing in core knows GStreamer;
//! `tests/headers.rs` compares every prototype and offset with the installed headers.

use std::{
    ffi::{c_char, c_int, c_void},
    ptr::NonNull,
    sync::{
        OnceLock,
        atomic::{AtomicPtr, Ordering},
    },
};

use libloading::Library;

use crate::{
    device::Device,
    driver::available,
    error::{Error, Result},
};

/// `GST_MAP_CUDA`: mapped with it, a memory's `data` is its device address (`CUdeviceptr`).
pub const GST_MAP_CUDA: u32 = 0x20000;

/// The caps feature of video in device memory.
pub const CUDA_MEMORY: &str = "memory:CUDAMemory";

/// The type of the context that elements share it by.
pub const CUDA_CONTEXT_TYPE: &str = "gst.cuda.context";

/// Where `GstCudaMemory.context` lies, in bytes: behind its `GstMemory`.
pub const MEMORY_CONTEXT: usize = 112;

type Boolean = c_int;

macro_rules! table {
    ($(#[$doc:meta])* $table:ident { $($name:ident: fn($($arg:ty),*) $(-> $out:ty)?,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        struct $table { $($name: unsafe extern "C" fn($($arg),*) $(-> $out)?,)* }

        impl $table {
            /// Looks up every function, or says which is missing.
            fn find(library: &Library) -> std::result::Result<Self, &'static str> {
                Ok(Self { $(
                    // SAFETY: the type is the function's own; tests/headers.rs compares it with
                    // the header.
                    $name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                        .map_err(|_| stringify!($name))?,
                )* })
            }

            #[cfg(test)]
            #[allow(dead_code)]
            const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];
        }
    };
}

table! {
    /// What 1.22 and later have alike.
    Functions {
        gst_cuda_load_library: fn() -> Boolean,
        gst_cuda_memory_init_once: fn(),
        gst_cuda_context_new_wrapped: fn(*mut c_void, c_int) -> *mut c_void,
        gst_cuda_context_get_handle: fn(*mut c_void) -> *mut c_void,
        gst_cuda_context_get_type: fn() -> usize,
        gst_cuda_ensure_element_context: fn(*mut c_void, c_int, *mut *mut c_void) -> Boolean,
        gst_cuda_handle_set_context: fn(*mut c_void, *mut c_void, c_int, *mut *mut c_void) -> Boolean,
        gst_cuda_handle_context_query: fn(*mut c_void, *mut c_void, *mut c_void) -> Boolean,
        gst_context_new_cuda_context: fn(*mut c_void) -> *mut c_void,
        gst_is_cuda_memory: fn(*mut c_void) -> Boolean,
        gst_cuda_buffer_pool_new: fn(*mut c_void) -> *mut c_void,
    }
}

table! {
    /// What 1.24 added.
    Newer {
        gst_cuda_memory_sync: fn(*mut c_void),
        gst_cuda_memory_get_stream: fn(*mut c_void) -> *mut c_void,
        gst_cuda_stream_get_handle: fn(*mut c_void) -> *mut c_void,
    }
}

table! {
    /// Of GStreamer's core.
    Core {
        gst_object_ref: fn(*mut c_void) -> *mut c_void,
        gst_object_unref: fn(*mut c_void),
    }
}

type Destroy = unsafe extern "C" fn(*mut c_void);

table! {
    /// Of GObject.
    Objects {
        g_object_set_data_full: fn(*mut c_void, *const c_char, *mut c_void, Option<Destroy>),
    }
}

/// libgstcuda, loaded.
#[derive(Debug)]
pub struct GstCuda {
    functions: Functions,
    newer: Option<Newer>,
    core: Core,
    objects: Objects,
}

impl GstCuda {
    /// The library's functions, whether or not there is a GPU. It is loaded once.
    ///
    /// # Errors
    /// [`Error::GstCuda`] if it is not installed or lacks a function.
    pub fn library() -> Result<&'static Self> {
        static LOADED: OnceLock<std::result::Result<GstCuda, String>> = OnceLock::new();
        LOADED
            .get_or_init(Self::open)
            .as_ref()
            .map_err(|e| Error::GstCuda(e.clone()))
    }

    /// The library, ready for use: CUDA is available and the library has found it too. GStreamer
    /// must have been initialised.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a GPU, [`Error::GstCuda`] if the library is missing or does
    /// not find the driver.
    pub fn load() -> Result<&'static Self> {
        available()?;
        let this = Self::library()?;
        static READY: OnceLock<bool> = OnceLock::new();
        // SAFETY: the prototypes are the header's; both may be called from any thread.
        let ready = READY.get_or_init(|| unsafe {
            let loaded = (this.functions.gst_cuda_load_library)() != 0;
            if loaded {
                (this.functions.gst_cuda_memory_init_once)();
            }
            loaded
        });
        match ready {
            true => Ok(this),
            false => Err(Error::GstCuda(
                "libgstcuda-1.0 does not accept this NVIDIA driver (GST_DEBUG=cuda*:4 says why)"
                    .into(),
            )),
        }
    }

    fn open() -> std::result::Result<Self, String> {
        let open = |name: &str, package: &str| {
            // SAFETY: GStreamer's own libraries, whose initialisers any program may run.
            unsafe { Library::new(name) }
                .map_err(|e| format!("{name} cannot be loaded ({e}); Debian: {package}"))
        };
        let gone = |symbol: &str| format!("libgstcuda-1.0 lacks {symbol}; 1.22 or newer is needed");
        let core = open("libgstreamer-1.0.so.0", "libgstreamer1.0-0")?;
        let objects = open("libgobject-2.0.so.0", "libglib2.0-0")?;
        let library = open("libgstcuda-1.0.so.0", "libgstreamer-plugins-bad1.0-0")?;
        let this = Self {
            functions: Functions::find(&library).map_err(gone)?,
            newer: Newer::find(&library).ok(),
            core: Core::find(&core).map_err(gone)?,
            objects: Objects::find(&objects).map_err(gone)?,
        };
        // Types that GObject knows must never be unloaded.
        std::mem::forget((library, core, objects));
        Ok(this)
    }

    /// True for 1.24 or newer, whose memory carries the stream that writes it.
    pub fn has_streams(&self) -> bool {
        self.newer.is_some()
    }

    /// The `GType` of `GstCudaContext`.
    pub fn context_type(&self) -> usize {
        // SAFETY: takes nothing, registers the type once.
        unsafe { (self.functions.gst_cuda_context_get_type)() }
    }

    /// Wraps the device's primary context as a `GstCudaContext`, for other elements to share. The
    /// object keeps the device open for as long as anybody holds it.
    ///
    /// # Errors
    /// [`Error::GstCuda`] if the library refuses.
    pub fn wrap(&'static self, device: &Device) -> Result<GstCudaContext> {
        // SAFETY: the context is retained by `device`, of which the object gets a handle below.
        let raw = unsafe {
            (self.functions.gst_cuda_context_new_wrapped)(device.raw_context(), device.raw_device())
        };
        let Some(raw) = NonNull::new(raw) else {
            return Err(Error::GstCuda(format!(
                "the context of GPU {} ({}) is refused",
                device.ordinal(),
                device.name()
            )));
        };
        unsafe extern "C" fn close(device: *mut c_void) {
            // SAFETY: made by `Box::into_raw` below, given to GObject once.
            drop(unsafe { Box::from_raw(device.cast::<Device>()) });
        }
        let kept = Box::into_raw(Box::new(device.clone()));
        // SAFETY: a GObject of our own; it calls `close` when it is finalised.
        unsafe {
            (self.objects.g_object_set_data_full)(
                raw.as_ptr(),
                c"gst-neural-device".as_ptr(),
                kept.cast(),
                Some(close),
            );
        }
        Ok(GstCudaContext { raw, library: self })
    }

    /// Takes over a reference to a `GstCudaContext`; None for null.
    ///
    /// # Safety
    /// `raw` must be null or a `GstCudaContext` of which the caller gives one reference away.
    pub unsafe fn context_from_full(&'static self, raw: *mut c_void) -> Option<GstCudaContext> {
        NonNull::new(raw).map(|raw| GstCudaContext { raw, library: self })
    }

    /// Searches a context for an element as C elements do: downstream, upstream, then the
    /// application, which answer by `GstElement::set_context`; that has to call
    /// [`Self::handle_set_context`] with the same `cell`. True if there is one afterwards.
    ///
    /// If nobody has one, the library makes one itself, and **not** of the primary context: who
    /// wants that searches with GStreamer's own queries and ends with [`Self::wrap`].
    ///
    /// # Safety
    /// `element` must be a `GstElement`.
    pub unsafe fn ensure_element_context(
        &self,
        element: *mut c_void,
        device_id: i32,
        cell: &ContextCell,
    ) -> bool {
        let place = cell.place.as_ptr();
        // SAFETY: as the caller promises; the cell holds null or one reference, before and after.
        unsafe { (self.functions.gst_cuda_ensure_element_context)(element, device_id, place) != 0 }
    }

    /// For `GstElement::set_context`: puts the context of `gst_context` into `cell` if it is one of
    /// CUDA and of device `device_id` (-1: any) and the cell is empty. True if the cell holds one of
    /// these afterwards.
    ///
    /// # Safety
    /// `element` must be a `GstElement`, `gst_context` a `GstContext`.
    pub unsafe fn handle_set_context(
        &self,
        element: *mut c_void,
        gst_context: *mut c_void,
        device_id: i32,
        cell: &ContextCell,
    ) -> bool {
        let place = cell.place.as_ptr();
        // SAFETY: as the caller promises; the cell holds null or one reference, before and after.
        unsafe {
            (self.functions.gst_cuda_handle_set_context)(element, gst_context, device_id, place)
                != 0
        }
    }

    /// Answers a CONTEXT query with `context`. True if it was answered.
    ///
    /// # Safety
    /// `element` must be a `GstElement`, `query` a writable `GstQuery` of type CONTEXT.
    pub unsafe fn handle_context_query(
        &self,
        element: *mut c_void,
        query: *mut c_void,
        context: &GstCudaContext,
    ) -> bool {
        // SAFETY: as the caller promises; the context lives.
        let answered = unsafe {
            (self.functions.gst_cuda_handle_context_query)(element, query, context.as_ptr())
        };
        answered != 0
    }

    /// A new `GstContext` (the caller owns it) that holds `context`, to be posted or set.
    pub fn new_gst_context(&self, context: &GstCudaContext) -> *mut c_void {
        // SAFETY: the context lives; the result holds a reference of its own.
        unsafe { (self.functions.gst_context_new_cuda_context)(context.as_ptr()) }
    }

    /// Whether a memory is CUDA's.
    ///
    /// # Safety
    /// `memory` must be a `GstMemory`.
    pub unsafe fn is_cuda_memory(&self, memory: *mut c_void) -> bool {
        // SAFETY: as the caller promises.
        unsafe { (self.functions.gst_is_cuda_memory)(memory) != 0 }
    }

    /// The `GstCudaContext` that a memory belongs to (borrowed); None if it is not CUDA's.
    ///
    /// # Safety
    /// `memory` must be a `GstMemory`.
    pub unsafe fn memory_context(&self, memory: *mut c_void) -> Option<NonNull<c_void>> {
        // SAFETY: as the caller promises; the field lies there in a GstCudaMemory of 1.22 and 1.24.
        unsafe {
            if !self.is_cuda_memory(memory) {
                return None;
            }
            NonNull::new(memory.byte_add(MEMORY_CONTEXT).cast::<*mut c_void>().read())
        }
    }

    /// The `CUcontext` that a memory belongs to; None if it is not CUDA's.
    ///
    /// # Safety
    /// `memory` must be a `GstMemory`.
    pub unsafe fn memory_handle(&self, memory: *mut c_void) -> Option<*mut c_void> {
        // SAFETY: as the caller promises; the memory keeps its context alive.
        unsafe {
            let context = self.memory_context(memory)?;
            Some((self.functions.gst_cuda_context_get_handle)(
                context.as_ptr(),
            ))
        }
    }

    /// With 1.24 or newer: waits for the stream that writes a memory. Before, elements do that
    /// themselves.
    ///
    /// # Safety
    /// `memory` must be a `GstMemory` for which [`Self::is_cuda_memory`] holds.
    pub unsafe fn memory_sync(&self, memory: *mut c_void) {
        if let Some(newer) = &self.newer {
            // SAFETY: as the caller promises.
            unsafe { (newer.gst_cuda_memory_sync)(memory) };
        }
    }

    /// With 1.24 or newer: the `CUstream` that writes a memory; null for the default one.
    ///
    /// # Safety
    /// As [`Self::memory_sync`].
    pub unsafe fn memory_stream(&self, memory: *mut c_void) -> *mut c_void {
        let Some(newer) = &self.newer else {
            return std::ptr::null_mut();
        };
        // SAFETY: as the caller promises; a stream that is there has a handle.
        unsafe {
            let stream = (newer.gst_cuda_memory_get_stream)(memory);
            if stream.is_null() {
                return std::ptr::null_mut();
            }
            (newer.gst_cuda_stream_get_handle)(stream)
        }
    }

    /// A new `GstBufferPool` (the caller owns it) of memory in `context`. Read the buffers' size
    /// back after its configuration was set: 1.22 changes it.
    ///
    /// # Errors
    /// [`Error::GstCuda`] if there is none.
    pub fn new_buffer_pool(&self, context: &GstCudaContext) -> Result<NonNull<c_void>> {
        // SAFETY: the context lives.
        let pool = unsafe { (self.functions.gst_cuda_buffer_pool_new)(context.as_ptr()) };
        NonNull::new(pool).ok_or_else(|| Error::GstCuda("no buffer pool is to be had".into()))
    }
}

/// The place where an element keeps its context, which the library's functions write to. To be
/// changed under the element's own lock, as C elements do.
#[derive(Debug, Default)]
pub struct ContextCell {
    /// Null, or an object with one reference of the cell's own.
    place: AtomicPtr<c_void>,
}

impl ContextCell {
    /// What it holds.
    ///
    /// # Errors
    /// [`Error::GstCuda`] if the library is missing.
    pub fn get(&self) -> Result<Option<GstCudaContext>> {
        let library = GstCuda::library()?;
        let Some(raw) = NonNull::new(self.place.load(Ordering::Acquire)) else {
            return Ok(None);
        };
        // SAFETY: the cell's own reference keeps the object alive.
        unsafe { (library.core.gst_object_ref)(raw.as_ptr()) };
        Ok(Some(GstCudaContext { raw, library }))
    }

    /// Replaces what it holds.
    pub fn set(&self, context: Option<GstCudaContext>) {
        let new = context.map_or(std::ptr::null_mut(), GstCudaContext::into_full);
        let old = NonNull::new(self.place.swap(new, Ordering::AcqRel));
        if let (Some(raw), Ok(library)) = (old, GstCuda::library()) {
            drop(GstCudaContext { raw, library });
        }
    }
}

impl Drop for ContextCell {
    fn drop(&mut self) {
        self.set(None);
    }
}

/// A reference to a `GstCudaContext`.
#[derive(Debug)]
pub struct GstCudaContext {
    raw: NonNull<c_void>,
    library: &'static GstCuda,
}

// SAFETY: GObjects are reference-counted atomically, and a GstCudaContext's methods lock.
unsafe impl Send for GstCudaContext {}
// SAFETY: as above.
unsafe impl Sync for GstCudaContext {}

impl GstCudaContext {
    /// The object, borrowed.
    pub fn as_ptr(&self) -> *mut c_void {
        self.raw.as_ptr()
    }

    /// The object with its reference, which the caller has to give back.
    pub fn into_full(self) -> *mut c_void {
        let raw = self.raw.as_ptr();
        std::mem::forget(self);
        raw
    }

    /// Its `CUcontext`.
    pub fn handle(&self) -> *mut c_void {
        // SAFETY: the object lives.
        unsafe { (self.library.functions.gst_cuda_context_get_handle)(self.as_ptr()) }
    }

    /// Whether it is of the device's primary context, the one that this crate and ONNX Runtime use:
    /// frames in another one cost a way through host memory.
    pub fn is_of(&self, device: &Device) -> bool {
        self.handle() == device.raw_context()
    }
}

impl Clone for GstCudaContext {
    fn clone(&self) -> Self {
        // SAFETY: the object lives.
        unsafe { (self.library.core.gst_object_ref)(self.as_ptr()) };
        Self {
            raw: self.raw,
            library: self.library,
        }
    }
}

impl PartialEq for GstCudaContext {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl Drop for GstCudaContext {
    fn drop(&mut self) {
        // SAFETY: this holds one reference.
        unsafe { (self.library.core.gst_object_unref)(self.as_ptr()) };
    }
}

#[cfg(test)]
#[path = "gstcuda_tests.rs"]
mod tests;
