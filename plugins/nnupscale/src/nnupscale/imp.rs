//! The implementation: negotiation, buffers, errors. The pixels are `gstneural-inference`'s.
//!
//! Order of locks: `state`, then one of `settings`, `counters`, `shared`. `state` is released
//! around everything that can call back into the element: pushing, posting.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        LazyLock, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use gst::{glib, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{
        base_transform::{BaseTransformMode, GenerateOutputSuccess},
        prelude::*,
    },
};
use gstneural_inference::{
    Error, LoadControl, Model, ModelStore, Processor, Upscaler, UpscalerOptions,
    gpu::{Gpu, GpuUpscaler},
    gpu_is_there, runtime,
};
use gstneural_pixels::{Color, PixelFormat};

use super::{
    caps::{self, Factors},
    cuda::{self, Link},
    gpu,
    settings::{self, CompareMode, Device, Precision, QosMode, Settings},
    stats::Counters,
    work::{State, Stream, Worker},
};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "nnupscale",
        gst::DebugColorFlags::empty(),
        Some("Neural super-resolution"),
    )
});

/// The frame duration where caps and buffers do not tell one.
const USUAL_FRAME: Duration = Duration::from_millis(40);
/// Frames of delay that qos-mode allows by default.
const DEADLINE_FRAMES: u32 = 3;

static ANCHOR: OnceLock<PathBuf> = OnceLock::new();

