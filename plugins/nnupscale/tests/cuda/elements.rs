//! `testcudasrc` and `testcudasink`, of the tests alone: frames that are made in CUDA memory and looked
//! at there, so that a pipeline needs nothing else (no nvcodec, no copy through the host) around
//! nnupscale.
//!
//! The source finds its context as a decoder written in C does, by `gst_cuda_ensure_element_context`.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use gst::{ffi, glib, prelude::*, subclass::prelude::*};
use gst_base::subclass::prelude::*;
use gst_video::prelude::*;
use gstneural_cuda::{
    ContextCell, Device, DeviceFrame, DevicePlane, GST_MAP_CUDA, GstCuda, Kernels, Stream,
};
use gstneural_pixels::{Color, FrameBuf, PixelFormat, subsampled};

/// Registers both elements for this program.
pub fn register() {
    let none = gst::Rank::NONE;
    gst::Element::register(None, "testcudasrc", none, Source::static_type()).unwrap();
    gst::Element::register(None, "testcudasink", none, Sink::static_type()).unwrap();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("testcuda", gst::DebugColorFlags::empty(), Some("Tests"))
});

/// A rectangle of one component: x, y, width, height in its own samples.
type Rectangle = (usize, usize, usize, usize);

/// Draws picture `number` of a size by `fill(component, rectangle, value)`: rectangles over each other.
/// The right three quarters are the same in every picture.
fn draw(
    format: PixelFormat,
    (width, height): (usize, usize),
    number: usize,
    mut fill: impl FnMut(usize, Rectangle, u32),
) {
    let info = format.info();
    let max = (1u64 << info.depth) - 1;
    let mut seed = 7u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below.max(1)
    };
    let mut patch = |(x, y, w, h): Rectangle, values: [usize; 4]| {
        for (c, comp) in info.components.iter().enumerate() {
            let all = (
                subsampled(width, comp.sub_w),
                subsampled(height, comp.sub_h),
            );
            let (x, y) = (x >> comp.sub_w, y >> comp.sub_h);
            let w = subsampled(w, comp.sub_w).min(all.0 - x);
            let h = subsampled(h, comp.sub_h).min(all.1 - y);
            fill(c, (x, y, w, h), (values[c] as u64 * max / 255) as u32);
        }
    };
    patch((0, 0, width, height), [90, 120, 150, 255]);
    for _ in 0..24 {
        let corner = (random(width), random(height));
        let size = (1 + random(width / 3), 1 + random(height / 3));
        let values = [
            16 + random(220),
            40 + random(180),
            40 + random(180),
            random(256),
        ];
        patch((corner.0, corner.1, size.0, size.1), values);
    }
    let side = (width / 8).max(1);
    let values = [235 - number % 64, 128, 60, 200];
    patch((number * 3 % side, 2, side.min(width), height / 2), values);
}

/// The samples of picture `number`, plane by plane, without padding: what the source shows.
pub fn picture(format: PixelFormat, size: (usize, usize), number: usize) -> Vec<u8> {
    let mut frame = FrameBuf::new(format, size.0, size.1, Color::default()).unwrap();
    draw(format, size, number, |c, (x, y, w, h), value| {
        let mut frame = frame.as_mut();
        let mut comp = frame.component_mut(c);
        for y in y..y + h {
            (x..x + w).for_each(|x| comp.set(x, y, value));
        }
    });
    samples(&frame)
}

fn samples(frame: &FrameBuf) -> Vec<u8> {
    let (frame, mut out) = (frame.as_ref(), Vec::new());
    for p in 0..frame.format().info().planes {
        let (bytes, rows) = frame.format().plane_size(p, frame.width(), frame.height());
        let plane = frame.plane(p);
        (0..rows).for_each(|y| out.extend(&plane.data[y * plane.stride..][..bytes]));
    }
    out
}

/// The device in whose primary context all memory has to lie, with a stream of the element's own:
/// what it copies does not count as nnupscale's.
#[derive(Debug)]
struct Rig {
    device: Device,
    kernels: Kernels,
    stream: Stream,
}

impl Rig {
    fn open() -> Result<Self, String> {
        let text = |e: gstneural_cuda::Error| e.to_string();
        let device = Device::open(0).map_err(text)?;
        Ok(Self {
            kernels: Kernels::new(&device).map_err(text)?,
            stream: Stream::new(&device).map_err(text)?,
            device,
        })
    }

