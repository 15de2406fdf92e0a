//! Tables of pooled values.

use super::Page;
use super::text::{dot, escape, number, unit};
use std::fmt::Write as _;

impl Page {
    pub(super) fn summary(&self, h: &mut String) {
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
}
