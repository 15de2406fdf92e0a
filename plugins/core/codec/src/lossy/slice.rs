//! A slice of a lossy frame: its vectors, hyper-latents, latents.

use std::{ops::Range, sync::Mutex};

use super::{
    copies::{self, Choice, Copies, Copying},
    elsewhere::Elsewhere,
    latents,
    predict::{Predicted, cut, slice_format},
    stages::{Clock, Stage},
};
use crate::{
    Format, Picture, Result,
    motion::{Field, FieldScratch, MotionTables, Symbols},
    nets::{
        AnalysisWorkspace, BAND_ROWS, DecoderNets, EncoderNets, HYPER, HyperAnalysisWorkspace,
        HyperWorkspace, Kernels, Kind, LatentInput, Latents, Level, Model, SynthesisWorkspace,
    },
    pool::Pool,
    rans::{Encoder, TableSet},
};

/// Buffers for a slice, used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    hyper: HyperWorkspace,
    pub(super) synthesis: SynthesisWorkspace,
    analysis: AnalysisWorkspace,
    hyper_analysis: HyperAnalysisWorkspace,
    pub(super) z: Vec<i8>,
    pub(super) y: Vec<i32>,
    pub(super) q: Vec<i16>,
    pub(super) index: Vec<u8>,
    pub(super) mean: Vec<i16>,
    pub(super) symbols: Encoder,
    pub(super) fields: FieldScratch,
    pub(super) motion: Symbols,
    pub(super) copies: Copies,
    /// Of a group: latents before they are quantised, and after.
    wanted: Vec<i32>,
    pub(super) part: Vec<i16>,
    /// Of the profile `vq`.
    pub(super) latents: Latents,
}

/// A group of latents of a band.
pub(super) struct Part {
    /// Where the band's latents are among those of the slice.
    band: Range<usize>,
    /// The group's channels.
    channels: Range<usize>,
}

/// Codes and decodes slices with the networks of a model.
#[derive(Debug)]
pub(crate) struct Coder {
    pub(super) kernels: Kernels,
    idle: Mutex<Vec<Workspace>>,
    /// Where whole frames are synthesised, if not here.
    pub(super) elsewhere: Option<Elsewhere>,
    pub(super) clock: Option<Clock>,
    pools: Pools,
}

/// What comes out of the coder and is given back to it when it has been used.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    pictures: Pool<Picture>,
    fields: Pool<Field>,
    bytes: Pool<Vec<u8>>,
}

impl Pools {
    /// A grey picture.
    pub(crate) fn grey(&self, format: Format) -> Picture {
        let Some(mut picture) = self.pictures.take() else {
            return Picture::grey(format);
        };
        picture.reset(format);
        picture
    }

    /// A field of whatever.
    pub(super) fn field(&self) -> Field {
        self.fields.take().unwrap_or_default()
    }

    /// Bytes for a slice.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.take().unwrap_or_default()
    }

    /// Takes a picture back.
    pub(crate) fn give_picture(&self, picture: Picture) {
        self.pictures.give(picture);
    }

    /// Takes a field back.
    pub(crate) fn give_field(&self, field: Field) {
        self.fields.give(field);
    }

    /// Takes the bytes of a slice back.
    pub(crate) fn give_bytes(&self, bytes: Vec<u8>) {
        self.bytes.give(bytes);
    }
}

impl Default for Coder {
    fn default() -> Self {
        Self {
            kernels: Kernels::best(),
            idle: Mutex::new(Vec::new()),
            elsewhere: None,
            clock: None,
            pools: Pools::default(),
        }
    }
}

/// What encoder and decoder know of a slice.
#[derive(Debug, Clone)]
pub(crate) struct SliceJob<'a> {
    pub(crate) model: &'a Model,
    pub(crate) format: Format,
    pub(crate) rows: Range<usize>,
    pub(crate) level: Level,
    /// Whether the profile is `vq`.
    pub(crate) vq: bool,
    /// Which macroblocks of predicted frames are copied; a decoder needs to know whether any are.
    pub(crate) copying: Copying,
    /// Whether the stream is compact.
    pub(crate) compact: bool,
}

