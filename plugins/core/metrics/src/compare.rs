//! Pairs of frames to scores.

use std::{collections::VecDeque, path::PathBuf};

use gstneural_pixels::{
    Color, Component, Family, Filter, FrameBuf, FrameRef, FrameScaler, PixelFormat,
};

use crate::{
    Column, Metric, MetricError, MetricList, VmafModels,
    psnr::FrameError,
    ssim::{SSIM_LEAST, Ssim},
    temporal::Temporal,
};

#[cfg(feature = "lpips")]
use crate::lpips::{self, NetDistance};
#[cfg(feature = "vmaf")]
use crate::vmaf::VmafSession;

/// What is measured, and how.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The metrics.
    pub metrics: MetricList,
    /// Models for [`Metric::Vmaf`].
    pub models: VmafModels,
    /// Threads for libvmaf, and for networks; 0 is one for each processor.
    pub threads: usize,
    /// The ONNX file for [`Metric::Lpips`] and [`Metric::NetDistance`].
    pub lpips_model: Option<PathBuf>,
    /// Folders to look for ONNX Runtime in; see `gstneural_inference::runtime::roots`.
    pub runtime_roots: Vec<PathBuf>,
    /// The filter by which a distorted frame of another size is brought to the reference's size;
    /// None makes another size an error.
    pub scale: Option<Filter>,
}

impl Config {
    /// Tries what can be tried without a frame: that the models can be loaded, and that what is
    /// asked for was built in.
    ///
    /// # Errors
    /// What [`Comparer::new`] would fail with for any frame.
    pub fn check(&self) -> Result<(), MetricError> {
        #[cfg(not(feature = "vmaf"))]
        if let Some(metric) = self.metrics.iter().find(|m| m.needs_vmaf()) {
            return Err(MetricError::NoVmaf {
                metric: metric.name(),
            });
        }
        #[cfg(feature = "vmaf")]
        if self.metrics.contains(Metric::Vmaf) {
            crate::vmaf::check_models(&self.models)?;
        }
        #[cfg(not(feature = "lpips"))]
        if let Some(metric) = self.metrics.iter().find(|m| m.needs_network()) {
            return Err(MetricError::NoRuntime {
                metric: metric.name(),
            });
        }
        #[cfg(feature = "lpips")]
        for metric in self.metrics.iter().filter(|m| m.needs_network()) {
            lpips::open(metric, self.lpips_model.as_deref(), &self.runtime_roots)?;
        }
        Ok(())
    }
}

/// The scores of one pair.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameScores {
    /// The how manieth pair it is, from 0.
    pub index: u64,
    /// A value for each of [`Comparer::columns`]; None where a frame has none, such as the motion
    /// of a first frame.
    pub values: Vec<Option<f64>>,
    /// The squared errors; without [`Metric::Psnr`] only whether there are any, see
    /// [`FrameError::same_or_nan`].
    pub error: FrameError,
}

impl FrameScores {
    /// Scores without a value.
    pub fn empty(index: u64, columns: usize) -> Self {
        Self {
            index,
            values: vec![None; columns],
            error: FrameError::default(),
        }
    }

    /// Whether the two frames are the same in every sample (PSNR is
    /// [`PSNR_CAP_DB`](crate::psnr::PSNR_CAP_DB) then).
    pub fn identical(&self) -> bool {
        self.error.planes > 0 && self.error.identical()
    }
}

/// Measures one distorted stream against one reference.
#[derive(Debug)]
pub struct Comparer {
    columns: Vec<Column>,
    format: PixelFormat,
    size: (usize, usize),
    metrics: MetricList,
    scale: Option<Filter>,
    scaler: Option<Scaler>,
    ssim: Ssim,
    temporal: Temporal,
    #[cfg(feature = "vmaf")]
    vmaf: Option<VmafSession>,
    #[cfg(feature = "lpips")]
    networks: Vec<(Metric, NetDistance)>,
    /// Pairs that libvmaf has not finished.
    waiting: VecDeque<FrameScores>,
    pairs: u64,
}

#[derive(Debug)]
struct Scaler {
    src: (PixelFormat, (usize, usize), Color),
    scaler: FrameScaler,
    out: FrameBuf,
}

