//! The worst frames as pictures.

use super::graph::{Streams, fail};
use super::measure::{Expected, Measured, drive};
use crate::failure::{Failure, make};
use crate::report::Reporter;
use crate::report::html::data_uri;
use gst::prelude::*;
use gst_video::prelude::*;
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How pictures are stored in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// PNG up to 1280x720, JPEG above.
    #[default]
    Auto,
    /// Without loss.
    Png,
    /// Quality 92.
    Jpeg,
}

/// Quality of JPEG pictures.
pub const JPEG_QUALITY: u8 = 92;

impl Format {
    /// Whether pictures of this size become JPEG.
    pub fn is_jpeg(self, width: u32, height: u32) -> bool {
        match self {
            Self::Auto => u64::from(width) * u64::from(height) > 1280 * 720,
            Self::Png => false,
            Self::Jpeg => true,
        }
    }
}

/// The `count` worst pairs of a candidate by a column, indices into its rows, worst first; no two
/// lie within half a second of each other.
pub fn worst(
    measured: &Measured,
    column: usize,
    higher_is_better: bool,
    count: usize,
) -> Vec<usize> {
    const APART_NS: u64 = 500_000_000;
    let value = |i: usize| measured.rows[i].values.get(column).copied().flatten();
    let mut order: Vec<usize> = (0..measured.rows.len())
        .filter(|&i| value(i).is_some())
        .collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (value(a).unwrap_or(0.0), value(b).unwrap_or(0.0));
        if higher_is_better {
            a.total_cmp(&b)
        } else {
            b.total_cmp(&a)
        }
    });
    let mut chosen: Vec<usize> = Vec::new();
    for i in order {
        if chosen.len() == count {
            break;
        }
        let near =
            chosen.iter().any(
                |&c| match (measured.rows[c].time_ns, measured.rows[i].time_ns) {
                    (Some(a), Some(b)) => a.abs_diff(b) < APART_NS,
                    _ => measured.rows[c].frame.abs_diff(measured.rows[i].frame) < 12,
                },
            );
        if !near {
            chosen.push(i);
        }
    }
    chosen
}

type Caught = BTreeMap<u64, (gst::Buffer, gst::Caps)>;

/// Runs `streams` until the `wanted` frames (a set of numbers for each stream) have come by, and
/// returns them as RGB.
pub fn catch(
    streams: &Streams,
    wanted: &[BTreeSet<u64>],
    size: (u32, u32),
    stall: Duration,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<Vec<BTreeMap<u64, RgbImage>>, Failure> {
    let caught: Vec<Arc<Mutex<Caught>>> = wanted.iter().map(|_| Arc::default()).collect();
    for ((output, wanted), caught) in streams.outputs.iter().zip(wanted).zip(&caught) {
        let sink = make("fakesink")?;
        sink.set_property("sync", false);
        sink.set_property("async", false);
        streams.pipeline.add(&sink).map_err(fail)?;
        output
            .link(&super::graph::pad(&sink, "sink")?)
            .map_err(fail)?;
        let (wanted, caught) = (wanted.clone(), Arc::clone(caught));
        let number = Mutex::new(0u64);
        output.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let mut number = number.lock().unwrap_or_else(PoisonError::into_inner);
            if wanted.contains(&number)
                && let Some(buffer) = info.buffer()
                && let Some(caps) = pad.current_caps()
                // A copy, so that a decoder with few buffers does not wait for this one.
                && let Ok(buffer) = buffer.copy_deep()
            {
                caught
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(*number, (buffer, caps));
            }
            *number += 1;
            gst::PadProbeReturn::Ok
        });
    }
    let complete = || {
        caught
            .iter()
            .zip(wanted)
            .all(|(c, w)| c.lock().unwrap_or_else(PoisonError::into_inner).len() == w.len())
    };
    drive(
        streams,
        stall,
        Expected::default(),
        interrupts,
        reporter,
        |_| {},
        complete,
    )?;
    caught
        .iter()
        .map(|caught| {
            let caught =
                std::mem::take(&mut *caught.lock().unwrap_or_else(PoisonError::into_inner));
            caught
                .into_iter()
                .map(|(n, (buffer, caps))| Ok((n, to_rgb(&buffer, &caps, size)?)))
                .collect()
        })
        .collect()
}

