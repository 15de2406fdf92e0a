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

#[test]
fn memory_and_slots_are_those_of_all_elements() {
    stand_in::start();
    // In a process of its own: other tests use the GPU, too. The stand-in has two then.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "budget_of_a_process", "--ignored", "--nocapture"])
        .env("FAKE_CUDA_DEVICES", "2")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    let done = output.status.success() && text.contains("all given back");
    assert!(done, "{text}{error}");
}

/// An encoder of a lossy profile with caps, on a GPU if it gets one.
fn encoder(properties: &[(&str, &str)], (width, height): (u32, u32)) -> Rig {
    let mut rig = Rig::new("neuralenc", &with(&[("quality", "20")], ("device", "auto")));
    let element = rig.h.element().unwrap();
    for (name, value) in properties {
        element.set_property_from_str(name, value);
    }
    let info = info("I420", width, height);
    rig.h.set_src_caps(info.to_caps().unwrap());
    rig
}

fn active(rig: &Rig) -> Option<String> {
    rig.h.element().unwrap().property("active-device")
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn budget_of_a_process() {
    use gstneural_cuda::{Budget, Device, allocated};
    stand_in::start();
    let size = (320, 180);
    let (first, second) = (Budget::of(0), Budget::of(1));
    assert_eq!(first.taken(), (0, 0));

    // What is reserved is what is taken, before the first frame and with it.
    let mut coding = encoder(&[("device", "cuda")], size);
    let (bytes, slots) = first.taken();
    assert_eq!((active(&coding).as_deref(), slots), (Some("cuda"), 1));
    assert!(
        bytes > 1 << 20 && allocated().abs_diff(bytes) < 64,
        "{bytes}, {}",
        allocated()
    );
    let picture = info("I420", size.0, size.1);
    for t in 0..2 {
        coding.h.push(frame(&picture, t)).unwrap();
    }
    assert!(allocated().abs_diff(bytes) < 64, "{bytes}, {}", allocated());

    // A slot is waited for, memory that can never be had is not.
    for (limit, waits) in [(("gpu-slots", "1"), true), (("gpu-mem-limit", "1"), false)] {
        let begun = std::time::Instant::now();
        let refused = encoder(&[limit], size);
        assert_eq!(active(&refused).as_deref(), Some("cpu"), "{limit:?}");
        let waited = begun.elapsed() >= gstneural_cuda::PATIENCE;
        assert_eq!(waited, waits, "{limit:?}");
        assert_eq!(first.taken(), (bytes, 1));
    }
    let refused = encoder(&[("device", "cuda"), ("gpu-mem-limit", "1")], size);
    let said = refused.error().unwrap();
    assert!(
        said.contains("device=cuda") && said.contains("limit"),
        "{said}"
    );

    // Another size in mid-stream gets what the one before had.
    drop(coding);
    assert_eq!((first.taken(), allocated()), ((0, 0), 0));
    let limits = [
        ("device", "cuda"),
        ("gpu-slots", "1"),
        ("gpu-mem-limit", "64"),
    ];
    let mut coding = encoder(&limits, size);
    let holding = first.limits();
    assert_eq!((holding.slots, holding.bytes), (Some(1), Some(64 << 20)));
    let larger = info("I420", 352, 200);
    coding.h.set_src_caps(larger.to_caps().unwrap());
    coding.h.push(frame(&larger, 0)).unwrap();
    assert_eq!(
        (active(&coding).as_deref(), coding.error()),
        (Some("cuda"), None)
    );
    assert!(first.taken().0 > bytes && first.taken().1 == 1);
    drop(coding);

    let none = encoder(&[("device", "cuda"), ("device-id", "77")], size);
    assert!(none.error().unwrap().contains("77"));
    // The number means a device and its budget.
    if Device::count().unwrap() > 1 {
        let other = encoder(&[("device", "cuda"), ("device-id", "1")], size);
        assert_eq!(active(&other).as_deref(), Some("cuda"));
        assert_eq!((first.taken(), second.taken()), ((0, 0), (bytes, 1)));
    }
    assert_eq!((second.taken(), allocated()), ((0, 0), 0));
    println!("all given back");
}
