use super::*;
use crate::CodecError;

fn header() -> Header {
    Header {
        profile: Profile::Lossless,
        tier: 3,
        layer: false,
        copies: false,
        compact: false,
        width: 1921,
        height: 1080,
        chroma: Chroma::C422,
        depth: 10,
        colour: Colour {
            range: 1,
            matrix: 9,
            primaries: 9,
            transfer: 18,
        },
        fps: (30000, 1001),
        model: std::array::from_fn(|i| i as u8),
    }
}

fn info() -> UnitInfo {
    UnitInfo {
        frame_type: FrameType::Predicted,
        number: 0xfffffff0,
        references: [1, -2],
        qp: 7,
        picture_crc: Some(0x12345678),
        layer: None,
        compact: false,
    }
}

/// Long and short heads.
fn infos() -> [UnitInfo; 2] {
    [false, true].map(|compact| UnitInfo { compact, ..info() })
}

/// Puts a right CRC at the end of a changed header.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(HEADER_BYTES - 4);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

#[test]
fn headers_come_back() {
    let mut all = Vec::new();
    for profile in [
        Profile::Intra,
        Profile::Inter,
        Profile::Lossless,
        Profile::Vq,
        Profile::Hybrid,
    ] {
        for chroma in [Chroma::Gray, Chroma::C420, Chroma::C422, Chroma::C444] {
            all.push(Header {
                profile,
                chroma,
                copies: profile == Profile::Inter || profile == Profile::Vq,
                layer: profile == Profile::Intra || profile == Profile::Vq,
                compact: chroma == Chroma::C420,
                ..header()
            });
        }
    }
    all.push(Header {
        width: MAX_SIDE,
        height: 1,
        depth: 8,
        ..header()
    });
    for h in all {
        let bytes = h.to_bytes();
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(Header::parse(&bytes), Ok(h));
    }
}

#[test]
fn every_flip_and_every_truncation_of_a_header_is_refused() {
    let bytes = header().to_bytes();
    for bit in 0..8 * bytes.len() {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::parse(&bad).is_err(), "bit {bit}");
    }
    for end in 0..bytes.len() {
        assert!(Header::parse(&bytes[..end]).is_err(), "{end} bytes");
    }
    assert!(Header::parse(&[bytes, vec![0]].concat()).is_err());
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let good = header().to_bytes();
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Header::parse(&sealed(bytes)).unwrap_err()
    };
    assert!(matches!(with(0, b'X'), CodecError::Magic(_)));
    let e = with(4, 2);
    assert_eq!(e, CodecError::Version { found: 2, known: 1 });
    assert!(e.to_string().contains("version 2"));
    // Profile, flags, width, chroma, depth, range, reserved.
    for (at, value) in [
        (5, 5),
        (7, 1),
        (7, 2),
        (9, 0xff),
        (12, 4),
        (13, 9),
        (14, 3),
        (18, 1),
    ] {
        assert!(
            matches!(with(at, value), CodecError::Field { .. }),
            "byte {at}"
        );
    }
    // Lossless streams have neither layers nor copies; a flag that is not known has a name of its own.
    assert!(matches!(with(7, 8), CodecError::Feature(8)));
    let other = [7; 32];
    let e = header().require_model(&other).unwrap_err().to_string();
    assert!(
        e.contains(&hex(&header().model)) && e.contains(&hex(&other)),
        "{e}"
    );
    header().require_model(&header().model).unwrap();
}

#[test]
fn units_come_back() {
    infos().into_iter().for_each(unit_comes_back);
}

