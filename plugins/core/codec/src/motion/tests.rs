use super::*;
use crate::{
    Format, Picture, Plane,
    bitstream::Chroma,
    rans::{Decoder, Encoder, ReadSymbols, TableSet},
};

fn noise(width: usize, height: usize, max: u16, seed: u64) -> Plane {
    let mut rng = fastrand::Rng::with_seed(seed);
    let samples = (0..width * height).map(|_| rng.u16(0..=max)).collect();
    Plane {
        width,
        height,
        samples,
    }
}

/// A smooth scene in 10 bits, in which motion can be found downhill.
fn scene(width: usize, height: usize, dx: usize, dy: usize) -> Plane {
    let at = |x: usize, y: usize| ((x * x + y * y + x * y / 2) / 32) as u16;
    let samples = (0..width * height)
        .map(|i| at(i % width + dx, i / width + dy))
        .collect();
    Plane {
        width,
        height,
        samples,
    }
}

fn reference(plane: Plane, depth: u8) -> Reference {
    let format = Format {
        width: plane.width as u32,
        height: plane.height as u32,
        chroma: Chroma::Gray,
        depth,
    };
    Reference::new(&Picture {
        format,
        planes: vec![plane],
    })
}

/// The filters written down a second time, sample by sample, with clamped coordinates.
fn slow_luma(p: &Plane, x: i32, y: i32, v: Vector, max: u16) -> u16 {
    let at = |x: i32, y: i32| {
        let x = x.clamp(0, p.width as i32 - 1) as usize;
        let y = y.clamp(0, p.height as i32 - 1) as usize;
        i32::from(p.row(y)[x])
    };
    let (x, y) = (x + i32::from(v.x >> 2), y + i32::from(v.y >> 2));
    let clip = |v: i32| v.clamp(0, i32::from(max));
    const TAPS: [i32; 6] = [1, -5, 20, 20, -5, 1];
    let across = |x: i32, y: i32| -> i32 {
        (-2..4)
            .map(|k: i32| TAPS[(k + 2) as usize] * at(x + k, y))
            .sum()
    };
    let b = |x, y| clip((across(x, y) + 16) >> 5);
    let h = |x: i32, y: i32| {
        clip(
            ((-2..4)
                .map(|k: i32| TAPS[(k + 2) as usize] * at(x, y + k))
                .sum::<i32>()
                + 16)
                >> 5,
        )
    };
    let j = |x: i32, y: i32| {
        clip(
            ((-2..4)
                .map(|k: i32| TAPS[(k + 2) as usize] * across(x, y + k))
                .sum::<i32>()
                + 512)
                >> 10,
        )
    };
    let g = at;
    let mean = |a: i32, b: i32| (a + b + 1) >> 1;
    let out = match (v.x & 3, v.y & 3) {
        (0, 0) => g(x, y),
        (1, 0) => mean(g(x, y), b(x, y)),
        (2, 0) => b(x, y),
        (3, 0) => mean(b(x, y), g(x + 1, y)),
        (0, 1) => mean(g(x, y), h(x, y)),
        (0, 2) => h(x, y),
        (0, 3) => mean(h(x, y), g(x, y + 1)),
        (1, 1) => mean(b(x, y), h(x, y)),
        (3, 1) => mean(b(x, y), h(x + 1, y)),
        (1, 3) => mean(h(x, y), b(x, y + 1)),
        (3, 3) => mean(h(x + 1, y), b(x, y + 1)),
        (2, 1) => mean(b(x, y), j(x, y)),
        (2, 3) => mean(j(x, y), b(x, y + 1)),
        (1, 2) => mean(h(x, y), j(x, y)),
        (3, 2) => mean(j(x, y), h(x + 1, y)),
        _ => j(x, y),
    };
    out as u16
}

