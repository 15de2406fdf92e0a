//! Real streams of mpegtsmux, cut, and looked at with FFmpeg; and streams that are no longer real.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::ts::{Splitter, TsSegment, clock};
use gst::prelude::*;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

const LIMIT: usize = 8 << 20;

/// Runs a line whose `appsink name=sink` gets packets.
fn muxed(line: &str) -> Vec<u8> {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(line)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let sink = pipeline
        .by_name("sink")
        .unwrap()
        .downcast::<gst_app::AppSink>()
        .unwrap();
    sink.set_property("sync", false);
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut bytes = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        bytes.extend_from_slice(&sample.buffer().unwrap().map_readable().unwrap());
    }
    pipeline.set_state(gst::State::Null).unwrap();
    bytes
}

/// Ten seconds of picture at 30 fps with a keyframe each second, and sound.
fn clip() -> &'static [u8] {
    static CLIP: OnceLock<Vec<u8>> = OnceLock::new();
    CLIP.get_or_init(|| {
        muxed(
            "videotestsrc num-buffers=300 pattern=ball ! video/x-raw,width=160,height=96,\
             framerate=30/1 ! x264enc key-int-max=30 bframes=2 speed-preset=ultrafast bitrate=300 \
             ! h264parse config-interval=-1 ! queue ! mux. \
             audiotestsrc num-buffers=470 samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=2 \
             ! avenc_aac ! aacparse ! queue ! mux. mpegtsmux name=mux ! appsink name=sink",
        )
    })
}

/// Each two seconds, whatever comes.
fn every(seconds: u64) -> impl FnMut(u64) -> bool {
    let mut next = None;
    move |pts| {
        let due = next.is_none_or(|next| clock::difference(next, pts) >= 0);
        if due {
            next = Some(pts + seconds * clock::HZ);
        }
        due
    }
}

fn split(bytes: &[u8], chunk: usize) -> Vec<TsSegment> {
    let mut splitter = Splitter::new(LIMIT, every(2));
    let mut all = Vec::new();
    for chunk in bytes.chunks(chunk) {
        splitter.push(chunk, &mut all).unwrap();
    }
    all.extend(splitter.finish());
    all
}

fn ffmpeg(dir: &Path, bytes: &[u8]) -> String {
    let path = dir.join("seg.ts");
    std::fs::write(&path, bytes).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-v", "warning", "-i"]);
    let out = command
        .arg(&path)
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    assert!(out.status.success());
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Flags and times of the packets of a stream.
fn packets(dir: &Path, bytes: &[u8], stream: &str) -> Vec<(u64, bool)> {
    let path = dir.join("seg.ts");
    std::fs::write(&path, bytes).unwrap();
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", stream, "-of", "csv=p=0"]);
    command
        .args(["-show_entries", "packet=pts,flags"])
        .arg(&path);
    let out = command.output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines()
        .filter_map(|l| l.split_once(','))
        .map(|(pts, flags)| (pts.parse().unwrap(), flags.contains('K')))
        .collect()
}

#[test]
fn each_segment_can_be_decoded_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let segments = split(clip(), 7 * 188);
    assert_eq!(segments.len(), 5);
    let (mut frames, mut sounds) = (0, 0);
    for (n, segment) in segments.iter().enumerate() {
        assert_eq!(segment.bytes.len() % 188, 0);
        // The last one's end is not known to the tick.
        let off = segment.duration.abs_diff(Duration::from_secs(2));
        assert!(
            off < Duration::from_micros(if n < 4 { 1 } else { 25 }),
            "{n}: {off:?}"
        );
        let pid = |at: usize| {
            u16::from(segment.bytes[at + 1] & 0x1f) << 8 | u16::from(segment.bytes[at + 2])
        };
        assert_eq!(pid(0), 0);
        assert_eq!(ffmpeg(dir.path(), &segment.bytes), "", "segment {n}");
        let seen = packets(dir.path(), &segment.bytes, "v");
        assert_eq!(seen.len(), 60);
        assert_eq!(seen[0], (segment.first_pts, true));
        assert_eq!(seen.iter().map(|p| p.0).min(), Some(segment.first_pts));
        frames += seen.len();
        sounds += packets(dir.path(), &segment.bytes, "a").len();
    }
    assert_eq!(frames, 300);
    // Sound that was there before the first keyframe is not in any segment.
    let all = packets(dir.path(), clip(), "a").len();
    assert!(sounds <= all && sounds + 20 > all, "{sounds} of {all}");
}

