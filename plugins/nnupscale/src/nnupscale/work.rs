//! The work on frames: queueing, batches, windows, reuse, fallback.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use gst::subclass::prelude::*;
use gst_base::{
    prelude::*,
    subclass::{
        base_transform::{InputBuffer, PrepareOutputBufferSuccess},
        prelude::*,
    },
};
use gst_video::VideoFrameRef;
use gstneural_inference::{
    Decision, Frame, LoadControl, Model, Previous, Report, Upscaler, gpu::Gpu,
};
use gstneural_pixels::{Color, PixelFormat};

use super::{
    frames, gpu,
    imp::{CAT, NnUpscale, lock, precision_name},
    reuse::Known,
    settings::QosMode,
    stats::FallbackEvent,
};

/// Loaded between start and stop.
pub(super) struct State {
    pub model: Arc<Model>,
    pub compare_model: Option<Arc<Model>>,
    pub stream: Option<Stream>,
    /// Opened when it is first needed.
    pub gpu: Option<Gpu>,
}

/// What belongs to one pair of caps.
pub(super) struct Stream {
    pub in_info: gst_video::VideoInfo,
    pub out_info: gst_video::VideoInfo,
    pub format: PixelFormat,
    pub color: Color,
    pub worker: Worker,
    /// Frames of the window that are past, then those still to be upscaled.
    pub inputs: VecDeque<gst::Buffer>,
    /// Index in `inputs` of the next frame to be upscaled.
    pub next: usize,
    pub outputs: VecDeque<gst::Buffer>,
    /// The last frame and its result, for reuse.
    pub previous: Option<(gst::Buffer, gst::Buffer)>,
    pub window: usize,
    pub batch: usize,
    pub control: Option<LoadControl>,
    pub qos_mode: QosMode,
    pub frame_duration: Duration,
    pub stats_interval: Option<gst::ClockTime>,
    pub last_stats: Option<gst::ClockTime>,
}

/// What upscales.
pub(super) enum Worker {
    /// The processor.
    Cpu(Box<Upscaler>),
    /// A GPU.
    Gpu(Box<gpu::Worker>),
}

impl Worker {
    fn reset(&mut self) {
        match self {
            Self::Cpu(u) => u.reset(),
            Self::Gpu(g) => g.upscaler.reset(),
        }
    }

    fn set_split(&mut self, split: f32) {
        match self {
            Self::Cpu(u) => u.set_split(split),
            Self::Gpu(g) => g.upscaler.set_split(split),
        }
    }

    fn tiles(&self) -> u64 {
        let tiles = match self {
            Self::Cpu(u) => u.engine().tiles(),
            Self::Gpu(g) => g.upscaler.tiles(),
        };
        tiles as u64
    }

    /// True if a frame's result is a function of the frame alone.
    pub(super) fn is_reusable(&self) -> bool {
        match self {
            Self::Cpu(u) => u.is_reusable(),
            Self::Gpu(g) => g.upscaler.is_reusable(),
        }
    }
}

impl Stream {
    /// Frames that are held back before one comes out.
    pub fn delay_frames(&self) -> usize {
        self.window / 2 + self.batch - 1
    }

    pub fn flush(&mut self) {
        self.inputs.clear();
        self.outputs.clear();
        self.next = 0;
        self.previous = None;
        self.worker.reset();
        if let Some(c) = &mut self.control {
            c.reset();
        }
    }
}

/// The frames that the windows of `count` frames from `next` on reach: from and to.
fn reached(next: usize, count: usize, window: usize, all: usize) -> (usize, usize) {
    let reach = window / 2;
    (next.saturating_sub(reach), (next + count + reach).min(all))
}

/// Frame `k` of the window of frame `at`. Beyond the ends it repeats the last frame there is.
fn nth(at: usize, k: usize, window: usize, first: usize, end: usize) -> usize {
    let last = end.saturating_sub(1).max(first);
    (at + k).saturating_sub(window / 2).clamp(first, last)
}

