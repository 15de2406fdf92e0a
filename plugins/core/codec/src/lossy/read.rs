//! Decoding of a slice.

use std::ops::Range;

use super::{
    latents,
    predict::compensated,
    slice::{Coder, SliceJob, Workspace, kind_of},
    stages::Stage,
};
use crate::{
    CodecError, Picture, Result,
    motion::{Field, Reference},
    nets::{DecoderNets, HYPER},
    rans::{Decoder, ReadSymbols, SmallDecoder, TableSet},
};

/// A coded slice without a symbol: states at their start.
const NO_SYMBOLS: [u8; 16] = [0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0];

impl SliceJob<'_> {
    /// Decodes vectors, and copies into `w`.
    fn read_motion(
        &self,
        d: &mut impl ReadSymbols,
        field: &mut Field,
        w: &mut Workspace,
    ) -> Result<()> {
        let tables = TableSet::laplace();
        let size = [self.format.width as usize, self.rows.len()];
        if !self.compact {
            field.read_into(d, tables, size[0], size[1])?;
            return match self.copying.is_used() {
                true => w.copies.read(d, tables, self.latents()),
                false => Ok(()),
            };
        }
        let Workspace { copies, motion, .. } = w;
        let mark = |at, copied| {
            if copied {
                copies.add(at);
            }
        };
        field.read_compact(d, self.level.get(), size, mark, motion)?;
        if copies.none() || self.copying.is_used() {
            return Ok(());
        }
        Err(CodecError::Field {
            what: "a copied macroblock, which codec_data does not announce: macroblocks",
            value: copies.count() as u64,
        })
    }
}

impl Coder {
    /// Decodes a slice: its rows, and which luma rows of the reference they depend on.
    ///
    /// # Errors
    /// Whatever shows that the bytes are damaged.
    pub(crate) fn decode(
        &self,
        job: &SliceJob<'_>,
        bytes: &[u8],
        reference: Option<&Reference>,
    ) -> Result<(Picture, Option<Range<usize>>)> {
        let nets = job.model.decoder(kind_of(reference.is_some()))?;
        self.with(|w| {
            let (prediction, looked_at) = self.read(job, nets, bytes, reference, w)?;
            let picture = self.synthesise(job, nets, prediction.as_ref(), w);
            if let Some(prediction) = prediction {
                self.pools().give_picture(prediction);
            }
            Ok((picture?, looked_at))
        })
    }

    /// Decodes a slice up to its latents, which it leaves in `w`: what it is predicted from, and
    /// which luma rows of the reference that depends on.
    ///
    /// # Errors
    /// Whatever shows that the bytes are damaged.
    pub(super) fn read(
        &self,
        job: &SliceJob<'_>,
        nets: &DecoderNets,
        bytes: &[u8],
        reference: Option<&Reference>,
        w: &mut Workspace,
    ) -> Result<(Option<Picture>, Option<Range<usize>>)> {
        // No bytes stand for a slice that is copied from the same place.
        let copied = bytes.is_empty() && reference.is_some() && job.copying.is_used();
        if job.compact && bytes.len() % 2 == 1 {
            return self.read_symbols(job, nets, SmallDecoder::new(bytes), false, reference, w);
        }
        let d = Decoder::new(if copied { &NO_SYMBOLS } else { bytes })?;
        self.read_symbols(job, nets, d, copied, reference, w)
    }

    /// As [`Self::read`]; `copied`: the slice is copied from the same place, and has no symbols.
    fn read_symbols(
        &self,
        job: &SliceJob<'_>,
        nets: &DecoderNets,
        mut d: impl ReadSymbols,
        copied: bool,
        reference: Option<&Reference>,
        w: &mut Workspace,
    ) -> Result<(Option<Picture>, Option<Range<usize>>)> {
        let tables = TableSet::laplace();
        let (mut prediction, mut looked_at) = (None, None);
        w.copies.reset(job.latents());
        if let Some(reference) = reference {
            let height = job.format.height as usize;
            let mut field = self.pools().field();
            self.timed(Stage::Entropy, || {
                if copied {
                    field.reset(job.format.width as usize, job.rows.len());
                    w.copies.fill(job.latents());
                    return Ok(());
                }
                job.read_motion(&mut d, &mut field, w)
            })?;
            looked_at = Some(field.rows_reached(job.rows.clone(), height));
            let pools = self.pools();
            prediction = Some(self.timed(Stage::Motion, || {
                compensated(job.format, &job.rows, &field, reference, pools)
            }));
            self.pools().give_field(field);
        }
        self.timed(Stage::Entropy, || {
            if job.vq {
                return self.read_vq(job, &mut d, nets, prediction.is_some(), w);
            }
            let [z_rows, z_columns] = job.hyper();
            w.z.resize(z_rows * z_columns * HYPER, 0);
            let scales = nets.hyper_indices(job.level);
            latents::read_hyper(&mut d, tables, scales, &w.copies, &mut w.z)?;
            self.groups(job, nets, w, |w, _| {
                latents::read(&mut d, tables, &w.index, &w.mean, &mut w.part);
            })?;
            d.finish()
        })?;
        Ok((prediction, looked_at))
    }
}
