//! A comparison as text, CSV and JSON.

use super::{Measured, Options, Outcome, Subject};
use crate::failure::Exit;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Lays rows out in columns: the first `left` ones to the left, the others to the right.
pub(crate) fn align(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|i| {
            rows.iter()
                .filter_map(|r| r.get(i))
                .map(|c| c.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            if i > 0 {
                line.push_str("  ");
            }
            if i < left {
                line.push_str(cell);
                line.push_str(&pad);
            } else {
                line.push_str(&pad);
                line.push_str(cell);
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A name without what could steer a terminal.
pub(crate) fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// The table for a terminal.
pub(crate) fn text(candidates: &[Subject], outcome: &Outcome) -> String {
    let mut rows = vec![
        [
            "metric",
            "candidate",
            "mean",
            "harmonic",
            "min",
            "1%",
            "5%",
            "frames",
        ]
        .map(String::from)
        .to_vec(),
    ];
    for column in outcome.columns.iter().filter(|c| c.main) {
        for (i, (c, m)) in candidates.iter().zip(&outcome.measured).enumerate() {
            let mut label = String::new();
            if i == 0 {
                label.push_str(&column.label);
                if !column.unit.is_empty() {
                    let _ = write!(label, " {}", column.unit);
                }
                if !column.higher_is_better {
                    label.push_str(" (less is better)");
                }
            }
            let mut row = vec![label, printable(&c.name)];
            let d = column.digits;
            match m.column(&column.name) {
                Some(p) => row.extend(
                    [p.mean, p.harmonic_mean, p.min, p.p1, p.p5].map(|v| format!("{v:.d$}")),
                ),
                None => row.extend(vec!["-".to_string(); 5]),
            }
            row.push(m.frames.to_string());
            rows.push(row);
        }
    }
    let mut out = align(&rows, 2);
    for (c, m) in candidates.iter().zip(&outcome.measured) {
        let f = m.faults;
        let mut said = Vec::new();
        for (count, what) in [
            (m.identical, "identical"),
            (f.missing, "missing"),
            (f.extra, "extra"),
            (f.repeated, "repeated"),
            (f.late, "late or early"),
        ] {
            if count > 0 {
                said.push(format!("{count} {what}"));
            }
        }
        if !said.is_empty() {
            let _ = writeln!(
                out,
                "{}: {} pairs; {}",
                printable(&c.name),
                m.frames,
                said.join(", ")
            );
        }
    }
    for v in &outcome.verdicts {
        let _ = writeln!(
            out,
            "{} {}: {} is {}",
            if v.kept { "kept  " } else { "FAILED" },
            v.limit,
            printable(&v.candidate),
            v.value.map_or("not measured".into(), |v| format!("{v:.4}"))
        );
    }
    out
}

/// A field of a CSV file (RFC 4180).
pub(crate) fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

/// A line for each pair of frames.
pub(super) fn csv(candidates: &[Subject], outcome: &Outcome) -> String {
    let mut out = String::from("candidate,frame,candidate_frame,time_s");
    for column in &outcome.columns {
        let _ = write!(out, ",{}", csv_field(&column.name));
    }
    out.push('\n');
    for (c, m) in candidates.iter().zip(&outcome.measured) {
        let name = csv_field(&c.name);
        for row in &m.rows {
            let _ = write!(
                out,
                "{name},{},{},{}",
                row.frame,
                row.distorted_frame,
                row.time_ns
                    .map_or(String::new(), |ns| format!("{:.6}", ns as f64 / 1e9))
            );
            for value in &row.values {
                match value {
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

/// The candidates and what was measured of them, for scripts.
pub(crate) fn values(candidates: &[Subject], measured: &[Measured]) -> Vec<Value> {
    candidates
        .iter()
        .zip(measured)
        .map(|(c, m)| {
            let metrics: serde_json::Map<String, Value> = m
                .columns
                .iter()
                .zip(&m.pooled)
                .map(|(name, p)| {
                    let mut value = json!({
                        "frames": p.frames, "mean": p.mean, "harmonic_mean": p.harmonic_mean,
                        "min": p.min, "max": p.max, "p1": p.p1, "p5": p.p5,
                    });
                    if let Some(v) = p.of_mean_mse {
                        value["of_mean_mse"] = json!(v);
                    }
                    (name.clone(), value)
                })
                .collect();
            let mut value = json!(c);
            value["frames"] = json!(m.frames);
            value["identical"] = json!(m.identical);
            value["faults"] = json!(m.faults);
            value["metrics"] = Value::Object(metrics);
            value
        })
        .collect()
}

/// The result for scripts.
pub(super) fn json(
    reference: &Subject,
    candidates: &[Subject],
    options: &Options,
    outcome: &Outcome,
    wall_s: f64,
    exit: Exit,
) -> Value {
    json!({
        "reference": reference,
        "candidates": values(candidates, &outcome.measured),
        "limits": outcome.verdicts,
        "csv": options.csv,
        "report": options.report,
        "wall_s": wall_s,
        "exit": exit as i32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_rows_aligned() {
        assert_eq!(csv_field("a"), "a");
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
        let rows = [
            vec!["a".into(), "1".into()],
            vec!["bcd".into(), "23".into()],
        ];
        assert_eq!(align(&rows, 1), "a     1\nbcd  23\n");
        assert_eq!(printable("a\u{1b}[31m"), "a\u{fffd}[31m");
    }
}
