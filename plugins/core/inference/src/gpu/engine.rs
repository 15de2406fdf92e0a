//! From frames to frames on the device: tiles are loaded, run in batches and stored.

use std::{sync::Arc, time::Duration};

use gstneural_cuda::{
    Channels, DeviceAreas, DeviceBuffer, DeviceFilter, DeviceFrame, DeviceFrameBuf, DeviceScaler,
    DeviceTensor, Element, Order, Region, TensorView,
};
use gstneural_pixels::{Color, PixelFormat, Rect};

use super::{
    Gpu, GpuFrame, GpuPrevious, Unchanged,
    net::GpuNet,
    tiles::{Ramps, reach},
};
use crate::{
    device::Placement,
    engine::{Options, Plan, Report},
    error::{Error, Result},
    guard::Fault,
    info::Blend,
    model::Model,
    route::Route,
    tiles::{Axis, Span},
};

/// One tile of one frame; `lane` is the channel for the routes that run one after the other.
#[derive(Debug, Clone, Copy)]
struct Job {
    x: Span,
    y: Span,
    lane: usize,
}

/// A model opened for one frame size and format, with all of its memory on the device.
#[derive(Debug)]
pub(super) struct GpuEngine {
    net: GpuNet,
    gpu: Gpu,
    model: Arc<Model>,
    route: Route,
    format: PixelFormat,
    size: (usize, usize),
    xs: Axis,
    ys: Axis,
    batch: usize,
    keep_alpha: bool,
    scaler: DeviceScaler,
    up: Option<DeviceFilter>,
    down: Option<DeviceFilter>,
    /// Luma of the result, 16 bit, for [`Route::LumaOfRgb`].
    luma: Option<DeviceFrameBuf>,
    /// Planes of the whole result, where tiles are blended or need colour afterwards.
    planes: Option<Planes>,
    ramps: Option<(Ramps, Ramps)>,
    jobs: Vec<Job>,
    /// Inputs of the tiles, row by row, and what compares them; None for more than a launch takes.
    areas: Vec<Rect>,
    compared: Option<DeviceAreas>,
}

/// f32 planes of a frame.
#[derive(Debug)]
struct Planes {
    tensor: DeviceTensor,
    memory: DeviceBuffer,
}

impl Planes {
    fn new(gpu: &Gpu, channels: usize, (w, h): (usize, usize)) -> Result<Self> {
        let bytes = channels * w * h * 4;
        let memory = DeviceBuffer::zeroed(&gpu.stream, bytes)?;
        let shape = [1, channels, h, w];
        let tensor = DeviceTensor::new(memory.address(), bytes, Element::F32, Order::Nchw, shape)?;
        Ok(Self { tensor, memory })
    }

    fn view(&self) -> Result<TensorView> {
        Ok(self.tensor.image(0, 0, self.tensor.shape()[1])?)
    }
}

impl GpuEngine {
    /// Opens `model` for frames of `size`.
    ///
    /// # Errors
    /// As [`crate::Engine::new`]; [`Error::Cuda`] if the memory is not there.
    pub fn new(
        gpu: &Gpu,
        model: Arc<Model>,
        options: &Options,
        placement: Placement,
        format: PixelFormat,
        color: Color,
        size: (usize, usize),
    ) -> Result<Self> {
        let plan = Plan::new(&model, options, format, size.0, size.1)?;
        let Plan {
            route,
            xs,
            ys,
            batch,
            ..
        } = plan;
        let net = GpuNet::new(gpu, model.clone(), plan.in_shape, plan.out_shape, placement)?;
        let scale = model.info().scale;
        let out = (size.0 * scale, size.1 * scale);
        let stream = &gpu.stream;
        let several = xs.spans.len() * ys.spans.len() > 1;
        let feather = several && model.info().blend == Blend::Feather;
        let planes = match route {
            Route::RgbOfYuv | Route::EachRgbOfYuv => Some(3),
            Route::Rgb | Route::EachRgb if feather => Some(3),
            _ if feather => Some(1),
            _ => None,
        };
        let areas: Vec<Rect> = (ys.spans.iter())
            .flat_map(|y| xs.spans.iter().map(move |x| (x.start, y.start)))
            .map(|(x, y)| Rect {
                x: x as isize,
                y: y as isize,
                w: xs.tile.min(size.0 - x),
                h: ys.tile.min(size.1 - y),
            })
            .collect();
        Ok(Self {
            compared: DeviceAreas::new(stream, format, size, &areas).ok(),
            areas,
            net,
            route,
            format,
            size,
            batch,
            keep_alpha: options.keep_alpha,
            scaler: DeviceScaler::new(stream, format, color.site, size, out, options.filter)?,
            up: route
                .is_by_rgb()
                .then(|| DeviceFilter::chroma_up(stream, format, color.site, size))
                .transpose()?,
            down: route
                .is_by_rgb()
                .then(|| DeviceFilter::chroma_down(stream, format, color.site, out))
                .transpose()?,
            luma: (route == Route::LumaOfRgb)
                .then(|| {
                    DeviceFrameBuf::new(&gpu.device, PixelFormat::Gray16Le, out.0, out.1, color)
                })
                .transpose()?,
            planes: planes.map(|n| Planes::new(gpu, n, out)).transpose()?,
            ramps: feather
                .then(|| {
                    Ok::<_, Error>((
                        Ramps::new(stream, &xs, scale, out.0)?,
                        Ramps::new(stream, &ys, scale, out.1)?,
                    ))
                })
                .transpose()?,
            xs,
            ys,
            jobs: Vec::new(),
            gpu: gpu.clone(),
            model,
        })
    }

