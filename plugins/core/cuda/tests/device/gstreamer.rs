//! libgstcuda with a context of ours: the installed library, on a GPU or the stand-in.

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    ptr::null_mut,
};

use gstneural_cuda::{ContextCell, GST_MAP_CUDA, GstCuda, GstCudaContext};
use libloading::Library;

use crate::Rig;

/// `GstMapInfo`.
#[repr(C)]
struct MapInfo {
    memory: *mut c_void,
    flags: c_int,
    data: *mut u8,
    size: usize,
    maxsize: usize,
    reserved: [*mut c_void; 8],
}

type Pointer = *mut c_void;

/// GStreamer itself, as much as the tests need.
struct Gst(Library);

impl Gst {
    fn start() -> Self {
        // SAFETY: GStreamer's own library and a call that may be repeated.
        unsafe {
            let library = Library::new("libgstreamer-1.0.so.0").unwrap();
            let init: unsafe extern "C" fn(Pointer, Pointer) = *library.get(b"gst_init").unwrap();
            init(null_mut(), null_mut());
            Self(library)
        }
    }

    /// Calls a function of one pointer.
    fn one(&self, name: &str, a: Pointer) -> Pointer {
        // SAFETY: named by the tests below, with arguments of the function's types.
        unsafe {
            let f: unsafe extern "C" fn(Pointer) -> Pointer = *self.0.get(name.as_bytes()).unwrap();
            f(a)
        }
    }

    /// Calls a function of two pointers.
    fn two(&self, name: &str, a: Pointer, b: Pointer) -> Pointer {
        // SAFETY: as above.
        unsafe {
            let f: unsafe extern "C" fn(Pointer, Pointer) -> Pointer =
                *self.0.get(name.as_bytes()).unwrap();
            f(a, b)
        }
    }

    fn text(&self, name: &str, text: &CStr) -> Pointer {
        self.one(name, text.as_ptr().cast_mut().cast())
    }

    fn references(&self, object: &GstCudaContext) -> u32 {
        // SAFETY: a GObject begins with its class and its number of references.
        unsafe { object.as_ptr().cast::<u8>().add(8).cast::<u32>().read() }
    }
}

#[test]
fn the_primary_context_is_shared_with_elements() {
    let rig = Rig::new(51);
    let gst = Gst::start();
    let library = GstCuda::load().unwrap();
    let context = library.wrap(&rig.device).unwrap();
    assert!(context.is_of(&rig.device));
    assert_eq!(context.handle(), rig.device.raw_context());
    let before = gst.references(&context);
    let again = context.clone();
    assert_eq!(gst.references(&context), before + 1);
    assert_eq!(again, context);
    drop(again);

    let element = gst.two(
        "gst_element_factory_make",
        c"fakesink".as_ptr().cast_mut().cast(),
        null_mut(),
    );
    let gst_context = library.new_gst_context(&context);
    let name = gst.one("gst_context_get_context_type", gst_context);
    // SAFETY: a string of the context's.
    let name = unsafe { CStr::from_ptr(name.cast::<c_char>()) };
    assert_eq!(
        name.to_str().unwrap(),
        gstneural_cuda::gstcuda::CUDA_CONTEXT_TYPE
    );

    // What an element's set_context does.
    let cell = ContextCell::default();
    // SAFETY: an element and a context, made above; here and below.
    assert!(unsafe { library.handle_set_context(element, gst_context, -1, &cell) });
    assert_eq!(cell.get().unwrap().unwrap(), context);
    let other = ContextCell::default();
    // SAFETY: as above.
    let taken = unsafe { library.handle_set_context(element, gst_context, 99, &other) };
    assert!(
        other.get().unwrap().is_none(),
        "a context of another device, {taken}"
    );
    // One that is there is kept.
    // SAFETY: as above.
    assert!(unsafe { library.ensure_element_context(element, 0, &cell) });
    assert_eq!(cell.get().unwrap().unwrap(), context);

    // What an element's query does.
    let query = gst.text("gst_query_new_context", c"gst.cuda.context");
    // SAFETY: a query that nobody else has.
    assert!(unsafe { library.handle_context_query(element, query, &context) });
    let mut answer: Pointer = null_mut();
    gst.two("gst_query_parse_context", query, (&raw mut answer).cast());
    assert!(!answer.is_null());
    let unknown = gst.text("gst_query_new_context", c"gst.gl.GLDisplay");
    // SAFETY: as above.
    assert!(!unsafe { library.handle_context_query(element, unknown, &context) });

    cell.set(None);
    for mini in [query, unknown, gst_context] {
        gst.one("gst_mini_object_unref", mini);
    }
    gst.one("gst_object_unref", element);
    assert_eq!(gst.references(&context), before, "references leaked");
}

#[test]
fn the_object_keeps_the_device_open() {
    let rig = Rig::new(52);
    let gst = Gst::start();
    let library = GstCuda::load().unwrap();
    let context = library.wrap(&rig.device).unwrap();
    drop(rig);
    // The stand-in ends the test if a context is used after its release.
    let pool = library.new_buffer_pool(&context).unwrap();
    gst.one("gst_object_unref", pool.as_ptr());
}

