//! The properties of `psnrsink`.

use std::{
    path::{Path, PathBuf},
    sync::{LazyLock, OnceLock},
};

use gst::{glib, prelude::*};
use gstneural_inference::runtime;
use gstneural_metrics::{Config, Limits, MetricError, VmafModels};
use gstneural_pixels::{Filter, PixelFormat};

static ANCHOR: OnceLock<PathBuf> = OnceLock::new();

/// Remembers the plugin's file, from which ONNX Runtime is looked up.
pub(super) fn set_anchor(file: Option<PathBuf>) {
    if let Some(file) = file.or_else(|| std::env::current_exe().ok()) {
        ANCHOR.get_or_init(|| file);
    }
}

const DEFAULT_METRICS: &str = "psnr,ssim";
const DEFAULT_MODEL: &str = "v0.6.1";
const DEFAULT_MAX_QUEUE: u32 = 32;
const DEFAULT_STALL: gst::ClockTime = gst::ClockTime::from_seconds(120);

/// How frames find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstPsnrSinkPairing")]
#[repr(i32)]
pub enum Pairing {
    /// By running time.
    #[default]
    #[enum_value(name = "By running time", nick = "time")]
    Time = 0,
    /// The first with the first, the second with the second.
    #[enum_value(
        name = "The first with the first, the second with the second",
        nick = "count"
    )]
    Count = 1,
}

/// What happens to distorted frames of another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstPsnrSinkScale")]
#[repr(i32)]
pub enum Scale {
    /// They are an error.
    #[default]
    #[enum_value(name = "Another size is an error", nick = "off")]
    Off = 0,
    /// They are scaled to the reference's size, bicubic (Keys, a = -0.5).
    #[enum_value(
        name = "Bicubic (Keys, a = -0.5) to the reference's size",
        nick = "bicubic"
    )]
    Bicubic = 1,
    /// They are scaled to the reference's size, Lanczos with three lobes.
    #[enum_value(
        name = "Lanczos (three lobes) to the reference's size",
        nick = "lanczos"
    )]
    Lanczos = 2,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstPsnrSinkLogFormat")]
#[repr(i32)]
pub enum LogFormat {
    /// Comma-separated values with a header.
    #[default]
    #[enum_value(name = "Comma-separated values with a header", nick = "csv")]
    Csv = 0,
    /// An object of JSON a line.
    #[enum_value(name = "An object of JSON a line", nick = "ndjson")]
    Ndjson = 1,
}

/// The values of all properties.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub metrics: String,
    pub vmaf_model: String,
    pub lpips_model: Option<String>,
    pub threads: u32,
    pub scale: Scale,
    pub pairing: Pairing,
    pub tolerance: i64,
    pub strict: bool,
    pub fail_under: Option<String>,
    pub fail_over: Option<String>,
    pub log: Option<String>,
    pub log_format: LogFormat,
    pub message_per_frame: bool,
    pub max_queue: u32,
    pub stall_timeout_ns: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            metrics: DEFAULT_METRICS.into(),
            vmaf_model: DEFAULT_MODEL.into(),
            lpips_model: None,
            threads: 0,
            scale: Scale::default(),
            pairing: Pairing::default(),
            tolerance: -1,
            strict: false,
            fail_under: None,
            fail_over: None,
            log: None,
            log_format: LogFormat::default(),
            message_per_frame: false,
            max_queue: DEFAULT_MAX_QUEUE,
            stall_timeout_ns: DEFAULT_STALL.nseconds(),
        }
    }
}

/// Settings that were understood.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub config: Config,
    pub under: Limits,
    pub over: Limits,
    pub by_time: bool,
    /// None is half a frame.
    pub tolerance_ns: Option<u64>,
    pub strict: bool,
    pub log: Option<(PathBuf, LogFormat)>,
    pub message_per_frame: bool,
    pub stall_timeout_ns: Option<u64>,
}

