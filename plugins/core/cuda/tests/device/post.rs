//! Finished frames.

use gstneural_cuda::{DeviceBuffer, DeviceFrameBuf, DeviceScaler, Element, Findings, Order, twins};
use gstneural_pixels::{
    Color, Family, Filter, FrameBuf, FrameScaler, PixelFormat, YuvRgb, blit, mix, replace_luma,
    split_view,
};

use crate::{FORMATS, Rig, SIZES, assert_equal, colors};

#[test]
fn classical_upscale() {
    let mut rig = Rig::new(21);
    let filters = [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos];
    let mut turn = 0;
    for &format in FORMATS {
        for size in SIZES {
            for times in [2, 3] {
                turn += 1;
                let color = colors()[turn % 12];
                let filter = filters[turn % 3];
                let out = (size.0 * times, size.1 * times);
                let frame = rig.noise(format, size, color);
                let input = rig.up(&frame);
                let before = rig.noise(format, out, color);
                let output = rig.up(&before);
                let scaler =
                    DeviceScaler::new(&rig.stream, format, color.site, size, out, filter).unwrap();
                rig.kernels
                    .scale(&rig.stream, &scaler, &input.frame(), &output.frame())
                    .unwrap();
                let mut cpu_scaler =
                    FrameScaler::new(format, size.0, size.1, out.0, out.1, color.site, filter)
                        .unwrap();
                let (mut cpu, mut twin) = (before.clone(), before);
                cpu_scaler.run(&frame.as_ref(), &mut cpu.as_mut());
                for c in 0..format.info().components.len() {
                    let resampler = cpu_scaler.resampler(c);
                    twins::scale_component(resampler, &frame.as_ref(), &mut twin.as_mut(), c);
                }
                let what = format!("{size:?} x{times} {filter:?} {color:?}");
                assert_equal(&twin.as_ref(), &cpu.as_ref(), &format!("twin, {what}"));
                let result = rig.down(&output);
                assert_equal(&result.as_ref(), &cpu.as_ref(), &what);
                if let Some((_, offset)) = format.info().padding {
                    let plane = result.as_ref().plane(0).data;
                    assert_eq!(plane[offset], 255, "{format:?}: padding");
                }
            }
        }
    }
}

fn two(rig: &mut Rig, format: PixelFormat, size: (usize, usize), color: Color) -> [FrameBuf; 2] {
    [
        rig.noise(format, size, color),
        rig.noise(format, size, color),
    ]
}

#[test]
fn blended_by_weight() {
    let mut rig = Rig::new(22);
    for &format in FORMATS {
        for (size, weight) in SIZES.into_iter().zip([0.0, 0.3, 0.75, 1.0]) {
            let [a, b] = two(&mut rig, format, size, Color::default());
            let (frame, classical) = (rig.up(&a), rig.up(&b));
            rig.kernels
                .mix(&rig.stream, &frame.frame(), &classical.frame(), weight)
                .unwrap();
            let (mut cpu, mut twin) = (a.clone(), a);
            mix(&mut cpu.as_mut(), &b.as_ref(), weight);
            if weight < 1.0 {
                twins::mix(&mut twin.as_mut(), &b.as_ref(), weight);
            }
            assert_equal(&twin.as_ref(), &cpu.as_ref(), "twin");
            assert_equal(
                &rig.down(&frame).as_ref(),
                &cpu.as_ref(),
                &format!("{size:?} {weight}"),
            );
        }
    }
}

#[test]
fn luma_of_rgb_replaced() {
    let mut rig = Rig::new(23);
    for &format in FORMATS.iter().filter(|f| f.info().family == Family::Rgb) {
        for (size, color) in SIZES.into_iter().cycle().zip(colors()) {
            let frame = rig.noise(format, size, color);
            let luma = rig.noise(PixelFormat::Gray16Le, size, color);
            let (on_device, wanted) = (rig.up(&frame), rig.up(&luma));
            rig.kernels
                .replace_luma(&rig.stream, &on_device.frame(), &wanted.frame())
                .unwrap();
            let (mut cpu, mut twin) = (frame.clone(), frame);
            let luma = luma.as_ref().component(0);
            replace_luma(&mut cpu.as_mut(), &luma, &YuvRgb::new(&color, 8));
            twins::replace_luma(&mut twin.as_mut(), &luma);
            let what = format!("{size:?} {color:?}");
            assert_equal(&twin.as_ref(), &cpu.as_ref(), &format!("twin, {what}"));
            assert_equal(&rig.down(&on_device).as_ref(), &cpu.as_ref(), &what);
        }
    }
}

