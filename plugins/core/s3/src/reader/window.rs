//! Which bytes are held, which are on their way, and which to ask for next.
//!
//! A chain of ranges follows the reader. After a jump the first range is small, so that a demuxer
//! that looks at headers here and there does not fetch megabytes each time; the further the reader
//! goes on from there, the further ahead is asked for, up to all the memory there is. Ranges
//! behind the reader, and those of other places, are kept as long as there is room: a demuxer that
//! reads at two places in turn finds both.
//!
//! Ranges that are asked for together share the line, so those of one length would end together,
//! and the line would be idle until the answers to the next ones begin. So each range of a chain
//! is longer than the one before, up to the longest there is: they end one by one, and while an
//! answer is waited for the others go on.

use tokio::task::AbortHandle;

use crate::error::S3Error;

/// Asked for first after a jump.
pub(super) const FIRST_BYTES: u64 = 1 << 20;
/// Memory is taken in pieces of this size, and used again for other ranges whatever their length.
const PIECE: usize = 256 << 10;
/// How many times the distance already gone in one piece is asked for ahead.
const RAMP: u64 = 64;

/// How a range's transfer stands.
#[derive(Debug)]
pub(super) enum Status {
    Running,
    Complete,
    Failed(S3Error),
}

/// A range that has been asked for.
#[derive(Debug)]
struct Range {
    id: u64,
    start: u64,
    end: u64,
    /// Where the chain that it belongs to begins.
    chain: u64,
    /// What came so far: full pieces, then one that is being filled.
    data: Vec<Vec<u8>>,
    status: Status,
    task: Option<AbortHandle>,
    /// When it was last read from, for evicting.
    used: u64,
}

/// A range to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub id: u64,
    pub start: u64,
    pub end: u64,
}

/// The ranges of one reader.
#[derive(Debug)]
pub(super) struct Window {
    ranges: Vec<Range>,
    size: u64,
    range_bytes: u64,
    budget: u64,
    parallel: usize,
    /// Asked for first at the beginning of the object.
    opening: u64,
    next_id: u64,
    clock: u64,
    /// The memory of ranges that were forgotten, for the next ones; empty pieces.
    spare: Vec<Vec<u8>>,
}

impl Drop for Range {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Range {
    fn holds(&self, at: u64) -> bool {
        (self.start..self.end).contains(&at)
    }

    /// Copies what is there from `at` on.
    fn copy(&self, at: u64, buffer: &mut [u8]) -> usize {
        let skip = at.saturating_sub(self.start) as usize;
        let (mut piece, mut within, mut done) = (skip / PIECE, skip % PIECE, 0);
        while let Some(data) = self.data.get(piece) {
            let from = data.get(within..).unwrap_or_default();
            let count = from.len().min(buffer.len() - done);
            if count == 0 {
                break;
            }
            if let (Some(to), Some(from)) = (buffer.get_mut(done..done + count), from.get(..count))
            {
                to.copy_from_slice(from);
            }
            done += count;
            (piece, within) = (piece + 1, 0);
        }
        done
    }

    /// Bytes that came so far.
    fn held(&self) -> usize {
        let last = self.data.last().map_or(0, Vec::len);
        self.data.len().saturating_sub(1) * PIECE + last
    }

    /// Takes bytes in; `piece` gives memory.
    fn take(&mut self, mut bytes: &[u8], mut piece: impl FnMut() -> Vec<u8>) {
        while !bytes.is_empty() {
            let room = self.data.last().map_or(0, |p| PIECE - p.len());
            if room == 0 {
                self.data.push(piece());
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(last) = self.data.last_mut() {
                last.extend_from_slice(now);
            }
            bytes = later;
        }
    }
}

impl Window {
    /// `opening` bytes, at most a range, are asked for first at the beginning of the object.
    pub fn new(size: u64, range_bytes: u64, parallel: u32, opening: u64) -> Self {
        Self {
            ranges: Vec::new(),
            size,
            range_bytes,
            budget: range_bytes * u64::from(parallel),
            parallel: parallel as usize,
            opening: opening.clamp(FIRST_BYTES.min(range_bytes), range_bytes),
            next_id: 0,
            clock: 0,
            spare: Vec::new(),
        }
    }

