//! The library without a GPU. With a device, or its stand-in: tests/device/gstreamer.rs.

use super::*;

#[test]
fn the_installed_library_has_every_function() {
    let library = GstCuda::library().unwrap();
    assert!(library.context_type() != 0);
    assert_eq!(Functions::NAMES.len(), 11);
    for name in Newer::NAMES {
        // What was taken from the header of 1.24 is either there as a whole or not at all.
        // SAFETY: the symbol is only looked up.
        let there = unsafe {
            Library::new("libgstcuda-1.0.so.0")
                .unwrap()
                .get::<*const ()>(name.as_bytes())
                .is_ok()
        };
        assert_eq!(there, library.has_streams(), "{name}");
    }
}

#[test]
fn without_a_gpu_the_reason_is_given() {
    match available() {
        Ok(()) => assert!(GstCuda::load().is_ok()),
        Err(why) => {
            assert_eq!(GstCuda::load().unwrap_err(), why);
            let text = why.to_string();
            assert!(text.starts_with("CUDA is not available: "), "{text}");
            assert_eq!(Device::open(0).unwrap_err(), why);
            assert_eq!(Device::count().unwrap_err(), why);
            // SAFETY: takes nothing; the library looks for the driver and finds none either.
            let loaded = unsafe { (GstCuda::library().unwrap().functions.gst_cuda_load_library)() };
            assert_eq!(loaded, 0);
        }
    }
}

#[test]
fn a_missing_function_is_named() {
    // SAFETY: a library of the system's.
    let other = unsafe { Library::new("libgobject-2.0.so.0") }.unwrap();
    assert_eq!(
        Functions::find(&other).unwrap_err(),
        "gst_cuda_load_library"
    );
}

#[test]
fn an_empty_cell_holds_nothing() {
    let cell = ContextCell::default();
    assert!(cell.get().unwrap().is_none());
    cell.set(None);
    let library = GstCuda::library().unwrap();
    // SAFETY: null is allowed.
    let none = unsafe { library.context_from_full(std::ptr::null_mut()) };
    assert!(none.is_none());
}
