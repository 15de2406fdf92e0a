//! The codec's synthesis against its plain kernels.

use gstneural_codec::{
    Format, Picture,
    bitstream::Chroma,
    nets::{
        DecoderNets, DenseNumbers, DepthwiseNumbers, Kernels, Kind, Level, Model, Sizes,
        SynthesisWorkspace,
    },
};
use gstneural_cuda::{
    Cargo, DenseLayer, DepthwiseLayer, DeviceBuffer, DeviceFrame, DeviceSynthesis, SynthesisLayers,
};
use gstneural_pixels::{Color, FrameBuf, PixelFormat};

use crate::Rig;

const SIZES: [Sizes; 2] = [
    Sizes {
        groups: &[8, 8],
        hidden: 16,
        features: 16,
        expanded: 32,
        blocks: 2,
        encoder_blocks: None,
        inter: true,
    },
    // Nothing is a multiple of anything.
    Sizes {
        groups: &[5, 9, 7],
        hidden: 11,
        features: 37,
        expanded: 53,
        blocks: 3,
        encoder_blocks: None,
        inter: true,
    },
];

fn dense(n: DenseNumbers) -> DenseLayer {
    DenseLayer {
        inputs: n.inputs,
        outputs: n.outputs,
        weights: n.weights,
        bias: n.bias,
        shift: n.shift,
        low: n.low,
    }
}

fn depthwise(n: DepthwiseNumbers) -> DepthwiseLayer {
    DepthwiseLayer {
        weights: n.weights,
        bias: n.bias,
        shift: n.shift,
    }
}

fn layers(nets: &DecoderNets) -> SynthesisLayers {
    let n = nets.synthesis_numbers();
    let blocks = n
        .blocks
        .into_iter()
        .map(|b| (depthwise(b.depthwise), dense(b.up), dense(b.down)));
    SynthesisLayers {
        steps: n.steps,
        direct: dense(n.direct),
        input: dense(n.input),
        blocks: blocks.collect(),
        out: dense(n.out),
    }
}

/// Rows `from..to` of a frame as a picture of the codec's.
fn picture(frame: &FrameBuf, from: usize, to: usize) -> Picture {
    let format = Format {
        width: frame.width() as u32,
        height: (to - from) as u32,
        chroma: Chroma::C420,
        depth: 8,
    };
    let mut out = Picture::grey(format);
    for (c, plane) in out.planes.iter_mut().enumerate() {
        let frame = frame.as_ref();
        let (comp, top) = (frame.component(c), if c == 0 { from } else { from / 2 });
        for (i, sample) in plane.samples.iter_mut().enumerate() {
            *sample = comp.get(i % plane.width, top + i / plane.width) as u16;
        }
    }
    out
}

/// On the CPU, slice by slice.
fn on_cpu(
    nets: &DecoderNets,
    level: Level,
    (q, whole): (&[i16], bool),
    prediction: Option<&FrameBuf>,
    like: &FrameBuf,
    (slice_rows, slices): (usize, usize),
) -> Vec<Picture> {
    let row = like.width().div_ceil(16) * nets.latents();
    let mut q = q;
    (0..slices)
        .map(|i| {
            let top = i * slice_rows;
            let end = match i + 1 < slices {
                true => top + slice_rows,
                false => like.height(),
            };
            let mut out = picture(like, top, end);
            let prediction = prediction.map(|p| picture(p, top, end));
            let (own, rest) = q.split_at((end - top).div_ceil(16) * row);
            q = rest;
            let (p, mut w) = (prediction.as_ref(), SynthesisWorkspace::default());
            let k = Kernels::plain();
            if whole {
                nets.synthesise_whole(&k, level, own, p, &mut out, &mut w)
            } else {
                nets.synthesise(&k, level, own, p, &mut out, &mut w)
            }
            .unwrap();
            out
        })
        .collect()
}

