//! Streams that were coded once must decode to the same pictures for ever.
//!
//! `cargo test -p gstneural-codec --test golden -- --ignored` writes them anew, which is only right
//! together with a new version of the format.
#![allow(clippy::unwrap_used)]

use std::{path::PathBuf, sync::Arc};

use gstneural_codec::{
    Config, Copying, Decoder, Encoder, Format, Layer, Layers, Lossy, Picture, Rate,
    bitstream::{AccessUnit, Chroma, FrameType, UnitInfo},
    nets::{Model, Sizes},
};
use sha2::{Digest, Sha256};

struct Golden {
    name: &'static str,
    format: Format,
    near: u8,
    references: u8,
    /// With the networks of [`models`]: the quality, and whether all frames are keyframes.
    lossy: Option<(u8, bool)>,
    /// A layer: the greatest error of a sample, and whether it refers to the layer before.
    layer: Option<(u8, bool)>,
    /// SHA-256 of the file.
    bytes: &'static str,
    /// SHA-256 of the decoded frames, one after the other.
    pictures: &'static str,
}

impl Golden {
    /// Whether the profile is `vq`.
    fn vq(&self) -> bool {
        self.name.contains("vq")
    }

    fn compact(&self) -> bool {
        self.name.starts_with("compact")
    }

    fn copying(&self) -> Copying {
        match self.name {
            "inter_still" => Copying::Better,
            name if name.contains("copies") => Copying::Pattern,
            _ => Copying::Never,
        }
    }
}

const fn format(width: u32, height: u32, chroma: Chroma, depth: u8) -> Format {
    Format {
        width,
        height,
        chroma,
        depth,
    }
}