    fn find(&self, at: u64) -> Option<usize> {
        self.ranges.iter().position(|r| r.holds(at))
    }

    /// Copies what is held from `at` on, without a gap, and says how many bytes that were.
    pub fn copy(&mut self, at: u64, buffer: &mut [u8]) -> usize {
        self.clock += 1;
        let mut done = 0;
        while done < buffer.len() {
            let here = at + done as u64;
            let clock = self.clock;
            let Some(range) = self.ranges.iter_mut().find(|r| r.holds(here)) else {
                break;
            };
            range.used = clock;
            let count = range.copy(here, buffer.get_mut(done..).unwrap_or_default());
            if count == 0 {
                break;
            }
            done += count;
        }
        done
    }

    /// How the transfer of the range around `at` stands.
    pub fn status(&self, at: u64) -> Option<&Status> {
        self.ranges.iter().find(|r| r.holds(at)).map(|r| &r.status)
    }

    /// Whether the byte at `at` is held or comes soon. One in the middle of a range that is under
    /// way comes after all before it, and those share the line with the other ranges.
    pub fn is_near(&self, at: u64) -> bool {
        let range = self.ranges.iter().find(|r| r.holds(at));
        range.is_some_and(|r| at < r.start + r.held() as u64 + FIRST_BYTES)
    }

    /// The ranges to ask for now, with the reader at `at` and waiting for `missing` bytes there.
    ///
    /// They count as running from now on.
    pub fn plan(&mut self, at: u64, missing: u64) -> Vec<Plan> {
        let mut plans = Vec::new();
        if at >= self.size {
            return plans;
        }
        // Held, or just read to its end.
        let chain = self.ranges.iter().find(|r| r.holds(at) || r.end == at);
        let chain = chain.map_or(at, |r| r.chain);
        let gone = at.saturating_sub(chain);
        // Where the reader has been elsewhere, it may go there again: both places need their room.
        let elsewhere = self.ranges.iter().any(|r| r.chain != chain);
        let ramp = if elsewhere { RAMP / 2 } else { RAMP };
        // Where it is known that the reader goes on, nothing is gained by waiting until it has.
        let ahead = match chain == 0 && self.opening > FIRST_BYTES {
            true => self.budget,
            false => FIRST_BYTES + ramp.saturating_mul(gone),
        };
        let ahead = ahead.max(missing).min(self.budget);
        let goal = at.saturating_add(ahead).min(self.size);
        let mut end = at;
        while let Some(range) = self.find(end).and_then(|i| self.ranges.get(i)) {
            end = range.end;
        }
        while end < goal {
            let running = self
                .ranges
                .iter()
                .filter(|r| matches!(r.status, Status::Running));
            if running.count() >= self.parallel && !self.stop_one_elsewhere(at, end) {
                break;
            }
            let longest = self.longest(end, chain).max(missing.min(self.range_bytes));
            let length = (goal - end).min(longest);
            // No request for crumbs: the further the reader has gone on, the larger they are.
            let least = (gone / 2).clamp(FIRST_BYTES.min(self.range_bytes), longest);
            if length < least && end > at && goal < self.size {
                break;
            }
            // Up to the next range that is there already.
            let next = self
                .ranges
                .iter()
                .map(|r| r.start)
                .filter(|s| *s > end)
                .min();
            let length = length.min(next.map_or(u64::MAX, |n| n - end));
            if !self.make_room(length, at, end) {
                break;
            }
            let id = self.next_id;
            self.next_id += 1;
            self.clock += 1;
            let plan = Plan {
                id,
                start: end,
                end: end + length,
            };
            self.ranges.push(Range {
                id,
                start: plan.start,
                end: plan.end,
                chain,
                data: Vec::new(),
                status: Status::Running,
                task: None,
                used: self.clock,
            });
            plans.push(plan);
            end = plan.end;
            while let Some(range) = self.find(end).and_then(|i| self.ranges.get(i)) {
                end = range.end;
            }
        }
        plans
    }

