//! The decoder in a harness: damage, loss, streams of others.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use gstneural_codec::bitstream::{AccessUnit, FrameType, UnitInfo};

/// Keyframes at 0, 6, 12 ...
fn clip(frames: u32) -> Coded {
    code(
        &info("I420", 48, 200),
        frames,
        &[("keyint", "6"), ("picture-crc", "true")],
    )
}

fn corrupted(buffer: &gst::BufferRef) -> bool {
    buffer.flags().contains(gst::BufferFlags::CORRUPTED)
}

#[test]
fn a_flipped_bit_is_flagged_and_healed_by_the_next_keyframe() {
    let coded = clip(18);
    let mut rig = coded.decoder(&[("max-errors", "-1")]);
    rig.asked();
    for (i, unit) in coded.units.iter().enumerate() {
        let unit = match i {
            8 => with_bytes(unit, |bytes| {
                let last = bytes.len() - 3;
                bytes[last] ^= 0x10;
            }),
            _ => unit.clone(),
        };
        rig.h.push(unit).unwrap();
    }
    let asked = rig.asked();
    let shown = rig.all();
    assert_eq!(shown.len(), 18, "every frame that comes in goes out");
    for (i, buffer) in shown.iter().enumerate() {
        let right = coded.decoded(buffer) == coded.frames[i];
        assert_eq!(corrupted(buffer), (8..12).contains(&i), "frame {i}");
        assert!(
            right || corrupted(buffer),
            "frame {i} is wrong and does not say so"
        );
    }
    assert_eq!(asked, 1, "a keyframe is asked for, once");
    assert_eq!(rig.error(), None);
}

#[test]
fn a_unit_that_is_nothing_shows_the_frame_before() {
    let coded = clip(8);
    let mut rig = coded.decoder(&[("max-errors", "-1")]);
    for (i, unit) in coded.units.iter().enumerate() {
        let unit = match i {
            3 => with_bytes(unit, |bytes| bytes[5] ^= 0xff),
            4 => with_bytes(unit, |bytes| bytes.truncate(9)),
            _ => unit.clone(),
        };
        rig.h.push(unit).unwrap();
    }
    let shown = rig.all();
    assert_eq!(shown.len(), 8);
    assert_eq!(coded.decoded(&shown[3]), coded.frames[2]);
    assert_eq!(coded.decoded(&shown[4]), coded.frames[2]);
    for (i, buffer) in shown.iter().enumerate() {
        assert_eq!(corrupted(buffer), (3..6).contains(&i), "frame {i}");
    }
    assert_eq!(coded.decoded(&shown[6]), coded.frames[6]);
}

#[test]
fn lost_and_exchanged_units_are_flagged_until_a_keyframe() {
    let coded = clip(18);
    let mut order: Vec<usize> = (0..18).filter(|i| *i != 3).collect();
    // Units 8 and 9 change places.
    let at = order.iter().position(|i| *i == 8).unwrap();
    order.swap(at, at + 1);
    let mut rig = coded.decoder(&[("max-errors", "-1")]);
    for &i in &order {
        rig.h.push(coded.units[i].clone()).unwrap();
    }
    let shown = rig.all();
    assert_eq!(shown.len(), order.len());
    for buffer in &shown {
        let i = (buffer.pts().unwrap().nseconds() / FRAME.nseconds()) as usize;
        let right = coded.decoded(buffer) == coded.frames[i];
        assert!(
            right || corrupted(buffer),
            "frame {i} is wrong and does not say so"
        );
        // The base class does not go back in time: what comes late is shown at the wrong one.
        if coded.key(i) || i < 3 || i == 7 || i > 12 {
            assert!(right && !corrupted(buffer), "frame {i}");
        }
    }
}

#[test]
fn decoding_begins_at_a_keyframe() {
    let coded = clip(14);
    let mut rig = coded.decoder(&[]);
    for unit in &coded.units[2..] {
        rig.h.push(unit.clone()).unwrap();
    }
    let shown = rig.all();
    assert_eq!(shown.len(), 8);
    for (buffer, i) in shown.iter().zip(6..) {
        assert!(!corrupted(buffer));
        assert_eq!(coded.decoded(buffer), coded.frames[i]);
    }
    assert_eq!(rig.error(), None);

    // The same after a flush, as a seek makes one.
    rig.h.push_event(gst::event::FlushStart::new());
    rig.h.push_event(gst::event::FlushStop::new(true));
    rig.h
        .push_event(gst::event::Segment::new(&gst::FormattedSegment::<
            gst::ClockTime,
        >::new()));
    for unit in &coded.units[4..8] {
        rig.h.push(unit.clone()).unwrap();
    }
    let shown = rig.all();
    assert_eq!(shown.len(), 2);
    assert_eq!(coded.decoded(&shown[0]), coded.frames[6]);
}

#[test]
fn more_errors_than_allowed_end_the_stream() {
    let coded = clip(12);
    let damaged = |i: usize| {
        with_bytes(&coded.units[i], |bytes| {
            let last = bytes.len() - 3;
            bytes[last] ^= 0x10;
        })
    };
    let mut rig = coded.decoder(&[("max-errors", "0")]);
    rig.h.push(coded.units[0].clone()).unwrap();
    assert_eq!(rig.h.push(damaged(1)), Err(gst::FlowError::Error));
    let error = rig.error().unwrap();
    assert!(error.contains("frame 1: 1 damaged slice"), "{error}");

    let mut rig = coded.decoder(&[("max-errors", "-1")]);
    rig.h.push(coded.units[0].clone()).unwrap();
    for i in 1..12 {
        rig.h.push(damaged(i)).unwrap();
    }
    assert_eq!(rig.all().len(), 12);
    assert_eq!(rig.error(), None);
}

