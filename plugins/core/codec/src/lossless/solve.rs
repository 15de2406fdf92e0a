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
const FLOOR: f32 = 0.05;

fn packed(n: usize) -> usize {
    n * (n + 1) / 2
}

/// Sum of products, in eight lanes whose order is fixed.
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

/// Sorts blocks into at most `classes` classes; the class of each block, and the weights of each
/// class.
pub(crate) fn classify(blocks: &[Products], classes: usize, rounds: usize) -> (Vec<u8>, Vec<Vec<f32>>) {
    let Some(first) = blocks.first() else { return (Vec::new(), Vec::new()) };
    let n = first.n;
    let variance = |b: &Products, form: &[f32]| (dot(&b.sums, form) / b.count).max(0.0) + FLOOR;
    let mut weights = vec![least_squares(n, blocks.iter().map(|b| (b, 1.0)))];
    let mut spread: Vec<f32> = vec![1.0; blocks.len()];
    // Again, with blocks that are easy to predict counting as much as those that are not.
    for _ in 0..2 {
        let f = form(&weights[0]);
        spread = blocks.iter().map(|b| variance(b, &f)).collect();
        weights[0] = least_squares(n, blocks.iter().zip(spread.iter().map(|v| 1.0 / v)));
    }
    let mut map = vec![0u8; blocks.len()];
    if classes < 2 {
        return (map, weights);
    }
    // At first by how well the common weights predict.
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by(|&a, &b| spread[a].total_cmp(&spread[b]).then(a.cmp(&b)));
    for (rank, &b) in order.iter().enumerate() {
        map[b] = (rank * classes / blocks.len()) as u8;
    }
    for _ in 0..rounds {
        weights.clear();
        for c in 0..classes as u8 {
            let mine = || (0..blocks.len()).filter(move |_| true);
            let members = mine().filter(|&b| map[b] == c).map(|b| (&blocks[b], 1.0 / spread[b]));
            if map.contains(&c) {
                weights.push(least_squares(n, members));
            }
        }
        let forms: Vec<Vec<f32>> = weights.iter().map(|w| form(w)).collect();
        for (b, block) in blocks.iter().enumerate() {
            let mut best = (f32::INFINITY, 0);
            for (c, f) in forms.iter().enumerate() {
                let v = variance(block, f);
                if v < best.0 {
                    best = (v, c as u8);
                }
            }
            (spread[b], map[b]) = best;
        }
    }
    // Classes that nobody is in any more go.
    let used: Vec<u8> = (0..weights.len() as u8).filter(|c| map.contains(c)).collect();
    let weights = used.iter().map(|&c| weights[usize::from(c)].clone()).collect();
    for m in &mut map {
        *m = used.iter().position(|c| c == m).unwrap_or(0) as u8;
    }
    (map, weights)
}
