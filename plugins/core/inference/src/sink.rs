//! Where the network's output goes: straight into a frame, or summed up first.

use gstneural_pixels::{CompMut, YuvRgb, shuffle_f32, store, store_shuffled};

use crate::{info::Blend, model::Model, rewrite::Shuffle, tiles::Span};

/// Stores tiles: depth-to-space, range, rounding and, where tiles are blended, their weights.
#[derive(Debug)]
pub(crate) struct TileSink {
    shuffle: Shuffle,
    channels: usize,
    scale: usize,
    white: f32,
    feather: bool,
    width: usize,
    height: usize,
    max_code: f32,
    /// Planes of `width` x `height` in the network's range, for blended tiles and for RGB on its way
    /// to Y'CbCr.
    planes: Vec<Vec<f32>>,
    tile_w: usize,
    tile_h: usize,
    /// True while planes hold the tiles of an unfinished frame.
    dirty: bool,
    /// A row of a tile, and its weights.
    line: Vec<f32>,
    weights: Vec<f32>,
}

impl TileSink {
    /// For results of `width` x `height`; `depth` is the format's.
    /// `tile` is the size of the output tensor's planes.
    pub fn new(
        model: &Model,
        (width, height): (usize, usize),
        (tile_w, tile_h): (usize, usize),
        depth: u8,
    ) -> Self {
        Self {
            shuffle: model.shuffle(),
            channels: model.info().channels.count(),
            scale: model.info().scale,
            white: model.info().white,
            feather: model.info().blend == Blend::Feather,
            width,
            height,
            max_code: ((1u32 << depth) - 1) as f32,
            planes: Vec::new(),
            tile_w,
            tile_h,
            dirty: false,
            line: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// True if tiles are blended and [`Self::drain`] has to be called for each frame.
    pub fn is_feathered(&self) -> bool {
        self.feather
    }

    /// Forgets the tiles of a frame that was never finished.
    pub fn reset(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.planes.iter_mut().for_each(|p| p.fill(0.0));
        }
    }

    /// Start of a channel, distance of its sub-planes.
    fn planes_of(&self, channel: usize) -> (usize, usize) {
        let area = self.tile_w * self.tile_h;
        let squared = self.shuffle.block * self.shuffle.block;
        if self.shuffle.crd {
            (channel * squared * area, area)
        } else {
            (channel * area, self.channels * area)
        }
    }

    /// Stores channel `channel` of a tile into a component, or adds it to plane `index`.
    pub fn put(
        &mut self,
        out: &[f32],
        channel: usize,
        to: &mut CompMut<'_>,
        x: Span,
        y: Span,
        index: usize,
    ) {
        if self.feather {
            self.accumulate(out, channel, x, y, index);
            return;
        }
        let (start, distance) = self.planes_of(channel);
        let s = self.scale;
        let max = ((1u32 << to.depth()) - 1) as f32;
        let (dst_x, dst_y) = (x.from * s, y.from * s);
        let (w, h) = ((x.to - x.from) * s, (y.to - y.from) * s);
        let (ox, oy) = ((x.from - x.start) * s, (y.from - y.start) * s);
        let gain = max / self.white;
        let block = self.shuffle.block;
        if block == 1 {
            let from = &out[start + oy * self.tile_w + ox..];
            store(from, self.tile_w, w, h, gain, 0.0, to, dst_x, dst_y);
        } else {
            store_shuffled(
                &out[start..],
                distance,
                self.tile_w,
                block,
                ox,
                oy,
                w,
                h,
                gain,
                0.0,
                to,
                dst_x,
                dst_y,
            );
        }
    }

    /// Puts channel `channel` of a tile into plane `index`; adds it, weighted, if tiles are blended.
    pub fn accumulate(&mut self, out: &[f32], channel: usize, x: Span, y: Span, index: usize) {
        if self.planes.len() <= index {
            self.planes
                .resize_with(index + 1, || vec![0f32; self.width * self.height]);
        }
        self.dirty = true;
        let (start, distance) = self.planes_of(channel);
        let (s, block) = (self.scale, self.shuffle.block);
        let (x_from, x_to) = (x.from - x.ramp_before, x.to + x.ramp_after);
        let (y_from, y_to) = (y.from - y.ramp_before, y.to + y.ramp_after);
        let (x_from, x_to, y_from, y_to) = if self.feather {
            (x_from, x_to, y_from, y_to)
        } else {
            (x.from, x.to, y.from, y.to)
        };
        let (at, end) = (x_from * s, (x_to * s).min(self.width));
        let (w, left) = (end - at, (x_from - x.start) * s);
        let shuffle = |rows: usize, top: usize, to: &mut [f32], stride: usize| {
            let from = &out[start..];
            shuffle_f32(
                from,
                distance,
                self.tile_w,
                block,
                left,
                top,
                w,
                rows,
                to,
                stride,
            );
        };
        let (top, bottom) = (y_from * s, (y_to * s).min(self.height));
        let plane = &mut self.planes[index];
        if !self.feather {
            let to = &mut plane[top * self.width + at..];
            shuffle(bottom - top, (y_from - y.start) * s, to, self.width);
            return;
        }
        self.weights.clear();
        self.weights
            .extend((at..end).map(|column| x.weight((column as f32 + 0.5) / s as f32)));
        self.line.resize(w, 0.0);
        for row in top..bottom {
            let wy = y.weight((row as f32 + 0.5) / s as f32);
            shuffle(1, row - y.start * s, &mut self.line, w);
            let to = &mut plane[row * self.width + at..][..w];
            for ((t, v), wx) in to.iter_mut().zip(&self.line).zip(&self.weights) {
                *t += v * wx * wy;
            }
        }
    }

    /// Rounds plane `index` into a component and clears it; nothing if tiles are not blended.
    pub fn drain(&mut self, index: usize, to: &mut CompMut<'_>) {
        if !self.feather {
            return;
        }
        self.dirty = false;
        if let Some(plane) = self.planes.get_mut(index) {
            let max = ((1u32 << to.depth()) - 1) as f32 / self.white;
            store(
                plane,
                self.width,
                self.width,
                self.height,
                max,
                0.0,
                to,
                0,
                0,
            );
            plane.fill(0.0);
        }
    }

    /// Converts planes 0..3 (R, G, B) to Y'CbCr: luma into `luma`, chroma to be taken by
    /// [`Self::chroma`].
    pub fn convert_to_yuv(&mut self, yuv: &YuvRgb, luma: &mut CompMut<'_>) {
        let [r, g, b] = self.planes.as_mut_slice() else {
            return;
        };
        let (w, max, inverse) = (self.width, self.max_code, 1.0 / self.white);
        for row in 0..self.height {
            let at = row * w..(row + 1) * w;
            let (r, g, b) = (&mut r[at.clone()], &mut g[at.clone()], &mut b[at]);
            for v in [&mut *r, &mut *g, &mut *b] {
                v.iter_mut()
                    .for_each(|v| *v = (*v * inverse).clamp(0.0, 1.0));
            }
            yuv.to_yuv(r, g, b);
            store(r, w, w, 1, max, 0.0, luma, 0, row);
        }
    }

    /// Cb (1) or Cr (2) at luma's size, after [`Self::convert_to_yuv`].
    pub fn chroma(&self, component: usize) -> Option<&[f32]> {
        self.planes.get(component).map(Vec::as_slice)
    }

    /// Makes the planes ready for the next frame.
    pub fn finish(&mut self) {
        self.dirty = false;
        if self.feather {
            self.planes.iter_mut().for_each(|p| p.fill(0.0));
        }
    }
}
