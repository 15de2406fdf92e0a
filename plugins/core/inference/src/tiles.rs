//! How a frame is cut into tiles of one shape.
//!
//! Tiles never reach over the frame's (padded) edge, so that a convolution's zero padding meets the
//! same pixels as in a run on the whole frame; with an overlap of at least the receptive radius a
//! cut is then exact. Tile origins are multiples of the model's `multiple`, so that strides fall on
//! the same pixels as well.

use crate::error::{Error, Result};

/// One axis of one tile. All numbers are input pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where the tile begins.
    pub start: usize,
    /// The first pixel that is taken from this tile.
    pub from: usize,
    /// One past the last pixel that is taken from this tile.
    pub to: usize,
    /// Half the length of the ramp to the neighbour before `from` and after `to` (feather only).
    pub ramp_before: usize,
    pub ramp_after: usize,
}

/// The tiles along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Length of every tile.
    pub tile: usize,
    pub spans: Vec<Span>,
}

impl Axis {
    /// Cuts `length` pixels. `tile` = None is one tile for all. The frame is padded to `multiple`,
    /// or to `alignment`, a multiple of it, if there are several tiles, which begin at multiples of it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if a tile has no room for its overlaps.
    pub fn new(
        length: usize,
        tile: Option<usize>,
        overlap: usize,
        (multiple, alignment): (usize, usize),
        exact_tile: bool,
    ) -> Result<Self> {
        let whole = length.next_multiple_of(multiple);
        // Tiles need their strides to fall on the same pixels; one for all does not.
        let multiple = alignment;
        let padded = length.next_multiple_of(multiple);
        let tile = match tile {
            None => whole,
            // A network of one size gets that size, larger than the frame or not.
            Some(t) if exact_tile => t,
            Some(t) => t.next_multiple_of(multiple).min(padded),
        };
        if tile >= whole {
            let tile = if exact_tile { tile } else { whole };
            let span = Span {
                start: 0,
                from: 0,
                to: length,
                ramp_before: 0,
                ramp_after: 0,
            };
            return Ok(Self {
                tile,
                spans: vec![span],
            });
        }
        let step = tile.saturating_sub(2 * overlap) / multiple * multiple;
        if step == 0 {
            return Err(Error::Unsupported(format!(
                "tiles of {tile} pixels leave nothing after an overlap of {overlap} on each side; use a tile of at least {} or a smaller overlap",
                2 * overlap + multiple
            )));
        }
        let count = (padded - 2 * overlap).div_ceil(step).max(2);
        // Spread evenly: equal overlaps are better than one that is much larger than the others.
        let last = padded - tile;
        let starts: Vec<usize> = (0..count)
            .map(|i| (last * i / (count - 1)) / multiple * multiple)
            .collect();
        let mut spans = Vec::with_capacity(count);
        let mut from = 0;
        let mut ramp_before = 0;
        for (i, &start) in starts.iter().enumerate() {
            let (to, ramp_after) = match starts.get(i + 1) {
                Some(next) => {
                    let shared = start + tile - next;
                    // The outermost quarters are left out: a tile is at its worst there.
                    (next + shared / 2, shared / 4)
                }
                None => (length, 0),
            };
            spans.push(Span {
                start,
                from,
                to: to.min(length),
                ramp_before,
                ramp_after,
            });
            from = to.min(length);
            ramp_before = ramp_after;
        }
        spans.retain(|s| s.to > s.from);
        // Two ramps must not meet inside one tile, or the weights would not add up to 1.
        for i in 1..spans.len() {
            let half = |s: &Span| (s.to - s.from) / 2;
            let ramp = spans[i]
                .ramp_before
                .min(half(&spans[i - 1]))
                .min(half(&spans[i]));
            spans[i - 1].ramp_after = ramp;
            spans[i].ramp_before = ramp;
        }
        Ok(Self { tile, spans })
    }
}

impl Span {
    /// The weight of this tile at input position `x` (0..=1): 1 inside, linear ramps over what it
    /// shares with its neighbours, so that the weights of all tiles add up to 1.
    pub fn weight(&self, x: f32) -> f32 {
        let (from, to) = (self.from as f32, self.to as f32);
        if (self.ramp_before == 0 && x < from) || (self.ramp_after == 0 && x >= to) {
            return 0.0;
        }
        let mut w = 1f32;
        if self.ramp_before > 0 {
            let r = self.ramp_before as f32;
            w = w.min((x - (from - r)) / (2.0 * r));
        }
        if self.ramp_after > 0 {
            let r = self.ramp_after as f32;
            w = w.min(((to + r) - x) / (2.0 * r));
        }
        w.clamp(0.0, 1.0)
    }
}

