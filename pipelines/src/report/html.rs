//! A report as one HTML file: charts, tables and pictures, readable without a network.
//!
//! [`Page`] is everything that stands in it; [`Page::render`] makes the file's text. Tables and
//! pictures are plain HTML, so that they are there without JavaScript, too; the charts are drawn
//! by the script in the page from the JSON in the page. Whatever comes from outside (file names,
//! messages) is escaped where it becomes HTML and where it becomes JSON, and the script makes text
//! nodes of it. The page's own content security policy forbids it to load anything.

use serde::Serialize;
use std::fmt::Write as _;

const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");

/// A report.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Page {
    /// What is compared with what.
    pub title: String,
    /// One line under the title.
    pub subtitle: String,
    /// Program and version.
    pub generator: String,
    /// The command that makes this report again.
    pub command: Option<String>,
    /// Label and value of what a reader should know of how it was measured.
    pub facts: Vec<(String, String)>,
    /// Things found on the way.
    pub notes: Vec<Note>,
    /// What was measured.
    pub columns: Vec<Column>,
    /// On what it was measured.
    pub candidates: Vec<Candidate>,
    /// Name of the column that decides which frames are the worst.
    pub worst_by: Option<String>,
    /// The worst frames as pictures.
    #[serde(skip)]
    pub pictures: Vec<Pictures>,
    /// What the pictures are, such as their compression.
    #[serde(skip)]
    pub picture_note: String,
    /// Rate-distortion curves.
    pub rate_charts: Vec<RateChart>,
    /// A table of all points of the curves.
    pub points: Vec<PointRow>,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A limit that was kept.
    Good,
    /// Worth knowing.
    Info,
    /// The numbers may not mean what they seem to.
    Warning,
    /// A limit that was not kept, a fault.
    Bad,
}

/// Something found on the way.
#[derive(Debug, Clone, Serialize)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// The thing itself.
    pub text: String,
}

/// A measured quantity.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// Its name in files and options, such as `psnr-y`.
    pub name: String,
    /// Its name for people, such as `PSNR Y`.
    pub label: String,
    /// Its unit, or nothing.
    pub unit: &'static str,
    /// Decimals to show.
    pub digits: usize,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Whether it is shown at once, not on demand.
    pub main: bool,
}

/// A video that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Size, codec, bit rate.
    pub detail: String,
    /// Pooled values in the order of the columns.
    pub pooled: Vec<Option<Pooled>>,
    /// Number of each frame in the reference.
    pub frames: Vec<u64>,
    /// Time of each frame.
    pub time_s: Vec<f64>,
    /// Values of each frame, in the order of the columns.
    pub values: Vec<Vec<Option<f64>>>,
    /// Indices of the frames shown as pictures, worst first.
    pub worst: Vec<usize>,
}

/// A column over all frames.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pooled {
    /// Arithmetic mean.
    pub mean: f64,
    /// Harmonic mean.
    pub harmonic_mean: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// 1st percentile.
    pub p1: f64,
    /// 5th percentile.
    pub p5: f64,
}

/// A frame of reference and candidate, and how they differ.
#[derive(Debug, Clone)]
pub struct Pictures {
    /// Index of the candidate.
    pub candidate: usize,
    /// Number of the frame, from 0.
    pub frame: u64,
    /// Its time.
    pub time_s: f64,
    /// Values worth showing: label and text.
    pub values: Vec<(String, String)>,
    /// Width of the pictures.
    pub width: u32,
    /// Height of the pictures.
    pub height: u32,
    /// The reference as a data URI.
    pub reference: String,
    /// The candidate as a data URI.
    pub distorted: String,
    /// The absolute difference, amplified, as a data URI.
    pub difference: String,
    /// How many times the difference is amplified.
    pub amplification: u32,
}

