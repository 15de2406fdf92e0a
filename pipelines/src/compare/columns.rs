//! What the columns of `psnrsink` are called for people, and which of them matter most.

use crate::failure::Failure;
use crate::report::html::Column;
use gstneural_metrics::{Limit, Limits, MetricList, Pooled, VmafModels};
use gstneural_pixels::PixelFormat;

/// The columns that `metrics` (and, for VMAF, `models`) give, as `psnrsink` names them.
pub fn planned(metrics: &str, models: &str) -> Result<Vec<gstneural_metrics::Column>, Failure> {
    let list: MetricList = metrics
        .parse()
        .map_err(|e| Failure::usage(format!("--metrics {metrics}: {e}")))?;
    Ok(list.columns(PixelFormat::I420, &VmafModels::from(models)))
}

/// Reads the limits of an option; every column in them must be measured.
pub fn limits(
    option: &str,
    text: Option<&str>,
    columns: &[gstneural_metrics::Column],
) -> Result<Limits, Failure> {
    let wrong = |e| Failure::usage(format!("--{option}: {e}"));
    let limits: Limits = text.unwrap_or_default().parse().map_err(wrong)?;
    limits
        .check(columns, option == "fail-under")
        .map_err(wrong)?;
    Ok(limits)
}

/// Whether `pooled` keeps `limit`, and the value it was held against.
pub fn keeps(limit: &Limit, pooled: Option<&Pooled>, under: bool) -> (bool, Option<f64>) {
    let value = pooled.map(|p| p.get(limit.pool));
    let kept = value.is_some_and(|v| {
        if under {
            v >= limit.value
        } else {
            v <= limit.value
        }
    });
    (kept, value)
}

/// Describes a column for people.
pub fn describe(name: &str, higher_is_better: bool) -> Column {
    let (label, unit, digits) = match name {
        "psnr-y" => ("PSNR Y".into(), "dB", 2),
        "psnr-u" => ("PSNR U".into(), "dB", 2),
        "psnr-v" => ("PSNR V".into(), "dB", 2),
        "psnr-avg" => ("PSNR all samples".into(), "dB", 2),
        "psnr-611" => ("PSNR 6:1:1".into(), "dB", 2),
        "ssim" => ("SSIM".into(), "", 4),
        "ssim-y" => ("SSIM Y".into(), "", 4),
        "ssim-u" => ("SSIM U".into(), "", 4),
        "ssim-v" => ("SSIM V".into(), "", 4),
        "float-ssim" => ("SSIM (Gaussian)".into(), "", 4),
        "ms-ssim" => ("MS-SSIM".into(), "", 4),
        "cambi" => ("CAMBI".into(), "", 3),
        "ciede2000" => ("CIEDE2000".into(), "dB", 2),
        "psnr-hvs" => ("PSNR-HVS".into(), "dB", 2),
        "temporal-noise" => ("Temporal noise".into(), "", 3),
        "static-noise" => ("Static noise".into(), "", 3),
        "warp-error" => ("Warping error".into(), "", 3),
        "warp-error-ref" => ("Warping error of the reference".into(), "", 3),
        "vmaf" => ("VMAF".into(), "", 2),
        name => match name.strip_prefix("vmaf-") {
            Some(model) => (format!("VMAF {}", model.replace("neg", "NEG")), "", 2),
            None => (name.to_string(), "", 4),
        },
    };
    Column {
        name: name.into(),
        label,
        unit,
        digits,
        higher_is_better,
        main: !matches!(
            name,
            "psnr-u"
                | "psnr-v"
                | "psnr-avg"
                | "psnr-611"
                | "ssim-y"
                | "ssim-u"
                | "ssim-v"
                | "adm2"
                | "motion2"
                | "static-noise"
                | "warp-error"
                | "warp-error-ref"
        ) && !name.starts_with("vif-"),
    }
}

/// The column that decides which frames are the worst: what agrees best with viewers.
pub fn lead(columns: &[Column]) -> Option<usize> {
    let wanted = [
        "vmaf",
        "vmaf-",
        "ms-ssim",
        "float-ssim",
        "ssim",
        "psnr-hvs",
        "psnr-y",
    ];
    wanted
        .iter()
        .find_map(|want| {
            columns.iter().position(|c| {
                if want.ends_with('-') {
                    c.name.starts_with(want)
                } else {
                    c.name == *want
                }
            })
        })
        .or(if columns.is_empty() { None } else { Some(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_before_anything_is_decoded() {
        let columns = planned("psnr,vmaf", "neg").unwrap();
        let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
        assert!(names.contains(&"vmaf-neg") && names.contains(&"psnr-611"));
        assert!(limits("fail-under", Some("psnr-y.min=30,vmaf-neg=80"), &columns).is_ok());
        for wrong in ["vmaf=80", "psnr-y", "psnr-y=x"] {
            let failure = limits("fail-under", Some(wrong), &columns).unwrap_err();
            assert_eq!(failure.exit, crate::failure::Exit::Usage, "{wrong}");
        }
        assert!(planned("psnr,nonsense", "").is_err());
    }

    #[test]
    fn the_lead_is_vmaf_where_it_is_measured() {
        let columns =
            |names: &[&str]| -> Vec<Column> { names.iter().map(|n| describe(n, true)).collect() };
        assert_eq!(lead(&columns(&["psnr-y", "ssim", "vmaf-neg"])), Some(2));
        assert_eq!(lead(&columns(&["psnr-y", "ssim"])), Some(1));
        assert_eq!(lead(&columns(&["cambi"])), Some(0));
        assert_eq!(lead(&[]), None);
    }
}
