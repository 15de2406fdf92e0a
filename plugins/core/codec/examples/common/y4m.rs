//! Frames of y4m files.

use std::io::{BufRead, BufReader, Read};

use gstneural_codec::{Format, Picture, bitstream::Chroma};

use crate::Error;

/// The frames of a y4m file of 8-bit 4:2:0, up to `most`.
pub fn frames(path: &str, most: usize) -> Result<(Format, Vec<Picture>), Error> {
    let mut file = BufReader::new(std::fs::File::open(path)?);
    let mut head = String::new();
    file.read_line(&mut head)?;
    let number = |key: char| -> Result<u32, Error> {
        let field = head.split_whitespace().find_map(|f| f.strip_prefix(key));
        Ok(field.ok_or("not a y4m file")?.parse()?)
    };
    let format = Format {
        width: number('W')?,
        height: number('H')?,
        chroma: Chroma::C420,
        depth: 8,
    };
    let (mut out, mut line) = (Vec::new(), String::new());
    while out.len() < most && file.read_line(&mut line)? != 0 {
        let mut bytes = vec![0; format.bytes()];
        file.read_exact(&mut bytes)?;
        out.push(Picture::from_bytes(format, &bytes)?);
        line.clear();
    }
    Ok((format, out))
}
