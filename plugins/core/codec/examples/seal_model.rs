//! Puts the conformance vectors into a model file: `seal_model FILE.gnm`
//!
//! `models/training/codec/export.py` leaves them empty, since only this crate computes them.

use gstneural_codec::{bitstream::hex, nets};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(path) = std::env::args_os().nth(1) else {
        return Err("seal_model FILE.gnm".into());
    };
    let sealed = nets::seal(&std::fs::read(&path)?)?;
    let model = nets::Model::parse(&sealed)?;
    let part = std::path::Path::new(&path).with_extension("part");
    std::fs::write(&part, &sealed)?;
    std::fs::rename(&part, &path)?;
    println!("{}: {}", path.display(), hex(model.hash()));
    Ok(())
}
