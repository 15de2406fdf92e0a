//! Whole networks and their files.

use std::ops::Range;

use super::super::{
    AnalysisWorkspace, BAND_ROWS, DecoderNets, HYPER, HyperAnalysisWorkspace, HyperWorkspace,
    Kernels, Kind, LEVELS, Level, Model, Sizes, SynthesisWorkspace,
    conformance::Xorshift,
    file::{self, SectionWriter},
};
use crate::{CodecError, Format, Picture, bitstream::Chroma};

pub(super) const SMALL: Sizes = Sizes {
    groups: &[5, 8, 7],
    hidden: 9,
    features: 17,
    expanded: 34,
    blocks: 3,
    encoder_blocks: Some(2),
    inter: true,
};
const TINY: Sizes = Sizes {
    groups: &[1, 1],
    hidden: 1,
    features: 1,
    expanded: 2,
    blocks: 1,
    encoder_blocks: None,
    inter: false,
};

pub(super) fn picture(random: &mut Xorshift, width: u32, height: u32) -> Picture {
    let mut picture = Picture::grey(Format {
        width,
        height,
        chroma: Chroma::C420,
        depth: 8,
    });
    for plane in &mut picture.planes {
        plane.samples.fill_with(|| random.below(256) as u16);
    }
    picture
}

/// The latents of a group of a band.
pub(super) fn part(
    q: &[i16],
    n: usize,
    positions: Range<usize>,
    (first, size): (usize, usize),
) -> Vec<i16> {
    let of = |p: usize| &q[p * n + first..][..size];
    positions.flat_map(of).copied().collect()
}

/// Indices and means of all groups of all bands, in the order of coding.
pub(super) fn spread(
    nets: &DecoderNets,
    kernels: &Kernels,
    level: Level,
    [rows, columns]: [usize; 2],
    z: &[i8],
    q: &[i16],
    workspace: &mut HyperWorkspace,
) -> (Vec<u8>, Vec<i16>) {
    let hyper = nets.hyper();
    let (mut all, mut means) = (Vec::new(), Vec::new());
    let z_row = columns.div_ceil(4) * HYPER;
    for (band, top) in (0..rows).step_by(BAND_ROWS).enumerate() {
        let height = BAND_ROWS.min(rows - top);
        let z = &z[band * z_row..][..z_row];
        hyper
            .begin(kernels, [height, columns], z, workspace)
            .unwrap();
        for (group, channels) in hyper.groups().enumerate() {
            let n = height * columns * channels.1;
            let (mut index, mut mean8) = (vec![0; n], vec![0; n]);
            hyper
                .spread(kernels, level, group, workspace, &mut index, &mut mean8)
                .unwrap();
            all.extend(index);
            means.extend(mean8);
            let positions = top * columns..(top + height) * columns;
            let q = part(q, nets.latents(), positions, channels);
            hyper.learn(kernels, level, group, &q, workspace).unwrap();
        }
    }
    (all, means)
}

/// Everything that the networks give for a picture.
fn all(model: &Model, kernels: &Kernels, kind: Kind) -> impl PartialEq + Send + use<> {
    let mut random = Xorshift(Xorshift::START);
    let (decoder, encoder) = (model.decoder(kind).unwrap(), model.encoder(kind).unwrap());
    let (mut hyper, mut synthesis) = (HyperWorkspace::default(), SynthesisWorkspace::default());
    let mut analysis = AnalysisWorkspace::default();
    let mut hyper_analysis = HyperAnalysisWorkspace::default();
    let mut results = Vec::new();
    // The buffers see another size each time.
    for (width, height, level) in [
        (150, 131, 3),
        (16, 16, 31),
        (91, 75, 0),
        (1, 1, 9),
        (150, 131, 3),
    ] {
        let level = Level::new(level).unwrap();
        let (source, other) = (
            picture(&mut random, width, height),
            picture(&mut random, width, height),
        );
        let prediction = (kind == Kind::Inter).then_some(&other);
        let [rows, columns] = [height, width].map(|n| (n as usize).div_ceil(16));
        let n = rows * columns * decoder.latents();
        let mut y = vec![0; n];
        encoder
            .analyse(kernels, level, &source, prediction, &mut y, &mut analysis)
            .unwrap();
        let z_len = rows.div_ceil(4) * columns.div_ceil(4) * HYPER;
        let mut z = vec![0; z_len];
        let size = [rows, columns];
        encoder
            .hyper_analyse(kernels, level, size, &y, &mut z, &mut hyper_analysis)
            .unwrap();
        let q: Vec<i16> = y.iter().map(|y| (y >> 8) as i16).collect();
        let spread = spread(decoder, kernels, level, size, &z, &q, &mut hyper);
        let mut out = Picture::grey(source.format);
        decoder
            .synthesise(kernels, level, &q, prediction, &mut out, &mut synthesis)
            .unwrap();
        results.push((y, z, spread, out));
    }
    results
}

