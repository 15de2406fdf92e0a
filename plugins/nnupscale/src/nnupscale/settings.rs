//! The properties of `nnupscale`.

use std::sync::LazyLock;

use gst::{glib, prelude::*};
use gstneural_inference::{
    Compare, Device as Place, Mode, Options, Precision as Format, Processor, Tile, UpscalerOptions,
};
use gstneural_pixels::Filter;

const DEFAULT_MODEL: &str = "luma-x2";
/// Folder with the lock files of slots that processes share.
const SLOT_FOLDER: &str = "GST_NEURAL_GPU_SLOT_DIR";
const DEFAULT_SPLIT: f64 = 0.5;
const DEFAULT_STRENGTH: f64 = 1.0;

/// Where the network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstNnUpscaleDevice")]
#[repr(i32)]
pub enum Device {
    /// The best that is there.
    #[default]
    #[enum_value(name = "Auto: the best that is there", nick = "auto")]
    Auto = 0,
    /// The processor.
    #[enum_value(name = "CPU", nick = "cpu")]
    Cpu = 1,
    /// A GPU through CUDA.
    #[enum_value(name = "CUDA", nick = "cuda")]
    Cuda = 2,
    /// A GPU through TensorRT.
    #[enum_value(name = "TensorRT", nick = "tensorrt")]
    TensorRt = 3,
}

/// Number format of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstNnUpscalePrecision")]
#[repr(i32)]
pub enum Precision {
    /// The model's own.
    #[default]
    #[enum_value(name = "Auto: the model's own", nick = "auto")]
    Auto = 0,
    /// Single precision.
    #[enum_value(name = "Single precision", nick = "fp32")]
    Fp32 = 1,
    /// Half precision, on GPUs only.
    #[enum_value(name = "Half precision (GPUs)", nick = "fp16")]
    Fp16 = 2,
}

/// Which channels go through the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstNnUpscaleMode")]
#[repr(i32)]
pub enum RouteMode {
    /// What suits the model.
    #[default]
    #[enum_value(name = "Auto: what suits the model", nick = "auto")]
    Auto = 0,
    /// Luma only, chroma by a filter.
    #[enum_value(name = "Luma only, chroma by a filter", nick = "luma")]
    Luma = 1,
    /// Red, green and blue.
    #[enum_value(name = "Red, green and blue", nick = "rgb")]
    Rgb = 2,
}

/// What becomes of alpha.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstNnUpscaleAlpha")]
#[repr(i32)]
pub enum AlphaMode {
    /// Upscaled by a filter.
    #[default]
    #[enum_value(name = "Upscaled by a filter", nick = "upscale")]
    Upscale = 0,
    /// Replaced by opaque.
    #[enum_value(name = "Replaced by opaque", nick = "drop")]
    Drop = 1,
}

/// What happens when the network is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstNnUpscaleQosMode")]
#[repr(i32)]
pub enum QosMode {
    /// Nothing: every frame goes through the network.
    #[default]
    #[enum_value(name = "Every frame goes through the network", nick = "off")]
    Off = 0,
    /// The classical upscale takes over, with a ramp.
    #[enum_value(
        name = "The classical upscale takes over, with a ramp",
        nick = "fallback"
    )]
    Fallback = 1,
    /// Late frames are dropped.
    #[enum_value(name = "Late frames are dropped", nick = "drop")]
    Drop = 2,
}

/// The classical upscale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstNnUpscaleFilter")]
#[repr(i32)]
pub enum FilterMode {
    /// Bilinear.
    #[enum_value(name = "Bilinear", nick = "bilinear")]
    Bilinear = 0,
    /// Bicubic (Keys, a = -0.5).
    #[default]
    #[enum_value(name = "Bicubic (Keys, a = -0.5)", nick = "bicubic")]
    Bicubic = 1,
    /// Lanczos with three lobes.
    #[enum_value(name = "Lanczos with three lobes", nick = "lanczos")]
    Lanczos = 2,
}