    /// Where the network runs.
    pub fn placement(&self) -> &Placement {
        self.net.placement()
    }

    /// What half precision spoilt, if it did.
    pub fn spoilt(&self) -> Option<Fault> {
        self.net.spoilt()
    }

    /// Tiles of one frame.
    pub fn tiles(&self) -> usize {
        self.xs.spans.len() * self.ys.spans.len()
    }

    /// Size of a tile, overlaps included.
    pub fn tile_size(&self) -> (usize, usize) {
        (self.xs.tile, self.ys.tile)
    }

    /// Inputs of the tiles, row by row.
    pub fn areas(&self) -> &[Rect] {
        &self.areas
    }

    /// Compares two frames, tile by tile.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn unchanged(&mut self, a: &DeviceFrame, b: &DeviceFrame) -> Result<Unchanged> {
        let Some(compared) = &mut self.compared else {
            return Ok(Unchanged::default());
        };
        let changed = (self.gpu.kernels).changed(&self.gpu.stream, compared, a, b)?;
        Ok(Unchanged::new(changed.map(|c| !c)))
    }

    /// Upscales a frame. All work is queued in the stream but for the network's time, which is
    /// waited for.
    ///
    /// # Errors
    /// [`Error::Inference`], [`Error::Cuda`]; the output is not valid then.
    pub fn run(&mut self, item: GpuFrame<'_>) -> Result<Report> {
        self.check(&item)?;
        match self.run_once(&item)? {
            (report, None) => Ok(report),
            (_, Some(fault)) => {
                self.net = self.net.in_single(fault)?;
                // The result before it is of half precision.
                let item = GpuFrame {
                    previous: None,
                    ..item
                };
                Ok(self.run_once(&item)?.0)
            }
        }
    }

    fn run_once(&mut self, item: &GpuFrame<'_>) -> Result<(Report, Option<Fault>)> {
        self.prepare(item)?;
        self.jobs.clear();
        let lanes = if self.route.is_one_by_one() { 3 } else { 1 };
        let mut reused = 0;
        for (row, y) in self.ys.spans.iter().enumerate() {
            for (column, x) in self.xs.spans.iter().enumerate() {
                let tile = row * self.xs.spans.len() + column;
                let kept = self.kept(item).filter(|p| p.unchanged.tile(tile));
                if let Some(previous) = kept {
                    self.reuse(item, previous, *x, *y)?;
                    reused += 1;
                    continue;
                }
                self.jobs
                    .extend((0..lanes).map(|lane| Job { x: *x, y: *y, lane }));
            }
        }
        let mut inference = Duration::ZERO;
        let mut fault = None;
        let mut at = 0;
        while at < self.jobs.len() {
            let count = self.batch.min(self.jobs.len() - at);
            for slot in 0..count {
                if let Some(job) = self.jobs.get(at + slot).copied() {
                    self.load(item, job, slot)?;
                }
            }
            self.net.queue()?;
            for slot in 0..count {
                if let Some(job) = self.jobs.get(at + slot).copied() {
                    self.store(item, job, slot)?;
                }
            }
            let (time, found) = self.net.settle()?;
            inference += time;
            fault = fault.or(found);
            at += count;
        }
        self.finish(item)?;
        let report = Report {
            tiles: self.tiles(),
            reused,
            inference,
        };
        Ok((report, fault))
    }

    /// The frame before, where a tile's result depends on nothing but its own rectangle: chroma and
    /// blended tiles depend on more.
    fn kept<'a>(&self, item: &GpuFrame<'a>) -> Option<GpuPrevious<'a>> {
        let local = matches!(self.route, Route::Luma | Route::Rgb | Route::EachRgb);
        let alone = local && self.ramps.is_none() && item.window.len() == 1;
        item.previous.filter(|_| alone)
    }

    /// Takes a tile from the result before.
    fn reuse(&self, item: &GpuFrame<'_>, from: GpuPrevious<'_>, x: Span, y: Span) -> Result<()> {
        let planes = match self.route {
            Route::Luma => 1,
            _ => self.format.info().planes,
        };
        let s = self.model.info().scale;
        let (at, to) = ((x.from * s, y.from * s), (x.to * s, y.to * s));
        let size = (to.0 - at.0, to.1 - at.1);
        for plane in 0..planes {
            let (stream, kernels) = (&*self.gpu.stream, &self.gpu.kernels);
            kernels.copy_rect(stream, &item.output, &from.output, plane, at, size)?;
        }
        Ok(())
    }

    fn check(&self, item: &GpuFrame<'_>) -> Result<()> {
        let info = self.model.info();
        let fits =
            |f: &DeviceFrame, w, h| f.format() == self.format && f.width() == w && f.height() == h;
        let (w, h) = self.size;
        if item.window.len() == info.window
            && item.window.iter().all(|f| fits(f, w, h))
            && fits(&item.output, w * info.scale, h * info.scale)
            && (item.previous).is_none_or(|p| fits(&p.output, w * info.scale, h * info.scale))
        {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "a frame does not fit an engine for {} {w}x{h}",
            self.format.info().name
        )))
    }

    /// Does what does not need the network: chroma, alpha, the frame that luma is added to.
    fn prepare(&self, item: &GpuFrame<'_>) -> Result<()> {
        let Some(input) = item.window.get(item.window.len() / 2) else {
            return Ok(());
        };
        let (stream, kernels, out) = (&*self.gpu.stream, &self.gpu.kernels, &item.output);
        let info = self.format.info();
        match self.route {
            Route::Luma => {
                let rest = 1..info.components.len();
                kernels.scale_components(stream, &self.scaler, input, out, rest)?;
            }
            Route::LumaOfRgb => kernels.scale(stream, &self.scaler, input, out)?,
            _ => {}
        }
        if let Some(alpha) = info.alpha {
            if !self.keep_alpha {
                let (w, h) = (out.width(), out.height());
                kernels.fill(stream, out, alpha, (0, 0, w, h), u32::MAX)?;
            } else if self.route != Route::LumaOfRgb {
                let alpha = alpha..alpha + 1;
                kernels.scale_components(stream, &self.scaler, input, out, alpha)?;
            }
        } else if self.route == Route::Rgb || self.route == Route::EachRgb {
            kernels.fill_padding(stream, out)?;
        }
        if self.ramps.is_some()
            && let Some(planes) = &self.planes
        {
            planes.memory.clear(stream, 0..planes.memory.bytes())?;
        }
        Ok(())
    }

    fn channels(&self) -> Channels {
        if self.model.info().bgr {
            Channels::Bgr
        } else {
            Channels::Rgb
        }
    }

    /// Writes a tile of all frames of the window into a slot of the input.
    fn load(&self, item: &GpuFrame<'_>, job: Job, slot: usize) -> Result<()> {
        let (stream, kernels) = (&*self.gpu.stream, &self.gpu.kernels);
        let white = self.model.info().white;
        let at = (job.x.start as isize, job.y.start as isize);
        for (k, frame) in item.window.iter().enumerate() {
            let to = self.net.input(slot, k)?;
            match self.route {
                Route::Luma => kernels.load_component(stream, frame, 0, at, white, &to)?,
                Route::EachRgb => {
                    kernels.load_component(stream, frame, job.lane, at, white, &to)?
                }
                Route::Rgb => kernels.load_rgb(stream, frame, self.channels(), at, white, &to)?,
                Route::LumaOfRgb => kernels.load_luma_of_rgb(stream, frame, at, white, &to)?,
                Route::RgbOfYuv | Route::EachRgbOfYuv => {
                    let Some(up) = &self.up else { continue };
                    let channels = if self.route == Route::RgbOfYuv {
                        self.channels()
                    } else {
                        Channels::One(job.lane)
                    };
                    kernels.load_rgb_of_yuv(stream, frame, up, channels, at, white, &to)?;
                }
            }
        }
        Ok(())
    }

    /// Takes one tile out of the output.
    fn store(&self, item: &GpuFrame<'_>, job: Job, slot: usize) -> Result<()> {
        let (stream, kernels) = (&*self.gpu.stream, &self.gpu.kernels);
        let info = self.model.info();
        let from = self.net.output(slot)?;
        let count = info.channels.count();
        let bgr = |i: usize| if info.bgr && count == 3 { 2 - i } else { i };
        // Channel of the network, component (or plane) of the result.
        let pairs: Vec<(usize, usize)> = match self.route {
            Route::Luma => vec![(0, 0)],
            Route::LumaOfRgb => vec![(count / 2, 0)],
            Route::EachRgb | Route::EachRgbOfYuv => vec![(0, job.lane)],
            Route::Rgb | Route::RgbOfYuv => (0..3).map(|i| (i, bgr(i))).collect(),
        };
        let s = info.scale;
        let (out_w, out_h) = (item.output.width(), item.output.height());
        if let Some(planes) = &self.planes {
            let (across, down, weights) = match &self.ramps {
                Some((xs, ys)) => {
                    let missing = || Error::Inference("a tile without its weights".into());
                    let x = xs.of(job.x).ok_or_else(missing)?;
                    let y = ys.of(job.y).ok_or_else(missing)?;
                    (reach(job.x, s, out_w), reach(job.y, s, out_h), Some((x, y)))
                }
                None => {
                    let own =
                        |span: Span, length: usize| (span.from * s, (span.to * s).min(length));
                    (own(job.x, out_w), own(job.y, out_h), None)
                }
            };
            let region = Region {
                from: (across.0 - job.x.start * s, down.0 - job.y.start * s),
                to: (across.0, down.0),
                size: (across.1 - across.0, down.1 - down.0),
            };
            let to = planes.view()?;
            for (channel, plane) in pairs {
                let channels = (channel, plane, 1);
                kernels.gather(stream, &from, &to, channels, region, weights)?;
            }
            return Ok(());
        }
        let region = Region {
            from: (
                (job.x.from - job.x.start) * s,
                (job.y.from - job.y.start) * s,
            ),
            to: (job.x.from * s, job.y.from * s),
            size: ((job.x.to - job.x.from) * s, (job.y.to - job.y.from) * s),
        };
        let target = match &self.luma {
            Some(luma) => luma.frame(),
            None => item.output,
        };
        Ok(kernels.store(stream, &from, &pairs, info.white, &target, region)?)
    }

    /// Does what needs the whole result of a frame: blended tiles, colour, chroma.
    fn finish(&self, item: &GpuFrame<'_>) -> Result<()> {
        let (stream, kernels, out) = (&*self.gpu.stream, &self.gpu.kernels, &item.output);
        let white = self.model.info().white;
        let whole = Region::whole(out.width(), out.height());
        if let Some(planes) = &self.planes {
            let from = planes.view()?;
            match (self.route, &self.luma, &self.down) {
                (Route::RgbOfYuv | Route::EachRgbOfYuv, _, Some(down)) => {
                    kernels.store_rgb_as_yuv(stream, &from, Channels::Rgb, white, out, down)?;
                }
                (Route::Rgb | Route::EachRgb, ..) => {
                    let pairs = [(0, 0), (1, 1), (2, 2)];
                    kernels.store(stream, &from, &pairs, white, out, whole)?;
                }
                (_, Some(luma), _) => {
                    kernels.store(stream, &from, &[(0, 0)], white, &luma.frame(), whole)?;
                }
                _ => kernels.store(stream, &from, &[(0, 0)], white, out, whole)?,
            }
        }
        if let Some(luma) = &self.luma {
            kernels.replace_luma(stream, out, &luma.frame())?;
        }
        Ok(())
    }
}