#[test]
fn pictures_equal_the_cpu_s() {
    let mut rig = Rig::new(61);
    let mut seen = std::collections::BTreeSet::new();
    for (i, sizes) in SIZES.into_iter().enumerate() {
        let (model, _) = Model::synthetic(7 + i as u64, sizes).unwrap();
        for kind in Kind::ALL {
            let nets = model.decoder(kind).unwrap();
            let layers = layers(nets);
            for (size, slice_rows, slices, format) in [
                ((91, 75), 64, None, PixelFormat::I420),
                ((64, 64), 16, None, PixelFormat::Nv12),
                ((16, 130), 64, None, PixelFormat::Nv12),
                ((16, 130), 64, Some(2), PixelFormat::Nv12),
                ((33, 43), 16, Some(1), PixelFormat::I420),
                ((5, 3), 64, None, PixelFormat::I420),
            ] {
                let mut synthesis =
                    DeviceSynthesis::new(&rig.stream, &layers, size, slice_rows).unwrap();
                if let Some(slices) = slices {
                    synthesis = synthesis.with_slices(slices).unwrap();
                }
                let count = slices.unwrap_or(size.1.div_ceil(slice_rows));
                let slices = (slice_rows, count);
                for (level, whole) in [(0, false), (16, false), (31, false), (16, true)] {
                    let count = synthesis.latent_bytes() / 2;
                    let most = if whole { 2047 } else { 9 };
                    let q = (0..count).map(|_| rig.random.i16(-most..=most));
                    let q: Vec<i16> = q.collect();
                    let bytes: Vec<u8> = q.iter().flat_map(|v| v.to_ne_bytes()).collect();
                    let on_device = DeviceBuffer::with(&rig.stream, &bytes, Cargo::Frame).unwrap();
                    let color = Color::default();
                    let reference = rig.noise(format, size, color);
                    let prediction = (kind == Kind::Inter).then_some(reference);
                    let before = rig.noise(format, size, color);
                    let frame = rig.up(&before);
                    let uploaded = prediction.as_ref().map(|p| rig.up(p));
                    let predicted: Option<DeviceFrame> = uploaded.as_ref().map(|p| p.frame());
                    let run = match whole {
                        true => DeviceSynthesis::run_whole,
                        false => DeviceSynthesis::run,
                    };
                    run(
                        &mut synthesis,
                        &rig.kernels,
                        &rig.stream,
                        usize::from(level),
                        &on_device,
                        predicted.as_ref(),
                        &frame.frame(),
                    )
                    .unwrap();
                    let level = Level::new(level).unwrap();
                    let (q, p) = ((&q[..], whole), prediction.as_ref());
                    let wanted = on_cpu(nets, level, q, p, &before, slices);
                    let result = rig.down(&frame);
                    for (n, wanted) in wanted.iter().enumerate() {
                        let top = n * slice_rows;
                        let end = top + wanted.format.height as usize;
                        let got = picture(&result, top, end);
                        for (a, b) in got.planes.iter().zip(&wanted.planes) {
                            assert_eq!(a.samples, b.samples, "{i} {kind:?} {size:?} slice {n}");
                            seen.extend(a.samples.iter().copied());
                        }
                    }
                }
            }
        }
    }
    assert!(seen.len() > 200, "results hardly differ: {seen:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut rig = Rig::new(62);
    let (model, _) = Model::synthetic(3, SIZES[0]).unwrap();
    let intra = layers(model.decoder(Kind::Intra).unwrap());
    let new = |layers: &SynthesisLayers, size, rows| {
        DeviceSynthesis::new(&rig.stream, layers, size, rows).is_err()
    };
    assert!(new(&intra, (0, 16), 64) && new(&intra, (16, 16), 24) && new(&intra, (16, 16), 0));
    let mut wrong = intra.clone();
    wrong.out.inputs[0] += 1;
    assert!(new(&wrong, (16, 16), 64));
    let mut wrong = intra.clone();
    wrong.blocks[0].0.weights.pop();
    assert!(new(&wrong, (16, 16), 64));
    let mut wrong = intra.clone();
    wrong.input.shift = 16;
    assert!(new(&wrong, (16, 16), 64));
    let mut wrong = intra.clone();
    wrong.steps.pop();
    assert!(new(&wrong, (16, 16), 64));
    for (slices, fits) in [(0, false), (1, true), (2, true), (3, false)] {
        let made = DeviceSynthesis::new(&rig.stream, &intra, (32, 65), 64).unwrap();
        assert_eq!(made.with_slices(slices).is_ok(), fits, "{slices}");
    }
    let mut synthesis = DeviceSynthesis::new(&rig.stream, &intra, (32, 16), 64).unwrap();
    let [good, large] = [(32, 16), (32, 32)].map(|size| {
        let frame = rig.noise(PixelFormat::Nv12, size, Color::default());
        rig.up(&frame)
    });
    let ten = rig.noise(PixelFormat::P01010Le, (32, 16), Color::default());
    let ten = rig.up(&ten);
    let q = DeviceBuffer::zeroed(&rig.stream, synthesis.latent_bytes()).unwrap();
    let few = DeviceBuffer::zeroed(&rig.stream, synthesis.latent_bytes() - 2).unwrap();
    let (k, s) = (&rig.kernels, &rig.stream);
    let mut run = |level, q: &DeviceBuffer, prediction: Option<&DeviceFrame>, to: DeviceFrame| {
        synthesis.run(k, s, level, q, prediction, &to)
    };
    assert!(run(0, &q, None, good.frame()).is_ok());
    assert!(run(32, &q, None, good.frame()).is_err());
    assert!(run(0, &few, None, good.frame()).is_err());
    assert!(run(0, &q, Some(&good.frame()), good.frame()).is_err());
    assert!(run(0, &q, None, large.frame()).is_err());
    assert!(run(0, &q, None, ten.frame()).is_err());
}
