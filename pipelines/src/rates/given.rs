//! Curves as a user gives them: on the command line, as CSV, as JSON.

use super::{Point, Series};
use crate::failure::Failure;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

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

pub(super) fn from_json(text: &str) -> Result<Vec<Series>, String> {
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

pub(super) fn from_csv(text: &str) -> Result<Vec<Series>, String> {
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
}