#[test]
fn a_pool_gives_memory_that_kernels_can_use() {
    let rig = Rig::new(53);
    let gst = Gst::start();
    let library = GstCuda::load().unwrap();
    let context = library.wrap(&rig.device).unwrap();
    let pool = library.new_buffer_pool(&context).unwrap().as_ptr();
    let caps = gst.text(
        "gst_caps_from_string",
        c"video/x-raw(memory:CUDAMemory),format=NV12,width=50,height=30,framerate=25/1",
    );
    let config = gst.one("gst_buffer_pool_get_config", pool);
    // SAFETY: the prototypes are GStreamer's, here and below.
    unsafe {
        let set: unsafe extern "C" fn(Pointer, Pointer, c_uint, c_uint, c_uint) =
            *gst.0.get(b"gst_buffer_pool_config_set_params").unwrap();
        set(config, caps, 50 * 30 * 2, 1, 2);
    }
    assert!(
        !gst.two("gst_buffer_pool_set_config", pool, config)
            .is_null()
    );
    // SAFETY: as above.
    let buffer = unsafe {
        let activate: unsafe extern "C" fn(Pointer, c_int) -> c_int =
            *gst.0.get(b"gst_buffer_pool_set_active").unwrap();
        assert_eq!(activate(pool, 1), 1);
        let acquire: unsafe extern "C" fn(Pointer, *mut Pointer, Pointer) -> c_int =
            *gst.0.get(b"gst_buffer_pool_acquire_buffer").unwrap();
        let mut buffer = null_mut();
        assert_eq!(acquire(pool, &mut buffer, null_mut()), 0);
        buffer
    };
    // SAFETY: as above; the buffer has one memory.
    unsafe {
        let peek: unsafe extern "C" fn(Pointer, c_uint) -> Pointer =
            *gst.0.get(b"gst_buffer_peek_memory").unwrap();
        let memory = peek(buffer, 0);
        assert!(library.is_cuda_memory(memory));
        assert_eq!(
            library.memory_context(memory).unwrap().as_ptr(),
            context.as_ptr()
        );
        library.memory_sync(memory);
        assert!(library.has_streams() || library.memory_stream(memory).is_null());

        let mut map = MapInfo {
            memory: null_mut(),
            flags: 0,
            data: null_mut(),
            size: 0,
            maxsize: 0,
            reserved: [null_mut(); 8],
        };
        let map_memory: unsafe extern "C" fn(Pointer, *mut MapInfo, c_int) -> c_int =
            *gst.0.get(b"gst_memory_map").unwrap();
        assert_eq!(
            map_memory(memory, &mut map, (1 | 2 | GST_MAP_CUDA) as c_int),
            1
        );
        fill_and_look(&rig, map.data as u64, map.size);
        gst.two("gst_memory_unmap", memory, (&raw mut map).cast());

        let host = gst.one("gst_allocator_find", null_mut());
        let allocate: unsafe extern "C" fn(Pointer, usize, Pointer) -> Pointer =
            *gst.0.get(b"gst_allocator_alloc").unwrap();
        let plain = allocate(host, 16, null_mut());
        assert!(!library.is_cuda_memory(plain));
        assert_eq!(library.memory_context(plain), None);
        gst.one("gst_mini_object_unref", plain);
        gst.one("gst_object_unref", host);
    }
    gst.one("gst_mini_object_unref", buffer);
    // SAFETY: as above.
    unsafe {
        let activate: unsafe extern "C" fn(Pointer, c_int) -> c_int =
            *gst.0.get(b"gst_buffer_pool_set_active").unwrap();
        activate(pool, 0);
    }
    gst.one("gst_object_unref", pool);
    gst.one("gst_mini_object_unref", caps);
}

/// A kernel writes into mapped memory, and a copy to the host sees it.
fn fill_and_look(rig: &Rig, address: u64, bytes: usize) {
    use gstneural_cuda::{DeviceFrame, DevicePlane};
    use gstneural_pixels::{Color, FrameBuf, PixelFormat};

    // Memory of GStreamer's: pitch and offsets would come from the GstVideoMeta.
    let pitch = bytes / 45;
    assert!(pitch >= 50, "{bytes} bytes");
    let at = |offset: usize| DevicePlane {
        address: address + offset as u64,
        pitch,
        bytes: bytes - offset,
    };
    let (format, color) = (PixelFormat::Nv12, Color::default());
    let frame = DeviceFrame::new(format, 50, 30, color, &[at(0), at(pitch * 30)]).unwrap();
    for (c, w, h) in [(0, 50, 30), (1, 25, 15), (2, 25, 15)] {
        rig.kernels
            .fill(&rig.stream, &frame, c, (0, 0, w, h), 40 + c as u32)
            .unwrap();
    }
    let mut host = FrameBuf::new(format, 50, 30, color).unwrap();
    frame.download(&rig.stream, &mut host.as_mut()).unwrap();
    for c in 0..3 {
        assert_eq!(host.as_ref().component(c).get(24, 14), 40 + c as u32);
    }
}
