//! What makes lossy pictures lossless, or near it: a layer of its own in each access unit.

use super::{Coded, Config, Encoder};
use crate::{
    CodecError, Picture, Result,
    bitstream::{FrameType, LayerInfo},
    lossless::{SliceJob, encode_slice, slice_count, slice_rows},
    motion::{Field, Halves, Kernels, Reference},
    parallel,
};

/// The layer on lossy pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// The greatest error of a sample, 0 to 15; 0 is lossless.
    pub near: u8,
    /// Whether the layer of a frame may refer to that of the frame before. That is smaller, but what
    /// is lost of a layer is then missing until the next keyframe.
    pub refers: bool,
}

/// The layer of a coded frame.
pub(super) struct CodedLayer {
    pub(super) info: LayerInfo,
    pub(super) slices: Vec<Vec<u8>>,
    decoded: Picture,
    hints: Vec<Vec<Field>>,
}

/// A frame with its layer, which the next layer may refer to.
#[derive(Debug)]
pub(super) struct Full {
    reference: Reference,
    halves: Halves,
    /// Vectors of each slice.
    hints: Vec<Vec<Field>>,
}

impl CodedLayer {
    /// What the next frame's layer needs, if it may refer to this one.
    pub(super) fn full(self, config: &Config) -> Option<Full> {
        if !config.layer.is_some_and(|l| l.refers) {
            return None;
        }
        let reference = Reference::new(&self.decoded);
        let halves = Halves::new(
            &Kernels::best(),
            reference.planes.first()?,
            config.format.max(),
        );
        Some(Full {
            reference,
            halves,
            hints: self.hints,
        })
    }
}

/// Checks the layer's settings.
pub(super) fn check(config: &Config) -> Result<()> {
    let Some(layer) = config.layer else {
        return Ok(());
    };
    if layer.near > 15 {
        return Err(CodecError::Setting {
            what: "near of the layer",
            value: layer.near.into(),
            range: "0 to 15",
        });
    }
    if config.lossy.is_none() {
        return Err(CodecError::Setting {
            what: "number of layers on a lossless picture",
            value: 1,
            range: "0",
        });
    }
    Ok(())
}

impl Encoder {
    /// Codes what the lossy picture lacks.
    pub(super) fn layer(
        &self,
        layer: Layer,
        picture: &Picture,
        coded: &Coded,
    ) -> Result<CodedLayer> {
        let format = self.config.format;
        let height = format.height as usize;
        let refers = layer.refers && coded.frame_type != FrameType::Key;
        let full = self.full.as_ref().filter(|_| refers);
        let reference = full.map(|f| &f.reference);
        let halves = full.map(|f| &f.halves);
        let results = parallel::map(slice_count(height), self.config.threads, |i| {
            let rows = slice_rows(height, i);
            let job = SliceJob {
                format,
                top: rows.start,
                height: rows.len(),
                near: layer.near,
                references: reference.as_slice(),
                lossy: Some(&coded.decoded),
            };
            let hints = full.and_then(|f| f.hints.get(i));
            let mut rows = Vec::new();
            let (bytes, fields) = encode_slice(
                &job,
                picture,
                halves.as_slice(),
                hints.map_or(&[][..], Vec::as_slice),
                &self.config.search,
                Some(&mut rows),
            )?;
            Ok((bytes, fields, rows))
        });
        let mut decoded = Picture::grey(format);
        let (mut slices, mut hints) = (Vec::new(), Vec::new());
        for (i, result) in results.into_iter().enumerate() {
            let (bytes, fields, rows) = result?;
            decoded.put_rows(slice_rows(height, i).start, &rows);
            slices.push(bytes);
            hints.push(fields);
        }
        let info = LayerInfo {
            near: layer.near,
            refers: reference.is_some(),
            picture_crc: self.config.picture_crc.then(|| decoded.crc()),
        };
        Ok(CodedLayer {
            info,
            slices,
            decoded,
            hints,
        })
    }
}
