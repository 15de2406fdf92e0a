use super::*;

const MATRICES: [Matrix; 5] = [
    Matrix::Bt601,
    Matrix::Bt709,
    Matrix::Bt2020,
    Matrix::Fcc,
    Matrix::Smpte240m,
];

fn converter(matrix: Matrix, range: Range, depth: u8) -> YuvRgb {
    YuvRgb::new(
        &Color {
            matrix,
            range,
            site: ChromaSite::MPEG2,
        },
        depth,
    )
}

/// Code values of one colour, rounded.
fn codes(k: &YuvRgb, depth: u8, rgb: [f32; 3]) -> [u32; 3] {
    let max = ((1u32 << depth) - 1) as f32;
    let [mut r, mut g, mut b] = rgb.map(|v| vec![v; 11]);
    k.to_yuv(&mut r, &mut g, &mut b);
    [r[10], g[10], b[10]].map(|v| (v * max + 0.5) as u32)
}

#[test]
fn known_colours() {
    // The 100 % bars of BT.601 and BT.709, limited range, 8 bits.
    let bars = [
        ([1.0, 1.0, 1.0], [235, 128, 128], [235, 128, 128]),
        ([1.0, 1.0, 0.0], [210, 16, 146], [219, 16, 138]),
        ([0.0, 1.0, 1.0], [170, 166, 16], [188, 154, 16]),
        ([0.0, 1.0, 0.0], [145, 54, 34], [173, 42, 26]),
        ([1.0, 0.0, 1.0], [106, 202, 222], [78, 214, 230]),
        ([1.0, 0.0, 0.0], [81, 90, 240], [63, 102, 240]),
        ([0.0, 0.0, 1.0], [41, 240, 110], [32, 240, 118]),
        ([0.0, 0.0, 0.0], [16, 128, 128], [16, 128, 128]),
    ];
    for (rgb, bt601, bt709) in bars {
        assert_eq!(
            codes(&converter(Matrix::Bt601, Range::Limited, 8), 8, rgb),
            bt601,
            "{rgb:?}"
        );
        assert_eq!(
            codes(&converter(Matrix::Bt709, Range::Limited, 8), 8, rgb),
            bt709,
            "{rgb:?}"
        );
    }
    // JPEG: red is 76, 85, 256 (clamped to 255 by whoever stores it).
    assert_eq!(
        codes(
            &converter(Matrix::Bt601, Range::Full, 8),
            8,
            [1.0, 0.0, 0.0]
        )[..2],
        [76, 85]
    );
    // Ten bits are the eight-bit codes times 4 for black and white.
    let k = converter(Matrix::Bt2020, Range::Limited, 10);
    assert_eq!(codes(&k, 10, [0.0; 3]), [64, 512, 512]);
    assert_eq!(codes(&k, 10, [1.0; 3]), [940, 512, 512]);
}

#[test]
fn round_trip_within_one_code() {
    for matrix in MATRICES {
        for range in [Range::Full, Range::Limited] {
            for depth in [8, 10] {
                let k = converter(matrix, range, depth);
                let max = ((1u32 << depth) - 1) as f32;
                let (black, white, _) = anchors(range, depth);
                let steps = 23;
                let code = |i: u32| black + (white - black) * i / (steps - 1);
                let mut all = [vec![], vec![], vec![]];
                for i in 0..steps * steps * steps {
                    all[0].push(code(i % steps) as f32 / max);
                    all[1].push(code(i / steps % steps) as f32 / max);
                    all[2].push(code(i / steps / steps) as f32 / max);
                }
                let [mut y, mut u, mut v] = all.clone();
                k.to_rgb(&mut y, &mut u, &mut v);
                let mut luma = vec![0.0; y.len()];
                k.luma(&y, &u, &v, &mut luma);
                k.to_yuv(&mut y, &mut u, &mut v);
                for i in 0..y.len() {
                    for (now, before) in [(&y, &all[0]), (&u, &all[1]), (&v, &all[2])] {
                        let (now, before) = (now[i] * max, before[i] * max);
                        assert_eq!(
                            (now + 0.5) as i32,
                            before.round() as i32,
                            "{matrix:?} {range:?}"
                        );
                    }
                    assert!((luma[i] - y[i]).abs() < 1e-6);
                }
            }
        }
    }
}

#[test]
fn rgb_round_trip_through_quantised_yuv() {
    // Quantised to YUV of the same depth a colour moves by a code or two, no more; grey by at
    // most one, since the limited range has fewer codes.
    for matrix in MATRICES {
        for range in [Range::Full, Range::Limited] {
            let k = converter(matrix, range, 8);
            for code in 0..=255 {
                let grey = codes(&k, 8, [code as f32 / 255.0; 3]);
                let [mut y, mut u, mut v] = grey.map(|c| [c as f32 / 255.0]);
                k.to_rgb(&mut y, &mut u, &mut v);
                for c in [y[0], u[0], v[0]] {
                    let back = (c * 255.0).round() as i32;
                    assert!(
                        (back - code).abs() <= 1,
                        "{matrix:?} {range:?} {code} {back}"
                    );
                }
            }
        }
    }
}

#[test]
fn gain_of_luma() {
    for (range, depth, gain) in [
        (Range::Full, 8, 1.0),
        (Range::Full, 10, 1.0),
        (Range::Limited, 8, 255.0 / 219.0),
        (Range::Limited, 10, 1023.0 / 876.0),
    ] {
        let k = converter(Matrix::Bt709, range, depth);
        assert!((k.luma_gain() - gain).abs() < 1e-6);
        let mut low = ([0.3f32], [0.5f32], [0.5f32]);
        let mut high = ([0.4f32], [0.5f32], [0.5f32]);
        k.to_rgb(&mut low.0, &mut low.1, &mut low.2);
        k.to_rgb(&mut high.0, &mut high.1, &mut high.2);
        for (l, h) in [(low.0, high.0), (low.1, high.1), (low.2, high.2)] {
            assert!((h[0] - l[0] - 0.1 * gain).abs() < 1e-5);
        }
    }
}