/// Curves of one quality over rate.
#[derive(Debug, Clone, Serialize)]
pub struct RateChart {
    /// What the quality is, such as `VMAF`.
    pub label: String,
    /// Its unit, or nothing.
    pub unit: &'static str,
    /// Decimals to show.
    pub digits: usize,
    /// The rate's unit.
    pub rate_unit: String,
    /// A curve each.
    pub series: Vec<RateSeries>,
    /// Differences from an anchor.
    pub differences: Vec<DifferenceRow>,
}

/// A curve.
#[derive(Debug, Clone, Serialize)]
pub struct RateSeries {
    /// Its name.
    pub name: String,
    /// Measured: rate, quality, what it is (such as `crf 27`).
    pub points: Vec<(f64, f64, String)>,
    /// Drawn: rate and quality along the interpolation; empty where the points are no curve.
    pub line: Vec<(f64, f64)>,
}

/// A curve's difference from the anchor.
#[derive(Debug, Clone, Serialize)]
pub struct DifferenceRow {
    /// The curve it is measured from.
    pub anchor: String,
    /// The curve it is measured of.
    pub test: String,
    /// Rate in percent, by PCHIP.
    pub pchip_rate: Option<f64>,
    /// Quality, by PCHIP.
    pub pchip_quality: Option<f64>,
    /// Rate in percent, by Akima.
    pub akima_rate: Option<f64>,
    /// Quality, by Akima.
    pub akima_quality: Option<f64>,
    /// Part of the quality range that both curves cover.
    pub overlap: Option<f64>,
    /// Why there is none.
    pub why_not: Option<String>,
}

/// A point of a curve, for the table.
#[derive(Debug, Clone, Serialize)]
pub struct PointRow {
    /// The curve.
    pub series: String,
    /// What it is, such as `crf 27`.
    pub label: String,
    /// Its rate.
    pub rate: f64,
    /// Size of the file.
    pub bytes: Option<u64>,
    /// Time that encoding took.
    pub encode_s: Option<f64>,
    /// Values in the order of [`Page::columns`].
    pub values: Vec<Option<f64>>,
}

/// A picture file as a data URI.
pub fn data_uri(media_type: &str, bytes: &[u8]) -> String {
    format!(
        "data:{media_type};base64,{}",
        gst::glib::base64_encode(bytes)
    )
}

