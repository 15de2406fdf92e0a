use constriction::{
    UnwrapInfallible,
    stream::{
        Decode, Encode, model::DefaultContiguousCategoricalEntropyModel, stack::DefaultAnsCoder,
    },
};
use sha2::{Digest, Sha256};

use super::*;
use crate::CodecError;

/// Symbols of the tables that `table` names, drawn with the tables' own probabilities.
fn draw(set: &TableSet, n: usize, rng: &mut fastrand::Rng) -> (Vec<u8>, Vec<u8>) {
    let tables: Vec<u8> = (0..n).map(|_| rng.u8(0..set.len() as u8)).collect();
    let symbol = |&t: &u8| set.decode_table(t).symbols[rng.usize(0..TOTAL as usize)];
    let symbols = tables.iter().map(symbol).collect();
    (tables, symbols)
}

fn ideal_bits(set: &TableSet, tables: &[u8], symbols: &[u8]) -> f64 {
    let bits = |(&t, &s): (&u8, &u8)| 14.0 - f64::from(set.frequency(t, s)).log2();
    tables.iter().zip(symbols).map(bits).sum()
}

fn encode(set: &TableSet, tables: &[u8], symbols: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    for (&t, &s) in tables.iter().zip(symbols) {
        encoder.put(t, s);
    }
    encoder.finish(set).unwrap()
}

#[test]
fn shipped_tables_are_what_the_integers_make() {
    for (file, built) in [
        (
            &include_bytes!("../../tables/laplace.bin")[..],
            TableSet::build_laplace(),
        ),
        (
            &include_bytes!("../../tables/gaussian64.bin")[..],
            TableSet::build_gaussian(),
        ),
    ] {
        assert!(file == TableSet::to_bytes(&built));
        assert_eq!(TableSet::parse(file).unwrap().len(), built.len());
    }
    assert_eq!(
        (TableSet::laplace().len(), TableSet::gaussian().len()),
        (192, 64)
    );
    let hash: [u8; 32] = Sha256::digest(TableSet::laplace_bytes()).into();
    assert_eq!(hash, crate::lossless::MODEL);
}

#[test]
fn tables_have_the_scales_that_they_say() {
    let spread = |set: &TableSet, i: u8, power: i32| -> f64 {
        let value = |s: u8| f64::from(unzigzag(u32::from(s) - 1)).abs().powi(power);
        let p = |s: u8| f64::from(set.frequency(i, s)) / f64::from(TOTAL);
        (1..=(set.symbols(i) - 1) as u8)
            .map(|s| value(s) * p(s))
            .sum()
    };
    // In the middle, where bins are narrow beside the scale and tails fit the table.
    for i in [28, 32, 36] {
        let b = 0.04 * 2f64.powf(10.0 * f64::from(i) / 47.0);
        let mean = spread(TableSet::laplace(), 4 * i, 1);
        assert!((mean / b - 1.0).abs() < 0.05, "{i}: {mean} for {b}");
    }
    for i in [30, 40, 50] {
        let s = 0.11 * 2f64.powf(9.2 * f64::from(i) / 63.0);
        let deviation = spread(TableSet::gaussian(), i, 2).sqrt();
        assert!(
            (deviation / s - 1.0).abs() < 0.05,
            "{i}: {deviation} for {s}"
        );
    }
    // Around 7/16, +1 is nearly as likely as 0.
    let set = TableSet::laplace();
    assert!(set.frequency(4 * 10 + 3, 3) > 2 * set.frequency(4 * 10 + 3, 2));
    assert_eq!(set.frequency(4 * 10, 0).max(1), set.frequency(4 * 10, 0));
}

