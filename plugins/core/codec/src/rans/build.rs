//! Frequency tables made by integer arithmetic alone, so that anybody gets the same bytes.

use super::{PRECISION, TOTAL};

/// 1.0 of the weights.
const ONE: u64 = 1 << 62;
/// Signed values of a table reach from -127 to 127: a symbol is a byte, one is the escape.
const MAX_RADIUS: i64 = 127;

fn mul(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 62) as u64
}

/// Frequencies of a Laplace distribution around `offset / 16` (0 to 8), integrated over each
/// integer's bin by the midpoint rule with 16 steps a bin. `step_q62` is `exp(-1 / (16 b))` times
/// 2^62 for a mean magnitude b.
///
/// The order is that of all tables of signed values: escape, 0, -1, 1, -2, 2 ...
pub fn laplace(step_q62: u64, offset: u32) -> Vec<u16> {
    // Sums of the densities of the first n steps from the centre; both sides are alike.
    let mut sums = vec![0u128];
    let (mut density, mut sum) = (ONE, 0u128);
    while density > 0 && sums.len() < 1 << 16 {
        sum += u128::from(density);
        sums.push(sum);
        density = mul(density, step_q62);
    }
    let beyond = |n: i64| sums.get(n.max(0) as usize).copied().unwrap_or(sum);
    let half = |n: i64| {
        if n >= 0 {
            sum + beyond(n)
        } else {
            sum - beyond(-n)
        }
    };
    // Weight of everything below the edge at n sixteenths is half(n).
    let weight = |v: i64| {
        let low = 16 * v - 8 - i64::from(offset.min(8));
        half(low + 16) - half(low)
    };
    from_weights(weight)
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
    let weights = &weights;
    from_weights(|v| {
        weights
            .get(v.unsigned_abs() as usize)
            .map_or(0, |&w| u128::from(w))
    })
}

/// Frequencies that add up to [`TOTAL`] for weights of whole numbers: values too rare for a
/// frequency of their own share the escape.
fn from_weights(weight: impl Fn(i64) -> u128) -> Vec<u16> {
    // What is farther out than this weighs nothing in any shipped table.
    let total = (-(1 << 11)..=1 << 11).map(&weight).sum::<u128>().max(1);
    // A value has its place while it would have half a unit of frequency.
    let has_place = |k: &i64| (weight(*k).max(weight(-*k)) << (PRECISION + 1)) >= total;
    let radius = (1..=MAX_RADIUS).rev().find(has_place).unwrap_or(1);
    let mut symbols = vec![0, weight(0)];
    for k in 1..=radius {
        symbols.extend([weight(-k), weight(k)]);
    }
    symbols[0] = total - symbols.iter().sum::<u128>();
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
