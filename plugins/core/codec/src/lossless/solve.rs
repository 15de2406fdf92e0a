//! Weighted least squares and the sorting of blocks into classes. Only the encoder does this; its
//! floats never reach the decoder, and their order of summation is fixed, so that every machine
//! makes the same stream.

/// Sums of products of all pairs of values of a block, the upper triangle row by row. The last
/// value is the one to predict.
#[derive(Debug, Clone)]
pub(crate) struct Products {
    /// Values, the one to predict included.
    pub(crate) n: usize,
    /// Samples.
    pub(crate) count: f32,
    /// The sums.
    pub(crate) sums: Vec<f32>,
}

/// Variance below which a better prediction gains nothing: residuals are whole numbers.
const FLOOR: f32 = 0.1;

fn packed(n: usize) -> usize {
    n * (n + 1) / 2
}

/// Sum of products, in eight lanes whose order is fixed.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    let ((a, ra), (b, rb)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for ((l, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *l += a * b;
        }
    }
    for ((l, a), b) in lanes.iter_mut().zip(ra).zip(rb) {
        *l += a * b;
    }
    lanes.iter().sum()
}

/// The quadratic form of weights, packed as [`Products::sums`].
fn form(weights: &[f32]) -> Vec<f32> {
    let w: Vec<f32> = weights.iter().copied().chain([-1.0]).collect();
    let mut out = Vec::with_capacity(packed(w.len()));
    for (i, a) in w.iter().enumerate() {
        out.push(a * a);
        out.extend(w.iter().skip(i + 1).map(|b| 2.0 * a * b));
    }
    out
}

/// Weights that minimise the weighted squared error of the blocks.
fn least_squares<'a>(n: usize, blocks: impl Iterator<Item = (&'a Products, f32)>) -> Vec<f32> {
    let mut sums = vec![0f64; packed(n)];
    for (b, w) in blocks {
        for (s, v) in sums.iter_mut().zip(&b.sums) {
            *s += f64::from(w) * f64::from(*v);
        }
    }
    let m = n - 1;
    let at = |i: usize, j: usize| {
        let (i, j) = (i.min(j), i.max(j));
        sums[i * n - i * i.saturating_sub(1) / 2 + j - i]
    };
    let trace: f64 = (0..m).map(|i| at(i, i)).sum();
    let ridge = 1e-3 * trace / m.max(1) as f64 + 1e-9;
    // Cholesky.
    let mut l = vec![0f64; m * m];
    let mut x = vec![0f64; m];
    for i in 0..m {
        for j in 0..=i {
            let s: f64 = (0..j).map(|k| l[i * m + k] * l[j * m + k]).sum();
            l[i * m + j] = if i == j {
                (at(i, i) + ridge - s).max(1e-12).sqrt()
            } else {
                (at(i, j) - s) / l[j * m + j]
            };
        }
        let s: f64 = (0..i).map(|k| l[i * m + k] * x[k]).sum();
        x[i] = (at(i, m) - s) / l[i * m + i];
    }
    for i in (0..m).rev() {
        let s: f64 = (i + 1..m).map(|k| l[k * m + i] * x[k]).sum();
        x[i] = (x[i] - s) / l[i * m + i];
    }
    x.iter().map(|&v| v as f32).collect()
}

/// About log2 of a positive number: the exponent, and the mantissa for the rest. The same on every
/// machine, which the mathematical library's is not.
fn log2(v: f32) -> f32 {
    v.to_bits() as f32 / (1 << 23) as f32 - 127.0
}

/// Bits that a weight costs, about.
const WEIGHT_BITS: f32 = 20.0;
/// Bits that a block costs whose class is not that of the block before it.
const CHANGE_BITS: f32 = 4.0;

/// The state of sorting blocks into classes.
struct Classes<'a> {
    blocks: &'a [Products],
    /// The class of each block.
    map: Vec<u8>,
    /// The variance of each block's residuals.
    spread: Vec<f32>,
    weights: Vec<Vec<f32>>,
    /// Bits of each block in each class.
    bits: Vec<f32>,
}

