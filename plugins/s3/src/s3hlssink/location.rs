//! Where fragments and playlist go, and what the playlist says of it.

use std::ops::Range;

use gstneural_s3::S3Uri;

/// The names of the fragments: `s3://BUCKET/FOLDER/segment%05d.ts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// The name in the form that `printf` takes: with one number, everything else escaped.
    pub printf: String,
    /// The first of the fragments.
    pub first: S3Uri,
    folder: String,
}

/// The places in `text` that stand for a number: `%d` and `%01d` to `%09d`.
///
/// A `%` is also what an escape of a URI begins with; these are none that a name has, but for a
/// `%d` before a digit.
fn numbers(text: &str) -> Vec<Range<usize>> {
    let all = text.match_indices('%').filter_map(|(at, _)| {
        let rest = text.as_bytes().get(at + 1..)?;
        match rest {
            [b'd', next, ..] if next.is_ascii_hexdigit() => None,
            [b'd', ..] => Some(at..at + 2),
            [b'0', b'1'..=b'9', b'd', ..] => Some(at..at + 4),
            _ => None,
        }
    });
    all.collect()
}

fn folder(uri: &str) -> &str {
    uri.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, String> {
        let numbers = numbers(text);
        let [number] = numbers.as_slice() else {
            return Err(format!(
                "location={text} has to hold one number, written as %d or %05d, not {}",
                numbers.len()
            ));
        };
        let part = |range: Range<usize>| text.get(range).unwrap_or_default();
        let (before, after) = (part(0..number.start), part(number.end..text.len()));
        let mut mark = "number".to_owned();
        while text.contains(&mark) {
            mark.push('x');
        }
        let read = |number: &str| {
            S3Uri::parse(&format!("{before}{number}{after}"))
                .map_err(|e| format!("location={text}: {e}"))
        };
        let (uri, first) = (read(&mark)?, read("00000")?);
        if uri.version_id.is_some() {
            return Err(format!(
                "location={text}: a version cannot be written; leave out versionId"
            ));
        }
        let uri = uri.to_string();
        let name = uri.rsplit_once('/').map_or("", |(_, name)| name);
        if !name.contains(&mark) {
            return Err(format!(
                "location={text}: the number has to be in the name, behind the last slash"
            ));
        }
        let escaped = uri.replace('%', "%%");
        Ok(Self {
            printf: escaped.replacen(&mark, part(number.clone()), 1),
            first,
            folder: folder(&uri).to_owned(),
        })
    }

    /// Where the playlist goes if nothing else is said: beside the fragments.
    pub fn playlist(&self) -> String {
        format!("{}/playlist.m3u8", self.folder)
    }

    /// What stands before the names in the playlist; `None`: nothing.
    pub fn root(&self, playlist: &S3Uri) -> Result<Option<String>, String> {
        let playlist = playlist.to_string();
        let folder = folder(&playlist);
        if self.folder == folder {
            return Ok(None);
        }
        match self.folder.strip_prefix(folder) {
            Some(rest) if rest.starts_with('/') => Ok(Some(rest.trim_matches('/').to_owned())),
            _ => Err(format!(
                "the fragments are in {}, which is not below the playlist's {folder}: set \
                 playlist-root to what stands before their names in the playlist",
                self.folder
            )),
        }
    }
}

/// The last part of a name in a playlist.
pub(super) fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// What a playlist names: the last part of each name, and how long it plays.
pub(super) fn entries(playlist: &str) -> Vec<(&str, Option<gst::ClockTime>)> {
    let mut duration = None;
    let mut all = Vec::new();
    for line in playlist.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(information) = line.strip_prefix("#EXTINF:") {
            let seconds = information.split(',').next().unwrap_or_default();
            let seconds: Option<f64> = seconds.trim().parse().ok();
            duration = seconds.and_then(|s| gst::ClockTime::try_from_seconds_f64(s).ok());
        } else if !line.starts_with('#') {
            all.push((base(line), duration.take()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_has_one_number() {
        let template = Template::parse("s3://films/a%20b/seg%05d.ts").unwrap();
        assert_eq!(template.printf, "s3://films/a%%20b/seg%05d.ts");
        assert_eq!(template.first.key, "a b/seg00000.ts");
        assert_eq!(template.playlist(), "s3://films/a%20b/playlist.m3u8");
        assert_eq!(
            Template::parse("s3://films/%d.ts").unwrap().printf,
            "s3://films/%d.ts"
        );
        // Escapes of Cyrillic, not numbers.
        let template = Template::parse("s3://films/%d0%b0-%d.ts").unwrap();
        assert_eq!(template.printf, "s3://films/%%D0%%B0-%d.ts");
        for refused in [
            "s3://films/a.ts",
            "s3://films/%d-%d.ts",
            "s3://films/%s.ts",
            "s3://films/%n%n%5d.ts",
            "s3://films/%99999999d",
            "s3://films/%d/a.ts",
            "s3://%d/a.ts",
            "s3://films/%d.ts?versionId=a",
            "segment%05d.ts",
            "",
        ] {
            assert!(Template::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_playlist_finds_the_fragments() {
        let root = |playlist: &str| {
            let template = Template::parse("s3://films/live/parts/%d.ts").unwrap();
            template.root(&S3Uri::parse(playlist).unwrap()).ok()
        };
        assert_eq!(root("s3://films/live/parts/a.m3u8"), Some(None));
        assert_eq!(root("s3://films/live/a.m3u8"), Some(Some("parts".into())));
        assert_eq!(root("s3://films/a.m3u8"), Some(Some("live/parts".into())));
        assert_eq!(root("s3://films/other/a.m3u8"), None);
        assert_eq!(root("s3://films/li/a.m3u8"), None);
        assert_eq!(root("s3://other/live/parts/a.m3u8"), None);
    }

    #[test]
    fn names_and_durations() {
        let text = "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:2.5,\na/b.ts\n\nc.ts\n#EXTINF:x,\nd.ts\n";
        let expected = [
            ("b.ts", Some(gst::ClockTime::from_mseconds(2500))),
            ("c.ts", None),
            ("d.ts", None),
        ];
        assert_eq!(entries(text), expected);
    }
}
