//! What GStreamer's MP4 muxer does not write: the display matrix of a turned video, and the edit
//! list that hides a decoder's lead-in.
//!
//! The muxer puts `moov` at the end of the file, so it can grow without moving any sample.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The largest `moov` that is read into memory.
const MAX_MOOV_BYTES: u64 = 1 << 30;

/// Writes into the finished file at `path` the orientation of its video and the lead of each track
/// (nanoseconds, in the file's order of tracks).
pub fn finish(path: &Path, orientation: Option<&str>, leads_ns: &[u64]) -> io::Result<()> {
    if orientation.is_none() && leads_ns.iter().all(|l| *l == 0) {
        return Ok(());
    }
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut at = 0;
    while at + 8 <= length {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0u8; 16];
        let n = 16.min((length - at) as usize);
        file.read_exact(&mut head[..n])?;
        let size = match u32_at(&head, 0) {
            0 => length - at,
            1 => u64::from(u32_at(&head, 8)) << 32 | u64::from(u32_at(&head, 12)),
            s => u64::from(s),
        };
        if size < 8 || at + size > length {
            return Err(broken());
        }
        if &head[4..8] == b"moov" {
            // Behind it there is at most a box of tags; samples would be displaced.
            if length - at > MAX_MOOV_BYTES {
                return Err(broken());
            }
            let mut moov = vec![0; size as usize];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut moov)?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)?;
            if boxes(&tail)
                .ok_or_else(broken)?
                .iter()
                .any(|(kind, _)| *kind == b"mdat")
            {
                return Err(broken());
            }
            let moov = rewrite(&moov, orientation, leads_ns).ok_or_else(broken)?;
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&moov)?;
            file.write_all(&tail)?;
            return file.set_len(at + (moov.len() + tail.len()) as u64);
        }
        at += size;
    }
    Err(broken())
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the muxer wrote boxes in an unknown way",
    )
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 4)
        .map_or(0, |s| u32::from_be_bytes([s[0], s[1], s[2], s[3]]))
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from(u32_at(b, at)) << 32 | u64::from(u32_at(b, at + 4))
}

/// The boxes in `data`: kind and whole box.
fn boxes(data: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut list = Vec::new();
    let mut rest = data;
    while rest.len() >= 8 {
        let size = u32_at(rest, 0) as usize;
        if size < 8 || size > rest.len() {
            return None;
        }
        list.push((&rest[4..8], &rest[..size]));
        rest = &rest[size..];
    }
    Some(list)
}

fn find<'a>(data: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(data)?
        .into_iter()
        .find(|(k, _)| k == kind)
        .map(|(_, b)| &b[8..])
}

fn make_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut b = Vec::with_capacity(body.len() + 8);
    b.extend_from_slice(&((body.len() + 8) as u32).to_be_bytes());
    b.extend_from_slice(kind);
    b.extend_from_slice(body);
    b
}

fn rewrite(moov: &[u8], orientation: Option<&str>, leads_ns: &[u64]) -> Option<Vec<u8>> {
    let body = &moov[8..];
    let mvhd = find(body, b"mvhd")?;
    let movie_scale = u64::from(u32_at(mvhd, if mvhd.first()? == &1 { 20 } else { 12 }));
    let mut out = Vec::with_capacity(moov.len() + 256);
    let mut nth = 0;
    for (kind, whole) in boxes(body)? {
        if kind == b"trak" {
            let lead = leads_ns.get(nth).copied().unwrap_or(0);
            nth += 1;
            out.extend_from_slice(&rewrite_trak(&whole[8..], orientation, lead, movie_scale)?);
        } else {
            out.extend_from_slice(whole);
        }
    }
    Some(make_box(b"moov", &out))
}

