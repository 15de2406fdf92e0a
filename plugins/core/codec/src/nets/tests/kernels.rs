//! SIMD against plain, and plain against numbers worked out by hand.

use super::super::{
    Kernels, LEVELS, LIMIT, PIXELS,
    conformance::Xorshift,
    dense::{self, Dense, Parts, Run},
    depthwise::Depthwise,
};

/// What activations and weights are drawn from.
#[derive(Clone, Copy)]
enum Values {
    Random,
    Extreme,
}

impl Values {
    fn activation(self, random: &mut Xorshift) -> i16 {
        match self {
            Self::Random => random.around(2047) as i16,
            Self::Extreme => [LIMIT, -LIMIT][random.below(2) as usize],
        }
    }

    fn weight(self, random: &mut Xorshift, most: u64) -> i16 {
        match self {
            Self::Random => random.around(most) as i16,
            Self::Extreme => [most as i16, -(most as i16)][random.below(2) as usize],
        }
    }
}

fn others() -> Vec<Kernels> {
    Kernels::all().split_off(1)
}

fn layer(random: &mut Xorshift, values: Values, inputs: [usize; 2], out: usize) -> Dense {
    let n = inputs[0] + inputs[1];
    let most = (8000 / n as u64).min(8191);
    let levels = [1, LEVELS][random.below(2) as usize];
    let groups = [1, 4][random.below(2) as usize];
    Dense::new(Parts {
        name: "test",
        inputs,
        outputs: groups * out,
        groups,
        weights: (0..n * groups * out)
            .map(|_| values.weight(random, most))
            .collect(),
        bias: (0..levels * groups * out)
            .map(|_| random.around(300_000) as i32)
            .collect(),
        shift: 1 + random.below(15) as u8,
        relu: random.below(2) == 0,
    })
    .unwrap()
}

#[test]
fn dense_layers_are_the_same() {
    let mut random = Xorshift(Xorshift::START);
    let sizes = [1, 2, 3, 15, 16, 17, 32, 33, 48, 64, 70, 96];
    for round in 0..400 {
        let values = [Values::Random, Values::Extreme][round % 2];
        let mut pick = || sizes[random.below(12) as usize];
        let (a, b, out) = (pick(), pick() * (round / 2 % 2), pick());
        let layer = layer(&mut random, values, [a, b], out);
        let positions = random.below(20) as usize;
        let groups = layer.weights.len() / ((a + b) * out);
        let levels = layer.bias.len() / (groups * layer.panels() * dense::PANEL);
        let run = Run {
            group: random.below(groups as u64) as usize,
            level: random.below(levels as u64) as usize,
            positions,
            stride: out + random.below(4) as usize,
        };
        let mut input = |n: usize| -> Vec<i16> {
            (0..positions * n)
                .map(|_| values.activation(&mut random))
                .collect()
        };
        let (xa, xb) = (input(a), input(b));
        let x = [&xa[..], &xb[..]];
        let len = positions * run.stride;
        let (mut want, mut want_sums) = (vec![7i16; len], vec![7i32; len]);
        dense::plain(&layer, run, x, &mut want);
        dense::plain_sums(&layer, run, x, &mut want_sums);
        for k in others() {
            let (mut got, mut sums) = (vec![7i16; len], vec![7i32; len]);
            (k.dense)(&layer, run, x, &mut got);
            (k.dense_sums)(&layer, run, x, &mut sums);
            let what = format!("{}: {a} + {b} to {out}, {run:?}", k.name);
            assert_eq!(got, want, "{what}");
            assert_eq!(sums, want_sums, "{what}");
        }
    }
}

