//! Synthesis of whole frames elsewhere than in this crate's kernels: on a GPU. The rest of coding
//! stays here: slices on threads leave their latents and predictions in buffers of the frame.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    copies::{Copies, Copying},
    predict::{Predicted, slice_format},
    slice::{Coder, SliceJob, Workspace, kind_of},
    stages::Stage,
};
use crate::{
    CodecError, Format, Picture, Result,
    bitstream::{Chroma, hex},
    lossless::{SLICE_ROWS, slice_count, slice_rows},
    motion::Reference,
    nets::{
        DecoderNets, Kernels, Kind, LatentInput, Level, Model, SynthesisWorkspace, Xorshift,
        hash_with,
    },
    parallel,
};

/// Samples of an 8-bit 4:2:0 picture as bytes: rows one after the other, without padding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BytePlanes {
    /// Luma samples a row.
    pub width: usize,
    /// Luma rows.
    pub height: usize,
    /// Y, U, V.
    pub planes: [Vec<u8>; 3],
}

impl BytePlanes {
    /// Makes room for pictures of another size; what they show is undefined then.
    pub fn resize(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        for (p, plane) in self.planes.iter_mut().enumerate() {
            let (width, height) = size_of_plane(p, width, height);
            plane.resize(width * height, 128);
        }
    }

    /// Width and height of plane `p`.
    pub fn plane_size(&self, p: usize) -> (usize, usize) {
        size_of_plane(p, self.width, self.height)
    }
}

fn size_of_plane(p: usize, width: usize, height: usize) -> (usize, usize) {
    match p {
        0 => (width, height),
        _ => (width.div_ceil(2), height.div_ceil(2)),
    }
}

/// A frame up to its synthesis.
#[derive(Debug, Clone, Copy)]
pub struct FrameLatents<'a> {
    /// The networks.
    pub kind: Kind,
    /// The level.
    pub level: Level,
    /// Luma samples a row.
    pub width: usize,
    /// Luma rows.
    pub height: usize,
    /// Luma rows of a slice but the last, a multiple of 16. A slice is to the networks a picture of
    /// its own.
    pub slice_rows: usize,
    /// Slices. The last one has what is left: more rows or fewer.
    pub slices: usize,
    /// `[ceil(height / 16)][ceil(width / 16)][latents]`. Those of slices that are damaged are any:
    /// what they show is not used.
    pub latents: LatentInput<'a>,
    /// What the frame is predicted from, for networks of inter pictures.
    pub prediction: Option<&'a BytePlanes>,
}

impl FrameLatents<'_> {
    /// Luma rows of a slice, and slices, of pictures of `height` rows: what frames will have.
    pub fn slicing(height: usize) -> (usize, usize) {
        (SLICE_ROWS, slice_count(height))
    }

    /// The luma rows of slice `i`.
    pub fn rows(&self, i: usize) -> Range<usize> {
        let top = (i * self.slice_rows).min(self.height);
        match i + 1 < self.slices {
            true => top..(top + self.slice_rows).min(self.height),
            false => top..self.height,
        }
    }
}

/// Synthesis of whole frames, for one model.
///
/// It must give what [`DecoderNets::synthesise`] gives for each slice, to the bit:
/// [`check_synthesiser`] finds out.
pub trait Synthesiser: std::fmt::Debug + Send + Sync {
    /// Computes what latents stand for; `picture` has the frame's size already. False if that
    /// cannot be done, and will not be from now on: the CPU does it then.
    ///
    /// # Errors
    /// [`CodecError::Device`] if it cannot be done and the CPU is not to do it.
    fn synthesise(&self, frame: &FrameLatents<'_>, picture: &mut BytePlanes) -> Result<bool>;
}

/// What is needed to use a [`Synthesiser`].
#[derive(Debug)]
pub(crate) struct Elsewhere {
    synthesiser: Arc<dyn Synthesiser>,
    declined: AtomicBool,
    buffers: Mutex<Buffers>,
}

/// A frame's latents, prediction and picture.
#[derive(Debug, Default)]
struct Buffers {
    latents: Vec<i16>,
    prediction: BytePlanes,
    picture: BytePlanes,
}

impl Buffers {
    /// Shows the prediction where slice `i` is copied.
    fn copy(&mut self, copies: &Copies, i: usize) {
        if copies.none() {
            return;
        }
        let rows = slice_rows(self.picture.height, i);
        for p in 0..3 {
            let (width, _) = self.picture.plane_size(p);
            let at = plane_rows(&self.picture, p, rows.clone());
            let from = self
                .prediction
                .planes
                .get(p)
                .and_then(|p| p.get(at.clone()));
            let to = self.picture.planes.get_mut(p).and_then(|p| p.get_mut(at));
            if let (Some(from), Some(to)) = (from, to) {
                copies.apply_plane(p, width, from, to);
            }
        }
    }
}

/// What belongs to a slice of it.
#[derive(Debug)]
struct Part<'a> {
    latents: &'a mut [i16],
    prediction: [&'a mut [u8]; 3],
}

impl Part<'_> {
    /// Takes over a slice's latents, and what it is predicted from.
    fn put(&mut self, job: &SliceJob<'_>, w: &Workspace, prediction: Option<&Picture>) {
        let latents = if job.vq { &w.latents.y } else { &w.q };
        // They are as many on both sides.
        self.latents
            .iter_mut()
            .zip(latents)
            .for_each(|(to, v)| *to = *v);
        let planes = prediction.map_or(&[][..], |p| &p.planes);
        for (to, from) in self.prediction.iter_mut().zip(planes) {
            narrow(to, &from.samples);
        }
    }
}

