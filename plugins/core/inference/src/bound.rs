//! Sessions whose input and output lie in memory of the caller's, on a device or not.
//!
//! `ort`'s own binding takes tensors that it owns; a borrowed device pointer is cloned or hangs
//! there (rc.15). So the binding is made through the C API.

use std::{
    ffi::{CStr, CString, c_int, c_void},
    ptr::{self, NonNull},
    sync::Arc,
};

use gstneural_cuda::DeviceBuffer;
use ort::{
    AsPointer, ep,
    session::{NoSelectedOutputs, RunOptions, Session},
    sys,
};

use crate::{
    error::{Error, Result},
    tensor::ElementType,
};

/// Where memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// The processor's.
    Host,
    /// A GPU's, by its number.
    Cuda(u32),
}

/// A tensor in the caller's memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The name of the network's input or output.
    pub name: &'a str,
    pub space: Space,
    /// The address; on a GPU a `CUdeviceptr`.
    pub address: u64,
    pub element: ElementType,
    pub shape: [usize; 4],
}

impl Place<'_> {
    /// Bytes of the tensor; None if that is no number.
    pub fn bytes(&self) -> Option<usize> {
        let size = match self.element {
            ElementType::F32 => 4,
            ElementType::F16 => 2,
            ElementType::U8 => 1,
        };
        self.shape
            .iter()
            .try_fold(size, |n: usize, d| n.checked_mul(*d))
    }
}

/// An object of the runtime's and how it is given back.
struct Handle<T> {
    pointer: NonNull<T>,
    release: unsafe extern "system" fn(*mut T),
}

impl<T> Handle<T> {
    fn new(pointer: *mut T, release: unsafe extern "system" fn(*mut T)) -> Result<Self> {
        let pointer = NonNull::new(pointer)
            .ok_or_else(|| Error::Inference("the runtime gave nothing, and no reason".into()))?;
        Ok(Self { pointer, release })
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the runtime with this function to release it, and nobody
        // else has it.
        unsafe { (self.release)(self.pointer.as_ptr()) }
    }
}

/// A session with one input and one output in memory of the caller's.
///
/// Fields are dropped in this order: the binding, its values, the session, the memory.
pub(crate) struct BoundSession {
    binding: Handle<sys::OrtIoBinding>,
    _values: [Handle<sys::OrtValue>; 2],
    options: RunOptions<NoSelectedOutputs>,
    session: Session,
    kept: Vec<Arc<DeviceBuffer>>,
}

impl std::fmt::Debug for BoundSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundSession")
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

// SAFETY: the runtime's objects may be used from any thread, by one at a time: `run` takes `&mut`.
unsafe impl Send for BoundSession {}

/// Has a session's CUDA provider queue its work in a stream of ours.
pub(crate) fn cuda_on(provider: ep::CUDA, stream: usize) -> ep::CUDA {
    // SAFETY: a placement's stream outlives the sessions that are opened with it.
    unsafe { provider.with_compute_stream(stream as *mut ()) }
}

/// Has a session's TensorRT provider queue its work in a stream of ours.
pub(crate) fn tensorrt_on(provider: ep::TensorRT, stream: usize) -> ep::TensorRT {
    // SAFETY: as above.
    unsafe { provider.with_compute_stream(stream as *mut ()) }
}