impl From<FilterMode> for Filter {
    fn from(f: FilterMode) -> Self {
        match f {
            FilterMode::Bilinear => Self::Bilinear,
            FilterMode::Bicubic => Self::Bicubic,
            FilterMode::Lanczos => Self::Lanczos,
        }
    }
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstNnUpscaleCompare")]
#[repr(i32)]
pub enum CompareMode {
    /// The result.
    #[default]
    #[enum_value(name = "The result", nick = "off")]
    Off = 0,
    /// The other upscale on the left of a split, the result on its right.
    #[enum_value(
        name = "The other upscale left of a split, the result right of it",
        nick = "split"
    )]
    Split = 1,
    /// Both beside each other, twice as wide.
    #[enum_value(name = "Both beside each other, twice as wide", nick = "side")]
    Side = 2,
}

/// The values of all properties.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub model: String,
    pub model_dir: Option<String>,
    pub device: Device,
    pub device_id: u32,
    pub precision: Precision,
    pub threads: u32,
    pub tile: i32,
    pub overlap: i32,
    pub batch_size: u32,
    pub mode: RouteMode,
    pub alpha: AlphaMode,
    pub qos_mode: QosMode,
    pub fallback_filter: FilterMode,
    pub deadline_ns: u64,
    pub force_fallback: bool,
    pub strength: f64,
    pub stabilize: f64,
    pub compare: CompareMode,
    pub compare_model: Option<String>,
    pub split_pos: f64,
    pub engine_cache_dir: Option<String>,
    pub memory_limit_mb: u32,
    pub gpu_memory_limit_mb: u32,
    pub gpu_slots: u32,
    pub stats_interval_ns: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: DEFAULT_MODEL.into(),
            model_dir: None,
            device: Device::default(),
            device_id: 0,
            precision: Precision::default(),
            threads: 0,
            tile: -1,
            overlap: -1,
            batch_size: 1,
            mode: RouteMode::default(),
            alpha: AlphaMode::default(),
            qos_mode: QosMode::default(),
            fallback_filter: FilterMode::default(),
            deadline_ns: 0,
            force_fallback: false,
            strength: DEFAULT_STRENGTH,
            stabilize: 0.0,
            compare: CompareMode::default(),
            compare_model: None,
            split_pos: DEFAULT_SPLIT,
            engine_cache_dir: None,
            memory_limit_mb: 512,
            gpu_memory_limit_mb: 0,
            gpu_slots: 0,
            stats_interval_ns: 0,
        }
    }
}

impl Settings {
    /// Where the network is to run.
    pub fn place(&self) -> Place {
        Place {
            processor: match self.device {
                Device::Auto => None,
                Device::Cpu => Some(Processor::Cpu),
                Device::Cuda => Some(Processor::Cuda),
                Device::TensorRt => Some(Processor::TensorRt),
            },
            id: self.device_id,
            precision: match self.precision {
                Precision::Auto => Format::Auto,
                Precision::Fp32 => Format::Single,
                Precision::Fp16 => Format::Half,
            },
            slots: (self.gpu_slots > 0).then_some(self.gpu_slots as usize),
            slot_folder: std::env::var_os(SLOT_FOLDER).map(Into::into),
            gpu_memory: (self.gpu_memory_limit_mb > 0)
                .then_some((self.gpu_memory_limit_mb as usize) << 20),
            engine_cache: self.engine_cache_dir.as_ref().map(Into::into),
        }
    }

    /// The choices for the engine.
    pub fn upscaler_options(&self) -> UpscalerOptions {
        UpscalerOptions {
            engine: Options {
                device: self.place(),
                threads: self.threads as usize,
                tile: match self.tile {
                    ..0 => Tile::Auto,
                    0 => Tile::Whole,
                    n => Tile::Size(n.unsigned_abs() as usize),
                },
                overlap: usize::try_from(self.overlap).ok(),
                batch: self.batch_size as usize,
                mode: match self.mode {
                    RouteMode::Auto => Mode::Auto,
                    RouteMode::Luma => Mode::Luma,
                    RouteMode::Rgb => Mode::Rgb,
                },
                keep_alpha: self.alpha == AlphaMode::Upscale,
                memory_limit: (self.memory_limit_mb as usize) << 20,
                filter: self.fallback_filter.into(),
            },
            strength: self.strength as f32,
            stabilize: self.stabilize as f32,
            compare: match self.compare {
                CompareMode::Off => Compare::Off,
                CompareMode::Split => Compare::Split,
                CompareMode::Side => Compare::Side,
            },
            split: self.split_pos as f32,
            filter: self.fallback_filter.into(),
        }
    }

