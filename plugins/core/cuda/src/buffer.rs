//! Memory of a device, and copies to and from it.

use std::sync::atomic::{AtomicU64, Ordering};

use cudarc::driver::sys::{self, CUmemorytype};

use crate::{
    copies::Cargo,
    device::{Device, Stream},
    driver::{check, check_memory},
    error::{Result, arguments},
};

static ALLOCATED: AtomicU64 = AtomicU64::new(0);

/// Bytes of device memory that [`DeviceBuffer`]s of this process hold now.
pub fn allocated() -> u64 {
    ALLOCATED.load(Ordering::Relaxed)
}

/// Memory of a device, freed when dropped.
///
/// Work that uses it must be done, or queued in streams that are waited for, before that.
#[derive(Debug)]
pub struct DeviceBuffer {
    address: u64,
    bytes: usize,
    device: Device,
}

impl DeviceBuffer {
    /// `bytes` bytes, at least one, of unknown content.
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::Error::OutOfMemory), or what the driver says.
    pub fn new(device: &Device, bytes: usize) -> Result<Self> {
        let bytes = bytes.max(1);
        let _current = device.current()?;
        let mut address = 0;
        // SAFETY: the context is current; `address` lives as long as the call.
        let code = unsafe { sys::cuMemAlloc_v2(&mut address, bytes) };
        check_memory("cuMemAlloc", code, bytes as u64)?;
        ALLOCATED.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(Self {
            address,
            bytes,
            device: device.clone(),
        })
    }

    /// As [`Self::new`], set to zero by `stream`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn zeroed(stream: &Stream, bytes: usize) -> Result<Self> {
        let buffer = Self::new(stream.device(), bytes)?;
        buffer.clear(stream, 0..buffer.bytes)?;
        Ok(buffer)
    }

    /// A buffer with a copy of `data`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with(stream: &Stream, data: &[u8], cargo: Cargo) -> Result<Self> {
        let buffer = Self::new(stream.device(), data.len())?;
        buffer.upload(stream, 0, data, cargo)?;
        Ok(buffer)
    }

    /// Its address on the device, a `CUdeviceptr`.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Queues setting `range` (bytes) to zero.
    ///
    /// # Errors
    /// If the range reaches beyond the buffer, or what the driver says.
    pub fn clear(&self, stream: &Stream, range: std::ops::Range<usize>) -> Result<()> {
        self.check(range.start, range.len())?;
        if range.is_empty() {
            return Ok(());
        }
        let _current = self.device.current()?;
        // SAFETY: the range lies within the buffer.
        check("cuMemsetD8Async", unsafe {
            sys::cuMemsetD8Async(
                self.address + range.start as u64,
                0,
                range.len(),
                stream.handle(),
            )
        })
    }

    /// Copies `data` into the buffer from byte `at` on. `data` may be changed when it returns.
    ///
    /// # Errors
    /// If the data reach beyond the buffer, or what the driver says.
    pub fn upload(&self, stream: &Stream, at: usize, data: &[u8], cargo: Cargo) -> Result<()> {
        self.check(at, data.len())?;
        if data.is_empty() {
            return Ok(());
        }
        let _current = self.device.current()?;
        stream.copies.to_device(cargo, data.len());
        // SAFETY: the range lies within the buffer; of pageable memory the driver takes a copy
        // before it returns, and it is waited for all the same.
        check("cuMemcpyHtoDAsync", unsafe {
            sys::cuMemcpyHtoDAsync_v2(
                self.address + at as u64,
                data.as_ptr().cast(),
                data.len(),
                stream.handle(),
            )
        })?;
        stream.synchronise()
    }

    /// Copies from byte `at` of the buffer on into `data`, and waits for it.
    ///
    /// # Errors
    /// If the data reach beyond the buffer, or what the driver says.
    pub fn download(
        &self,
        stream: &Stream,
        at: usize,
        data: &mut [u8],
        cargo: Cargo,
    ) -> Result<()> {
        self.check(at, data.len())?;
        if data.is_empty() {
            return Ok(());
        }
        let _current = self.device.current()?;
        stream.copies.to_host(cargo, data.len());
        // SAFETY: the range lies within the buffer; `data` outlives the copy, which is waited for.
        check("cuMemcpyDtoHAsync", unsafe {
            sys::cuMemcpyDtoHAsync_v2(
                data.as_mut_ptr().cast(),
                self.address + at as u64,
                data.len(),
                stream.handle(),
            )
        })?;
        stream.synchronise()
    }

    fn check(&self, at: usize, bytes: usize) -> Result<()> {
        match at.checked_add(bytes) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => arguments(format!(
                "{bytes} bytes at {at} reach beyond a buffer of {} bytes",
                self.bytes
            )),
        }
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        ALLOCATED.fetch_sub(self.bytes as u64, Ordering::Relaxed);
        if let Ok(_current) = self.device.current() {
            // SAFETY: allocated by `new`, freed once; the driver waits for work that uses it.
            unsafe {
                sys::cuMemFree_v2(self.address);
            }
        }
    }
}

/// One side of a copy of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows {
    Device(u64),
    Host(*const u8),
    HostMut(*mut u8),
}

/// Queues a copy of `rows` rows of `row_bytes` bytes.
///
/// # Safety
/// Both sides must be valid for `rows` rows at their pitches until the stream has done it.
pub(crate) unsafe fn copy_rows(
    stream: &Stream,
    to: (Rows, usize),
    from: (Rows, usize),
    row_bytes: usize,
    rows: usize,
) -> Result<()> {
    if row_bytes == 0 || rows == 0 {
        return Ok(());
    }
    let _current = stream.device().current()?;
    let null = std::ptr::null();
    let (src_kind, src_host, src_device) = match from.0 {
        Rows::Device(address) => (CUmemorytype::CU_MEMORYTYPE_DEVICE, null, address),
        Rows::Host(p) => (CUmemorytype::CU_MEMORYTYPE_HOST, p, 0),
        Rows::HostMut(p) => (CUmemorytype::CU_MEMORYTYPE_HOST, p.cast_const(), 0),
    };
    let (dst_kind, dst_host, dst_device) = match to.0 {
        Rows::Device(address) => (
            CUmemorytype::CU_MEMORYTYPE_DEVICE,
            std::ptr::null_mut(),
            address,
        ),
        Rows::HostMut(p) => (CUmemorytype::CU_MEMORYTYPE_HOST, p, 0),
        Rows::Host(_) => return arguments("a copy into memory that cannot be written"),
    };
    let copy = sys::CUDA_MEMCPY2D {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: src_kind,
        srcHost: src_host.cast(),
        srcDevice: src_device,
        srcArray: std::ptr::null_mut(),
        srcPitch: from.1,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: dst_kind,
        dstHost: dst_host.cast(),
        dstDevice: dst_device,
        dstArray: std::ptr::null_mut(),
        dstPitch: to.1,
        WidthInBytes: row_bytes,
        Height: rows,
    };
    // SAFETY: as the caller promises.
    check("cuMemcpy2DAsync", unsafe {
        sys::cuMemcpy2DAsync_v2(&copy, stream.handle())
    })
}
