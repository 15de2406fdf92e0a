//! Where the network's output goes: straight into a frame, or summed up first.

use gstneural_pixels::{CompMut, FrameMut, YuvRgb, store, store_shuffled};

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
    /// Planes of `width` x `height` in 0..=1, for blended tiles and for RGB on its way to Y'CbCr.
    planes: Vec<Vec<f32>>,
    tile_w: usize,
    tile_h: usize,
    /// True while planes hold the tiles of an unfinished frame.
    dirty: bool,
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

    /// Adds channel `channel` of a tile, weighted, to plane `index` in 0..=1.
    pub fn accumulate(&mut self, out: &[f32], channel: usize, x: Span, y: Span, index: usize) {
        if self.planes.len() <= index {
            self.planes
                .resize_with(index + 1, || vec![0f32; self.width * self.height]);
        }
        self.dirty = true;
        let (start, distance) = self.planes_of(channel);
        let (s, b) = (self.scale, self.shuffle.block);
        let inverse = 1.0 / self.white;
        let plane = &mut self.planes[index];
        let (rx, ry) = if self.feather {
            ((x.ramp_before, x.ramp_after), (y.ramp_before, y.ramp_after))
        } else {
            ((0, 0), (0, 0))
        };
        let columns = (x.from - rx.0) * s..((x.to + rx.1) * s).min(self.width);
        let rows = (y.from - ry.0) * s..((y.to + ry.1) * s).min(self.height);
        for row in rows {
            let wy = if self.feather {
                y.weight((row as f32 + 0.5) / s as f32)
            } else {
                1.0
            };
            let ty = row - y.start * s;
            for column in columns.clone() {
                let wx = if self.feather {
                    x.weight((column as f32 + 0.5) / s as f32)
                } else {
                    1.0
                };
                let tx = column - x.start * s;
                let sub = (ty % b) * b + tx % b;
                let v = out[start + sub * distance + (ty / b) * self.tile_w + tx / b];
                plane[row * self.width + column] += v * inverse * wx * wy;
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
            let max = ((1u32 << to.depth()) - 1) as f32;
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

    /// Converts planes 0..3 (R, G, B) to Y'CbCr: luma to `luma`, chroma to components 1 and 2 of a
    /// 4:4:4 frame; clears them.
    pub fn drain_yuv(&mut self, yuv: &YuvRgb, luma: &mut CompMut<'_>, full: &mut FrameMut<'_>) {
        let [r, g, b] = self.planes.as_mut_slice() else {
            return;
        };
        let (w, max) = (self.width, self.max_code);
        self.dirty = false;
        for row in 0..self.height {
            let at = row * w..(row + 1) * w;
            let (r, g, b) = (&mut r[at.clone()], &mut g[at.clone()], &mut b[at]);
            for v in [&mut *r, &mut *g, &mut *b] {
                v.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
            }
            yuv.to_yuv(r, g, b);
            store(r, w, w, 1, max, 0.0, luma, 0, row);
            store(g, w, w, 1, max, 0.0, &mut full.component_mut(1), 0, row);
            store(b, w, w, 1, max, 0.0, &mut full.component_mut(2), 0, row);
        }
        for plane in &mut self.planes {
            plane.fill(0.0);
        }
    }
}
