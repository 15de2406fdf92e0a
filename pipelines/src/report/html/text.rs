//! Text and numbers as HTML and as JSON in HTML.

use serde::Serialize;

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
pub(super) fn script_json<T: Serialize>(value: &T) -> String {
    // An error is impossible for these types; an empty object would show at once.
    let json = serde_json::to_string(value).unwrap_or_else(|_| "{}".into());
    json.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

pub(super) fn number(value: Option<f64>, digits: usize) -> String {
    match value {
        Some(v) if v.is_finite() => format!("{v:.digits$}").replace('-', "\u{2212}"),
        _ => "\u{2013}".into(),
    }
}

pub(super) fn signed(value: Option<f64>, digits: usize) -> String {
    match value {
        Some(v) if v.is_finite() && v > 0.0 => format!("+{v:.digits$}"),
        other => number(other, digits),
    }
}

pub(super) fn dot(index: usize) -> String {
    format!(
        "<i class=\"dot\" style=\"background:var(--c{})\"></i>",
        index % 8
    )
}

pub(super) fn unit(unit: &str) -> String {
    if unit.is_empty() {
        String::new()
    } else {
        format!(" <span class=\"unit\">{}</span>", escape(unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
