//! From frames to frames: tiles are loaded, run in batches and stored.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gstneural_pixels::{
    ChromaDown, Color, Filter, FrameBuf, FrameMut, FrameRef, FrameScaler, PixelFormat, Rect,
    YuvRgb, fill_padding, rect_equal, replace_luma,
};

use crate::{
    device::Device,
    error::{Error, Result},
    model::Model,
    route::Route,
    session::NetSession,
    sink::TileSink,
    source::TileSource,
    tiles::{Axis, Span, automatic},
};

/// How large tiles are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tile {
    /// The whole frame if its activations fit the memory limit, else the largest tiles that do.
    #[default]
    Auto,
    /// The whole frame.
    Whole,
    /// Square tiles of this many input pixels, to which the overlaps are added.
    Size(usize),
}

/// Which channels go through the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// What suits the model: luma through luma networks, RGB through RGB networks.
    #[default]
    Auto,
    /// Luma only; chroma is upscaled by a filter. An RGB network gets luma three times.
    Luma,
    /// All of RGB; a luma network is run on each of them.
    Rgb,
}

/// Choices for an [`Engine`].
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Which GPU, and how, for [`crate::gpu::GpuUpscaler`]; an [`Engine`] runs on the CPU.
    pub device: Device,
    /// Threads of the runtime, 0 for its own choice (one for each core).
    pub threads: usize,
    /// Tile size.
    pub tile: Tile,
    /// Overlap in input pixels; None is the model's own.
    pub overlap: Option<usize>,
    /// Tiles or frames for one run of the network.
    pub batch: usize,
    /// Which channels go through the network.
    pub mode: Mode,
    /// False: alpha is not upscaled but set opaque.
    pub keep_alpha: bool,
    /// Bytes that automatic tiles may need for activations.
    pub memory_limit: usize,
    /// The filter for what does not go through the network.
    pub filter: Filter,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            device: Device::default(),
            threads: 0,
            tile: Tile::Auto,
            overlap: None,
            batch: 1,
            mode: Mode::Auto,
            keep_alpha: true,
            memory_limit: 512 << 20,
            filter: Filter::Bicubic,
        }
    }
}

/// What a call to [`Engine::run`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Tiles of all frames of the call.
    pub tiles: usize,
    /// Tiles whose input equalled the previous frame's and that were copied.
    pub reused: usize,
    /// Time spent inside the network.
    pub inference: Duration,
}

/// The previous frame, for reuse of tiles that did not change.
#[derive(Debug, Clone, Copy)]
pub struct Previous<'a> {
    /// Its input.
    pub input: FrameRef<'a>,
    /// Its result.
    pub output: FrameRef<'a>,
}

/// One frame to be upscaled.
#[derive(Debug)]
pub struct Item<'a> {
    /// The frames that the network sees, in order of time; the middle one is upscaled.
    pub window: &'a [FrameRef<'a>],
    /// Where the result goes.
    pub output: FrameMut<'a>,
    /// The frame before, if its result may be reused.
    pub previous: Option<Previous<'a>>,
}

/// One tile of one frame, waiting for or in the network. `lane` is the channel for the routes that
/// run one after the other.
#[derive(Debug, Clone, Copy)]
struct Job {
    item: usize,
    x: Span,
    y: Span,
    lane: usize,
}

/// How a model is applied to frames of one size and format, wherever it runs.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub route: Route,
    pub xs: Axis,
    pub ys: Axis,
    pub batch: usize,
    /// N, C, H, W.
    pub in_shape: [usize; 4],
    pub out_shape: [usize; 4],
}

impl Plan {
    /// # Errors
    /// [`Error::Unsupported`] for sizes or tiles that cannot be.
    pub fn new(
        model: &Model,
        options: &Options,
        format: PixelFormat,
        width: usize,
        height: usize,
    ) -> Result<Self> {
        let info = model.info();
        let align = (info.multiple, info.alignment);
        if width == 0 || height == 0 {
            return Err(Error::Unsupported("a frame without pixels".into()));
        }
        let family = format.info().family;
        let route = Route::new(options.mode, family, info.channels);
        let overlap = options.overlap.unwrap_or(info.overlap);
        let overlap = overlap.next_multiple_of(info.alignment);
        let (tile, exact) = match (info.fixed_size, options.tile) {
            (Some(size), _) => (Some(size), true),
            (None, Tile::Whole) => (None, false),
            (None, Tile::Size(n)) => {
                let side = n.max(1) + 2 * overlap;
                (Some((side, side)), false)
            }
            (None, Tile::Auto) => {
                let bytes = info.bytes_per_pixel * options.batch.max(1);
                (
                    automatic(
                        width,
                        height,
                        bytes,
                        options.memory_limit,
                        overlap,
                        info.alignment,
                    ),
                    false,
                )
            }
        };
        let xs = Axis::new(width, tile.map(|t| t.0), overlap, align, exact)?;
        let ys = Axis::new(height, tile.map(|t| t.1), overlap, align, exact)?;
        let batch = info.fixed_batch.unwrap_or(options.batch.max(1));
        let in_shape = [batch, model.input_channels(), ys.tile, xs.tile];
        let out_shape = model.output_shape(batch, xs.tile, ys.tile);
        Ok(Self {
            route,
            xs,
            ys,
            batch,
            in_shape,
            out_shape,
        })
    }
}

