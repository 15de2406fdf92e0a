use super::*;
use crate::testing::{Random, SIZES};
use crate::{Color, FrameBuf};

fn noisy(base: &FrameBuf, random: &mut Random, by: usize) -> FrameBuf {
    let mut out = base.clone();
    for c in 0..base.format().info().components.len() {
        let mut view = out.as_mut();
        let mut comp = view.component_mut(c);
        for y in 0..comp.height() {
            for x in 0..comp.width() {
                let v = comp.as_ref().get(x, y) as usize + random.below(2 * by + 1);
                comp.set(x, y, v.saturating_sub(by) as u32);
            }
        }
    }
    out
}

fn flat(format: PixelFormat, w: usize, h: usize, value: u32) -> FrameBuf {
    let mut frame = FrameBuf::new(format, w, h, Color::default()).unwrap();
    for c in 0..format.info().components.len() {
        frame
            .as_mut()
            .component_mut(c)
            .fill(value << (format.info().depth - 8));
    }
    frame
}

/// Mean squared change of component 0 from frame to frame.
fn flicker(frames: &[FrameBuf]) -> f64 {
    let mut sum = 0.0;
    for pair in frames.windows(2) {
        let (a, b) = (pair[0].as_ref(), pair[1].as_ref());
        let (a, b) = (a.component(0), b.component(0));
        for y in 0..a.height() {
            for x in 0..a.width() {
                sum += (f64::from(a.get(x, y)) - f64::from(b.get(x, y))).powi(2);
            }
        }
    }
    sum
}

#[test]
fn static_flicker_falls_and_nothing_moves_without_amount() {
    let mut random = Random::new(12);
    for &format in PixelFormat::ALL {
        let input = flat(format, 16, 12, 100);
        let classical = flat(format, 32, 24, 100);
        let by = 8 << (format.info().depth - 8);
        let net: Vec<_> = (0..12)
            .map(|_| noisy(&classical, &mut random, by))
            .collect();
        for (amount, most) in [(0.0, 1.0), (0.8, 0.25)] {
            let mut s = Stabilizer::new(format, 16, 12, 32, 24).unwrap();
            let mut out = net.clone();
            for frame in &mut out {
                s.run(
                    &input.as_ref(),
                    &classical.as_ref(),
                    &mut frame.as_mut(),
                    amount,
                );
            }
            let ratio = flicker(&out[2..]) / flicker(&net[2..]);
            assert!(ratio <= most, "{format:?} {amount} {ratio}");
            if amount == 0.0 {
                for (a, b) in out.iter().zip(&net) {
                    for p in 0..format.info().planes {
                        assert_eq!(a.as_ref().plane(p).data, b.as_ref().plane(p).data);
                    }
                }
            }
        }
    }
}

#[test]
fn motion_cuts_and_resets_pass_through() {
    let mut random = Random::new(13);
    let format = PixelFormat::Nv12;
    let classical = flat(format, 32, 24, 100);
    let inputs = [100, 100, 125, 200];
    // First frame; still; strong motion (weight exp(-17)); a cut.
    for (i, still) in [(0, false), (1, true), (2, false), (3, false)] {
        let mut s = Stabilizer::new(format, 16, 12, 32, 24).unwrap();
        for (n, value) in inputs.iter().enumerate().take(i + 1) {
            let net = noisy(&classical, &mut random, 9);
            let mut out = net.clone();
            let input = flat(format, 16, 12, *value);
            s.run(&input.as_ref(), &classical.as_ref(), &mut out.as_mut(), 0.9);
            if n == i {
                let same = out.as_ref().plane(0).data == net.as_ref().plane(0).data;
                assert_eq!(same, !still, "frame {i}");
                assert_eq!(out.as_ref().plane(1).data, net.as_ref().plane(1).data);
            }
        }
        let net = noisy(&classical, &mut random, 9);
        let mut out = net.clone();
        s.reset();
        s.run(
            &flat(format, 16, 12, 100).as_ref(),
            &classical.as_ref(),
            &mut out.as_mut(),
            0.9,
        );
        assert_eq!(out.as_ref().plane(0).data, net.as_ref().plane(0).data);
    }
}

#[test]
fn any_size_and_ratio() {
    let mut random = Random::new(14);
    for &format in PixelFormat::ALL {
        for (w, h) in SIZES.into_iter().filter(|(w, _)| *w < 100) {
            let mut s = Stabilizer::new(format, w, h, w * 3, h * 3).unwrap();
            for _ in 0..3 {
                let input = random.frame(format, w, h);
                let classical = random.frame(format, w * 3, h * 3);
                let mut out = classical.clone();
                s.run(&input.as_ref(), &classical.as_ref(), &mut out.as_mut(), 1.0);
                assert!(s.alpha.iter().all(|a| (0.0..=1.0).contains(a)));
            }
        }
    }
    assert!(Stabilizer::new(PixelFormat::Rgb, 0, 1, 1, 1).is_err());
}

#[test]
fn constant_net_output_stays_constant() {
    let format = PixelFormat::I42010Le;
    let input = flat(format, 8, 8, 100);
    let (classical, net) = (flat(format, 16, 16, 100), flat(format, 16, 16, 103));
    let mut s = Stabilizer::new(format, 8, 8, 16, 16).unwrap();
    for _ in 0..20 {
        let mut out = net.clone();
        s.run(&input.as_ref(), &classical.as_ref(), &mut out.as_mut(), 0.6);
        assert_eq!(out.as_ref().plane(0).data, net.as_ref().plane(0).data);
    }
}
