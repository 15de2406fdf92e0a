//! Whole frames: every component resampled with the phase that its siting asks for.

use crate::color::{ChromaSite, SiteH, SiteV};
use crate::format::subsampled;
use crate::resample::Resampler;
use crate::taps::{Filter, Mapping};
use crate::{CompMut, CompRef, FrameMut, FrameRef, PixelError, PixelFormat, PlaneMut};

/// Where the first of `1 << sub` luma pixels' chroma sample lies, in luma pixels from it.
fn site_offset_h(site: SiteH, sub: u8) -> f64 {
    match site {
        SiteH::Left => 0.0,
        SiteH::Center => ((1u32 << sub) - 1) as f64 / 2.0,
    }
}

fn site_offset_v(site: SiteV, sub: u8) -> f64 {
    match site {
        SiteV::Top => 0.0,
        SiteV::Center => ((1u32 << sub) - 1) as f64 / 2.0,
        SiteV::Bottom => ((1u32 << sub) - 1) as f64,
    }
}

fn phase(sub: u8, offset: f64, src: usize, dst: usize) -> f64 {
    let ratio = src as f64 / dst as f64;
    (ratio - 1.0) * ((offset + 0.5) / f64::from(1u32 << sub) - 0.5)
}

/// The horizontal and vertical phase of [`Resampler::new`] for chroma subsampled by
/// `1 << sub_w` and `1 << sub_h`, when luma goes from `src` to `dst` (width, height).
///
/// Let a chroma sample k lie at luma pixel `s * k + o`, where s is the subsampling and o the
/// site: 0 for left or top, (s - 1) / 2 for centre, s - 1 for bottom. Luma pixel X of the
/// destination lies at `(X + 0.5) * R - 0.5` of the source, with R = src / dst. So chroma
/// sample k of the destination lies at chroma sample
/// `((s * k + o + 0.5) * R - 0.5 - o) / s` of the source, which is the position that
/// [`Resampler::new`] takes plus `(R - 1) * ((o + 0.5) / s - 0.5)`.
///
/// Centred chroma needs no phase. Left-sited chroma upscaled by two has R = 1/2, s = 2,
/// o = 0 and moves by 1/8 of a chroma sample, a quarter of a source luma pixel:
///
/// ```
/// use gstneural_pixels::{ChromaSite, chroma_phase};
/// let phase = chroma_phase(1, 1, ChromaSite::MPEG2, (640, 360), (1280, 720));
/// assert_eq!(phase, (0.125, 0.0));
/// ```
pub fn chroma_phase(
    sub_w: u8,
    sub_h: u8,
    site: ChromaSite,
    src: (usize, usize),
    dst: (usize, usize),
) -> (f64, f64) {
    (
        phase(sub_w, site_offset_h(site.h, sub_w), src.0, dst.0),
        phase(sub_h, site_offset_v(site.v, sub_h), src.1, dst.1),
    )
}

/// Scales whole frames of a format: all components, chroma in phase, alpha like colour,
/// padding bytes 255.
#[derive(Debug, Clone)]
pub struct FrameScaler {
    format: PixelFormat,
    src: (usize, usize),
    dst: (usize, usize),
    full: Resampler,
    chroma: Option<Resampler>,
}

impl FrameScaler {
    /// A scaler for frames of `format` whose chroma is sited at `site` on both sides.
    ///
    /// # Errors
    /// If a size is 0 or too large.
    pub fn new(
        format: PixelFormat,
        src_w: usize,
        src_h: usize,
        dst_w: usize,
        dst_h: usize,
        site: ChromaSite,
        filter: Filter,
    ) -> Result<Self, PixelError> {
        let full = Resampler::new(src_w, src_h, dst_w, dst_h, filter, 0.0, 0.0)?;
        let subsampled_comp = format
            .info()
            .components
            .iter()
            .find(|c| c.sub_w > 0 || c.sub_h > 0);
        let chroma = subsampled_comp.map(|c| {
            // The ratio is luma's: that of chroma's own sizes differs where a size is odd.
            let map = |sub: u8, offset: f64, src: usize, dst: usize| {
                let s = f64::from(1u32 << sub);
                let step = src as f64 / dst as f64;
                Mapping {
                    step,
                    origin: ((offset + 0.5) * step - 0.5 - offset) / s,
                }
            };
            Resampler::mapped(
                (subsampled(src_w, c.sub_w), subsampled(src_h, c.sub_h)),
                (subsampled(dst_w, c.sub_w), subsampled(dst_h, c.sub_h)),
                filter,
                map(c.sub_w, site_offset_h(site.h, c.sub_w), src_w, dst_w),
                map(c.sub_h, site_offset_v(site.v, c.sub_h), src_h, dst_h),
            )
        });
        let (src, dst) = ((src_w, src_h), (dst_w, dst_h));
        Ok(Self {
            format,
            src,
            dst,
            full,
            chroma: chroma.transpose()?,
        })
    }

    /// What scales component `c`.
    ///
    /// # Panics
    /// If the format has no component `c`.
    pub fn resampler(&self, c: usize) -> &Resampler {
        let comp = &self.format.info().components[c];
        match &self.chroma {
            Some(chroma) if comp.sub_w > 0 || comp.sub_h > 0 => chroma,
            _ => &self.full,
        }
    }