impl Settings {
    /// Reads the texts, loads the models once, checks the limits.
    pub fn plan(&self) -> Result<Plan, MetricError> {
        let config = Config {
            metrics: self.metrics.parse()?,
            models: VmafModels::from(self.vmaf_model.as_str()),
            threads: self.threads as usize,
            lpips_model: self.lpips_model.as_ref().map(PathBuf::from),
            runtime_roots: ANCHOR
                .get()
                .map(|file| runtime::roots(Path::new(file)))
                .unwrap_or_default(),
            scale: match self.scale {
                Scale::Off => None,
                Scale::Bicubic => Some(Filter::Bicubic),
                Scale::Lanczos => Some(Filter::Lanczos),
            },
        };
        config.check()?;
        let limits = |text: &Option<String>, under| {
            let limits: Limits = text.as_deref().unwrap_or_default().parse()?;
            // Which columns there are depends on the format: of colour there are most.
            let columns = config.metrics.columns(PixelFormat::I420, &config.models);
            limits.check(&columns, under)?;
            Ok::<_, MetricError>(limits)
        };
        Ok(Plan {
            under: limits(&self.fail_under, true)?,
            over: limits(&self.fail_over, false)?,
            config,
            by_time: self.pairing == Pairing::Time,
            tolerance_ns: u64::try_from(self.tolerance).ok(),
            strict: self.strict,
            log: self.log.as_ref().map(|path| (path.into(), self.log_format)),
            message_per_frame: self.message_per_frame,
            stall_timeout_ns: (self.stall_timeout_ns > 0).then_some(self.stall_timeout_ns),
        })
    }

    /// Sets a property; false for one that is not writable.
    pub fn set(&mut self, value: &glib::Value, pspec: &glib::ParamSpec) -> bool {
        fn put<T: for<'a> glib::value::FromValue<'a> + 'static>(to: &mut T, value: &glib::Value) {
            if let Ok(v) = value.get_owned::<T>() {
                *to = v;
            }
        }
        let text = |default: &str| {
            let text = value.get::<Option<String>>().ok().flatten();
            text.unwrap_or_else(|| default.to_owned())
        };
        match pspec.name() {
            "metrics" => self.metrics = text(DEFAULT_METRICS),
            "vmaf-model" => self.vmaf_model = text(DEFAULT_MODEL),
            "lpips-model" => put(&mut self.lpips_model, value),
            "threads" => put(&mut self.threads, value),
            "scale" => put(&mut self.scale, value),
            "pairing" => put(&mut self.pairing, value),
            "tolerance" => put(&mut self.tolerance, value),
            "strict" => put(&mut self.strict, value),
            "fail-under" => put(&mut self.fail_under, value),
            "fail-over" => put(&mut self.fail_over, value),
            "log" => put(&mut self.log, value),
            "log-format" => put(&mut self.log_format, value),
            "message-per-frame" => put(&mut self.message_per_frame, value),
            "max-queue" => put(&mut self.max_queue, value),
            "stall-timeout" => put(&mut self.stall_timeout_ns, value),
            _ => return false,
        }
        true
    }

    /// The value of a property; None for one that is no setting.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        Some(match pspec.name() {
            "metrics" => self.metrics.to_value(),
            "vmaf-model" => self.vmaf_model.to_value(),
            "lpips-model" => self.lpips_model.to_value(),
            "threads" => self.threads.to_value(),
            "scale" => self.scale.to_value(),
            "pairing" => self.pairing.to_value(),
            "tolerance" => self.tolerance.to_value(),
            "strict" => self.strict.to_value(),
            "fail-under" => self.fail_under.to_value(),
            "fail-over" => self.fail_over.to_value(),
            "log" => self.log.to_value(),
            "log-format" => self.log_format.to_value(),
            "message-per-frame" => self.message_per_frame.to_value(),
            "max-queue" => self.max_queue.to_value(),
            "stall-timeout" => self.stall_timeout_ns.to_value(),
            _ => return None,
        })
    }
}

