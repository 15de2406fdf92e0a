//! Cuts an MPEG transport stream into segments that can each be decoded by themselves.

pub mod clock;
mod packet;

use crate::failure::Failure;
use bytes::Bytes;
use packet::{Header, LENGTH, Lead, Packet, Pes, SYNC, Table};
use std::collections::BTreeMap;
use std::time::Duration;

const PAT_PID: u16 = 0;
const NULL_PID: u16 = 0x1fff;
/// Most packets for which a finished segment waits until PES packets that began in it are whole.
const CLOSING_PACKETS: usize = 512;

/// A finished segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsSegment {
    /// Its packets, PAT and PMT first.
    pub bytes: Bytes,
    /// The presentation time of its first frame, 33 bits at 90 kHz.
    pub first_pts: u64,
    /// From its first frame to that of the next segment; of the last segment, to the end of its
    /// last frame, as far as that can be known.
    pub duration: Duration,
}

/// A segment that is being filled.
#[derive(Debug)]
struct Filling {
    bytes: Vec<u8>,
    first_pts: u64,
    /// The presentation times of the stream that leads, from the first one on.
    times: Vec<u64>,
}

/// A segment that is complete but for PES packets that began in it.
#[derive(Debug)]
struct Closing {
    segment: Filling,
    duration: Duration,
    /// PIDs, and how many bytes of their PES packets are still to come.
    missing: BTreeMap<u16, usize>,
    packets: usize,
}

/// Cuts a transport stream of one program where a frame that a decoder can begin with comes, and
/// a callback wants it.
///
/// The callback is asked at each such frame, the first one too, with its presentation time. What
/// comes before the first segment is thrown away.
pub struct Splitter<F> {
    begins: F,
    limit_bytes: usize,
    /// What is left of a chunk that did not end with a packet.
    rest: Vec<u8>,
    pat: Table,
    pmt: Table,
    pmt_pid: Option<u16>,
    lead: Option<Lead>,
    /// Of the streams that do not lead: bytes of their PES packets that are still to come.
    under_way: BTreeMap<u16, usize>,
    filling: Option<Filling>,
    closing: Option<Closing>,
    skipped_bytes: u64,
    /// Packets are where they are expected.
    in_step: bool,
}

impl<F> std::fmt::Debug for Splitter<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Splitter")
            .field("lead", &self.lead)
            .field("skipped_bytes", &self.skipped_bytes)
            .finish_non_exhaustive()
    }
}

impl<F: FnMut(u64) -> bool> Splitter<F> {
    /// `limit_bytes` is the longest that a segment may get.
    pub fn new(limit_bytes: usize, begins: F) -> Self {
        Self {
            begins,
            limit_bytes,
            rest: Vec::new(),
            pat: Table::default(),
            pmt: Table::default(),
            pmt_pid: None,
            lead: None,
            under_way: BTreeMap::new(),
            filling: None,
            closing: None,
            skipped_bytes: 0,
            in_step: true,
        }
    }

