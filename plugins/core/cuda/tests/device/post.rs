//! Finished frames.

use gstneural_cuda::{DeviceAreas, DeviceBuffer, DeviceScaler, Element, Findings, Order, twins};
use gstneural_pixels::{
    Color, Family, Filter, FrameBuf, FrameScaler, PixelFormat, Rect, YuvRgb, blit, mix, rect_equal,
    replace_luma, split_view,
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

/// Every sample counts in the rectangles that it covers, and in no others: as on the CPU.
#[test]
fn rectangles_that_changed_and_no_others() {
    let mut rig = Rig::new(25);
    let size = (71, 17);
    let rect = |x, y, w, h| Rect { x, y, w, h };
    let areas = [
        rect(0, 0, 71, 17),
        rect(0, 0, 40, 9),
        rect(33, 0, 38, 9),
        rect(5, 7, 19, 3),
        rect(16, 8, 64, 99),
        rect(70, 16, 1, 1),
        rect(90, 0, 4, 4),
    ];
    for &format in FORMATS {
        let a = rig.noise(format, size, Color::default());
        let on_device = rig.up(&a);
        let mut of = DeviceAreas::new(&rig.stream, format, size, &areas).unwrap();
        let mut changed = |b: &FrameBuf| -> Vec<bool> {
            let other = rig.up(b);
            let frames = (on_device.frame(), other.frame());
            let changed = (rig.kernels).changed(&rig.stream, &mut of, &frames.0, &frames.1);
            changed.unwrap().collect()
        };
        assert_eq!(changed(&a), [false; 7], "{format:?}");
        let mut once = [false; 7];
        for (i, (x, y)) in [(0, 0), (34, 3), (15, 8), (70, 16), (9, 9)]
            .into_iter()
            .enumerate()
        {
            let mut b = a.clone();
            let c = i % format.info().components.len();
            let comp = &format.info().components[c];
            let (x, y) = (x >> comp.sub_w, y >> comp.sub_h);
            let value = a.as_ref().component(c).get(x, y) ^ 1;
            b.as_mut().component_mut(c).set(x, y, value);
            let found = changed(&b);
            for (k, area) in areas.iter().enumerate() {
                let wanted = !rect_equal(&a.as_ref(), &b.as_ref(), *area);
                assert_eq!(found[k], wanted, "{format:?} {area:?}, sample {x}, {y}");
                once[k] |= wanted;
            }
            let twin = twins::differs(&a.as_ref(), &b.as_ref(), (33, 0, 38, 9));
            assert_eq!(found[2], twin, "{format:?}");
        }
        assert_eq!(
            once,
            [true, true, true, true, true, true, false],
            "{format:?}"
        );
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
    let whole = [Rect {
        x: 0,
        y: 0,
        w: 16,
        h: 8,
    }];
    let mut areas = DeviceAreas::new(s, format, (16, 8), &whole).unwrap();
    let scaler = DeviceScaler::new(s, format, site, (16, 8), (32, 16), Filter::Bicubic).unwrap();
    assert!(k.scale(s, &scaler, small, large).is_ok());
    assert!(k.scale(s, &scaler, large, small).is_err());
    assert!(k.scale(s, &scaler, other, large).is_err());
    assert!(k.mix(s, small, large, 0.5).is_err());
    assert!(k.mix(s, small, other, 0.5).is_err());
    assert!(k.split_view(s, small, large, 4).is_err());
    assert!(k.blit(s, small, other, (0, 0)).is_err());
    assert!(k.changed(s, &mut areas, small, large).is_err());
    assert!(k.changed(s, &mut areas, large, large).is_err());
    assert!(k.changed(s, &mut areas, other, other).is_err());
    assert_eq!(
        k.changed(s, &mut areas, small, small)
            .unwrap()
            .collect::<Vec<_>>(),
        [false]
    );
    assert!(DeviceAreas::new(s, format, (16, 8), &[]).is_err());
    assert!(k.replace_luma(s, small, small).is_err(), "not RGB");
    assert!(
        k.fill(s, small, 1, (0, 0, 9, 4), 0).is_err(),
        "chroma is 8 wide"
    );
    assert!(k.fill(s, small, 1, (0, 0, 8, 4), 999).is_ok());
}
