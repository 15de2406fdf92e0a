//! The metrics by name, and the columns of numbers that they give.

use std::{fmt, str::FromStr};

use gstneural_pixels::{Family, PixelFormat};

use crate::MetricError;

/// Something to be measured; most give several [`Column`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Peak signal-to-noise ratio per plane, over all samples, weighted 6:1:1.
    Psnr,
    /// Structural similarity as ffmpeg's filter `ssim` has it.
    Ssim,
    /// Structural similarity with Gaussian windows as libvmaf's `float_ssim` has it; luma.
    FloatSsim,
    /// Multi-scale structural similarity as libvmaf's `float_ms_ssim` has it; luma.
    MsSsim,
    /// VMAF; luma.
    Vmaf,
    /// VMAF's elementary features: ADM, VIF at four scales, motion; luma.
    VmafFeatures,
    /// Visible banding of the distorted frame (no reference).
    Cambi,
    /// Colour difference CIEDE2000, as libvmaf's 45 - 20 log10(dE).
    Ciede2000,
    /// PSNR weighted by the eye's contrast sensitivity (PSNR-HVS-M), as libvmaf has it.
    PsnrHvs,
    /// Flicker and noise along the reference's motion; luma.
    Temporal,
    /// LPIPS 0.1: the distance of the pictures to a network; less is better.
    Lpips,
    /// What any network of two images gives; less is better.
    NetDistance,
}

impl Metric {
    /// All of them.
    pub const ALL: &[Metric] = &[
        Metric::Psnr,
        Metric::Ssim,
        Metric::FloatSsim,
        Metric::MsSsim,
        Metric::Vmaf,
        Metric::VmafFeatures,
        Metric::Cambi,
        Metric::Ciede2000,
        Metric::PsnrHvs,
        Metric::Temporal,
        Metric::Lpips,
        Metric::NetDistance,
    ];

    /// The name that lists use.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Psnr => "psnr",
            Metric::Ssim => "ssim",
            Metric::FloatSsim => "float-ssim",
            Metric::MsSsim => "ms-ssim",
            Metric::Vmaf => "vmaf",
            Metric::VmafFeatures => "vmaf-features",
            Metric::Cambi => "cambi",
            Metric::Ciede2000 => "ciede2000",
            Metric::PsnrHvs => "psnr-hvs",
            Metric::Temporal => "temporal",
            Metric::Lpips => "lpips",
            Metric::NetDistance => "net-distance",
        }
    }

    /// Whether libvmaf measures it.
    pub fn needs_vmaf(self) -> bool {
        match self {
            Metric::Psnr | Metric::Ssim | Metric::Temporal => false,
            other => !other.needs_network(),
        }
    }

    /// Whether a network measures it, which [`Config::lpips_model`](crate::Config::lpips_model)
    /// names.
    pub fn needs_network(self) -> bool {
        matches!(self, Metric::Lpips | Metric::NetDistance)
    }

    /// The names of the columns it gives for frames of `format`.
    fn columns(self, format: PixelFormat, models: &VmafModels) -> Vec<String> {
        let colour = format.info().family == Family::Yuv;
        let names: &[&str] = match self {
            Metric::Psnr if colour => &["psnr-y", "psnr-u", "psnr-v", "psnr-avg", "psnr-611"],
            Metric::Psnr => &["psnr-y"],
            Metric::Ssim if colour => &["ssim-y", "ssim-u", "ssim-v", "ssim"],
            Metric::Ssim => &["ssim-y", "ssim"],
            Metric::FloatSsim => &["float-ssim"],
            Metric::MsSsim => &["ms-ssim"],
            Metric::Vmaf => return models.0.iter().map(VmafModel::column).collect(),
            Metric::VmafFeatures => VMAF_FEATURES,
            Metric::Cambi => &["cambi"],
            Metric::Ciede2000 => &["ciede2000"],
            Metric::PsnrHvs => &["psnr-hvs"],
            Metric::Temporal => TEMPORAL,
            Metric::Lpips => &["lpips"],
            Metric::NetDistance => &["net-distance"],
        };
        names.iter().map(|n| (*n).to_owned()).collect()
    }
}

/// Columns of [`Metric::VmafFeatures`].
pub(crate) const VMAF_FEATURES: &[&str] = &[
    "adm2",
    "vif-scale0",
    "vif-scale1",
    "vif-scale2",
    "vif-scale3",
    "motion2",
];
/// Columns of [`Metric::Temporal`].
pub(crate) const TEMPORAL: &[&str] = &[
    "temporal-noise",
    "static-noise",
    "warp-error",
    "warp-error-ref",
];

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(s: &str) -> Result<Self, MetricError> {
        Metric::ALL
            .iter()
            .copied()
            .find(|m| m.name() == s)
            .ok_or_else(|| MetricError::UnknownMetric {
                name: s.to_owned(),
                known: names(),
            })
    }
}

fn names() -> String {
    let names: Vec<_> = Metric::ALL.iter().map(|m| m.name()).collect();
    names.join(", ")
}

/// Metrics in the order in which they were named, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricList(Vec<Metric>);

impl Default for MetricList {
    /// PSNR and SSIM.
    fn default() -> Self {
        Self(vec![Metric::Psnr, Metric::Ssim])
    }
}

impl MetricList {
    /// A list of `metrics`, each once.
    pub fn new(metrics: impl IntoIterator<Item = Metric>) -> Self {
        let mut list = Vec::new();
        for m in metrics {
            if !list.contains(&m) {
                list.push(m);
            }
        }
        Self(list)
    }

    /// The metrics.
    pub fn iter(&self) -> impl Iterator<Item = Metric> {
        self.0.iter().copied()
    }

