//! Speed of the entropy coder on one thread: `rans_speed [MILLIONS [encode|decode]]`. The second
//! argument leaves the other direction out of the loop, for counting instructions.

use std::{hint::black_box, time::Instant};

use gstneural_codec::rans::{Decoder, Encoder, ReadSymbols, TableSet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let millions: usize = args.next().map_or(Ok(4), |a| a.parse())?;
    let only = args.next();
    let set = TableSet::gaussian();
    let n = millions * 1_000_000;
    // A xorshift generator: tables at random among the narrower half, symbols by their own
    // frequencies.
    let mut state = 88172645463325252u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let slots: Vec<Vec<u8>> = (0..set.len() as u8)
        .map(|t| {
            let times = |s: u8| std::iter::repeat_n(s, set.frequency(t, s) as usize);
            (0..=255).flat_map(times).collect()
        })
        .collect();
    let tables: Vec<u8> = (0..n).map(|_| random(40) as u8).collect();
    let symbols: Vec<u8> = tables
        .iter()
        .filter_map(|&t| {
            slots
                .get(usize::from(t))?
                .get(random(16384) as usize)
                .copied()
        })
        .collect();
    let bits: f64 = tables
        .iter()
        .zip(&symbols)
        .map(|(&t, &s)| 14.0 - f64::from(set.frequency(t, s)).log2())
        .sum();
    let mut encoder = Encoder::new();
    let (mut encode, mut decode) = (f64::INFINITY, f64::INFINITY);
    let mut bytes = Vec::new();
    let mut out = vec![0; n];
    for round in 0..5 {
        if round == 0 || only.as_deref() != Some("decode") {
            let start = Instant::now();
            encoder.clear();
            for (&t, &s) in tables.iter().zip(&symbols) {
                encoder.put(t, s);
            }
            bytes = encoder.finish(set)?;
            encode = encode.min(start.elapsed().as_secs_f64());
        }
        if only.as_deref() != Some("encode") {
            let start = Instant::now();
            let mut decoder = Decoder::new(black_box(&bytes))?;
            decoder.get_many(set, &tables, &mut out);
            decoder.finish()?;
            decode = decode.min(start.elapsed().as_secs_f64());
            if out != symbols {
                return Err("the symbols differ".into());
            }
        }
    }
    println!(
        "{n} symbols, {:.4} bit each (ideal {:.4}), encode {:.0} Msym/s, decode {:.0} Msym/s",
        8.0 * bytes.len() as f64 / n as f64,
        bits / n as f64,
        n as f64 / encode / 1e6,
        n as f64 / decode / 1e6,
    );
    Ok(())
}
