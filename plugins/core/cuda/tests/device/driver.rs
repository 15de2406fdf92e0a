//! The driver's side: devices, streams, memory, counted copies.

use gstneural_cuda::{
    Cargo, Counts, Device, DeviceAreas, DeviceBuffer, DeviceFrame, DevicePlane, DeviceTensor,
    Element, Error, Event, Order, Stream, copies,
};
use gstneural_pixels::{Color, PixelFormat, Rect};

use crate::Rig;

#[test]
fn a_device_is_opened_once() {
    let rig = Rig::new(0);
    let again = Device::open(0).unwrap();
    assert_eq!(again, rig.device);
    assert_eq!(again.raw_context(), rig.device.raw_context());
    assert!(!rig.device.name().is_empty());
    assert!(gstneural_cuda::driver_version().unwrap() >= (12, 4));
    assert!(
        rig.device.compute_capability() >= (7, 5),
        "the kernels need Turing"
    );
    let memory = rig.device.memory().unwrap();
    assert!(memory.free > 0 && memory.free <= memory.total);
    let count = Device::count().unwrap();
    let error = Device::open(count).unwrap_err();
    assert_eq!(
        error,
        Error::NoSuchDevice {
            ordinal: count,
            count
        }
    );
}

#[test]
fn copies_of_frames_are_counted() {
    let mut rig = Rig::new(41);
    let before = copies();
    let frame = rig.noise(PixelFormat::Nv12, (32, 16), Color::default());
    assert_eq!(rig.stream.copies(), Counts::default());
    let on_device = rig.up(&frame);
    let bytes = 32 * 16 * 3 / 2;
    let counts = rig.stream.copies();
    assert_eq!((counts.to_device, counts.to_device_bytes), (2, bytes));
    rig.down(&on_device);
    let buffer = DeviceBuffer::with(&rig.stream, &[1, 2, 3], Cargo::Table).unwrap();
    buffer.upload(&rig.stream, 0, &[4], Cargo::Frame).unwrap();
    let counts = rig.stream.copies();
    assert_eq!((counts.to_host, counts.to_host_bytes), (2, bytes));
    assert_eq!((counts.to_device, counts.to_device_bytes), (3, bytes + 1));
    // Other tests copy at the same time.
    assert!(copies().to_device >= before.to_device + 3);
    // Work on the device is none.
    let other = rig.up(&frame);
    let before = rig.stream.copies();
    rig.kernels
        .mix(&rig.stream, &on_device.frame(), &other.frame(), 0.5)
        .unwrap();
    rig.kernels
        .blit(&rig.stream, &on_device.frame(), &other.frame(), (0, 0))
        .unwrap();
    let (w, h) = (frame.width(), frame.height());
    let whole = [Rect { x: 0, y: 0, w, h }];
    let mut areas = DeviceAreas::new(&rig.stream, frame.format(), (w, h), &whole).unwrap();
    let frames = (on_device.frame(), other.frame());
    let mut changed = (rig.kernels)
        .changed(&rig.stream, &mut areas, &frames.0, &frames.1)
        .unwrap();
    assert_eq!(changed.next(), Some(false));
    (rig.kernels)
        .copy_rect(&rig.stream, &frames.0, &frames.1, 0, (1, 1), (2, 2))
        .unwrap();
    assert_eq!(rig.stream.copies(), before);
}

#[test]
fn memory_is_bounded_and_freed() {
    let rig = Rig::new(42);
    let total = rig.device.memory().unwrap().total;
    let error = DeviceBuffer::new(&rig.device, 2 * total as usize).unwrap_err();
    assert_eq!(error, Error::OutOfMemory { bytes: 2 * total });
    assert!(error.to_string().contains("smaller tiles"), "{error}");
    let buffer = DeviceBuffer::zeroed(&rig.stream, 100).unwrap();
    assert_eq!(rig.bytes(&buffer), [0; 100]);
    assert!(gstneural_cuda::allocated() >= 100);
    let beyond = |at, n| buffer.upload(&rig.stream, at, &vec![0; n], Cargo::Table);
    assert!(beyond(90, 11).is_err());
    assert!(beyond(usize::MAX, 1).is_err());
    assert!(beyond(90, 10).is_ok());
    assert!(
        buffer
            .download(&rig.stream, 1, &mut [0; 100], Cargo::Table)
            .is_err()
    );
    assert!(buffer.clear(&rig.stream, 0..101).is_err());
    // Dropping it frees as many bytes as it had: other tests allocate at the same time, so this
    // is of an address that is used again or not, but never twice at once.
    drop(buffer);
}

