//! Rate-distortion curves from points: tables, charts, Bjøntegaard differences.

use crate::bd_rate::{self, Curve, Difference, Method};
use crate::compare::table::{align, csv_field, printable};
use crate::compare::{self, Options, Outputs, Subject, columns};
use crate::failure::{Exit, Failure};
use crate::probe::Kind;
use crate::report::Reporter;
use crate::report::html::{Column, DifferenceRow, Page, PointRow, RateChart, RateSeries};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// A point of a curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its rate.
    pub rate: f64,
    /// What it is, such as `crf 27`.
    pub label: String,
    /// Size of the file.
    pub bytes: Option<u64>,
    /// Time that encoding took.
    pub encode_s: Option<f64>,
    /// Quality by the column's name.
    pub values: BTreeMap<String, f64>,
}

/// A curve's points.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// In any order.
    pub points: Vec<Point>,
}

/// A curve as the command line gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// Points.
    Points(Vec<Series>),
    /// Encodes to be measured.
    Files {
        /// Name of the curve.
        name: String,
        /// Paths or URIs.
        files: Vec<String>,
    },
}

impl Given {
    /// Reads `NAME:RATE=QUALITY,...`, `NAME:FILE,...`, or the name of a file of points.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let is_points = |p: &str| {
            let p = p.to_ascii_lowercase();
            p.ends_with(".csv") || p.ends_with(".json")
        };
        let wrong = |why: String| Failure::usage(format!("--bd-rate {text}: {why}"));
        if is_points(text) && Path::new(text).is_file() {
            return read(text, None).map(Self::Points);
        }
        let Some((name, items)) = text.split_once(':') else {
            return Err(match is_points(text) {
                true => Failure::new(format!("{text}: no such file")),
                false => wrong("write it as NAME:RATE=QUALITY,... or NAME:FILE,...".into()),
            });
        };
        if name.is_empty() {
            return Err(wrong("the curve has no name".into()));
        }
        if is_points(items) {
            return read(items, Some(name)).map(Self::Points);
        }
        let items: Vec<&str> = items.split(',').filter(|i| !i.is_empty()).collect();
        let numbers: Option<Vec<(f64, f64)>> = items
            .iter()
            .map(|i| {
                let (rate, quality) = i.split_once('=')?;
                Some((rate.trim().parse().ok()?, quality.trim().parse().ok()?))
            })
            .collect();
        match numbers {
            Some(points) if !points.is_empty() => Ok(Self::Points(vec![Series {
                name: name.into(),
                points: points
                    .into_iter()
                    .map(|(rate, quality)| Point {
                        rate,
                        label: String::new(),
                        bytes: None,
                        encode_s: None,
                        values: BTreeMap::from([("quality".to_string(), quality)]),
                    })
                    .collect(),
            }])),
            _ if items.is_empty() => Err(wrong("the curve has no points".into())),
            _ => {
                if let Some(i) = items
                    .iter()
                    .find(|i| i.contains('=') && !Path::new(i).exists())
                {
                    return Err(wrong(format!("{i} is neither RATE=QUALITY nor a file")));
                }
                Ok(Self::Files {
                    name: name.into(),
                    files: items.iter().map(|i| (*i).to_string()).collect(),
                })
            }
        }
    }

    /// The encodes among them.
    pub fn files(&self) -> &[String] {
        match self {
            Self::Points(_) => &[],
            Self::Files { files, .. } => files,
        }
    }
}

#[derive(Deserialize)]
struct JsonFile {
    #[serde(alias = "curves")]
    series: Vec<JsonSeries>,
}

