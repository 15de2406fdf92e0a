//! A slice: its vectors, then for each plane its model, the tables of its levels, its residuals.

use std::ops::Range;

use super::{
    analyse::analyse,
    model::{COPY, LEVELS, Model, OFFSETS, SCALES, read_levels, write_levels},
    scan::{Geometry, Residuals, scan},
    sheet::{LEFT, Sheet},
    taps::{Sources, Taps},
};
use crate::{
    CodecError, Format, Picture, Plane, Result,
    motion::{BLOCK, Field, Halves, Kernels, Reference, SearchConfig, compensate, search},
    rans::{DecodeTable, Decoder, Encoder, ReadSymbols, TableSet, unzigzag, zigzag},
};

/// What encoder and decoder know of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SliceJob<'a> {
    pub(crate) format: Format,
    /// First luma row, a multiple of 16.
    pub(crate) top: usize,
    /// Luma rows.
    pub(crate) height: usize,
    /// The greatest error of a sample.
    pub(crate) near: u8,
    pub(crate) references: &'a [&'a Reference],
    /// In a layer the lossy picture that it makes whole, which predicts as a reference does.
    pub(crate) lossy: Option<&'a Picture>,
}

impl SliceJob<'_> {
    /// First row of plane `p`, and its geometry.
    fn geometry(&self, p: usize) -> (usize, Geometry) {
        let (sx, sy) = if p == 0 {
            (0, 0)
        } else {
            self.format.chroma.shifts()
        };
        let (width, whole) = self.format.plane_size(p);
        let top = self.top >> sy;
        let bottom = ((self.top + self.height) >> sy).max(top);
        let height = if self.top + self.height >= self.format.height as usize {
            whole.saturating_sub(top)
        } else {
            bottom - top
        };
        let geometry = Geometry {
            width,
            height,
            block: (BLOCK >> sx, BLOCK >> sy),
            max: self.format.max().into(),
            step: 2 * i32::from(self.near) + 1,
            grey: 1 << (self.format.depth - 1),
        };
        (top, geometry)
    }

    fn shifts(&self, p: usize) -> (u32, u32) {
        if p == 0 {
            (0, 0)
        } else {
            self.format.chroma.shifts()
        }
    }

    /// The motion-compensated references of plane `p`, then the lossy picture.
    fn predictions(&self, p: usize, g: &Geometry, fields: &[Field]) -> Vec<Sheet> {
        let kernels = Kernels::best();
        let mut out = Vec::new();
        for (reference, field) in self.references.iter().zip(fields) {
            let mut sheet = Sheet::new(g.width, g.height, 0);
            if let Some(plane) = reference.planes.get(p) {
                let put = |x: usize, y: usize, row: &[u16]| {
                    if y < g.height {
                        let to = &mut sheet.row_mut(y as isize)[LEFT + x..];
                        for (to, &v) in to.iter_mut().zip(row) {
                            *to = v as i16;
                        }
                    }
                };
                let max = self.format.max();
                compensate(&kernels, plane, field, self.top, self.shifts(p), max, put);
            }
            sheet.close();
            out.push(sheet);
        }
        if let Some(plane) = self.lossy.and_then(|l| l.planes.get(p)) {
            let mut sheet = Sheet::new(g.width, g.height, 0);
            sheet.put(plane, self.geometry(p).0);
            sheet.close();
            out.push(sheet);
        }
        out
    }

    fn taps(&self, p: usize) -> Taps {
        Taps::new(p, self.references.len(), self.lossy.is_some())
    }
}

/// Residuals of planes coded before, at the resolution of plane `p`.
fn aside(g: &Geometry, luma: &Sheet, (sx, sy): (u32, u32)) -> Sheet {
    let mut out = Sheet::new(g.width, g.height, 0);
    if (sx, sy) == (0, 0) {
        return luma.clone();
    }
    for y in 0..g.height {
        let a = luma.row((y << sy) as isize);
        // Rows below the slice are zero.
        let b = luma.row(((y << sy) as isize + sy as isize).min(luma.height as isize));
        let to = &mut out.row_mut(y as isize)[LEFT..LEFT + g.width];
        for (x, to) in to.iter_mut().enumerate() {
            let at = LEFT + (x << sx);
            let mut sum = a[at] + a[at + sx as usize];
            if sy == 1 {
                sum += b[at] + b[at + sx as usize];
            }
            *to = (sum + 1) >> 1;
        }
    }
    out
}

