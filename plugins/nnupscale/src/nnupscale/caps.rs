//! Caps of `nnupscale`: sizes are multiplied, colour is kept and pinned.

use std::sync::LazyLock;

use super::cuda;
use gst_video::prelude::*;
use gstneural_pixels::{ChromaSite, Color, Matrix, PixelFormat, Range, SiteH, SiteV};

/// The largest width or height of either side, in pixels.
pub(super) const MAX_SIZE: i32 = 32767;

/// What both pads take: CUDA memory first, where there is a GPU.
pub(super) static TEMPLATE: LazyLock<gst::Caps> = LazyLock::new(|| {
    let mut caps = gst::Caps::new_empty();
    if cuda::library().is_some() {
        let on_device = gst_video::VideoCapsBuilder::new()
            .features([cuda::FEATURE])
            .format_list(cuda::FORMATS)
            .width_range(1..=MAX_SIZE)
            .height_range(1..=MAX_SIZE)
            .build();
        caps.merge(on_device);
    }
    let on_host = gst_video::VideoCapsBuilder::new()
        .format_list(
            PixelFormat::ALL
                .iter()
                .filter_map(|f| f.info().name.parse().ok()),
        )
        .width_range(1..=MAX_SIZE)
        .height_range(1..=MAX_SIZE)
        .build();
    caps.merge(on_host);
    caps
});

/// How sizes change from the sink pad to the source pad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Factors {
    pub width: i32,
    pub height: i32,
}

/// The caps of the other pad. `direction` is the pad that `caps` are of; without factors (no model
/// loaded yet) any size is possible.
pub(super) fn transform(
    direction: gst::PadDirection,
    caps: &gst::Caps,
    factors: Option<Factors>,
    on_gpu: bool,
) -> gst::Caps {
    let mut out = gst::Caps::new_empty();
    let to = out.make_mut();
    // The other kind of memory comes after all of the same kind: it costs copies.
    let mut others = Vec::new();
    for (structure, features) in caps.iter_with_features() {
        let mut s = structure.to_owned();
        match factors {
            None => {
                for name in ["width", "height"] {
                    s.set(name, gst::IntRange::new(1, MAX_SIZE));
                }
            }
            Some(f) => {
                let up = direction == gst::PadDirection::Sink;
                let sized =
                    [("width", f.width), ("height", f.height)]
                        .into_iter()
                        .all(|(name, k)| {
                            let Ok(value) = s.value(name) else {
                                return true;
                            };
                            match scale_value(value, k, up) {
                                Some(v) => {
                                    s.set_value(name, v);
                                    true
                                }
                                None => false,
                            }
                        });
                if !sized {
                    continue;
                }
            }
        }
        if direction == gst::PadDirection::Sink {
            pin_color(structure, features, &mut s);
        } else {
            // What the input does not say is pinned on the output: it must not be asked of the input.
            s.remove_fields(["colorimetry", "chroma-site"]);
        }
        if on_gpu && let Some(other) = other_memory(&s, features) {
            others.push(other);
        }
        to.append_structure_full(s, Some(features.to_owned()));
    }
    for (structure, features) in others {
        to.append_structure_full(structure, Some(features));
    }
    out
}

/// The same in the other kind of memory, in the formats that both have.
fn other_memory(
    structure: &gst::StructureRef,
    features: &gst::CapsFeaturesRef,
) -> Option<(gst::Structure, gst::CapsFeatures)> {
    if features.contains(cuda::FEATURE) {
        let mut rest = features.to_owned();
        rest.remove(cuda::FEATURE);
        return Some((structure.to_owned(), rest));
    }
    if !features.is_equal(gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY.as_ref()) {
        return None;
    }
    let formats = gst::List::new(cuda::FORMATS.map(|f| f.to_str()));
    let mut wanted = gst::Structure::new_empty(structure.name());
    wanted.set("format", formats);
    let both = structure.intersect(&wanted)?;
    Some((both, gst::CapsFeatures::new([cuda::FEATURE])))
}

/// Writes colorimetry and chroma siting that the input leaves open into the output: their default
/// depends on the size, and would change with it (BT.601 and centred chroma up to 576 lines, BT.709
/// and chroma on the left above).
fn pin_color(
    input: &gst::StructureRef,
    features: &gst::CapsFeaturesRef,
    output: &mut gst::Structure,
) {
    let mut caps = gst::Caps::new_empty();
    caps.make_mut()
        .append_structure_full(input.to_owned(), Some(features.to_owned()));
    if !caps.is_fixed() {
        return;
    }
    let Ok(info) = gst_video::VideoInfo::from_caps(&caps) else {
        return;
    };
    if !output.has_field("colorimetry") && (info.is_yuv() || info.is_rgb()) {
        let c = info.colorimetry();
        if c.range() != gst_video::VideoColorRange::Unknown {
            output.set("colorimetry", c.to_string());
        }
    }
    let subsampled = info.is_yuv()
        && (0..info.n_components()).any(|c| {
            let f = info.format_info();
            f.w_sub().get(c as usize).is_some_and(|s| *s > 0)
        });
    let site = info.chroma_site();
    if subsampled && !output.has_field("chroma-site") && !site.is_empty() {
        output.set("chroma-site", site.to_str().as_str());
    }
}

