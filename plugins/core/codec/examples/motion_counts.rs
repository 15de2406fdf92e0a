//! Counts what the vectors and copies of coded clips are made of, for
//! `models/training/codec/motion_tables.py`:
//! `cargo run --release -p gstneural-codec --example motion_counts -- MODEL.gnm --levels 4,12 FILE.y4m...`
//!
//! A line for each symbol that occurs: its table, itself, and how often.

use std::{collections::BTreeMap, sync::Arc};

use gstneural_codec::{
    Config, Encoder, Lossy, Rate,
    bitstream::{AccessUnit, FrameType},
    motion::{MOTION_TABLES, motion_symbols},
    nets::Model,
};

#[path = "common/y4m.rs"]
mod y4m;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let (mut levels, mut most, mut model, mut files) = (vec![4, 12, 20, 28], 64, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(a) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{a}: a value is missing"));
        match a.as_str() {
            "--levels" => {
                levels = value()?
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<_, _>>()?
            }
            "--frames" => most = value()?.parse()?,
            _ if model.is_none() => model = Some(Arc::new(Model::parse(&std::fs::read(&a)?)?)),
            _ => files.push(a),
        }
    }
    let model = model.ok_or("motion_counts MODEL.gnm FILE.y4m...")?;
    let mut counts = BTreeMap::new();
    for file in files {
        let (format, pictures) = y4m::frames(&file, most)?;
        let (width, height) = (format.width as usize, format.height as usize);
        for &level in &levels {
            let lossy = Lossy {
                rate: Rate::Quality(31 - level),
                ..Lossy::new(model.clone())
            };
            let mut encoder = Encoder::new(Config {
                lossy: Some(lossy),
                ..Config::new(format)
            })?;
            for picture in &pictures {
                let unit = encoder.encode(picture)?;
                let unit = AccessUnit::parse(&unit)?;
                if unit.info.frame_type == FrameType::Key {
                    continue;
                }
                for (i, slice) in unit.slices.iter().enumerate() {
                    let rows = match i + 1 == unit.slices.len() {
                        true => height - 64 * i,
                        false => 64,
                    };
                    if slice.data.is_empty() {
                        continue;
                    }
                    for symbol in motion_symbols(slice.data, unit.info.qp, [width, rows])? {
                        *counts.entry(symbol).or_insert(0u64) += 1;
                    }
                }
            }
        }
    }
    for ((table, symbol), count) in counts {
        if usize::from(table) < MOTION_TABLES {
            println!("{table} {symbol} {count}");
        }
    }
    Ok(())
}
