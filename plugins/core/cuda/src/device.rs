//! Devices and their primary context, streams, events.

use std::{
    marker::PhantomData,
    sync::{Arc, LazyLock, Mutex, Weak},
};

use cudarc::driver::sys::{self, CUdevice_attribute};

use crate::{
    copies::{Copies, Counts},
    driver::{available, check},
    error::{Error, Result},
};

/// Memory of a device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What nobody uses.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// A GPU, with its primary context retained for as long as a handle lives.
///
/// The primary context is the one that ONNX Runtime's CUDA provider uses; wrapped by
/// [`GstCuda`](crate::GstCuda) it is shared with decoders and encoders too.
#[derive(Debug, Clone)]
pub struct Device(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ordinal: usize,
    device: sys::CUdevice,
    context: sys::CUcontext,
    name: String,
    capability: (u32, u32),
}

// SAFETY: a context may be made current on any thread, and the driver is thread-safe.
unsafe impl Send for Inner {}
// SAFETY: as above; the fields are never changed.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: retained in `open`, released once. Everything that lives in the context holds a
        // `Device` and is gone.
        unsafe {
            sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}

impl Device {
    /// How many devices are visible.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a driver or a device.
    pub fn count() -> Result<usize> {
        available()?;
        let mut count = 0;
        // SAFETY: the driver runs; `count` lives as long as the call.
        check("cuDeviceGetCount", unsafe {
            sys::cuDeviceGetCount(&mut count)
        })?;
        Ok(count.max(0) as usize)
    }

    /// Opens device `ordinal`, counted from 0. Opened again while in use, it is the same handle.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::NoSuchDevice`], or what the driver says.
    pub fn open(ordinal: usize) -> Result<Self> {
        static OPEN: LazyLock<Mutex<Vec<Weak<Inner>>>> = LazyLock::new(Mutex::default);
        let count = Self::count()?;
        if ordinal >= count {
            return Err(Error::NoSuchDevice { ordinal, count });
        }
        let mut open = OPEN.lock().unwrap_or_else(|e| e.into_inner());
        open.retain(|d| d.strong_count() > 0);
        let known = open.iter().filter_map(Weak::upgrade);
        if let Some(inner) = known.into_iter().find(|d| d.ordinal == ordinal) {
            return Ok(Self(inner));
        }
        let mut device = 0;
        // SAFETY: the driver runs; out parameters live as long as the calls, here and below.
        check("cuDeviceGet", unsafe {
            sys::cuDeviceGet(&mut device, ordinal as i32)
        })?;
        let mut name = [0u8; 256];
        // SAFETY: the buffer is as long as is said.
        check("cuDeviceGetName", unsafe {
            sys::cuDeviceGetName(name.as_mut_ptr().cast(), name.len() as i32, device)
        })?;
        let length = name.iter().position(|c| *c == 0).unwrap_or(name.len());
        let attribute = |what: CUdevice_attribute| -> Result<u32> {
            let mut value = 0;
            // SAFETY: a device of the driver's; `value` lives as long as the call.
            check("cuDeviceGetAttribute", unsafe {
                sys::cuDeviceGetAttribute(&mut value, what, device)
            })?;
            Ok(value.max(0) as u32)
        };
        let capability = (
            attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        let mut context = std::ptr::null_mut();
        // SAFETY: a device of the driver's. Released by `Inner::drop`.
        check("cuDevicePrimaryCtxRetain", unsafe {
            sys::cuDevicePrimaryCtxRetain(&mut context, device)
        })?;
        let inner = Arc::new(Inner {
            ordinal,
            device,
            context,
            name: String::from_utf8_lossy(&name[..length]).into_owned(),
            capability,
        });
        open.push(Arc::downgrade(&inner));
        Ok(Self(inner))
    }

    /// Its number, from 0.
    pub fn ordinal(&self) -> usize {
        self.0.ordinal
    }

    /// What its maker calls it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Compute capability, such as (9, 0).
    pub fn compute_capability(&self) -> (u32, u32) {
        self.0.capability
    }

    /// Free and total memory.
    ///
    /// # Errors
    /// What the driver says.
    pub fn memory(&self) -> Result<Memory> {
        let _current = self.current()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the context is current; out parameters live as long as the call.
        check("cuMemGetInfo", unsafe {
            sys::cuMemGetInfo_v2(&mut free, &mut total)
        })?;
        let (free, total) = (free as u64, total as u64);
        Ok(Memory { free, total })
    }

    /// Makes the context current on this thread until the guard is dropped. Not to be held while
    /// others' code runs (ONNX Runtime, GStreamer).
    ///
    /// # Errors
    /// What the driver says.
    pub fn current(&self) -> Result<Current<'_>> {
        // SAFETY: the context is retained.
        check("cuCtxPushCurrent", unsafe {
            sys::cuCtxPushCurrent_v2(self.0.context)
        })?;
        Ok(Current(PhantomData))
    }

    /// Waits for everything that was queued in the context.
    ///
    /// # Errors
    /// What the driver says, which may be of work that was queued before.
    pub fn synchronise(&self) -> Result<()> {
        let _current = self.current()?;
        // SAFETY: the context is current.
        check("cuCtxSynchronize", unsafe { sys::cuCtxSynchronize() })
    }