#[test]
fn symbols_come_back_at_their_ideal_cost() {
    for set in [TableSet::laplace(), TableSet::gaussian()] {
        let mut rng = fastrand::Rng::with_seed(1);
        for n in [0, 1, 3, 4, 5, 63, 1000, 100_000] {
            let (tables, symbols) = draw(set, n, &mut rng);
            let bytes = encode(set, &tables, &symbols);
            let mut decoder = Decoder::new(&bytes).unwrap();
            let mut back = vec![0; n];
            decoder.get_many(set, &tables, &mut back);
            assert!(back == symbols, "{n} symbols");
            decoder.finish().unwrap();
            // 128 bits of states, of which 64 carry information.
            let over = 8.0 * bytes.len() as f64 - ideal_bits(set, &tables, &symbols);
            assert!(
                over < 130.0 + 0.005 * 8.0 * bytes.len() as f64,
                "{n}: {over} bits over"
            );
        }
    }
}

#[test]
fn one_state_costs_less_than_four_bytes_more_than_the_symbols() {
    for set in [TableSet::laplace(), TableSet::gaussian()] {
        let mut rng = fastrand::Rng::with_seed(4);
        for n in (0..40).chain([63, 1000, 20_000]) {
            let (tables, symbols) = draw(set, n, &mut rng);
            let mut encoder = Encoder::new();
            for (&t, &s) in tables.iter().zip(&symbols) {
                encoder.put(t, s);
            }
            let mut bytes = vec![9; 3];
            encoder
                .finish_small_into(set, n / 2, set, &mut bytes)
                .unwrap();
            assert_eq!(bytes.len() % 2, 1);
            let mut decoder = SmallDecoder::new(&bytes);
            let back: Vec<u8> = tables
                .iter()
                .map(|&t| decoder.get(set.decode_table(t)))
                .collect();
            assert!(back == symbols, "{n} symbols");
            decoder.finish().unwrap();
            let over = 8.0 * bytes.len() as f64 - ideal_bits(set, &tables, &symbols);
            assert!(
                over < 32.0 + 0.005 * 8.0 * bytes.len() as f64,
                "{n}: {over} bits over"
            );
        }
    }
    let mut encoder = Encoder::new();
    encoder.put(0, 255);
    let set = TableSet::laplace();
    assert!(
        encoder
            .finish_small_into(set, 0, set, &mut Vec::new())
            .is_err()
    );
}

#[test]
fn costs_less_than_half_a_per_cent_more_than_constriction_with_the_same_tables() {
    let set = TableSet::gaussian();
    let (tables, symbols) = draw(set, 50_000, &mut fastrand::Rng::with_seed(2));
    let models: Vec<DefaultContiguousCategoricalEntropyModel> = (0..set.len() as u8)
        .map(|t| {
            let p: Vec<f64> = (0..set.symbols(t))
                .map(|s| f64::from(set.frequency(t, s as u8)))
                .collect();
            DefaultContiguousCategoricalEntropyModel::from_floating_point_probabilities_fast(
                &p, None,
            )
            .unwrap()
        })
        .collect();
    let mut theirs = DefaultAnsCoder::new();
    for (&t, &s) in tables.iter().zip(&symbols).rev() {
        theirs
            .encode_symbol(usize::from(s), &models[usize::from(t)])
            .unwrap();
    }
    let words = theirs.clone().into_compressed().unwrap_infallible();
    let their_bits = 32.0 * words.len() as f64;
    for (&t, &s) in tables.iter().zip(&symbols) {
        let back = theirs
            .decode_symbol(&models[usize::from(t)])
            .unwrap_infallible();
        assert_eq!(back, usize::from(s));
    }
    let our_bits = 8.0 * encode(set, &tables, &symbols).len() as f64;
    assert!(
        our_bits < 1.005 * their_bits,
        "{our_bits} for their {their_bits}"
    );
}

#[test]
fn signed_values_of_any_size_come_back() {
    let set = TableSet::laplace();
    let values = [
        0,
        1,
        -1,
        127,
        -128,
        128,
        1000,
        -1023,
        65_535,
        i32::MAX,
        i32::MIN,
    ];
    for table in [0, 3, 80, 191] {
        let mut encoder = Encoder::new();
        for v in values {
            encoder.put_signed(set, table, v);
        }
        let bytes = encoder.finish(set).unwrap();
        let mut decoder = Decoder::new(&bytes).unwrap();
        for v in values {
            assert_eq!(
                decoder.get_signed(set, set.decode_table(table)),
                v,
                "table {table}"
            );
        }
        decoder.finish().unwrap();
    }
}