/// Chooses a tile size so that a run stays under `limit` bytes.
///
/// None is the whole frame. Otherwise near-square tiles as large as the limit allows.
pub(crate) fn automatic(
    width: usize,
    height: usize,
    bytes_per_pixel: usize,
    limit: usize,
    overlap: usize,
    multiple: usize,
) -> Option<(usize, usize)> {
    let area = (limit / bytes_per_pixel.max(1)).max(1);
    if width.saturating_mul(height) <= area {
        return None;
    }
    // Never smaller than what leaves half of a tile for its own pixels.
    let least = (4 * overlap).max(64).next_multiple_of(multiple);
    // Full-width strips read memory in order and have two overlaps instead of four.
    let rows = area / width.max(1);
    if rows >= least {
        let strips = height.div_ceil(rows - 2 * overlap.min(rows / 4));
        let strip = height.div_ceil(strips) + 2 * overlap;
        return Some((
            width.next_multiple_of(multiple),
            strip.next_multiple_of(multiple),
        ));
    }
    let side = (area as f64).sqrt() as usize / multiple * multiple;
    let side = side.max(least);
    Some((side, side))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(length: usize, tile: usize, overlap: usize, multiple: usize) {
        let a = Axis::new(length, Some(tile), overlap, (multiple, multiple), false).unwrap();
        let padded = length.next_multiple_of(multiple);
        let mut at = 0;
        for s in &a.spans {
            assert_eq!(s.from, at, "{a:?}");
            assert!(s.to > s.from);
            assert_eq!(s.start % multiple, 0);
            assert!(s.start + a.tile <= padded || a.spans.len() == 1);
            // What is taken lies inside by the overlap, but at the frame's edges.
            assert!(
                s.start == 0 || s.from >= s.start + overlap,
                "{length} {tile} {overlap}: {a:?}"
            );
            assert!(
                s.start + a.tile >= padded || s.to + overlap <= s.start + a.tile,
                "{a:?}"
            );
            at = s.to;
        }
        assert_eq!(at, length);
        for x in 0..length {
            let x = x as f32 + 0.5;
            let sum: f32 = a.spans.iter().map(|s| s.weight(x)).sum();
            assert!((sum - 1.0).abs() < 1e-4, "weights at {x}: {sum}, {a:?}");
        }
    }

    #[test]
    fn tiles_cover_the_frame_once_and_keep_their_overlap() {
        for length in [1usize, 5, 63, 64, 65, 127, 360, 361, 640, 853, 1080, 1920] {
            for tile in [32usize, 48, 64, 100, 256, 5000] {
                for overlap in [0usize, 4, 7, 12] {
                    for multiple in [1usize, 2, 4, 8] {
                        if tile.next_multiple_of(multiple) >= 2 * overlap + multiple {
                            check(length, tile, overlap, multiple);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_tile_without_room_is_an_error() {
        let e = Axis::new(1000, Some(16), 8, (1, 1), false)
            .unwrap_err()
            .to_string();
        assert!(e.contains("overlap"), "{e}");
    }

    #[test]
    fn a_fixed_size_may_be_larger_than_the_frame() {
        let a = Axis::new(100, Some(224), 8, (1, 1), true).unwrap();
        assert_eq!((a.tile, a.spans.len()), (224, 1));
        let a = Axis::new(300, Some(224), 8, (1, 1), true).unwrap();
        assert_eq!((a.tile, a.spans.len()), (224, 2));
    }

    #[test]
    fn the_automatic_size_keeps_the_limit() {
        assert_eq!(automatic(640, 360, 200, 512 << 20, 6, 1), None);
        let (w, h) = automatic(1920, 1080, 800, 512 << 20, 18, 1).unwrap();
        assert!(w * h * 800 <= (512 << 20) * 11 / 10, "{w}x{h}");
        let (w, h) = automatic(7680, 4320, 800, 64 << 20, 18, 4).unwrap();
        assert!(w % 4 == 0 && w * h * 800 <= (64 << 20) * 11 / 10, "{w}x{h}");
    }
}