fn narrow(to: &mut [u8], from: &[u16]) {
    to.iter_mut().zip(from).for_each(|(to, &v)| *to = v as u8);
}

fn widen(to: &mut [u16], from: &[u8]) {
    to.iter_mut().zip(from).for_each(|(to, &v)| *to = v.into());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// What encoder and decoder know of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameJob<'a> {
    pub(crate) model: &'a Model,
    pub(crate) format: Format,
    pub(crate) level: Level,
    /// Whether the profile is `vq`.
    pub(crate) vq: bool,
    /// Which macroblocks of predicted frames are copied; a decoder needs to know whether any are.
    pub(crate) copying: Copying,
    /// Whether the stream is compact.
    pub(crate) compact: bool,
    pub(crate) threads: usize,
}

impl<'a> FrameJob<'a> {
    /// Slice `i`.
    pub(crate) fn slice(&self, i: usize) -> SliceJob<'a> {
        SliceJob {
            model: self.model,
            format: self.format,
            rows: slice_rows(self.format.height as usize, i),
            level: self.level,
            vq: self.vq,
            copying: self.copying,
            compact: self.compact,
        }
    }

    fn slices(&self) -> usize {
        slice_count(self.format.height as usize)
    }
}

impl Elsewhere {
    /// The slices' parts of the buffers, in order.
    fn parts<'a>(
        buffers: &'a mut Buffers,
        job: &FrameJob<'_>,
        nets: &DecoderNets,
        predicted: bool,
    ) -> Vec<Mutex<Part<'a>>> {
        let (width, height) = (job.format.width as usize, job.format.height as usize);
        let row = width.div_ceil(16) * nets.latents();
        buffers.latents.resize(height.div_ceil(16) * row, 0);
        buffers.picture.resize(width, height);
        if predicted {
            buffers.prediction.resize(width, height);
        }
        let mut latents = buffers.latents.as_mut_slice();
        let mut planes = buffers.prediction.planes.each_mut().map(Vec::as_mut_slice);
        let sizes = [0, 1, 2].map(|p| size_of_plane(p, width, height));
        let part = |i| {
            let rows = slice_rows(height, i);
            let count = latents_of(&rows, row).len();
            let mut p = 0;
            let prediction = planes.each_mut().map(|plane| {
                let own = rows_of_plane(p, sizes[p], rows.clone());
                p += 1;
                match predicted {
                    true => plane.split_off_mut(..own.len()).unwrap_or_default(),
                    false => &mut [],
                }
            });
            Mutex::new(Part {
                latents: latents.split_off_mut(..count).unwrap_or_default(),
                prediction,
            })
        };
        (0..job.slices()).map(part).collect()
    }
}

impl Coder {
    /// Has frames synthesised elsewhere.
    pub(crate) fn synthesise_elsewhere(&mut self, synthesiser: Arc<dyn Synthesiser>) {
        self.elsewhere = Some(Elsewhere {
            synthesiser,
            declined: AtomicBool::new(false),
            buffers: Mutex::default(),
        });
    }

    /// Where frames are synthesised, if not here.
    pub(crate) fn elsewhere(&self) -> Option<&Elsewhere> {
        let elsewhere = self.elsewhere.as_ref()?;
        (!elsewhere.declined.load(Ordering::Relaxed)).then_some(elsewhere)
    }

