//! Where networks run, and what the runtime is told for that.

use std::path::PathBuf;

use ort::ep::{self, ExecutionProviderDispatch};

use crate::{
    bound,
    error::{Error, Result},
};

/// What runs a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Processor {
    /// The processor, by ONNX Runtime's own kernels.
    #[default]
    Cpu,
    /// A GPU by ONNX Runtime's CUDA provider.
    Cuda,
    /// A GPU by ONNX Runtime's TensorRT provider; what TensorRT does not take runs on CUDA.
    TensorRt,
}

impl Processor {
    /// The name that users know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }
}

/// Number format of a network's weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// On a GPU the model's own, on the CPU single.
    #[default]
    Auto,
    /// Single precision.
    Single,
    /// Half precision, on GPUs.
    Half,
}

/// Where a network is asked to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// What is to run it; None is a GPU if one can be used, else the CPU.
    pub processor: Option<Processor>,
    /// Which GPU.
    pub id: u32,
    /// Number format.
    pub precision: Precision,
    /// Bytes of GPU memory that upscalers of this process may take together; None is no limit.
    pub gpu_memory: Option<usize>,
    /// Upscalers that may use the GPU at once; None is no limit.
    pub slots: Option<usize>,
    /// Folder in which the slots are those of all processes of the machine.
    pub slot_folder: Option<PathBuf>,
    /// Folder for compiled TensorRT engines.
    pub engine_cache: Option<PathBuf>,
}

impl Device {
    /// The CPU.
    pub fn cpu() -> Self {
        Self {
            processor: Some(Processor::Cpu),
            ..Self::default()
        }
    }

    /// The placements to try, the best one first.
    ///
    /// `own_half` says that the model's own precision is half, `gpu` whether there is a GPU.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for half precision without a GPU.
    pub(crate) fn candidates(&self, own_half: bool, gpu: bool) -> Result<Vec<Placement>> {
        let on = |processor| Placement {
            processor,
            id: self.id,
            half: match self.precision {
                Precision::Auto => own_half && processor != Processor::Cpu,
                Precision::Single => false,
                Precision::Half => true,
            },
            gpu_memory: self.gpu_memory,
            engine_cache: self.engine_cache.clone(),
            stream: None,
            graph: false,
        };
        let mut found = match self.processor {
            Some(processor) => vec![on(processor)],
            None if gpu => vec![on(Processor::Cuda), on(Processor::Cpu)],
            None => vec![on(Processor::Cpu)],
        };
        found.retain(|p| !(p.half && p.processor == Processor::Cpu));
        if found.is_empty() {
            return Err(Error::Unsupported(
                "half precision (fp16) is for GPUs; the CPU runs networks in single precision"
                    .into(),
            ));
        }
        Ok(found)
    }
}

/// Where one session runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Placement {
    pub processor: Processor,
    pub id: u32,
    pub half: bool,
    pub gpu_memory: Option<usize>,
    pub engine_cache: Option<PathBuf>,
    /// The `CUstream` that all work is queued in; it outlives the session. None: the provider's own.
    pub stream: Option<usize>,
    /// Replay runs as a CUDA graph: shapes and addresses never change then.
    pub graph: bool,
}

impl Placement {
    /// What the runtime is told. Each provider is an error if it cannot be had, never silently the
    /// CPU.
    pub fn providers(&self) -> Vec<ExecutionProviderDispatch> {
        let id = i32::try_from(self.id).unwrap_or(i32::MAX);
        let cuda = || {
            let mut cuda = ep::CUDA::default()
                .with_device_id(id)
                // The largest workspace lets cuDNN take its fastest algorithms.
                .with_conv_max_workspace(true)
                // Not asked for: TF32 has the mantissa of half precision.
                .with_tf32(self.half)
                .with_prefer_nhwc(self.half);
            if let Some(limit) = self.gpu_memory {
                cuda = cuda.with_memory_limit(limit);
            }
            if self.graph {
                cuda = cuda.with_cuda_graph(true);
            }
            if let Some(stream) = self.stream {
                cuda = bound::cuda_on(cuda, stream);
            }
            cuda.build().error_on_failure()
        };
        match self.processor {
            Processor::Cpu => Vec::new(),
            Processor::Cuda => vec![cuda()],
            Processor::TensorRt => {
                let mut tensorrt = ep::TensorRT::default()
                    .with_device_id(id)
                    .with_fp16(self.half);
                if let Some(folder) = &self.engine_cache {
                    let folder = folder.display().to_string();
                    tensorrt = tensorrt
                        .with_engine_cache(true)
                        .with_engine_cache_path(&folder)
                        .with_timing_cache(true)
                        .with_timing_cache_path(&folder);
                }
                if let Some(stream) = self.stream {
                    tensorrt = bound::tensorrt_on(tensorrt, stream);
                }
                vec![tensorrt.build().error_on_failure(), cuda()]
            }
        }
    }

    /// An error of this placement, with what can be done about it.
    pub fn error(&self, reason: impl std::fmt::Display) -> Error {
        Error::Device {
            device: self.processor.name(),
            reason: reason.to_string(),
        }
    }
}

/// True if the driver of an NVIDIA GPU runs and sees one.
pub fn gpu_is_there() -> bool {
    gstneural_cuda::available().is_ok()
}

/// The GPUs that can be used, each with its compute capability and memory.
///
/// # Errors
/// [`Error::Cuda`] with the reason why there are none.
pub fn gpus() -> Result<Vec<String>> {
    (0..gstneural_cuda::Device::count()?)
        .map(|ordinal| {
            let device = gstneural_cuda::Device::open(ordinal)?;
            let (major, minor) = device.compute_capability();
            let memory = device.memory()?.total >> 20;
            Ok(format!("{} ({major}.{minor}, {memory} MiB)", device.name()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(device: &Device, own_half: bool, gpu: bool) -> Vec<(&'static str, bool)> {
        let found = device.candidates(own_half, gpu).unwrap();
        found.iter().map(|p| (p.processor.name(), p.half)).collect()
    }

    #[test]
    fn auto_takes_a_gpu_if_there_is_one() {
        let auto = Device::default();
        assert_eq!(names(&auto, false, false), [("cpu", false)]);
        assert_eq!(names(&auto, true, false), [("cpu", false)]);
        assert_eq!(names(&auto, true, true), [("cuda", true), ("cpu", false)]);
        assert_eq!(names(&Device::cpu(), true, true), [("cpu", false)]);
    }

    #[test]
    fn half_precision_is_never_run_on_the_cpu() {
        let half = |processor| Device {
            processor,
            precision: Precision::Half,
            ..Device::default()
        };
        assert_eq!(names(&half(None), false, true), [("cuda", true)]);
        assert_eq!(
            names(&half(Some(Processor::TensorRt)), false, false),
            [("tensorrt", true)]
        );
        for device in [half(None), half(Some(Processor::Cpu))] {
            assert!(device.candidates(false, false).is_err());
        }
    }

    #[test]
    fn providers_are_those_of_the_processor() {
        let on = |processor| Placement {
            processor,
            ..Placement::default()
        };
        let of = |p: Processor| -> Vec<_> { on(p).providers().iter().map(|e| e.name()).collect() };
        assert!(of(Processor::Cpu).is_empty());
        assert_eq!(of(Processor::Cuda).len(), 1);
        assert_eq!(of(Processor::TensorRt).len(), 2);
    }
}
