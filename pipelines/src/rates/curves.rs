//! Curves that belong together, as a page, as text, CSV and JSON.

use super::Series;
use crate::bd_rate::{self, Curve, Difference, Method};
use crate::compare::columns;
use crate::compare::table::{align, csv_field, printable};
use crate::report::html::{Column, DifferenceRow, Page, PointRow, RateChart, RateSeries};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A curve's differences from the anchor's, or why there are none.
type Compared = Result<(Difference, Difference), bd_rate::Error>;

/// Curves that belong together.
#[derive(Debug, Clone)]
pub struct Curves {
    /// The anchor first.
    pub series: Vec<Series>,
    /// What the points' values are.
    pub columns: Vec<Column>,
    /// The rate's unit, or nothing.
    pub rate_unit: String,
}

impl Curves {
    /// `order` names the columns that are to come first, in their order.
    pub fn new(series: Vec<Series>, order: &[String], rate_unit: &str) -> Self {
        let mut names: Vec<String> = order.to_vec();
        for point in series.iter().flat_map(|s| &s.points) {
            for name in point.values.keys() {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names.retain(|n| {
            series
                .iter()
                .any(|s| s.points.iter().any(|p| p.values.contains_key(n)))
        });
        let less = [
            "cambi",
            "temporal-noise",
            "static-noise",
            "warp-error",
            "warp-error-ref",
        ];
        let columns = names
            .iter()
            .map(|n| {
                let mut c = columns::describe(n, !less.contains(&n.as_str()));
                if n == "quality" {
                    c.label = "Quality".into();
                    c.digits = 3;
                }
                c
            })
            .collect();
        Self {
            series,
            columns,
            rate_unit: rate_unit.into(),
        }
    }

    /// Columns that a curve can be drawn of.
    pub(super) fn drawn(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| c.main && c.higher_is_better)
    }

    fn points(series: &Series, column: &str) -> Vec<(f64, f64)> {
        series
            .points
            .iter()
            .filter_map(|p| Some((p.rate, *p.values.get(column)?)))
            .collect()
    }

    /// Differences of every curve from the first, by column.
    pub(super) fn differences(&self, column: &str) -> Vec<(&str, Compared)> {
        let Some((anchor, rest)) = self.series.split_first() else {
            return Vec::new();
        };
        let anchor = Curve::new(Self::points(anchor, column));
        rest.iter()
            .map(|s| {
                let compared = anchor.clone().and_then(|a| {
                    let test = Curve::new(Self::points(s, column))?;
                    Ok((
                        bd_rate::difference(&a, &test, Method::Pchip)?,
                        bd_rate::difference(&a, &test, Method::Akima)?,
                    ))
                });
                (s.name.as_str(), compared)
            })
            .collect()
    }

    /// Everything of a report that belongs to curves.
    pub fn fill(&self, page: &mut Page) {
        let anchor = self.series.first().map(|s| s.name.clone());
        page.columns = self.columns.clone();
        page.rate_charts = self
            .drawn()
            .map(|c| RateChart {
                label: c.label.clone(),
                unit: c.unit,
                digits: c.digits,
                rate_unit: self.rate_unit.clone(),
                series: self
                    .series
                    .iter()
                    .map(|s| RateSeries {
                        name: s.name.clone(),
                        points: s
                            .points
                            .iter()
                            .filter_map(|p| {
                                Some((p.rate, *p.values.get(&c.name)?, p.label.clone()))
                            })
                            .collect(),
                        line: Curve::new(Self::points(s, &c.name))
                            .map(|curve| curve.sample(Method::Pchip, 80))
                            .unwrap_or_default(),
                    })
                    .collect(),
                differences: self
                    .differences(&c.name)
                    .into_iter()
                    .map(|(test, d)| {
                        let (p, a) = (d.as_ref().ok().map(|d| d.0), d.as_ref().ok().map(|d| d.1));
                        DifferenceRow {
                            anchor: anchor.clone().unwrap_or_default(),
                            test: test.into(),
                            pchip_rate: p.map(|d| d.rate_percent),
                            pchip_quality: p.and_then(|d| d.quality),
                            akima_rate: a.map(|d| d.rate_percent),
                            akima_quality: a.and_then(|d| d.quality),
                            overlap: p.map(|d| d.overlap),
                            why_not: d.err().map(|e| e.to_string()),
                        }
                    })
                    .collect(),
            })
            .collect();
        page.points = self
            .series
            .iter()
            .flat_map(|s| {
                s.points.iter().map(|p| PointRow {
                    series: s.name.clone(),
                    label: p.label.clone(),
                    rate: p.rate,
                    bytes: p.bytes,
                    encode_s: p.encode_s,
                    values: self
                        .columns
                        .iter()
                        .map(|c| p.values.get(&c.name).copied())
                        .collect(),
                })
            })
            .collect();
    }

    /// The tables for a terminal: the points, then the differences.
    pub fn text(&self) -> String {
        let mut head = vec!["curve".to_string(), "point".into()];
        head.push(match self.rate_unit.as_str() {
            "" => "rate".into(),
            unit => unit.to_string(),
        });
        head.extend(
            self.columns
                .iter()
                .filter(|c| c.main)
                .map(|c| c.label.clone()),
        );
        let mut rows = vec![head];
        for s in &self.series {
            for p in &s.points {
                let mut row = vec![
                    printable(&s.name),
                    printable(&p.label),
                    format!("{:.2}", p.rate),
                ];
                row.extend(self.columns.iter().filter(|c| c.main).map(|c| {
                    let d = c.digits;
                    p.values
                        .get(&c.name)
                        .map_or("-".into(), |v| format!("{v:.d$}"))
                }));
                rows.push(row);
            }
        }
        let mut out = align(&rows, 2);
        if self.series.len() < 2 {
            return out;
        }
        let mut rows = vec![
            [
                "metric",
                "curve",
                "from",
                "BD-rate",
                "BD-quality",
                "(Akima)",
                "(Akima)",
                "overlap",
            ]
            .map(String::from)
            .to_vec(),
        ];
        let anchor = self.series.first().map_or("", |s| s.name.as_str());
        let mut said = String::new();
        let mut narrow = false;
        for c in self.drawn() {
            let d = c.digits + 1;
            for (i, (name, compared)) in self.differences(&c.name).into_iter().enumerate() {
                let mut row = vec![
                    if i == 0 {
                        c.label.clone()
                    } else {
                        String::new()
                    },
                    printable(name),
                    printable(anchor),
                ];
                match compared {
                    Ok((p, a)) => {
                        narrow |= p.overlap < 0.25;
                        let quality =
                            |q: Option<f64>| q.map_or("-".into(), |q| format!("{q:+.d$}"));
                        row.extend([
                            format!("{:+.2} %", p.rate_percent),
                            quality(p.quality),
                            format!("{:+.2} %", a.rate_percent),
                            quality(a.quality),
                            format!("{:.0} %", p.overlap * 100.0),
                        ]);
                    }
                    Err(why) => {
                        row.extend(vec!["-".to_string(); 5]);
                        let _ = writeln!(said, "{} of {}: {why}", c.label, printable(name));
                    }
                }
                rows.push(row);
            }
        }
        out.push('\n');
        out.push_str(&align(&rows, 3));
        out.push_str(&said);
        if narrow {
            out.push_str("Curves that overlap in less than a quarter of their quality say little: choose points closer to each other.\n");
        }
        out
    }

    /// The points as CSV.
    pub fn csv(&self) -> String {
        let mut out = String::from("series,label,rate,bytes,encode_s");
        for c in &self.columns {
            let _ = write!(out, ",{}", csv_field(&c.name));
        }
        out.push('\n');
        for s in &self.series {
            for p in &s.points {
                let _ = write!(
                    out,
                    "{},{},{},{},{}",
                    csv_field(&s.name),
                    csv_field(&p.label),
                    p.rate,
                    p.bytes.map(|b| b.to_string()).unwrap_or_default(),
                    p.encode_s.map(|s| format!("{s:.3}")).unwrap_or_default()
                );
                for c in &self.columns {
                    match p.values.get(&c.name) {
                        Some(v) => {
                            let _ = write!(out, ",{v:.6}");
                        }
                        None => out.push(','),
                    }
                }
                out.push('\n');
            }
        }
        out
    }

    /// Points and differences for scripts.
    pub fn json(&self) -> Value {
        let anchor = self.series.first().map(|s| s.name.as_str());
        let mut differences = Vec::new();
        for c in self.drawn() {
            for (name, compared) in self.differences(&c.name) {
                differences.push(match compared {
                    Ok((pchip, akima)) => json!({
                        "metric": c.name, "anchor": anchor, "test": name,
                        "pchip": pchip, "akima": akima,
                    }),
                    Err(why) => json!({
                        "metric": c.name, "anchor": anchor, "test": name,
                        "error": why.to_string(),
                    }),
                });
            }
        }
        let series: Vec<Value> = self
            .series
            .iter()
            .map(|s| {
                let points: Vec<Value> = s
                    .points
                    .iter()
                    .map(|p| {
                        let mut point = json!({ "rate": p.rate, "label": p.label });
                        if let Some(b) = p.bytes {
                            point["bytes"] = json!(b);
                        }
                        if let Some(t) = p.encode_s {
                            point["encode_s"] = json!(t);
                        }
                        for (k, v) in &p.values {
                            point[k] = json!(v);
                        }
                        point
                    })
                    .collect();
                json!({ "name": s.name, "points": points })
            })
            .collect();
        json!({ "rate_unit": self.rate_unit, "series": series, "differences": differences })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Given;
    use super::super::given::{from_csv, from_json};
    use super::*;

    fn points(text: &str) -> Vec<Series> {
        match Given::parse(text).unwrap() {
            Given::Points(s) => s,
            Given::Files { .. } => panic!("files"),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let a = points("A:100=30,200=33");
        let b = points("B \"x\", y:90=30,180=33");
        let curves = Curves::new([a, b].concat(), &[], "");
        let again = from_csv(&curves.csv()).unwrap();
        assert_eq!(again.len(), 2);
        assert_eq!(again[1].points[1].rate, 180.0);
        let again = from_json(&curves.json().to_string()).unwrap();
        assert_eq!(again[0].points, curves.series[0].points);
        assert!(curves.text().contains("-10.00 %"), "{}", curves.text());
    }
}