impl BoundSession {
    /// Binds `session` to two tensors at the beginning of device memory, which it keeps.
    ///
    /// # Errors
    /// [`Error::Inference`] if a tensor does not fit its memory, or with what the runtime says.
    pub fn on_device(
        session: Session,
        input: (&Place<'_>, Arc<DeviceBuffer>),
        output: (&Place<'_>, Arc<DeviceBuffer>),
        asynchronous: bool,
    ) -> Result<Self> {
        for (place, memory) in [&input, &output] {
            let fits = place.bytes().is_some_and(|n| n <= memory.bytes());
            if place.address != memory.address() || !fits {
                return Err(Error::Inference(
                    "a tensor lies outside of its memory".into(),
                ));
            }
        }
        // SAFETY: both tensors lie in the memory that is kept here, which nobody moves. What
        // touches it is queued in the session's stream, or (host) is waited for before a run.
        let mut bound = unsafe { Self::new(session, input.0, output.0, asynchronous) }?;
        bound.kept = vec![input.1, output.1];
        Ok(bound)
    }

    /// Binds `session` to two tensors.
    ///
    /// With `asynchronous` a run returns when its work is queued on the session's stream.
    ///
    /// # Errors
    /// [`Error::Inference`] with what the runtime says.
    ///
    /// # Safety
    /// Both tensors lie in memory of their size in their space, which stays valid and where it is
    /// for as long as this value lives; nothing else writes the input or touches the output while
    /// a run goes on (asynchronous: until the stream has got there).
    pub unsafe fn new(
        mut session: Session,
        input: &Place<'_>,
        output: &Place<'_>,
        asynchronous: bool,
    ) -> Result<Self> {
        let api = ort::api();
        let mut binding = ptr::null_mut();
        // SAFETY: the session is open; `binding` takes the result.
        check(unsafe { (api.CreateIoBinding)(session.ptr_mut(), &mut binding) })?;
        let binding = Handle::new(binding, api.ReleaseIoBinding)?;
        let values = [value(input)?, value(output)?];
        let (in_name, out_name) = (c_string(input.name)?, c_string(output.name)?);
        // SAFETY: binding, names and values are alive; the runtime copies the names and counts
        // references to the values.
        check(unsafe {
            (api.BindInput)(
                binding.pointer.as_ptr(),
                in_name.as_ptr(),
                values[0].pointer.as_ptr(),
            )
        })?;
        // SAFETY: as above.
        check(unsafe {
            (api.BindOutput)(
                binding.pointer.as_ptr(),
                out_name.as_ptr(),
                values[1].pointer.as_ptr(),
            )
        })?;
        let mut options = RunOptions::new().map_err(Error::inference)?;
        if asynchronous {
            options.disable_device_sync().map_err(Error::inference)?;
        }
        Ok(Self {
            binding,
            _values: values,
            options,
            session,
            kept: Vec::new(),
        })
    }

    /// Runs the network on what lies in the input.
    ///
    /// # Errors
    /// [`Error::Inference`] with what the runtime says.
    pub fn run(&mut self) -> Result<()> {
        // SAFETY: all three are alive, and `&mut self` keeps other runs away.
        check(unsafe {
            (ort::api().RunWithBinding)(
                self.session.ptr_mut(),
                self.options.ptr(),
                self.binding.pointer.as_ptr(),
            )
        })
    }
}

/// A tensor of the runtime's on the caller's memory.
fn value(place: &Place<'_>) -> Result<Handle<sys::OrtValue>> {
    let api = ort::api();
    let too_large = || Error::Unsupported("a tensor is larger than memory".into());
    let bytes = place.bytes().ok_or_else(too_large)?;
    let mut shape = [0i64; 4];
    for (to, from) in shape.iter_mut().zip(place.shape) {
        *to = i64::try_from(from).map_err(|_| too_large())?;
    }
    let (name, id) = match place.space {
        Space::Host => (c"Cpu", 0),
        Space::Cuda(id) => (c"Cuda", c_int::try_from(id).map_err(|_| too_large())?),
    };
    let mut memory = ptr::null_mut();
    // SAFETY: the name is a C string that the runtime copies; `memory` takes the result.
    check(unsafe {
        (api.CreateMemoryInfo)(
            name.as_ptr(),
            sys::OrtAllocatorType::OrtDeviceAllocator,
            id,
            sys::OrtMemType::OrtMemTypeDefault,
            &mut memory,
        )
    })?;
    let memory = Handle::new(memory, api.ReleaseMemoryInfo)?;
    let element = match place.element {
        ElementType::F32 => sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        ElementType::F16 => sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        ElementType::U8 => sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
    };
    let mut value = ptr::null_mut();
    // SAFETY: the caller of `BoundSession::new` answers for the memory; the runtime copies the
    // shape and what it needs of `memory`.
    check(unsafe {
        (api.CreateTensorWithDataAsOrtValue)(
            memory.pointer.as_ptr(),
            place.address as usize as *mut c_void,
            bytes,
            shape.as_ptr(),
            shape.len(),
            element,
            &mut value,
        )
    })?;
    Handle::new(value, api.ReleaseValue)
}

fn c_string(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| Error::Inference(format!("a tensor is named {name:?}")))
}

/// The error that a status stands for; gives the status back.
fn check(status: sys::OrtStatusPtr) -> Result<()> {
    let Some(status) = NonNull::new(status.0) else {
        return Ok(());
    };
    let api = ort::api();
    let status = Handle::new(status.as_ptr(), api.ReleaseStatus)?;
    // SAFETY: the status is alive, its message is a C string that lives as long.
    let text = unsafe { CStr::from_ptr((api.GetErrorMessage)(status.pointer.as_ptr())) };
    Err(Error::Inference(text.to_string_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::Placement,
        session::{NetSession, open},
        testing::{load, net},
    };

    const SIZE: (usize, usize) = (32, 24);

    fn noise() -> Vec<f32> {
        (0..SIZE.0 * SIZE.1)
            .map(|i| (i * 37 % 101) as f32 / 101.0)
            .collect()
    }

    fn place<'a>(name: &'a str, memory: &mut [f32], shape: [usize; 4]) -> Place<'a> {
        Place {
            name,
            space: Space::Host,
            address: memory.as_mut_ptr() as usize as u64,
            element: ElementType::F32,
            shape,
        }
    }