#[test]
fn segments_after_each_other_are_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let joined: Vec<u8> = split(clip(), 188)
        .iter()
        .flat_map(|s| s.bytes.to_vec())
        .collect();
    assert_eq!(ffmpeg(dir.path(), &joined), "");
    assert_eq!(
        packets(dir.path(), &joined, "v"),
        packets(dir.path(), clip(), "v")
    );
}

#[test]
fn chunks_make_no_difference() {
    let whole = split(clip(), usize::MAX);
    for chunk in [1, 7, 187, 188, 189, 1316, 65_536] {
        assert!(split(clip(), chunk) == whole, "{chunk}");
    }
}

#[test]
fn sound_alone_is_cut_anywhere() {
    let bytes = muxed(
        "audiotestsrc num-buffers=470 samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=2 \
         ! avenc_aac ! aacparse ! mpegtsmux ! appsink name=sink",
    );
    let dir = tempfile::tempdir().unwrap();
    let segments = split(&bytes, 1316);
    assert_eq!(segments.len(), 6);
    let mut sounds = 0;
    for (n, segment) in segments.iter().enumerate() {
        // FFmpeg wants some more packets than the last one has to be sure what it sees.
        if n < 5 {
            assert_eq!(ffmpeg(dir.path(), &segment.bytes), "", "segment {n}");
        }
        let seen = packets(dir.path(), &segment.bytes, "a");
        assert_eq!(seen[0].0, segment.first_pts);
        sounds += seen.len();
        if n < 5 {
            let off = segment.duration.as_secs_f64() - 2.0;
            assert!((0.0..0.022).contains(&off), "{off}");
        }
    }
    assert_eq!(sounds, packets(dir.path(), &bytes, "a").len());
}

#[test]
fn h265_is_cut_at_its_keyframes() {
    let bytes = muxed(
        "videotestsrc num-buffers=90 ! video/x-raw,width=160,height=96,framerate=30/1 \
         ! x265enc key-int-max=30 speed-preset=ultrafast ! h265parse config-interval=-1 \
         ! mpegtsmux ! appsink name=sink",
    );
    let mut splitter = Splitter::new(LIMIT, |_| true);
    let mut segments = Vec::new();
    splitter.push(&bytes, &mut segments).unwrap();
    segments.extend(splitter.finish());
    assert_eq!(segments.len(), 3);
    for segment in &segments {
        let off = segment.duration.as_secs_f64() - 1.0;
        assert!(off.abs() < 1e-4, "{off}");
    }
}

#[test]
fn garbage_between_packets_costs_what_it_covers() {
    let mut bytes = b"not a transport stream, however hard one looks G at it".to_vec();
    let clean = split(clip(), 188);
    let middle = clip().len() / 376 * 188;
    bytes.extend_from_slice(&clip()[..middle]);
    bytes.extend_from_slice(&[0; 1000]);
    bytes.extend_from_slice(&clip()[middle..]);
    for chunk in [100, 188, 5000] {
        assert!(split(&bytes, chunk) == clean, "{chunk}");
    }
}