impl Classes<'_> {
    /// Weights of each class from its blocks; classes without blocks go.
    fn solve(&mut self) {
        let n = self.blocks.first().map_or(0, |b| b.n);
        let classes = self.map.iter().max().map_or(0, |m| m + 1);
        let used: Vec<u8> = (0..classes).filter(|c| self.map.contains(c)).collect();
        for m in &mut self.map {
            *m = used.iter().position(|c| c == m).unwrap_or(0) as u8;
        }
        let members = |c: u8| {
            let all = self.blocks.iter().zip(&self.map).zip(&self.spread);
            all.filter(move |((_, m), _)| **m == c)
                .map(|((b, _), v)| (b, 1.0 / v))
        };
        self.weights = (0..used.len() as u8)
            .map(|c| least_squares(n, members(c)))
            .collect();
    }

    /// The best class of each block. On x86-64 with AVX2 the plain form compiled for it; no order
    /// of summation changes.
    fn assign(&mut self) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2")]
            fn wide(classes: &mut Classes<'_>) {
                classes.assign_any();
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: AVX2 was detected.
                unsafe { wide(self) };
                return;
            }
        }
        self.assign_any();
    }

    #[inline(always)]
    fn assign_any(&mut self) {
        let forms: Vec<Vec<f32>> = self.weights.iter().map(|w| form(w)).collect();
        let classes = forms.len();
        self.bits.clear();
        let mut before = 0;
        for (b, block) in self.blocks.iter().enumerate() {
            let mut best = (f32::INFINITY, 0, 1.0);
            for (c, f) in forms.iter().enumerate() {
                let v = (dot(&block.sums, f) / block.count).max(0.0) + FLOOR;
                let bits = 0.5 * block.count * log2(v);
                self.bits.push(bits);
                let change = if c == before { 0.0 } else { CHANGE_BITS };
                if bits + change < best.0 {
                    best = (bits + change, c, v);
                }
            }
            before = best.1;
            (self.map[b], self.spread[b]) = (best.1 as u8, best.2);
        }
        debug_assert_eq!(self.bits.len(), classes * self.blocks.len());
    }

    /// Gives up classes that cost more than they save.
    fn prune(&mut self) {
        let classes = self.weights.len();
        let mut alive = vec![true; classes];
        let price = WEIGHT_BITS * self.weights.first().map_or(0, Vec::len) as f32;
        loop {
            // The best class of each block but the one it has.
            let table = &self.bits;
            let second = |b: usize, own: u8, alive: &[bool]| {
                let own = usize::from(own);
                let others = (0..classes).filter(|&c| c != own && alive[c]);
                let bits = |c: usize| table[b * classes + c];
                others
                    .min_by(|&x, &y| bits(x).total_cmp(&bits(y)))
                    .map(|c| (bits(c), c))
            };
            let mut loss = vec![0f32; classes];
            for b in 0..self.blocks.len() {
                let own = usize::from(self.map[b]);
                let (bits, _) = second(b, self.map[b], &alive).unwrap_or((f32::INFINITY, 0));
                loss[own] += (bits - table[b * classes + own]).max(0.0);
            }
            let candidates = (0..classes).filter(|&c| alive[c]);
            let worst = candidates.min_by(|&x, &y| loss[x].total_cmp(&loss[y]));
            let Some(worst) = worst.filter(|&c| loss[c] < price) else {
                break;
            };
            alive[worst] = false;
            for b in 0..self.blocks.len() {
                if usize::from(self.map[b]) == worst {
                    self.map[b] = second(b, self.map[b], &alive).map_or(0, |(_, c)| c as u8);
                }
            }
        }
    }
}

/// Sorts blocks into at most `classes` classes; the class of each block, and the weights of each
/// class.
pub(crate) fn classify(
    blocks: &[Products],
    classes: usize,
    rounds: usize,
) -> (Vec<u8>, Vec<Vec<f32>>) {
    let (map, spread) = (vec![0; blocks.len()], vec![1.0; blocks.len()]);
    let mut state = Classes {
        blocks,
        map,
        spread,
        weights: Vec::new(),
        bits: Vec::new(),
    };
    if blocks.is_empty() {
        return (state.map, state.weights);
    }
    // The second time, blocks that are easy to predict count as much as those that are not.
    for _ in 0..2 {
        state.solve();
        state.assign();
    }
    if classes > 1 {
        // At first by how well the common weights predict.
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        let spread = &state.spread;
        order.sort_by(|&a, &b| spread[a].total_cmp(&spread[b]).then(a.cmp(&b)));
        for (rank, &b) in order.iter().enumerate() {
            state.map[b] = (rank * classes / blocks.len()) as u8;
        }
        for _ in 0..rounds {
            state.solve();
            state.assign();
        }
        state.prune();
    }
    state.solve();
    (state.map, state.weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_assigned_the_same_plain_and_wide() {
        let mut rng = fastrand::Rng::with_seed(4);
        let n = 9;
        let mut product = || {
            // Products of real values, so that the form is not negative.
            let mut sums = vec![0f32; packed(n)];
            for _ in 0..64 {
                let v: Vec<f32> = (0..n).map(|_| rng.i32(-50..50) as f32).collect();
                let pairs = (0..n).flat_map(|i| (i..n).map(move |j| (i, j)));
                for (sum, (i, j)) in sums.iter_mut().zip(pairs) {
                    *sum += v[i] * v[j];
                }
            }
            Products {
                n,
                count: 64.0,
                sums,
            }
        };
        let blocks: Vec<Products> = (0..40).map(|_| product()).collect();
        let weights: Vec<Vec<f32>> = (0..5)
            .map(|_| (0..n - 1).map(|_| rng.f32() - 0.5).collect())
            .collect();
        let run = |wide: bool| {
            let (map, spread) = (vec![0; blocks.len()], vec![1.0; blocks.len()]);
            let mut state = Classes {
                blocks: &blocks,
                map,
                spread,
                weights: weights.clone(),
                bits: Vec::new(),
            };
            if wide {
                state.assign()
            } else {
                state.assign_any()
            }
            (state.map, state.spread, state.bits)
        };
        let plain = run(false);
        assert!(plain == run(true));
        assert!(plain.0.iter().any(|&c| c != plain.0[0]));
    }
}
