//! Less flicker.

use gstneural_cuda::{DeviceStabilizer, twins::StabilizerTwin};
use gstneural_pixels::{Color, FrameBuf, Stabilizer};

use crate::{FORMATS, Rig, assert_equal};

/// `frame` with some values moved by a little.
fn nearly(rig: &mut Rig, frame: &FrameBuf) -> FrameBuf {
    let mut out = frame.clone();
    let mut view = out.as_mut();
    for c in 0..frame.format().info().components.len() {
        let mut comp = view.component_mut(c);
        for y in 0..comp.height() {
            for x in 0..comp.width() {
                if rig.random.u32(0..3) == 0 {
                    let value = comp.as_ref().get(x, y) + rig.random.u32(0..9);
                    comp.set(x, y, value.saturating_sub(4));
                }
            }
        }
    }
    out
}

#[test]
fn the_same_as_on_the_cpu_over_time() {
    let mut rig = Rig::new(31);
    for &format in FORMATS {
        for (size, out) in [((9, 7), (18, 14)), ((20, 11), (60, 33)), ((1, 1), (2, 2))] {
            let mut device = DeviceStabilizer::new(&rig.stream, format, size, out).unwrap();
            let mut twin = StabilizerTwin::default();
            let mut cpu = Stabilizer::new(format, size.0, size.1, out.0, out.1).unwrap();
            let mut input = rig.noise(format, size, Color::default());
            let classical = rig.noise(format, out, Color::default());
            let mut moved = 0;
            for frame in 0..7 {
                let amount = [0.8, 1.0, 0.5][frame % 3];
                input = match frame {
                    // A cut, and then a seek.
                    4 => rig.noise(format, size, Color::default()),
                    _ => nearly(&mut rig, &input),
                };
                if frame == 5 {
                    device.reset();
                    twin.reset();
                    cpu.reset();
                }
                let classical = nearly(&mut rig, &classical);
                let result = nearly(&mut rig, &classical);
                let (on_input, on_classical, on_out) =
                    (rig.up(&input), rig.up(&classical), rig.up(&result));
                device
                    .run(
                        &rig.kernels,
                        &rig.stream,
                        &on_input.frame(),
                        &on_classical.frame(),
                        &on_out.frame(),
                        amount,
                    )
                    .unwrap();
                let (mut by_cpu, mut by_twin) = (result.clone(), result.clone());
                let frames = (input.as_ref(), classical.as_ref());
                cpu.run(&frames.0, &frames.1, &mut by_cpu.as_mut(), amount);
                twin.run(&frames.0, &frames.1, &mut by_twin.as_mut(), amount);
                let what = format!("{size:?} to {out:?}, frame {frame}");
                assert_equal(
                    &by_twin.as_ref(),
                    &by_cpu.as_ref(),
                    &format!("twin, {what}"),
                );
                assert_equal(&rig.down(&on_out).as_ref(), &by_cpu.as_ref(), &what);
                let (a, b) = (result.as_ref().plane(0).data, by_cpu.as_ref().plane(0).data);
                moved += usize::from(a != b);
            }
            assert!(
                moved >= 2 || size == (1, 1),
                "{format:?}: nothing was averaged"
            );
        }
    }
}

/// Left half moved by `by`, the right half not at all.
fn half_moved(base: &FrameBuf, by: u32) -> FrameBuf {
    let mut out = base.clone();
    let mut view = out.as_mut();
    let mut luma = view.component_mut(0);
    for y in 0..luma.height() {
        for x in 0..luma.width() / 2 {
            let value = luma.as_ref().get(x, y) + by;
            luma.set(x, y, value);
        }
    }
    out
}

#[test]
fn a_mean_difference_of_thirty_is_no_cut_yet() {
    let mut rig = Rig::new(32);
    let (format, size) = (gstneural_pixels::PixelFormat::Nv12, (20, 8));
    let out = (40, 16);
    let base = FrameBuf::new(format, size.0, size.1, Color::default()).unwrap();
    // 30 on average, and a little more: 30 is rounded down from less than 31.
    for (by, averaged) in [(60, true), (61, true), (62, false)] {
        let mut device = DeviceStabilizer::new(&rig.stream, format, size, out).unwrap();
        let mut cpu = Stabilizer::new(format, size.0, size.1, out.0, out.1).unwrap();
        let classical = rig.noise(format, out, Color::default());
        let mut changed = false;
        for input in [base.clone(), half_moved(&base, by)] {
            let result = rig.noise(format, out, Color::default());
            let frames = (rig.up(&input), rig.up(&classical), rig.up(&result));
            let (i, c, o) = (frames.0.frame(), frames.1.frame(), frames.2.frame());
            device
                .run(&rig.kernels, &rig.stream, &i, &c, &o, 0.9)
                .unwrap();
            let mut by_cpu = result.clone();
            cpu.run(
                &input.as_ref(),
                &classical.as_ref(),
                &mut by_cpu.as_mut(),
                0.9,
            );
            assert_equal(
                &rig.down(&frames.2).as_ref(),
                &by_cpu.as_ref(),
                &format!("{by}"),
            );
            changed = by_cpu.as_ref().plane(0).data != result.as_ref().plane(0).data;
        }
        assert_eq!(changed, averaged, "{by}");
    }
}