#[test]
fn neither_threads_nor_kernels_change_anything() {
    let (model, _) = Model::synthetic(1, SMALL).unwrap();
    for kind in Kind::ALL {
        let want = all(&model, &Kernels::plain(), kind);
        for kernels in Kernels::all() {
            for threads in [1, 2, 3, 7] {
                // As many slices at once, with the same networks.
                let same = std::thread::scope(|s| {
                    let run = || all(&model, &kernels, kind);
                    let runs: Vec<_> = (0..threads).map(|_| s.spawn(run)).collect();
                    runs.into_iter().all(|run| run.join().unwrap() == want)
                });
                assert!(same, "{} with {threads} threads", kernels.name());
            }
        }
    }
}

#[test]
fn a_slice_depends_on_nothing_around_it() {
    let (model, _) = Model::synthetic(2, SMALL).unwrap();
    let nets = model.decoder(Kind::Intra).unwrap();
    let (kernels, level) = (Kernels::best(), Level::new(5).unwrap());
    let mut random = Xorshift(Xorshift::START);
    let fresh = |workspace: &mut HyperWorkspace, z: &[i8]| {
        let q = vec![z[0].into(); 4 * 6 * nets.latents()];
        spread(nets, &kernels, level, [4, 6], z, &q, workspace)
    };
    let z: Vec<i8> = (0..2 * HYPER).map(|_| random.around(127) as i8).collect();
    let want = fresh(&mut HyperWorkspace::default(), &z);
    let mut used = HyperWorkspace::default();
    fresh(&mut used, &[127; 2 * HYPER]);
    assert!(fresh(&mut used, &z) == want);
}

#[test]
fn a_missing_prediction_and_wrong_lengths_are_errors() {
    let (model, _) = Model::synthetic(3, SMALL).unwrap();
    let (kernels, level) = (Kernels::best(), Level::new(5).unwrap());
    let mut workspace = SynthesisWorkspace::default();
    let mut random = Xorshift(Xorshift::START);
    let mut out = picture(&mut random, 30, 30);
    let other = picture(&mut random, 30, 31);
    let right = out.clone();
    let q = vec![0; 4 * 20];
    let mut run = |kind, q: &[i16], prediction| {
        model.decoder(kind).unwrap().synthesise(
            &kernels,
            level,
            q,
            prediction,
            &mut out,
            &mut workspace,
        )
    };
    assert!(run(Kind::Intra, &q, None).is_ok());
    assert!(run(Kind::Inter, &q, Some(&right)).is_ok());
    assert!(run(Kind::Intra, &q, Some(&right)).is_err());
    assert!(run(Kind::Inter, &q, None).is_err());
    assert!(run(Kind::Inter, &q, Some(&other)).is_err());
    assert!(run(Kind::Intra, &q[1..], None).is_err());
    let deep = Picture::grey(Format {
        depth: 10,
        ..right.format
    });
    assert!(run(Kind::Inter, &q, Some(&deep)).is_err());
    assert!(Level::new(32).is_err());
    let (model, _) = Model::synthetic(3, TINY).unwrap();
    assert!(model.decoder(Kind::Intra).is_ok());
    assert!(model.decoder(Kind::Inter).is_err());
    assert!(model.encoder(Kind::Intra).is_err());
}