fn unit_comes_back(info: UnitInfo) {
    let slices = [vec![1, 2, 3], vec![], vec![9; 1000]];
    let bytes = info.write(&slices).unwrap();
    let unit = AccessUnit::parse(&bytes).unwrap();
    assert_eq!(unit.info, info);
    assert!(unit.slices.iter().all(|s| s.intact));
    assert!(
        unit.slices
            .iter()
            .map(|s| s.data)
            .eq(slices.iter().map(Vec::as_slice))
    );
    let key = UnitInfo {
        frame_type: FrameType::Key,
        references: [0, 0],
        picture_crc: None,
        ..info
    };
    let bytes = key.write(&slices).unwrap();
    assert_eq!(AccessUnit::parse(&bytes).unwrap().info, key);
    // With a layer, and without it again.
    let layer = LayerInfo {
        near: 3,
        refers: true,
        picture_crc: Some(9),
    };
    let layered = UnitInfo {
        layer: Some(layer),
        ..info
    };
    let more = [vec![7; 40], vec![8], vec![]];
    let bytes = layered.write_layered(&slices, &more).unwrap();
    let unit = AccessUnit::parse(&bytes).unwrap();
    assert_eq!(unit.info, layered);
    assert!(unit.slices.iter().all(|s| s.intact) && unit.layer.iter().all(|s| s.intact()));
    assert!(
        unit.layer
            .iter()
            .map(|s| s.data)
            .eq(more.iter().map(Vec::as_slice))
    );
    assert_eq!(without_layer(&bytes).unwrap(), info.write(&slices).unwrap());
    assert_eq!(layered.write(&slices), info.write(&slices));
    assert!(layered.write_layered(&slices, &more[..2]).is_err());
    assert!(info.write_layered(&slices, &more).is_err());
    // The last byte belongs to the second slice of the layer.
    let unit = AccessUnit::parse(&bytes[..bytes.len() - 1]).unwrap();
    assert!(unit.slices.iter().all(|s| s.intact));
    let intact: Vec<bool> = unit.layer.iter().map(LayerSlice::intact).collect();
    assert_eq!(intact, [true, false, true]);
    let none: [Vec<u8>; 0] = [];
    assert!(key.write(&none).is_err());
    assert!(key.write(&vec![vec![]; MAX_SLICES + 1]).is_err());
}

#[test]
fn a_flip_is_refused_in_the_head_and_noted_in_its_slice() {
    infos().into_iter().for_each(flips_are_found);
}

fn flips_are_found(info: UnitInfo) {
    let slices = [vec![1, 2, 3], vec![4; 20], vec![5]];
    let bytes = info.write(&slices).unwrap();
    let head = bytes.len() - 24;
    for bit in 0..8 * bytes.len() {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let unit = AccessUnit::parse(&bad);
        let at = bit / 8;
        if at < head {
            assert!(unit.is_err(), "bit {bit}");
            continue;
        }
        let hit = match at - head {
            0..3 => 0,
            3..23 => 1,
            _ => 2,
        };
        let intact: Vec<bool> = unit.unwrap().slices.iter().map(|s| s.intact).collect();
        let expected: Vec<bool> = (0..3).map(|i| i != hit).collect();
        assert_eq!(intact, expected, "bit {bit}");
    }
    for end in 0..bytes.len() {
        match AccessUnit::parse(&bytes[..end]) {
            Ok(unit) => {
                assert!(end >= head);
                assert!(unit.slices.iter().any(|s| !s.intact));
            }
            Err(_) => assert!(end < head, "{end} bytes"),
        }
    }
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    let reseal = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = info().write(&[[0u8; 2]]).unwrap();
        change(&mut bytes);
        let crc = crc32fast::hash(&bytes[..24]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        AccessUnit::parse(&bytes).map(|_| ())
    };
    assert_eq!(reseal(&|_| {}), Ok(()));
    // A keyframe with references, a predicted frame without, an unknown type, flag, QP, mark, and
    // bytes too many.
    for (at, value) in [(1, 0), (8, 0), (1, 3), (3, 2), (2, 64), (0, 0)] {
        assert!(reseal(&|b| b[at] = value).is_err(), "byte {at}");
    }
    assert!(reseal(&|b| b.push(0)).is_err());
}

#[test]
fn short_heads_are_short() {
    let [long, short] = infos();
    let slices = [vec![1; 30], vec![2; 200], vec![]];
    let sizes = [long, short].map(|i| i.write(&slices).unwrap().len() - 230);
    // Mark, type and flags, QP; number; distances; slices, CRC; index: a slice of 200 bytes has a
    // length of two, an empty one has no CRC.
    assert_eq!(sizes, [44, 3 + 5 + 2 + 1 + 4 + (3 + 4 + 1) + 4]);
    // In a short head fields that contradict each other are refused, too.
    let reseal = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = UnitInfo { number: 5, ..short }.write(&[[0u8; 2]]).unwrap();
        change(&mut bytes);
        let head = bytes.len() - 6;
        let crc = crc32fast::hash(&bytes[..head]);
        bytes[head..head + 4].copy_from_slice(&crc.to_le_bytes());
        AccessUnit::parse(&bytes).map(|u| u.info.number)
    };
    assert_eq!(reseal(&|_| {}), Ok(5));
    // A type and a flag that do not exist, a QP, no distance, no slices.
    for (at, value) in [(1, 3 | 5 << 2), (1, 1 | 13 << 2), (2, 64), (4, 0), (6, 0)] {
        assert!(reseal(&|b| b[at] = value).is_err(), "byte {at}");
    }
    // A number of 33 bits.
    assert!(reseal(&|b| drop(b.splice(3..4, [0xff, 0xff, 0xff, 0xff, 0x1f]))).is_err());
}