fn rewrite_trak(
    trak: &[u8],
    orientation: Option<&str>,
    lead_ns: u64,
    movie_scale: u64,
) -> Option<Vec<u8>> {
    let mdia = find(trak, b"mdia")?;
    let video = find(mdia, b"hdlr")?.get(8..12)? == b"vide";
    let mdhd = find(mdia, b"mdhd")?;
    let (scale, duration) = if mdhd.first()? == &1 {
        (u64::from(u32_at(mdhd, 20)), u64_at(mdhd, 24))
    } else {
        (u64::from(u32_at(mdhd, 12)), u64::from(u32_at(mdhd, 16)))
    };
    let edit = (lead_ns > 0).then(|| {
        let media_time =
            ((u128::from(lead_ns) * u128::from(scale) + 500_000_000) / 1_000_000_000) as u64;
        let shown = duration.saturating_sub(media_time) * movie_scale / scale.max(1);
        let mut elst = vec![1, 0, 0, 0, 0, 0, 0, 1];
        elst.extend_from_slice(&shown.to_be_bytes());
        elst.extend_from_slice(&media_time.to_be_bytes());
        elst.extend_from_slice(&[0, 1, 0, 0]);
        make_box(b"edts", &make_box(b"elst", &elst))
    });
    let mut out = Vec::with_capacity(trak.len() + 64);
    for (kind, whole) in boxes(trak)? {
        match kind {
            b"tkhd" => {
                let mut tkhd = whole.to_vec();
                let long = tkhd.get(8)? == &1;
                if video && let Some(o) = orientation {
                    let at = 8 + if long { 52 } else { 40 };
                    let size = 8 + if long { 88 } else { 76 };
                    let width = u32_at(&tkhd, size);
                    let height = u32_at(&tkhd, size + 4);
                    tkhd.get_mut(at..at + 36)?
                        .copy_from_slice(&matrix(o, width, height));
                }
                out.extend_from_slice(&tkhd);
                if let Some(edit) = &edit {
                    out.extend_from_slice(edit);
                }
            }
            b"edts" if edit.is_some() => {}
            _ => out.extend_from_slice(whole),
        }
    }
    Some(make_box(b"trak", &out))
}

/// The matrix of an orientation, for a picture of this size (16.16), with the turned picture's
/// corner moved back to the origin.
fn matrix(orientation: &str, width: u32, height: u32) -> [u8; 36] {
    const ONE: i32 = 0x10000;
    let (w, h) = (width as i32, height as i32);
    let (a, b, c, d, x, y) = match orientation {
        "rotate-90" => (0, ONE, -ONE, 0, h, 0),
        "rotate-180" => (-ONE, 0, 0, -ONE, w, h),
        "rotate-270" => (0, -ONE, ONE, 0, 0, w),
        "flip-rotate-0" => (-ONE, 0, 0, ONE, w, 0),
        "flip-rotate-90" => (0, -ONE, -ONE, 0, h, w),
        "flip-rotate-180" => (ONE, 0, 0, -ONE, 0, h),
        "flip-rotate-270" => (0, ONE, ONE, 0, 0, 0),
        _ => (ONE, 0, 0, ONE, 0, 0),
    };
    let mut m = [0u8; 36];
    for (slot, value) in m.chunks_mut(4).zip([a, b, 0, c, d, 0, x, y, 0x4000_0000]) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
    m
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_boxes_are_refused() {
        assert!(boxes(&[0, 0, 0, 20, b'm', b'o', b'o', b'v']).is_none());
        assert!(boxes(&[0, 0, 0, 4, b'm', b'o', b'o', b'v']).is_none());
        assert!(rewrite(&make_box(b"moov", &make_box(b"trak", b"")), None, &[1]).is_none());
    }

    #[test]
    fn an_identity_matrix_is_the_standard_one() {
        let m = matrix("rotate-0", 5, 5);
        assert_eq!(u32_at(&m, 0), 0x10000);
        assert_eq!(u32_at(&m, 16), 0x10000);
        assert_eq!(u32_at(&m, 32), 0x4000_0000);
    }
}
