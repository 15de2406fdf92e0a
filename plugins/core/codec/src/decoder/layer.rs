//! The layer that makes lossy pictures lossless, or near it. No lossy picture rests on it.

use super::{Decoder, Known, reach_damage};
use crate::{
    Format, Picture,
    bitstream::{AccessUnit, LayerInfo},
    lossless::{SliceJob, decode_slice, slice_rows},
    motion::Reference,
    parallel,
};

/// How much of a stream to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layers {
    /// Everything.
    #[default]
    All,
    /// The lossy pictures alone. A layer on them is left out and costs nothing.
    Base,
}

impl Known {
    /// What a layer refers to, and which of its slices are not what was encoded.
    fn full(&self) -> (&Reference, &[bool]) {
        match &self.full {
            Some(full) => (&full.reference, &full.damaged),
            None => (&self.reference, &self.damaged),
        }
    }
}

/// A frame with its layer.
#[derive(Debug)]
pub(super) struct Full {
    reference: Reference,
    /// Slices that lack their layer.
    damaged: Vec<bool>,
}

impl Full {
    pub(super) fn new((picture, damaged): &(Picture, Vec<bool>)) -> Self {
        Self {
            reference: Reference::new(picture),
            damaged: damaged.clone(),
        }
    }
}

/// What a layer rests on.
pub(super) struct Base<'a> {
    pub(super) picture: &'a Picture,
    /// Slices that are not what was encoded.
    pub(super) damaged: &'a [bool],
    /// The frame that it was predicted from.
    pub(super) reference: Option<&'a Known>,
}

impl Decoder {
    /// The picture with its layer, and which slices lack it.
    pub(super) fn layer(
        &self,
        unit: &AccessUnit<'_>,
        info: LayerInfo,
        base: &Base<'_>,
    ) -> (Picture, Vec<bool>) {
        let format = Format::of(&self.header);
        let height = format.height as usize;
        let (reference, known) = match base.reference.filter(|_| info.refers).map(Known::full) {
            Some((reference, damaged)) => (Some(reference), Some(damaged)),
            None => (None, None),
        };
        let damaged = |_, rows| known.is_none_or(|d| reach_damage(d, rows));
        let results = parallel::map(unit.slices.len(), self.threads, |i| {
            let slice = unit.layer.get(i).filter(|s| s.intact())?;
            if base.damaged.get(i) != Some(&false) || (info.refers && reference.is_none()) {
                return None;
            }
            let rows = slice_rows(height, i);
            let job = SliceJob {
                format,
                top: rows.start,
                height: rows.len(),
                near: info.near,
                references: reference.as_slice(),
                lossy: Some(base.picture),
            };
            let rows = decode_slice(&job, slice.data, damaged).ok()?;
            (!rows.concealed).then_some(rows.planes)
        });
        let mut picture = base.picture.clone();
        let mut damaged = vec![true; results.len()];
        for (i, (rows, damaged)) in results.iter().zip(&mut damaged).enumerate() {
            if let Some(rows) = rows {
                picture.put_rows(slice_rows(height, i).start, rows);
                *damaged = false;
            }
        }
        if !damaged.contains(&true) && info.picture_crc.is_some_and(|crc| crc != picture.crc()) {
            // Nobody knows where.
            damaged.fill(true);
        }
        (picture, damaged)
    }
}