/// Whether a format can be measured: Y'CbCr or grey of 8 or 10 bits.
pub fn measurable(format: PixelFormat) -> bool {
    let info = format.info();
    matches!(info.family, Family::Yuv | Family::Gray) && matches!(info.depth, 8 | 10)
}

fn subsampling(format: PixelFormat) -> Vec<(u8, u8)> {
    let sub = |c: &Component| (c.sub_w, c.sub_h);
    format.info().components.iter().map(sub).collect()
}

impl Comparer {
    /// A comparer for frames like `reference`.
    ///
    /// # Errors
    /// If a metric cannot be measured on this format or size, a model cannot be loaded, or a metric
    /// needs libvmaf and the crate was built without.
    pub fn new(config: &Config, reference: &FrameRef<'_>) -> Result<Self, MetricError> {
        let format = reference.format();
        let size = (reference.width(), reference.height());
        if !measurable(format) {
            return Err(MetricError::Format(format));
        }
        let metrics = config.metrics.clone();
        if metrics.contains(Metric::Ssim) && size.0.min(size.1) < SSIM_LEAST {
            return Err(MetricError::TooSmall {
                metric: Metric::Ssim.name(),
                width: size.0,
                height: size.1,
                least: SSIM_LEAST,
            });
        }
        #[cfg(not(all(feature = "vmaf", feature = "lpips")))]
        config.check()?;
        #[cfg(feature = "lpips")]
        let networks = metrics
            .iter()
            .filter(|m| m.needs_network())
            .map(|metric| {
                let file = config.lpips_model.as_deref();
                let model = lpips::open(metric, file, &config.runtime_roots)?;
                let network = NetDistance::new(&model, metric, reference, config.threads)?;
                Ok((metric, network))
            })
            .collect::<Result<_, MetricError>>()?;
        Ok(Self {
            columns: metrics.columns(format, &config.models),
            format,
            size,
            scale: config.scale,
            scaler: None,
            ssim: Ssim::new(),
            temporal: Temporal::new(),
            #[cfg(feature = "vmaf")]
            vmaf: VmafSession::new(config, format, size)?,
            #[cfg(feature = "lpips")]
            networks,
            metrics,
            waiting: VecDeque::new(),
            pairs: 0,
        })
    }

    /// The columns of the scores.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Measures a pair; gives the scores that are complete, in order. VMAF looks one frame ahead
    /// and works on several frames at a time, so that its scores come later: call until they come,
    /// and [`Self::finish`] at the end.
    ///
    /// # Errors
    /// If the frames do not go together, or libvmaf fails.
    pub fn push(
        &mut self,
        reference: &FrameRef<'_>,
        distorted: &FrameRef<'_>,
    ) -> Result<Vec<FrameScores>, MetricError> {
        let size = (reference.width(), reference.height());
        if (reference.format(), size) != (self.format, self.size) {
            let text = |f: PixelFormat, (w, h)| format!("{} {w}x{h}", f.info().name);
            return Err(MetricError::ReferenceChanged(
                text(self.format, self.size),
                text(reference.format(), size),
            ));
        }
        let format = distorted.format();
        let alike = format.info().depth == self.format.info().depth
            && subsampling(format) == subsampling(self.format)
            && measurable(format);
        if !alike {
            return Err(MetricError::FormatMismatch {
                reference: self.format,
                distorted: format,
            });
        }
        let mut scaler = self.scaler.take();
        let result = self
            .scaled(&mut scaler, distorted)
            .and_then(|distorted| self.measure(reference, &distorted));
        self.scaler = scaler;
        result
    }