    /// Sets a property; false for one that is not writable.
    pub fn set(&mut self, value: &glib::Value, pspec: &glib::ParamSpec) -> bool {
        fn put<T: for<'a> glib::value::FromValue<'a> + 'static>(to: &mut T, value: &glib::Value) {
            if let Ok(v) = value.get_owned::<T>() {
                *to = v;
            }
        }
        match pspec.name() {
            "model" => {
                self.model = value
                    .get::<Option<String>>()
                    .ok()
                    .flatten()
                    .unwrap_or_else(|| DEFAULT_MODEL.into());
            }
            "model-dir" => put(&mut self.model_dir, value),
            "device" => put(&mut self.device, value),
            "device-id" => put(&mut self.device_id, value),
            "precision" => put(&mut self.precision, value),
            "threads" => put(&mut self.threads, value),
            "tile" => put(&mut self.tile, value),
            "overlap" => put(&mut self.overlap, value),
            "batch-size" => put(&mut self.batch_size, value),
            "mode" => put(&mut self.mode, value),
            "alpha" => put(&mut self.alpha, value),
            "qos-mode" => put(&mut self.qos_mode, value),
            "fallback-filter" => put(&mut self.fallback_filter, value),
            "deadline" => put(&mut self.deadline_ns, value),
            "force-fallback" => put(&mut self.force_fallback, value),
            "strength" => put(&mut self.strength, value),
            "stabilize" => put(&mut self.stabilize, value),
            "compare" => put(&mut self.compare, value),
            "compare-model" => put(&mut self.compare_model, value),
            "split-pos" => put(&mut self.split_pos, value),
            "engine-cache-dir" => put(&mut self.engine_cache_dir, value),
            "memory-limit" => put(&mut self.memory_limit_mb, value),
            "gpu-mem-limit" => put(&mut self.gpu_memory_limit_mb, value),
            "gpu-slots" => put(&mut self.gpu_slots, value),
            "stats-interval" => put(&mut self.stats_interval_ns, value),
            _ => return false,
        }
        true
    }

    /// The value of a property; None for one that is no setting.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        Some(match pspec.name() {
            "model" => self.model.to_value(),
            "model-dir" => self.model_dir.to_value(),
            "device" => self.device.to_value(),
            "device-id" => self.device_id.to_value(),
            "precision" => self.precision.to_value(),
            "threads" => self.threads.to_value(),
            "tile" => self.tile.to_value(),
            "overlap" => self.overlap.to_value(),
            "batch-size" => self.batch_size.to_value(),
            "mode" => self.mode.to_value(),
            "alpha" => self.alpha.to_value(),
            "qos-mode" => self.qos_mode.to_value(),
            "fallback-filter" => self.fallback_filter.to_value(),
            "deadline" => self.deadline_ns.to_value(),
            "force-fallback" => self.force_fallback.to_value(),
            "strength" => self.strength.to_value(),
            "stabilize" => self.stabilize.to_value(),
            "compare" => self.compare.to_value(),
            "compare-model" => self.compare_model.to_value(),
            "split-pos" => self.split_pos.to_value(),
            "engine-cache-dir" => self.engine_cache_dir.to_value(),
            "memory-limit" => self.memory_limit_mb.to_value(),
            "gpu-mem-limit" => self.gpu_memory_limit_mb.to_value(),
            "gpu-slots" => self.gpu_slots.to_value(),
            "stats-interval" => self.stats_interval_ns.to_value(),
            _ => return None,
        })
    }
}