    /// The primary context, a `CUcontext`; valid while a handle lives.
    pub fn raw_context(&self) -> *mut std::ffi::c_void {
        self.0.context.cast()
    }

    /// The device, a `CUdevice`.
    pub fn raw_device(&self) -> i32 {
        self.0.device
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        self.0.context == other.0.context
    }
}

/// The context is current on this thread while this lives.
#[derive(Debug)]
#[must_use = "the context is current only while this lives"]
pub struct Current<'a>(PhantomData<(&'a Device, *const ())>);

impl Drop for Current<'_> {
    fn drop(&mut self) {
        let mut context = std::ptr::null_mut();
        // SAFETY: pushed by `Device::current` on this thread: this type is not `Send`.
        unsafe {
            sys::cuCtxPopCurrent_v2(&mut context);
        }
    }
}

/// A queue of work: what is put into it is done in order. Does not wait for the default stream.
#[derive(Debug)]
pub struct Stream {
    raw: sys::CUstream,
    device: Device,
    pub(crate) copies: Arc<Copies>,
}

// SAFETY: the driver is thread-safe.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// A new stream.
    ///
    /// # Errors
    /// What the driver says.
    pub fn new(device: &Device) -> Result<Self> {
        let _current = device.current()?;
        let mut raw = std::ptr::null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the context is current; `raw` lives as long as the call.
        check("cuStreamCreate", unsafe {
            sys::cuStreamCreate(&mut raw, flags)
        })?;
        Ok(Self {
            raw,
            device: device.clone(),
            copies: Arc::default(),
        })
    }

    /// Its device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The stream, a `CUstream`, for ONNX Runtime and others; valid while this lives.
    pub fn raw(&self) -> *mut std::ffi::c_void {
        self.raw.cast()
    }

    /// Copies of frame data between host and device that went through this stream.
    pub fn copies(&self) -> Counts {
        self.copies.get()
    }

    /// Waits until all that is queued is done.
    ///
    /// # Errors
    /// What the driver says, which may be of work that was queued before.
    pub fn synchronise(&self) -> Result<()> {
        let _current = self.device.current()?;
        // SAFETY: a stream of this context.
        check("cuStreamSynchronize", unsafe {
            sys::cuStreamSynchronize(self.raw)
        })
    }

    /// What is queued from now on waits for `event`.
    ///
    /// # Errors
    /// What the driver says.
    pub fn wait_for(&self, event: &Event) -> Result<()> {
        let _current = self.device.current()?;
        // SAFETY: both live; 0 is the default flag.
        check("cuStreamWaitEvent", unsafe {
            sys::cuStreamWaitEvent(self.raw, event.raw, 0)
        })
    }

    pub(crate) fn handle(&self) -> sys::CUstream {
        self.raw
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Ok(_current) = self.device.current() {
            // SAFETY: made by `new`, destroyed once; work that is still queued is finished first.
            unsafe {
                sys::cuStreamSynchronize(self.raw);
                sys::cuStreamDestroy_v2(self.raw);
            }
        }
    }
}

/// A point in a stream's work, with its time.
#[derive(Debug)]
pub struct Event {
    raw: sys::CUevent,
    device: Device,
}

// SAFETY: the driver is thread-safe.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// An event that was not recorded yet.
    ///
    /// # Errors
    /// What the driver says.
    pub fn new(device: &Device) -> Result<Self> {
        let _current = device.current()?;
        let mut raw = std::ptr::null_mut();
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT as u32;
        // SAFETY: the context is current; `raw` lives as long as the call.
        check("cuEventCreate", unsafe {
            sys::cuEventCreate(&mut raw, flags)
        })?;
        Ok(Self {
            raw,
            device: device.clone(),
        })
    }

    /// Puts the event behind what is queued in `stream`.
    ///
    /// # Errors
    /// What the driver says.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        let _current = self.device.current()?;
        // SAFETY: both live.
        check("cuEventRecord", unsafe {
            sys::cuEventRecord(self.raw, stream.handle())
        })
    }

    /// Waits until the work before the event is done.
    ///
    /// # Errors
    /// What the driver says.
    pub fn synchronise(&self) -> Result<()> {
        let _current = self.device.current()?;
        // SAFETY: the event lives.
        check("cuEventSynchronize", unsafe {
            sys::cuEventSynchronize(self.raw)
        })
    }

    /// Milliseconds on the device from `earlier` to this event; both must be done.
    ///
    /// # Errors
    /// What the driver says, for events that were not recorded or are not done.
    pub fn since_ms(&self, earlier: &Event) -> Result<f32> {
        let _current = self.device.current()?;
        let mut ms = 0.0;
        // SAFETY: both live; `ms` lives as long as the call.
        check("cuEventElapsedTime", unsafe {
            sys::cuEventElapsedTime(&mut ms, earlier.raw, self.raw)
        })?;
        Ok(ms)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Ok(_current) = self.device.current() {
            // SAFETY: made by `new`, destroyed once.
            unsafe {
                sys::cuEventDestroy_v2(self.raw);
            }
        }
    }
}