/// A slice of fewer bytes has one rANS state, in a compact stream.
const SMALL: usize = 1024;

/// The networks of frames that are predicted, or not.
pub(super) fn kind_of(predicted: bool) -> Kind {
    if predicted { Kind::Inter } else { Kind::Intra }
}

impl SliceJob<'_> {
    /// What copies are chosen by. `coded` is what the decoder will see without them, and the
    /// slice's first row in it.
    pub(super) fn choice<'a>(
        &'a self,
        source: &'a Picture,
        prediction: &'a Picture,
        (coded, coded_top): (&'a Picture, usize),
        latents: &'a [i16],
    ) -> Choice<'a> {
        Choice {
            source,
            rows: &self.rows,
            prediction,
            coded,
            coded_top,
            latents,
            price: copies::price(self.level.get(), self.vq),
            copying: self.copying,
        }
    }

    /// What the synthesis takes: quantised latents, or those of the profile `vq`.
    pub(super) fn coded<'a>(&self, q: &'a [i16], latents: &'a Latents) -> LatentInput<'a> {
        match self.vq {
            true => LatentInput::Whole(&latents.y),
            false => LatentInput::Quantised(q),
        }
    }

    /// Codes symbols, those from `first` on with `others`: a slice's bytes.
    pub(super) fn finish(
        &self,
        symbols: &mut Encoder,
        first: usize,
        others: &TableSet,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        if !self.compact {
            return symbols.finish_both_into(TableSet::laplace(), first, others, bytes);
        }
        let tables = MotionTables::shipped().set();
        symbols.finish_both_into(tables, first, others, bytes)?;
        match bytes.len() < SMALL {
            true => symbols.finish_small_into(tables, first, others, bytes),
            false => Ok(()),
        }
    }

    /// Rows and columns of latents.
    pub(super) fn latents(&self) -> [usize; 2] {
        [self.rows.len(), self.format.width as usize].map(|n| n.div_ceil(16))
    }

    /// Rows and columns of hyper-latents.
    pub(super) fn hyper(&self) -> [usize; 2] {
        self.latents().map(|n| n.div_ceil(BAND_ROWS))
    }
}

