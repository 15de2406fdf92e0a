//! Motion-compensated predictions for training:
//! `predict WIDTH HEIGHT SOURCE REFERENCE OUT LAMBDA [VECTORS]`
//!
//! `SOURCE` and `REFERENCE` hold as many raw 8-bit I420 frames; frame n of `OUT` is what the codec
//! predicts frame n of `SOURCE` as, from frame n of `REFERENCE`. `VECTORS` takes x and y (i16,
//! little endian, quarter luma samples) of each 8x8 luma block of the macroblocks of each frame,
//! row by row; both are -32768 where a block is not predicted.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
};

use gstneural_codec::{
    Format, Picture,
    bitstream::Chroma,
    motion::{BlockMode, Field, Halves, Kernels, Reference, SearchConfig, compensate, search},
};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some([width, height, source, reference, out, lambda]), 6..=7) =
        (arguments.first_chunk(), arguments.len())
    else {
        return Err("predict WIDTH HEIGHT SOURCE REFERENCE OUT LAMBDA [VECTORS]".into());
    };
    let vectors = arguments.get(6).map(File::create).transpose()?;
    let mut vectors = vectors.map(BufWriter::new);
    let format = Format {
        width: width.parse()?,
        height: height.parse()?,
        chroma: Chroma::C420,
        depth: 8,
    };
    let config = SearchConfig {
        lambda: lambda.parse()?,
        ..SearchConfig::default()
    };
    let open = |path: &str| Ok::<_, Error>(BufReader::new(File::open(path)?));
    let (mut sources, mut references) = (open(source)?, open(reference)?);
    let mut out = BufWriter::new(File::create(out)?);
    let (kernels, max) = (Kernels::best(), format.max());
    loop {
        let mut bytes = vec![0; format.bytes()];
        if sources.read_exact(&mut bytes).is_err() {
            break;
        }
        let picture = Picture::from_bytes(format, &bytes)?;
        references.read_exact(&mut bytes)?;
        let reference = Reference::new(&Picture::from_bytes(format, &bytes)?);
        let (Some(luma), Some(from)) = (picture.planes.first(), reference.planes.first()) else {
            return Err("no luma".into());
        };
        let halves = Halves::new(&kernels, from, max);
        let height = format.height as usize;
        let field = search(&kernels, luma, &halves, 0, height, &config, None);
        if let Some(file) = &mut vectors {
            file.write_all(&vector_bytes(&field))?;
        }
        let mut predicted = Picture::grey(format);
        for (p, (plane, from)) in predicted
            .planes
            .iter_mut()
            .zip(&reference.planes)
            .enumerate()
        {
            let shifts = if p == 0 {
                (0, 0)
            } else {
                format.chroma.shifts()
            };
            let (width, height) = (plane.width, plane.height);
            compensate(&kernels, from, &field, 0, shifts, max, |x, y, row| {
                if y < height {
                    let to = &mut plane.samples[y * width + x..];
                    to[..row.len()].copy_from_slice(row);
                }
            });
        }
        out.write_all(&predicted.to_bytes())?;
    }
    out.flush()?;
    if let Some(file) = &mut vectors {
        file.flush()?;
    }
    Ok(())
}

/// x and y of each 8x8 block.
fn vector_bytes(field: &Field) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.vectors.len() * 4);
    for (i, v) in field.vectors.iter().enumerate() {
        let (x, y) = (i % (2 * field.columns), i / (2 * field.columns));
        let grey = field.mode(x / 2, y / 2) == BlockMode::Intra;
        for n in if grey { [i16::MIN; 2] } else { [v.x, v.y] } {
            bytes.extend(n.to_le_bytes());
        }
    }
    bytes
}