    /// Decodes a frame's slices, `data` gives their bytes, into `picture`. For each that is whole,
    /// which luma rows of the reference it depends on, if any.
    ///
    /// # Errors
    /// Those of [`Synthesiser::synthesise`].
    pub(crate) fn decode_frame<'d>(
        &self,
        elsewhere: &Elsewhere,
        job: &FrameJob<'_>,
        data: impl Fn(usize) -> Option<&'d [u8]> + Sync,
        reference: Option<&Reference>,
        picture: &mut Picture,
    ) -> Result<Vec<Option<Option<Range<usize>>>>> {
        let kind = kind_of(reference.is_some());
        let Ok(nets) = job.model.decoder(kind) else {
            return Ok(vec![None; job.slices()]);
        };
        let buffers = &mut *lock(&elsewhere.buffers);
        let parts = Elsewhere::parts(buffers, job, nets, reference.is_some());
        let found = parallel::map(parts.len(), job.threads, |i| {
            let (slice, mut part) = (job.slice(i), lock(parts.get(i)?));
            let data = data(i)?;
            self.with(|w| {
                let (prediction, reached) = self.read(&slice, nets, data, reference, w).ok()?;
                part.put(&slice, w, prediction.as_ref());
                if let Some(prediction) = prediction {
                    self.pools().give_picture(prediction);
                }
                Some((reached, w.copies.clone()))
            })
        });
        drop(parts);
        if found.iter().any(Option::is_some) {
            self.finish(elsewhere, job, kind, buffers)?;
        }
        for (i, found) in found.iter().enumerate() {
            if let Some((_, copies)) = found {
                buffers.copy(copies, i);
                put_rows(picture, &buffers.picture, i);
            }
        }
        let reached = |found: Option<(_, _)>| found.map(|(reached, _)| reached);
        Ok(found.into_iter().map(reached).collect())
    }

    /// Codes a frame: the bytes of its slices, and what the decoder will see.
    ///
    /// # Errors
    /// As [`Self::encode`], and those of [`Synthesiser::synthesise`].
    pub(crate) fn encode_frame(
        &self,
        elsewhere: &Elsewhere,
        job: &FrameJob<'_>,
        picture: &Picture,
        predicted: &[Option<Predicted>],
    ) -> Result<(Vec<Vec<u8>>, Picture)> {
        let kind = kind_of(!predicted.is_empty());
        let nets = job.model.decoder(kind)?;
        let buffers = &mut *lock(&elsewhere.buffers);
        // Codes the slices that have an entry, with these copies; what the others left in the buffers
        // stays there.
        let code = |buffers: &mut Buffers, chosen: &[Option<Copies>]| {
            let parts = Elsewhere::parts(buffers, job, nets, !predicted.is_empty());
            let slices = parallel::map(parts.len(), job.threads, |i| {
                let Some(copies) = chosen.get(i).and_then(Option::as_ref) else {
                    return Ok(None);
                };
                let (slice, predicted) = (job.slice(i), predicted.get(i).and_then(Option::as_ref));
                let prediction = predicted.map(|p| &p.picture);
                self.with(|w| {
                    self.analyse(&slice, picture, prediction, w)?;
                    w.copies.clone_from(copies);
                    let bytes = self.write(&slice, predicted, w)?;
                    if let Some(part) = parts.get(i) {
                        lock(part).put(&slice, w, prediction);
                    }
                    Ok(Some(bytes))
                })
            });
            drop(parts);
            let slices = slices.into_iter().collect::<Result<Vec<_>>>()?;
            self.finish(elsewhere, job, kind, buffers)?;
            Ok(slices)
        };
        let without = (0..job.slices()).map(|i| Some(Copies::none_of(job.slice(i).latents())));
        let mut slices = code(buffers, &without.collect::<Vec<_>>())?;
        let mut out = self.pools().grey(job.format);
        (0..job.slices()).for_each(|i| put_rows(&mut out, &buffers.picture, i));
        if job.copying.is_used() && !predicted.is_empty() {
            let chosen = self.choose_for_frame(job, nets, picture, predicted, (buffers, &out));
            if chosen.iter().any(Option::is_some) {
                let again = code(buffers, &chosen)?;
                for (i, (copies, bytes)) in chosen.iter().zip(again).enumerate() {
                    if let (Some(copies), Some(slice)) = (copies, slices.get_mut(i)) {
                        *slice = bytes;
                        buffers.copy(copies, i);
                        put_rows(&mut out, &buffers.picture, i);
                    }
                }
            }
        }
        let slices = slices.into_iter().map(Option::unwrap_or_default).collect();
        Ok((slices, out))
    }

    /// The copies of each slice that has any, of a frame whose latents lie in the buffers, and that
    /// looks like `coded` without copies.
    fn choose_for_frame(
        &self,
        job: &FrameJob<'_>,
        nets: &DecoderNets,
        picture: &Picture,
        predicted: &[Option<Predicted>],
        (buffers, coded): (&Buffers, &Picture),
    ) -> Vec<Option<Copies>> {
        let row = (job.format.width as usize).div_ceil(16) * nets.latents();
        let choose = |i: usize| {
            let slice = job.slice(i);
            let latents = buffers.latents.get(latents_of(&slice.rows, row));
            let latents = latents.unwrap_or_default();
            let prediction = predicted.get(i).and_then(Option::as_ref)?;
            let mut copies = Copies::none_of(slice.latents());
            let coded = (coded, slice.rows.start);
            let any = copies.choose(&slice.choice(picture, &prediction.picture, coded, latents));
            any.then_some(copies)
        };
        parallel::map(job.slices(), job.threads, choose)
    }

    /// The picture of what lies in the buffers.
    fn finish(
        &self,
        elsewhere: &Elsewhere,
        job: &FrameJob<'_>,
        kind: Kind,
        buffers: &mut Buffers,
    ) -> Result<()> {
        let frame = FrameLatents {
            kind,
            level: job.level,
            width: job.format.width as usize,
            height: job.format.height as usize,
            slice_rows: SLICE_ROWS,
            slices: job.slices(),
            latents: if job.vq {
                LatentInput::Whole(&buffers.latents)
            } else {
                LatentInput::Quantised(&buffers.latents)
            },
            prediction: (kind == Kind::Inter).then_some(&buffers.prediction),
        };
        let picture = &mut buffers.picture;
        self.timed(Stage::Synthesis, || {
            if elsewhere.synthesiser.synthesise(&frame, picture)? {
                return Ok(());
            }
            elsewhere.declined.store(true, Ordering::Relaxed);
            on_cpu(&self.kernels, job.model, &frame, picture)
        })
    }
}

