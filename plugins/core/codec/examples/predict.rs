//! Motion-compensated predictions for training: `predict WIDTH HEIGHT SOURCE REFERENCE OUT LAMBDA`
//!
//! `SOURCE` and `REFERENCE` hold as many raw 8-bit I420 frames; frame n of `OUT` is what the codec
//! predicts frame n of `SOURCE` as, from frame n of `REFERENCE`.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
};

use gstneural_codec::{
    Format, Picture,
    bitstream::Chroma,
    motion::{Halves, Kernels, Reference, SearchConfig, compensate, search},
};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [width, height, source, reference, out, lambda] = arguments.as_slice() else {
        return Err("predict WIDTH HEIGHT SOURCE REFERENCE OUT LAMBDA".into());
    };
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
    Ok(())
}
