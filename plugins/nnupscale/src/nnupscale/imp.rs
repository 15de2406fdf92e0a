//! The implementation: negotiation, buffers, errors. The pixels are `gstneural-inference`'s.
//!
//! Order of locks: `state`, then one of `settings`, `counters`, `shared`. `state` is released
//! around everything that can call back into the element: pushing, posting.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use gst::{glib, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{
        base_transform::{
            BaseTransformMode, GenerateOutputSuccess, InputBuffer, PrepareOutputBufferSuccess,
        },
        prelude::*,
    },
};
use gst_video::{VideoFrameRef, prelude::*};
use gstneural_inference::{
    Decision, Frame, LoadControl, Model, ModelStore, Previous, Upscaler, runtime,
};
use gstneural_pixels::{Color, PixelFormat, Rect, rect_equal};

use super::{
    caps::{self, Factors},
    frames,
    settings::{self, CompareMode, Device, Precision, QosMode, Settings},
    stats::{Counters, FallbackEvent},
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Loaded between start and stop.
struct State {
    model: Arc<Model>,
    compare_model: Option<Arc<Model>>,
    stream: Option<Stream>,
}

/// What belongs to one pair of caps.
struct Stream {
    in_info: gst_video::VideoInfo,
    out_info: gst_video::VideoInfo,
    format: PixelFormat,
    color: Color,
    upscaler: Upscaler,
    /// Frames of the window that are past, then those still to be upscaled.
    inputs: VecDeque<gst::Buffer>,
    /// Index in `inputs` of the next frame to be upscaled.
    next: usize,
    outputs: VecDeque<gst::Buffer>,
    /// The last frame and its result, for reuse.
    previous: Option<(gst::Buffer, gst::Buffer)>,
    window: usize,
    batch: usize,
    control: Option<LoadControl>,
    qos_mode: QosMode,
    frame_duration: Duration,
    stats_interval: Option<gst::ClockTime>,
    last_stats: Option<gst::ClockTime>,
}

impl Stream {
    /// Frames that are held back before one comes out.
    fn delay_frames(&self) -> usize {
        self.window / 2 + self.batch - 1
    }

    fn flush(&mut self) {
        self.inputs.clear();
        self.outputs.clear();
        self.next = 0;
        self.previous = None;
        self.upscaler.reset();
        if let Some(c) = &mut self.control {
            c.reset();
        }
    }
}

/// Small things that other threads ask for while a frame is in the works.
#[derive(Debug, Default)]
struct Shared {
    latency: gst::ClockTime,
    /// What the last QoS event said: how late buffers are.
    lateness: Duration,
}

/// The element's instance.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct NnUpscale {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    counters: Mutex<Counters>,
    shared: Mutex<Shared>,
    scale: AtomicU32,
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
        *lock(&self.shared) = Shared::default();
        *lock(&self.state) = Some(State {
            model,
            compare_model,
            stream: None,
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        lock(&self.state).take();
        self.scale.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let out = caps::transform(direction, caps, self.factors());
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
        let upscaler = Upscaler::new(
            state.model.clone(),
            state.compare_model.clone(),
            options,
            format,
            color,
            in_info.width() as usize,
            in_info.height() as usize,
        )
        .map_err(|e| {
            // Without this the user would only read "not negotiated".
            gst::element_imp_error!(self, gst::StreamError::Format, ["{e}"]);
            gst::loggable_error!(CAT, "{e}")
        })?;
        let (tw, th) = upscaler.engine().tile_size();
        gst::info!(
            CAT,
            imp = self,
            "{} tiles of {tw}x{th}",
            upscaler.engine().tiles()
        );
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
            upscaler,
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
        BaseTransformImplExt::parent_query(self, direction, query)
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

fn check_device(settings: &Settings) -> Result<(), gst::ErrorMessage> {
    if matches!(settings.device, Device::Cuda | Device::TensorRt) {
        return Err(gst::error_msg!(
            gst::LibraryError::Settings,
            [
                "device={:?} is not available: this build runs networks on the CPU; use device=auto or device=cpu",
                settings.device
            ]
        ));
    }
    if settings.precision == Precision::Fp16 {
        return Err(gst::error_msg!(
            gst::LibraryError::Settings,
            ["precision=fp16 is for GPUs; use precision=auto or precision=fp32 on the CPU"]
        ));
    }
    Ok(())
}

impl NnUpscale {
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

    /// Upscales and pushes what is still held back.
    fn drain(&self) -> Result<(), gst::FlowError> {
        loop {
            let mut messages = Vec::new();
            let result = self.advance(None, true, &mut messages);
            for message in messages {
                let _ = self.obj().post_message(message);
            }
            match result? {
                Some(buffer) => {
                    self.obj().src_pad().push(buffer)?;
                }
                None => break,
            }
        }
        if let Some(s) = lock(&self.state).as_mut().and_then(|s| s.stream.as_mut()) {
            s.inputs.clear();
            s.next = 0;
        }
        Ok(())
    }

    /// Takes a buffer in, does the work that is due and gives a buffer out.
    fn advance(
        &self,
        queued: Option<gst::Buffer>,
        draining: bool,
        messages: &mut Vec<gst::Message>,
    ) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let mut guard = lock(&self.state);
        let Some(stream) = guard.as_mut().and_then(|s| s.stream.as_mut()) else {
            return if draining {
                Ok(None)
            } else {
                Err(gst::FlowError::NotNegotiated)
            };
        };
        stream.inputs.extend(queued);
        while stream.outputs.is_empty() {
            let ahead = if draining { 0 } else { stream.window / 2 };
            let ready = stream.inputs.len().saturating_sub(stream.next + ahead);
            let count = ready.min(stream.batch);
            if count == 0 || (count < stream.batch && !draining) {
                break;
            }
            self.work(stream, count, messages)?;
            stream.next += count;
            // Of the past only what a window reaches is kept.
            while stream.next > stream.window / 2 {
                stream.inputs.pop_front();
                stream.next -= 1;
            }
        }
        Ok(stream.outputs.pop_front())
    }

    /// Upscales the next `count` frames.
    fn work(
        &self,
        stream: &mut Stream,
        count: usize,
        messages: &mut Vec<gst::Message>,
    ) -> Result<(), gst::FlowError> {
        let start = Instant::now();
        let weight = match self.decide(stream, messages) {
            Some(weight) => weight,
            None => {
                lock(&self.counters).total.dropped_frames += 1;
                self.settle(stream, start);
                return Ok(());
            }
        };
        if let Some(buffer) = self.repeat(stream, count, weight)? {
            stream.outputs.push_back(buffer);
            let mut counters = lock(&self.counters);
            let tiles = stream.upscaler.engine().tiles() as u64;
            counters.total.frames += 1;
            counters.total.tiles += tiles;
            counters.total.tiles_reused += tiles;
            drop(counters);
        } else {
            self.upscale(stream, count, weight)?;
        }
        self.settle(stream, start);
        self.stats_due(stream, messages);
        Ok(())
    }

    /// The weight of the network for the next frame; None drops it.
    fn decide(&self, stream: &mut Stream, messages: &mut Vec<gst::Message>) -> Option<f32> {
        let Some(control) = &mut stream.control else {
            return Some(1.0);
        };
        let was = control.is_fallback();
        let lateness = lock(&self.shared).lateness;
        let decision = control.decide(lateness);
        let active = control.is_fallback();
        if was != active {
            let pts = stream.inputs.get(stream.next).and_then(|b| b.pts());
            let segment = self.obj().segment();
            let running_time = segment
                .downcast_ref::<gst::ClockTime>()
                .and_then(|s| s.to_running_time(pts?));
            gst::info!(
                CAT,
                imp = self,
                "fallback {active}, debt {:?}",
                control.debt()
            );
            let event = FallbackEvent {
                active,
                running_time,
            };
            messages.push(
                gst::message::Element::builder(event.to_structure())
                    .src(&*self.obj())
                    .build(),
            );
        }
        match (decision, stream.qos_mode) {
            (Decision::Network(_), QosMode::Drop) => Some(1.0),
            (Decision::Network(w), _) => Some(w),
            (Decision::Fallback, QosMode::Drop) => None,
            (Decision::Fallback, _) => Some(0.0),
        }
    }

    /// Books the time that a frame took.
    fn settle(&self, stream: &mut Stream, start: Instant) {
        let own = stream.inputs.get(stream.next).and_then(|b| b.duration());
        let interval = own.map_or(stream.frame_duration, |d| {
            Duration::from_nanos(d.nseconds())
        });
        if let Some(control) = &mut stream.control {
            control.finished(start.elapsed(), interval);
        }
    }

    /// A frame that equals the one before gets the same memory as its result.
    fn repeat(
        &self,
        stream: &Stream,
        count: usize,
        weight: f32,
    ) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let Some((last_in, last_out)) = &stream.previous else {
            return Ok(None);
        };
        let Some(input) = stream.inputs.get(stream.next) else {
            return Ok(None);
        };
        let usable = stream.upscaler.is_reusable()
            && weight >= 1.0
            && count == 1
            && stream.window == 1
            // Its strides would have to be described anew.
            && last_out.meta::<gst_video::VideoMeta>().is_none();
        if !usable {
            return Ok(None);
        }
        let (Ok(a), Ok(b)) = (
            VideoFrameRef::from_buffer_ref_readable(input, &stream.in_info),
            VideoFrameRef::from_buffer_ref_readable(last_in, &stream.in_info),
        ) else {
            return Err(self.map_error("input"));
        };
        let whole = Rect {
            x: 0,
            y: 0,
            w: a.width() as usize,
            h: a.height() as usize,
        };
        let read = |f| frames::read(f, stream.format, stream.color).map_err(|e| self.error(&e));
        if !rect_equal(&read(&a)?, &read(&b)?, whole) {
            return Ok(None);
        }
        let mut out = last_out
            .copy_region(gst::BufferCopyFlags::MEMORY, ..)
            .map_err(|e| self.error(&e))?;
        self.parent_copy_metadata(input, out.make_mut())
            .map_err(|e| self.error(&e))?;
        Ok(Some(out))
    }

    fn upscale(
        &self,
        stream: &mut Stream,
        count: usize,
        weight: f32,
    ) -> Result<(), gst::FlowError> {
        let mut buffers = Vec::with_capacity(count);
        for input in stream.inputs.range(stream.next..stream.next + count) {
            match self.parent_prepare_output_buffer(InputBuffer::Readable(input))? {
                PrepareOutputBufferSuccess::Buffer(b) => buffers.push(b),
                PrepareOutputBufferSuccess::InputBuffer => return Err(gst::FlowError::Error),
            }
        }
        let (format, color) = (stream.format, stream.color);
        let reach = stream.window / 2;
        let first = stream.next.saturating_sub(reach);
        let end = (stream.next + count + reach).min(stream.inputs.len());
        let report = {
            let mapped = stream
                .inputs
                .range(first..end)
                .map(|b| VideoFrameRef::from_buffer_ref_readable(b, &stream.in_info))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| self.map_error("input"))?;
            let inputs = mapped
                .iter()
                .map(|f| frames::read(f, format, color))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| self.error(&e))?;
            // Beyond the ends of the stream the window repeats the last frame there is.
            let windows: Vec<Vec<_>> = (stream.next..stream.next + count)
                .map(|at| {
                    (0..stream.window)
                        .filter_map(|k| {
                            let index = (at + k).saturating_sub(reach).clamp(first, end - 1);
                            inputs.get(index - first).copied()
                        })
                        .collect()
                })
                .collect();
            let (last_in, last_out) = stream.previous.clone().unzip();
            let last_in = last_in
                .as_ref()
                .and_then(|b| VideoFrameRef::from_buffer_ref_readable(b, &stream.in_info).ok());
            let last_out = last_out
                .as_ref()
                .and_then(|b| VideoFrameRef::from_buffer_ref_readable(b, &stream.out_info).ok());
            let previous = match (&last_in, &last_out) {
                (Some(a), Some(b)) => frames::read(a, format, color)
                    .and_then(|input| {
                        Ok(Previous {
                            input,
                            output: frames::read(b, format, color)?,
                        })
                    })
                    .ok(),
                _ => None,
            };
            let mut outputs = buffers
                .iter_mut()
                .map(|b| VideoFrameRef::from_buffer_ref_writable(b.make_mut(), &stream.out_info))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| self.map_error("output"))?;
            let mut items = Vec::with_capacity(count);
            for (i, (output, window)) in outputs.iter_mut().zip(&windows).enumerate() {
                let output = frames::write(output, format, color).map_err(|e| self.error(&e))?;
                // Within a batch the engine itself knows the frame before.
                let previous = if i == 0 { previous } else { None };
                items.push(Frame {
                    window,
                    output,
                    previous,
                });
            }
            if weight > 0.0 {
                stream
                    .upscaler
                    .run(items, weight)
                    .map(Some)
                    .map_err(|e| self.error(&e))?
            } else {
                for mut item in items {
                    if let Some(input) = item.window.get(reach) {
                        stream
                            .upscaler
                            .run_classical(input, &mut item.output)
                            .map_err(|e| self.error(&e))?;
                    }
                }
                None
            }
        };
        let keep = stream.upscaler.is_reusable() && weight >= 1.0 && stream.window == 1;
        stream.previous = keep
            .then(|| {
                Some((
                    stream.inputs.get(stream.next + count - 1)?.clone(),
                    buffers.last()?.clone(),
                ))
            })
            .flatten();
        stream.outputs.extend(buffers);
        let mut counters = lock(&self.counters);
        counters.total.frames += count as u64;
        match report {
            Some(report) => {
                counters.total.tiles += report.tiles as u64;
                counters.total.tiles_reused += report.reused as u64;
                if report.reused < report.tiles {
                    let each = report.inference / u32::try_from(count).unwrap_or(1);
                    (0..count).for_each(|_| counters.add_time(each));
                }
            }
            None => counters.total.fallback_frames += count as u64,
        }
        Ok(())
    }

    fn stats_due(&self, stream: &mut Stream, messages: &mut Vec<gst::Message>) {
        let Some(interval) = stream.stats_interval else {
            return;
        };
        let Some(now) = stream.inputs.get(stream.next).and_then(|b| b.pts()) else {
            return;
        };
        match stream.last_stats {
            Some(last) if now >= last && now - last < interval => {}
            Some(_) => {
                stream.last_stats = Some(now);
                messages.push(self.stats_message());
            }
            None => stream.last_stats = Some(now),
        }
    }

    fn stats_message(&self) -> gst::Message {
        let stats = lock(&self.counters).snapshot().to_structure();
        gst::message::Element::builder(stats)
            .src(&*self.obj())
            .build()
    }

    fn post_stats(&self) {
        let _ = self.obj().post_message(self.stats_message());
    }

    fn error(&self, e: &dyn std::fmt::Display) -> gst::FlowError {
        gst::element_imp_error!(self, gst::StreamError::Failed, ["{e}"]);
        gst::FlowError::Error
    }

    fn map_error(&self, which: &str) -> gst::FlowError {
        gst::element_imp_error!(
            self,
            gst::ResourceError::Failed,
            ["an {which} buffer could not be mapped: it is smaller than its caps say"]
        );
        gst::FlowError::Error
    }
}