/// Text as HTML, for element content and for quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Would turn the text round, or is not to be seen at all.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// JSON that may stand in a script element.
fn script_json<T: Serialize>(value: &T) -> String {
    // An error is impossible for these types; an empty object would show at once.
    let json = serde_json::to_string(value).unwrap_or_else(|_| "{}".into());
    json.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn number(value: Option<f64>, digits: usize) -> String {
    match value {
        Some(v) if v.is_finite() => format!("{v:.digits$}").replace('-', "\u{2212}"),
        _ => "\u{2013}".into(),
    }
}

fn signed(value: Option<f64>, digits: usize) -> String {
    match value {
        Some(v) if v.is_finite() && v > 0.0 => format!("+{v:.digits$}"),
        other => number(other, digits),
    }
}

impl Page {
    /// The text of the HTML file.
    pub fn render(&self) -> String {
        let mut h = String::with_capacity(1 << 16);
        h.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        h.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n");
        h.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n");
        let _ = writeln!(
            h,
            "<meta name=\"generator\" content=\"{}\">\n<title>{}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{CSS}</style>\n</head>\n<body>",
            escape(&self.generator),
            escape(&self.title)
        );
        self.header(&mut h);
        h.push_str("<main>\n");
        self.notes_section(&mut h);
        self.overview(&mut h);
        self.chart_sections(&mut h);
        self.summary(&mut h);
        self.rates(&mut h);
        self.picture_section(&mut h);
        self.about(&mut h);
        h.push_str("</main>\n");
        let _ = writeln!(
            h,
            "<footer>{} \u{b7} this file needs no network</footer>",
            escape(&self.generator)
        );
        let _ = writeln!(
            h,
            "<script type=\"application/json\" id=\"data\">{}</script>\n<script>\n{JS}</script>\n</body>\n</html>",
            script_json(self)
        );
        h
    }

    fn header(&self, h: &mut String) {
        let _ = writeln!(
            h,
            "<header>\n<div><h1>{}</h1>\n<p class=\"sub\">{}</p></div>\n<nav>",
            escape(&self.title),
            escape(&self.subtitle)
        );
        for (there, id, label) in [
            (self.has_frames(), "charts", "Frames"),
            (!self.candidates.is_empty(), "summary", "Summary"),
            (!self.rate_charts.is_empty(), "rates", "Rate"),
            (!self.pictures.is_empty(), "worst", "Worst frames"),
        ] {
            if there {
                let _ = write!(h, "<a href=\"#{id}\">{label}</a>");
            }
        }
        h.push_str("<button type=\"button\" id=\"theme\" class=\"js\" title=\"Light, dark, or as the system has it\">Theme: auto</button></nav>\n</header>\n");
    }

    fn has_frames(&self) -> bool {
        self.candidates.iter().any(|c| c.time_s.len() > 1)
    }

    fn main_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, c)| c.main)
    }

    fn notes_section(&self, h: &mut String) {
        if self.notes.is_empty() {
            return;
        }
        h.push_str("<section class=\"notes\" aria-label=\"Notes\">\n");
        for note in &self.notes {
            let (class, word) = match note.level {
                Level::Good => ("good", "Passed"),
                Level::Info => ("info", "Note"),
                Level::Warning => ("warn", "Warning"),
                Level::Bad => ("bad", "Failed"),
            };
            let _ = writeln!(
                h,
                "<p class=\"note {class}\"><b>{word}</b> {}</p>",
                escape(&note.text)
            );
        }
        h.push_str("</section>\n");
    }

    /// A card for each candidate with the column that matters most.
    fn overview(&self, h: &mut String) {
        let lead = self
            .worst_by
            .as_deref()
            .and_then(|name| self.columns.iter().position(|c| c.name == name))
            .or_else(|| self.main_columns().next().map(|(i, _)| i));
        let Some(lead) = lead else { return };
        if self.candidates.is_empty() {
            return;
        }
        let column = &self.columns[lead];
        h.push_str("<section class=\"cards\" aria-label=\"Overview\">\n");
        for (i, c) in self.candidates.iter().enumerate() {
            let p = c.pooled.get(lead).copied().flatten();
            let d = column.digits;
            let _ = writeln!(
                h,
                "<article class=\"card\"><h2>{}<span>{}</span></h2><p class=\"detail\">{}</p><p class=\"big\">{}<small>{}</small></p><p class=\"detail\">{} mean \u{b7} min {} \u{b7} 1% {} \u{b7} 5% {}</p></article>",
                dot(i),
                escape(&c.name),
                escape(&c.detail),
                number(p.map(|p| p.mean), d),
                escape(column.unit),
                escape(&column.label),
                number(p.map(|p| p.min), d),
                number(p.map(|p| p.p1), d),
                number(p.map(|p| p.p5), d),
            );
        }
        h.push_str("</section>\n");
    }

    fn chart_sections(&self, h: &mut String) {
        if !self.has_frames() {
            return;
        }
        h.push_str("<section id=\"charts\">\n<div class=\"head\"><h2>Frame by frame</h2><div class=\"tools js\"><span id=\"chips\"></span><button type=\"button\" id=\"sorted\" aria-pressed=\"false\" title=\"All frames from worst to best\">Sorted</button><button type=\"button\" id=\"reset\">Reset zoom</button></div></div>\n");
        h.push_str("<p class=\"hint js\">Drag across a chart to zoom, double-click to reset; Ctrl and the wheel zoom, Shift and drag (or \u{2190} \u{2192}) move. Click a name to hide it.</p>\n<noscript><p class=\"hint\">The charts need JavaScript; the tables and pictures do not.</p></noscript>\n<div id=\"plots\"></div>\n</section>\n");
    }

    fn summary(&self, h: &mut String) {
        if self.candidates.is_empty() {
            return;
        }
        h.push_str("<section id=\"summary\">\n<h2>Summary</h2>\n");
        self.pooled_table(h, true);
        if self.columns.iter().any(|c| !c.main) {
            h.push_str("<details><summary>Other columns</summary>\n");
            self.pooled_table(h, false);
            h.push_str("</details>\n");
        }
        h.push_str("</section>\n");
    }

    fn pooled_table(&self, h: &mut String, main: bool) {
        h.push_str("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Metric</th><th scope=\"col\">Candidate</th><th scope=\"col\">Mean</th><th scope=\"col\" title=\"n / \u{3a3} 1/(x+1) \u{2212} 1, as libvmaf has it\">Harmonic mean</th><th scope=\"col\">Min</th><th scope=\"col\">1st pct.</th><th scope=\"col\">5th pct.</th><th scope=\"col\">Max</th></tr></thead>\n");
        for (index, column) in self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, c)| c.main == main)
        {
            h.push_str("<tbody>\n");
            let rows: Vec<Option<[f64; 6]>> = self
                .candidates
                .iter()
                .map(|c| {
                    c.pooled
                        .get(index)
                        .copied()
                        .flatten()
                        .map(|p| [p.mean, p.harmonic_mean, p.min, p.p1, p.p5, p.max])
                })
                .collect();
            for (i, (candidate, row)) in self.candidates.iter().zip(&rows).enumerate() {
                h.push_str("<tr>");
                if i == 0 {
                    let _ = write!(
                        h,
                        "<th scope=\"rowgroup\" rowspan=\"{}\">{}{}<small>{}</small></th>",
                        self.candidates.len(),
                        escape(&column.label),
                        unit(column.unit),
                        if column.higher_is_better {
                            "more is better"
                        } else {
                            "less is better"
                        }
                    );
                }
                let _ = write!(
                    h,
                    "<th scope=\"row\" class=\"name\">{}{}</th>",
                    dot(i),
                    escape(&candidate.name)
                );
                for k in 0..6 {
                    let value = row.map(|r| r[k]);
                    let best = self.candidates.len() > 1
                        && value.is_some_and(|v| {
                            rows.iter().flatten().all(|r| {
                                if column.higher_is_better {
                                    v >= r[k]
                                } else {
                                    v <= r[k]
                                }
                            })
                        });
                    let _ = write!(
                        h,
                        "<td{}>{}</td>",
                        if best { " class=\"best\"" } else { "" },
                        number(value, column.digits)
                    );
                }
                h.push_str("</tr>\n");
            }
            h.push_str("</tbody>\n");
        }
        h.push_str("</table></div>\n");
    }

    fn rates(&self, h: &mut String) {
        if self.rate_charts.is_empty() {
            return;
        }
        h.push_str("<section id=\"rates\">\n<h2>Rate and quality</h2>\n<div id=\"rateplots\">\n");
        for (i, chart) in self.rate_charts.iter().enumerate() {
            let _ = writeln!(
                h,
                "<div class=\"rateplot js\" data-chart=\"{i}\"><h3>{}</h3></div>",
                escape(&chart.label)
            );
        }
        h.push_str("</div>\n");
        if self.rate_charts.iter().any(|c| !c.differences.is_empty()) {
            h.push_str("<h3>Bj\u{f8}ntegaard differences</h3>\n<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Metric</th><th scope=\"col\">Curve</th><th scope=\"col\" class=\"text\">from</th><th scope=\"col\">BD-rate</th><th scope=\"col\">BD-quality</th><th scope=\"col\">BD-rate (Akima)</th><th scope=\"col\">BD-quality (Akima)</th><th scope=\"col\">Overlap</th></tr></thead>\n");
            for chart in &self.rate_charts {
                h.push_str("<tbody>\n");
                for (i, d) in chart.differences.iter().enumerate() {
                    h.push_str("<tr>");
                    if i == 0 {
                        let _ = write!(
                            h,
                            "<th scope=\"rowgroup\" rowspan=\"{}\">{}{}</th>",
                            chart.differences.len(),
                            escape(&chart.label),
                            unit(chart.unit)
                        );
                    }
                    let series = chart.series.iter().position(|s| s.name == d.test);
                    let _ = write!(
                        h,
                        "<th scope=\"row\" class=\"name\">{}{}</th><td class=\"text\">{}</td>",
                        series.map(dot).unwrap_or_default(),
                        escape(&d.test),
                        escape(&d.anchor)
                    );
                    match &d.why_not {
                        Some(why) => {
                            let _ = write!(
                                h,
                                "<td colspan=\"5\" class=\"text why\">{}</td>",
                                escape(why)
                            );
                        }
                        None => {
                            let rate = |v: Option<f64>| {
                                let class = match v {
                                    Some(v) if v < 0.0 => " class=\"win\"",
                                    Some(v) if v > 0.0 => " class=\"loss\"",
                                    _ => "",
                                };
                                format!("<td{class}>{} %</td>", signed(v, 2))
                            };
                            let quality = |v: Option<f64>| {
                                format!("<td>{}</td>", signed(v, chart.digits + 1))
                            };
                            let _ = write!(
                                h,
                                "{}{}{}{}<td>{} %</td>",
                                rate(d.pchip_rate),
                                quality(d.pchip_quality),
                                rate(d.akima_rate),
                                quality(d.akima_quality),
                                number(d.overlap.map(|o| o * 100.0), 0)
                            );
                        }
                    }
                    h.push_str("</tr>\n");
                }
                h.push_str("</tbody>\n");
            }
            h.push_str("</table></div>\n<p class=\"hint\">Negative BD-rate: fewer bits for the same quality. Mean over the range that both curves cover, over log rate; PCHIP unless stated. Overlap: that range as a part of what both curves together cover.</p>\n");
        }
        self.point_table(h);
        h.push_str("</section>\n");
    }

    fn point_table(&self, h: &mut String) {
        if self.points.is_empty() {
            return;
        }
        let unit_of_rate = self
            .rate_charts
            .first()
            .map(|c| c.rate_unit.as_str())
            .unwrap_or("");
        let sizes = self.points.iter().any(|p| p.bytes.is_some());
        let times = self.points.iter().any(|p| p.encode_s.is_some());
        let _ = write!(
            h,
            "<h3>Points</h3>\n<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Curve</th><th scope=\"col\">Point</th><th scope=\"col\">Rate{}</th>",
            unit(unit_of_rate)
        );
        if sizes {
            h.push_str("<th scope=\"col\">Size <span class=\"unit\">kB</span></th>");
        }
        if times {
            h.push_str("<th scope=\"col\">Encoding <span class=\"unit\">s</span></th>");
        }
        for (_, c) in self.main_columns() {
            let _ = write!(
                h,
                "<th scope=\"col\">{}{}</th>",
                escape(&c.label),
                unit(c.unit)
            );
        }
        h.push_str("</tr></thead>\n<tbody>\n");
        let names: Vec<&str> = self
            .rate_charts
            .first()
            .map(|c| c.series.iter().map(|s| s.name.as_str()).collect())
            .unwrap_or_default();
        for p in &self.points {
            let index = names.iter().position(|n| *n == p.series);
            let _ = write!(
                h,
                "<tr><th scope=\"row\" class=\"name\">{}{}</th><td class=\"text\">{}</td><td>{}</td>",
                index.map(dot).unwrap_or_default(),
                escape(&p.series),
                escape(&p.label),
                number(Some(p.rate), if p.rate < 100.0 { 2 } else { 1 })
            );
            if sizes {
                let _ = write!(h, "<td>{}</td>", number(p.bytes.map(|b| b as f64 / 1e3), 1));
            }
            if times {
                let _ = write!(h, "<td>{}</td>", number(p.encode_s, 1));
            }
            for (i, c) in self.main_columns() {
                let _ = write!(
                    h,
                    "<td>{}</td>",
                    number(p.values.get(i).copied().flatten(), c.digits)
                );
            }
            h.push_str("</tr>\n");
        }
        h.push_str("</tbody></table></div>\n");
    }

    fn picture_section(&self, h: &mut String) {
        if self.pictures.is_empty() {
            return;
        }
        let by = self
            .worst_by
            .as_deref()
            .and_then(|name| self.columns.iter().find(|c| c.name == name))
            .map(|c| c.label.as_str())
            .unwrap_or("the first metric");
        let _ = writeln!(
            h,
            "<section id=\"worst\">\n<h2>Worst frames</h2>\n<p class=\"hint\">By {}. {}</p>",
            escape(by),
            escape(&self.picture_note)
        );
        for (i, candidate) in self.candidates.iter().enumerate() {
            let mut of_it = self.pictures.iter().filter(|p| p.candidate == i).peekable();
            if of_it.peek().is_none() {
                continue;
            }
            let _ = writeln!(
                h,
                "<h3 class=\"who\">{}{}</h3>",
                dot(i),
                escape(&candidate.name)
            );
            for p in of_it {
                picture_card(h, p, &candidate.name);
            }
        }
        h.push_str("</section>\n");
    }

    fn about(&self, h: &mut String) {
        if self.facts.is_empty() && self.command.is_none() {
            return;
        }
        h.push_str("<section id=\"about\">\n<h2>How it was measured</h2>\n<dl>\n");
        for (label, value) in &self.facts {
            let _ = writeln!(h, "<dt>{}</dt><dd>{}</dd>", escape(label), escape(value));
        }
        h.push_str("</dl>\n");
        if let Some(command) = &self.command {
            let _ = writeln!(h, "<pre>{}</pre>", escape(command));
        }
        h.push_str("<p class=\"js\"><button type=\"button\" id=\"save\">Save the data as JSON</button></p>\n</section>\n");
    }
}