/// The ParamSpecs, settings and read-only ones.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let d = Settings::default();
        vec![
            glib::ParamSpecString::builder("metrics")
                .nick("Metrics")
                .blurb("What is measured, with commas: psnr, ssim, float-ssim, ms-ssim, vmaf, vmaf-features, cambi, ciede2000, psnr-hvs, temporal, lpips, net-distance")
                .default_value(Some(DEFAULT_METRICS))
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("vmaf-model")
                .nick("VMAF models")
                .blurb("Models of VMAF, with commas: v0.6.1, neg, 4k, 4k-neg, phone, or JSON files; each is a metric of its own")
                .default_value(Some(DEFAULT_MODEL))
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("lpips-model")
                .nick("LPIPS model")
                .blurb("The ONNX file for lpips and net-distance; none comes with the element (models/training/lpips.py makes one)")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("threads")
                .nick("Threads")
                .blurb("Threads of libvmaf and of networks for each distorted pad (0 = one for each processor)")
                .maximum(64)
                .default_value(d.threads)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("scale", d.scale)
                .nick("Scale")
                .blurb("What happens to distorted frames of another size than the reference's")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("pairing", d.pairing)
                .nick("Pairing")
                .blurb("How a distorted frame finds its frame of the reference")
                .mutable_ready()
                .build(),
            glib::ParamSpecInt64::builder("tolerance")
                .nick("Tolerance")
                .blurb("How far apart in ns the running times of a pair may be (-1 = half a frame of the reference)")
                .minimum(-1)
                .default_value(d.tolerance)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("strict")
                .nick("Strict")
                .blurb("Make missing, extra, repeated and late frames, another frame rate or length an error")
                .default_value(d.strict)
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("fail-under")
                .nick("Fail under")
                .blurb("Least values at the end, COLUMN[.POOL]=VALUE with commas, such as vmaf=80,psnr-y.min=30; POOL is mean, harmonic, min, max, p1 or p5")
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("fail-over")
                .nick("Fail over")
                .blurb("Greatest values at the end, for what is better when it is less, such as cambi=5")
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("log")
                .nick("Log")
                .blurb("File for a line for each pair; it appears when the stream has ended")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("log-format", d.log_format)
                .nick("Log format")
                .blurb("Form of the log")
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("message-per-frame")
                .nick("Message per frame")
                .blurb("Post psnrsink-frame for each pair")
                .default_value(d.message_per_frame)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("max-queue")
                .nick("Max. queue")
                .blurb("Frames that each pad may hold while it waits for the others")
                .minimum(1)
                .maximum(10_000)
                .default_value(d.max_queue)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt64::builder("stall-timeout")
                .nick("Stall timeout")
                .blurb("Nanoseconds for which one pad may be full while another gets nothing, before that is an error (0 = forever)")
                .default_value(d.stall_timeout_ns)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("summary")
                .nick("Summary")
                .blurb("The summary of the last stream that ended, as in the message psnrsink-summary")
                .read_only()
                .build(),
        ]
    });
    &PROPERTIES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_checked_before_the_first_frame() {
        let plan = |change: fn(&mut Settings)| {
            let mut s = Settings::default();
            change(&mut s);
            s.plan().map_err(|e| e.to_string())
        };
        let plain = plan(|_| ()).unwrap();
        assert_eq!((plain.tolerance_ns, plain.by_time), (None, true));
        for (change, text) in [
            (
                (|s| s.metrics = "psnr,niqe".into()) as fn(&mut Settings),
                "niqe",
            ),
            (
                |s| s.fail_under = Some("vmaf=80".into()),
                "vmaf is not measured",
            ),
            (
                |s| s.fail_under = Some("psnr-y=high".into()),
                "not a number",
            ),
            (
                |s| {
                    s.metrics = "vmaf".into();
                    s.vmaf_model = "v7".into();
                },
                "v7",
            ),
            (|s| s.metrics = "psnr,lpips".into(), "lpips-model"),
            (
                |s| {
                    s.metrics = "net-distance".into();
                    s.lpips_model = Some("/no/such.onnx".into());
                },
                "/no/such.onnx",
            ),
            (
                |s| {
                    s.metrics = "cambi".into();
                    s.fail_under = Some("cambi=3".into());
                },
                "fail-over",
            ),
        ] {
            let error = plan(change).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