    /// Does `work` on the frame that lies in a buffer.
    fn on_frame<T>(
        &self,
        buffer: *mut ffi::GstBuffer,
        info: &gst_video::VideoInfo,
        access: ffi::GstMapFlags,
        work: impl FnOnce(DeviceFrame) -> gstneural_cuda::Result<T>,
    ) -> Result<T, String> {
        let library = GstCuda::load().map_err(|e| e.to_string())?;
        // SAFETY: the caller's buffer lives and, where it is written, is the caller's alone; what is
        // mapped is unmapped before this returns.
        unsafe {
            let memory = ffi::gst_buffer_peek_memory(buffer, 0);
            if ffi::gst_buffer_n_memory(buffer) != 1 || !library.is_cuda_memory(memory.cast()) {
                return Err("a buffer that is not of CUDA memory".into());
            }
            if library.memory_handle(memory.cast()) != Some(self.device.raw_context()) {
                return Err("a buffer in another context than the device's primary one".into());
            }
            library.memory_sync(memory.cast());
            let mut map = std::mem::zeroed::<ffi::GstMapInfo>();
            if ffi::gst_buffer_map(buffer, &mut map, access | GST_MAP_CUDA) == 0 {
                return Err("a buffer that cannot be mapped for the device".into());
            }
            let meta = gst::BufferRef::from_ptr(buffer).meta::<gst_video::VideoMeta>();
            let planes = meta.map(|meta| {
                let plane = |(offset, stride): (&usize, &i32)| DevicePlane {
                    address: map.data as u64 + *offset as u64,
                    pitch: *stride as usize,
                    bytes: map.size - offset,
                };
                let each = meta.offset().iter().zip(meta.stride());
                each.map(plane).collect::<Vec<_>>()
            });
            let size = (info.width() as usize, info.height() as usize);
            let done = planes
                .ok_or_else(|| "a buffer in CUDA memory without a GstVideoMeta".to_owned())
                .and_then(|planes| {
                    DeviceFrame::new(pixels(info), size.0, size.1, Color::default(), &planes)
                        .and_then(work)
                        .map_err(|e| e.to_string())
                });
            let waited = self.stream.synchronise().map_err(|e| e.to_string());
            ffi::gst_buffer_unmap(buffer, &mut map);
            waited.and(done)
        }
    }
}

fn pixels(info: &gst_video::VideoInfo) -> PixelFormat {
    PixelFormat::from_name(info.format().to_str().as_str()).unwrap()
}

fn template(name: &str, direction: gst::PadDirection) -> gst::PadTemplate {
    use gst_video::VideoFormat as F;
    let caps = gst_video::VideoCapsBuilder::new()
        .features(["memory:CUDAMemory"])
        .format_list([F::Nv12, F::P01010le, F::Rgba, F::Bgra])
        .build();
    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).unwrap()
}

/// Finds the context that the neighbours share, as elements written in C do; it has to be the
/// device's primary one, where nnupscale is a neighbour.
fn share(element: &gst::Element, cell: &ContextCell, device: &Device) -> Result<(), String> {
    let library = GstCuda::load().map_err(|e| e.to_string())?;
    // SAFETY: an element of GStreamer's, which hands contexts to the same cell by `set_context`.
    let found = unsafe { library.ensure_element_context(element.as_ptr().cast(), -1, cell) };
    match cell.get().map_err(|e| e.to_string())? {
        Some(context) if found && context.is_of(device) => Ok(()),
        Some(_) => Err("the neighbours share another context than the primary one".into()),
        None => Err("there is no context to share".into()),
    }
}

fn take(element: &gst::Element, context: &gst::Context, cell: &ContextCell) {
    if let Ok(library) = GstCuda::load() {
        let raw = context.as_ptr().cast_mut().cast();
        // SAFETY: an element and a context of GStreamer's, both alive.
        unsafe { library.handle_set_context(element.as_ptr().cast(), raw, -1, cell) };
    }
}

mod source {
    use super::*;

    #[derive(Default, Debug)]
    pub struct Source {
        cell: ContextCell,
        /// How often a picture is shown before the next one.
        hold: Mutex<u32>,
        state: Mutex<Option<State>>,
    }

    #[derive(Debug)]
    struct State {
        rig: Rig,
        info: Option<gst_video::VideoInfo>,
        number: u64,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Source {
        const NAME: &'static str = "GstTestCudaSrc";
        type Type = super::Source;
        type ParentType = gst_base::BaseSrc;
    }

    impl ObjectImpl for Source {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_format(gst::Format::Time);
        }