fn to_rgb(buffer: &gst::Buffer, caps: &gst::Caps, size: (u32, u32)) -> Result<RgbImage, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::new(format!("a picture for the report: {e}"));
    // Whatever the shape of its samples, the picture fills the size asked for.
    let mut caps = caps.clone();
    if let Ok(info) = gst_video::VideoInfo::from_caps(&caps)
        && let (Ok(n), Ok(d)) = (
            i32::try_from(u64::from(size.0) * u64::from(info.height())),
            i32::try_from(u64::from(size.1) * u64::from(info.width())),
        )
        && n > 0
        && d > 0
    {
        caps.make_mut()
            .set("pixel-aspect-ratio", gst::Fraction::new(n, d));
    }
    let sample = gst::Sample::builder().buffer(buffer).caps(&caps).build();
    let rgb = gst::Caps::builder("video/x-raw")
        .field("format", "RGB")
        .field("width", i32::try_from(size.0).unwrap_or(i32::MAX))
        .field("height", i32::try_from(size.1).unwrap_or(i32::MAX))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build();
    let sample = gst_video::convert_sample(&sample, &rgb, Some(gst::ClockTime::from_seconds(30)))
        .map_err(|e| wrong(&e))?;
    let (Some(buffer), Some(caps)) = (sample.buffer(), sample.caps_owned()) else {
        return Err(wrong(&"the conversion gave nothing"));
    };
    let info = gst_video::VideoInfo::from_caps(&caps).map_err(|e| wrong(&e))?;
    let frame =
        gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(|e| wrong(&e))?;
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let stride = usize::try_from(frame.plane_stride()[0]).unwrap_or(0);
    let data = frame.plane_data(0).map_err(|e| wrong(&e))?;
    let mut pixels = Vec::with_capacity(width * height * 3);
    for row in data.chunks(stride.max(1)).take(height) {
        pixels.extend_from_slice(row.get(..width * 3).unwrap_or_default());
    }
    RgbImage::from_raw(frame.width(), frame.height(), pixels).ok_or_else(|| wrong(&"too few bytes"))
}

/// The absolute difference times `amplification`.
pub fn difference(a: &RgbImage, b: &RgbImage, amplification: u32) -> RgbImage {
    let mut out = RgbImage::new(a.width().min(b.width()), a.height().min(b.height()));
    for (x, y, pixel) in out.enumerate_pixels_mut() {
        let (p, q) = (a.get_pixel(x, y), b.get_pixel(x, y));
        for (o, (p, q)) in pixel.0.iter_mut().zip(p.0.iter().zip(&q.0)) {
            let d = u32::from(p.abs_diff(*q)).saturating_mul(amplification);
            *o = u8::try_from(d).unwrap_or(u8::MAX);
        }
    }
    out
}

/// A picture as a data URI.
pub fn encode(image: &RgbImage, format: Format) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let (w, h) = image.dimensions();
    let (kind, result) = if format.is_jpeg(w, h) {
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        (
            "image/jpeg",
            encoder.write_image(image, w, h, ExtendedColorType::Rgb8),
        )
    } else {
        let encoder = image::codecs::png::PngEncoder::new_with_quality(
            &mut bytes,
            image::codecs::png::CompressionType::Default,
            image::codecs::png::FilterType::Adaptive,
        );
        (
            "image/png",
            encoder.write_image(image, w, h, ExtendedColorType::Rgb8),
        )
    };
    result.map_err(|e| Failure::new(format!("a picture for the report: {e}")))?;
    Ok(data_uri(kind, &bytes))
}

#[cfg(test)]
mod tests {
    use super::super::measure::Row;
    use super::*;

    fn measured(values: &[Option<f64>]) -> Measured {
        Measured {
            rows: values
                .iter()
                .enumerate()
                .map(|(i, v)| Row {
                    frame: i as u64,
                    distorted_frame: i as u64,
                    time_ns: Some(i as u64 * 40_000_000),
                    values: vec![*v],
                })
                .collect(),
            ..Measured::default()
        }
    }

    #[test]
    fn the_worst_frames_are_not_neighbours() {
        let mut values = vec![Some(90.0); 100];
        values[40] = Some(10.0);
        values[41] = Some(5.0);
        values[80] = Some(20.0);
        values[99] = None;
        let m = measured(&values);
        assert_eq!(worst(&m, 0, true, 2), [41, 80]);
        assert_eq!(worst(&m, 0, false, 1).len(), 1);
        assert!(worst(&measured(&[None, None]), 0, true, 3).is_empty());
        assert_eq!(worst(&measured(&[Some(1.0)]), 0, true, 3), [0]);
    }

    #[test]
    fn differences_are_amplified_and_saturate() {
        let a = RgbImage::from_pixel(2, 1, image::Rgb([10, 100, 200]));
        let b = RgbImage::from_pixel(2, 1, image::Rgb([12, 90, 100]));
        assert_eq!(difference(&a, &b, 8).get_pixel(1, 0).0, [16, 80, 255]);
        assert!(
            encode(&a, Format::Auto)
                .unwrap()
                .starts_with("data:image/png;base64,")
        );
        assert!(
            encode(&a, Format::Jpeg)
                .unwrap()
                .starts_with("data:image/jpeg;base64,")
        );
    }
}