#[test]
fn a_dense_layer_by_hand() {
    let layer = Dense::new(Parts {
        name: "test",
        inputs: [2, 1],
        outputs: 2,
        groups: 1,
        weights: vec![3, -2, 5, 1000, 0, 0],
        bias: vec![2, 0],
        shift: 2,
        relu: false,
    })
    .unwrap();
    let run = Run {
        group: 0,
        level: 0,
        positions: 2,
        stride: 2,
    };
    let x: [&[i16]; 2] = [&[10, 20, -30, 4], &[1, -7]];
    for k in Kernels::all() {
        let mut out = [0; 4];
        (k.dense)(&layer, run, x, &mut out);
        // 2 + 30 - 40 + 5 = -3, and -3 >> 2 = -1; 2 - 90 - 8 - 35 = -131.
        assert_eq!(out, [-1, 2047, -33, -2047], "{}", k.name);
        let mut out = [0; 4];
        (k.dense_sums)(&layer, run, x, &mut out);
        assert_eq!(out, [-3, 10_000, -131, -30_000], "{}", k.name);
    }
}

#[test]
fn depthwise_layers_are_the_same() {
    let mut random = Xorshift(Xorshift::START);
    for round in 0..200 {
        let values = [Values::Random, Values::Extreme][round % 2];
        let channels = [1, 3, 15, 16, 17, 32, 48, 63, 64][random.below(9) as usize];
        let weights = (0..9 * channels).map(|_| values.weight(&mut random, 880));
        let weights = weights.collect();
        let bias = (0..channels).map(|_| random.around(300_000) as i32);
        let bias = bias.collect();
        let shift = 1 + random.below(15) as u8;
        let layer = Depthwise::new("test", weights, bias, shift).unwrap();
        let n = random.below(20) as usize;
        let rows: [Vec<i16>; 3] = std::array::from_fn(|_| {
            (0..(n + 2) * channels)
                .map(|_| values.activation(&mut random))
                .collect()
        });
        let rows = rows.each_ref().map(Vec::as_slice);
        let mut want = vec![0; n * channels];
        super::super::depthwise::plain(&layer, rows, &mut want);
        for k in others() {
            let mut got = vec![0; n * channels];
            (k.depthwise)(&layer, rows, &mut got);
            assert_eq!(got, want, "{}: {n} positions of {channels}", k.name);
        }
    }
}

#[test]
fn functions_of_single_values_are_the_same() {
    let mut random = Xorshift(Xorshift::START);
    let plain = Kernels::plain();
    for round in 0..50 {
        let values = [Values::Random, Values::Extreme][round % 2];
        let (n, channels) = (random.below(5) as usize, 1 + random.below(40) as usize);
        let mut words =
            |n: usize| -> Vec<i16> { (0..n).map(|_| values.activation(&mut random)).collect() };
        let (a, b) = (words(n * channels), words(n * channels));
        let shifts = words(channels);
        let q: Vec<i16> = a.iter().map(|&v| v.saturating_mul(17)).collect();
        let steps: Vec<i32> = (0..channels)
            .map(|_| 1 + random.below((1 << 16) - 1) as i32)
            .collect();
        let inverse: Vec<i32> = (0..channels)
            .map(|_| random.below((1 << 19) + 1) as i32)
            .collect();
        let run = |k: &Kernels| {
            let mut out = vec![vec![0; a.len()]; 5];
            let mut index = vec![0; a.len()];
            (k.add)(&mut out[0], &a, &b);
            (k.difference)(&mut out[1], &a, &b);
            (k.dequantise)(&mut out[2], &q, &steps);
            (k.means)(&mut out[3], &a, &inverse);
            (k.indices)(&mut index, &a, &shifts);
            out[4].copy_from_slice(&a);
            (k.samples)(&mut out[4], &b, &b);
            out.push(a.clone());
            (k.samples)(&mut out[5], &b, &[]);
            (out, index)
        };
        let want = run(&plain);
        for k in others() {
            assert_eq!(run(&k), want, "{}", k.name);
        }
    }
}