/// Where the latents of luma rows are among those of a frame with `row` latents a row.
fn latents_of(rows: &Range<usize>, row: usize) -> Range<usize> {
    rows.start / 16 * row..rows.end.div_ceil(16) * row
}

/// Copies the rows of slice `i`.
fn put_rows(picture: &mut Picture, from: &BytePlanes, i: usize) {
    for (p, to) in picture.planes.iter_mut().enumerate() {
        let at = plane_rows(from, p, slice_rows(from.height, i));
        let plane = from.planes.get(p).and_then(|p| p.get(at.clone()));
        if let (Some(to), Some(from)) = (to.samples.get_mut(at), plane) {
            widen(to, from);
        }
    }
}

/// Samples of plane `p` that belong to luma rows.
fn plane_rows(planes: &BytePlanes, p: usize, rows: Range<usize>) -> Range<usize> {
    rows_of_plane(p, planes.plane_size(p), rows)
}

/// Samples of plane `p`, of a size, that belong to luma rows which begin at an even one.
fn rows_of_plane(p: usize, (width, height): (usize, usize), rows: Range<usize>) -> Range<usize> {
    match p {
        0 => rows.start * width..rows.end * width,
        _ => rows.start / 2 * width..rows.end.div_ceil(2).min(height) * width,
    }
}

/// Synthesis of a frame by this crate's kernels, slice by slice on one thread.
///
/// # Errors
/// As [`DecoderNets::synthesise`].
fn on_cpu(
    kernels: &Kernels,
    model: &Model,
    frame: &FrameLatents<'_>,
    picture: &mut BytePlanes,
) -> Result<()> {
    let nets = model.decoder(frame.kind)?;
    let format = Format {
        width: frame.width as u32,
        height: frame.height as u32,
        chroma: Chroma::C420,
        depth: 8,
    };
    let row = frame.width.div_ceil(16) * nets.latents();
    let mut workspace = SynthesisWorkspace::default();
    for rows in (0..frame.slices).map(|i| frame.rows(i)) {
        let mut out = Picture::grey(slice_format(format, &rows));
        let at = latents_of(&rows, row);
        let latents = match frame.latents {
            LatentInput::Quantised(q) => LatentInput::Quantised(q.get(at).unwrap_or_default()),
            LatentInput::Whole(y) => LatentInput::Whole(y.get(at).unwrap_or_default()),
        };
        let prediction = frame.prediction.map(|planes| {
            let mut slice = Picture::grey(out.format);
            for (p, to) in slice.planes.iter_mut().enumerate() {
                let at = plane_rows(planes, p, rows.clone());
                let from = planes.planes.get(p).and_then(|p| p.get(at));
                widen(&mut to.samples, from.unwrap_or_default());
            }
            slice
        });
        let (level, w) = (frame.level, &mut workspace);
        nets.synthesise_from(kernels, level, latents, prediction.as_ref(), &mut out, w)?;
        for (p, from) in out.planes.iter().enumerate() {
            let at = plane_rows(picture, p, rows.clone());
            if let Some(to) = picture.planes.get_mut(p).and_then(|p| p.get_mut(at)) {
                narrow(to, &from.samples);
            }
        }
    }
    Ok(())
}