    /// Scales every component and sets the padding.
    ///
    /// # Panics
    /// If a frame has another format or size than the scaler was made for.
    pub fn run(&mut self, src: &FrameRef<'_>, dst: &mut FrameMut<'_>) {
        for c in 0..self.format.info().components.len() {
            self.run_component(c, src, dst);
        }
        fill_padding(dst);
    }

    /// Scales component `c` alone.
    ///
    /// # Panics
    /// If a frame has another format or size than the scaler was made for, or the format
    /// has no component `c`.
    pub fn run_component(&mut self, c: usize, src: &FrameRef<'_>, dst: &mut FrameMut<'_>) {
        assert_eq!(
            (src.format(), dst.format()),
            (self.format, self.format),
            "format"
        );
        assert_eq!((src.width(), src.height()), self.src, "source size");
        assert_eq!((dst.width(), dst.height()), self.dst, "destination size");
        let comp = &self.format.info().components[c];
        let resampler = match &mut self.chroma {
            Some(chroma) if comp.sub_w > 0 || comp.sub_h > 0 => chroma,
            _ => &mut self.full,
        };
        resampler.run(&src.component(c), &mut dst.component_mut(c));
    }
}

/// Writes 255 into the unused byte of each pixel, if the format has one.
pub fn fill_padding(frame: &mut FrameMut<'_>) {
    let format = frame.format();
    let info = format.info();
    let Some((plane, offset)) = info.padding else {
        return;
    };
    let (row_bytes, rows) = format.plane_size(plane, frame.width(), frame.height());
    let step = info.components[0].step;
    let PlaneMut { data, stride } = frame.plane_mut(plane);
    for y in 0..rows {
        for pixel in data[y * stride..][..row_bytes].chunks_exact_mut(step) {
            pixel[offset] = 255;
        }
    }
}

macro_rules! chroma_converter {
    ($(#[$doc:meta])* $name:ident, $filter:expr, $up:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            resampler: Resampler,
        }

        impl $name {
            /// A converter for frames of `width` x `height` luma pixels whose chroma is
            /// subsampled by `1 << sub_w` and `1 << sub_h` and lies at `site`.
            ///
            /// # Errors
            /// If the size is 0 or too large.
            pub fn new(
                width: usize,
                height: usize,
                sub_w: u8,
                sub_h: u8,
                site: ChromaSite,
            ) -> Result<Self, PixelError> {
                Self::with_filter(width, height, sub_w, sub_h, site, $filter)
            }

            /// As [`Self::new`] with a filter of one's choice.
            ///
            /// # Errors
            /// If the size is 0 or too large.
            pub fn with_filter(
                width: usize,
                height: usize,
                sub_w: u8,
                sub_h: u8,
                site: ChromaSite,
                filter: Filter,
            ) -> Result<Self, PixelError> {
                let luma = (width, height);
                let chroma = (subsampled(width, sub_w), subsampled(height, sub_h));
                let map = |sub: u8, offset: f64| {
                    let s = f64::from(1u32 << sub);
                    if $up {
                        Mapping { step: 1.0 / s, origin: -offset / s }
                    } else {
                        Mapping { step: s, origin: offset }
                    }
                };
                let map_x = map(sub_w, site_offset_h(site.h, sub_w));
                let map_y = map(sub_h, site_offset_v(site.v, sub_h));
                let (from, to) = if $up { (chroma, luma) } else { (luma, chroma) };
                let resampler = Resampler::mapped(from, to, filter, map_x, map_y)?;
                Ok(Self { resampler })
            }

            /// What converts a component.
            pub fn resampler(&self) -> &Resampler {
                &self.resampler
            }

            /// Converts one component.
            ///
            /// # Panics
            /// If a component does not have the size that the converter was made for.
            pub fn run(&mut self, src: &CompRef<'_>, dst: &mut CompMut<'_>) {
                self.resampler.run(src, dst);
            }
        }
    };
}

chroma_converter!(
    /// Chroma of 4:2:0 or 4:2:2 to the size of luma, true to its siting; bicubic.
    ChromaUp,
    Filter::Bicubic,
    true
);

chroma_converter!(
    /// Chroma of the size of luma to 4:2:0 or 4:2:2, true to its siting; a triangle filter,
    /// which neither aliases much nor rings.
    ChromaDown,
    Filter::Bilinear,
    false
);

impl ChromaUp {
    /// As [`ChromaUp::run`] into `f32`, value * scale + bias, without rounding in between.
    ///
    /// # Panics
    /// If `src` has another size than the converter was made for or `dst` is too short.
    pub fn run_to_f32(
        &mut self,
        src: &CompRef<'_>,
        scale: f32,
        bias: f32,
        dst: &mut [f32],
        dst_stride: usize,
    ) {
        self.resampler.run_to_f32(src, scale, bias, dst, dst_stride);
    }
}

impl ChromaDown {
    /// As [`ChromaDown::run`] from `f32`, quantised once as value * scale + bias.
    ///
    /// # Panics
    /// If `dst` has another size than the converter was made for or `src` is too short.
    pub fn run_from_f32(
        &mut self,
        src: &[f32],
        src_stride: usize,
        scale: f32,
        bias: f32,
        dst: &mut CompMut<'_>,
    ) {
        self.resampler
            .run_from_f32(src, src_stride, scale, bias, dst);
    }
}

#[cfg(test)]
#[path = "scaler_tests.rs"]
mod tests;
