//! The worst frames as pictures.

use super::text::{dot, escape};
use super::{Page, Pictures};
use std::fmt::Write as _;

impl Page {
    pub(super) fn picture_section(&self, h: &mut String) {
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