#[test]
fn samples_go_there_and_back() {
    let mut random = Xorshift(Xorshift::START);
    for _ in 0..100 {
        let (w, h) = (1 + random.below(40) as usize, 1 + random.below(40) as usize);
        let (wc, hc) = (w.div_ceil(2), h.div_ceil(2));
        let planes: [Vec<u16>; 3] = std::array::from_fn(|p| {
            let n = if p == 0 { w * h } else { wc * hc };
            (0..n).map(|_| random.below(256) as u16).collect()
        });
        let widths = [w, wc, wc];
        let columns = 2 * w.div_ceil(16);
        for k in Kernels::all() {
            let mut back = planes.each_ref().map(|p| vec![0; p.len()]);
            for row in 0..2 * h.div_ceil(16) {
                let mut x = vec![0; columns * PIXELS];
                (k.load)(planes.each_ref().map(Vec::as_slice), widths, row, &mut x);
                let y = (row * 8 + 3).min(h - 1);
                for c in 0..columns {
                    let sample = planes[0][y * w + (c * 8 + 5).min(w - 1)];
                    assert_eq!(x[c * PIXELS + 3 * 8 + 5], 8 * sample as i16 - 1024);
                    let y = (row * 4 + 1).min(hc - 1);
                    let sample = planes[2][y * wc + (c * 4 + 2).min(wc - 1)];
                    assert_eq!(x[c * PIXELS + 80 + 4 + 2], 8 * sample as i16 - 1024);
                }
                (k.samples)(&mut x, &vec![0; columns * PIXELS], &[]);
                let [y, u, v] = &mut back;
                let rows = [
                    y.get_mut(row * 8 * w..).unwrap_or(&mut []),
                    u.get_mut(row * 4 * wc..).unwrap_or(&mut []),
                    v.get_mut(row * 4 * wc..).unwrap_or(&mut []),
                ];
                (k.store)(&x, rows, widths);
            }
            assert_eq!(back, planes, "{} {w}x{h}", k.name);
        }
    }
}

#[test]
fn layers_whose_sums_could_overflow_are_refused() {
    let parts = |weights: Vec<i16>, bias: Vec<i32>, shift| Parts {
        name: "test",
        inputs: [2, 0],
        outputs: 1,
        groups: 1,
        weights,
        bias,
        shift,
        relu: false,
    };
    let fits = |weights, bias, shift| Dense::new(parts(weights, bias, shift)).is_ok();
    // 8196 * 2047 = 2^24 - 4.
    assert!(fits(vec![8191, -5], vec![3], 1));
    assert!(!fits(vec![8191, -5], vec![-4], 1));
    assert!(!fits(vec![8192, 0], vec![0], 1));
    assert!(!fits(vec![0, 0], vec![1 << 24], 1));
    assert!(!fits(vec![0, 0], vec![i32::MIN], 1));
    assert!(!fits(vec![1, 1], vec![0], 0));
    assert!(!fits(vec![1, 1], vec![0], 16));
    assert!(!fits(vec![1, 1, 1], vec![0], 1));
    assert!(!fits(vec![1, 1], vec![0, 0], 1));
}

#[test]
fn the_nearest_code_vector_is_the_nearest() {
    let mut random = Xorshift(Xorshift::START);
    for round in 0..400 {
        let size = [4, 4, 1, 7][round % 4];
        let n = [256, 24, 2, 1, 17, 255][round % 6];
        // Whole numbers, so that equal costs come up and sums are exact.
        let mut values = |count: usize, most: u64| -> Vec<f32> {
            (0..count).map(|_| random.around(most) as f32).collect()
        };
        let (words, offsets, x) = (values(size * n, 9), values(n, 30), values(size, 9));
        let cost = |i: usize| {
            let product = |d: usize| 2.0 * x[d] * words[d * n + i];
            offsets[i] - (0..size).map(product).sum::<f32>()
        };
        let first = (0..n).fold(0, |best, i| if cost(i) < cost(best) { i } else { best });
        for kernels in Kernels::all() {
            let found = (kernels.nearest)(&words, &offsets, &x);
            assert_eq!(found, first, "{}: {size} {n}", kernels.name());
        }
    }
}