/// Remembers the plugin's file, from which models and ONNX Runtime are looked up.
pub(super) fn set_anchor(file: Option<PathBuf>) {
    if let Some(file) = file.or_else(|| std::env::current_exe().ok()) {
        ANCHOR.get_or_init(|| file);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Small things that other threads ask for while a frame is in the works.
#[derive(Debug, Default)]
pub(super) struct Shared {
    latency: gst::ClockTime,
    /// What the last QoS event said: how late buffers are.
    pub lateness: Duration,
    /// Where the split has been moved to.
    pub split: Option<f32>,
    /// The network is to be left out, whatever time there is.
    pub forced: bool,
}

/// The element's instance.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct NnUpscale {
    settings: Mutex<Settings>,
    pub(super) state: Mutex<Option<State>>,
    pub(super) counters: Mutex<Counters>,
    pub(super) shared: Mutex<Shared>,
    scale: AtomicU32,
    link: Link,
}

#[glib::object_subclass]
impl ObjectSubclass for NnUpscale {
    const NAME: &'static str = "GstNnUpscale";
    type Type = super::NnUpscale;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for NnUpscale {
    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        lock(&self.settings).set(value, pspec);
        match pspec.name() {
            "split-pos" => lock(&self.shared).split = value.get::<f64>().ok().map(|v| v as f32),
            "force-fallback" => lock(&self.shared).forced = value.get().unwrap_or(false),
            _ => {}
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "scale" => self.scale.load(Ordering::Relaxed).to_value(),
            "stats" => lock(&self.counters).snapshot().to_structure().to_value(),
            _ => lock(&self.settings)
                .get(pspec)
                .unwrap_or_else(|| glib::Value::from_type(pspec.value_type())),
        }
    }
}

impl GstObjectImpl for NnUpscale {}

impl ElementImpl for NnUpscale {
    fn set_context(&self, context: &gst::Context) {
        self.link.take(self.obj().upcast_ref(), context);
        self.parent_set_context(context);
    }

    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Neural upscaler",
                "Filter/Effect/Converter/Video/Scaler",
                "Upscales video by a super-resolution network (ONNX)",
                "The gst-neural developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            [
                ("sink", gst::PadDirection::Sink),
                ("src", gst::PadDirection::Src),
            ]
            .into_iter()
            .filter_map(|(name, direction)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps::TEMPLATE)
                    .ok()
            })
            .collect()
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for NnUpscale {
    const MODE: BaseTransformMode = BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        check_device(&settings)?;
        let roots = ANCHOR.get().map(|a| runtime::roots(a)).unwrap_or_default();
        let store = ModelStore::new(
            settings.model_dir.as_ref().map(std::path::Path::new),
            &roots,
        );
        let load = |name: &str| {
            let model = store
                .resolve(name)
                .and_then(|path| Model::load(&path, &roots))
                .map_err(|e| gst::error_msg!(gst::ResourceError::OpenRead, ["{e}"]))?;
            for key in &model.info().declared.unknown {
                gst::warning!(
                    CAT,
                    imp = self,
                    "{}: unknown key \"{key}\" in [nnupscale]",
                    model.path().display()
                );
            }
            Ok(model)
        };
        let model = load(&settings.model)?;
        let compare_model = settings.compare_model.as_deref().map(load).transpose()?;
        gst::info!(
            CAT,
            imp = self,
            "{}: {:?}",
            model.path().display(),
            model.info()
        );
        self.scale.store(
            u32::try_from(model.info().scale).unwrap_or(0),
            Ordering::Relaxed,
        );
        let mut counters = lock(&self.counters);
        *counters = Counters::default();
        counters.total.model = model.info().name.clone();
        counters.total.scale = self.scale.load(Ordering::Relaxed);
        drop(counters);
        // What was set before the start holds from the first frame on.
        *lock(&self.shared) = Shared {
            forced: settings.force_fallback,
            ..Shared::default()
        };
        *lock(&self.state) = Some(State {
            model,
            compare_model,
            stream: None,
            gpu: None,
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        lock(&self.state).take();
        self.link.clear();
        self.scale.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let out = caps::transform(direction, caps, self.factors(), self.may_use_gpu());
        gst::trace!(CAT, imp = self, "{direction:?} {caps} -> {out}");
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&out, gst::CapsIntersectMode::First),
            None => out,
        })
    }

    fn unit_size(&self, caps: &gst::Caps) -> Option<usize> {
        gst_video::VideoInfo::from_caps(caps).ok().map(|i| i.size())
    }

    fn transform_size(
        &self,
        _direction: gst::PadDirection,
        _caps: &gst::Caps,
        _size: usize,
        othercaps: &gst::Caps,
    ) -> Option<usize> {
        // Not in proportion to the other size: a decoder's buffers may be padded.
        self.unit_size(othercaps)
    }

    fn set_caps(&self, incaps: &gst::Caps, outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let settings = lock(&self.settings).clone();
        let info = |caps: &gst::Caps| {
            gst_video::VideoInfo::from_caps(caps)
                .map_err(|_| gst::loggable_error!(CAT, "{caps} is no raw video"))
        };
        let (in_info, out_info) = (info(incaps)?, info(outcaps)?);
        let format = caps::pixel_format(&in_info)
            .ok_or_else(|| gst::loggable_error!(CAT, "{incaps} has an unknown format"))?;
        if in_info.interlace_mode() != gst_video::VideoInterlaceMode::Progressive {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Format,
                [
                    "interlaced video is upscaled as if it were progressive: put a deinterlacer before nnupscale"
                ]
            );
        }
        let mut guard = lock(&self.state);
        let state = guard
            .as_mut()
            .ok_or_else(|| gst::loggable_error!(CAT, "caps before the model was loaded"))?;
        let color = caps::color(&in_info);
        let mut options = settings.upscaler_options();
        let live = settings.qos_mode != QosMode::Off;
        if live {
            // A batch would hold frames back that the stream is waiting for.
            options.engine.batch = 1;
        }
        let refuse = |e: &dyn std::fmt::Display| {
            // Without this the user would only read "not negotiated".
            gst::element_imp_error!(self, gst::StreamError::Format, ["{e}"]);
            gst::loggable_error!(CAT, "{e}")
        };
        let size = (in_info.width() as usize, in_info.height() as usize);
        // All its frames are out. What it has of the GPU's memory and slots is given back first.
        state.stream = None;
        let on_device = [incaps, outcaps].iter().any(|c| on_device(c));
        let worker = match self.gpu_worker(state, &options, (format, color), size, on_device) {
            Some(Ok(worker)) => Worker::Gpu(Box::new(worker)),
            Some(Err(e)) if on_device || settings.device != Device::Auto => {
                return Err(refuse(&e));
            }
            other => {
                if let Some(Err(e)) = other {
                    gst::element_imp_warning!(
                        self,
                        gst::ResourceError::NotFound,
                        ["the network runs on the CPU, not on the GPU that is there: {e}"]
                    );
                }
                let (model, compared) = (state.model.clone(), state.compare_model.clone());
                Upscaler::new(model, compared, options, format, color, size.0, size.1)
                    .map(|u| Worker::Cpu(Box::new(u)))
                    .map_err(|e| refuse(&e))?
            }
        };
        let (device, half, tiles, (tw, th)) = match &worker {
            Worker::Cpu(u) => ("cpu", false, u.engine().tiles(), u.engine().tile_size()),
            Worker::Gpu(g) => {
                let u = &g.upscaler;
                (u.device_name(), u.is_half(), u.tiles(), u.tile_size())
            }
        };
        let precision = precision_name(half);
        gst::info!(
            CAT,
            imp = self,
            "{tiles} tiles of {tw}x{th} on {device} in {precision}"
        );
        let mut counters = lock(&self.counters);
        counters.total.device = device.to_owned();
        counters.total.precision = precision.to_owned();
        drop(counters);
        let fps = in_info.fps();
        let frame_duration = if fps.numer() > 0 {
            Duration::from_secs_f64(f64::from(fps.denom()) / f64::from(fps.numer()))
        } else {
            USUAL_FRAME
        };
        let deadline = match settings.deadline_ns {
            0 => frame_duration * DEADLINE_FRAMES,
            ns => Duration::from_nanos(ns),
        };
        let stream = Stream {
            format,
            color,
            window: state.model.info().window,
            batch: if live {
                1
            } else {
                settings.batch_size as usize
            },
            control: live.then(|| LoadControl::new(deadline)),
            qos_mode: settings.qos_mode,
            frame_duration,
            stats_interval: (settings.stats_interval_ns > 0)
                .then(|| gst::ClockTime::from_nseconds(settings.stats_interval_ns)),
            last_stats: None,
            inputs: VecDeque::new(),
            next: 0,
            outputs: VecDeque::new(),
            previous: None,
            worker,
            in_info,
            out_info,
        };
        let held = frame_duration * u32::try_from(stream.delay_frames()).unwrap_or(0);
        let own = held + if live { deadline } else { Duration::ZERO };
        let own = gst::ClockTime::try_from(own).unwrap_or(gst::ClockTime::ZERO);
        state.stream = Some(stream);
        drop(guard);
        let changed = {
            let mut shared = lock(&self.shared);
            std::mem::replace(&mut shared.latency, own) != own
        };
        if changed {
            let message = gst::message::Latency::builder().src(&*self.obj()).build();
            let _ = self.obj().post_message(message);
        }
        Ok(())
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if direction == gst::PadDirection::Src
            && let gst::QueryViewMut::Latency(q) = query.view_mut()
        {
            let mut upstream = gst::query::Latency::new();
            if !self.obj().sink_pad().peer_query(&mut upstream) {
                return false;
            }
            let own = lock(&self.shared).latency;
            let (live, min, max) = upstream.result();
            q.set(live, min + own, max.map(|m| m + own));
            return true;
        }
        let of_cuda =
            matches!(query.view(), gst::QueryView::Context(q) if q.context_type() == cuda::CONTEXT);
        if of_cuda && self.answer_context(query) {
            return true;
        }
        BaseTransformImplExt::parent_query(self, direction, query)
    }

    fn decide_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        if let (Some(caps), _) = query.get_owned()
            && on_device(&caps)
            && let Some((pool, size)) = self.device_pool(&caps, 0)?
        {
            if query.allocation_pools().len() == 0 {
                query.add_allocation_pool(Some(&pool), size, 0, 0);
            } else {
                query.set_nth_allocation_pool(0, Some(&pool), size, 0, 0);
            }
        }
        self.parent_decide_allocation(query)
    }

    fn propose_allocation(
        &self,
        decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        // Buffers are kept for the window, the batch and for reuse: a pool must have that many.
        let (size, held) = {
            let guard = lock(&self.state);
            let stream = guard.as_ref().and_then(|s| s.stream.as_ref());
            stream.map_or((0, 0), |s| (s.in_info.size(), s.window + s.batch))
        };
        if let (Some(caps), _) = query.get_owned()
            && on_device(&caps)
        {
            let held = u32::try_from(held + 1).unwrap_or(1);
            if let Some((pool, size)) = self.device_pool(&caps, held)? {
                query.add_allocation_pool(Some(&pool), size, held, 0);
            }
            // Not the parent's: it would offer system memory.
            return Ok(());
        }
        if let (Ok(size), Ok(held)) = (u32::try_from(size), u32::try_from(held))
            && size > 0
        {
            query.add_allocation_pool(None::<&gst::BufferPool>, size, held + 1, 0);
        }
        self.parent_propose_allocation(decide_query, query)
    }

    fn transform_meta<'a>(
        &self,
        outbuf: &mut gst::BufferRef,
        meta: gst::MetaRef<'a, gst::Meta>,
        inbuf: &'a gst::BufferRef,
    ) -> bool {
        // What speaks of the picture as such stays true when it grows (captions, time codes, bars);
        // what speaks of memory or of sizes in pixels does not.
        let tags = meta.tags();
        if !tags.is_empty()
            && tags
                .iter()
                .all(|t| matches!(t.as_str(), "video" | "colorspace" | "orientation"))
        {
            return true;
        }
        self.parent_transform_meta(outbuf, meta, inbuf)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        use gst::EventView as E;
        match event.view() {
            E::Eos(_) => {
                if self.drain().is_err() {
                    gst::warning!(CAT, imp = self, "frames were left at the end of the stream");
                }
                self.post_stats();
            }
            E::Caps(_) | E::Segment(_) | E::StreamStart(_) => {
                if let Err(e) = self.drain()
                    && e != gst::FlowError::Flushing
                {
                    gst::warning!(CAT, imp = self, "frames were left before {event:?}: {e}");
                }
            }
            E::FlushStop(_) => {
                if let Some(s) = lock(&self.state).as_mut().and_then(|s| s.stream.as_mut()) {
                    s.flush();
                }
                lock(&self.shared).lateness = Duration::ZERO;
            }
            _ => {}
        }
        self.parent_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        if let gst::EventView::Qos(qos) = event.view() {
            let (_, _, difference, _) = qos.get();
            lock(&self.shared).lateness =
                u64::try_from(difference).map_or(Duration::ZERO, Duration::from_nanos);
            // It is acted on here: a decoder that hears of it leaves B-frames out, whatever its
            // own property says.
            if lock(&self.settings).qos_mode != QosMode::Off {
                return true;
            }
        }
        self.parent_src_event(event)
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let queued = self.take_queued_buffer();
        let mut messages = Vec::new();
        let result = self.advance(queued, false, &mut messages);
        for message in messages {
            let _ = self.obj().post_message(message);
        }
        Ok(result?.map_or(
            GenerateOutputSuccess::NoOutput,
            GenerateOutputSuccess::Buffer,
        ))
    }
}