    /// Bytes that were no packets, or damaged ones.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// Takes the next bytes of the stream, and adds the segments that are complete with them to
    /// `done`.
    ///
    /// # Errors
    /// A segment longer than the limit. It is thrown away, and what follows until the next one
    /// begins.
    pub fn push(&mut self, bytes: &[u8], done: &mut Vec<TsSegment>) -> Result<(), Failure> {
        let mut result = Ok(());
        let joined;
        let mut at = if self.rest.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.rest).as_slice(), bytes].concat();
            joined.as_slice()
        };
        loop {
            if !self.in_step {
                let skip = next_packet(at);
                self.skipped_bytes += skip as u64;
                at = at.get(skip..).unwrap_or_default();
                // One sync byte alone may be anything; the next one tells.
                if at.len() <= LENGTH {
                    break;
                }
                self.in_step = true;
            }
            let Some((packet, after)) = at.split_first_chunk::<LENGTH>() else {
                break;
            };
            if packet.first() != Some(&SYNC) {
                self.in_step = false;
                continue;
            }
            if let Err(error) = self.packet(packet, done) {
                result = Err(error);
            }
            at = after;
        }
        self.rest.extend_from_slice(at);
        result
    }

    /// Ends the stream, and gives what is not given yet. Another stream can follow.
    pub fn finish(&mut self) -> Vec<TsSegment> {
        let closing = self.closing.take().map(Closing::done);
        let last = self.filling.take().map(|filling| {
            let length = filling.length();
            filling.done(clock::ticks(length))
        });
        self.rest.clear();
        self.in_step = true;
        self.pat = Table::default();
        self.pmt = Table::default();
        self.pmt_pid = None;
        self.lead = None;
        self.under_way.clear();
        closing.into_iter().chain(last).collect()
    }

    fn packet(&mut self, packet: &Packet, done: &mut Vec<TsSegment>) -> Result<(), Failure> {
        let Some(header) = Header::read(packet) else {
            self.skipped_bytes += LENGTH as u64;
            return Ok(());
        };
        if header.pid == NULL_PID {
            return Ok(());
        }
        if header.pid == PAT_PID {
            if let Some(pid) = self.pat.take(packet, &header).and_then(packet::map_pid)
                && self.pmt_pid != Some(pid)
            {
                self.pmt_pid = Some(pid);
                self.pmt = Table::default();
            }
        } else if Some(header.pid) == self.pmt_pid {
            if let Some(lead) = self.pmt.take(packet, &header).and_then(packet::lead) {
                self.lead = Some(lead);
            }
        } else {
            let pes = match header.unit_start {
                true => Pes::read(packet.get(header.payload..).unwrap_or_default()),
                false => None,
            };
            if self.lead.is_some_and(|lead| lead.pid == header.pid) {
                self.leading(&header, pes.and_then(|p| p.pts), done);
            } else if self.belongs_before(packet, &header, pes, done) {
                return Ok(());
            }
        }
        self.append(packet)
    }

    /// Looks at a packet of the stream that leads: a segment may begin with it.
    fn leading(&mut self, header: &Header, pts: Option<u64>, done: &mut Vec<TsSegment>) {
        let Some(pts) = pts else {
            return;
        };
        let decodable = header.random_access || self.lead.is_some_and(|lead| !lead.video);
        let tables = !self.pat.packets().is_empty() && !self.pmt.packets().is_empty();
        if decodable && tables && (self.begins)(pts) {
            self.cut(pts, done);
        }
        if let Some(filling) = &mut self.filling {
            let after = clock::difference(filling.first_pts, pts);
            filling.times.extend(u64::try_from(after));
        }
    }

    fn cut(&mut self, pts: u64, done: &mut Vec<TsSegment>) {
        done.extend(self.closing.take().map(Closing::done));
        let mut bytes = Vec::new();
        for packet in self.pat.packets().iter().chain(self.pmt.packets()) {
            bytes.extend_from_slice(packet);
        }
        let next = Filling {
            bytes,
            first_pts: pts,
            times: Vec::new(),
        };
        let Some(segment) = self.filling.replace(next) else {
            return;
        };
        let closing = Closing {
            duration: clock::duration(segment.first_pts, pts),
            segment,
            missing: std::mem::take(&mut self.under_way),
            packets: 0,
        };
        if closing.missing.is_empty() {
            done.push(closing.done());
        } else {
            self.closing = Some(closing);
        }
    }

    /// Looks at a packet of a stream that does not lead; `true` if it was put into the segment
    /// before, where its PES packet began.
    fn belongs_before(
        &mut self,
        packet: &Packet,
        header: &Header,
        pes: Option<Pes>,
        done: &mut Vec<TsSegment>,
    ) -> bool {
        let payload = LENGTH - header.payload;
        let mut before = false;
        if let Some(closing) = &mut self.closing {
            closing.packets += 1;
            if header.unit_start {
                closing.missing.remove(&header.pid);
            } else if let Some(left) = closing.missing.get_mut(&header.pid) {
                closing.segment.bytes.extend_from_slice(packet);
                *left = left.saturating_sub(payload);
                before = true;
                if *left == 0 {
                    closing.missing.remove(&header.pid);
                }
            }
            if closing.missing.is_empty() || closing.packets >= CLOSING_PACKETS {
                done.extend(self.closing.take().map(Closing::done));
            }
        }
        if before {
            return true;
        }
        let left = match pes {
            Some(pes) => pes.length.unwrap_or_default(),
            None if header.unit_start => 0,
            None => self.under_way.get(&header.pid).copied().unwrap_or_default(),
        };
        match left.saturating_sub(payload) {
            0 => self.under_way.remove(&header.pid),
            left => self.under_way.insert(header.pid, left),
        };
        false
    }

    fn append(&mut self, packet: &Packet) -> Result<(), Failure> {
        let Some(filling) = &mut self.filling else {
            return Ok(());
        };
        if filling.bytes.len() + LENGTH > self.limit_bytes {
            self.filling = None;
            return Err(Failure::new(format!(
                "a segment got longer than {} bytes without a keyframe to end it",
                self.limit_bytes
            ))
            .hint("shorten the keyframe interval of the encoder, or lower its bit rate"));
        }
        filling.bytes.extend_from_slice(packet);
        Ok(())
    }
}

impl Filling {
    /// Its length in ticks if nothing follows: its last frame lasts as long as the others did on
    /// average.
    fn length(&self) -> u64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        // A frame can come in several PES packets.
        times.dedup();
        let last = times.last().copied().unwrap_or_default();
        let steps = (times.len() as u64).saturating_sub(1).max(1);
        last + (last + steps / 2) / steps
    }

    fn done(self, duration: Duration) -> TsSegment {
        TsSegment {
            bytes: self.bytes.into(),
            first_pts: self.first_pts,
            duration,
        }
    }
}

impl Closing {
    fn done(self) -> TsSegment {
        self.segment.done(self.duration)
    }
}

/// How far it is to the next packet: to a sync byte that another one follows at the right distance,
/// or to where that is not known yet.
fn next_packet(bytes: &[u8]) -> usize {
    let is_sync = |at: usize| bytes.get(at).is_none_or(|b| *b == SYNC);
    let found = (0..bytes.len()).find(|at| is_sync(*at) && is_sync(at + LENGTH));
    found.unwrap_or(bytes.len())
}