#[test]
fn costs_are_logarithms() {
    let set = TableSet::laplace();
    for table in [0, 77, 191] {
        for value in [-2, 0, 1] {
            let symbol = (zigzag(value) + 1) as u8;
            if usize::from(symbol) < set.symbols(table) {
                let bits = 14.0 - f64::from(set.frequency(table, symbol)).log2();
                let cost = f64::from(set.signed_cost(table, value)) / 256.0;
                assert!((cost - bits).abs() < 0.01, "{cost} for {bits}");
            }
        }
    }
}

#[test]
fn bad_tables_are_refused_by_name() {
    let table = |t: &[u16]| TableSet::new(&[vec![8192, 8192], t.to_vec()]).unwrap_err();
    let reason = |e| match e {
        CodecError::Table { table: 1, reason } => reason,
        e => panic!("{e}"),
    };
    assert!(reason(table(&[16384])).contains("2 to 256"));
    assert!(reason(table(&[16384, 0])).contains("frequency 0"));
    assert!(reason(table(&[1, 1])).contains("add up"));
    assert!(reason(table(&[40_000, 41_920])).contains("add up"));
    let good = TableSet::to_bytes(&[[8192u16, 8192]]);
    assert_eq!(TableSet::parse(&good).unwrap().len(), 1);
    for end in 0..good.len() {
        TableSet::parse(&good[..end]).unwrap_err();
    }
    TableSet::parse(&[good.clone(), vec![0]].concat()).unwrap_err();
    let mut encoder = Encoder::new();
    encoder.put(0, 2);
    let set = TableSet::parse(&good).unwrap();
    assert!(matches!(
        encoder.finish(&set),
        Err(CodecError::Table { table: 0, .. })
    ));
}

#[test]
fn damage_is_noticed_and_harmless() {
    let set = TableSet::laplace();
    let mut rng = fastrand::Rng::with_seed(3);
    let (tables, symbols) = draw(set, 400, &mut rng);
    let bytes = encode(set, &tables, &symbols);
    let mut unnoticed = 0;
    for bit in 0..8 * bytes.len() {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let mut decoder = Decoder::new(&bad).unwrap();
        let mut back = vec![0; symbols.len()];
        decoder.get_many(set, &tables, &mut back);
        unnoticed += usize::from(decoder.finish().is_ok());
    }
    let mut encoder = Encoder::new();
    for (&t, &s) in tables.iter().zip(&symbols) {
        encoder.put(t, s);
    }
    let mut small = Vec::new();
    encoder.finish_small_into(set, 0, set, &mut small).unwrap();
    let mut unnoticed_small = 0;
    for bit in 0..8 * small.len() {
        let mut bad = small.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let mut decoder = SmallDecoder::new(&bad);
        tables.iter().for_each(|&t| {
            decoder.get(set.decode_table(t));
        });
        unnoticed_small += usize::from(decoder.finish().is_ok());
    }
    // One state ends where it should by chance, now and then.
    assert!(
        unnoticed_small * 10 < 8 * small.len(),
        "{unnoticed_small} of {} flips",
        8 * small.len()
    );
    // Two symbols can lead to the same state; the CRC around it is for those.
    assert!(
        unnoticed * 100 < 8 * bytes.len(),
        "{unnoticed} of {} flips",
        8 * bytes.len()
    );
    for end in 0..bytes.len() {
        let Ok(mut decoder) = Decoder::new(&bytes[..end]) else {
            continue;
        };
        let mut back = vec![0; symbols.len()];
        decoder.get_many(set, &tables, &mut back);
        assert!(decoder.finish().is_err(), "{end}");
    }
    for _ in 0..2000 {
        let noise: Vec<u8> = (0..rng.usize(0..200)).map(|_| rng.u8(..)).collect();
        let Ok(mut decoder) = Decoder::new(&noise) else {
            continue;
        };
        for _ in 0..500 {
            decoder.get_signed(set, set.decode_table(rng.u8(..)));
        }
    }
}