const GOLDEN: [Golden; 20] = [
    Golden {
        name: "i420",
        format: format(49, 81, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: None,
        layer: None,
        bytes: "031c6bf76089b0584218d81db25aa7fd355562767321e1fe52d68acd9377ba3a",
        pictures: "7e4485f60cc98bf15255a136d32208e3e895f7174a084f0e3542ac7c2916df5b",
    },
    Golden {
        name: "y444_10",
        format: format(35, 34, Chroma::C444, 10),
        near: 0,
        references: 1,
        lossy: None,
        layer: None,
        bytes: "286ab1f52a9a7d0c6a38af841076335ddcef5cce16df856985f6c75afb0e3aa9",
        pictures: "adb000b5057ca8bf5373ae14acc8849b89b6cc86bb0f93f89c6825b606964404",
    },
    Golden {
        name: "i420_near2",
        format: format(64, 66, Chroma::C420, 8),
        near: 2,
        references: 1,
        lossy: None,
        layer: None,
        bytes: "0fa997022500339caceca037bc9c19e13c164dd9d2f721d13ac95514948f895a",
        pictures: "57d9ae6ad3a7866bf654b4767a51129d05348b372bcdb8c15138698e9d43854a",
    },
    Golden {
        name: "y422_10",
        format: format(38, 33, Chroma::C422, 10),
        near: 1,
        references: 1,
        lossy: None,
        layer: None,
        bytes: "c34e5f4c6c020493f49eae12825dd36c34724e3969a1df4df7702924cb3ad71d",
        pictures: "c193a513090692a8522c4019fb2a202b93535e32270880654537e2578dfd3047",
    },
    Golden {
        name: "two_references",
        format: format(40, 50, Chroma::C420, 8),
        near: 0,
        references: 2,
        lossy: None,
        layer: None,
        bytes: "ebbaf4d6d97e9985983afdfa5d3cacef5c0fa0065bdf39743af2d48414f04f75",
        pictures: "cfeb2fd9a1da27e209da28d67f7b0b27634f9195ec28ecaaaa50c098d06a7958",
    },
    Golden {
        name: "gray",
        format: format(33, 65, Chroma::Gray, 8),
        near: 0,
        references: 1,
        lossy: None,
        layer: None,
        bytes: "07a75eea63f8e8fa3af159e1090381b33ec977ef585d1a5b9b8218dc79ccbbf6",
        pictures: "043f1d70def70175b1196e9b8cd650611e4f0d7dd302697d12378575d59ca094",
    },
    Golden {
        name: "inter",
        format: format(83, 150, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((25, false)),
        layer: None,
        bytes: "b369ea0d95b1393b2d7b27582c1ba5af0dc55fa1e55ae29740568b191007a126",
        pictures: "fda66e7488ad52b14e00aa607689ad4fa9801ffbd1a228417e7fb517095c0352",
    },
    Golden {
        name: "intra",
        format: format(64, 64, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((12, true)),
        layer: None,
        bytes: "a3b55b7e3373e3e66e45ef2b56479a71801c96ee8e952999af16476c6c4d6ed8",
        pictures: "6cc137f6c3022d0c04318c53dbadbc0b30309ade6ae277f0f4ca7dd8e73842c0",
    },
    Golden {
        name: "vq",
        format: format(83, 150, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((22, false)),
        layer: None,
        bytes: "3b37a472efdc8f0b8a1b6258e0ef65777ec8a3f91fcc8b2c32c4d9267314813e",
        pictures: "054919c4999437f02502ce509a0d36600bb5ca6df590b7ddd6dbdac66cb56b6c",
    },
    Golden {
        name: "inter_lossless",
        format: format(67, 97, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((16, false)),
        layer: Some((0, true)),
        bytes: "1e3e996c6e3f9517a0a9e851a0cdd0b251014e38c20e3cdbbf664919f9e83f58",
        pictures: "12390bc7015c986468d242593c3c23fa561aba45032ae3ea8e001a2cd2f68b94",
    },
    Golden {
        name: "intra_near1",
        format: format(50, 35, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((8, true)),
        layer: Some((1, false)),
        bytes: "89b7fa169962b52c49543c7d9bd3e12c66ba34042989fe3de3a0ce986e6b85a9",
        pictures: "03be89ee7c103961c3c2756f20b4f7fc3d9f1f9e7b06b87aeb538f7cf03e73d4",
    },
    Golden {
        name: "vq_near3",
        format: format(37, 50, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((14, false)),
        layer: Some((3, false)),
        bytes: "3c69584a78029e19b30f15f4afb633eb48687c8f327d1eede6874ed974fdc2a0",
        pictures: "0899f3268fd90d563ff162d6b46c64852f0297820f914da605045757a934469b",
    },
    Golden {
        name: "inter_copies",
        format: format(83, 150, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((20, false)),
        layer: None,
        bytes: "02159d04d315c1aa84fb544e9c3ab662553d7cba0d7b3ef9c94e6cf75f6cdcda",
        pictures: "a133706b00fb6aab35ffc5894c1d1f1fcc4d31962a343d7ac3ec92320669d40d",
    },
    Golden {
        name: "vq_copies_lossless",
        format: format(67, 97, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((18, false)),
        layer: Some((0, true)),
        bytes: "02865ef0394a4c474273c13a2d71301ac3d8f37bc9d5cc28803a891ebc5c9e8b",
        pictures: "12390bc7015c986468d242593c3c23fa561aba45032ae3ea8e001a2cd2f68b94",
    },
    Golden {
        name: "inter_still",
        format: format(40, 130, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((18, false)),
        layer: None,
        bytes: "ba15c78d60163bb42ad959c5ab288a12a17efabf692ad0cc0ad64138c7eca6c9",
        pictures: "4f30a2d864a8ad316b7b7ad6cca49fa9e6bed36c3abd8c12e4ca03bcbb8ec0aa",
    },
    Golden {
        name: "compact_i420",
        format: format(49, 81, Chroma::C420, 8),
        near: 0,
        references: 2,
        lossy: None,
        layer: None,
        bytes: "650ced2957cf63863186675408af1495b6a3ce76d56207d71d03501b1805e106",
        pictures: "7e4485f60cc98bf15255a136d32208e3e895f7174a084f0e3542ac7c2916df5b",
    },
    Golden {
        name: "compact_intra_near1",
        format: format(50, 35, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((8, true)),
        layer: Some((1, false)),
        bytes: "244fa5752d0d1667302bb6b1e609238e97d49c078d9eaf2ec55f6e4b37ea7ef5",
        pictures: "03be89ee7c103961c3c2756f20b4f7fc3d9f1f9e7b06b87aeb538f7cf03e73d4",
    },
    Golden {
        name: "compact_inter",
        format: format(83, 150, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((25, false)),
        layer: None,
        bytes: "4bbf349d167c4ff46f5d4d526c65e8e185cbc04690d02f219b8f0e5d66d704cb",
        pictures: "560b95608261181898862353e02addd8b6a690d99c2acc1b1ac3b9964ad680b3",
    },
    Golden {
        name: "compact_inter_copies",
        format: format(83, 150, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((9, false)),
        layer: None,
        bytes: "a42c0d99e490d5fe5b54b7b1806127da1a5a24b0350a08603de4439fa7d49fbe",
        pictures: "87452dcd67808a0d61fcb2d2e373926d639b4287207c33732a15c00669c8ae02",
    },
    Golden {
        name: "compact_vq_copies_lossless",
        format: format(67, 97, Chroma::C420, 8),
        near: 0,
        references: 1,
        lossy: Some((18, false)),
        layer: Some((0, true)),
        bytes: "714448d67009a8179b703a54cd7e9db9963884efe26dc7ba9f24127d2c2a8d4d",
        pictures: "12390bc7015c986468d242593c3c23fa561aba45032ae3ea8e001a2cd2f68b94",
    },
];

/// The sizes of the networks of the lossy streams.
const SIZES: Sizes = Sizes {
    groups: &[6, 10, 20],
    hidden: 10,
    features: 16,
    expanded: 24,
    blocks: 2,
    encoder_blocks: Some(1),
    inter: true,
};

/// The networks of the lossy streams, without and with codebooks (the profile `vq`), with invented
/// weights that are the same for ever: those that are shipped are trained further, and then no
/// longer decode what was made before.
fn models() -> [Arc<Model>; 2] {
    let plain = Model::synthetic(2026, SIZES).unwrap().0;
    let with_codebooks = Model::synthetic_vq(2026, SIZES).unwrap().0;
    [plain, with_codebooks].map(Arc::new)
}

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
    config.references = golden.references;
    config.keyframe_interval = 4;
    config.picture_crc = true;
    config.compact = golden.compact();
    let vq = golden.vq();
    let [plain, with_codebooks] = models();
    let model = if vq { with_codebooks } else { plain };
    config.lossy = golden.lossy.map(|(quality, intra_only)| Lossy {
        rate: Rate::Quality(quality),
        intra_only,
        scene_cuts: false,
        vq,
        copying: golden.copying(),
        ..Lossy::new(model)
    });
    config.layer = golden.layer.map(|(near, refers)| Layer { near, refers });
    let mut encoder = Encoder::new(config).unwrap();
    let mut out = encoder.codec_data();
    for picture in frames(golden.format) {
        let unit = encoder.encode(&picture).unwrap();
        out.extend((unit.len() as u32).to_le_bytes());
        out.extend(&unit);
        if golden.name == "inter_still" {
            // A frame that shows it again: slices without a byte.
            let key = AccessUnit::parse(&unit).unwrap();
            let info = UnitInfo {
                frame_type: FrameType::Predicted,
                number: key.info.number + 1,
                references: [1, 0],
                ..key.info
            };
            let again = info.write(&vec![Vec::new(); key.slices.len()]).unwrap();
            out.extend((again.len() as u32).to_le_bytes());
            out.extend(again);
            break;
        }
    }
    out
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn decode(file: &[u8], layers: Layers) -> Vec<u8> {
    let (head, mut rest) = file.split_at(gstneural_codec::bitstream::HEADER_BYTES);
    let mut decoder =
        Decoder::with_models(head, |hash| models().into_iter().find(|m| m.hash() == hash))
            .unwrap()
            .layers(layers)
            .threads(2);
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
        let pictures = decode(&file, Layers::All);
        assert_eq!(hash(&pictures), golden.pictures, "{}", golden.name);
        let lossless = match golden.layer {
            Some((near, _)) => near == 0,
            None => golden.near == 0 && golden.lossy.is_none(),
        };
        if lossless {
            let original: Vec<u8> = frames(golden.format)
                .iter()
                .flat_map(Picture::to_bytes)
                .collect();
            assert!(pictures == original, "{}", golden.name);
        }
    }
}

/// Both forms of lossy slices are among the compact streams.
#[test]
fn compact_streams_have_slices_of_one_state_and_of_four() {
    let mut found = [0, 0];
    for golden in GOLDEN.iter().filter(|g| g.compact() && g.lossy.is_some()) {
        let file = std::fs::read(path(golden)).unwrap();
        let mut rest = &file[gstneural_codec::bitstream::HEADER_BYTES..];
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (unit, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
            let slices = AccessUnit::parse(unit).unwrap().slices;
            slices.iter().for_each(|s| found[s.data.len() % 2] += 1);
            rest = tail;
        }
    }
    assert!(found.iter().all(|&n| n >= 10), "{found:?}");
}

/// The encoder's choices rest on floats with a fixed order of summation and on nothing that a
/// mathematical library computes: it, too, gives the same everywhere.
#[test]
fn the_encoder_writes_the_same_streams() {
    for golden in GOLDEN {
        assert_eq!(hash(&encode(&golden)), golden.bytes, "{}", golden.name);
    }
}

/// Has a decoder in another language, which was written from the specification alone, decode streams.
fn specification_describes(script: &str, model: Option<&[u8]>, streams: &[&Golden]) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut command = std::process::Command::new("python3");
    command.arg("-B").arg(folder.join(script));
    let file = std::env::temp_dir().join(format!("{}-{}.gnm", streams[0].name, std::process::id()));
    if let Some(model) = model {
        std::fs::write(&file, model).unwrap();
        command.arg(&file);
    }
    let output = command.args(streams.iter().map(|g| path(g))).output();
    if model.is_some() {
        std::fs::remove_file(&file).unwrap();
    }
    let Ok(output) = output else {
        eprintln!("skipped: there is no python3");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().count(), streams.len(), "{error}");
    for (line, golden) in text.lines().zip(streams) {
        assert!(line.ends_with(golden.pictures), "{}: {line}", golden.name);
    }
}

#[test]
fn the_specification_describes_these_streams() {
    let streams: Vec<&Golden> = GOLDEN.iter().filter(|g| g.lossy.is_none()).collect();
    specification_describes("reference_decoder.py", None, &streams);
}

/// The networks and the layers, too.
#[test]
fn the_specification_describes_the_networks() {
    let model = Model::synthetic(2026, SIZES).unwrap().1;
    let lossy = GOLDEN.iter().filter(|g| g.lossy.is_some());
    let streams: Vec<&Golden> = lossy.filter(|g| !g.vq()).collect();
    specification_describes("reference_lossy.py", Some(&model), &streams);
}

#[test]
fn the_specification_describes_code_vectors() {
    let model = Model::synthetic_vq(2026, SIZES).unwrap().1;
    let streams: Vec<&Golden> = GOLDEN.iter().filter(|g| g.vq()).collect();
    specification_describes("reference_lossy.py", Some(&model), &streams);
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
            hash(&decode(&file, Layers::All))
        );
        std::fs::write(path(&golden), file).unwrap();
    }
}