/// The name that `stats` has for a precision.
pub(super) fn precision_name(half: bool) -> &'static str {
    if half { "fp16" } else { "fp32" }
}

/// Says before anything is loaded what cannot be.
fn check_device(settings: &Settings) -> Result<(), gst::ErrorMessage> {
    let refuse = |text: String| Err(gst::error_msg!(gst::LibraryError::Settings, ["{text}"]));
    let gpu = gpu_is_there();
    if let Some(processor @ (Processor::Cuda | Processor::TensorRt)) = settings.place().processor
        && !gpu
    {
        return refuse(Error::no_gpu(processor).to_string());
    }
    if settings.precision == Precision::Fp16 && (!gpu || settings.device == Device::Cpu) {
        return refuse(
            "precision=fp16 is for GPUs; use precision=auto or precision=fp32 on the CPU".into(),
        );
    }
    Ok(())
}

/// True for frames in CUDA memory.
fn on_device(caps: &gst::CapsRef) -> bool {
    caps.features(0).is_some_and(|f| f.contains(cuda::FEATURE))
}

impl NnUpscale {
    /// True if there is a GPU and the settings allow it.
    fn may_use_gpu(&self) -> bool {
        lock(&self.settings).device != Device::Cpu && cuda::library().is_some()
    }

    /// The GPU with its kernels, opened once from start to stop.
    fn gpu(&self, state: &mut State) -> gstneural_inference::Result<Gpu> {
        if let Some(gpu) = &state.gpu {
            return Ok(gpu.clone());
        }
        let id = lock(&self.settings).device_id;
        let gpu = Gpu::open(id as usize)?;
        state.gpu = Some(gpu.clone());
        Ok(gpu)
    }

