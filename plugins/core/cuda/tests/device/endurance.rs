//! Many frames, several pipelines at once, and nothing left behind.

use gstneural_cuda::{
    Channels, DeviceFilter, DeviceScaler, DeviceStabilizer, Element, Kernels, Order, Region,
    Stream, allocated, twins::HostTensor,
};
use gstneural_pixels::{Color, Filter, FrameBuf, PixelFormat};

use crate::Rig;

const SIZE: (usize, usize) = (48, 26);
const OUT: (usize, usize) = (96, 52);

/// A pipeline's way with a frame: in, a network that gives what it gets, out, and all that follows.
/// The result of the last frame.
fn pipeline(rig: &Rig, input: &FrameBuf, frames: usize, mut after: impl FnMut(usize)) -> FrameBuf {
    let stream = &Stream::new(&rig.device).unwrap();
    let kernels = &Kernels::new(&rig.device).unwrap();
    let (format, color) = (input.format(), input.color());
    let buffer =
        |(w, h)| gstneural_cuda::DeviceFrameBuf::new(&rig.device, format, w, h, color).unwrap();
    let (from, result, classical) = (rig.up(input), buffer(OUT), buffer(OUT));
    let (from, result, classical) = (from.frame(), result.frame(), classical.frame());
    let up = DeviceFilter::chroma_up(stream, format, color.site, SIZE).unwrap();
    let down = DeviceFilter::chroma_down(stream, format, color.site, OUT).unwrap();
    let scaler = DeviceScaler::new(stream, format, color.site, SIZE, OUT, Filter::Bicubic).unwrap();
    let mut stabilizer = DeviceStabilizer::new(stream, format, SIZE, OUT).unwrap();
    // Twelve channels that become three twice as large.
    let host = HostTensor::new(Element::F16, Order::Nchw, [1, 12, SIZE.1, SIZE.0]);
    let (tensor, _memory) = rig.tensor(&host);
    let output = tensor.image(0, 0, 12).unwrap().shuffled(2, true).unwrap();
    let found = gstneural_cuda::DeviceBuffer::new(&rig.device, 8).unwrap();
    for frame in 0..frames {
        for channel in 0..4 {
            let lane = Channels::One(channel % 3);
            let part = tensor.image(0, channel * 3, 1).unwrap();
            kernels
                .load_rgb_of_yuv(stream, &from, &up, lane, (0, 0), 1.0, &part)
                .unwrap();
        }
        kernels.inspect(stream, &tensor, &found).unwrap();
        assert_eq!(kernels.findings(stream, &found).unwrap().not_finite, 0);
        kernels
            .store_rgb_as_yuv(stream, &output, Channels::Rgb, 1.0, &result, &down)
            .unwrap();
        kernels
            .store(
                stream,
                &output,
                &[(1, 0)],
                1.0,
                &result,
                Region::whole(40, 30),
            )
            .unwrap();
        kernels.scale(stream, &scaler, &from, &classical).unwrap();
        kernels.mix(stream, &result, &classical, 0.7).unwrap();
        stabilizer
            .run(kernels, stream, &from, &classical, &result, 0.5)
            .unwrap();
        kernels.split_view(stream, &result, &classical, 30).unwrap();
        stream.synchronise().unwrap();
        after(frame);
    }
    // Not one copy of frame data but the two of this test, which go through another stream.
    assert_eq!(stream.copies(), gstneural_cuda::Counts::default());
    let mut out = FrameBuf::new(format, OUT.0, OUT.1, color).unwrap();
    result.download(&rig.stream, &mut out.as_mut()).unwrap();
    out
}

#[test]
fn four_at_once_give_what_one_gives() {
    let mut rig = Rig::new(71);
    let input = rig.noise(PixelFormat::Nv12, SIZE, Color::default());
    let alone = pipeline(&rig, &input, 3, |_| {});
    let results: Vec<FrameBuf> = std::thread::scope(|scope| {
        let (rig, input) = (&rig, &input);
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(move || pipeline(rig, input, 3, |_| {})))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for result in results {
        crate::assert_equal(&result.as_ref(), &alone.as_ref(), "at once and alone");
    }
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn memory_over_many_frames() {
    let mut rig = Rig::new(72);
    let input = rig.noise(PixelFormat::P01010Le, SIZE, Color::default());
    let before = allocated();
    for _ in 0..3 {
        let mut within = None;
        pipeline(&rig, &input, 100, |_| {
            let now = allocated();
            assert_eq!(
                *within.get_or_insert(now),
                now,
                "a frame allocated something"
            );
        });
        assert_eq!(allocated(), before, "a pipeline left something behind");
    }
    println!("nothing leaked");
}

#[test]
fn many_frames_leave_nothing_behind() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "endurance::memory_over_many_frames",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("nothing leaked"),
        "{text}{error}"
    );
}
