//! Requests that wait until a playlist has come far enough: blocking reload and preload hints of
//! low-latency HLS (draft-pantos-hls-rfc8216bis, 6.2.5.2 and 6.2.6).

use super::Shared;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Of a playlist that does not say.
const TARGET_S: u64 = 2;
/// Largest target duration that counts; nobody may wait for longer than three of it.
const TARGET_MAX_S: u64 = 10;
/// Largest playlist that is looked into, in bytes.
const PLAYLIST_MAX: u64 = 4 << 20;
/// Between looks for a file, should nothing else wake us.
const LOOK: Duration = Duration::from_millis(100);

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// What was waited for is there, or will never be.
    Done,
    /// It took too long, or the server stops.
    Late,
    /// The request makes no sense.
    Nonsense,
}

/// A segment, and one of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    msn: u64,
    part: Option<u32>,
}

impl Asked {
    /// From a request's `_HLS_msn` and `_HLS_part`; `None` where there are none.
    ///
    /// # Errors
    ///
    /// They are no numbers, given twice, or there is a part and no segment.
    pub(super) fn of(query: Option<&str>) -> Result<Option<Self>, ()> {
        let value = |name: &str| -> Result<Option<&str>, ()> {
            let mut values = query
                .unwrap_or_default()
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .filter(|(n, _)| *n == name)
                .map(|(_, value)| value);
            match (values.next(), values.next()) {
                (value, None) => Ok(value),
                _ => Err(()),
            }
        };
        let part = value("_HLS_part")?
            .map(str::parse)
            .transpose()
            .map_err(drop)?;
        match value("_HLS_msn")? {
            Some(msn) => Ok(Some(Self {
                msn: msn.parse().map_err(drop)?,
                part,
            })),
            None if part.is_some() => Err(()),
            None => Ok(None),
        }
    }

    /// Whether a playlist has it that is writing segment `msn` and has `parts` parts of that.
    fn reached(self, (msn, parts): (u64, u32)) -> bool {
        msn > self.msn || (msn == self.msn && self.part.is_some_and(|p| parts > p))
    }

    /// Whether it is more than one segment behind the one being written, which no player asks for.
    fn absurd(self, (msn, _): (u64, u32)) -> bool {
        self.msn > msn.saturating_add(1)
    }
}

/// Waits until the playlist at `path` below the output, with the `file` it is in, has what is asked.
pub(super) async fn for_playlist(shared: &Shared, path: &str, file: &Path, asked: Asked) -> Waited {
    let Some(mut reached) = shared.control.reached(path) else {
        return Waited::Done;
    };
    if asked.absurd(*reached.borrow()) {
        return Waited::Nonsense;
    }
    let text = read(file).await;
    if ended(&text) {
        return Waited::Done;
    }
    let until = Instant::now() + patience(&text);
    let mut stopping = shared.stopping.clone();
    let moved = async {
        tokio::select! {
            // An error means that nobody writes this playlist any more: it is what it is.
            _ = reached.wait_for(|r| asked.reached(*r)) => Waited::Done,
            _ = stopping.wait_for(|stop| *stop) => Waited::Late,
        }
    };
    timeout_at(until, moved).await.unwrap_or(Waited::Late)
}

/// Waits for a `file` that the playlist beside it announces. Others are not waited for.
pub(super) async fn for_hinted(shared: &Shared, path: &str, file: &Path) -> Waited {
    let (Some((folder, name)), Some(playlist)) = (
        path.rsplit_once('/'),
        file.parent().map(|p| p.join("index.m3u8")),
    ) else {
        return Waited::Done;
    };
    let text = read(&playlist).await;
    if !hinted(&text, name) {
        return Waited::Done;
    }
    let Some(mut reached) = shared.control.reached(&format!("{folder}/index.m3u8")) else {
        return Waited::Done;
    };
    let until = Instant::now() + patience(&text);
    let mut stopping = shared.stopping.clone();
    loop {
        // Noted before looking, so that nothing can come between.
        reached.mark_unchanged();
        if tokio::fs::try_exists(file).await.unwrap_or(false) {
            return Waited::Done;
        }
        if *stopping.borrow() || Instant::now() >= until {
            return Waited::Late;
        }
        tokio::select! {
            changed = reached.changed() => {
                if changed.is_err() {
                    return Waited::Done;
                }
            }
            _ = stopping.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn read(file: &Path) -> String {
    match tokio::fs::metadata(file).await {
        Ok(about) if about.is_file() && about.len() <= PLAYLIST_MAX => {
            tokio::fs::read_to_string(file).await.unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// Three target durations.
fn patience(playlist: &str) -> Duration {
    let target = playlist
        .lines()
        .find_map(|l| l.strip_prefix("#EXT-X-TARGETDURATION:"))
        .and_then(|t| t.trim().parse().ok())
        .unwrap_or(TARGET_S);
    Duration::from_secs(3 * target.clamp(1, TARGET_MAX_S))
}

fn ended(playlist: &str) -> bool {
    playlist.lines().any(|l| l.trim_end() == "#EXT-X-ENDLIST")
}

fn hinted(playlist: &str, name: &str) -> bool {
    playlist
        .lines()
        .filter_map(|l| l.strip_prefix("#EXT-X-PRELOAD-HINT:"))
        .filter_map(|l| l.split("URI=\"").nth(1)?.split('"').next())
        .any(|uri| uri == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read_from_the_query() {
        let asked = |msn, part| Ok(Some(Asked { msn, part }));
        assert_eq!(Asked::of(None), Ok(None));
        assert_eq!(Asked::of(Some("")), Ok(None));
        assert_eq!(Asked::of(Some("a=b&_HLS_skip=YES")), Ok(None));
        assert_eq!(Asked::of(Some("_HLS_msn=7")), asked(7, None));
        assert_eq!(Asked::of(Some("_HLS_part=2&_HLS_msn=7")), asked(7, Some(2)));
        for bad in [
            "_HLS_part=2",
            "_HLS_msn=",
            "_HLS_msn=-1",
            "_HLS_msn=99999999999999999999",
            "_HLS_msn=1&_HLS_msn=2",
            "_HLS_msn=1&_HLS_part=x",
        ] {
            assert_eq!(Asked::of(Some(bad)), Err(()), "{bad}");
        }
    }

    #[test]
    fn a_segment_is_reached_when_it_is_complete_and_a_part_when_it_is_there() {
        let whole = Asked { msn: 5, part: None };
        assert!(!whole.reached((5, 9)));
        assert!(whole.reached((6, 0)));
        let part = Asked {
            msn: 5,
            part: Some(1),
        };
        assert!(!part.reached((5, 1)));
        assert!(part.reached((5, 2)));
        assert!(part.reached((6, 0)));
        assert!(!Asked { msn: 6, part: None }.absurd((5, 0)));
        assert!(Asked { msn: 7, part: None }.absurd((5, 0)));
        assert!(
            !Asked {
                msn: u64::MAX,
                part: None
            }
            .absurd((u64::MAX, 0))
        );
    }

    #[test]
    fn playlists_are_looked_into() {
        let text =
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a.m4s\"\n";
        assert_eq!(patience(text), Duration::from_secs(12));
        assert_eq!(
            patience("#EXT-X-TARGETDURATION:999999"),
            Duration::from_secs(30)
        );
        assert_eq!(patience(""), Duration::from_secs(6));
        assert!(hinted(text, "a.m4s"));
        assert!(!hinted(text, "b.m4s"));
        assert!(!ended(text));
        assert!(ended("#EXTM3U\n#EXT-X-ENDLIST\n"));
    }
}