impl NnUpscale {
    /// Upscales and pushes what is still held back.
    pub(super) fn drain(&self) -> Result<(), gst::FlowError> {
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
    pub(super) fn advance(
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
        let known = self.repeat(stream, count, weight)?;
        if let Known::Result(buffer) = known {
            stream.outputs.push_back(buffer);
            let mut counters = lock(&self.counters);
            let tiles = stream.worker.tiles();
            counters.total.frames += 1;
            counters.total.tiles += tiles;
            counters.total.tiles_reused += tiles;
            drop(counters);
        } else {
            self.upscale(stream, count, weight, known)?;
        }
        self.settle(stream, start);
        self.stats_due(stream, messages);
        Ok(())
    }

    /// The weight of the network for the next frame; None drops it.
    fn decide(&self, stream: &mut Stream, messages: &mut Vec<gst::Message>) -> Option<f32> {
        let (mut lateness, forced, split) = {
            let mut shared = lock(&self.shared);
            (shared.lateness, shared.forced, shared.split.take())
        };
        if let Some(split) = split {
            stream.worker.set_split(split);
        }
        let Some(control) = &mut stream.control else {
            return Some(if forced { 0.0 } else { 1.0 });
        };
        let was = control.is_fallback();
        if forced {
            lateness = lateness.max(control.limit());
        }
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

    fn upscale(
        &self,
        stream: &mut Stream,
        count: usize,
        weight: f32,
        known: Known,
    ) -> Result<(), gst::FlowError> {
        let mut buffers = Vec::with_capacity(count);
        for input in stream.inputs.range(stream.next..stream.next + count) {
            match self.parent_prepare_output_buffer(InputBuffer::Readable(input))? {
                PrepareOutputBufferSuccess::Buffer(b) => buffers.push(b),
                PrepareOutputBufferSuccess::InputBuffer => return Err(gst::FlowError::Error),
            }
        }
        let (report, by_network) = match &mut stream.worker {
            Worker::Cpu(_) => {
                let report = self.on_cpu(stream, &mut buffers, weight)?;
                (report, report.is_some())
            }
            Worker::Gpu(_) => self.on_gpu(stream, &mut buffers, weight, known)?,
        };
        let keep = by_network && stream.worker.is_reusable() && weight >= 1.0 && stream.window == 1;
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

    /// Upscales the next frames into `buffers` on the processor.
    fn on_cpu(
        &self,
        stream: &mut Stream,
        buffers: &mut [gst::Buffer],
        weight: f32,
    ) -> Result<Option<Report>, gst::FlowError> {
        let count = buffers.len();
        let Worker::Cpu(upscaler) = &mut stream.worker else {
            return Err(gst::FlowError::Error);
        };
        let (format, color) = (stream.format, stream.color);
        let (first, end) = reached(stream.next, count, stream.window, stream.inputs.len());
        {
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
                            let index = nth(at, k, stream.window, first, end);
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
            let done = if weight > 0.0 {
                upscaler.run(items, weight).map(Some)
            } else {
                self.classical(upscaler, items)
            };
            match done {
                Err(e) if weight > 0.0 && stream.qos_mode == QosMode::Fallback => {
                    // The user prefers a plain frame to none.
                    gst::element_imp_warning!(
                        self,
                        gst::StreamError::Failed,
                        ["{e}; the classical upscale is used for this frame"]
                    );
                    let mut items = Vec::with_capacity(count);
                    for (output, window) in outputs.iter_mut().zip(&windows) {
                        let output =
                            frames::write(output, format, color).map_err(|e| self.error(&e))?;
                        items.push(Frame {
                            window,
                            output,
                            previous: None,
                        });
                    }
                    self.classical(upscaler, items)
                }
                done => done,
            }
            .map_err(|e| self.error(&e))
        }
    }

    /// Upscales the next frames into `buffers` on the GPU; and whether the network did the last one.
    fn on_gpu(
        &self,
        stream: &mut Stream,
        buffers: &mut [gst::Buffer],
        weight: f32,
        known: Known,
    ) -> Result<(Option<Report>, bool), gst::FlowError> {
        let count = buffers.len();
        let (first, end) = reached(stream.next, count, stream.window, stream.inputs.len());
        let reusable = stream.worker.is_reusable() && weight >= 1.0 && stream.window == 1;
        let Worker::Gpu(worker) = &mut stream.worker else {
            return Err(gst::FlowError::Error);
        };
        let sides = gpu::Sides {
            input: &stream.in_info,
            output: &stream.out_info,
        };
        let was_half = worker.upscaler.is_half();
        let mut total: Option<Report> = None;
        let mut before = stream.previous.clone().filter(|_| reusable);
        let mut known = match known {
            Known::Parts(unchanged) => Some(unchanged),
            _ => None,
        };
        for (i, buffer) in buffers.iter_mut().enumerate() {
            let window: Vec<&gst::BufferRef> = (0..stream.window)
                .filter_map(|k| {
                    let index = nth(stream.next + i, k, stream.window, first, end);
                    stream.inputs.get(index).map(|b| &**b)
                })
                .collect();
            let input = stream.inputs.get(stream.next + i);
            // In a batch nothing was compared yet.
            if let (true, Some((last, _)), Some(input)) = (count > 1, &before, input) {
                let found = worker.unchanged(input, last, &stream.in_info);
                known = found.map_err(|e| self.error(&e))?;
            }
            let earlier = known.take().zip(before.as_ref());
            let earlier =
                earlier.map(|(unchanged, (_, output))| gpu::Earlier { unchanged, output });
            let output = buffer.make_mut();
            let report = match worker.run(&window, output, sides, weight, earlier) {
                Err(e) if weight > 0.0 && stream.qos_mode == QosMode::Fallback => {
                    gst::element_imp_warning!(
                        self,
                        gst::StreamError::Failed,
                        ["{e}; the classical upscale is used for this frame"]
                    );
                    worker.run(&window, output, sides, 0.0, None)
                }
                done => done,
            }
            .map_err(|e| self.error(&e))?;
            let done = input.cloned().zip(Some(buffer.clone()));
            before = done.filter(|_| reusable && report.is_some());
            if let Some(report) = report {
                let total = total.get_or_insert_default();
                total.tiles += report.tiles;
                total.reused += report.reused;
                total.inference += report.inference;
            }
        }
        let mut counters = lock(&self.counters);
        let copies = worker.copies();
        counters.total.copies_to_device = copies.to_device;
        counters.total.copies_to_host = copies.to_host;
        if was_half && let Some(fault) = worker.upscaler.spoilt() {
            counters.total.precision = precision_name(false).to_owned();
            drop(counters);
            gst::element_imp_warning!(
                self,
                gst::StreamError::Failed,
                [
                    "half precision gave {fault}: the network goes on in single precision (precision=fp32)"
                ]
            );
        }
        Ok((total, before.is_some()))
    }

    /// Upscales frames without the network.
    fn classical(
        &self,
        upscaler: &mut Upscaler,
        frames: Vec<Frame<'_>>,
    ) -> gstneural_inference::Result<Option<Report>> {
        for mut frame in frames {
            if let Some(input) = frame.window.get(frame.window.len() / 2) {
                upscaler.run_classical(input, &mut frame.output)?;
            }
        }
        Ok(None)
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

    pub(super) fn post_stats(&self) {
        let _ = self.obj().post_message(self.stats_message());
    }

    pub(super) fn error(&self, e: &dyn std::fmt::Display) -> gst::FlowError {
        gst::element_imp_error!(self, gst::StreamError::Failed, ["{e}"]);
        gst::FlowError::Error
    }

    pub(super) fn map_error(&self, which: &str) -> gst::FlowError {
        gst::element_imp_error!(
            self,
            gst::ResourceError::Failed,
            ["an {which} buffer could not be mapped: it is smaller than its caps say"]
        );
        gst::FlowError::Error
    }
}