    /// Whether `metric` is one of them.
    pub fn contains(&self, metric: Metric) -> bool {
        self.0.contains(&metric)
    }

    /// The columns that frames of `format` get.
    pub fn columns(&self, format: PixelFormat, models: &VmafModels) -> Vec<Column> {
        self.iter()
            .flat_map(|metric| {
                let names = metric.columns(format, models);
                names.into_iter().map(move |name| Column { name, metric })
            })
            .collect()
    }
}

impl FromStr for MetricList {
    type Err = MetricError;

    /// A list with commas between the names, such as `psnr,ssim,vmaf`.
    fn from_str(s: &str) -> Result<Self, MetricError> {
        let metrics: Result<Vec<_>, _> = parts(s).map(Metric::from_str).collect();
        let metrics = metrics?;
        if metrics.is_empty() {
            return Err(MetricError::UnknownMetric {
                name: s.to_owned(),
                known: names(),
            });
        }
        Ok(Self::new(metrics))
    }
}

impl fmt::Display for MetricList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|m| m.name()).collect();
        f.write_str(&names.join(","))
    }
}

pub(crate) fn parts(s: &str) -> impl Iterator<Item = &str> {
    s.split(',').map(str::trim).filter(|s| !s.is_empty())
}

/// A number that each frame gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, such as `psnr-y`.
    pub name: String,
    /// The metric it belongs to.
    pub metric: Metric,
}

impl Column {
    /// Whether more is better; less is for banding, noise and distances.
    pub fn higher_is_better(&self) -> bool {
        !matches!(
            self.metric,
            Metric::Cambi | Metric::Temporal | Metric::Lpips | Metric::NetDistance
        )
    }
}

/// A model of VMAF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VmafModel {
    /// `v0.6.1`: a 1080p television at three times its height.
    V061,
    /// `neg`: v0.6.1 that gives no credit for enhancement such as sharpening.
    Neg,
    /// `4k`: a 4K television at one and a half times its height.
    FourK,
    /// `4k-neg`: as `4k`, without credit for enhancement.
    FourKNeg,
    /// `phone`: v0.6.1 with the transform for a phone's screen.
    Phone,
    /// Any other version that is compiled into libvmaf, or a JSON file (a path with a `/` or the
    /// ending `.json`).
    Other(String),
}

impl VmafModel {
    /// Name of the column; `vmaf` for v0.6.1.
    pub fn column(&self) -> String {
        match self {
            VmafModel::V061 => "vmaf".into(),
            VmafModel::Neg => "vmaf-neg".into(),
            VmafModel::FourK => "vmaf-4k".into(),
            VmafModel::FourKNeg => "vmaf-4k-neg".into(),
            VmafModel::Phone => "vmaf-phone".into(),
            VmafModel::Other(name) => {
                let stem = std::path::Path::new(name)
                    .file_name()
                    .map_or_else(|| name.clone(), |n| n.to_string_lossy().into_owned());
                let stem = stem.strip_suffix(".json").unwrap_or(&stem);
                format!("vmaf-{}", stem.strip_prefix("vmaf_").unwrap_or(stem))
            }
        }
    }

    /// Whether it is a file.
    pub fn path(&self) -> Option<&str> {
        match self {
            VmafModel::Other(name) if name.contains('/') || name.ends_with(".json") => Some(name),
            _ => None,
        }
    }
}

impl From<&str> for VmafModel {
    fn from(s: &str) -> Self {
        match s {
            "v0.6.1" | "vmaf_v0.6.1" => VmafModel::V061,
            "neg" | "v0.6.1neg" | "vmaf_v0.6.1neg" => VmafModel::Neg,
            "4k" | "4k_v0.6.1" | "vmaf_4k_v0.6.1" => VmafModel::FourK,
            "4k-neg" | "4k_v0.6.1neg" | "vmaf_4k_v0.6.1neg" => VmafModel::FourKNeg,
            "phone" => VmafModel::Phone,
            other => VmafModel::Other(other.to_owned()),
        }
    }
}

/// Models of VMAF; each gives a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmafModels(pub Vec<VmafModel>);

impl Default for VmafModels {
    /// v0.6.1.
    fn default() -> Self {
        Self(vec![VmafModel::V061])
    }
}

impl From<&str> for VmafModels {
    /// A list with commas between the names, such as `v0.6.1,neg,phone`; v0.6.1 if it is empty.
    fn from(s: &str) -> Self {
        let mut models = Vec::new();
        for model in parts(s).map(VmafModel::from) {
            if !models.contains(&model) {
                models.push(model);
            }
        }
        if models.is_empty() {
            return Self::default();
        }
        Self(models)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        let list: MetricList = " psnr, vmaf,psnr,ms-ssim ".parse().unwrap();
        assert_eq!(list.to_string(), "psnr,vmaf,ms-ssim");
        assert!("psnr,niqe".parse::<MetricList>().is_err());
        assert!(" , ".parse::<MetricList>().is_err());
        for m in Metric::ALL {
            assert_eq!(m.name().parse::<Metric>().unwrap(), *m);
        }
    }

    #[test]
    fn columns_follow_the_format_and_the_models() {
        let list: MetricList = "psnr,vmaf".parse().unwrap();
        let names = |format, models: &str| -> Vec<String> {
            let columns = list.columns(format, &VmafModels::from(models));
            columns.into_iter().map(|c| c.name).collect()
        };
        assert_eq!(names(PixelFormat::Gray8, ""), ["psnr-y", "vmaf"]);
        assert_eq!(
            names(PixelFormat::Gray8, "neg,phone,/x/vmaf_mine.json"),
            ["psnr-y", "vmaf-neg", "vmaf-phone", "vmaf-mine"]
        );
        assert_eq!(names(PixelFormat::I420, "").len(), 6);
    }
}
