//! A report as one HTML file: charts, tables and pictures, readable without a network.
//!
//! [`Page`] is everything that stands in it; [`Page::render`] makes the file's text. Tables and
//! pictures are plain HTML, so that they are there without JavaScript, too; the charts are drawn
//! by the script in the page from the JSON in the page. Whatever comes from outside (file names,
//! messages) is escaped where it becomes HTML and where it becomes JSON, and the script makes text
//! nodes of it. The page's own content security policy forbids it to load anything.

mod parts;
mod pictures;
mod rates;
mod summary;
mod text;

use std::fmt::Write as _;
use text::{dot, number, script_json};

pub use parts::{
    Candidate, Column, DifferenceRow, Level, Note, Page, Pictures, PointRow, Pooled, RateChart,
    RateSeries,
};
pub use text::{data_uri, escape};

const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");

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
}
