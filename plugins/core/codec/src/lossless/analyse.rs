//! The encoder's choice of classes and weights.

use super::{
    model::{COPY, MAX_CLASSES, Model},
    scan::Geometry,
    sheet::Sheet,
    solve::{Products, classify},
    taps::{MAX_TAPS, MAX_WEIGHT, ONE, Source, Sources, Taps},
};

/// Samples of the largest block.
const BLOCK_SAMPLES: usize = 256;
/// Values of the samples of a block, one list for each tap and one for the sample itself.
pub(super) type Values = [[i16; BLOCK_SAMPLES]; MAX_TAPS + 1];

/// Chooses the model of a plane whose samples are `original` (with its margin as the scan will see
/// it).
pub(crate) fn analyse(
    g: &Geometry,
    taps: &Taps,
    original: &Sheet,
    sources: Sources<'_>,
    blocks_per_class: usize,
) -> Model {
    let (columns, rows) = (g.columns(), g.rows());
    let mut map = vec![0u8; columns * rows];
    let mut products = Vec::with_capacity(map.len());
    let mut owners = Vec::with_capacity(map.len());
    let mut values: Box<Values> = Box::new([[0; BLOCK_SAMPLES]; MAX_TAPS + 1]);
    for (i, class) in map.iter_mut().enumerate() {
        let (bx, by) = (i % columns, i / columns);
        if equals_reference(g, original, sources, bx, by) {
            *class = COPY;
            continue;
        }
        let count = gather(g, taps, original, sources, (bx, by), &mut values);
        if count > 0 {
            products.push(multiply(&values, taps.list.len(), count));
            owners.push(i);
        }
    }
    let classes = (products.len() / blocks_per_class).clamp(1, MAX_CLASSES);
    let (found, weights) = classify(&products, classes, 4);
    for (&i, &class) in owners.iter().zip(&found) {
        map[i] = class;
    }
    let round = |w: &f32| ((w * ONE as f32).round() as i32).clamp(-MAX_WEIGHT, MAX_WEIGHT);
    let mut weights: Vec<Vec<i32>> = weights
        .iter()
        .map(|w| w.iter().map(round).collect())
        .collect();
    if weights.is_empty() {
        weights.push(vec![0; taps.sent()]);
    }
    Model {
        columns,
        map,
        weights,
    }
}

fn equals_reference(
    g: &Geometry,
    original: &Sheet,
    sources: Sources<'_>,
    bx: usize,
    by: usize,
) -> bool {
    let Some(reference) = sources.references.first() else {
        return false;
    };
    let (x0, x1) = (bx * g.block.0, ((bx + 1) * g.block.0).min(g.width));
    let allowed = (g.step / 2) as u16;
    (by * g.block.1..((by + 1) * g.block.1).min(g.height)).all(|y| {
        let (a, b) = (&original.samples(y)[x0..x1], &reference.samples(y)[x0..x1]);
        a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= allowed)
    })
}

/// Collects the values of a block as differences to the base; how many samples.
fn gather(
    g: &Geometry,
    taps: &Taps,
    original: &Sheet,
    sources: Sources<'_>,
    (bx, by): (usize, usize),
    values: &mut Values,
) -> usize {
    let (x0, x1) = (bx * g.block.0, ((bx + 1) * g.block.0).min(g.width));
    let base = taps.samples - 1;
    let mut count = 0;
    // The first row of an intra slice is predicted in another way.
    let first = if sources.references.is_empty() { 1 } else { 0 };
    for y in (by * g.block.1).max(first)..((by + 1) * g.block.1).min(g.height) {
        let n = x1 - x0;
        let zero = &sources.row(original, &taps.list[base], y)[x0..x1];
        for (k, out) in values.iter_mut().enumerate().take(taps.list.len()) {
            // Lists leave the base out; the sample itself is the last.
            let tap = match (k < base, k + 1 == taps.list.len()) {
                (_, true) => None,
                (true, false) => taps.list.get(k),
                (false, false) => taps.list.get(k + 1),
            };
            let out = &mut out[count..count + n];
            match tap {
                Some(tap) if matches!(tap.source, Source::Aside(_)) => {
                    out.copy_from_slice(&sources.row(original, tap, y)[x0..x1]);
                }
                Some(tap) => {
                    let row = &sources.row(original, tap, y)[x0..x1];
                    for ((out, v), z) in out.iter_mut().zip(row).zip(zero) {
                        *out = v - z;
                    }
                }
                None => {
                    let row = &original.samples(y)[x0..x1];
                    for ((out, v), z) in out.iter_mut().zip(row).zip(zero) {
                        *out = v - z;
                    }
                }
            }
        }
        count += n;
    }
    for out in values.iter_mut().take(taps.list.len()) {
        out[count..].fill(0);
    }
    count
}

/// Sums of products of all pairs of the first `n` lists.
fn multiply(values: &Values, n: usize, count: usize) -> Products {
    let mut sums = vec![0.0; n * (n + 1) / 2];
    let padded = count.next_multiple_of(32).min(BLOCK_SAMPLES);
    products(values, n, padded, &mut sums);
    Products {
        n,
        count: count as f32,
        sums,
    }
}

/// On x86-64 with AVX2 the plain form compiled for it.
pub(super) fn products(values: &Values, n: usize, padded: usize, sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn wide(values: &Values, n: usize, padded: usize, sums: &mut [f32]) {
            products_any(values, n, padded, sums);
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: AVX2 was detected.
            unsafe { wide(values, n, padded, sums) };
            return;
        }
    }
    products_any(values, n, padded, sums);
}

#[inline(always)]
pub(super) fn products_any(values: &Values, n: usize, padded: usize, sums: &mut [f32]) {
    let mut sums = sums.iter_mut();
    for (i, a) in values.iter().enumerate().take(n) {
        let a = &a[..padded];
        for b in values.iter().take(n).skip(i) {
            if let Some(sum) = sums.next() {
                *sum = dot(a, &b[..padded]) as f32;
            }
        }
    }
}

#[inline(always)]
fn dot(a: &[i16], b: &[i16]) -> i32 {
    let mut sum = 0i32;
    for (a, b) in a.iter().zip(b) {
        // 256 products of at most 2047^2 fit.
        sum += i32::from(*a) * i32::from(*b);
    }
    sum
}
