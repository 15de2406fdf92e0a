//! Puts the conformance vectors into a model file that was just exported.

use super::{Kind, Model, conformance, file, file::Section};
use crate::Result;

/// The model file with the hashes of what its networks give here, for other machines to compare.
///
/// # Errors
/// Those of [`Model::parse`], but for what the file says of its results.
pub fn seal(bytes: &[u8]) -> Result<Vec<u8>> {
    let (decoder, encoder) = file::sections(bytes)?;
    let model = Model::build(decoder, encoder)?;
    let section = Section::parse(decoder)?;
    let mut sealed = decoder.to_vec();
    for kind in Kind::ALL {
        let Ok(nets) = model.decoder(kind) else {
            continue;
        };
        let at = section.place(&format!("check.{}", kind.name()), 32, decoder)?;
        if let Some(to) = sealed.get_mut(at..at + 32) {
            to.copy_from_slice(&conformance::hash(nets)?);
        }
    }
    Ok(file::write(&sealed, encoder))
}