        fn properties() -> &'static [glib::ParamSpec] {
            static ALL: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
                vec![
                    glib::ParamSpecUInt::builder("hold")
                        .minimum(1)
                        .default_value(1)
                        .build(),
                ]
            });
            &ALL
        }

        fn set_property(&self, _id: usize, value: &glib::Value, _pspec: &glib::ParamSpec) {
            *lock(&self.hold) = value.get().unwrap();
        }

        fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
            (*lock(&self.hold)).max(1).to_value()
        }
    }

    impl GstObjectImpl for Source {}

    impl ElementImpl for Source {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static DATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                gst::subclass::ElementMetadata::new("Test", "Source/Video", "Frames on a GPU", "-")
            });
            Some(&DATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static ALL: LazyLock<Vec<gst::PadTemplate>> =
                LazyLock::new(|| vec![template("src", gst::PadDirection::Src)]);
            &ALL
        }

        fn set_context(&self, context: &gst::Context) {
            take(self.obj().upcast_ref(), context, &self.cell);
            self.parent_set_context(context);
        }
    }

    impl BaseSrcImpl for Source {
        fn start(&self) -> Result<(), gst::ErrorMessage> {
            let started = Rig::open().and_then(|rig| {
                share(self.obj().upcast_ref(), &self.cell, &rig.device)?;
                Ok(rig)
            });
            let rig = started.map_err(|e| gst::error_msg!(gst::LibraryError::Init, ["{e}"]))?;
            let (info, number) = (None, 0);
            *lock(&self.state) = Some(State { rig, info, number });
            Ok(())
        }

        fn stop(&self) -> Result<(), gst::ErrorMessage> {
            lock(&self.state).take();
            self.cell.set(None);
            Ok(())
        }

        fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
            let info = gst_video::VideoInfo::from_caps(caps)?;
            if let Some(state) = lock(&self.state).as_mut() {
                state.info = Some(info);
            }
            Ok(())
        }

        /// The pool that downstream offers, else one of the library's.
        fn decide_allocation(
            &self,
            query: &mut gst::query::Allocation,
        ) -> Result<(), gst::LoggableError> {
            if !query.allocation_pools().any(|p| p.0.is_some()) {
                let (caps, _) = query.get_owned();
                let caps = caps.ok_or_else(|| gst::loggable_error!(CAT, "no caps"))?;
                let size = gst_video::VideoInfo::from_caps(&caps)?.size() as u32;
                let failed = |e: gstneural_cuda::Error| gst::loggable_error!(CAT, "{e}");
                let context = self.cell.get().map_err(failed)?;
                let context = context.ok_or_else(|| gst::loggable_error!(CAT, "no context"))?;
                let library = GstCuda::load().map_err(failed)?;
                let raw = library.new_buffer_pool(&context).map_err(failed)?;
                // SAFETY: a GstBufferPool that is ours to keep.
                let pool: gst::BufferPool = unsafe {
                    glib::translate::from_glib_full(raw.as_ptr().cast::<ffi::GstBufferPool>())
                };
                let mut config = pool.config();
                config.set_params(Some(&caps), size, 0, 0);
                config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META.as_str());
                pool.set_config(config)?;
                let size = pool.config().params().map_or(size, |p| p.1);
                query.add_allocation_pool(Some(&pool), size, 0, 0);
            }
            self.parent_decide_allocation(query)
        }

        fn fill(
            &self,
            _offset: u64,
            _length: u32,
            buffer: &mut gst::BufferRef,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            let mut guard = lock(&self.state);
            let state = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
            let info = state.info.clone().ok_or(gst::FlowError::NotNegotiated)?;
            let size = (info.width() as usize, info.height() as usize);
            let hold = u64::from((*lock(&self.hold)).max(1));
            let number = (state.number / hold) as usize;
            let Rig {
                kernels, stream, ..
            } = &state.rig;
            let raw = buffer.as_mut_ptr();
            let drawn = state.rig.on_frame(raw, &info, ffi::GST_MAP_WRITE, |frame| {
                let mut result = Ok(());
                draw(pixels(&info), size, number, |c, rectangle, value| {
                    let filled = kernels.fill(stream, &frame, c, rectangle, value);
                    result = std::mem::replace(&mut result, Ok(())).and(filled);
                });
                result
            });
            if let Err(e) = drawn {
                gst::element_imp_error!(self, gst::StreamError::Failed, ["testcudasrc: {e}"]);
                return Err(gst::FlowError::Error);
            }
            let fps = info.fps();
            let at = |n: u64| {
                gst::ClockTime::SECOND.mul_div_floor(n * fps.denom() as u64, fps.numer() as u64)
            };
            buffer.set_pts(at(state.number));
            buffer.set_duration(at(1));
            state.number += 1;
            Ok(gst::FlowSuccess::Ok)
        }
    }
}

