//! The kernels: loaded once for a device, launched with checked arguments.
//!
//! Every launcher queues work in a stream and returns; results are there when the stream has been
//! waited for. Arguments are checked against the sizes of frames, tensors and tables, so that no
//! kernel touches memory beyond what its arguments name.

mod areas;
mod load;
mod post;
mod stabilize;
mod store;

use std::ffi::CStr;

use cudarc::driver::sys;

use crate::{
    device::{Device, Stream},
    driver::check,
    error::{Error, Result, arguments},
    params::{Comp, Params},
};

pub use areas::DeviceAreas;
pub use load::{Channels, Chroma};
pub use post::Findings;
pub use stabilize::DeviceStabilizer;
pub use store::Region;

macro_rules! ptx {
    ($name:literal) => {
        concat!(include_str!(concat!("../../kernels/", $name, ".ptx")), "\0")
    };
}

/// Each file of kernels as PTX, and the kernels in it, in the order of [`Kernel`].
pub(crate) const MODULES: &[(&str, &[&CStr])] = &[
    (
        ptx!("load"),
        &[
            c"load_each",
            c"load_same",
            c"load_luma_of_rgb",
            c"load_rgb_of_yuv",
        ],
    ),
    (
        ptx!("store"),
        &[
            c"store_each",
            c"store_luma_of_rgb",
            c"store_chroma_of_rgb",
            c"gather",
            c"gather_weighted",
        ],
    ),
    (
        ptx!("post"),
        &[
            c"resample",
            c"mix",
            c"replace_luma",
            c"fill",
            c"differs",
            c"inspect",
        ],
    ),
    (ptx!("stabilize"), &[c"motion", c"smooth"]),
    (
        ptx!("nets"),
        &[
            c"dense",
            c"depthwise",
            c"dequantise",
            c"positions_of_samples",
            c"samples_of_positions",
        ],
    ),
];

/// A kernel; its number is its place in [`MODULES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    LoadEach,
    LoadSame,
    LoadLumaOfRgb,
    LoadRgbOfYuv,
    StoreEach,
    StoreLumaOfRgb,
    StoreChromaOfRgb,
    Gather,
    GatherWeighted,
    Resample,
    Mix,
    ReplaceLuma,
    Fill,
    Differs,
    Inspect,
    Motion,
    Smooth,
    Dense,
    Depthwise,
    Dequantise,
    PositionsOfSamples,
    SamplesOfPositions,
}

/// Threads of a block, across and down: a warp writes a row.
const BLOCK: (u32, u32) = (32, 8);

/// All kernels, loaded for a device.
#[derive(Debug)]
pub struct Kernels {
    device: Device,
    modules: Vec<sys::CUmodule>,
    functions: Vec<sys::CUfunction>,
}

// SAFETY: modules and functions may be used from any thread.
unsafe impl Send for Kernels {}
// SAFETY: as above; nothing is changed after `new`.
unsafe impl Sync for Kernels {}

impl Kernels {
    /// Loads the kernels. The driver compiles them for the device and keeps the result for the
    /// next time.
    ///
    /// # Errors
    /// What the driver says: `CUDA_ERROR_UNSUPPORTED_PTX_VERSION` where it is older than CUDA 12.4.
    pub fn new(device: &Device) -> Result<Self> {
        let mut kernels = Self {
            device: device.clone(),
            modules: Vec::new(),
            functions: Vec::new(),
        };
        let _current = device.current()?;
        for (ptx, names) in MODULES {
            let mut module = std::ptr::null_mut();
            // SAFETY: the text ends with a zero byte; `module` lives as long as the call.
            check("cuModuleLoadData", unsafe {
                sys::cuModuleLoadData(&mut module, ptx.as_ptr().cast())
            })?;
            kernels.modules.push(module);
            for name in *names {
                let mut function = std::ptr::null_mut();
                // SAFETY: the module was loaded; the name is a C string.
                check("cuModuleGetFunction", unsafe {
                    sys::cuModuleGetFunction(&mut function, module, name.as_ptr())
                })?;
                kernels.functions.push(function);
            }
        }
        Ok(kernels)
    }

    /// The device that they are loaded for.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Queues a kernel over `width` x `height` threads, `depth` times.
    ///
    /// # Safety
    /// The kernel must take `P`, and everything that `params` points to must be device memory of
    /// the sizes that it says, until the work is done.
    pub(crate) unsafe fn launch<P: Params>(
        &self,
        stream: &Stream,
        kernel: Kernel,
        params: &P,
        (width, height, depth): (usize, usize, usize),
    ) -> Result<()> {
        if width == 0 || height == 0 || depth == 0 {
            return Ok(());
        }
        if stream.device() != &self.device {
            return arguments("a stream of another device than the kernels'");
        }
        let Some(function) = self.functions.get(kernel as usize) else {
            return arguments(format!("{kernel:?} is not loaded"));
        };
        let blocks = |n: usize, of: u32| u32::try_from(n.div_ceil(of as usize)).unwrap_or(u32::MAX);
        let mut arguments = [std::ptr::from_ref(params).cast_mut().cast()];
        let _current = self.device.current()?;
        // SAFETY: as the caller promises; the driver copies the parameters before it returns.
        check("cuLaunchKernel", unsafe {
            sys::cuLaunchKernel(
                *function,
                blocks(width, BLOCK.0),
                blocks(height, BLOCK.1),
                depth as u32,
                BLOCK.0,
                BLOCK.1,
                1,
                0,
                stream.handle(),
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        })
    }
}

impl Drop for Kernels {
    fn drop(&mut self) {
        if let Ok(_current) = self.device.current() {
            for module in &self.modules {
                // SAFETY: loaded by `new`, unloaded once, in their context.
                unsafe {
                    sys::cuModuleUnload(*module);
                }
            }
        }
    }
}

/// Components in a row of the slots that a kernel has for them.
fn slots<const N: usize>(comps: &[Comp]) -> Result<[Comp; N]> {
    if comps.len() > N {
        return arguments(format!("{} components where {N} fit", comps.len()));
    }
    let mut out = [Comp::default(); N];
    out.iter_mut().zip(comps).for_each(|(o, c)| *o = *c);
    Ok(out)
}

fn int(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Arguments(format!("{value} is too large")))
}