/// The ParamSpecs, settings and read-only ones.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let d = Settings::default();
        vec![
            glib::ParamSpecString::builder("model")
                .nick("Model")
                .blurb("ONNX file, or the name of a model in a model folder")
                .default_value(Some(DEFAULT_MODEL))
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("model-dir")
                .nick("Model folder")
                .blurb("Folder in which models are looked up first (then GST_NEURAL_MODEL_PATH and the shipped ones)")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("device", d.device)
                .nick("Device")
                .blurb("Where the network runs; auto = on a GPU if it and ONNX Runtime's CUDA provider are there")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("device-id")
                .nick("Device number")
                .blurb("Which GPU, if there are several")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("precision", d.precision)
                .nick("Precision")
                .blurb("Number format of the network; a result that half precision spoils is computed again in single")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("threads")
                .nick("Threads")
                .blurb("Threads for the network, 0 = one for each core")
                .maximum(1024)
                .mutable_ready()
                .build(),
            glib::ParamSpecInt::builder("tile")
                .nick("Tile size")
                .blurb("Side of a tile in input pixels, without its overlap; 0 = whole frame, -1 = as large as memory-limit allows")
                .minimum(-1)
                .maximum(16384)
                .default_value(d.tile)
                .mutable_ready()
                .build(),
            glib::ParamSpecInt::builder("overlap")
                .nick("Tile overlap")
                .blurb("Input pixels added on each side of a tile, -1 = what the model needs for seamless tiles")
                .minimum(-1)
                .maximum(1024)
                .default_value(d.overlap)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("batch-size")
                .nick("Batch size")
                .blurb("Frames or tiles for one run of the network; more than 1 delays live streams")
                .minimum(1)
                .maximum(64)
                .default_value(d.batch_size)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("mode", d.mode)
                .nick("Mode")
                .blurb("Which channels go through the network")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("alpha", d.alpha)
                .nick("Alpha")
                .blurb("What becomes of an alpha channel")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("qos-mode", d.qos_mode)
                .nick("QoS mode")
                .blurb("What happens when the network is too slow for the stream")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("fallback-filter", d.fallback_filter)
                .nick("Fallback filter")
                .blurb("The classical upscale: for chroma, for compare, and when the network is too slow")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt64::builder("deadline")
                .nick("Deadline")
                .blurb("Delay in ns that may build up before qos-mode acts, 0 = three frames")
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("force-fallback")
                .nick("Force fallback")
                .blurb("Take the classical upscale while this is set, for example to leave the processor to another stream; with the ramp of qos-mode, if that is on")
                .mutable_playing()
                .build(),
            glib::ParamSpecDouble::builder("strength")
                .nick("Strength")
                .blurb("Weight of the network against the classical upscale")
                .minimum(0.0)
                .maximum(1.0)
                .default_value(d.strength)
                .mutable_ready()
                .build(),
            glib::ParamSpecDouble::builder("stabilize")
                .nick("Stabilize")
                .blurb("Temporal averaging of the added detail where nothing moves, against flicker")
                .minimum(0.0)
                .maximum(1.0)
                .default_value(d.stabilize)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("compare", d.compare)
                .nick("Compare")
                .blurb("Show another upscale and the result in one picture")
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("compare-model")
                .nick("Compared model")
                .blurb("The model to compare with; none = the classical upscale")
                .mutable_ready()
                .build(),
            glib::ParamSpecDouble::builder("split-pos")
                .nick("Split position")
                .blurb("Where compare=split divides the picture, as a part of its width")
                .minimum(0.0)
                .maximum(1.0)
                .default_value(d.split_pos)
                .mutable_playing()
                .build(),
            glib::ParamSpecString::builder("engine-cache-dir")
                .nick("Engine cache")
                .blurb("Folder for compiled TensorRT engines; unused on the CPU")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("memory-limit")
                .nick("Memory limit")
                .blurb("MiB that the network's activations may take when tile=-1")
                .minimum(16)
                .maximum(1 << 20)
                .default_value(d.memory_limit_mb)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("gpu-mem-limit")
                .nick("GPU memory limit")
                .blurb("MiB of GPU memory that all elements of this process may take together, 0 = no limit; unused on the CPU")
                .maximum(1 << 20)
                .default_value(d.gpu_memory_limit_mb)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("gpu-slots")
                .nick("GPU slots")
                .blurb("How many elements of this process use the GPU at once, others wait; 0 = any number. With GST_NEURAL_GPU_SLOT_DIR those of all processes")
                .maximum(1024)
                .default_value(d.gpu_slots)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt64::builder("stats-interval")
                .nick("Statistics interval")
                .blurb("Stream time in ns between two nnupscale-stats messages, 0 = only one at the end")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("scale")
                .nick("Scale")
                .blurb("Output size / input size of the loaded model, 0 before READY to PAUSED")
                .read_only()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb("Frames, fallback frames, tiles, reused tiles, inference times, device and precision in use")
                .read_only()
                .build(),
        ]
    });
    &PROPERTIES
}
