//! What each step of a frame's way takes on the device at hand, in microseconds of device time.
//!
//! `time_kernels [WIDTH HEIGHT SCALE]`, 1920 1080 2 if nothing is said. One line of JSON for each
//! step: the median of 50 runs after 5.

use std::process::ExitCode;

use gstneural_cuda::{
    Channels, Device, DeviceBuffer, DeviceFilter, DeviceFrameBuf, DeviceScaler, DeviceStabilizer,
    DeviceTensor, Element, Event, Kernels, Order, Region, Result, Stream, TensorView,
};
use gstneural_pixels::{Color, Filter, PixelFormat};

const WARM_UP: usize = 5;
const RUNS: usize = 50;

struct Timer {
    stream: Stream,
    begin: Event,
    end: Event,
    runs: usize,
}

impl Timer {
    fn time(&self, name: &str, mut work: impl FnMut(&Stream) -> Result<()>) -> Result<()> {
        let mut times = Vec::new();
        for run in 0..WARM_UP.min(self.runs) + self.runs {
            self.begin.record(&self.stream)?;
            work(&self.stream)?;
            self.end.record(&self.stream)?;
            self.end.synchronise()?;
            if run >= WARM_UP.min(self.runs) {
                times.push(self.end.since_ms(&self.begin)? * 1000.0);
            }
        }
        times.sort_by(f32::total_cmp);
        let median = times.get(times.len() / 2).copied().unwrap_or(f32::NAN);
        println!(
            "{{\"step\": \"{name}\", \"median_us\": {median:.1}, \"runs\": {}}}",
            self.runs
        );
        Ok(())
    }
}

struct Output {
    view: TensorView,
    tensor: DeviceTensor,
    _memory: DeviceBuffer,
}

fn output(
    stream: &Stream,
    channels: usize,
    (w, h): (usize, usize),
    scale: usize,
) -> Result<Output> {
    let shape = [1, channels * scale * scale, h, w];
    let bytes = shape.iter().product::<usize>() * 2;
    let memory = DeviceBuffer::zeroed(stream, bytes)?;
    let tensor = DeviceTensor::new(memory.address(), bytes, Element::F16, Order::Nchw, shape)?;
    let view = tensor.image(0, 0, channels * scale * scale)?;
    Ok(Output {
        view: view.shuffled(scale, true)?,
        tensor,
        _memory: memory,
    })
}

fn main() -> ExitCode {
    match time_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("time_kernels: {error}");
            ExitCode::FAILURE
        }
    }
}

fn time_all() -> Result<()> {
    let numbers: Vec<usize> = std::env::args().skip(1).flat_map(|a| a.parse()).collect();
    let (size, scale) = match numbers[..] {
        [w, h, s] => ((w, h), s),
        _ => ((1920, 1080), 2),
    };
    let device = Device::open(0)?;
    let (major, minor) = device.compute_capability();
    println!(
        "{{\"device\": \"{}\", \"compute\": \"{major}.{minor}\", \"width\": {}, \"height\": {}, \"scale\": {scale}}}",
        device.name(),
        size.0,
        size.1
    );
    let timer = Timer {
        stream: Stream::new(&device)?,
        begin: Event::new(&device)?,
        end: Event::new(&device)?,
        runs: RUNS,
    };
    let kernels = Kernels::new(&device)?;
    let out = (size.0 * scale, size.1 * scale);
    let color = Color::default();
    let (k, s) = (&kernels, &timer.stream);
    for format in [PixelFormat::Nv12, PixelFormat::P01010Le] {
        let name = format.info().name;
        let frame = |(w, h): (usize, usize)| DeviceFrameBuf::new(&device, format, w, h, color);
        let (input, result, classical) = (frame(size)?, frame(out)?, frame(out)?);
        let (input, result, classical) = (input.frame(), result.frame(), classical.frame());
        let (luma, rgb) = (output(s, 1, size, 1)?, output(s, 3, size, 1)?);
        let (luma_out, rgb_out) = (output(s, 1, size, scale)?, output(s, 3, size, scale)?);
        let up = DeviceFilter::chroma_up(s, format, color.site, size)?;
        let down = DeviceFilter::chroma_down(s, format, color.site, out)?;
        let scaler = DeviceScaler::new(s, format, color.site, size, out, Filter::Bicubic)?;
        let mut stabilizer = DeviceStabilizer::new(s, format, size, out)?;
        let whole = Region::whole(out.0, out.1);
        timer.time(&format!("{name}: load luma"), |s| {
            k.load_component(s, &input, 0, (0, 0), 1.0, &luma.view)
        })?;
        timer.time(&format!("{name}: load RGB"), |s| {
            k.load_rgb_of_yuv(s, &input, &up, Channels::Rgb, (0, 0), 1.0, &rgb.view)
        })?;
        timer.time(&format!("{name}: store luma"), |s| {
            k.store(s, &luma_out.view, &[(0, 0)], 1.0, &result, whole)
        })?;
        timer.time(&format!("{name}: chroma by filter"), |s| {
            k.scale_components(s, &scaler, &input, &result, 1..3)
        })?;
        timer.time(&format!("{name}: store RGB"), |s| {
            k.store_rgb_as_yuv(s, &rgb_out.view, Channels::Rgb, 1.0, &result, &down)
        })?;
        timer.time(&format!("{name}: classical upscale"), |s| {
            k.scale(s, &scaler, &input, &classical)
        })?;
        timer.time(&format!("{name}: mix"), |s| {
            k.mix(s, &result, &classical, 0.5)
        })?;
        timer.time(&format!("{name}: stabilize"), |s| {
            stabilizer.run(k, s, &input, &classical, &result, 0.5)
        })?;
        let found = DeviceBuffer::new(&device, 8)?;
        timer.time(&format!("{name}: inspect output"), |s| {
            k.inspect(s, &rgb_out.tensor, &found)
        })?;
    }
    Ok(())
}
