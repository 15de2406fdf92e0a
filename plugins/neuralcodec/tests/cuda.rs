//! The elements with the synthesis on a GPU; without one, on the stand-in for the driver
//! (plugins/core/cuda/fake). Whichever device coded a stream and whichever decodes it: the bytes and
//! the pictures are the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "../../core/cuda/tests/common/mod.rs"]
mod stand_in;

use common::*;
use gst::prelude::*;

const CPU: (&str, &str) = ("device", "cpu");
const CUDA: (&str, &str) = ("device", "cuda");

fn with<'a>(
    settings: &[(&'a str, &'a str)],
    device: (&'a str, &'a str),
) -> Vec<(&'a str, &'a str)> {
    settings.iter().copied().chain([device]).collect()
}

fn bytes(coded: &Coded) -> Vec<Vec<u8>> {
    let bytes = |b: &gst::Buffer| b.map_readable().unwrap().to_vec();
    coded.units.iter().map(bytes).collect()
}

/// Frames with whether they are flagged, and the device that they were decoded on.
fn decode(
    coded: &Coded,
    units: &[gst::Buffer],
    device: (&str, &str),
) -> (Vec<(Vec<u8>, bool)>, String) {
    let mut rig = coded.decoder(&[device, ("max-errors", "-1")]);
    for unit in units {
        rig.h.push(unit.clone()).unwrap();
    }
    let shown = rig.all();
    assert_eq!(rig.error(), None);
    let flagged = |b: &gst::Buffer| b.flags().contains(gst::BufferFlags::CORRUPTED);
    let of = |b: &gst::Buffer| (coded.decoded(b), flagged(b));
    let element = rig.h.element().unwrap();
    let active = element.property::<Option<String>>("active-device");
    (shown.iter().map(of).collect(), active.unwrap())
}

#[test]
fn either_device_codes_and_decodes_the_same() {
    stand_in::start();
    for (profile, layer, width, height) in [
        ("intra", "none", 67, 131),
        ("inter", "none", 67, 131),
        ("vq", "none", 50, 77),
        ("inter", "lossless", 33, 70),
        ("inter", "none", 1, 1),
    ] {
        let info = info("I420", width, height);
        let settings = [
            ("profile", profile),
            ("layer", layer),
            ("quality", "20"),
            ("keyint", "3"),
            ("picture-crc", "true"),
        ];
        let here = code(&info, 5, &with(&settings, CPU));
        let there = code(&info, 5, &with(&settings, CUDA));
        assert!(bytes(&here) == bytes(&there), "{profile}");
        let (on_cpu, active) = decode(&here, &here.units, CPU);
        assert_eq!(active, "cpu");
        let (on_gpu, active) = decode(&here, &here.units, CUDA);
        assert_eq!(active, "cuda");
        assert!(on_cpu == on_gpu, "{profile}");
        assert!(on_gpu.len() == 5 && on_gpu.iter().all(|(_, flagged)| !flagged));
    }
}

#[test]
fn damage_looks_the_same() {
    stand_in::start();
    for profile in ["intra", "inter", "vq"] {
        let info = info("I420", 64, 180);
        let settings = [("profile", profile), ("quality", "20"), ("keyint", "4")];
        let coded = code(&info, 6, &with(&settings, CPU));
        let mut units = coded.units.clone();
        for (i, from_end) in [(1, 1), (4, 40)] {
            units[i] = with_bytes(&units[i], |b| {
                let at = b.len() - from_end;
                b[at] ^= 4;
            });
        }
        let (on_cpu, _) = decode(&coded, &units, CPU);
        let (on_gpu, _) = decode(&coded, &units, CUDA);
        assert!(on_cpu == on_gpu, "{profile}");
        assert!(on_cpu[1].1 && on_cpu[4].1 && !on_cpu[0].1, "{profile}");
    }
}

#[test]
fn auto_takes_the_gpu_and_the_encoder_says_so() {
    stand_in::start();
    let info = info("I420", 32, 32);
    for (device, settings, wanted) in [
        ("auto", vec![("quality", "20")], "cuda"),
        ("cpu", vec![("quality", "20")], "cpu"),
        // No networks, so nothing for a GPU.
        ("auto", vec![], "cpu"),
        ("cuda", vec![], "cpu"),
    ] {
        let mut rig = Rig::new("neuralenc", &with(&settings, ("device", device)));
        let element = rig.h.element().unwrap();
        let active = || element.property::<Option<String>>("active-device");
        assert_eq!(active(), None);
        rig.h.set_src_caps(info.to_caps().unwrap());
        rig.h.push(frame(&info, 0)).unwrap();
        assert_eq!(active().as_deref(), Some(wanted), "{device} {settings:?}");
        assert_eq!(rig.all().len(), 1);
    }
}