/// Codes a slice. `halves` are the references' luma, for the search. `hints` are vectors of the
/// frame before, one field for each reference; those of this frame are returned. `decoded` gets
/// what the decoder will see, rows of each plane.
pub(crate) fn encode_slice(
    job: &SliceJob<'_>,
    picture: &Picture,
    halves: &[&Halves],
    hints: &[Field],
    config: &SearchConfig,
    decoded: Option<&mut Vec<Sheet>>,
) -> Result<(Vec<u8>, Vec<Field>)> {
    let tables = TableSet::laplace();
    let mut out = Encoder::new();
    let mut fields = Vec::new();
    if let Some(luma) = picture.planes.first() {
        for (i, reference) in halves.iter().enumerate() {
            let kernels = Kernels::best();
            let hint = hints.get(i);
            let field = search(&kernels, luma, reference, job.top, job.height, config, hint);
            field.write(&mut out, tables);
            fields.push(field);
        }
    }
    let mut asides: Vec<Sheet> = Vec::new();
    let mut kept = Vec::new();
    for (p, plane) in picture.planes.iter().enumerate() {
        let (top, g) = job.geometry(p);
        let taps = job.taps(p);
        let references = job.predictions(p, &g, &fields);
        let here = asides_of(&g, &asides, job.shifts(p));
        let sources = Sources {
            references: &references,
            asides: &here,
        };
        let original = original(&g, plane, top, &references);
        let model = analyse(&g, &taps, &original, sources, 20);
        let mut current = Sheet::new(g.width, g.height, g.grey);
        let mut errors = Sheet::new(g.width, g.height, 0);
        let mut record = Record::new(&original, &g);
        scan(
            &g,
            &taps,
            &model,
            sources,
            &mut current,
            &mut errors,
            &mut record,
        );
        model.write(&mut out, tables);
        let levels = record.levels(tables);
        write_levels(&levels, &mut out, tables);
        for &(slot, q) in &record.symbols {
            let scale = levels[usize::from(slot) / OFFSETS];
            out.put_signed(
                tables,
                scale * OFFSETS as u8 + slot % OFFSETS as u8,
                q.into(),
            );
        }
        asides.push(errors);
        if decoded.is_some() {
            kept.push(current);
        }
    }
    if let Some(d) = decoded {
        *d = kept;
    }
    Ok((out.finish(tables)?, fields))
}

/// The rows of a slice.
#[derive(Debug)]
pub(crate) struct SliceRows {
    /// Rows of each plane.
    pub(crate) planes: Vec<Sheet>,
    /// Whether the reference was damaged where the slice looks: rows are the prediction alone.
    pub(crate) concealed: bool,
}

/// Decodes a slice. `damaged(r, rows)` tells whether luma rows of reference `r` are not what the
/// encoder had; residuals would then be decoded to noise, so the motion-compensated reference
/// stands in for the slice, or the lossy picture in a layer.
///
/// # Errors
/// Whatever shows that the bytes are damaged. What was decoded until then is lost.
pub(crate) fn decode_slice(
    job: &SliceJob<'_>,
    bytes: &[u8],
    damaged: impl Fn(usize, Range<usize>) -> bool,
) -> Result<SliceRows> {
    let tables = TableSet::laplace();
    let mut d = Decoder::new(bytes)?;
    let mut fields = Vec::new();
    for _ in job.references {
        fields.push(Field::read(
            &mut d,
            tables,
            job.format.width as usize,
            job.height,
        )?);
    }
    let looks_at_damage = fields.iter().enumerate().any(|(r, f)| {
        damaged(
            r,
            f.rows_reached(job.top..job.top + job.height, job.format.height as usize),
        )
    });
    if looks_at_damage {
        // Under a layer there is something better to show.
        let first = |p: usize| {
            job.predictions(p, &job.geometry(p).1, &fields)
                .into_iter()
                .next()
        };
        let shown = match job.lossy {
            Some(_) => 0,
            None => job.format.chroma.planes(),
        };
        let planes = (0..shown).filter_map(first).collect();
        return Ok(SliceRows {
            planes,
            concealed: true,
        });
    }
    let (mut asides, mut out): (Vec<Sheet>, _) = (Vec::new(), Vec::new());
    for p in 0..job.format.chroma.planes() {
        let (_, g) = job.geometry(p);
        let taps = job.taps(p);
        let model = Model::read(&mut d, tables, &taps, g.columns(), g.rows())?;
        if job.references.is_empty() && job.lossy.is_none() && model.map.contains(&COPY) {
            return Err(CodecError::Field {
                what: "class",
                value: COPY.into(),
            });
        }
        let levels = read_levels(&mut d, tables)?;
        let references = job.predictions(p, &g, &fields);
        let here = asides_of(&g, &asides, job.shifts(p));
        let sources = Sources {
            references: &references,
            asides: &here,
        };
        let mut current = Sheet::new(g.width, g.height, g.grey);
        let mut errors = Sheet::new(g.width, g.height, 0);
        let of = |i: usize| levels[i / OFFSETS] * OFFSETS as u8 + (i % OFFSETS) as u8;
        let slots = std::array::from_fn(|i| tables.decode_table(of(i)));
        let mut replay = Replay {
            decoder: d,
            tables,
            slots,
        };
        scan(
            &g,
            &taps,
            &model,
            sources,
            &mut current,
            &mut errors,
            &mut replay,
        );
        d = replay.decoder;
        asides.push(errors);
        out.push(current);
    }
    d.finish()?;
    Ok(SliceRows {
        planes: out,
        concealed: false,
    })
}

