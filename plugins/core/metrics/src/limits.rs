//! Limits that turn a measurement into a verdict, such as `vmaf=80,psnr-y.min=30`.

use std::{fmt, str::FromStr};

use crate::{Column, MetricError, Pool, Summary, metric::parts};

/// A bound on one pooled column.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// The column, such as `vmaf`.
    pub column: String,
    /// How its frames are pooled; the mean if the text does not say.
    pub pool: Pool,
    /// The bound.
    pub value: f64,
}

/// Bounds, read from `COLUMN[.POOL]=VALUE` with commas in between.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits(pub Vec<Limit>);

/// A limit that was not kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// The limit.
    pub limit: Limit,
    /// What was measured; None if there was not one frame to measure.
    pub value: Option<f64>,
    /// True where the limit is the least allowed, false where it is the most.
    pub under: bool,
}

impl FromStr for Limits {
    type Err = MetricError;

    fn from_str(s: &str) -> Result<Self, MetricError> {
        let read = |text: &str| {
            let wrong = |reason: &str| MetricError::Limit {
                text: text.to_owned(),
                reason: reason.to_owned(),
            };
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| wrong("it is COLUMN=VALUE or COLUMN.POOL=VALUE"))?;
            let value: f64 = value.trim().parse().map_err(|_| wrong("not a number"))?;
            if !value.is_finite() {
                return Err(wrong("not a finite number"));
            }
            let name = name.trim();
            let (column, pool) = match name.rsplit_once('.') {
                Some((column, pool)) if pool.parse::<Pool>().is_ok() => (column, pool.parse()?),
                _ => (name, Pool::Mean),
            };
            Ok(Limit {
                column: column.to_owned(),
                pool,
                value,
            })
        };
        parts(s).map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl Limits {
    /// Checks that every column is measured, and that the bound is on the side where it is bad.
    ///
    /// # Errors
    /// A text that names the limit and what is measured.
    pub fn check(&self, columns: &[Column], under: bool) -> Result<(), MetricError> {
        for limit in &self.0 {
            let wrong = |reason| MetricError::Limit {
                text: limit.to_string(),
                reason,
            };
            let Some(column) = columns.iter().find(|c| c.name == limit.column) else {
                let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
                return Err(wrong(format!(
                    "{} is not measured; measured are {}",
                    limit.column,
                    names.join(", ")
                )));
            };
            if column.higher_is_better() != under {
                let (better, other) = match under {
                    true => ("less", "fail-over"),
                    false => ("more", "fail-under"),
                };
                return Err(wrong(format!("{better} is better here: use {other}")));
            }
        }
        Ok(())
    }

    /// The limits that a summary does not keep. A column without a frame keeps none.
    pub fn violations(&self, summary: &Summary, under: bool) -> Vec<Violation> {
        let violated = |limit: &Limit| {
            let value = summary.pooled(&limit.column).map(|p| p.get(limit.pool));
            let kept = value.is_some_and(|v| match under {
                true => v >= limit.value,
                false => v <= limit.value,
            });
            (!kept).then(|| Violation {
                limit: limit.clone(),
                value,
                under,
            })
        };
        self.0.iter().filter_map(violated).collect()
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pool {
            Pool::Mean => write!(f, "{}={}", self.column, self.value),
            pool => write!(f, "{}.{}={}", self.column, pool.name(), self.value),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit {
            column,
            pool,
            value: limit,
        } = &self.limit;
        let side = if self.under { "under" } else { "over" };
        let pool = pool.name();
        match self.value {
            Some(value) => write!(
                f,
                "{column} ({pool}) is {value:.4}, {side} the limit {limit}"
            ),
            None => write!(
                f,
                "{column} ({pool}) was never measured; the limit is {limit}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FrameScores, MetricList, VmafModels};
    use gstneural_pixels::PixelFormat;

    #[test]
    fn limits_are_read_checked_and_judged() {
        let limits: Limits = "psnr-y=35, psnr-y.min=30.5".parse().unwrap();
        assert_eq!(limits.0[1].pool, Pool::Min);
        assert_eq!(limits.0[1].to_string(), "psnr-y.min=30.5");
        for wrong in ["psnr-y", "psnr-y=x", "psnr-y=inf"] {
            assert!(wrong.parse::<Limits>().is_err(), "{wrong}");
        }
        let list: MetricList = "psnr,temporal".parse().unwrap();
        let columns = list.columns(PixelFormat::Gray8, &VmafModels::default());
        limits.check(&columns, true).unwrap();
        assert!(limits.check(&columns, false).is_err());
        let other: Limits = "vmaf=80".parse().unwrap();
        let text = other.check(&columns, true).unwrap_err().to_string();
        assert!(
            text.contains("vmaf is not measured; measured are psnr-y"),
            "{text}"
        );
        let noise: Limits = "temporal-noise=2".parse().unwrap();
        assert!(noise.check(&columns, true).is_err());
        noise.check(&columns, false).unwrap();

        let mut summary = Summary::new(&columns);
        assert_eq!(limits.violations(&summary, true).len(), 2);
        for v in [40.0, 30.0] {
            let mut scores = FrameScores::empty(0, columns.len());
            scores.values[0] = Some(v);
            summary.add(&scores);
        }
        let violations = limits.violations(&summary, true);
        assert_eq!(violations.len(), 1);
        assert_eq!(
            violations[0].to_string(),
            "psnr-y (min) is 30.0000, under the limit 30.5"
        );
    }
}
