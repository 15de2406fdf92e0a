//! The lossy profiles through the elements, with the model that is built in.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use gst::prelude::*;

/// Mean squared error of the first `n` samples: those of luma. (The networks have never seen chroma
/// like this pattern's, and blur it.)
fn error(a: &[u8], b: &[u8], n: usize) -> f64 {
    assert_eq!(a.len(), b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let sum: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
        .sum();
    sum / a.len() as f64
}

fn sizes(coded: &Coded) -> usize {
    coded.units.iter().map(|u| u.size()).sum()
}

#[test]
fn frames_come_back_alike_and_nothing_drifts() {
    for (profile, width, height) in [
        ("inter", 96, 80),
        ("intra", 96, 80),
        ("inter", 67, 131),
        ("vq", 67, 131),
    ] {
        let info = info("I420", width, height);
        let mut errors = Vec::new();
        for quality in ["31", "16"] {
            let settings = [
                ("profile", profile),
                ("quality", quality),
                ("picture-crc", "true"),
            ];
            let coded = code(&info, 12, &settings);
            assert_eq!(coded.units.len(), 12);
            assert!(coded.key(0));
            assert_eq!((1..12).all(|i| coded.key(i)), profile == "intra");
            let caps = coded.caps.structure(0).unwrap();
            assert_eq!(caps.get::<&str>("profile"), Ok(profile));
            let mut rig = coded.decoder(&[]);
            for unit in &coded.units {
                rig.h.push(unit.clone()).unwrap();
            }
            let shown = rig.all();
            assert_eq!(rig.error(), None);
            assert_eq!(shown.len(), 12);
            // The CRC is of what the encoder saw: a frame that differs is flagged.
            assert!(
                shown
                    .iter()
                    .all(|b| !b.flags().contains(gst::BufferFlags::CORRUPTED))
            );
            let all: f64 = shown
                .iter()
                .zip(&coded.frames)
                .map(|(b, frame)| error(&coded.decoded(b), frame, (width * height) as usize))
                .sum();
            errors.push((all / 12.0, sizes(&coded)));
        }
        let [(fine, large), (coarse, small)] = errors[..] else {
            panic!()
        };
        assert!(
            fine < 8.0 && fine < coarse && coarse < 100.0,
            "{profile}: {errors:?}"
        );
        assert!(small * 2 < large, "{profile}: {errors:?}");
    }
}

#[test]
fn threads_change_no_byte() {
    let info = info("I420", 130, 200);
    let of = |n: &str| {
        let coded = code(&info, 4, &[("quality", "20"), ("threads", n)]);
        let bytes = |b: &gst::Buffer| b.map_readable().unwrap().to_vec();
        coded.units.iter().map(bytes).collect::<Vec<_>>()
    };
    let one = of("1");
    assert!(of("2") == one && of("3") == one && of("7") == one);
}

#[test]
fn only_420_is_taken_so_that_upstream_converts() {
    init();
    let line = "videotestsrc num-buffers=3 ! video/x-raw,format=RGB,width=64,height=48 ! videoconvert ! \
                neuralenc quality=20 ! neuraldec name=d ! fakesink";
    let pipeline = gst::parse::launch(line)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let end = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus
        .timed_pop_filtered(gst::ClockTime::from_seconds(20), &end)
        .unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    let pad = pipeline.by_name("d").unwrap().static_pad("src").unwrap();
    let caps = pad.current_caps().unwrap();
    assert_eq!(caps.structure(0).unwrap().get::<&str>("format"), Ok("I420"));
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn quality_and_bitrate_can_be_set_while_running() {
    let info = info("I420", 96, 64);
    let mut rig = Rig::new("neuralenc", &[("quality", "28"), ("keyint", "4")]);
    rig.h.set_src_caps(info.to_caps().unwrap());
    let enc = rig.h.element().unwrap();
    let size = |rig: &mut Rig, t: u32| -> usize {
        for t in t..t + 4 {
            rig.h.push(frame(&info, t)).unwrap();
        }
        rig.all().iter().map(|b| b.size()).sum()
    };
    let fine = size(&mut rig, 0);
    enc.set_property("quality", 6);
    let coarse = size(&mut rig, 4);
    assert!(coarse * 2 < fine, "{coarse} of {fine}");
    enc.set_property("quality", -1);
    enc.set_property("bitrate", 100_000u32);
    for t in (8..48).step_by(4) {
        size(&mut rig, t);
    }
    let aimed = size(&mut rig, 48);
    // 4 frames of 25 a second.
    assert!(aimed < 2 * 100_000 * 4 / 25 / 8, "{aimed}");
    assert_eq!(rig.error(), None);
}

#[test]
fn every_second_frame_is_droppable_if_asked_for() {
    let info = info("I420", 64, 64);
    let coded = code(
        &info,
        6,
        &[
            ("quality", "20"),
            ("temporal-layers", "2"),
            ("scene-cut", "false"),
        ],
    );
    let dropped: Vec<bool> = coded
        .units
        .iter()
        .map(|u| u.flags().contains(gst::BufferFlags::DROPPABLE))
        .collect();
    assert_eq!(dropped, [false, true, false, true, false, true]);
    let mut rig = coded.decoder(&[]);
    for unit in coded.units.iter().step_by(2) {
        rig.h.push(unit.clone()).unwrap();
    }
    let shown = rig.all();
    assert_eq!(shown.len(), 3);
    assert!(
        shown
            .iter()
            .all(|b| !b.flags().contains(gst::BufferFlags::CORRUPTED))
    );
}

#[test]
fn damage_is_flagged_and_healed_by_the_next_keyframe() {
    let info = info("I420", 64, 192);
    let coded = code(&info, 9, &[("quality", "20"), ("keyint", "3")]);
    let mut rig = coded.decoder(&[("max-errors", "-1")]);
    for (i, unit) in coded.units.iter().enumerate() {
        let unit = match i {
            4 => with_bytes(unit, |b| *b.last_mut().unwrap() ^= 1),
            _ => unit.clone(),
        };
        rig.h.push(unit).unwrap();
    }
    let flagged: Vec<bool> = rig
        .all()
        .iter()
        .map(|b| b.flags().contains(gst::BufferFlags::CORRUPTED))
        .collect();
    let t = true;
    assert_eq!(
        flagged,
        [false, false, false, false, t, t, false, false, false]
    );
}

#[test]
fn models_are_named_where_they_are_missing() {
    let info = info("I420", 32, 32);
    let coded = code(&info, 1, &[("quality", "20")]);
    // Another hash, under a right checksum.
    let caps = {
        let mut caps = coded.caps.clone();
        let data = caps
            .structure(0)
            .unwrap()
            .get::<gst::Buffer>("codec_data")
            .unwrap();
        let mut bytes = data.map_readable().unwrap().to_vec();
        bytes[28] ^= 1;
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        let s = caps.make_mut().structure_mut(0).unwrap();
        s.set("codec_data", gst::Buffer::from_mut_slice(bytes));
        caps
    };
    let mut rig = Rig::new("neuraldec", &[]);
    rig.h.set_src_caps(caps);
    let _ = rig.h.push(coded.units[0].clone());
    let said = rig.error().unwrap();
    assert!(said.contains("needs the model"), "{said}");

    let mut rig = Rig::new("neuraldec", &[("model", "/nowhere/other.gnm")]);
    rig.h.set_src_caps(coded.caps.clone());
    let _ = rig.h.push(coded.units[0].clone());
    let said = rig.error().unwrap();
    assert!(said.contains("/nowhere/other.gnm"), "{said}");
}

#[test]
fn a_layer_gives_every_sample_back_and_can_be_left_out() {
    let info = info("I420", 83, 131);
    let plain = code(&info, 6, &[("quality", "20")]);
    for near in [0u8, 2] {
        let text = near.to_string();
        let settings = [
            ("quality", "20"),
            ("layer", "lossless"),
            ("near", &text),
            ("picture-crc", "true"),
        ];
        let coded = code(&info, 6, &settings);
        let caps = coded.caps.structure(0).unwrap();
        assert_eq!(caps.get::<&str>("layer"), Ok("lossless"));
        assert_eq!(caps.get::<&str>("profile"), Ok("inter"));
        let shown = |coded: &Coded, properties: &[(&str, &str)]| {
            let mut rig = coded.decoder(properties);
            for unit in &coded.units {
                rig.h.push(unit.clone()).unwrap();
            }
            let shown = rig.all();
            assert_eq!(rig.error(), None);
            let whole = |b: &gst::Buffer| !b.flags().contains(gst::BufferFlags::CORRUPTED);
            assert!(shown.iter().all(whole));
            shown.iter().map(|b| coded.decoded(b)).collect::<Vec<_>>()
        };
        let all = shown(&coded, &[]);
        assert_eq!(all.len(), 6);
        let differences = all.iter().zip(&coded.frames);
        let differences = differences.flat_map(|(a, b)| a.iter().zip(b));
        let worst = differences.map(|(a, b)| a.abs_diff(*b)).max();
        assert_eq!(worst, Some(near));
        let base = shown(&coded, &[("layers", "base")]);
        assert!(base == shown(&plain, &[]), "the stream without a layer");
        assert!(base != all);
    }
}

#[test]
fn without_a_gpu_cuda_is_an_error_and_auto_is_the_processor() {
    if gstneural_cuda::available().is_ok() {
        eprintln!("there is a GPU here");
        return;
    }
    init();
    for (name, settings) in [("neuralenc", &[("quality", "20")][..]), ("neuraldec", &[])] {
        let element = gst::ElementFactory::make(name).build().unwrap();
        for (property, value) in settings.iter().chain(&[("device", "cuda")]) {
            element.set_property_from_str(property, value);
        }
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        assert!(element.set_state(gst::State::Paused).is_err(), "{name}");
        let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(e) = message.view() else {
            panic!("{message:?}")
        };
        let said = format!("{} {:?}", e.error(), e.debug());
        assert!(
            said.contains("device=cuda") && said.contains("device=auto"),
            "{said}"
        );
        element.set_state(gst::State::Null).unwrap();
    }
    let info = info("I420", 32, 32);
    let coded = code(&info, 2, &[("quality", "20"), ("device", "auto")]);
    let mut rig = coded.decoder(&[("device", "auto")]);
    rig.h.push(coded.units[0].clone()).unwrap();
    let element = rig.h.element().unwrap();
    let active = element.property::<Option<String>>("active-device");
    assert_eq!(active.as_deref(), Some("cpu"));
    assert_eq!(rig.error(), None);
}