#[derive(Deserialize)]
struct JsonSeries {
    name: String,
    points: Vec<JsonPoint>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum JsonPoint {
    Pair(f64, f64),
    Object {
        #[serde(alias = "rate_kbps")]
        rate: f64,
        #[serde(default)]
        label: String,
        #[serde(flatten)]
        values: BTreeMap<String, Value>,
    },
}

/// Reads a file of points. `name` names its only series, or chooses one of several.
fn read(path: &str, name: Option<&str>) -> Result<Vec<Series>, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|e| Failure::io("reading", Path::new(path), &e))?;
    let mut series = if path.to_ascii_lowercase().ends_with(".json") {
        from_json(&text)
    } else {
        from_csv(&text)
    }
    .map_err(|why| Failure::new(format!("{path}: {why}")))?;
    if let Some(name) = name {
        if let [only] = series.as_mut_slice() {
            only.name = name.into();
        } else {
            series.retain(|s| s.name == name);
        }
    } else if let [only] = series.as_mut_slice()
        && only.name.is_empty()
    {
        only.name = Path::new(path)
            .file_stem()
            .map_or_else(|| path.into(), |s| s.to_string_lossy().into_owned());
    }
    if series.iter().all(|s| s.points.is_empty()) {
        return Err(Failure::new(match name {
            Some(name) => format!("{path}: no points of {name}"),
            None => format!("{path}: no points"),
        }));
    }
    Ok(series)
}

fn from_json(text: &str) -> Result<Vec<Series>, String> {
    let file: JsonFile = serde_json::from_str(text).map_err(|e| {
        format!("not as expected ({e}); it is {{\"series\":[{{\"name\":\"A\",\"points\":[[rate,quality],...]}}]}}")
    })?;
    Ok(file
        .series
        .into_iter()
        .map(|s| Series {
            name: s.name,
            points: s
                .points
                .into_iter()
                .map(|p| match p {
                    JsonPoint::Pair(rate, quality) => Point {
                        rate,
                        label: String::new(),
                        bytes: None,
                        encode_s: None,
                        values: BTreeMap::from([("quality".to_string(), quality)]),
                    },
                    JsonPoint::Object {
                        rate,
                        label,
                        values,
                    } => Point {
                        rate,
                        label,
                        bytes: values.get("bytes").and_then(Value::as_u64),
                        encode_s: values.get("encode_s").and_then(Value::as_f64),
                        values: values
                            .iter()
                            .filter(|(k, _)| !matches!(k.as_str(), "bytes" | "encode_s"))
                            .filter_map(|(k, v)| Some((k.clone(), v.as_f64()?)))
                            .collect(),
                    },
                })
                .collect(),
        })
        .collect())
}

/// Fields of a CSV line.
fn fields(line: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let at = out.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                out[at].push('"');
            }
            '"' => quoted = !quoted,
            ',' | ';' | '\t' if !quoted => out.push(String::new()),
            c => out[at].push(c),
        }
    }
    out.iter().map(|f| f.trim().to_string()).collect()
}