#[test]
fn random_damage_never_panics_and_never_loses_a_frame() {
    let coded = clip(12);
    let mut noise = Noise::new(5);
    for round in 0..40 {
        let mut rig = coded.decoder(&[("max-errors", "-1"), ("threads", "1")]);
        rig.h.push(coded.units[0].clone()).unwrap();
        for unit in &coded.units[1..] {
            let unit = with_bytes(unit, |bytes| {
                for _ in 0..noise.next() % 3 {
                    let at = noise.next() as usize % bytes.len();
                    bytes[at] ^= 1 << (noise.next() % 8);
                }
            });
            rig.h.push(unit).unwrap();
        }
        let shown = rig.all();
        assert_eq!(shown.len(), 12, "round {round}");
        for (i, buffer) in shown.iter().enumerate() {
            let right = coded.decoded(buffer) == coded.frames[i];
            assert!(right || corrupted(buffer), "round {round} frame {i}");
        }
    }
}

/// What the decoder says of a stream with this `codec_data`.
fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let coded = clip(1);
    let s = coded.caps.structure(0).unwrap();
    let data = s.get::<gst::Buffer>("codec_data").unwrap();
    let mut bytes = data.map_readable().unwrap().to_vec();
    change(&mut bytes);
    let mut caps = coded.caps.clone();
    caps.make_mut()
        .set("codec_data", gst::Buffer::from_mut_slice(bytes));
    let mut rig = Rig::new("neuraldec", &[]);
    rig.h.set_src_caps(caps);
    let _ = rig.h.push(coded.units[0].clone());
    assert!(rig.h.try_pull().is_none(), "nothing is shown");
    rig.error().unwrap()
}

#[test]
fn streams_of_another_version_or_model_are_refused_by_name() {
    let version = refusal(|b| b[4] = 9);
    assert!(version.contains("version 9"), "{version}");
    assert!(
        version.contains("a newer gst-neural is needed"),
        "{version}"
    );
    let mut needed = String::new();
    let model = refusal(|b| {
        b[28..32].copy_from_slice(&[0xab, 0xcd, 0xef, 0x01]);
        let crc = crc32fast::hash(&b[..60]);
        b[60..64].copy_from_slice(&crc.to_le_bytes());
        needed = b[28..36].iter().map(|v| format!("{v:02x}")).collect();
    });
    assert!(model.contains("needs the model"), "{model}");
    assert!(model.contains(&needed), "{model} does not name {needed}");
    let profile = refusal(|b| {
        b[5] = 4;
        let crc = crc32fast::hash(&b[..60]);
        b[60..64].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(profile.contains("profile hybrid"), "{profile}");
    let garbage = refusal(|b| b.fill(0));
    assert!(garbage.contains("not a gst-neural stream"), "{garbage}");
}

#[test]
fn a_stream_that_does_not_say_what_it_is_is_an_error_that_says_so() {
    let coded = clip(3);
    let mut rig = Rig::new("neuraldec", &[("max-errors", "0")]);
    rig.h
        .set_src_caps_str("video/x-neural,alignment=au,width=48,height=200");
    let _ = rig.h.push(coded.units[0].clone());
    let error = rig.error().unwrap();
    assert!(error.contains("codec_data"), "{error}");
}

#[test]
fn threads_change_nothing() {
    let coded = clip(7);
    for threads in ["1", "3"] {
        let mut rig = coded.decoder(&[("threads", threads)]);
        for (unit, frame) in coded.units.iter().zip(&coded.frames) {
            rig.h.push(unit.clone()).unwrap();
            assert_eq!(coded.decoded(&rig.h.pull().unwrap()), *frame);
        }
    }
}

/// The unit as one that no other frame needs.
fn droppable(unit: &gst::Buffer) -> gst::Buffer {
    with_bytes(unit, |bytes| {
        let old = AccessUnit::parse(bytes).unwrap();
        let info = UnitInfo {
            frame_type: FrameType::Droppable,
            ..old.info
        };
        let slices: Vec<&[u8]> = old.slices.iter().map(|s| s.data).collect();
        *bytes = info.write(&slices).unwrap();
    })
}

#[test]
fn late_frames_are_left_out_only_where_that_is_allowed() {
    let coded = clip(8);
    for (skip, expected) in [("false", 8), ("true", 7)] {
        let mut rig = coded.decoder(&[("skip-late", skip)]);
        for (i, unit) in coded.units.iter().enumerate() {
            // Frame 5 stands before a keyframe: nothing refers to it.
            let unit = if i == 5 {
                droppable(unit)
            } else {
                unit.clone()
            };
            if i == 4 {
                let event = gst::event::Qos::new(
                    gst::QOSType::Underflow,
                    2.0,
                    gst::ClockTime::SECOND.nseconds() as i64,
                    FRAME * 4,
                );
                rig.h.push_upstream_event(event);
            }
            rig.h.push(unit).unwrap();
        }
        let shown = rig.all();
        assert_eq!(shown.len(), expected, "skip-late={skip}");
        for buffer in &shown {
            let i = (buffer.pts().unwrap().nseconds() / FRAME.nseconds()) as usize;
            assert!(skip == "false" || i != 5);
            assert!(!corrupted(buffer));
            assert_eq!(coded.decoded(buffer), coded.frames[i], "frame {i}");
        }
    }
}