/// Checks that a synthesiser for a model computes what this crate's kernels do: the model's own
/// conformance check with its synthesis, and what that does not cover (slices, whole latents), on
/// invented latents.
///
/// # Errors
/// [`CodecError::Device`] if a result differs or none comes.
pub fn check_synthesiser(model: &Model, synthesiser: &dyn Synthesiser) -> Result<()> {
    let run = |frame: &FrameLatents<'_>, picture: &mut BytePlanes| {
        picture.resize(frame.width, frame.height);
        match synthesiser.synthesise(frame, picture)? {
            true => Ok(()),
            false => Err(CodecError::Device("it declines".into())),
        }
    };
    for kind in Kind::ALL {
        let Ok(nets) = model.decoder(kind) else {
            continue;
        };
        let (mut bytes, mut out) = (BytePlanes::default(), BytePlanes::default());
        let found = hash_with(nets, |level, q, prediction, picture| {
            let (width, height) = (
                picture.format.width as usize,
                picture.format.height as usize,
            );
            if let Some(prediction) = prediction {
                bytes.resize(width, height);
                for (to, from) in bytes.planes.iter_mut().zip(&prediction.planes) {
                    narrow(to, &from.samples);
                }
            }
            let frame = FrameLatents {
                kind,
                level,
                width,
                height,
                slice_rows: SLICE_ROWS,
                slices: 1,
                latents: LatentInput::Quantised(q),
                prediction: prediction.map(|_| &bytes),
            };
            run(&frame, &mut out)?;
            for (to, from) in picture.planes.iter_mut().zip(&out.planes) {
                widen(&mut to.samples, from);
            }
            Ok(())
        })?;
        let stated = model.check(kind);
        if found != stated {
            return Err(CodecError::Device(format!(
                "its arithmetic is another: the {} networks give {} there, {} is stated by the model",
                kind.name(),
                hex(&found),
                hex(&stated)
            )));
        }
        check_slices(model, nets, kind, run)?;
    }
    Ok(())
}

/// Levels, and heights of frames whose last slice has more rows than others, or fewer.
const SLICED: [(u8, usize); 3] = [
    (0, 2 * SLICE_ROWS + 27),
    (16, 2 * SLICE_ROWS + 43),
    (31, SLICE_ROWS + 31),
];

fn check_slices(
    model: &Model,
    nets: &DecoderNets,
    kind: Kind,
    run: impl Fn(&FrameLatents<'_>, &mut BytePlanes) -> Result<()>,
) -> Result<()> {
    let width = 51usize;
    let mut random = Xorshift::new();
    let kernels = Kernels::best();
    let (mut out, mut wanted) = (BytePlanes::default(), BytePlanes::default());
    let mut prediction = BytePlanes::default();
    for (level, height) in SLICED {
        let count = width.div_ceil(16) * height.div_ceil(16) * nets.latents();
        prediction.resize(width, height);
        wanted.resize(width, height);
        for plane in &mut prediction.planes {
            plane.fill_with(|| random.below(256) as u8);
        }
        let q: Vec<i16> = (0..count).map(|_| random.around(9) as i16).collect();
        let y: Vec<i16> = (0..count).map(|_| random.around(2047) as i16).collect();
        for latents in [LatentInput::Quantised(&q), LatentInput::Whole(&y)] {
            let frame = FrameLatents {
                kind,
                level: Level::new(level)?,
                width,
                height,
                slice_rows: SLICE_ROWS,
                slices: slice_count(height),
                latents,
                prediction: (kind == Kind::Inter).then_some(&prediction),
            };
            run(&frame, &mut out)?;
            on_cpu(&kernels, model, &frame, &mut wanted)?;
            if out != wanted {
                return Err(CodecError::Device(format!(
                    "its arithmetic is another: slices of the {} networks differ from the CPU's at level {level}",
                    kind.name()
                )));
            }
        }
    }
    Ok(())
}
