//! The encoder in a harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use gst::prelude::*;
use gst_video::prelude::*;
use gstneural_codec::bitstream::{Header, Profile};

#[test]
fn every_format_and_size_comes_back_byte_for_byte() {
    let formats = [
        "I420",
        "Y42B",
        "Y444",
        "GRAY8",
        "I420_10LE",
        "I422_10LE",
        "Y444_10LE",
    ];
    for format in formats {
        for (width, height) in [(64, 48), (1, 1), (37, 65), (2, 131)] {
            let what = format!("{format} {width}x{height}");
            let coded = code(&info(format, width, height), 5, &[("picture-crc", "true")]);
            assert_eq!(coded.units.len(), 5, "{what}");
            let mut rig = coded.decoder(&[]);
            for unit in &coded.units {
                rig.h.push(unit.clone()).unwrap();
            }
            let shown = rig.all();
            assert_eq!(rig.error(), None, "{what}");
            assert_eq!(shown.len(), 5, "{what}");
            for (i, buffer) in shown.iter().enumerate() {
                assert_eq!(coded.decoded(buffer), coded.frames[i], "{what} frame {i}");
                assert_eq!(buffer.pts(), Some(FRAME * i as u64), "{what}");
                assert_eq!(buffer.duration(), Some(FRAME), "{what}");
                assert!(!buffer.flags().contains(gst::BufferFlags::CORRUPTED));
            }
        }
    }
}

#[test]
fn near_stays_within_its_error_and_makes_the_stream_smaller() {
    let info = info("I420", 80, 60);
    let size = |c: &Coded| c.units.iter().map(|u| u.size()).sum::<usize>();
    let exact = code(&info, 4, &[]);
    let near = code(&info, 4, &[("near", "3")]);
    assert!(size(&near) < size(&exact));
    let mut rig = near.decoder(&[]);
    for (unit, frame) in near.units.iter().zip(&near.frames) {
        rig.h.push(unit.clone()).unwrap();
        let shown = near.decoded(&rig.h.pull().unwrap());
        assert!(shown.iter().zip(frame).all(|(a, b)| a.abs_diff(*b) <= 3));
    }
}

#[test]
fn the_caps_say_what_the_stream_is() {
    let info = info("I420_10LE", 66, 34);
    let mut caps = info.to_caps().unwrap();
    caps.make_mut().set("colorimetry", "bt2100-hlg");
    caps.make_mut()
        .set("pixel-aspect-ratio", gst::Fraction::new(4, 3));
    let mut rig = Rig::new("neuralenc", &[("keyint", "2")]);
    rig.h.set_src_caps(caps);
    for t in 0..4 {
        rig.h.push(frame(&info, t)).unwrap();
    }
    let out = rig.out_caps();
    let s = out.structure(0).unwrap();
    assert_eq!(s.name(), "video/x-neural");
    assert_eq!(s.get::<i32>("width"), Ok(66));
    assert_eq!(s.get::<i32>("version"), Ok(1));
    assert_eq!(s.get::<&str>("profile"), Ok("lossless"));
    assert_eq!(s.get::<&str>("alignment"), Ok("au"));
    assert_eq!(s.get::<&str>("colorimetry"), Ok("bt2100-hlg"));
    assert_eq!(
        s.get::<gst::Fraction>("framerate"),
        Ok(gst::Fraction::new(25, 1))
    );
    let data = s.get::<gst::Buffer>("codec_data").unwrap();
    let header = Header::parse(&data.map_readable().unwrap()).unwrap();
    assert_eq!(header.profile, Profile::Lossless);
    assert_eq!((header.width, header.height, header.depth), (66, 34, 10));
    assert_eq!(header.fps, (25, 1));
    assert_eq!(
        (header.colour.matrix, header.colour.transfer),
        (9, 18),
        "H.273's BT.2020 and HLG"
    );
    let keys: Vec<bool> = rig
        .all()
        .iter()
        .map(|b| !b.flags().contains(gst::BufferFlags::DELTA_UNIT))
        .collect();
    assert_eq!(keys, [true, false, true, false]);
    assert_eq!(rig.h.query_latency(), Some(gst::ClockTime::ZERO));
}

#[test]
fn a_keyframe_comes_where_one_is_asked_for() {
    let info = info("I420", 48, 32);
    let mut rig = Rig::new("neuralenc", &[]);
    rig.h.set_src_caps(info.to_caps().unwrap());
    for t in 0..8 {
        if t == 3 {
            let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                .all_headers(true)
                .build();
            assert!(rig.h.push_upstream_event(event));
        }
        if t == 6 {
            let event = gst_video::DownstreamForceKeyUnitEvent::builder()
                .timestamp(FRAME * u64::from(t))
                .build();
            assert!(rig.h.push_event(event));
        }
        rig.h.push(frame(&info, t)).unwrap();
    }
    let keys: Vec<usize> = rig
        .all()
        .iter()
        .enumerate()
        .filter(|(_, b)| !b.flags().contains(gst::BufferFlags::DELTA_UNIT))
        .map(|(i, _)| i)
        .collect();
    assert_eq!(keys, [0, 3, 6]);
    let told = std::iter::from_fn(|| rig.h.try_pull_event())
        .filter(|e| gst_video::DownstreamForceKeyUnitEvent::parse(e).is_ok())
        .count();
    assert_eq!(told, 2, "both are told downstream");
}

