//! Rate-distortion charts, differences and points.

use super::Page;
use super::text::{dot, escape, number, signed, unit};
use std::fmt::Write as _;

impl Page {
    pub(super) fn rates(&self, h: &mut String) {
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
}
