//! Speed of the networks for 1280x720: `nets_speed [MILLISECONDS]`.
//! Times are those of the processor, each the mean over that many.

use gstneural_codec::{
    Format, Picture,
    bitstream::Chroma,
    nets::{
        AnalysisWorkspace, HYPER, HyperAnalysisWorkspace, HyperWorkspace, Kernels, Kind, Level,
        Model, Sizes, SynthesisWorkspace,
    },
};

const SIZES: Sizes = Sizes {
    groups: &[48, 96, 240],
    hidden: 64,
    features: 48,
    expanded: 96,
    blocks: 3,
    encoder_blocks: Some(2),
    inter: true,
};
const FORMAT: Format = Format {
    width: 1280,
    height: 720,
    chroma: Chroma::C420,
    depth: 8,
};
const ROWS: usize = 45;
const COLUMNS: usize = 80;
/// Rows of latents of a slice.
const SLICE: usize = 4;

/// Milliseconds that this process had of processors, in steps of 10, with threads that have ended.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may contain anything: user and system time are fields 12 and 13.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() * 10.0
}

/// The mean time of a frame, over `ms` milliseconds.
fn mean(ms: f64, mut job: impl FnMut()) -> f64 {
    job();
    let start = cpu_ms();
    let mut frames = 0.0;
    while cpu_ms() - start < ms {
        job();
        frames += 1.0;
    }
    (cpu_ms() - start) / frames
}

/// Millions of multiplications of a trunk with `inputs` inputs and what surrounds it.
fn trunk_macs(inputs: usize, blocks: usize) -> f64 {
    let (c, e, m) = (SIZES.features, SIZES.expanded, SIZES.latents());
    let position = inputs * c + blocks * (9 * c + 2 * c * e);
    (4 * ROWS * COLUMNS * position + ROWS * COLUMNS * m * 384) as f64 / 1e6
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ms = std::env::args().nth(1).map_or(Ok(1000.0), |a| a.parse())?;
    let (model, _) = Model::synthetic(1, SIZES)?;
    let level = Level::new(8)?;
    let mut picture = Picture::grey(FORMAT);
    for plane in &mut picture.planes {
        for (i, s) in plane.samples.iter_mut().enumerate() {
            *s = (i / 3 % 251) as u16;
        }
    }
    let (c, h, m) = (SIZES.features, SIZES.hidden, SIZES.latents());
    let n = ROWS * COLUMNS * m;
    let z_row = COLUMNS.div_ceil(4) * HYPER;
    let slices = ROWS.div_ceil(SLICE);
    for kernels in Kernels::all() {
        for kind in Kind::ALL {
            let (decoder, encoder) = (model.decoder(kind)?, model.encoder(kind)?);
            let prediction = (kind == Kind::Inter).then_some(&picture);
            let inputs = if kind == Kind::Inter { 192 } else { 96 };
            let (mut y, mut z) = (vec![0; n], vec![0; slices * z_row]);
            let mut workspace = AnalysisWorkspace::default();
            let analysis = mean(ms, || {
                let (w, y) = (&mut workspace, &mut y[..]);
                let done = encoder.analyse(&kernels, level, &picture, prediction, y, w);
                assert!(done.is_ok());
            });
            let mut workspace = HyperAnalysisWorkspace::default();
            let row = SLICE * COLUMNS * m;
            let hyper_analysis = mean(ms, || {
                for (y, z) in y.chunks(row).zip(z.chunks_mut(z_row)) {
                    let size = [y.len() / (COLUMNS * m), COLUMNS];
                    let done = encoder.hyper_analyse(&kernels, level, size, y, z, &mut workspace);
                    assert!(done.is_ok());
                }
            });
            let (mut index, mut mean8) = (vec![0; row], vec![0; row]);
            let q = vec![1; row];
            let mut workspace = HyperWorkspace::default();
            let hyper = mean(ms, || {
                let (hyper, w) = (decoder.hyper(), &mut workspace);
                for (band, z) in z.chunks(z_row).enumerate() {
                    let rows = SLICE.min(ROWS - band * SLICE);
                    assert!(hyper.begin(&kernels, [rows, COLUMNS], z, w).is_ok());
                    for (group, (_, size)) in hyper.groups().enumerate() {
                        let n = rows * COLUMNS * size;
                        let (index, mean8) = (&mut index[..n], &mut mean8[..n]);
                        let done = hyper.spread(&kernels, level, group, w, index, mean8);
                        assert!(done.is_ok());
                        assert!(hyper.learn(&kernels, level, group, &q[..n], w).is_ok());
                    }
                }
            });
            let q: Vec<i16> = y.iter().map(|y| (y >> 9) as i16).collect();
            let mut out = Picture::grey(FORMAT);
            let mut workspace = SynthesisWorkspace::default();
            let synthesis = mean(ms, || {
                let (w, out) = (&mut workspace, &mut out);
                let done = decoder.synthesise(&kernels, level, &q, prediction, out, w);
                assert!(done.is_ok());
            });
            let positions = (ROWS * COLUMNS) as f64 / 1e6;
            let deep = (slices * COLUMNS.div_ceil(4)) as f64 / 1e6;
            let analysis_macs = trunk_macs(inputs, 2) + positions * (4 * c * m) as f64;
            let synthesis_macs = trunk_macs(inputs, 3) + positions * (4 * c * 96) as f64;
            let contexts = SIZES.groups[..SIZES.groups.len() - 1].iter();
            let contexts: usize = contexts.map(|g| 9 * g + (h + 2 * g) * h).sum();
            let hyper_macs = positions * (9 * h + h * h + 2 * h * m + contexts) as f64
                + deep * (HYPER * 4 * h + 4 * (9 * h + h * h + 4 * h * h)) as f64;
            let hyper_analysis_macs =
                positions * (m * h + 9 * h + h * h + h * h) as f64 + deep * (4 * h * HYPER) as f64;
            println!("{}, {}:", kernels.name(), kind.name());
            for (what, ms, macs) in [
                ("analysis", analysis, analysis_macs),
                ("hyper analysis", hyper_analysis, hyper_analysis_macs),
                ("hyper synthesis", hyper, hyper_macs),
                ("synthesis", synthesis, synthesis_macs),
            ] {
                let speed = macs / ms;
                println!("  {what:16} {ms:7.2} ms {macs:6.0} million MAC {speed:6.1} GMAC/s");
            }
        }
    }
    Ok(())
}
