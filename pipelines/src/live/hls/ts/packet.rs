//! Packets, tables and PES headers, as far as cutting needs them (ISO/IEC 13818-1). Whatever does
//! not fit is `None`.

/// Length of a packet in bytes.
pub const LENGTH: usize = 188;
/// What every packet begins with.
pub const SYNC: u8 = 0x47;
/// Longest section of a program's tables, with its header, in bytes.
const MAX_SECTION: usize = 1024;

/// One packet.
pub type Packet = [u8; LENGTH];

/// A packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which stream.
    pub pid: u16,
    /// A PES packet or a section begins in it.
    pub unit_start: bool,
    /// A decoder can begin here.
    pub random_access: bool,
    /// Where its payload begins; [`LENGTH`] if it has none.
    pub payload: usize,
}

impl Header {
    /// Reads the header; `None` for a packet that is damaged.
    pub fn read(packet: &Packet) -> Option<Self> {
        let [sync, b1, b2, b3, b4, b5, ..] = *packet;
        let damaged = b1 & 0x80 != 0;
        if sync != SYNC || damaged {
            return None;
        }
        let (has_adaptation, has_payload) = (b3 & 0x20 != 0, b3 & 0x10 != 0);
        let adaptation = if has_adaptation {
            usize::from(b4) + 1
        } else {
            0
        };
        let payload = 4 + adaptation;
        if payload > LENGTH || (has_payload && payload == LENGTH) {
            return None;
        }
        Some(Self {
            pid: u16::from(b1 & 0x1f) << 8 | u16::from(b2),
            unit_start: b1 & 0x40 != 0,
            random_access: has_adaptation && b4 > 0 && b5 & 0x40 != 0,
            payload: if has_payload { payload } else { LENGTH },
        })
    }
}

/// What the header of a PES packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pes {
    /// Its presentation time, 33 bits at 90 kHz.
    pub pts: Option<u64>,
    /// Its length with the header; `None` where it ends with the next one.
    pub length: Option<usize>,
}

impl Pes {
    /// Reads the header at the start of a payload.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let [0, 0, 1, _, l1, l2, flags, has, header, rest @ ..] = payload else {
            return None;
        };
        if flags & 0xc0 != 0x80 {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([*l1, *l2]));
        let pts = match rest {
            [p0, p1, p2, p3, p4, ..] if has & 0x80 != 0 && *header >= 5 => {
                let marked = p0 & 0x21 == 0x21 && p2 & 1 == 1 && p4 & 1 == 1;
                let bits = u64::from(p0 >> 1 & 7) << 30
                    | u64::from(*p1) << 22
                    | u64::from(p2 >> 1) << 15
                    | u64::from(*p3) << 7
                    | u64::from(p4 >> 1);
                marked.then_some(bits)
            }
            _ => None,
        };
        Some(Self {
            pts,
            length: (length > 0).then_some(length + 6),
        })
    }
}

/// A table that comes again and again, and the packets it came in.
#[derive(Debug, Clone, Default)]
pub struct Table {
    arriving: Vec<Packet>,
    section: Vec<u8>,
    /// The packets of the last complete one.
    packets: Vec<Packet>,
}

impl Table {
    /// Takes a packet of its PID; the section, once it is complete and its checksum is right.
    pub fn take(&mut self, packet: &Packet, header: &Header) -> Option<&[u8]> {
        let mut payload = packet.get(header.payload..)?;
        if header.unit_start {
            self.forget();
            let (pointer, rest) = payload.split_first()?;
            payload = rest.get(usize::from(*pointer)..)?;
        } else if self.arriving.is_empty() {
            return None;
        }
        self.arriving.push(*packet);
        self.section.extend_from_slice(payload);
        let [_, l1, l2, ..] = *self.section.as_slice() else {
            return None;
        };
        let length = 3 + (usize::from(l1 & 0x0f) << 8 | usize::from(l2));
        if length > MAX_SECTION {
            self.forget();
            return None;
        }
        if self.section.len() < length {
            return None;
        }
        self.section.truncate(length);
        let complete = std::mem::take(&mut self.arriving);
        if crc(&self.section) != 0 {
            return None;
        }
        self.packets = complete;
        Some(&self.section)
    }

    /// The packets of the last complete one.
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    fn forget(&mut self) {
        self.arriving.clear();
        self.section.clear();
    }
}

/// The PID of the first program's map.
pub fn map_pid(pat: &[u8]) -> Option<u16> {
    let entries = body(pat, 0x00)?;
    entries.chunks_exact(4).find_map(|entry| match *entry {
        [n1, n2, p1, p2] if (n1, n2) != (0, 0) => Some(u16::from(p1 & 0x1f) << 8 | u16::from(p2)),
        _ => None,
    })
}

/// The stream that decides where segments may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    /// Its PID.
    pub pid: u16,
    /// Whether it is a picture: a segment begins at a keyframe then, else at any PES packet.
    pub video: bool,
}

/// The first H.264 or H.265 stream of a program's map, else its first sound.
pub fn lead(pmt: &[u8]) -> Option<Lead> {
    let body = body(pmt, 0x02)?;
    let [_, _, i1, i2, rest @ ..] = body else {
        return None;
    };
    let info = usize::from(i1 & 0x0f) << 8 | usize::from(*i2);
    let mut rest = rest.get(info..)?;
    let mut sound = None;
    while let [kind, p1, p2, e1, e2, after @ ..] = rest {
        let pid = u16::from(p1 & 0x1f) << 8 | u16::from(*p2);
        match kind {
            0x1b | 0x24 => return Some(Lead { pid, video: true }),
            // MPEG audio, AAC in ADTS and LATM, AC-3 and E-AC-3, and private (Opus, AC-3 in DVB).
            0x03 | 0x04 | 0x0f | 0x11 | 0x81 | 0x87 | 0x06 if sound.is_none() => {
                sound = Some(Lead { pid, video: false });
            }
            _ => {}
        }
        let info = usize::from(e1 & 0x0f) << 8 | usize::from(*e2);
        rest = after.get(info..)?;
    }
    sound
}

/// What lies between a section's header and its checksum, if it is of this kind and in force.
fn body(section: &[u8], table_id: u8) -> Option<&[u8]> {
    let [id, _, _, _, _, version, _, _, rest @ ..] = section else {
        return None;
    };
    let current = version & 1 == 1;
    let end = rest.len().checked_sub(4)?;
    rest.get(..end).filter(|_| *id == table_id && current)
}

/// The checksum of a section with its own checksum at its end: 0 if nothing is damaged.
pub fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |mut crc, byte| {
        crc ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            let carry = crc & 0x8000_0000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x04c1_1db7;
            }
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_mpeg_2() {
        // The check value of CRC-32/MPEG-2 in the catalogue of CRCs.
        assert_eq!(crc(b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn presentation_times_have_33_bits() {
        let pes = [
            0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x2f, 0xff, 0xff, 0xff, 0xff,
        ];
        let max = Some((1 << 33) - 1);
        assert_eq!(
            Pes::read(&pes),
            Some(Pes {
                pts: max,
                length: None
            })
        );
        assert_eq!(Pes::read(&pes[..13]).map(|p| p.pts), Some(None));
        assert_eq!(Pes::read(&pes[..8]), None);
    }
}