    /// Asked for first at the beginning of a chain.
    fn first(&self, chain: u64) -> u64 {
        match chain {
            0 => self.opening,
            _ => FIRST_BYTES.min(self.range_bytes),
        }
    }

    /// The longest range that may begin at `start`.
    fn longest(&self, start: u64, chain: u64) -> u64 {
        if start == chain {
            return self.first(chain);
        }
        let before = self.ranges.iter().find(|r| r.end == start);
        // From half a range on: with much shorter ones less is under way than there is room for.
        let half = self.range_bytes / 2;
        let step = half / self.parallel.max(1) as u64;
        let longest = match before {
            // By then the chain's first range has come or is about to: it does not count.
            Some(range) if range.start == chain => half,
            Some(range) => range.end - range.start + step,
            None => self.range_bytes,
        };
        longest.clamp(FIRST_BYTES.min(self.range_bytes), self.range_bytes)
    }

    /// Forgets ranges outside `at..end` until `length` more bytes fit, those not used for longest
    /// first.
    fn make_room(&mut self, length: u64, at: u64, end: u64) -> bool {
        while self.planned() + length > self.budget {
            let behind = |r: &&Range| r.end <= at || r.start >= end;
            let oldest = self.ranges.iter().filter(behind).min_by_key(|r| r.used);
            let Some(id) = oldest.map(|r| r.id) else {
                // All of it lies ahead of the reader. Alone, one range always fits.
                return self.ranges.is_empty();
            };
            self.forget(id);
        }
        true
    }

    fn forget(&mut self, id: u64) {
        if let Some(index) = self.ranges.iter().position(|r| r.id == id) {
            let mut range = self.ranges.swap_remove(index);
            for mut piece in range.data.drain(..) {
                piece.clear();
                self.spare.push(piece);
            }
        }
    }

    /// Stops a transfer that does not serve the reader at its present place.
    fn stop_one_elsewhere(&mut self, at: u64, end: u64) -> bool {
        let elsewhere =
            |r: &&Range| matches!(r.status, Status::Running) && (r.end <= at || r.start >= end);
        let Some(id) = self
            .ranges
            .iter()
            .filter(elsewhere)
            .min_by_key(|r| r.used)
            .map(|r| r.id)
        else {
            return false;
        };
        self.forget(id);
        true
    }

    /// Bytes asked for and not forgotten.
    fn planned(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum()
    }

    /// Bytes held.
    pub fn held(&self) -> u64 {
        self.ranges.iter().map(|r| r.held() as u64).sum()
    }

    /// A range's transfer has a task.
    pub fn started(&mut self, id: u64, task: AbortHandle) {
        match self.ranges.iter_mut().find(|r| r.id == id) {
            Some(range) => range.task = Some(task),
            None => task.abort(),
        }
    }

    /// Bytes came; `false` when nobody wants them any more, or more came than was asked for.
    pub fn received(&mut self, id: u64, bytes: &[u8]) -> bool {
        let Some(range) = self.ranges.iter_mut().find(|r| r.id == id) else {
            return false;
        };
        let length = (range.end - range.start) as usize;
        if range.held() + bytes.len() > length {
            return false;
        }
        // The network's own pieces would hold more memory than they have bytes.
        let spare = &mut self.spare;
        range.take(bytes, || {
            spare.pop().unwrap_or_else(|| Vec::with_capacity(PIECE))
        });
        true
    }

    /// A transfer ended.
    pub fn ended(&mut self, id: u64, result: Result<(), S3Error>) {
        if let Some(range) = self.ranges.iter_mut().find(|r| r.id == id) {
            range.status = match result {
                Ok(()) => Status::Complete,
                Err(error) => Status::Failed(error),
            };
        }
    }

    /// Forgets everything and ends what is under way.
    pub fn clear(&mut self) {
        self.ranges.clear();
        self.spare = Vec::new();
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
