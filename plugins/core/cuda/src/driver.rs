//! Finding and starting the driver. Nothing is loaded until [`available`] is first asked.
//!
//! Types and functions are cudarc's (`driver::sys`), which looks up each symbol when it is first
//! called and panics where the library or a symbol is missing. So nothing is called before
//! [`available`] has found the library with every symbol of [`SYMBOLS`]; every public function of
//! this crate that reaches the driver starts from a [`Device`](crate::Device), which asks it first.

use std::{ffi::CStr, sync::OnceLock};

use cudarc::driver::sys::{self, CUresult};

use crate::error::{Error, Result, Unavailable};

/// Every function of the driver that this crate calls.
const SYMBOLS: &[&str] = &[
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuDeviceGet",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxPushCurrent_v2",
    "cuCtxPopCurrent_v2",
    "cuCtxSynchronize",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpy2DAsync_v2",
    "cuMemsetD8Async",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventElapsedTime",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuLaunchKernel",
];

/// Whether CUDA can be used here: a driver with all that is needed, that starts and sees a device.
///
/// The first call loads the driver, if there is one; the answer holds for the life of the process.
/// `GSTNEURAL_CUDA=off` in the environment, read by the first call, makes it unavailable.
///
/// # Errors
/// [`Error::Unavailable`] with the reason.
pub fn available() -> Result<()> {
    static ANSWER: OnceLock<std::result::Result<(), Unavailable>> = OnceLock::new();
    ANSWER.get_or_init(start).clone().map_err(Error::from)
}

fn start() -> std::result::Result<(), Unavailable> {
    let off = std::env::var_os("GSTNEURAL_CUDA").is_some_and(|v| v == "off" || v == "0");
    if off {
        return Err(Unavailable::Off);
    }
    let found = if cfg!(unix) {
        ["libcuda.so.1", "libcuda.so"].into_iter().any(|name| {
            // SAFETY: the driver's initialisers run as they do for every program that links it.
            unsafe { libloading::Library::new(name) }.is_ok_and(|library| {
                // What is loaded stays loaded: the driver does not bear being unloaded.
                std::mem::forget(library);
                true
            })
        })
    } else {
        true
    };
    // SAFETY: as above; cudarc tries more names and keeps what it finds.
    if !found || !unsafe { sys::is_culib_present() } {
        return Err(Unavailable::NoLibrary);
    }
    // SAFETY: the library is there, so that this does not panic.
    let library = unsafe { sys::culib() };
    for symbol in SYMBOLS {
        // SAFETY: the symbol is only looked up; it is not called by this type.
        if unsafe { library.get::<*const ()>(symbol.as_bytes()) }.is_err() {
            return Err(Unavailable::NoSymbol(symbol));
        }
    }
    let refused = |code: CUresult| Unavailable::NoStart {
        code: code as u32,
        name: name_of(code),
    };
    // SAFETY: every symbol was found; 0 is the only flag.
    let code = unsafe { sys::cuInit(0) };
    if code == CUresult::CUDA_ERROR_NO_DEVICE {
        return Err(Unavailable::NoDevice);
    }
    if code != CUresult::CUDA_SUCCESS {
        return Err(refused(code));
    }
    let mut count = 0;
    // SAFETY: `count` lives as long as the call.
    match unsafe { sys::cuDeviceGetCount(&mut count) } {
        CUresult::CUDA_SUCCESS if count > 0 => Ok(()),
        CUresult::CUDA_SUCCESS => Err(Unavailable::NoDevice),
        code => Err(refused(code)),
    }
}

/// The newest CUDA version that the driver knows, major and minor.
///
/// # Errors
/// [`Error::Unavailable`] without a driver or a device.
pub fn driver_version() -> Result<(u32, u32)> {
    available()?;
    let mut version = 0;
    // SAFETY: the driver runs; `version` lives as long as the call.
    check("cuDriverGetVersion", unsafe {
        sys::cuDriverGetVersion(&mut version)
    })?;
    let version = version.max(0) as u32;
    Ok((version / 1000, version % 1000 / 10))
}

/// CUDA's name of an error.
fn name_of(code: CUresult) -> String {
    let mut name = std::ptr::null();
    // SAFETY: called only after the symbol was found; the string is static in the driver.
    let found = unsafe { sys::cuGetErrorName(code, &mut name) };
    if found != CUresult::CUDA_SUCCESS || name.is_null() {
        return "unknown error".into();
    }
    // SAFETY: not null, a string of the driver's.
    unsafe { CStr::from_ptr(name) }
        .to_string_lossy()
        .into_owned()
}

/// A driver's answer as a result. `bytes` is what an allocation asked for.
pub(crate) fn check_memory(call: &'static str, code: CUresult, bytes: u64) -> Result<()> {
    match code {
        CUresult::CUDA_SUCCESS => Ok(()),
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => Err(Error::OutOfMemory { bytes }),
        code => Err(Error::Driver {
            call,
            code: code as u32,
            name: name_of(code),
        }),
    }
}

/// A driver's answer as a result.
pub(crate) fn check(call: &'static str, code: CUresult) -> Result<()> {
    check_memory(call, code, 0)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn calls(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                calls(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for rest in text.split("sys::cu").skip(1) {
                let name: String = rest
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                // Not `culib`, which is cudarc's.
                if name.starts_with(char::is_uppercase) {
                    found.insert(format!("cu{name}"));
                }
            }
        }
    }

    /// cudarc panics where a symbol is missing: every one that is called must be looked for first.
    #[test]
    fn every_function_that_is_called_is_looked_for() {
        let mut called = BTreeSet::new();
        calls(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut called,
        );
        let known: BTreeSet<String> = SYMBOLS.iter().map(|s| s.to_string()).collect();
        assert_eq!(called, known);
    }
}
