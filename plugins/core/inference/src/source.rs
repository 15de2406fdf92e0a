//! From frames into the input tensor: range, padding and, where needed, colour.

use gstneural_pixels::{ChromaUp, Color, FrameRef, PixelFormat, Rect, YuvRgb, load};

use crate::{error::Result, model::Model, route::Route};

/// Loads tiles of frames as planar f32 in the network's range.
#[derive(Debug)]
pub(crate) struct TileSource {
    route: Route,
    channels: usize,
    bgr: bool,
    white: f32,
    /// A code value's share of the format's largest.
    code: f32,
    width: usize,
    height: usize,
    tile_w: usize,
    tile_h: usize,
    yuv: YuvRgb,
    up: Option<ChromaUp>,
    /// Cb and Cr at luma's size in 0..=1, for each frame of the window.
    chroma: Vec<[Vec<f32>; 2]>,
    /// Rows of a tile, for the colour conversion.
    rows: [Vec<f32>; 4],
}

impl TileSource {
    /// For frames of `width` x `height` and tiles of `tile_w` x `tile_h`.
    ///
    /// # Errors
    /// [`crate::Error::Pixels`] for sizes that cannot be.
    pub fn new(
        model: &Model,
        route: Route,
        format: PixelFormat,
        color: Color,
        (width, height): (usize, usize),
        (tile_w, tile_h): (usize, usize),
    ) -> Result<Self> {
        let info = format.info();
        let subsampling = info
            .components
            .get(1)
            .map_or((0, 0), |c| (c.sub_w, c.sub_h));
        let up = route
            .is_by_rgb()
            .then(|| ChromaUp::new(width, height, subsampling.0, subsampling.1, color.site))
            .transpose()?;
        let frames = if up.is_some() { model.info().window } else { 0 };
        let plane = || vec![0f32; width * height];
        let row = || vec![0f32; tile_w];
        Ok(Self {
            route,
            channels: model.info().channels.count(),
            bgr: model.info().bgr,
            white: model.info().white,
            code: 1.0 / ((1u32 << info.depth) - 1) as f32,
            width,
            height,
            tile_w,
            tile_h,
            yuv: YuvRgb::new(&color, info.depth),
            up,
            chroma: (0..frames).map(|_| [plane(), plane()]).collect(),
            rows: [row(), row(), row(), row()],
        })
    }

    /// Upsamples the chroma of a window's frames, for the routes by RGB.
    pub fn prepare(&mut self, window: &[FrameRef<'_>]) {
        let Some(up) = &mut self.up else { return };
        for (frame, planes) in window.iter().zip(&mut self.chroma) {
            for (c, to) in planes.iter_mut().enumerate() {
                up.run_to_f32(&frame.component(c + 1), self.code, 0.0, to, self.width);
            }
        }
    }

    /// Writes the tile that begins at `x`, `y` into slot `slot` of the input tensor. `lane` is the
    /// channel for the routes that take one after the other.
    pub fn load(
        &mut self,
        window: &[FrameRef<'_>],
        (x, y): (usize, usize),
        lane: usize,
        slot: usize,
        input: &mut [f32],
    ) {
        let (tw, area) = (self.tile_w, self.tile_w * self.tile_h);
        let scale = self.white * self.code;
        let rect = Rect {
            x: x as isize,
            y: y as isize,
            w: tw,
            h: self.tile_h,
        };
        let frame_size = area * self.channels;
        let slot = &mut input[slot * frame_size * window.len()..][..frame_size * window.len()];
        for (k, (frame, planes)) in window
            .iter()
            .zip(slot.chunks_exact_mut(frame_size))
            .enumerate()
        {
            match self.route {
                Route::Luma => {
                    for plane in planes.chunks_exact_mut(area) {
                        load(&frame.component(0), rect, scale, 0.0, plane, tw);
                    }
                }
                Route::EachRgb => load(&frame.component(lane), rect, scale, 0.0, planes, tw),
                Route::Rgb => {
                    for (i, plane) in planes.chunks_exact_mut(area).enumerate() {
                        let c = if self.bgr { 2 - i } else { i };
                        load(&frame.component(c), rect, scale, 0.0, plane, tw);
                    }
                }
                Route::LumaOfRgb => self.load_luma_of_rgb(frame, rect, planes),
                Route::RgbOfYuv | Route::EachRgbOfYuv => {
                    self.load_rgb(k, frame, rect, lane, planes)
                }
            }
        }
    }

    fn load_luma_of_rgb(&mut self, frame: &FrameRef<'_>, rect: Rect, planes: &mut [f32]) {
        let (tw, white, code) = (self.tile_w, self.white, self.code);
        let area = tw * self.tile_h;
        let [r, g, b, y] = &mut self.rows;
        for row in 0..self.tile_h {
            let line = Rect {
                y: rect.y + row as isize,
                h: 1,
                ..rect
            };
            load(&frame.component(0), line, code, 0.0, r, tw);
            load(&frame.component(1), line, code, 0.0, g, tw);
            load(&frame.component(2), line, code, 0.0, b, tw);
            self.yuv.luma(r, g, b, y);
            for plane in planes.chunks_exact_mut(area) {
                put(&mut plane[row * tw..][..tw], y, white);
            }
        }
    }

    fn load_rgb(
        &mut self,
        k: usize,
        frame: &FrameRef<'_>,
        rect: Rect,
        lane: usize,
        planes: &mut [f32],
    ) {
        let (tw, white, code) = (self.tile_w, self.white, self.code);
        let area = tw * self.tile_h;
        let [r, g, b, _] = &mut self.rows;
        let [cb, cr] = &self.chroma[k];
        for row in 0..self.tile_h {
            let line = Rect {
                y: rect.y + row as isize,
                h: 1,
                ..rect
            };
            load(&frame.component(0), line, code, 0.0, r, tw);
            let at = line.y.clamp(0, self.height as isize - 1) as usize * self.width;
            repeat_ends(&cb[at..][..self.width], rect.x, g);
            repeat_ends(&cr[at..][..self.width], rect.x, b);
            self.yuv.to_rgb(r, g, b);
            for v in [&mut *r, &mut *g, &mut *b] {
                v.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
            }
            let rgb = [&*r, &*g, &*b];
            for (i, plane) in planes.chunks_exact_mut(area).enumerate() {
                let channel = match (self.channels, self.bgr) {
                    (1, _) => lane,
                    (_, true) => 2 - i,
                    (_, false) => i,
                };
                put(&mut plane[row * tw..][..tw], rgb[channel], white);
            }
        }
    }
}

fn put(to: &mut [f32], from: &[f32], white: f32) {
    to.iter_mut().zip(from).for_each(|(t, v)| *t = v * white);
}

/// Copies a row from `x` on, its first and last value repeated beyond its ends.
fn repeat_ends(row: &[f32], x: isize, to: &mut [f32]) {
    let last = row.len() as isize - 1;
    for (i, t) in to.iter_mut().enumerate() {
        *t = row[(x + i as isize).clamp(0, last) as usize];
    }
}