    /// A worker on the GPU, or why there is none; None if none is wanted or there is no GPU.
    fn gpu_worker(
        &self,
        state: &mut State,
        options: &UpscalerOptions,
        (format, color): (PixelFormat, Color),
        size: (usize, usize),
        on_device: bool,
    ) -> Option<gstneural_inference::Result<gpu::Worker>> {
        if lock(&self.settings).device == Device::Cpu || !gpu_is_there() {
            return None;
        }
        let mut open = || {
            let gpu = self.gpu(state)?;
            let element = self.obj();
            let context = on_device
                .then(|| self.link.context(element.upcast_ref(), gpu.device()))
                .transpose()?;
            let (model, compared) = (&state.model, state.compare_model.as_ref());
            let upscaler = GpuUpscaler::new(&gpu, model, compared, options, format, color, size)?;
            Ok(gpu::Worker::new(upscaler, gpu, context, format, color))
        };
        Some(open())
    }

    /// Answers a neighbour that asks for a context to share, with a new one if need be.
    fn answer_context(&self, query: &mut gst::QueryRef) -> bool {
        let element = self.obj();
        if self.link.answer(element.upcast_ref(), query) {
            return true;
        }
        // Not while the stream's own thread works on it, or asks the same of its neighbours.
        let Ok(mut guard) = self.state.try_lock() else {
            return false;
        };
        if !self.may_use_gpu() {
            return false;
        }
        let id = lock(&self.settings).device_id as usize;
        let gpu = match guard.as_mut() {
            Some(state) => self.gpu(state),
            None => Gpu::open(id),
        };
        drop(guard);
        gpu.is_ok_and(|gpu| {
            self.link.make(element.upcast_ref(), gpu.device()).is_ok()
                && self.link.answer(element.upcast_ref(), query)
        })
    }