    #[test]
    fn it_computes_in_the_callers_memory() {
        let model = load(&net());
        let (in_shape, out_shape) = (
            [1, 1, SIZE.1, SIZE.0],
            model.output_shape(1, SIZE.0, SIZE.1),
        );
        let mut usual = NetSession::new(&model, in_shape, out_shape, 1).unwrap();
        usual.input().unwrap().copy_from_slice(&noise());
        usual.run().unwrap();

        let (mut input, mut output) =
            (vec![0f32; SIZE.0 * SIZE.1], vec![0f32; SIZE.0 * SIZE.1 * 4]);
        let from = place(model.input_name(), &mut input, in_shape);
        let to = place(model.output_name(), &mut output, out_shape);
        let session = open(&model, &Placement::default(), 1).unwrap();
        // SAFETY: both vectors outlive the session and are not moved.
        let mut bound = unsafe { BoundSession::new(session, &from, &to, false) }.unwrap();
        // Twice: what is bound once stays bound.
        for _ in 0..2 {
            input.copy_from_slice(&noise());
            output.fill(-1.0);
            bound.run().unwrap();
            assert_eq!(output, usual.output().unwrap());
        }
    }

    #[test]
    fn what_does_not_fit_is_the_runtimes_error() {
        let model = load(&net());
        let (mut input, mut output) = (vec![0f32; 64], vec![0f32; 64]);
        let session = || open(&model, &Placement::default(), 1).unwrap();
        let from = place("nobody", &mut input, [1, 1, 8, 8]);
        let to = place(model.output_name(), &mut output, [1, 1, 8, 8]);
        // SAFETY: both vectors outlive the session and are not moved.
        let e = unsafe { BoundSession::new(session(), &from, &to, false) }.unwrap_err();
        assert!(e.to_string().contains("nobody"), "{e}");
        // The network makes 4 channels of it, there is room for one.
        let from = place(model.input_name(), &mut input, [1, 1, 8, 8]);
        // SAFETY: as above.
        let mut bound = unsafe { BoundSession::new(session(), &from, &to, false) }.unwrap();
        assert!(bound.run().is_err());
        let huge = place("x", &mut output, [usize::MAX, 2, 1, 1]);
        assert_eq!(huge.bytes(), None);
    }
}