fn from_csv(text: &str) -> Result<Vec<Series>, String> {
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
    let (_, header) = lines.next().ok_or("the file is empty")?;
    let header = fields(header.trim_start_matches('\u{feff}'));
    let place = |names: &[&str]| header.iter().position(|h| names.contains(&h.as_str()));
    let rate = place(&["rate", "bitrate", "rate_kbps", "kbps"])
        .ok_or("the first line names no column `rate`")?;
    let name = place(&["series", "name", "encoder", "codec", "curve"]);
    let label = place(&["label", "point", "crf", "qp"]);
    let skip = [
        Some(rate),
        name,
        label,
        place(&["bytes"]),
        place(&["encode_s"]),
    ];
    if (0..header.len()).all(|i| skip.contains(&Some(i))) {
        return Err("there is no column with a quality".into());
    }
    let mut series: Vec<Series> = Vec::new();
    for (number, line) in lines {
        let row = fields(line);
        let wrong = |what: &str| format!("line {}: {what}", number + 1);
        let get = |i: usize| row.get(i).map(String::as_str).unwrap_or_default();
        let point = Point {
            rate: get(rate).parse().map_err(|_| wrong("no rate"))?,
            label: label
                .map(|i| format!("{} {}", header[i], get(i)))
                .unwrap_or_default(),
            bytes: place(&["bytes"]).and_then(|i| get(i).parse().ok()),
            encode_s: place(&["encode_s"]).and_then(|i| get(i).parse().ok()),
            values: (0..header.len())
                .filter(|i| !skip.contains(&Some(*i)) && !get(*i).is_empty())
                .map(|i| {
                    get(i)
                        .parse()
                        .map(|v| (header[i].clone(), v))
                        .map_err(|_| wrong(&format!("{} is not a number", get(i))))
                })
                .collect::<Result<_, _>>()?,
        };
        let of = name.map(get).unwrap_or_default();
        match series.iter_mut().find(|s| s.name == of) {
            Some(s) => s.points.push(point),
            None => series.push(Series {
                name: of.into(),
                points: vec![point],
            }),
        }
    }
    Ok(series)
}

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
    fn drawn(&self) -> impl Iterator<Item = &Column> {
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
    fn differences(&self, column: &str) -> Vec<(&str, Compared)> {
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

/// Lets the values of `measured` become a point's.
pub(crate) fn means(measured: &compare::measure::Measured) -> BTreeMap<String, f64> {
    measured
        .columns
        .iter()
        .zip(&measured.pooled)
        .map(|(name, p)| (name.clone(), p.mean))
        .collect()
}

/// `gst-neural compare --bd-rate`: encodes among the curves are measured against the reference.
pub fn run(
    options: &Options,
    given: Vec<Given>,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<Exit, Failure> {
    if options.fail_under.is_some() || options.fail_over.is_some() {
        return Err(Failure::usage("--fail-under does not go with --bd-rate"));
    }
    let outputs = Outputs::create(options)?;
    let planned = columns::planned(&options.settings.metrics, &options.settings.vmaf_model)?;
    let mut facts = Vec::new();
    let mut measured = Vec::new();
    let measuring = !options.candidates.is_empty();
    if measuring {
        let timeout = Duration::from_secs(30).min(options.settings.stall);
        let (reference, _) = Subject::probe(&options.reference, timeout)?;
        facts.push((
            "Reference".into(),
            format!("{} ({})", reference.input, reference.detail()),
        ));
        facts.push(("Rate".into(), "size of the whole file by its length".into()));
        for file in &options.candidates {
            let (subject, source) = Subject::probe(file, timeout)?;
            if source.streams.iter().any(|s| s.kind == Kind::Audio) {
                reporter.warning(
                    "rate-of-sound",
                    &format!("{file}: its rate counts its sound, too"),
                );
            }
            let rate = subject.bitrate_bps.ok_or_else(|| {
                Failure::new(format!("{file}: its bit rate is unknown"))
                    .hint("a rate needs a local file that says how long it is")
            })?;
            let inputs = compare::inputs(
                &reference,
                std::slice::from_ref(&subject),
                &options.settings,
                reporter,
                &mut facts,
            )?;
            reporter.begin(&format!("{file}: {}", options.settings.metrics));
            let streams = compare::graph::Streams::of_files(&inputs)?;
            let result = compare::measure::measure(
                &streams,
                &options.settings,
                reference.expected(),
                interrupts,
                reporter,
            )?;
            reporter.end();
            let m = result
                .into_iter()
                .next()
                .filter(|m| m.frames > 0)
                .ok_or_else(|| {
                    Failure::new(format!(
                        "{file}: not one of its frames pairs with the reference's"
                    ))
                })?;
            for text in &m.fault_texts {
                reporter.warning("pairing", &format!("{file}: {text}"));
            }
            measured.push(Point {
                rate: rate / 1e3,
                label: subject.name.clone(),
                bytes: subject.bytes,
                encode_s: None,
                values: means(&m),
            });
        }
    }
    let mut measured = measured.into_iter();
    let mut series = Vec::new();
    for g in given {
        match g {
            Given::Points(s) => series.extend(s),
            Given::Files { name, files } => series.push(Series {
                name,
                points: measured.by_ref().take(files.len()).collect(),
            }),
        }
    }
    if series.len() < 2 {
        return Err(Failure::usage(
            "--bd-rate: one curve has no other to be compared with",
        ));
    }
    let order: Vec<String> = planned.iter().map(|c| c.name.clone()).collect();
    let curves = Curves::new(series, &order, if measuring { "kbit/s" } else { "" });
    tell(
        &curves,
        "Rate and quality",
        facts,
        outputs,
        options,
        reporter,
    )?;
    // Without any difference the question has no answer.
    let all: Vec<_> = curves
        .drawn()
        .flat_map(|c| curves.differences(&c.name))
        .collect();
    if let Some((name, Err(why))) = all.first()
        && all.iter().all(|(_, d)| d.is_err())
    {
        reporter.warning("no-difference", &format!("no difference of {name}: {why}"));
        return Ok(Exit::BelowLimit);
    }
    Ok(Exit::Ok)
}

/// Prints and writes curves.
pub(crate) fn tell(
    curves: &Curves,
    title: &str,
    facts: Vec<(String, String)>,
    outputs: Outputs,
    options: &Options,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    let (csv, report) = outputs.parts();
    if let Some(part) = csv {
        compare::publish(part, &curves.csv())?;
    }
    if let Some(part) = report {
        let mut page = Page {
            title: title.into(),
            subtitle: format!(
                "{} curves, {} points; BD-rates against {}",
                curves.series.len(),
                curves.series.iter().map(|s| s.points.len()).sum::<usize>(),
                curves.series.first().map_or("", |s| s.name.as_str())
            ),
            generator: concat!("gst-neural ", env!("CARGO_PKG_VERSION")).into(),
            command: Some(options.command.clone()),
            facts,
            ..Page::default()
        };
        curves.fill(&mut page);
        compare::publish(part, &page.render())?;
    }
    if reporter.is_json() {
        let mut value = curves.json();
        value["csv"] = json!(options.csv);
        value["report"] = json!(options.report);
        reporter.event("done", &value);
    } else {
        compare::print(&curves.text());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(given: Given) -> Vec<Series> {
        match given {
            Given::Points(s) => s,
            Given::Files { .. } => panic!("files"),
        }
    }

    #[test]
    fn curves_are_read_from_the_command_line() {
        let a = points(Given::parse("A:100=30,200.5=33").unwrap());
        assert_eq!(a[0].name, "A");
        assert_eq!(a[0].points[1].rate, 200.5);
        assert_eq!(a[0].points[1].values["quality"], 33.0);
        assert_eq!(
            Given::parse("x264:a.mp4,b.mp4").unwrap().files(),
            ["a.mp4", "b.mp4"]
        );
        for wrong in ["A", ":1=2", "A:", "A:1=2,3=x", "missing.csv"] {
            assert!(Given::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn curves_are_read_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let csv = dir.path().join("p.csv");
        std::fs::write(
            &csv,
            "encoder,crf,rate,vmaf,psnr-y\nx264,32,100,70,\"30\"\nx264,27,200,80,33\nx265,32,90,71,31\n",
        )
        .unwrap();
        let series = points(Given::parse(csv.to_str().unwrap()).unwrap());
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].points[0].label, "crf 32");
        assert_eq!(series[0].points[1].values["psnr-y"], 33.0);
        // One of them by its name.
        let one = points(Given::parse(&format!("x265:{}", csv.display())).unwrap());
        assert_eq!((one.len(), one[0].points.len()), (1, 1));
        let json = dir.path().join("p.json");
        std::fs::write(
            &json,
            r#"{"series":[{"name":"A","points":[[1,2],{"rate":3,"vmaf":4,"label":"crf 3","bytes":9}]}]}"#,
        )
        .unwrap();
        let series = points(Given::parse(json.to_str().unwrap()).unwrap());
        assert_eq!(series[0].points[0].values["quality"], 2.0);
        assert_eq!(series[0].points[1].values["vmaf"], 4.0);
        assert_eq!(series[0].points[1].bytes, Some(9));
        for (name, text) in [("e.csv", ""), ("n.csv", "a,b\n1,2\n"), ("j.json", "{}")] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            assert!(Given::parse(path.to_str().unwrap()).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let a = points(Given::parse("A:100=30,200=33").unwrap());
        let b = points(
            Given::parse("B \"x\", y:90=30,180=33")
                .unwrap_or_else(|_| Given::parse("B:90=30,180=33").unwrap()),
        );
        let curves = Curves::new([a, b].concat(), &[], "");
        let again = from_csv(&curves.csv()).unwrap();
        assert_eq!(again.len(), 2);
        assert_eq!(again[1].points[1].rate, 180.0);
        let again = from_json(&curves.json().to_string()).unwrap();
        assert_eq!(again[0].points, curves.series[0].points);
        assert!(curves.text().contains("-10.00 %"), "{}", curves.text());
    }
}