    fn scaled<'a>(
        &self,
        scaler: &'a mut Option<Scaler>,
        distorted: &FrameRef<'a>,
    ) -> Result<FrameRef<'a>, MetricError> {
        let size = (distorted.width(), distorted.height());
        if size == self.size {
            return Ok(*distorted);
        }
        let Some(filter) = self.scale else {
            return Err(MetricError::SizeMismatch {
                reference: self.size,
                distorted: size,
            });
        };
        let (format, color) = (distorted.format(), distorted.color());
        let src = (format, size, color);
        if scaler.as_ref().is_none_or(|s| s.src != src) {
            let (w, h) = self.size;
            *scaler = Some(Scaler {
                src,
                scaler: FrameScaler::new(format, size.0, size.1, w, h, color.site, filter)?,
                out: FrameBuf::new(format, w, h, color)?,
            });
        }
        let Some(scaler) = scaler else {
            unreachable!("made just now");
        };
        scaler.scaler.run(distorted, &mut scaler.out.as_mut());
        Ok(scaler.out.as_ref())
    }

    fn measure(
        &mut self,
        reference: &FrameRef<'_>,
        distorted: &FrameRef<'_>,
    ) -> Result<Vec<FrameScores>, MetricError> {
        #[cfg(feature = "vmaf")]
        if let Some(vmaf) = &mut self.vmaf {
            // First, so that its threads work while the rest is measured here.
            vmaf.push(reference, distorted)?;
        }
        let mut scores = FrameScores::empty(self.pairs, self.columns.len());
        scores.error = match self.metrics.contains(Metric::Psnr) {
            true => FrameError::new(reference, distorted),
            false => FrameError::same_or_nan(reference, distorted),
        };
        self.pairs += 1;
        let e = scores.error;
        for metric in self.metrics.iter() {
            match metric {
                Metric::Psnr => {
                    put(&self.columns, &mut scores, "psnr-y", e.plane(0));
                    put(&self.columns, &mut scores, "psnr-u", e.plane(1));
                    put(&self.columns, &mut scores, "psnr-v", e.plane(2));
                    put(&self.columns, &mut scores, "psnr-avg", Some(e.average()));
                    put(&self.columns, &mut scores, "psnr-611", Some(e.weighted()));
                }
                Metric::Ssim => {
                    let s = self.ssim.frame(reference, distorted);
                    put(&self.columns, &mut scores, "ssim-y", s.planes[0]);
                    put(&self.columns, &mut scores, "ssim-u", s.planes[1]);
                    put(&self.columns, &mut scores, "ssim-v", s.planes[2]);
                    put(&self.columns, &mut scores, "ssim", s.all);
                }
                Metric::Temporal => {
                    let (a, b) = (reference.component(0), distorted.component(0));
                    if let Some(t) = self.temporal.push(&a, &b) {
                        let c = &self.columns;
                        put(c, &mut scores, "temporal-noise", Some(t.noise));
                        put(c, &mut scores, "static-noise", t.static_noise);
                        put(c, &mut scores, "warp-error", Some(t.warp_error));
                        put(c, &mut scores, "warp-error-ref", Some(t.warp_error_ref));
                    }
                }
                _ => {}
            }
        }
        #[cfg(feature = "lpips")]
        for (metric, network) in &mut self.networks {
            let distance = network.frame(reference, distorted)?;
            put(&self.columns, &mut scores, metric.name(), Some(distance));
        }
        self.waiting.push_back(scores);
        self.complete()
    }

    /// The pairs that are complete.
    fn complete(&mut self) -> Result<Vec<FrameScores>, MetricError> {
        #[cfg(feature = "vmaf")]
        if let Some(vmaf) = &mut self.vmaf {
            let mut done = Vec::new();
            while let Some(scores) = self.waiting.front_mut() {
                let Some(values) = vmaf.next_scores()? else {
                    break;
                };
                for (column, value) in values {
                    put(&self.columns, scores, &column, Some(value));
                }
                done.extend(self.waiting.pop_front());
            }
            return Ok(done);
        }
        Ok(self.waiting.drain(..).collect())
    }

    /// Ends the stream; gives the scores that were still missing.
    ///
    /// # Errors
    /// If libvmaf fails.
    pub fn finish(&mut self) -> Result<Vec<FrameScores>, MetricError> {
        #[cfg(feature = "vmaf")]
        if let Some(vmaf) = &mut self.vmaf {
            vmaf.flush()?;
        }
        self.complete()
    }
}

fn put(columns: &[Column], scores: &mut FrameScores, name: &str, value: Option<f64>) {
    if let Some(at) = columns.iter().position(|c| c.name == name) {
        scores.values[at] = value;
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
