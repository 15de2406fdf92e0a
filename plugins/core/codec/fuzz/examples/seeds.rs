//! Writes first inputs for the targets: `cargo run --example seeds`, in this folder. Small streams
//! of all profiles, with layers and without, and the golden streams that are small enough.

use std::{fs, path::Path};

use gstneural_codec::{
    Config, Copying, Encoder, Format, Layer, Lossy, Picture, Rate,
    bitstream::{AccessUnit, Chroma, HEADER_BYTES, Header},
    rans::TableSet,
};
use gstneural_codec_fuzz::{MAX_SAMPLES, model, model_file, smallest_model_file};

type Error = Box<dyn std::error::Error>;

fn config(format: Format, lossy: Option<(bool, Copying)>, layer: Option<(u8, bool)>) -> Config {
    Config {
        keyframe_interval: 3,
        picture_crc: format.width % 2 == 0,
        lossy: lossy.map(|(intra_only, copying)| Lossy {
            intra_only,
            copying,
            scene_cuts: false,
            rate: Rate::Quality(16),
            ..Lossy::new(model())
        }),
        layer: layer.map(|(near, refers)| Layer { near, refers }),
        ..Config::new(format)
    }
}

fn pictures(format: Format) -> impl Iterator<Item = Picture> {
    (0..4).map(move |t| {
        let mut picture = Picture::grey(format);
        for plane in &mut picture.planes {
            for (i, s) in plane.samples.iter_mut().enumerate() {
                let (x, y) = (i % plane.width + t, i / plane.width);
                *s = ((x * x / 3 + y * 5 + x * y % 3) % 200) as u16;
            }
        }
        picture
    })
}

/// A stream as the target `decode` takes it: lengths of 15 bits.
fn stream(head: &[u8], units: &[Vec<u8>]) -> Vec<u8> {
    let mut out = head.to_vec();
    for unit in units {
        out.extend((unit.len().min(0x7fff) as u16).to_le_bytes());
        out.extend(unit);
    }
    out
}

fn main() -> Result<(), Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = root.join("corpus");
    for target in ["decode", "rans", "model"] {
        fs::create_dir_all(corpus.join(target))?;
    }
    let put = |target: &str, name: &str, bytes: &[u8]| fs::write(corpus.join(target).join(name), bytes);
    let sizes = [(8, 8), (17, 9), (16, 96)];
    let lossless = [(Chroma::C420, 8), (Chroma::C444, 10), (Chroma::C422, 8), (Chroma::Gray, 8)];
    let layers = [None, Some((0, true)), Some((0, false)), Some((2, true))];
    let mut all = Vec::new();
    for (width, height) in sizes {
        for (chroma, depth) in lossless {
            all.push(config(Format { width, height, chroma, depth }, None, None));
        }
        let format = Format { width, height, chroma: Chroma::C420, depth: 8 };
        for layer in layers {
            let kinds = [(false, Copying::Never), (true, Copying::Never), (false, Copying::Pattern)];
            all.extend(kinds.map(|kind| config(format, Some(kind), layer)));
        }
    }
    let long = all.clone().into_iter().map(|c| Config { compact: false, ..c });
    all.extend(long.collect::<Vec<_>>());
    for (i, config) in all.into_iter().enumerate() {
        let format = config.format;
        let mut encoder = Encoder::new(config)?;
        let head = encoder.codec_data();
        let units = pictures(format).map(|p| encoder.encode(&p)).collect::<Result<Vec<_>, _>>()?;
        put("decode", &format!("made{i}"), &stream(&head, &units))?;
        for (j, slice) in AccessUnit::parse(&units[1])?.slices.iter().enumerate() {
            put("rans", &format!("made{i}_{j}"), slice.data)?;
        }
    }
    for entry in fs::read_dir(root.join("../tests/golden"))? {
        let path = entry?.path();
        let file = fs::read(&path)?;
        let (head, mut rest) = file.split_at(HEADER_BYTES);
        let header = Header::parse(head)?;
        if u64::from(header.width) * u64::from(header.height) > MAX_SAMPLES {
            continue;
        }
        let mut units = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (unit, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
            units.push(unit.to_vec());
            rest = tail;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        put("decode", &name, &stream(head, &units))?;
    }
    put("rans", "tables", TableSet::laplace_bytes())?;
    // The sections behind a byte that says where the second begins.
    for (name, file) in [("whole", model_file()), ("smallest", smallest_model_file())] {
        put("model", name, &file)?;
        let length = u32::from_le_bytes(file[4..8].try_into()?) as usize;
        let sections = &file[12..file.len() - 4];
        let at = (255 * length).div_ceil(sections.len()) as u8;
        put("model", &format!("{name}_sections"), &[&[at], sections].concat())?;
    }
    Ok(())
}
