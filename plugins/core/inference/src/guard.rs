//! What half precision does to a network that it is not enough for.
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
