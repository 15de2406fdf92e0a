//! Latents of a slice as symbols: which table each takes, and which integer to take.

use super::copies::Copies;
use crate::{
    CodecError, Result,
    nets::HYPER,
    rans::{Encoder, ReadSymbols, TableSet},
};

/// The greatest magnitude of a hyper-latent.
const MAX_HYPER: u32 = 127;
/// Tables of a scale, one for each offset of the mean.
const OFFSETS: u8 = 4;

/// What 1/256 bit costs in squares of 1/256 step. The networks are trained with 33 (0.13 squared steps a
/// bit) and plain rounding. On held-out parts of the training clips 6 takes 4 % fewer bits than that in
/// intra frames and 10 to 16 % fewer in inter frames, where what is lost is lost to the frames after, too.
const PRICE: i64 = 6;

/// Table, integer part of the mean and whether values are mirrored, for a latent of scale `index`
/// (1 to 47) and mean `mean` in eighths.
#[inline]
fn place(index: u8, mean: i16) -> (u8, i32, bool) {
    let base = (i32::from(mean) + 4) >> 3;
    let fraction = i32::from(mean) - 8 * base;
    let offset = fraction.unsigned_abs().min(3) as u8;
    (OFFSETS * index + offset, base, fraction < 0)
}

/// The integer nearest to a mean in eighths: the value of a latent that is not coded.
#[inline]
fn nearest(mean: i16) -> i32 {
    (i32::from(mean) + 4) >> 3
}

/// Codes hyper-latents, `[positions][HYPER]`, with the scale index of each channel.
pub(crate) fn write_hyper(
    out: &mut Encoder,
    tables: &TableSet,
    scales: &[u8; HYPER],
    copies: &Copies,
    z: &[i8],
) {
    for (at, position) in z.chunks(HYPER).enumerate() {
        if copies.hides_hyper(at) {
            continue;
        }
        for (&v, &scale) in position.iter().zip(scales) {
            out.put_signed(tables, OFFSETS * scale, v.into());
        }
    }
}

/// Decodes hyper-latents into `z`.
///
/// # Errors
/// [`CodecError::Field`] if one is out of range: the slice is damaged.
pub(crate) fn read_hyper(
    d: &mut impl ReadSymbols,
    tables: &TableSet,
    scales: &[u8; HYPER],
    copies: &Copies,
    z: &mut [i8],
) -> Result<()> {
    for (at, position) in z.chunks_mut(HYPER).enumerate() {
        if copies.hides_hyper(at) {
            position.fill(0);
            continue;
        }
        for (to, &scale) in position.iter_mut().zip(scales) {
            let v = d.get_signed(tables, tables.decode_table(OFFSETS * scale));
            if v.unsigned_abs() > MAX_HYPER {
                return Err(CodecError::Field {
                    what: "hyper-latent",
                    value: v.unsigned_abs().into(),
                });
            }
            *to = v as i8;
        }
    }
    Ok(())
}

/// Codes latents that have been chosen by [`choose`].
pub(crate) fn write(out: &mut Encoder, tables: &TableSet, index: &[u8], mean: &[i16], q: &[i16]) {
    for ((&index, &mean), &q) in index.iter().zip(mean).zip(q) {
        if index == 0 {
            continue;
        }
        let (table, base, mirrored) = place(index, mean);
        let v = i32::from(q) - base;
        out.put_signed(tables, table, if mirrored { -v } else { v });
    }
}

/// Decodes latents into `q`. What does not fit 16 bits is limited; only damage makes it so.
pub(crate) fn read(
    d: &mut impl ReadSymbols,
    tables: &TableSet,
    index: &[u8],
    mean: &[i16],
    q: &mut [i16],
) {
    for ((&index, &mean), q) in index.iter().zip(mean).zip(q) {
        if index == 0 {
            *q = nearest(mean) as i16;
            continue;
        }
        let (table, base, mirrored) = place(index, mean);
        let v = d.get_signed(tables, tables.decode_table(table));
        let v = if mirrored { v.saturating_neg() } else { v };
        *q = base.saturating_add(v).clamp(-32767, 32767) as i16;
    }
}

/// Chooses the integers of latents: of the nearest one and the next one towards the mean, the one
/// whose squared error plus the price of its bits is less.
///
/// `y` are latents in 1/64, and in 1/256 of a step after it; `steps` the steps of one position's
/// latents in 1/16. An error of a step counts the same in all latents: that is what makes their steps
/// the best ones.
pub(crate) fn choose(
    tables: &TableSet,
    (index, mean): (&[u8], &[i16]),
    y: &mut [i32],
    steps: &[i32],
    q: &mut [i16],
) {
    for position in y.chunks_mut(steps.len().max(1)) {
        for (y, &step) in position.iter_mut().zip(steps) {
            *y = in_steps(*y, step);
        }
    }
    for (((&index, &mean), &wanted), q) in index.iter().zip(mean).zip(&*y).zip(q) {
        let base = nearest(mean);
        let near = ((wanted + 128) >> 8).clamp(-32767, 32767);
        if index == 0 || near == base {
            *q = base as i16;
            continue;
        }
        let (table, _, mirrored) = place(index, mean);
        let cost = |v: i32| {
            let error = i64::from(wanted - 256 * v);
            let coded = if mirrored { base - v } else { v - base };
            error * error + PRICE * i64::from(tables.signed_cost(table, coded))
        };
        let other = near + (base - near).signum();
        *q = if cost(other) < cost(near) {
            other
        } else {
            near
        } as i16;
    }
}

/// A latent in 1/64 in 1/256 of a step that is in 1/16, limited to 2^15 steps: `64 y / step`, rounded
/// towards zero. Several at once, other than integers, are divided by one instruction; and the same
/// comes out: within the limit a quotient that is not whole is 2^-16 or more from one that is, and
/// single quotients are right to 2^-29.
#[inline]
fn in_steps(y: i32, step: i32) -> i32 {
    (f64::from(y) * 64.0 / f64::from(step.max(1))).clamp(-8_388_608.0, 8_388_608.0) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_those_of_integers() {
        let mut random = fastrand::Rng::with_seed(11);
        let check = |y: i32, step: i32| {
            let whole = (i64::from(y) * 64 / i64::from(step)).clamp(-(1 << 23), 1 << 23);
            assert_eq!(i64::from(in_steps(y, step)), whole, "{y} / {step}");
        };
        for y in [i32::MIN, i32::MAX, 0, 1, -1] {
            for step in [1, 2, 3, 65_535] {
                check(y, step);
            }
        }
        for _ in 0..1_000_000 {
            let step = random.i32(1..65_536);
            check(random.i32(..) >> random.u32(0..31), step);
            // Where a quotient is whole, or nearly.
            let near = random.i32(-(1 << 23)..1 << 23);
            let y = (i64::from(near) * i64::from(step) / 64) as i32;
            check(y.saturating_add(random.i32(-1..2)), step);
        }
    }
}
