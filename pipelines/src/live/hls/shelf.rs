//! What left the playlist and stays on the store for those with an older copy of it.

use super::playlist::{Entry, Left, MediaPlaylist, PartEntry};
use std::time::Duration;

/// Something that waits until it may be deleted.
#[derive(Debug)]
enum Item {
    Segment {
        entry: Entry,
        /// How many segments had left with it.
        number: u64,
        /// The rendition's length when it left.
        at: Duration,
        /// How much longer it stays, in media time.
        hold: Duration,
    },
    Part {
        entry: PartEntry,
        at: Duration,
        hold: Duration,
    },
}

/// What left one playlist. Time is that of the media: without new segments nothing is deleted.
#[derive(Debug)]
pub(super) struct Shelf {
    keep: u64,
    target: Duration,
    /// What left the playlist, while the playlist on the store may still list it.
    listed: Vec<Left>,
    items: Vec<Item>,
    left: u64,
    longest: Duration,
}

impl Shelf {
    /// Keeps at least `keep` segments.
    pub fn new(keep: usize, target: Duration) -> Self {
        Self {
            keep: keep as u64,
            target,
            listed: Vec::new(),
            items: Vec::new(),
            left: 0,
            longest: Duration::ZERO,
        }
    }

    /// Takes what the playlist no longer lists.
    pub fn take(&mut self, left: Vec<Left>) {
        self.listed.extend(left);
    }

    /// The playlist as it is now is on the store, and the rendition is as long as `now`. Gives the
    /// names of what may be deleted.
    pub fn published(&mut self, playlist: &MediaPlaylist, now: Duration) -> Vec<String> {
        self.longest = self.longest.max(playlist.duration());
        for left in self.listed.drain(..) {
            self.items.push(match left {
                // RFC 8216, 6.2.2.
                Left::Segment(entry) => {
                    self.left += 1;
                    Item::Segment {
                        number: self.left,
                        at: now,
                        hold: entry.duration + self.longest,
                        entry,
                    }
                }
                // The draft of its second edition, 4.4.4.9.
                Left::Part(entry) => Item::Part {
                    at: now,
                    hold: entry.duration + self.target * 3,
                    entry,
                },
            });
        }
        let (keep, left) = (self.keep, self.left);
        let due = |at: Duration, hold: Duration| now.saturating_sub(at) >= hold;
        let deleted: Vec<Item> = self
            .items
            .extract_if(.., |item| match item {
                Item::Segment {
                    number, at, hold, ..
                } => due(*at, *hold) && left.saturating_sub(*number) >= keep,
                Item::Part { at, hold, .. } => due(*at, *hold),
            })
            .collect();
        let mut names = Vec::new();
        for item in deleted {
            match item {
                Item::Part { entry, .. } if !entry.gap => names.push(entry.uri),
                Item::Segment { entry, .. } => {
                    if let Some(map) = entry.map
                        && !names.contains(&map)
                        && !self.needs(playlist, &map)
                    {
                        names.push(map);
                    }
                    if !entry.gap {
                        names.push(entry.uri);
                    }
                }
                Item::Part { .. } => {}
            }
        }
        names
    }

    /// Whether a segment that is listed or kept needs this initialisation segment. The newest
    /// one may be needed by what comes.
    fn needs(&self, playlist: &MediaPlaylist, map: &str) -> bool {
        let kept = self.items.iter().filter_map(|item| match item {
            Item::Segment { entry, .. } => entry.map.as_deref(),
            Item::Part { .. } => None,
        });
        let listed = playlist.listed().1.filter_map(|e| e.map.as_deref());
        kept.chain(listed).any(|m| m == map)
    }
}