mod sink {
    use super::*;

    #[derive(Default, Debug)]
    pub struct Sink {
        cell: ContextCell,
        state: Mutex<State>,
        /// Whether frames are copied to the host, for [`super::Sink::frames`].
        collect: Mutex<bool>,
    }

    #[derive(Default, Debug)]
    struct State {
        rig: Option<Arc<Rig>>,
        info: Option<gst_video::VideoInfo>,
        frames: Vec<Vec<u8>>,
        seen: u64,
    }

    impl Sink {
        pub(super) fn taken(&self) -> (Vec<Vec<u8>>, u64) {
            let mut state = lock(&self.state);
            (std::mem::take(&mut state.frames), state.seen)
        }

        fn look(&self, buffer: &gst::BufferRef) -> Result<(), String> {
            let (rig, info) = {
                let state = lock(&self.state);
                let rig = state.rig.clone().ok_or("it was not started")?;
                (rig, state.info.clone().ok_or("it has no caps")?)
            };
            let collect = *lock(&self.collect);
            let size = (info.width() as usize, info.height() as usize);
            let raw = buffer.as_ptr().cast_mut();
            let found = rig.on_frame(raw, &info, ffi::GST_MAP_READ, |frame| {
                if !collect {
                    return Ok(None);
                }
                let mut host = FrameBuf::new(pixels(&info), size.0, size.1, Color::default())?;
                frame.download(&rig.stream, &mut host.as_mut())?;
                Ok(Some(samples(&host)))
            })?;
            let mut state = lock(&self.state);
            state.frames.extend(found);
            state.seen += 1;
            Ok(())
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Sink {
        const NAME: &'static str = "GstTestCudaSink";
        type Type = super::Sink;
        type ParentType = gst_base::BaseSink;
    }

    impl ObjectImpl for Sink {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_sync(false);
        }

        fn properties() -> &'static [glib::ParamSpec] {
            static ALL: LazyLock<Vec<glib::ParamSpec>> =
                LazyLock::new(|| vec![glib::ParamSpecBoolean::builder("collect").build()]);
            &ALL
        }

        fn set_property(&self, _id: usize, value: &glib::Value, _pspec: &glib::ParamSpec) {
            *lock(&self.collect) = value.get().unwrap();
        }

        fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
            lock(&self.collect).to_value()
        }
    }

    impl GstObjectImpl for Sink {}

    impl ElementImpl for Sink {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static DATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                gst::subclass::ElementMetadata::new("Test", "Sink/Video", "Frames on a GPU", "-")
            });
            Some(&DATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static ALL: LazyLock<Vec<gst::PadTemplate>> =
                LazyLock::new(|| vec![template("sink", gst::PadDirection::Sink)]);
            &ALL
        }

        fn set_context(&self, context: &gst::Context) {
            take(self.obj().upcast_ref(), context, &self.cell);
            self.parent_set_context(context);
        }
    }

    impl BaseSinkImpl for Sink {
        fn start(&self) -> Result<(), gst::ErrorMessage> {
            let started = Rig::open().and_then(|rig| {
                share(self.obj().upcast_ref(), &self.cell, &rig.device)?;
                Ok(rig)
            });
            let rig = started.map_err(|e| gst::error_msg!(gst::LibraryError::Init, ["{e}"]))?;
            *lock(&self.state) = State {
                rig: Some(Arc::new(rig)),
                ..State::default()
            };
            Ok(())
        }

        fn stop(&self) -> Result<(), gst::ErrorMessage> {
            lock(&self.state).rig = None;
            self.cell.set(None);
            Ok(())
        }

        fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
            lock(&self.state).info = Some(gst_video::VideoInfo::from_caps(caps)?);
            Ok(())
        }

        fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            self.look(buffer).map_err(|e| {
                gst::element_imp_error!(self, gst::StreamError::Failed, ["testcudasink: {e}"]);
                gst::FlowError::Error
            })?;
            Ok(gst::FlowSuccess::Ok)
        }
    }
}

glib::wrapper! {
    /// Frames of [`draw`], made on the device.
    pub struct Source(ObjectSubclass<source::Source>)
        @extends gst_base::BaseSrc, gst::Element, gst::Object;
}

glib::wrapper! {
    /// Takes frames in the device's primary context, and no others.
    pub struct Sink(ObjectSubclass<sink::Sink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object;
}

impl Sink {
    /// The frames' samples without padding, if they were collected, and how many frames there were.
    pub fn taken(&self) -> (Vec<Vec<u8>>, u64) {
        self.imp().taken()
    }
}