#[test]
fn a_segment_without_an_end_is_an_error_and_the_next_one_is_fine() {
    let clean = split(clip(), 188);
    let limit = clean.iter().map(|s| s.bytes.len()).max().unwrap() + 188;
    let mut times = 0;
    let mut splitter = Splitter::new(limit, |_| {
        times += 1;
        times == 1 || times > 7
    });
    let (mut errors, mut segments) = (Vec::new(), Vec::new());
    for chunk in clip().chunks(188) {
        let pushed = splitter.push(chunk, &mut segments);
        errors.extend(pushed.err().map(|e| e.what));
    }
    segments.extend(splitter.finish());
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("without a keyframe"));
    assert_eq!(segments.len(), 3);
    assert_eq!(segments[0].first_pts, clean[3].first_pts + clock::HZ);
}

#[test]
fn nothing_that_comes_breaks_it() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % below.max(1)
    };
    let start = clip();
    let mut found = 0;
    for round in 0..4000 {
        let from = next(start.len() / 188 - 400) * 188;
        let tables = &start[..188 * 3];
        let mut bytes = [tables, &start[from..from + 188 * 300]].concat();
        for _ in 0..=next(40) {
            if bytes.len() < 5000 {
                break;
            }
            let at = next(bytes.len());
            match next(6) {
                0 => bytes[at] = next(256) as u8,
                // Where headers and tables are, changes do most.
                1 => bytes[at.min(4000) / 188 * 188 + next(16)] = next(256) as u8,
                2 => bytes[(at / 188).min(20) * 188 + 4] ^= 1 << next(8),
                3 => {
                    let end = (at + next(400)).min(bytes.len());
                    bytes.drain(at..end);
                }
                4 => bytes.truncate(at.max(4000)),
                _ => bytes.splice(at..at, vec![0x47; next(300)]).for_each(drop),
            }
        }
        let mut splitter = Splitter::new(20_000, |_| round % 3 > 0);
        for chunk in bytes.chunks(1 + next(2000)) {
            let mut segments = Vec::new();
            let _ = splitter.push(chunk, &mut segments);
            for segment in segments {
                assert!(segment.bytes.len() <= 20_000 + 512 * 188);
                assert_eq!(segment.bytes.len() % 188, 0);
                found += 1;
            }
        }
        found += splitter.finish().len();
    }
    assert!(found > 1000, "{found}");
}

#[test]
fn sound_that_is_under_way_at_a_cut_stays_whole() {
    let dir = tempfile::tempdir().unwrap();
    let clean = split(clip(), 188);
    let mut packets: Vec<&[u8]> = clip().chunks(188).collect();
    let pid = |p: &[u8]| u16::from(p[1] & 0x1f) << 8 | u16::from(p[2]);
    let starts = |p: &[u8]| p[1] & 0x40 != 0;
    let keyframe = |p: &[u8]| starts(p) && p[3] & 0x20 != 0 && p[4] > 0 && p[5] & 0x40 != 0;
    let video = packets
        .iter()
        .find(|p| keyframe(p))
        .map(|p| pid(p))
        .unwrap();
    let is_sound = |p: &[u8]| pid(p) > 0x1f && pid(p) != video && p[3] & 0x10 != 0;
    let cuts: Vec<usize> = (1..packets.len())
        .filter(|i| keyframe(packets[*i]) && pid(packets[*i]) == video)
        .collect();
    let mut moved = 0;
    for cut in cuts.into_iter().skip(1) {
        let last = (0..cut).rev().find(|i| is_sound(packets[*i])).unwrap();
        if !starts(packets[last]) {
            // The last packet of a PES packet comes after the keyframe has begun.
            packets[last..=cut].rotate_left(1);
            moved += 1;
        }
    }
    assert!(moved > 4, "{moved}");
    let sorted = |segment: &TsSegment| {
        let mut all: Vec<Vec<u8>> = segment.bytes.chunks(188).map(<[u8]>::to_vec).collect();
        all.sort_unstable();
        all
    };
    let segments = split(&packets.concat(), 1316);
    assert_eq!(segments.len(), clean.len());
    for (n, (segment, clean)) in segments.iter().zip(&clean).enumerate() {
        assert!(sorted(segment) == sorted(clean), "segment {n}");
        assert_eq!(ffmpeg(dir.path(), &segment.bytes), "", "segment {n}");
    }
}
