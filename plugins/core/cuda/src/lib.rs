//! CUDA for gst-neural: the driver and GStreamer's libgstcuda bound at run time, device memory,
//! and kernels that do on frames in device memory what [`gstneural_pixels`] does on the host.
//!
//! Nothing is loaded before [`available`] is asked, and a machine without a driver gets an error
//! that says so. See the crate's README for how the parts go together.
#![deny(missing_docs)]

mod budget;
mod buffer;
mod copies;
mod device;
mod driver;
mod error;
mod filter;
mod frame;
pub mod gstcuda;
mod kernels;
mod nets;
mod params;
mod tensor;
pub mod twins;

pub use budget::{Budget, Limits, Member, PATIENCE, Reservation, Slot};
pub use buffer::{DeviceBuffer, allocated};
pub use copies::{Cargo, Counts, copies};
pub use device::{Current, Device, Event, Memory, Stream};
pub use driver::{available, driver_version};
pub use error::{Error, Result, Unavailable};
pub use filter::{DeviceFilter, DeviceScaler};
pub use frame::{DeviceFrame, DeviceFrameBuf, DevicePlane};
pub use gstcuda::{ContextCell, GST_MAP_CUDA, GstCuda, GstCudaContext};
pub use kernels::{Channels, Chroma, DeviceAreas, DeviceStabilizer, Findings, Kernels, Region};
pub use nets::{DenseLayer, DepthwiseLayer, DeviceSynthesis, SynthesisLayers};
pub use tensor::{DeviceTensor, Element, Order, TensorView};