fn dot(index: usize) -> String {
    format!(
        "<i class=\"dot\" style=\"background:var(--c{})\"></i>",
        index % 8
    )
}

fn unit(unit: &str) -> String {
    if unit.is_empty() {
        String::new()
    } else {
        format!(" <span class=\"unit\">{}</span>", escape(unit))
    }
}

fn picture_card(h: &mut String, p: &Pictures, name: &str) {
    let _ = write!(
        h,
        "<article class=\"shot\" id=\"shot-{}-{}\" style=\"--w:{};--h:{}\">\n<div class=\"head\"><h4>Frame {} <span>{:.3} s</span>",
        p.candidate, p.frame, p.width, p.height, p.frame, p.time_s
    );
    for (label, value) in &p.values {
        let _ = write!(
            h,
            "<span class=\"value\">{} <b>{}</b></span>",
            escape(label),
            escape(value)
        );
    }
    h.push_str("</h4><div class=\"tools js\"><span class=\"seg\" role=\"group\" aria-label=\"View\"><button type=\"button\" data-view=\"side\" aria-pressed=\"true\">Side by side</button><button type=\"button\" data-view=\"slider\" aria-pressed=\"false\">Slider</button></span><span class=\"seg zoom\" role=\"group\" aria-label=\"Magnification\"><button type=\"button\" data-zoom=\"0\" aria-pressed=\"true\">Fit</button><button type=\"button\" data-zoom=\"1\" aria-pressed=\"false\">1\u{d7}</button><button type=\"button\" data-zoom=\"2\" aria-pressed=\"false\">2\u{d7}</button><button type=\"button\" data-zoom=\"4\" aria-pressed=\"false\">4\u{d7}</button></span></div></div>\n<div class=\"side\">\n");
    for (class, source, caption) in [
        ("ref", &p.reference, "Reference".to_string()),
        ("dist", &p.distorted, name.to_string()),
        (
            "diff",
            &p.difference,
            format!("Difference \u{d7}{}", p.amplification),
        ),
    ] {
        let caption = escape(&caption);
        let _ = writeln!(
            h,
            "<figure><img class=\"{class}\" width=\"{}\" height=\"{}\" alt=\"{caption}, frame {}\" src=\"{}\"><figcaption>{caption}</figcaption></figure>",
            p.width,
            p.height,
            p.frame,
            escape(source)
        );
    }
    let _ = writeln!(
        h,
        "</div>\n<div class=\"slider\" hidden><div class=\"stage\"><img class=\"under\" alt=\"\"><img class=\"over\" alt=\"\"><span class=\"tag left\">Reference</span><span class=\"tag right\">{}</span><span class=\"bar\"></span><input type=\"range\" min=\"0\" max=\"100\" step=\"0.1\" value=\"50\" aria-label=\"Where reference ends and candidate begins\"></div></div>\n</article>",
        escape(name)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_stays_text() {
        let evil = "</script><img src=x onerror=alert(1)>&\"'\u{2028}.mp4";
        let page = Page {
            title: evil.into(),
            subtitle: evil.into(),
            generator: evil.into(),
            command: Some(evil.into()),
            facts: vec![(evil.into(), evil.into())],
            notes: vec![Note {
                level: Level::Bad,
                text: evil.into(),
            }],
            columns: vec![Column {
                name: "psnr-y".into(),
                label: evil.into(),
                unit: "dB",
                digits: 2,
                higher_is_better: true,
                main: true,
            }],
            candidates: vec![Candidate {
                name: evil.into(),
                detail: evil.into(),
                pooled: vec![None],
                frames: vec![0, 1],
                time_s: vec![0.0, 1.0],
                values: vec![vec![Some(1.0), None]],
                worst: vec![0],
            }],
            worst_by: Some("psnr-y".into()),
            pictures: vec![Pictures {
                candidate: 0,
                frame: 0,
                time_s: 0.0,
                values: vec![(evil.into(), evil.into())],
                width: 1,
                height: 1,
                reference: evil.into(),
                distorted: evil.into(),
                difference: evil.into(),
                amplification: 8,
            }],
            picture_note: evil.into(),
            rate_charts: vec![RateChart {
                label: evil.into(),
                unit: "dB",
                digits: 2,
                rate_unit: evil.into(),
                series: vec![RateSeries {
                    name: evil.into(),
                    points: vec![(1.0, 2.0, evil.into())],
                    line: vec![],
                }],
                differences: vec![DifferenceRow {
                    anchor: evil.into(),
                    test: evil.into(),
                    pchip_rate: None,
                    pchip_quality: None,
                    akima_rate: None,
                    akima_quality: None,
                    overlap: None,
                    why_not: Some(evil.into()),
                }],
            }],
            points: vec![PointRow {
                series: evil.into(),
                label: evil.into(),
                rate: 1.0,
                bytes: None,
                encode_s: None,
                values: vec![None],
            }],
        };
        let html = page.render();
        assert!(!html.contains("<img src=x"), "an element came in");
        assert_eq!(html.matches("</script>").count(), 2, "a script was closed");
        assert!(!html.contains('\u{2028}') || !JS.contains('\u{2028}'));
        let json = html
            .split("id=\"data\">")
            .nth(1)
            .and_then(|s| s.split("</script>").next())
            .unwrap();
        let data: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(data["title"], evil);
    }

    #[test]
    fn the_page_loads_nothing() {
        let html = Page::default().render();
        assert!(html.contains("default-src 'none'"));
        for scheme in ["http://", "https://"] {
            let without_namespace = html.replace("http://www.w3.org/2000/svg", "");
            assert!(!without_namespace.contains(scheme), "{scheme}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(
            escape("a<b>&\"'\u{7}\u{202e}"),
            "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}\u{fffd}"
        );
        assert_eq!(number(Some(-1.25), 1), "\u{2212}1.2");
        assert_eq!(number(Some(f64::NAN), 1), "\u{2013}");
        assert_eq!(data_uri("image/png", b"abc"), "data:image/png;base64,YWJj");
    }
}
