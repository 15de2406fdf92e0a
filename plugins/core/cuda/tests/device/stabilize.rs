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