#[test]
fn compare_views() {
    let mut rig = Rig::new(24);
    for &format in FORMATS {
        for (size, color) in SIZES.into_iter().zip(colors()) {
            for split in [
                0,
                1,
                size.0 / 2,
                size.0.saturating_sub(1),
                size.0,
                size.0 + 9,
            ] {
                let [a, b] = two(&mut rig, format, size, color);
                let (frame, other) = (rig.up(&a), rig.up(&b));
                rig.kernels
                    .split_view(&rig.stream, &frame.frame(), &other.frame(), split)
                    .unwrap();
                let mut cpu = a;
                split_view(&mut cpu.as_mut(), &b.as_ref(), split);
                let what = format!("{size:?} split {split}");
                assert_equal(&rig.down(&frame).as_ref(), &cpu.as_ref(), &what);
            }
            let wide = (size.0 * 2, size.1);
            let [a, _] = two(&mut rig, format, wide, color);
            let [b, _] = two(&mut rig, format, size, color);
            for at in [(0, 0), (size.0, 0), (3, 1), (wide.0, 0)] {
                let (frame, from) = (rig.up(&a), rig.up(&b));
                rig.kernels
                    .blit(&rig.stream, &frame.frame(), &from.frame(), at)
                    .unwrap();
                let mut cpu = a.clone();
                blit(&mut cpu.as_mut(), &b.as_ref(), at.0, at.1);
                let what = format!("{size:?} at {at:?}");
                assert_equal(&rig.down(&frame).as_ref(), &cpu.as_ref(), &what);
            }
        }
    }
}

#[test]
fn equal_frames_and_no_others() {
    let mut rig = Rig::new(25);
    for &format in FORMATS {
        let size = (35, 17);
        let a = rig.noise(format, size, Color::default());
        let on_device = rig.up(&a);
        let same = rig.up(&a);
        let equal = |b: &DeviceFrameBuf| {
            let frames = (on_device.frame(), b.frame());
            let flag = DeviceBuffer::new(&rig.device, 4).unwrap();
            let equal = rig.kernels.equal(&rig.stream, &frames.0, &frames.1, &flag);
            equal.unwrap()
        };
        assert!(equal(&same) && !twins::differs(&a.as_ref(), &a.as_ref()));
        let last = format.info().components.len() - 1;
        let mut b = a.clone();
        {
            let mut frame = b.as_mut();
            let mut comp = frame.component_mut(last);
            let (x, y) = (comp.width() - 1, comp.height() - 1);
            let value = comp.as_ref().get(x, y) ^ 1;
            comp.set(x, y, value);
        }
        assert!(twins::differs(&a.as_ref(), &b.as_ref()), "{format:?}");
        assert!(!equal(&rig.up(&b)), "{format:?}");
    }
}

#[test]
fn overflow_and_black_are_found() {
    let mut rig = Rig::new(26);
    for (i, element) in [Element::F32, Element::F16].into_iter().enumerate() {
        for shape in [[1, 1, 1, 1], [2, 3, 7, 5], [1, 3, 131, 257]] {
            for strange in [false, true] {
                let mut host = twins::HostTensor::new(element, Order::Nchw, shape);
                if strange {
                    host = rig.result(element, Order::Nchw, shape, 1.0);
                }
                let (tensor, _memory) = rig.tensor(&host);
                let result = DeviceBuffer::new(&rig.device, 8).unwrap();
                rig.kernels.inspect(&rig.stream, &tensor, &result).unwrap();
                let found = rig.kernels.findings(&rig.stream, &result).unwrap();
                assert_eq!(found, twins::inspect(&host), "{i} {shape:?} {strange}");
                let nothing = Findings {
                    not_finite: 0,
                    greatest: 0.0,
                };
                assert!(strange || found == nothing, "{found:?}");
                assert!(!strange || shape == [1; 4] || found.greatest > 0.0);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut rig = Rig::new(27);
    let color = Color::default();
    let [small, large] = [(16, 8), (32, 16)].map(|size| {
        let frame = rig.noise(PixelFormat::Nv12, size, color);
        rig.up(&frame)
    });
    let other = rig.noise(PixelFormat::P01010Le, (16, 8), color);
    let other = rig.up(&other);
    let (k, s) = (&rig.kernels, &rig.stream);
    let (small, large, other) = (&small.frame(), &large.frame(), &other.frame());
    let (format, site) = (PixelFormat::Nv12, color.site);
    let flag = DeviceBuffer::new(&rig.device, 4).unwrap();
    let scaler = DeviceScaler::new(s, format, site, (16, 8), (32, 16), Filter::Bicubic).unwrap();
    assert!(k.scale(s, &scaler, small, large).is_ok());
    assert!(k.scale(s, &scaler, large, small).is_err());
    assert!(k.scale(s, &scaler, other, large).is_err());
    assert!(k.mix(s, small, large, 0.5).is_err());
    assert!(k.mix(s, small, other, 0.5).is_err());
    assert!(k.split_view(s, small, large, 4).is_err());
    assert!(k.blit(s, small, other, (0, 0)).is_err());
    assert!(k.equal(s, small, large, &flag).is_err());
    let tiny = DeviceBuffer::new(&rig.device, 3).unwrap();
    assert!(k.equal(s, small, small, &tiny).is_err());
    assert!(k.equal(s, small, small, &flag).unwrap());
    assert!(k.replace_luma(s, small, small).is_err(), "not RGB");
    assert!(
        k.fill(s, small, 1, (0, 0, 9, 4), 0).is_err(),
        "chroma is 8 wide"
    );
    assert!(k.fill(s, small, 1, (0, 0, 8, 4), 999).is_ok());
}