#[test]
fn another_size_in_mid_stream_is_another_stream() {
    init();
    let (small, large) = (info("I420", 32, 32), info("Y444", 47, 35));
    let mut enc = Rig::new("neuralenc", &[]);
    let mut dec = Rig::new("neuraldec", &[]);
    let mut t = 0;
    for (info, frames) in [(&small, 3), (&large, 4), (&small, 2)] {
        enc.h.set_src_caps(info.to_caps().unwrap());
        let mut told = false;
        for i in 0..frames {
            let buffer = frame(info, t);
            t += 1;
            let expected = visible(&buffer, info);
            enc.h.push(buffer).unwrap();
            let unit = enc.h.pull().unwrap();
            assert_eq!(!unit.flags().contains(gst::BufferFlags::DELTA_UNIT), i == 0);
            if !std::mem::replace(&mut told, true) {
                dec.h.set_src_caps(enc.out_caps());
            }
            dec.h.push(unit).unwrap();
            let shown = dec.h.pull().unwrap();
            let caps = dec.out_caps();
            let now = gst_video::VideoInfo::from_caps(&caps).unwrap();
            assert_eq!((now.width(), now.height()), (info.width(), info.height()));
            assert_eq!(visible(&shown, &now), expected);
        }
    }
    assert_eq!(enc.error(), None);
    assert_eq!(dec.error(), None);
}

#[test]
fn after_a_flush_everything_begins_with_a_keyframe() {
    let info = info("I420", 32, 32);
    let mut rig = Rig::new("neuralenc", &[]);
    rig.h.set_src_caps(info.to_caps().unwrap());
    for t in 0..3 {
        rig.h.push(frame(&info, t)).unwrap();
    }
    rig.all();
    rig.h.push_event(gst::event::FlushStart::new());
    rig.h.push_event(gst::event::FlushStop::new(true));
    rig.h
        .push_event(gst::event::Segment::new(&gst::FormattedSegment::<
            gst::ClockTime,
        >::new()));
    rig.h.push(frame(&info, 9)).unwrap();
    let unit = rig.h.pull().unwrap();
    assert!(!unit.flags().contains(gst::BufferFlags::DELTA_UNIT));
}

#[test]
fn frames_with_wide_strides_are_read_where_they_are() {
    let tight = info("I420", 33, 17);
    let plain = code(&tight, 2, &[]);
    let mut rig = Rig::new("neuralenc", &[]);
    rig.h.set_src_caps(tight.to_caps().unwrap());
    for t in 0..2u32 {
        let source = frame(&tight, t);
        let strides = [128, 96, 64];
        let heights = [17, 9, 9];
        let mut offsets = [0usize; 3];
        let mut size = 0;
        for p in 0..3 {
            offsets[p] = size + 16;
            size = offsets[p] + strides[p] as usize * heights[p];
        }
        let mut wide = gst::Buffer::from_mut_slice(vec![0xEE; size]);
        {
            let b = wide.get_mut().unwrap();
            b.set_pts(source.pts());
            gst_video::VideoMeta::add_full(
                b,
                gst_video::VideoFrameFlags::empty(),
                gst_video::VideoFormat::I420,
                33,
                17,
                &offsets,
                &strides,
            )
            .unwrap();
            let from = gst_video::VideoFrameRef::from_buffer_ref_readable(&source, &tight).unwrap();
            let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(b, &tight).unwrap();
            for p in 0..3u32 {
                let (row, rows) = ([33, 17, 17][p as usize], heights[p as usize]);
                let stride = from.plane_stride()[p as usize] as usize;
                let source = from.plane_data(p).unwrap();
                let out = to.plane_data_mut(p).unwrap();
                for y in 0..rows {
                    let at = y * strides[p as usize] as usize;
                    out[at..at + row].copy_from_slice(&source[y * stride..y * stride + row]);
                }
            }
        }
        rig.h.push(wide).unwrap();
        let unit = rig.h.pull().unwrap();
        let (a, b) = (
            unit.map_readable().unwrap(),
            plain.units[t as usize].map_readable().unwrap(),
        );
        assert!(a.as_slice() == b.as_slice(), "frame {t}");
    }
}

#[test]
fn what_cannot_be_coded_is_refused_before_the_first_frame() {
    init();
    for (settings, word) in [
        (&[("tier", "2")][..], "tier 2"),
        (&[("model", "/nowhere/x.gnm")], "/nowhere/x.gnm"),
        (
            &[("profile", "lossless"), ("quality", "20")],
            "quality is for the lossy",
        ),
        (&[("profile", "inter"), ("near", "2")], "near=2"),
        (
            &[("quality", "20"), ("bitrate", "1000000")],
            "quality and bitrate",
        ),
    ] {
        let element = gst::ElementFactory::make("neuralenc").build().unwrap();
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        for (name, value) in settings {
            element.set_property_from_str(name, value);
        }
        assert!(
            element.set_state(gst::State::Paused).is_err(),
            "{settings:?}"
        );
        let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(e) = message.view() else {
            panic!("{message:?}");
        };
        let text = format!("{} {}", e.error(), e.debug().unwrap_or_default());
        assert!(text.contains(word), "{text}");
        element.set_state(gst::State::Null).unwrap();
    }
}
