//! The profile `vq`: latents of a slice as indices of code vectors.

use super::slice::{Coder, SliceJob, Workspace, kind_of};
use crate::{
    Result,
    nets::{Codebooks, DecoderNets, Kernels, MAX_PART, Part},
    rans::{Encoder, ReadSymbols},
};

/// Latents before they are coded are in 1/64, steps in 1/16 and code vectors in 1/32 of a step.
const SCALE: f32 = 16.0 * 32.0 / 64.0;

impl Coder {
    /// Codes the latents in `w`, after the symbols that are there: the slice's bytes. Leaves the
    /// latents that the decoder will have in `w`.
    pub(super) fn write_vq(
        &self,
        job: &SliceJob<'_>,
        predicted: bool,
        w: &mut Workspace,
    ) -> Result<Vec<u8>> {
        let kind = kind_of(predicted);
        let nets = job.model.decoder(kind)?;
        let codebooks = job.model.codebooks(kind)?;
        let Workspace {
            y,
            latents,
            symbols,
            copies,
            ..
        } = w;
        let first = symbols.len();
        let steps = nets.steps(job.level);
        codebooks.walk(job.level, steps, job.latents(), latents, |part, sum| {
            if copies.is_copied(part.position) {
                return 0;
            }
            let at = part.number * codebooks.part_size();
            let wanted = y.get(part.position * nets.latents() + at..);
            let wanted = (
                wanted.unwrap_or_default(),
                steps.get(at..).unwrap_or_default(),
            );
            choose(&self.kernels, codebooks, part, wanted, symbols, sum)
        });
        let mut bytes = self.pools().bytes();
        job.finish(symbols, first, codebooks.tables(), &mut bytes)?;
        Ok(bytes)
    }

    /// Decodes a slice from where its code vectors begin to its latents, which it leaves in `w`.
    ///
    /// # Errors
    /// Whatever shows that the bytes are damaged.
    pub(super) fn read_vq(
        &self,
        job: &SliceJob<'_>,
        d: &mut impl ReadSymbols,
        nets: &DecoderNets,
        predicted: bool,
        w: &mut Workspace,
    ) -> Result<()> {
        let codebooks = job.model.codebooks(kind_of(predicted))?;
        let tables = codebooks.tables();
        let steps = nets.steps(job.level);
        let Workspace {
            latents, copies, ..
        } = w;
        codebooks.walk(job.level, steps, job.latents(), latents, |part, sum| {
            if copies.is_copied(part.position) {
                return 0;
            }
            let class = d.get(tables.decode_table(part.table));
            for stage in (1..=class).rev() {
                let (book, _) = codebooks.book(part.number, stage.into());
                let table = codebooks.index_table(book, stage == class);
                let index = d.get(tables.decode_table(table));
                codebooks.add(part.number, stage.into(), index, sum);
            }
            class
        });
        d.finish()
    }
}

/// Chooses the class and the code vectors of a part, whose latents should be `wanted` (in 1/64; and
/// their steps), and codes them: the class, and in `sum` the sum of the code vectors.
fn choose(
    kernels: &Kernels,
    codebooks: &Codebooks,
    part: &Part<'_>,
    (wanted, steps): (&[i32], &[i32]),
    symbols: &mut Encoder,
    sum: &mut [i32],
) -> u8 {
    let mut x = [0.0f32; MAX_PART];
    let each = x.iter_mut().zip(wanted).zip(part.predicted).zip(steps);
    for (((x, &y), &m), &step) in each {
        *x = y.saturating_sub(64 * m) as f32 * SCALE / step as f32;
    }
    let x = x.get(..codebooks.part_size()).unwrap_or(&x);
    let place = (part.number, part.table);
    let choice = codebooks.search().choose(kernels, codebooks, place, x);
    symbols.put(part.table, choice.class);
    for stage in (1..=choice.class).rev() {
        let index = choice.indices.get(usize::from(stage) - 1);
        let index = index.copied().unwrap_or(0);
        let (book, _) = codebooks.book(part.number, stage.into());
        symbols.put(codebooks.index_table(book, stage == choice.class), index);
        codebooks.add(part.number, stage.into(), index, sum);
    }
    choice.class
}
