use super::{
    analyse::{Values, products, products_any},
    model::{COPY, LEVELS, Model, OFFSETS},
    scan::{Geometry, Residuals, scan, scan_any},
    sheet::{LEFT, Sheet},
    solve::{Products, classify},
    taps::{Sources, Taps},
};
use crate::rans::{Decoder, Encoder, ReadSymbols, TableSet};

/// Residuals from a generator that does not depend on the samples.
struct Noise(fastrand::Rng, Vec<usize>);

impl Residuals for Noise {
    fn next(&mut self, _: usize, _: usize, slot: usize, _: bool, _: i32) -> i32 {
        self.1.push(slot);
        self.0.i32(-20..20)
    }
}

fn filled(width: usize, height: usize, max: i16, rng: &mut fastrand::Rng) -> Sheet {
    let mut sheet = Sheet::new(width, height, 0);
    for y in 0..height {
        for v in &mut sheet.row_mut(y as isize)[LEFT..LEFT + width] {
            *v = rng.i16(0..=max);
        }
    }
    sheet.close();
    sheet
}

#[test]
fn the_scan_is_the_same_plain_and_wide() {
    let mut rng = fastrand::Rng::with_seed(1);
    for (width, height, block, max) in [
        (50, 20, (16, 16), 255),
        (33, 35, (8, 8), 1023),
        (7, 16, (8, 16), 255),
    ] {
        for references in 0..2 {
            let g = Geometry {
                width,
                height,
                block,
                max,
                step: 1,
                grey: 128,
            };
            let taps = Taps::new(1, references, false);
            let mut weight = || (0..taps.sent()).map(|_| rng.i32(-300..300)).collect();
            let weights = vec![weight(), weight()];
            let classes = if references == 0 {
                vec![0, 1]
            } else {
                vec![0, 1, COPY]
            };
            let map = (0..g.columns() * g.rows())
                .map(|i| classes[i % classes.len()])
                .collect();
            let model = Model {
                columns: g.columns(),
                map,
                weights,
            };
            let sheets: Vec<Sheet> = (0..references)
                .map(|_| filled(width, height, max as i16, &mut rng))
                .collect();
            let asides = [filled(width, height, 40, &mut rng)];
            let sources = Sources {
                references: &sheets,
                asides: &asides,
            };
            let run = |wide: bool| {
                let mut current = Sheet::new(width, height, g.grey);
                let mut errors = Sheet::new(width, height, 0);
                let mut noise = Noise(fastrand::Rng::with_seed(9), Vec::new());
                let scan = if wide { scan } else { scan_any };
                scan(
                    &g,
                    &taps,
                    &model,
                    sources,
                    &mut current,
                    &mut errors,
                    &mut noise,
                );
                let rows: Vec<Vec<i16>> =
                    (0..height).map(|y| current.samples(y).to_vec()).collect();
                (rows, noise.1)
            };
            let (plain, wide) = (run(false), run(true));
            assert!(plain == wide, "{width}x{height}");
            let slots = plain.1;
            assert!(
                slots.iter().any(|s| s % OFFSETS == 3)
                    && slots.iter().all(|s| *s < LEVELS * OFFSETS)
            );
        }
    }
}

#[test]
fn weights_add_up_to_one() {
    for (p, references) in [(0, 0), (0, 1), (1, 1), (2, 0), (0, 2)] {
        let taps = Taps::new(p, references, false);
        let sent: Vec<i32> = (0..taps.sent() as i32).map(|i| 7 * i - 40).collect();
        let all = taps.weights(&sent);
        let sum: i32 = all[..taps.samples].iter().map(|&w| i32::from(w)).sum();
        assert_eq!(sum, 256, "plane {p}, {references} references");
    }
}

#[test]
fn models_come_back() {
    let tables = TableSet::laplace();
    let taps = Taps::new(1, 1, false);
    let mut rng = fastrand::Rng::with_seed(2);
    for classes in [1, 2, 32] {
        let weights: Vec<Vec<i32>> = (0..classes)
            .map(|_| (0..taps.sent()).map(|_| rng.i32(-1024..=1024)).collect())
            .collect();
        let mut class = || {
            if rng.u8(0..5) == 0 {
                COPY
            } else {
                rng.u8(0..classes as u8)
            }
        };
        let map = (0..35).map(|_| class()).collect();
        let model = Model {
            columns: 7,
            map,
            weights,
        };
        let mut encoder = Encoder::new();
        model.write(&mut encoder, tables);
        let bytes = encoder.finish(tables).unwrap();
        let mut decoder = Decoder::new(&bytes).unwrap();
        assert_eq!(
            Model::read(&mut decoder, tables, &taps, 7, 5).unwrap(),
            model
        );
        decoder.finish().unwrap();
    }
}

#[test]
fn two_kinds_of_blocks_get_two_classes_with_their_weights() {
    // Values a and b at random; the sample is a in some blocks and b in the others.
    let mut rng = fastrand::Rng::with_seed(3);
    let blocks: Vec<Products> = (0..64)
        .map(|block| {
            let mut sums = [0f32; 6];
            for _ in 0..256 {
                let (a, b) = (rng.i32(-20..20) as f32, rng.i32(-20..20) as f32);
                let t = if block % 2 == 0 { a } else { b };
                for (sum, v) in sums
                    .iter_mut()
                    .zip([a * a, a * b, a * t, b * b, b * t, t * t])
                {
                    *sum += v;
                }
            }
            Products {
                n: 3,
                count: 256.0,
                sums: sums.to_vec(),
            }
        })
        .collect();
    let (map, weights) = classify(&blocks, 4, 6);
    for (block, &class) in map.iter().enumerate() {
        let w = &weights[usize::from(class)];
        let expected = if block % 2 == 0 {
            [1.0, 0.0]
        } else {
            [0.0, 1.0]
        };
        let off = w
            .iter()
            .zip(expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(off < 0.05, "block {block}: {w:?}");
    }
}

#[test]
fn products_are_the_same_plain_and_wide() {
    let mut rng = fastrand::Rng::with_seed(6);
    let mut values: Box<Values> = Box::new([[0; 256]; super::taps::MAX_TAPS + 1]);
    // The greatest magnitude that occurs, so that sums would overflow if they could.
    for v in values.iter_mut().flatten() {
        *v = if rng.bool() {
            2046
        } else {
            rng.i16(-2046..=2046)
        };
    }
    values[0].fill(2046);
    for (n, padded) in [(9, 64), (20, 256), (33, 256)] {
        let mut plain = vec![0.0; n * (n + 1) / 2];
        let mut wide = plain.clone();
        products_any(&values, n, padded, &mut plain);
        products(&values, n, padded, &mut wide);
        assert!(plain == wide, "{n} values");
        assert_eq!(plain[0], 2046.0 * 2046.0 * padded as f32);
    }
}