fn asides_of(g: &Geometry, errors: &[Sheet], shifts: (u32, u32)) -> Vec<Sheet> {
    let of = |(i, e): (usize, &Sheet)| {
        if i == 0 {
            aside(g, e, shifts)
        } else {
            e.clone()
        }
    };
    errors.iter().enumerate().map(of).collect()
}

/// The samples of a slice with the margin that the scan will see.
fn original(g: &Geometry, plane: &Plane, top: usize, references: &[Sheet]) -> Sheet {
    let mut out = Sheet::new(g.width, g.height, g.grey);
    out.put(plane, top);
    for y in 0..g.height {
        out.close_right(y as isize);
    }
    for y in [-2, -1] {
        match references.first() {
            Some(r) => out.row_mut(y).copy_from_slice(r.row(y)),
            None => out.copy_row(0, y),
        }
    }
    for y in 0..g.height as isize {
        let first = out.row(y - 1)[LEFT];
        out.row_mut(y)[..LEFT].fill(first);
    }
    out
}

/// Computes residuals and writes them down.
struct Record<'a> {
    original: &'a Sheet,
    near: i32,
    step: i32,
    symbols: Vec<(u8, i16)>,
}

impl<'a> Record<'a> {
    fn new(original: &'a Sheet, g: &Geometry) -> Self {
        let symbols = Vec::with_capacity(g.width * g.height);
        Self {
            original,
            near: g.step / 2,
            step: g.step,
            symbols,
        }
    }

    /// The best scale of each level.
    fn levels(&self, tables: &TableSet) -> [u8; LEVELS] {
        let mut counts = vec![[0u32; HISTOGRAM]; LEVELS * OFFSETS];
        for &(slot, q) in &self.symbols {
            let v = zigzag(q.into()).min(HISTOGRAM as u32 - 1);
            counts[usize::from(slot)][v as usize] += 1;
        }
        let mut out = [0; LEVELS];
        let mut last = SCALES / 3;
        for (out, counts) in out.iter_mut().zip(counts.as_chunks::<OFFSETS>().0) {
            *out = cheapest(tables, counts, last);
            last = *out;
        }
        out
    }
}

/// Values of a histogram; what is greater counts as the last.
const HISTOGRAM: usize = 512;

/// The scale that codes histograms of [`zigzag`] values, one for each offset, best, as far as
/// walking from `last` in the direction that helps finds it; `last` if they are empty.
fn cheapest(tables: &TableSet, counts: &[[u32; HISTOGRAM]; OFFSETS], last: u8) -> u8 {
    let mut used = Vec::new();
    for (offset, counts) in counts.iter().enumerate() {
        let some = counts.iter().enumerate().filter(|(_, n)| **n > 0);
        used.extend(some.map(|(v, &n)| (offset as u8, unzigzag(v as u32), u64::from(n))));
    }
    if used.is_empty() {
        return last;
    }
    let cost = |scale: u8| {
        let table = |offset: u8| scale * OFFSETS as u8 + offset;
        let bits = used
            .iter()
            .map(|&(o, v, n)| n * u64::from(tables.signed_cost(table(o), v)));
        // The side information prefers scales near the last one.
        bits.sum::<u64>() + 256 * (1 + u64::from(scale.abs_diff(last)))
    };
    let mut best = (cost(last), last);
    for step in [1i8, -1] {
        // Two steps without a gain end the walk.
        let mut at = last;
        while let Some(next) = at.checked_add_signed(step) {
            if next >= SCALES || next.abs_diff(best.1) > 2 {
                break;
            }
            at = next;
            best = best.min((cost(at), at));
        }
    }
    best.1
}

impl Residuals for Record<'_> {
    #[inline(always)]
    fn next(&mut self, x: usize, y: usize, slot: usize, mirrored: bool, prediction: i32) -> i32 {
        let difference = i32::from(self.original.row(y as isize)[LEFT + x]) - prediction;
        let q = if self.near == 0 {
            difference
        } else {
            (difference.abs() + self.near) / self.step * difference.signum()
        };
        self.symbols
            .push((slot as u8, if mirrored { -q } else { q } as i16));
        q
    }
}

/// Takes residuals from the entropy decoder.
struct Replay<'a, 't> {
    decoder: Decoder<'a>,
    tables: &'t TableSet,
    slots: [&'t DecodeTable; LEVELS * OFFSETS],
}

impl Residuals for Replay<'_, '_> {
    #[inline(always)]
    fn next(&mut self, _: usize, _: usize, slot: usize, mirrored: bool, _: i32) -> i32 {
        let q = self.decoder.get_signed(self.tables, self.slots[slot]);
        if mirrored { q.wrapping_neg() } else { q }
    }
}