#[test]
fn events_have_times() {
    let rig = Rig::new(43);
    let (from, to) = (
        Event::new(&rig.device).unwrap(),
        Event::new(&rig.device).unwrap(),
    );
    assert!(to.since_ms(&from).is_err(), "not recorded");
    from.record(&rig.stream).unwrap();
    let buffer = DeviceBuffer::zeroed(&rig.stream, 1 << 20).unwrap();
    to.record(&rig.stream).unwrap();
    to.synchronise().unwrap();
    let ms = to.since_ms(&from).unwrap();
    assert!((0.0..10_000.0).contains(&ms), "{ms}");
    let other = Stream::new(&rig.device).unwrap();
    other.wait_for(&to).unwrap();
    other.synchronise().unwrap();
    rig.device.synchronise().unwrap();
    drop(buffer);
}

#[test]
fn handles_work_on_any_thread() {
    let rig = Rig::new(44);
    let buffer = DeviceBuffer::zeroed(&rig.stream, 64).unwrap();
    std::thread::scope(|scope| {
        for i in 0..4u8 {
            let (rig, buffer) = (&rig, &buffer);
            scope.spawn(move || {
                let at = usize::from(i) * 16;
                buffer
                    .upload(&rig.stream, at, &[i + 1; 16], Cargo::Table)
                    .unwrap();
            });
        }
    });
    let bytes = rig.bytes(&buffer);
    assert!(
        bytes.chunks(16).zip(1..).all(|(c, i)| c == [i; 16]),
        "{bytes:?}"
    );
}

#[test]
fn frames_and_tensors_that_cannot_be() {
    let color = Color::default();
    let plane = |address, pitch, bytes| DevicePlane {
        address,
        pitch,
        bytes,
    };
    let nv12 = |planes: &[DevicePlane]| DeviceFrame::new(PixelFormat::Nv12, 6, 4, color, planes);
    let luma = plane(4096, 8, 30);
    assert!(nv12(&[luma, plane(8192, 8, 14)]).is_ok());
    assert!(nv12(&[luma]).is_err(), "one plane is missing");
    assert!(nv12(&[luma, plane(8192, 5, 100)]).is_err(), "pitch");
    assert!(nv12(&[luma, plane(8192, 8, 13)]).is_err(), "length");
    assert!(nv12(&[luma, plane(0, 8, 14)]).is_err(), "null");
    assert!(DeviceFrame::new(PixelFormat::Nv12, 0, 4, color, &[luma, luma]).is_err());
    let p010 = |pitch| {
        let planes = [plane(4096, pitch, 400), plane(8192, 12, 400)];
        DeviceFrame::new(PixelFormat::P01010Le, 6, 4, color, &planes)
    };
    assert!(p010(12).is_ok());
    assert!(p010(13).is_err(), "an odd pitch of two-byte samples");
    let tensor =
        |address, bytes| DeviceTensor::new(address, bytes, Element::F16, Order::Nchw, [1, 3, 4, 5]);
    assert!(tensor(4096, 120).is_ok());
    assert!(tensor(4096, 119).is_err());
    assert!(tensor(4097, 120).is_err());
    let huge = [usize::MAX, 2, 2, 2];
    assert!(DeviceTensor::new(4096, 120, Element::F32, Order::Nchw, huge).is_err());
}

/// What `available` says in a process of its own, with the stand-in as its driver.
fn said(variables: &[(&str, &str)]) -> String {
    let library = crate::common::stand_in();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "driver::says_whether_cuda_is_available",
            "--ignored",
            "--nocapture",
        ])
        .env("LD_LIBRARY_PATH", library.parent().unwrap())
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text
        .split_once("available: ")
        .unwrap_or_else(|| panic!("{text}"));
    rest.lines().next().unwrap().to_string()
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn says_whether_cuda_is_available() {
    match gstneural_cuda::available() {
        Ok(()) => println!("available: yes, {}", Device::count().unwrap()),
        Err(why) => println!("available: {why}"),
    }
}

#[test]
fn the_reason_is_given() {
    assert_eq!(said(&[]), "yes, 1");
    assert_eq!(said(&[("FAKE_CUDA_DEVICES", "3")]), "yes, 3");
    let none = said(&[("FAKE_CUDA_DEVICES", "0")]);
    assert!(none.contains("sees no GPU"), "{none}");
    let broken = said(&[("FAKE_CUDA_INIT", "999")]);
    assert!(
        broken.contains("does not start: CUDA_ERROR_UNKNOWN (999)"),
        "{broken}"
    );
    let off = said(&[("GSTNEURAL_CUDA", "off")]);
    assert!(off.contains("switched off by GSTNEURAL_CUDA"), "{off}");
}
