//! Whether an MPEG transport stream was cut off.
//!
//! Such a stream does not say how long it is, and its demuxer takes any end for the end. But a file
//! whose last packet is not whole was cut, and so was one whose last PES packet is shorter than it
//! says. Video's PES packets mostly do not say their length; as the end of one is filled up to the
//! size of the transport packet, an end without filling is a sign of a cut, though no proof (one in
//! 184 ends fits by chance).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// How a transport stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it should, as far as can be seen; or it is no transport stream.
    Whole,
    /// Perhaps in the middle of a picture.
    PerhapsCut,
    /// In the middle of a packet.
    Cut,
}

/// How much of the end is looked at: more than the largest picture.
const TAIL_BYTES: u64 = 16 << 20;

/// Looks at the end of the file.
pub fn end(path: &Path) -> io::Result<End> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut head = Vec::new();
    (&mut file).take(204 * 8).read_to_end(&mut head)?;
    let Some((size, lead)) = packet_size(&head) else {
        return Ok(End::Whole);
    };
    if length % size != 0 {
        return Ok(End::Cut);
    }
    file.seek(SeekFrom::Start(
        length - length.min(TAIL_BYTES / size * size),
    ))?;
    let mut tail = Vec::new();
    (&mut file).take(TAIL_BYTES).read_to_end(&mut tail)?;
    let step = usize::try_from(size).unwrap_or(188);
    Ok(tail_end(
        tail.chunks_exact(step)
            .filter_map(|p| p.get(lead..lead + 188)),
    ))
}

/// Distance of packets, and where in it the sync byte lies.
fn packet_size(head: &[u8]) -> Option<(u64, usize)> {
    [(188, 0), (192, 4), (204, 0)]
        .into_iter()
        .find(|&(size, lead)| {
            let syncs = head.iter().skip(lead).step_by(size);
            head.len() > lead + 4 * size && syncs.into_iter().all(|b| *b == 0x47)
        })
        .map(|(size, lead)| (size as u64, lead))
}

/// The PES packet of a stream that came last.
struct Pes {
    is_video: bool,
    stated: Option<usize>,
    found: usize,
    filled_up: bool,
}

fn tail_end<'a>(packets: impl Iterator<Item = &'a [u8]>) -> End {
    let mut last: BTreeMap<u16, Pes> = BTreeMap::new();
    for packet in packets {
        let &[0x47, a, b, c, ..] = packet else {
            continue;
        };
        let pid = u16::from(a & 0x1f) << 8 | u16::from(b);
        let filling = match c >> 4 & 3 {
            1 => 0,
            3 => 1 + usize::from(packet.get(4).copied().unwrap_or(0)),
            _ => continue,
        };
        let Some(payload) = packet.get(4 + filling..) else {
            continue;
        };
        if a & 0x40 != 0 {
            match payload {
                [0, 0, 1, id, high, low, ..] => {
                    let stated = usize::from(*high) << 8 | usize::from(*low);
                    last.insert(
                        pid,
                        Pes {
                            is_video: id & 0xf0 == 0xe0,
                            stated: (stated > 0).then_some(stated + 6),
                            found: 0,
                            filled_up: false,
                        },
                    );
                }
                _ => {
                    last.remove(&pid);
                }
            }
        }
        if let Some(pes) = last.get_mut(&pid) {
            pes.found += payload.len();
            pes.filled_up = filling > 0;
        }
    }
    if last.values().any(|p| p.stated.is_some_and(|s| p.found < s)) {
        End::Cut
    } else if last
        .values()
        .any(|p| p.is_video && p.stated.is_none() && !p.filled_up)
    {
        End::PerhapsCut
    } else {
        End::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(pid: u16, start: bool, filling: usize, payload: &[u8]) -> Vec<u8> {
        let mut p = vec![
            0x47,
            u8::from(start) << 6 | (pid >> 8) as u8,
            pid as u8,
            if filling > 0 { 0x30 } else { 0x10 },
        ];
        if filling > 0 {
            p.push(filling as u8 - 1);
            p.resize(4 + filling, 0xff);
        }
        p.extend_from_slice(payload);
        p.resize(188, 0xaa);
        p
    }

    fn written(packets: &[Vec<u8>], cut: usize) -> End {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ts");
        // A table, often enough to be recognised.
        let mut bytes = packet(0, true, 0, &[0, 0, 0xb0]).repeat(5);
        bytes.extend(packets.concat());
        bytes.truncate(bytes.len() - cut);
        std::fs::write(&path, bytes).unwrap();
        end(&path).unwrap()
    }

    #[test]
    fn cuts_are_told_from_ends() {
        let sound = packet(257, true, 0, &[0, 0, 1, 0xc0, 0, 200]);
        let rest = packet(257, false, 150, &[]);
        let picture = packet(256, true, 0, &[0, 0, 1, 0xe0, 0, 0]);
        let tail = packet(256, false, 20, &[]);
        let all = [picture.clone(), sound.clone(), rest, tail];
        assert_eq!(written(&all, 0), End::Whole);
        assert_eq!(written(&all, 3), End::Cut, "the last packet is not whole");
        assert_eq!(
            written(&all, 188),
            End::PerhapsCut,
            "the picture has no end"
        );
        assert_eq!(
            written(&all, 376),
            End::Cut,
            "the sound is shorter than it says"
        );
        assert_eq!(written(&[], 0), End::Whole);
    }

    #[test]
    fn other_files_are_not_judged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for bytes in [&b""[..], b"G", &[0x47; 100], &[0; 5000]] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(end(&path).unwrap(), End::Whole, "{}", bytes.len());
        }
        assert!(end(&dir.path().join("none")).is_err());
    }
}