    /// A pool of frames in the shared context and the size of its buffers; None before there is a
    /// device.
    fn device_pool(
        &self,
        caps: &gst::Caps,
        least: u32,
    ) -> Result<Option<(gst::BufferPool, u32)>, gst::LoggableError> {
        let gpu = lock(&self.state).as_ref().and_then(|s| s.gpu.clone());
        let Some(gpu) = gpu else {
            return Ok(None);
        };
        let info = gst_video::VideoInfo::from_caps(caps)
            .map_err(|_| gst::loggable_error!(CAT, "{caps} is no raw video"))?;
        let size = u32::try_from(info.size()).unwrap_or(u32::MAX);
        self.link
            .context(self.obj().upcast_ref(), gpu.device())
            .map_err(|e| e.to_string())
            .and_then(|context| cuda::pool(&context, caps, size, least))
            .map(Some)
            .map_err(|e| gst::loggable_error!(CAT, "{e}"))
    }

    fn factors(&self) -> Option<Factors> {
        let scale = i32::try_from(self.scale.load(Ordering::Relaxed))
            .ok()
            .filter(|s| *s > 0)?;
        let side = lock(&self.settings).compare == CompareMode::Side;
        Some(Factors {
            width: if side { scale * 2 } else { scale },
            height: scale,
        })
    }
}
