//! Weights of blended tiles, on the device.

use std::collections::HashMap;

use gstneural_cuda::{Cargo, DeviceBuffer, Stream};

use crate::{
    error::Result,
    tiles::{Axis, Span},
};

/// For each tile along one axis the weights of its columns (or rows), from where its ramp begins to
/// where it ends.
#[derive(Debug)]
pub(super) struct Ramps(HashMap<usize, DeviceBuffer>);

/// Where a tile's ramps begin and end, in pixels of the result.
pub(super) fn reach(span: Span, scale: usize, length: usize) -> (usize, usize) {
    let from = (span.from - span.ramp_before) * scale;
    (from, ((span.to + span.ramp_after) * scale).min(length))
}

impl Ramps {
    pub fn new(stream: &Stream, axis: &Axis, scale: usize, length: usize) -> Result<Self> {
        let mut all = HashMap::new();
        for span in &axis.spans {
            let (from, to) = reach(*span, scale, length);
            let weights: Vec<u8> = (from..to)
                .flat_map(|x| span.weight((x as f32 + 0.5) / scale as f32).to_ne_bytes())
                .collect();
            let buffer = DeviceBuffer::with(stream, &weights, Cargo::Table)?;
            all.insert(span.start, buffer);
        }
        Ok(Self(all))
    }

    pub fn of(&self, span: Span) -> Option<&DeviceBuffer> {
        self.0.get(&span.start)
    }
}
