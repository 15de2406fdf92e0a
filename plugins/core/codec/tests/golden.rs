//! Streams that were coded once must decode to the same pictures for ever.
//!
//! `cargo test -p gstneural-codec --test golden -- --ignored` writes them anew, which is only right
//! together with a new version of the format.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use gstneural_codec::{Config, Decoder, Encoder, Format, Picture, bitstream::Chroma};
use sha2::{Digest, Sha256};

struct Golden {
    name: &'static str,
    format: Format,
    near: u8,
    /// SHA-256 of the file.
    bytes: &'static str,
    /// SHA-256 of the decoded frames, one after the other.
    pictures: &'static str,
}

const fn format(width: u32, height: u32, chroma: Chroma, depth: u8) -> Format {
    Format {
        width,
        height,
        chroma,
        depth,
    }
}

const GOLDEN: [Golden; 5] = [
    Golden {
        name: "i420",
        format: format(49, 81, Chroma::C420, 8),
        near: 0,
        bytes: "81af4f580c411b2b596fb37aabe84e4cdbbe16189ada3124591f3504cb2fe1a2",
        pictures: "7e4485f60cc98bf15255a136d32208e3e895f7174a084f0e3542ac7c2916df5b",
    },
    Golden {
        name: "y444_10",
        format: format(35, 34, Chroma::C444, 10),
        near: 0,
        bytes: "a7dace261b500c5ea58c84342c07128a50d7296d0a4ce6dc042282d3790a9fae",
        pictures: "adb000b5057ca8bf5373ae14acc8849b89b6cc86bb0f93f89c6825b606964404",
    },
    Golden {
        name: "i420_near2",
        format: format(64, 66, Chroma::C420, 8),
        near: 2,
        bytes: "5b6eadf694ed56fc6e0e7906accfab4f0ada8e18b593fab9eddee1844956ed5b",
        pictures: "80a39407cbbde459a8994d9410685928dffd4059ec4ddaef98e45e5707387ca4",
    },
    Golden {
        name: "y422_10",
        format: format(38, 33, Chroma::C422, 10),
        near: 1,
        bytes: "f32fc075bf165b124078963394cc450f34e88875415c9500a242c2a1c2bf541f",
        pictures: "d9b6ce9f6cb319720381f595652621b18bda235153d3c883c75d90ae6e37dd86",
    },
    Golden {
        name: "gray",
        format: format(33, 65, Chroma::Gray, 8),
        near: 0,
        bytes: "3b4a7d349d5f0ce46d7b64202e1174dfe15b05177e32d0a6dd39691c406e9a62",
        pictures: "043f1d70def70175b1196e9b8cd650611e4f0d7dd302697d12378575d59ca094",
    },
];

/// A moving picture that is the same everywhere: integers only.
fn frames(format: Format) -> Vec<Picture> {
    (0..5)
        .map(|t| {
            let mut picture = Picture::grey(format);
            for (p, plane) in picture.planes.iter_mut().enumerate() {
                for i in 0..plane.samples.len() {
                    let (x, y) = (i % plane.width + 2 * t, i / plane.width + t);
                    let wave = (x * x / 11 + y * (3 + p) + (x / 16 + y / 16) * 20) % 160;
                    let noise = (x * 7919 + y * 10_007 + t * 31 + x * y * 13) / 8 % 3;
                    plane.samples[i] = ((wave + 40 + noise) << (format.depth - 8)) as u16;
                }
            }
            picture
        })
        .collect()
}

/// `codec_data`, then each unit behind its length (u32, little endian).
fn encode(golden: &Golden) -> Vec<u8> {
    let mut config = Config::new(golden.format);
    config.near = golden.near;
    config.keyframe_interval = 3;
    config.picture_crc = true;
    let mut encoder = Encoder::new(config).unwrap();
    let mut out = encoder.codec_data();
    for picture in frames(golden.format) {
        let unit = encoder.encode(&picture).unwrap();
        out.extend((unit.len() as u32).to_le_bytes());
        out.extend(unit);
    }
    out
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn decode(file: &[u8]) -> Vec<u8> {
    let (head, mut rest) = file.split_at(gstneural_codec::bitstream::HEADER_BYTES);
    let mut decoder = Decoder::new(head).unwrap().threads(2);
    let mut out = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (unit, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        let frame = decoder.decode(unit).unwrap();
        assert!(!frame.corrupt);
        out.extend(frame.picture.to_bytes());
        rest = tail;
    }
    out
}

fn path(golden: &Golden) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{}.gnvc", golden.name))
}

#[test]
fn old_streams_decode_to_the_same_pictures() {
    for golden in GOLDEN {
        let file = std::fs::read(path(&golden)).unwrap();
        assert_eq!(hash(&file), golden.bytes, "{}", golden.name);
        let pictures = decode(&file);
        assert_eq!(hash(&pictures), golden.pictures, "{}", golden.name);
        if golden.near == 0 {
            let original: Vec<u8> = frames(golden.format)
                .iter()
                .flat_map(Picture::to_bytes)
                .collect();
            assert!(pictures == original, "{}", golden.name);
        }
    }
}

/// The encoder's choices rest on floats with a fixed order of summation and on nothing that a
/// mathematical library computes: it, too, gives the same everywhere.
#[test]
fn the_encoder_writes_the_same_streams() {
    for golden in GOLDEN {
        assert_eq!(hash(&encode(&golden)), golden.bytes, "{}", golden.name);
    }
}

/// A decoder written from the specification alone, in another language, gives the same.
#[test]
fn the_specification_describes_these_streams() {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference_decoder.py");
    if std::process::Command::new("python3")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: there is no python3");
        return;
    }
    let mut command = std::process::Command::new("python3");
    command.arg(script).args(GOLDEN.iter().map(path));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().count(), GOLDEN.len(), "{error}");
    for (line, golden) in text.lines().zip(&GOLDEN) {
        assert!(line.ends_with(golden.pictures), "{}: {line}", golden.name);
    }
}

#[test]
#[ignore = "writes the streams"]
fn write() {
    for golden in GOLDEN {
        let file = encode(&golden);
        println!(
            "{} bytes {} pictures {}",
            golden.name,
            hash(&file),
            hash(&decode(&file))
        );
        std::fs::write(path(&golden), file).unwrap();
    }
}