impl Coder {
    /// Where what comes out is given back to.
    pub(crate) fn pools(&self) -> &Pools {
        &self.pools
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Workspace) -> T) -> T {
        let lock = || self.idle.lock().unwrap_or_else(|e| e.into_inner());
        let mut workspace = lock().pop().unwrap_or_default();
        let out = work(&mut workspace);
        lock().push(workspace);
        out
    }

    /// Codes a slice of `picture`: its bytes, and what the decoder will see.
    pub(crate) fn encode(
        &self,
        job: &SliceJob<'_>,
        picture: &Picture,
        predicted: Option<&Predicted>,
    ) -> Result<(Vec<u8>, Picture)> {
        let nets = job.model.decoder(kind_of(predicted.is_some()))?;
        let prediction = predicted.map(|p| &p.picture);
        self.with(|w| {
            self.analyse(job, picture, prediction, w)?;
            let bytes = self.write(job, predicted, w)?;
            let coded = self.synthesise(job, nets, prediction, w)?;
            if !self.choose_copies(job, picture, prediction, &coded, w) {
                return Ok((bytes, coded));
            }
            // What is coded beside the copies shows others than before around it.
            self.pools.give_bytes(bytes);
            self.pools.give_picture(coded);
            let bytes = self.write(job, predicted, w)?;
            Ok((bytes, self.synthesise(job, nets, prediction, w)?))
        })
    }

    /// Chooses copies for a slice whose latents are in `w`, and leaves them there; whether there are
    /// any. `coded` is what the decoder will see without them.
    fn choose_copies(
        &self,
        job: &SliceJob<'_>,
        picture: &Picture,
        prediction: Option<&Picture>,
        coded: &Picture,
        w: &mut Workspace,
    ) -> bool {
        let Some(prediction) = prediction.filter(|_| job.copying.is_used()) else {
            return false;
        };
        let latents = job.coded(&w.q, &w.latents).values();
        let choice = job.choice(picture, prediction, (coded, 0), latents);
        w.copies.choose(&choice)
    }

    /// Finds the latents of a slice of `picture` and leaves them in `w`, to be written.
    pub(super) fn analyse(
        &self,
        job: &SliceJob<'_>,
        picture: &Picture,
        prediction: Option<&Picture>,
        w: &mut Workspace,
    ) -> Result<()> {
        let kind = kind_of(prediction.is_some());
        let (nets, analysis) = (job.model.decoder(kind)?, job.model.encoder(kind)?);
        w.copies.reset(job.latents());
        let source = cut(picture, &job.rows, &self.pools);
        let analysed = self.find_latents(job, nets, analysis, &source, prediction, w);
        self.pools.give_picture(source);
        analysed?;
        if job.vq {
            return Ok(());
        }
        self.hyper_analyse(job, nets, analysis, w)
    }

    /// Codes what [`Self::analyse`] found, with the copies in `w`: the slice's bytes. Leaves the
    /// latents that the decoder will have in `w`.
    pub(super) fn write(
        &self,
        job: &SliceJob<'_>,
        predicted: Option<&Predicted>,
        w: &mut Workspace,
    ) -> Result<Vec<u8>> {
        let tables = TableSet::laplace();
        w.symbols.clear();
        let copied = w.copies.all() && predicted.is_some_and(|p| p.field.is_still());
        if let Some(p) = predicted {
            let Workspace {
                symbols,
                copies,
                fields,
                motion,
                ..
            } = w;
            if job.compact {
                let copied = |at| copies.is_copied(at);
                p.field
                    .write_compact(symbols, job.level.get(), copied, motion);
            } else {
                p.field.write_with(symbols, tables, fields);
                if job.copying.is_used() {
                    copies.write(symbols, tables);
                }
            }
        }
        let mut bytes = match job.vq {
            true => self.write_vq(job, predicted.is_some(), w)?,
            false => self.write_spread(job, predicted.is_some(), w)?,
        };
        if copied {
            bytes.clear();
        }
        Ok(bytes)
    }

    /// Codes the hyper-latents and latents in `w`, after the symbols that are there: the slice's
    /// bytes. Leaves the latents that the decoder will have in `w`.
    fn write_spread(
        &self,
        job: &SliceJob<'_>,
        predicted: bool,
        w: &mut Workspace,
    ) -> Result<Vec<u8>> {
        let tables = TableSet::laplace();
        let nets = job.model.decoder(kind_of(predicted))?;
        let first = w.symbols.len();
        w.copies.clear_hyper(&mut w.z);
        let scales = nets.hyper_indices(job.level);
        latents::write_hyper(&mut w.symbols, tables, scales, &w.copies, &w.z);
        let steps = nets.steps(job.level);
        self.groups(job, nets, w, |w, part| {
            let steps = steps.get(part.channels.clone()).unwrap_or_default();
            w.wanted.clear();
            let rows = w.y.get(part.band.clone()).unwrap_or_default();
            for position in rows.chunks_exact(nets.latents()) {
                w.wanted
                    .extend(position.get(part.channels.clone()).unwrap_or_default());
            }
            let spread = (&w.index[..], &w.mean[..]);
            latents::choose(tables, spread, &mut w.wanted, steps, &mut w.part);
            latents::write(&mut w.symbols, tables, &w.index, &w.mean, &w.part);
        })?;
        let mut bytes = self.pools.bytes();
        job.finish(&mut w.symbols, first, tables, &mut bytes)?;
        Ok(bytes)
    }

    /// Analysis: leaves latents in `w`.
    fn find_latents(
        &self,
        job: &SliceJob<'_>,
        nets: &DecoderNets,
        analysis: &EncoderNets,
        source: &Picture,
        prediction: Option<&Picture>,
        w: &mut Workspace,
    ) -> Result<()> {
        let [rows, columns] = job.latents();
        w.y.resize(rows * columns * nets.latents(), 0);
        let k = &self.kernels;
        analysis.analyse(k, job.level, source, prediction, &mut w.y, &mut w.analysis)
    }

    /// Leaves the hyper-latents of the latents in `w` there.
    fn hyper_analyse(
        &self,
        job: &SliceJob<'_>,
        nets: &DecoderNets,
        analysis: &EncoderNets,
        w: &mut Workspace,
    ) -> Result<()> {
        let [_, columns] = job.latents();
        let [z_rows, z_columns] = job.hyper();
        let n = nets.latents();
        w.z.resize(z_rows * z_columns * HYPER, 0);
        let k = &self.kernels;
        let bands = w.y.chunks(BAND_ROWS * columns * n);
        for (y, z) in bands.zip(w.z.chunks_mut(z_columns * HYPER)) {
            let size = [y.len() / (columns * n), columns];
            analysis.hyper_analyse(k, job.level, size, y, z, &mut w.hyper_analysis)?;
        }
        Ok(())
    }

    /// Goes through all groups of latents in the order of coding. `code` finds in `w` how a group's
    /// latents are spread, and leaves them in `w.part`; all of them end up in `w.q`.
    pub(super) fn groups(
        &self,
        job: &SliceJob<'_>,
        nets: &DecoderNets,
        w: &mut Workspace,
        mut code: impl FnMut(&mut Workspace, &Part),
    ) -> Result<()> {
        let [rows, columns] = job.latents();
        let [_, z_columns] = job.hyper();
        let (hyper, n) = (nets.hyper(), nets.latents());
        let k = &self.kernels;
        w.q.resize(rows * columns * n, 0);
        if w.copies.all() {
            w.q.fill(0);
            return Ok(());
        }
        for (band, top) in (0..rows).step_by(BAND_ROWS).enumerate() {
            let height = BAND_ROWS.min(rows - top);
            let z = band * z_columns * HYPER..(band + 1) * z_columns * HYPER;
            let z = w.z.get(z).unwrap_or_default();
            hyper.begin(k, [height, columns], z, &mut w.hyper)?;
            let positions = top * columns..(top + height) * columns;
            for (group, (first, size)) in hyper.groups().enumerate() {
                let part = Part {
                    band: positions.start * n..positions.end * n,
                    channels: first..first + size,
                };
                let count = positions.len() * size;
                w.index.resize(count, 0);
                w.mean.resize(count, 0);
                w.part.resize(count, 0);
                hyper.spread(k, job.level, group, &mut w.hyper, &mut w.index, &mut w.mean)?;
                w.copies.clear(positions.clone(), &mut w.index, &mut w.mean);
                code(w, &part);
                hyper.learn(k, job.level, group, &w.part, &mut w.hyper)?;
                let rows = w.q.get_mut(part.band).unwrap_or_default();
                let each = rows.chunks_exact_mut(n).zip(w.part.chunks_exact(size));
                for (to, from) in each {
                    if let Some(to) = to.get_mut(part.channels.clone()) {
                        to.copy_from_slice(from);
                    }
                }
            }
        }
        Ok(())
    }

    /// The slice's picture from the latents in `w`.
    pub(super) fn synthesise(
        &self,
        job: &SliceJob<'_>,
        nets: &DecoderNets,
        prediction: Option<&Picture>,
        w: &mut Workspace,
    ) -> Result<Picture> {
        let mut out = self.pools.grey(slice_format(job.format, &job.rows));
        let (k, level, to) = (&self.kernels, job.level, &mut w.synthesis);
        let latents = job.coded(&w.q, &w.latents);
        self.timed(Stage::Synthesis, || {
            if !w.copies.all() {
                nets.synthesise_from(k, level, latents, prediction, &mut out, to)?;
            }
            if let Some(prediction) = prediction {
                w.copies.apply(prediction, &mut out);
            }
            Ok(())
        })?;
        Ok(out)
    }
}