/// A model opened for one frame size and format.
#[derive(Debug)]
pub struct Engine {
    model: Arc<Model>,
    net: NetSession,
    route: Route,
    format: PixelFormat,
    width: usize,
    height: usize,
    xs: Axis,
    ys: Axis,
    batch: usize,
    keep_alpha: bool,
    yuv: YuvRgb,
    scaler: FrameScaler,
    sink: TileSink,
    jobs: Vec<Job>,
    /// Luma of the result, 16 bit, for [`Route::LumaOfRgb`].
    luma: Option<FrameBuf>,
    source: TileSource,
    /// Chroma to its own size, for the routes by RGB.
    down: Option<ChromaDown>,
}

impl Engine {
    /// Opens `model` for frames of `width` x `height`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for sizes or tiles that cannot be; errors of the runtime.
    pub fn new(
        model: Arc<Model>,
        options: &Options,
        format: PixelFormat,
        color: Color,
        width: usize,
        height: usize,
    ) -> Result<Self> {
        let Plan {
            route,
            xs,
            ys,
            batch,
            in_shape,
            out_shape,
        } = Plan::new(&model, options, format, width, height)?;
        let scale = model.info().scale;
        let net = NetSession::new(&model, in_shape, out_shape, options.threads)?;
        let (out_w, out_h) = (width * scale, height * scale);
        let luma = (route == Route::LumaOfRgb)
            .then(|| FrameBuf::new(PixelFormat::Gray16Le, out_w, out_h, color))
            .transpose()?;
        let source = TileSource::new(
            &model,
            route,
            format,
            color,
            (width, height),
            (xs.tile, ys.tile),
        )?;
        let chroma = format.info().components.get(1);
        let (sub_w, sub_h) = chroma.map_or((0, 0), |c| (c.sub_w, c.sub_h));
        let down = route
            .is_by_rgb()
            .then(|| ChromaDown::new(out_w, out_h, sub_w, sub_h, color.site))
            .transpose()?;
        let info = format.info();
        let sink = TileSink::new(
            &model,
            (out_w, out_h),
            (out_shape[3], out_shape[2]),
            info.depth,
        );
        Ok(Self {
            net,
            route,
            format,
            width,
            height,
            batch,
            keep_alpha: options.keep_alpha,
            yuv: YuvRgb::new(&color, info.depth),
            scaler: FrameScaler::new(
                format,
                width,
                height,
                out_w,
                out_h,
                color.site,
                options.filter,
            )?,
            sink,
            jobs: Vec::with_capacity(batch.max(xs.spans.len() * ys.spans.len())),
            luma,
            source,
            down,
            xs,
            ys,
            model,
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Tiles of one frame.
    pub fn tiles(&self) -> usize {
        self.xs.spans.len() * self.ys.spans.len()
    }

    /// Size of a tile, overlaps included.
    pub fn tile_size(&self) -> (usize, usize) {
        (self.xs.tile, self.ys.tile)
    }

    /// Upscales frames. The result of the first may be reused by the second, and so on.
    ///
    /// # Errors
    /// [`Error::Inference`] if the runtime fails; no output is valid then.
    pub fn run(&mut self, items: &mut [Item<'_>]) -> Result<Report> {
        // What a failed call left behind.
        self.jobs.clear();
        self.sink.reset();
        let mut report = Report {
            tiles: items.len() * self.tiles(),
            ..Default::default()
        };
        for item in 0..items.len() {
            self.check(&items[item])?;
            let (before, rest) = items.split_at_mut(item);
            let Some(current) = rest.first_mut() else {
                continue;
            };
            let previous = match (before.last(), &current.previous) {
                (Some(last), Some(_)) if !self.pending(item - 1) => {
                    // The frame before is of this very call.
                    middle(last.window).map(|input| Previous {
                        input,
                        output: last.output.as_ref(),
                    })
                }
                (Some(_), _) => None,
                (None, previous) => *previous,
            };
            self.prepare(current)?;
            for yi in 0..self.ys.spans.len() {
                for xi in 0..self.xs.spans.len() {
                    let (x, y) = (self.xs.spans[xi], self.ys.spans[yi]);
                    if let Some(p) = previous
                        && self.reuse(current, &p, x, y)
                    {
                        report.reused += 1;
                        continue;
                    }
                    let lanes = if self.route.is_one_by_one() { 3 } else { 1 };
                    for lane in 0..lanes {
                        self.jobs.push(Job { item, x, y, lane });
                    }
                }
            }
            // A frame by RGB of luma needs its chroma planes until its last tile is stored.
            if self.route.is_by_rgb() || self.luma.is_some() || self.sink.is_feathered() {
                report.inference += self.flush(items, true)?;
                self.finish(&mut items[item])?;
            } else {
                report.inference += self.flush(items, false)?;
            }
        }
        report.inference += self.flush(items, true)?;
        Ok(report)
    }

    /// True if tiles of that frame still wait for the network.
    fn pending(&self, item: usize) -> bool {
        self.jobs.iter().any(|j| j.item == item)
    }

    fn check(&self, item: &Item<'_>) -> Result<()> {
        let info = self.model.info();
        let fits =
            |f: &FrameRef<'_>, w, h| f.format() == self.format && f.width() == w && f.height() == h;
        let (w, h) = (self.width, self.height);
        let out = item.output.as_ref();
        if item.window.len() != info.window
            || !item.window.iter().all(|f| fits(f, w, h))
            || !fits(&out, w * info.scale, h * info.scale)
        {
            return Err(Error::Unsupported(format!(
                "a frame does not fit an engine for {} {w}x{h}",
                self.format.info().name
            )));
        }
        Ok(())
    }

    /// Does what does not need the network: chroma, alpha, the frame that luma is added to.
    fn prepare(&mut self, item: &mut Item<'_>) -> Result<()> {
        let Some(input) = middle(item.window) else {
            return Ok(());
        };
        let info = self.format.info();
        match self.route {
            Route::Luma => {
                for c in 1..info.components.len() {
                    self.scaler.run_component(c, &input, &mut item.output);
                }
            }
            Route::LumaOfRgb => self.scaler.run(&input, &mut item.output),
            Route::Rgb | Route::EachRgb => {}
            Route::RgbOfYuv | Route::EachRgbOfYuv => self.source.prepare(item.window),
        }
        if let Some(alpha) = info.alpha {
            if self.keep_alpha {
                if self.route != Route::LumaOfRgb {
                    self.scaler.run_component(alpha, &input, &mut item.output);
                }
            } else {
                let mut alpha = item.output.component_mut(alpha);
                let opaque = alpha.as_ref().max_value();
                alpha.fill(opaque);
            }
        } else if self.route == Route::Rgb || self.route == Route::EachRgb {
            fill_padding(&mut item.output);
        }
        Ok(())
    }

    /// Copies a tile from the previous result if its input is the same.
    fn reuse(&self, item: &mut Item<'_>, previous: &Previous<'_>, x: Span, y: Span) -> bool {
        // Chroma and blended tiles depend on more than their own rectangle.
        let local = matches!(self.route, Route::Luma | Route::Rgb | Route::EachRgb);
        if !local || self.sink.is_feathered() || item.window.len() != 1 {
            return false;
        }
        let rect = Rect {
            x: x.start as isize,
            y: y.start as isize,
            w: self.xs.tile.min(self.width - x.start),
            h: self.ys.tile.min(self.height - y.start),
        };
        if !rect_equal(&item.window[0], &previous.input, rect) {
            return false;
        }
        let s = self.model.info().scale;
        let planes = if self.route == Route::Luma {
            0..1
        } else {
            0..self.format.info().planes
        };
        for plane in planes {
            copy_rect(
                &mut item.output,
                &previous.output,
                plane,
                (x.from * s, y.from * s),
                ((x.to - x.from) * s, (y.to - y.from) * s),
            );
        }
        true
    }

    /// Runs waiting tiles in full batches, and the rest as well if `all`.
    fn flush(&mut self, items: &mut [Item<'_>], all: bool) -> Result<Duration> {
        let mut spent = Duration::ZERO;
        let mut at = 0;
        while self.jobs.len() - at >= self.batch || (all && self.jobs.len() > at) {
            let count = self.batch.min(self.jobs.len() - at);
            for slot in 0..count {
                let job = self.jobs[at + slot];
                let input = self.net.input()?;
                let at = (job.x.start, job.y.start);
                self.source
                    .load(items[job.item].window, at, job.lane, slot, input);
            }
            let start = Instant::now();
            self.net.run()?;
            spent += start.elapsed();
            for slot in 0..count {
                let job = self.jobs[at + slot];
                self.store(&mut items[job.item], job, slot)?;
            }
            at += count;
        }
        self.jobs.drain(..at);
        Ok(spent)
    }

    /// Takes one tile out of the output tensor.
    fn store(&mut self, item: &mut Item<'_>, job: Job, slot: usize) -> Result<()> {
        let bgr = self.model.info().bgr;
        let [_, c, h, w] = self.net.out_shape();
        let channels = self.model.info().channels.count();
        let output = self.net.output()?;
        let out = &output[slot * c * h * w..][..c * h * w];
        let sink = &mut self.sink;
        match self.route {
            Route::Luma => sink.put(out, 0, &mut item.output.component_mut(0), job.x, job.y, 0),
            Route::EachRgb => {
                sink.put(
                    out,
                    0,
                    &mut item.output.component_mut(job.lane),
                    job.x,
                    job.y,
                    job.lane,
                );
            }
            Route::Rgb => {
                for i in 0..channels {
                    let to = if bgr { 2 - i } else { i };
                    sink.put(out, i, &mut item.output.component_mut(to), job.x, job.y, to);
                }
            }
            Route::LumaOfRgb => {
                if let Some(luma) = &mut self.luma {
                    let mut luma = luma.as_mut();
                    sink.put(
                        out,
                        channels / 2,
                        &mut luma.component_mut(0),
                        job.x,
                        job.y,
                        0,
                    );
                }
            }
            Route::RgbOfYuv | Route::EachRgbOfYuv => {
                let lanes = if channels == 1 {
                    job.lane..job.lane + 1
                } else {
                    0..3
                };
                for i in lanes {
                    let channel = if channels == 1 {
                        0
                    } else if bgr {
                        2 - i
                    } else {
                        i
                    };
                    sink.accumulate(out, channel, job.x, job.y, i);
                }
            }
        }
        Ok(())
    }

    /// Does what needs the whole result of a frame: blended tiles, colour, chroma.
    fn finish(&mut self, item: &mut Item<'_>) -> Result<()> {
        match self.route {
            Route::Luma => self.sink.drain(0, &mut item.output.component_mut(0)),
            Route::Rgb | Route::EachRgb => {
                for c in 0..3 {
                    self.sink.drain(c, &mut item.output.component_mut(c));
                }
            }
            Route::LumaOfRgb => {
                if let Some(luma) = &mut self.luma {
                    let mut luma = luma.as_mut();
                    self.sink.drain(0, &mut luma.component_mut(0));
                    replace_luma(&mut item.output, &luma.as_ref().component(0), &self.yuv);
                }
            }
            Route::RgbOfYuv | Route::EachRgbOfYuv => {
                let luma = &mut item.output.component_mut(0);
                self.sink.convert_to_yuv(&self.yuv, luma);
                if let Some(down) = &mut self.down {
                    let max = ((1u32 << self.format.info().depth) - 1) as f32;
                    let stride = item.output.width();
                    for c in 1..3 {
                        if let Some(from) = self.sink.chroma(c) {
                            let to = &mut item.output.component_mut(c);
                            down.run_from_f32(from, stride, max, 0.0, to);
                        }
                    }
                }
                self.sink.finish();
            }
        }
        Ok(())
    }
}

/// Copies a rectangle of a plane that is not subsampled.
fn copy_rect(
    to: &mut FrameMut<'_>,
    from: &FrameRef<'_>,
    plane: usize,
    (x, y): (usize, usize),
    (w, h): (usize, usize),
) {
    let info = from.format().info();
    let Some(component) = info.components.iter().find(|c| c.plane == plane) else {
        return;
    };
    let pixel = component.step * info.sample_bytes;
    let source = from.plane(plane);
    let target = to.plane_mut(plane);
    for row in y..y + h {
        let bytes = |stride: usize| row * stride + x * pixel..row * stride + (x + w) * pixel;
        if let (Some(t), Some(s)) = (
            target.data.get_mut(bytes(target.stride)),
            source.data.get(bytes(source.stride)),
        ) {
            t.copy_from_slice(s);
        }
    }
}

fn middle<'a>(window: &[FrameRef<'a>]) -> Option<FrameRef<'a>> {
    window.get(window.len() / 2).copied()
}