/// Multiplies (or divides) an integer, a range or a list; None if nothing is left.
fn scale_value(value: &gst::glib::SendValue, k: i32, up: bool) -> Option<gst::glib::SendValue> {
    if let Ok(v) = value.get::<i32>() {
        let scaled = if up {
            v.checked_mul(k).filter(|v| *v <= MAX_SIZE)
        } else {
            (v % k == 0).then_some(v / k).filter(|v| *v >= 1)
        };
        return scaled.map(|v| v.to_send_value());
    }
    if let Ok(r) = value.get::<gst::IntRange<i32>>() {
        let (low, high) = if up {
            (
                r.min().max(1).saturating_mul(k),
                r.max().min(MAX_SIZE / k).saturating_mul(k),
            )
        } else {
            (r.min().max(1).saturating_add(k - 1) / k, r.max() / k)
        };
        return match low.cmp(&high) {
            std::cmp::Ordering::Greater => None,
            std::cmp::Ordering::Equal => Some(low.to_send_value()),
            std::cmp::Ordering::Less if up && k > 1 => {
                Some(gst::IntRange::with_step(low, high, k).to_send_value())
            }
            std::cmp::Ordering::Less => Some(gst::IntRange::new(low, high).to_send_value()),
        };
    }
    if let Ok(list) = value.get::<gst::List>() {
        let values: Vec<_> = list.iter().filter_map(|v| scale_value(v, k, up)).collect();
        return (!values.is_empty()).then(|| gst::List::new(values).to_send_value());
    }
    None
}

/// Our format for GStreamer's.
pub(super) fn pixel_format(info: &gst_video::VideoInfo) -> Option<PixelFormat> {
    PixelFormat::from_name(info.format().to_str().as_str())
}

/// Matrix, range and siting of a stream.
pub(super) fn color(info: &gst_video::VideoInfo) -> Color {
    use gst_video::{VideoChromaSite as S, VideoColorMatrix as M, VideoColorRange as R};
    let c = info.colorimetry();
    let matrix = match c.matrix() {
        M::Bt601 => Matrix::Bt601,
        M::Bt2020 => Matrix::Bt2020,
        M::Fcc => Matrix::Fcc,
        M::Smpte240m => Matrix::Smpte240m,
        _ => Matrix::Bt709,
    };
    let range = match c.range() {
        R::Range0_255 => Range::Full,
        _ => Range::Limited,
    };
    let site = info.chroma_site();
    let site = if site.is_empty() { S::H_COSITED } else { site };
    Color {
        matrix,
        range,
        site: ChromaSite {
            h: if site.contains(S::H_COSITED) {
                SiteH::Left
            } else {
                SiteH::Center
            },
            v: if site.contains(S::V_COSITED) {
                SiteV::Top
            } else {
                SiteV::Center
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    const X2: Option<Factors> = Some(Factors {
        width: 2,
        height: 2,
    });

    fn run(direction: gst::PadDirection, caps: &str, factors: Option<Factors>) -> gst::Caps {
        gst::init().unwrap();
        transform(
            direction,
            &gst::Caps::from_str(caps).unwrap(),
            factors,
            false,
        )
    }

    #[test]
    fn sizes_are_multiplied_and_colour_is_pinned() {
        let c = run(
            gst::PadDirection::Sink,
            "video/x-raw,format=I420,width=640,height=360,framerate=30/1",
            X2,
        );
        let info = gst_video::VideoInfo::from_caps(&c).unwrap();
        assert_eq!((info.width(), info.height()), (1280, 720));
        let s = c.structure(0).unwrap();
        assert_eq!(
            s.get::<&str>("colorimetry").unwrap(),
            "bt601",
            "the input's, not the size's"
        );
        assert_eq!(
            s.get::<&str>("chroma-site").unwrap(),
            "jpeg",
            "GStreamer's default for SD"
        );
    }

    #[test]
    fn hdr_fields_pass() {
        let c = run(
            gst::PadDirection::Sink,
            "video/x-raw,format=I420_10LE,width=8,height=8,framerate=1/1,colorimetry=bt2100-hlg,content-light-level=(string)1000:400",
            X2,
        );
        let s = c.structure(0).unwrap();
        assert_eq!(s.get::<&str>("colorimetry").unwrap(), "bt2100-hlg");
        assert_eq!(s.get::<&str>("content-light-level").unwrap(), "1000:400");
    }

    #[test]
    fn ranges_and_lists_scale_both_ways() {
        let c = run(
            gst::PadDirection::Sink,
            "video/x-raw,width=[1,32767],height={10,20}",
            X2,
        );
        let s = c.structure(0).unwrap();
        let r = s.get::<gst::IntRange<i32>>("width").unwrap();
        assert_eq!((r.min(), r.max(), r.step()), (2, 32766, 2));
        let c = run(
            gst::PadDirection::Src,
            "video/x-raw,width=[3,9],height={10,21}",
            X2,
        );
        let s = c.structure(0).unwrap();
        let r = s.get::<gst::IntRange<i32>>("width").unwrap();
        assert_eq!((r.min(), r.max()), (2, 4));
        assert_eq!(s.get::<gst::List>("height").unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_is_left_out() {
        assert!(
            run(
                gst::PadDirection::Sink,
                "video/x-raw,width=20000,height=8",
                X2
            )
            .is_empty()
        );
        assert!(run(gst::PadDirection::Src, "video/x-raw,width=21,height=8", X2).is_empty());
    }
}
