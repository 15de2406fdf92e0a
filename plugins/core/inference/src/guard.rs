//! Telling when half precision was not enough for a network.
//!
//! A sum beyond 65504 is infinite there, and what follows from it is no number or a black picture.
//! Networks trained in single precision do that on some pictures and not on others.

/// What is wrong with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Infinite or no number.
    NotFinite,
    /// Black, and the input is not.
    Black,
}

impl Fault {
    /// What users read.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFinite => "values that are no numbers",
            Self::Black => "a black picture",
        }
    }
}

/// Share of white below which a picture counts as black.
const BLACK: f32 = 1.0 / 512.0;
/// Share of white that the mean of a picture has to have before a black result is odd.
const LIT: f32 = 1.0 / 32.0;

/// Looks at the result `output` of `input`; `white` is the value of white.
///
/// The middle of a picture may be anything; what counts is that no value is infinite and that a
/// picture with light in it does not come out without any.
pub(crate) fn check(input: &[f32], output: &[f32], white: f32) -> Option<Fault> {
    // 0 times anything finite is 0; anything else is no number.
    let mut strange = 0f32;
    let mut most = f32::MIN;
    for v in output {
        strange += v * 0.0;
        most = most.max(*v);
    }
    if strange != 0.0 || strange.is_nan() {
        return Some(Fault::NotFinite);
    }
    if most > white * BLACK || output.is_empty() || input.is_empty() {
        return None;
    }
    let mean = input.iter().map(|v| f64::from(*v)).sum::<f64>() / input.len() as f64;
    (mean > f64::from(white * LIT)).then_some(Fault::Black)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_apart() {
        let lit = [0.5f32; 64];
        let dark = [0.001f32; 64];
        let mut out = [0.4f32; 256];
        assert_eq!(check(&lit, &out, 1.0), None);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            out[200] = bad;
            assert_eq!(check(&lit, &out, 1.0), Some(Fault::NotFinite), "{bad}");
        }
        let black = [0f32; 256];
        assert_eq!(check(&lit, &black, 1.0), Some(Fault::Black));
        assert_eq!(check(&dark, &black, 1.0), None, "it was black before");
        assert_eq!(
            check(&lit.map(|v| v * 255.0), &[0.4; 256], 255.0),
            Some(Fault::Black)
        );
    }
}