#[test]
fn luma_is_what_the_formulas_say_everywhere() {
    for max in [255, 1023] {
        let plane = noise(37, 29, max, 1);
        let padded = PaddedPlane::new(&plane);
        for kernels in [Kernels::plain(), Kernels::best()] {
            for size in [8, 16] {
                for fraction in 0..16i16 {
                    for (px, py) in [(0, 0), (16, 16), (32, 16)] {
                        for whole in [(0, 0), (-40, -200), (300, 3), (-3, 90)] {
                            let v = Vector {
                                x: 4 * whole.0 + (fraction & 3),
                                y: 4 * whole.1 + (fraction >> 2),
                            };
                            let mut out = [0; 256];
                            compensate_block(
                                &kernels,
                                &padded,
                                (px, py),
                                size,
                                v,
                                (0, 0),
                                max,
                                &mut out,
                            );
                            for i in 0..size * size {
                                let (x, y) = ((i % size + px) as i32, (i / size + py) as i32);
                                let expected = slow_luma(&plane, x, y, v, max);
                                assert_eq!(
                                    out[i / size * 16 + i % size],
                                    expected,
                                    "{v:?} at {x},{y}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn chroma_is_bilinear() {
    let plane = noise(23, 19, 1023, 2);
    let padded = PaddedPlane::new(&plane);
    let at =
        |x: i32, y: i32| u32::from(plane.row(y.clamp(0, 18) as usize)[x.clamp(0, 22) as usize]);
    for kernels in [Kernels::plain(), Kernels::best()] {
        for shifts in [(1, 1), (1, 0)] {
            for v in [(0, 0), (1, 2), (-5, 7), (13, -30), (63, 61)].map(|(x, y)| Vector { x, y }) {
                let mut out = [0; 256];
                let size =
                    compensate_block(&kernels, &padded, (16, 16), 16, v, shifts, 1023, &mut out);
                assert_eq!(size, (8, 16 >> shifts.1));
                let (ux, uy) = (i32::from(v.x), i32::from(v.y) << (1 - shifts.1));
                for i in 0..size.0 * size.1 {
                    let x = 8 + (i % size.0) as i32 + (ux >> 3);
                    let y = (16 >> shifts.1) + (i / size.0) as i32 + (uy >> 3);
                    let (fx, fy) = ((ux & 7) as u32, (uy & 7) as u32);
                    let sum = (8 - fx) * (8 - fy) * at(x, y)
                        + fx * (8 - fy) * at(x + 1, y)
                        + (8 - fx) * fy * at(x, y + 1)
                        + fx * fy * at(x + 1, y + 1);
                    let found = out[i / size.0 * 16 + i % size.0];
                    assert_eq!(u32::from(found), (sum + 32) >> 6, "{v:?} {shifts:?} {i}");
                }
            }
        }
    }
}

#[test]
fn halves_cost_what_compensation_gives() {
    for max in [255, 1023] {
        let padded = PaddedPlane::new(&noise(40, 33, max, 3));
        let wanted: [u16; 256] = noise(16, 16, max, 4).samples.try_into().unwrap();
        for kernels in [Kernels::plain(), Kernels::best()] {
            let halves = Halves::new(&kernels, &padded, max);
            let mut rng = fastrand::Rng::with_seed(5);
            for _ in 0..500 {
                let v = Vector {
                    x: rng.i16(-300..300),
                    y: rng.i16(-300..300),
                };
                for size in [8, 16] {
                    let mut out = [0; 256];
                    compensate_block(&kernels, &padded, (16, 16), size, v, (0, 0), max, &mut out);
                    let rows = (0..size * size).map(|i| i / size * 16 + i % size);
                    let sum: u32 = rows.map(|i| u32::from(out[i].abs_diff(wanted[i]))).sum();
                    assert_eq!(
                        halves.sad(&kernels, &wanted, (16, 16), size, v),
                        sum,
                        "{v:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn fields_come_back() {
    let tables = TableSet::laplace();
    let mut rng = fastrand::Rng::with_seed(6);
    for (width, height) in [(16, 16), (17, 64), (200, 33), (1, 1)] {
        let mut field = Field::still(width, height);
        for by in 0..field.rows {
            for bx in 0..field.columns {
                let mut v = || Vector {
                    x: rng.i16(-4095..=4095),
                    y: rng.i16(-9..9),
                };
                let four = [v(), v(), v(), v()];
                match rng.u8(0..4) {
                    0 => {
                        let p = field.predict(2 * bx, 2 * by, 2);
                        field.set(bx, by, BlockMode::Skip, [p; 4]);
                    }
                    1 => field.set(bx, by, BlockMode::Inter, [four[0]; 4]),
                    2 => field.set(bx, by, BlockMode::Split, four),
                    _ => field.set(bx, by, BlockMode::Intra, [Vector::default(); 4]),
                }
            }
        }
        let mut encoder = Encoder::new();
        field.write(&mut encoder, tables);
        let bytes = encoder.finish(tables).unwrap();
        let mut decoder = Decoder::new(&bytes).unwrap();
        assert_eq!(
            Field::read(&mut decoder, tables, width, height).unwrap(),
            field
        );
        decoder.finish().unwrap();
    }
}

#[test]
fn vectors_are_the_median_of_their_neighbours() {
    let mut field = Field::still(48, 32);
    let v = |x, y| Vector { x, y };
    field.set(0, 0, BlockMode::Inter, [v(4, 40); 4]);
    field.set(1, 0, BlockMode::Inter, [v(8, -8); 4]);
    field.set(2, 0, BlockMode::Inter, [v(-3, 7); 4]);
    field.set(0, 1, BlockMode::Inter, [v(100, 100); 4]);
    // Left (100, 100), above (8, -8), above right (-3, 7).
    assert_eq!(field.predict(2, 2, 2), v(8, 7));
    // Nothing above right: above left (8, -8) beside above (-3, 7) and left, which is zero.
    assert_eq!(field.predict(4, 2, 2), v(0, 0));
    assert_eq!(field.predict(0, 0, 2), v(0, 0));
}

#[test]
fn search_finds_motion_and_is_deterministic() {
    let wanted = scene(96, 80, 10, 6);
    for (dx, dy) in [(0i16, 0i16), (5, -3), (10, 6)] {
        let from = scene(96, 80, (10 - dx) as usize, (6 - dy) as usize);
        let reference = reference(from, 10);
        let expected = Vector {
            x: 4 * dx,
            y: 4 * dy,
        };
        let mut found = Vec::new();
        for kernels in [Kernels::plain(), Kernels::best()] {
            let halves = Halves::new(&kernels, &reference.planes[0], 1023);
            let config = SearchConfig::default();
            let field = search(&kernels, &wanted, &halves, 16, 48, &config, None);
            let hits = field.vectors.iter().filter(|&&v| v == expected).count();
            assert!(hits * 2 > field.vectors.len(), "{expected:?}: {hits} hits");
            found.push(field);
        }
        assert_eq!(found[0], found[1]);
    }
}

#[test]
fn search_stays_within_what_can_be_coded() {
    // The best vector is (4096, 0), one quarter too far.
    let from = noise(1200, 16, 255, 9);
    let samples = (0..1200 * 16)
        .map(|i| from.row(i / 1200)[(i % 1200 + 1024).min(1199)])
        .collect();
    let plane = Plane {
        width: 1200,
        height: 16,
        samples,
    };
    let reference = reference(from, 8);
    let kernels = Kernels::best();
    let halves = Halves::new(&kernels, &reference.planes[0], 255);
    let mut hint = Field::still(1200, 16);
    hint.vectors.fill(Vector {
        x: MAX_VECTOR,
        y: 0,
    });
    let config = SearchConfig::default();
    let field = search(&kernels, &plane, &halves, 0, 16, &config, Some(&hint));
    assert_eq!(field.vectors.iter().map(|v| v.x).max(), Some(MAX_VECTOR));
    let mut encoder = Encoder::new();
    field.write(&mut encoder, TableSet::laplace());
    let bytes = encoder.finish(TableSet::laplace()).unwrap();
    let mut decoder = Decoder::new(&bytes).unwrap();
    assert_eq!(
        Field::read(&mut decoder, TableSet::laplace(), 1200, 16).unwrap(),
        field
    );
}
