use super::*;
use crate::testing::{Random, SIZES};
use crate::{Color, FrameBuf, PixelFormat, store};

#[test]
fn store_undoes_load_for_every_format() {
    for &format in PixelFormat::ALL {
        for (w, h) in SIZES {
            let frame = Random::new(1).frame(format, w, h);
            let mut back = FrameBuf::new(format, w, h, Color::default()).unwrap();
            for c in 0..format.info().components.len() {
                let frame = frame.as_ref();
                let comp = frame.component(c);
                let (cw, ch) = (comp.width(), comp.height());
                let max = comp.max_value() as f32;
                let mut floats = vec![f32::NAN; cw * ch];
                load(&comp, Rect::of(&comp), 1.0 / max, 0.0, &mut floats, cw);
                let mut view = back.as_mut();
                store(
                    &floats,
                    cw,
                    cw,
                    ch,
                    max,
                    0.0,
                    &mut view.component_mut(c),
                    0,
                    0,
                );
            }
            for p in 0..format.info().planes {
                assert_eq!(
                    frame.as_ref().plane(p).data,
                    back.as_ref().plane(p).data,
                    "{format:?}"
                );
            }
        }
    }
}

#[test]
fn edges_are_repeated() {
    let mut random = Random::new(2);
    for &format in PixelFormat::ALL {
        for (w, h) in [(1, 1), (3, 5), (34, 18)] {
            let frame = random.frame(format, w, h);
            let frame = frame.as_ref();
            for c in 0..format.info().components.len() {
                let comp = frame.component(c);
                for _ in 0..20 {
                    let rect = Rect {
                        x: random.below(3 * w + 9) as isize - w as isize - 4,
                        y: random.below(3 * h + 9) as isize - h as isize - 4,
                        w: random.below(2 * w + 9),
                        h: random.below(2 * h + 9),
                    };
                    let stride = rect.w + random.below(3);
                    let mut out = vec![-9.0; stride * rect.h];
                    load(&comp, rect, 2.0, 0.5, &mut out, stride);
                    for (row, line) in out.chunks(stride.max(1)).enumerate() {
                        let y = (rect.y + row as isize).clamp(0, comp.height() as isize - 1);
                        for (col, v) in line.iter().enumerate() {
                            let x = (rect.x + col as isize).clamp(0, comp.width() as isize - 1);
                            let expected = match col < rect.w {
                                true => comp.get(x as usize, y as usize) as f32 * 2.0 + 0.5,
                                false => -9.0,
                            };
                            assert_eq!(*v, expected, "{format:?} {c} {rect:?} {col},{row}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn absurd_rectangles_are_borne() {
    let frame = FrameBuf::new(PixelFormat::Gray8, 4, 4, Color::default()).unwrap();
    let frame = frame.as_ref();
    let mut out = [1.0; 4];
    for at in [isize::MIN, -1, 0, 4, isize::MAX] {
        load(
            &frame.component(0),
            Rect {
                x: at,
                y: at,
                w: 2,
                h: 2,
            },
            1.0,
            0.0,
            &mut out,
            2,
        );
        assert_eq!(out, [0.0; 4]);
    }
    let empty = frame.component(0).rect(9, 9, 1, 1);
    load(
        &empty,
        Rect {
            x: 0,
            y: 0,
            w: 2,
            h: 2,
        },
        1.0,
        0.25,
        &mut out,
        2,
    );
    assert_eq!(out, [0.25; 4]);
}