#[test]
fn extreme_latents_are_clipped() {
    let (model, _) = Model::synthetic(4, SMALL).unwrap();
    let nets = model.decoder(Kind::Intra).unwrap();
    for value in [i16::MIN, i16::MAX] {
        let q = vec![value; 4 * 20];
        for kernels in Kernels::all() {
            let mut out = picture(&mut Xorshift(Xorshift::START), 32, 32);
            let mut workspace = SynthesisWorkspace::default();
            let level = Level::new(31).unwrap();
            nets.synthesise(&kernels, level, &q, None, &mut out, &mut workspace)
                .unwrap();
            assert!(out.check(out.format).is_ok());
        }
    }
}

#[test]
fn no_damage_to_a_file_passes_or_panics() {
    let (_, file) = Model::synthetic(5, TINY).unwrap();
    for n in 0..file.len() {
        assert!(Model::parse(&file[..n]).is_err());
    }
    for bit in 0..8 * file.len() {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Model::parse(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn damage_under_a_right_checksum_does_not_panic() {
    let (_, file) = Model::synthetic(6, TINY).unwrap();
    let (decoder, encoder) = file::sections(&file).unwrap();
    for n in 0..decoder.len() {
        let cut = file::write(&decoder[..n], encoder);
        assert!(Model::parse(&cut).is_err());
    }
    let mut random = Xorshift(Xorshift::START);
    let mut unnoticed = 0;
    for byte in 0..decoder.len() {
        let mut damaged = decoder.to_vec();
        damaged[byte] ^= 1 << random.below(8);
        unnoticed += usize::from(Model::parse(&file::write(&damaged, encoder)).is_ok());
    }
    // What the check does not compute with: the tier, tables and biases of levels that it leaves
    // out, and bits that rounding hides.
    let levels = (LEVELS - 3) * (2 * 2 + 2 * 4 + 2 * 4 + 2 * 4) + LEVELS * HYPER;
    assert!(
        unnoticed <= levels + 100,
        "{unnoticed} of {}",
        decoder.len()
    );
}

#[test]
fn a_model_of_other_arithmetic_is_refused() {
    let (_, file) = Model::synthetic(7, TINY).unwrap();
    let (decoder, encoder) = file::sections(&file).unwrap();
    let mut decoder = decoder.to_vec();
    let last = decoder.len() - 1;
    decoder[last] ^= 1;
    let error = Model::parse(&file::write(&decoder, encoder)).unwrap_err();
    assert!(
        matches!(error, CodecError::Conformance { kind: "intra", .. }),
        "{error}"
    );
    assert!(error.to_string().contains("other arithmetic"));
}

#[test]
fn names_and_shapes_are_told() {
    let mut section = SectionWriter::default();
    section.put("tier", &[1], &[1u8]);
    let file = |s: &SectionWriter| file::write(&s.finish(), &[]);
    assert_eq!(
        Model::parse(&file(&section)).unwrap_err(),
        CodecError::NoNetworks("any kind of picture")
    );
    section.put("intra.gs.lin.w", &[1, 1], &[1i16]);
    let error = Model::parse(&file(&section)).unwrap_err().to_string();
    assert!(error.contains("intra.hs.d1.w: missing"), "{error}");
    section.put("tier", &[1], &[1u8]);
    let error = Model::parse(&file(&section)).unwrap_err().to_string();
    assert!(error.contains("tier: there are two"), "{error}");
    let mut section = SectionWriter::default();
    section.put::<u8>("a", &[1 << 31, 1 << 31, 1 << 31], &[]);
    let error = Model::parse(&file(&section)).unwrap_err().to_string();
    assert!(error.contains("too large"), "{error}");
}

/// The hash of a model contains that of its networks' results: neither what they are tried with nor
/// what they compute may change, or models that are in use would be refused.
#[test]
fn the_check_of_models_stays_what_it_is() {
    let (model, _) = Model::synthetic(9, SMALL).unwrap();
    assert_eq!(
        crate::bitstream::hex(model.hash()),
        "036acfd4d169b020db41bfe81acc29f4f29983b3682a4cc286c7ef09e4c32729"
    );
}
