//! Frequency tables made by integer arithmetic alone, so that anybody gets the same bytes.

use super::{PRECISION, TOTAL};

/// 1.0 of the weights.
const ONE: u64 = 1 << 62;
/// Signed values of a table reach from -127 to 127: a symbol is a byte, one is the escape.
const MAX_RADIUS: usize = 127;

fn mul(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 62) as u64
}

/// Frequencies of a two-sided geometric distribution (a discrete Laplace distribution),
/// `p(k) ~ theta^|k|`. `theta_q62` is theta times 2^62, less than 2^62.
///
/// The order is that of all tables of signed values: escape, 0, -1, 1, -2, 2 ...
pub fn laplace(theta_q62: u64) -> Vec<u16> {
    let mut weights = Vec::new();
    let mut w = ONE;
    while w > 0 && weights.len() < 1 << 16 {
        weights.push(w >> 8);
        w = mul(w, theta_q62);
    }
    from_weights(&weights)
}

/// Frequencies of a Gaussian of zero mean integrated over each integer's bin by the midpoint rule
/// with 64 steps a bin. `step_q62` is `exp(-1 / (64 s)^2)` times 2^62 for a standard deviation s.
///
/// The order is that of [`laplace`].
pub fn gaussian(step_q62: u64) -> Vec<u16> {
    let mut weights = Vec::new();
    // Densities at (j + 1/2) / 64; from one to the next the ratio itself shrinks by `step`.
    let (mut density, mut ratio) = (ONE, step_q62);
    let mut bin = 0u64;
    for j in 0..1u32 << 20 {
        bin += density >> 16;
        density = mul(density, ratio);
        ratio = mul(ratio, step_q62);
        if j % 64 == 31 {
            // The bin of zero has two halves, and only one was summed.
            weights.push(if weights.is_empty() { 2 * bin } else { bin });
            bin = 0;
        }
        if density == 0 {
            break;
        }
    }
    weights.push(bin);
    from_weights(&weights)
}

/// Frequencies that add up to [`TOTAL`] for a symmetric distribution given by weights of the
/// magnitudes 0, 1, 2 ...: values too rare for a frequency of their own share the escape.
fn from_weights(weights: &[u64]) -> Vec<u16> {
    let sum = |w: &[u64]| w.iter().map(|&w| u128::from(w)).sum::<u128>();
    let total = (sum(weights) * 2).saturating_sub(sum(weights.get(..1).unwrap_or(&[])));
    let total = total.max(1);
    // A value has its place while it would have half a unit of frequency.
    let radius = weights
        .iter()
        .take(MAX_RADIUS + 1)
        .rposition(|&w| (u128::from(w) << (PRECISION + 1)) >= total)
        .unwrap_or(0)
        .max(1);
    let at = |k: usize| u128::from(weights.get(k).copied().unwrap_or(0));
    let tail = 2 * sum(weights.get(radius + 1..).unwrap_or(&[]));
    let mut symbols = vec![tail, at(0)];
    for k in 1..=radius {
        symbols.extend([at(k), at(k)]);
    }
    normalise(&symbols)
}

/// Shares [`TOTAL`] among the symbols by largest remainder (ties: the first), each at least 1.
fn normalise(symbols: &[u128]) -> Vec<u16> {
    let total = symbols.iter().sum::<u128>().max(1);
    let spare = u128::from(TOTAL) - symbols.len() as u128;
    // One unit for each, the rest by weight.
    let mut freqs: Vec<u128> = symbols.iter().map(|w| 1 + w * spare / total).collect();
    let mut order: Vec<usize> = (0..symbols.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(symbols[i] * spare % total), i));
    let rest = u128::from(TOTAL) - freqs.iter().sum::<u128>();
    for &i in order.iter().take(rest as usize) {
        freqs[i] += 1;
    }
    freqs.iter().map(|&f| f as u16).collect()
}
