//! Matrix, range and chroma siting; YUV to RGB and back on rows of `f32`.
//!
//! Code values follow ITU-T H.273 (equations 33 to 38 for the range, 39 to 52 for the
//! matrix). A row holds code values divided by 2^depth - 1.

use crate::kernels;

/// The luma coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// ITU-R BT.601 (SD video, JPEG).
    Bt601,
    /// ITU-R BT.709 (HD video).
    Bt709,
    /// ITU-R BT.2020, non-constant luminance (UHD and HDR video).
    Bt2020,
    /// FCC 73.682 (NTSC of 1953).
    Fcc,
    /// SMPTE 240M (HD of 1988).
    Smpte240m,
}

impl Matrix {
    /// The weights of red and blue in luma; green's is the rest to 1.
    pub fn kr_kb(self) -> (f64, f64) {
        match self {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
            Matrix::Fcc => (0.30, 0.11),
            Matrix::Smpte240m => (0.212, 0.087),
        }
    }
}

/// Which code values stand for black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Range {
    /// 0 to 2^depth - 1.
    Full,
    /// 16 to 235 (chroma to 240) at 8 bits, shifted up for more.
    Limited,
}

/// Where a chroma sample lies across the luma pixels that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SiteH {
    /// On the left luma pixel.
    Left,
    /// Between the luma pixels.
    Center,
}

/// Where a chroma sample lies down the luma pixels that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SiteV {
    /// On the top luma pixel.
    Top,
    /// Between the luma pixels.
    Center,
    /// On the bottom luma pixel.
    Bottom,
}

/// The position of chroma samples among luma samples. Matters only where chroma is subsampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChromaSite {
    /// Across.
    pub h: SiteH,
    /// Down.
    pub v: SiteV,
}

impl ChromaSite {
    /// MPEG-2, H.264, HEVC by default: left, centre.
    pub const MPEG2: Self = Self {
        h: SiteH::Left,
        v: SiteV::Center,
    };
    /// JPEG and MPEG-1: centre, centre.
    pub const JPEG: Self = Self {
        h: SiteH::Center,
        v: SiteV::Center,
    };
    /// Co-sited, usual for BT.2020 and HDR: left, top.
    pub const COSITED: Self = Self {
        h: SiteH::Left,
        v: SiteV::Top,
    };
}

impl Default for ChromaSite {
    fn default() -> Self {
        Self::MPEG2
    }
}

/// How code values become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Color {
    /// Luma coefficients.
    pub matrix: Matrix,
    /// Range of the code values.
    pub range: Range,
    /// Siting of subsampled chroma.
    pub site: ChromaSite,
}

impl Default for Color {
    /// BT.709, limited range, chroma left and centre.
    fn default() -> Self {
        Self {
            matrix: Matrix::Bt709,
            range: Range::Limited,
            site: ChromaSite::MPEG2,
        }
    }
}

/// Luma and chroma code values of white, black and no colour: (black, white, neutral), for
/// samples of `depth` bits (8 to 16).
pub fn anchors(range: Range, depth: u8) -> (u32, u32, u32) {
    let up = u32::from(depth.clamp(8, 16)) - 8;
    match range {
        Range::Full => (0, (256 << up) - 1, 128 << up),
        Range::Limited => (16 << up, 235 << up, 128 << up),
    }
}

/// The coefficients in the form in which kernels use them, here and on other devices.
///
/// With c = u - `neutral` and d = v - `neutral`, and l = y * `y_gain` + `y_bias`:
/// r = l + d * `r_v`, g = l + (c * `g_u` + d * `g_v`), b = l + c * `b_u`. The other way,
/// with l = r * `kr` + g * `kg` + b * `kb`: y = l * `y_scale` + `y_black`,
/// u = (b - l) * `u_scale` + `neutral`, v = (r - l) * `v_scale` + `neutral`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Coefficients {
    pub y_gain: f32,
    pub y_bias: f32,
    pub neutral: f32,
    pub r_v: f32,
    pub g_u: f32,
    pub g_v: f32,
    pub b_u: f32,
    pub kr: f32,
    pub kg: f32,
    pub kb: f32,
    pub y_scale: f32,
    pub y_black: f32,
    pub u_scale: f32,
    pub v_scale: f32,
}

/// Converter between YUV code values, normalised to [0, 1] by 2^depth - 1, and RGB in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct YuvRgb {
    k: Coefficients,
}

impl YuvRgb {
    /// The converter for YUV of `depth` bits (8 to 16).
    pub fn new(color: &Color, depth: u8) -> Self {
        let depth = depth.clamp(8, 16);
        let max = f64::from((1u32 << depth) - 1);
        let up = f64::from(1u32 << (depth - 8));
        let (kr, kb) = color.matrix.kr_kb();
        let kg = 1.0 - kr - kb;
        // Code values per unit of Y' in [0, 1] and of Pb, Pr in [-0.5, 0.5].
        let (black, luma, chroma) = match color.range {
            Range::Full => (0.0, max, max),
            Range::Limited => (16.0 * up, 219.0 * up, 224.0 * up),
        };
        let (y_scale, c_scale) = (luma / max, chroma / max);
        let (cr, cb) = (2.0 * (1.0 - kr) / c_scale, 2.0 * (1.0 - kb) / c_scale);
        Self {
            k: Coefficients {
                y_gain: (1.0 / y_scale) as f32,
                y_bias: (-black / luma) as f32,
                neutral: (128.0 * up / max) as f32,
                r_v: cr as f32,
                g_u: (-cb * kb / kg) as f32,
                g_v: (-cr * kr / kg) as f32,
                b_u: cb as f32,
                kr: kr as f32,
                kg: kg as f32,
                kb: kb as f32,
                y_scale: y_scale as f32,
                y_black: (black / max) as f32,
                u_scale: (1.0 / cb) as f32,
                v_scale: (1.0 / cr) as f32,
            },
        }
    }

    /// The coefficients.
    pub fn coefficients(&self) -> Coefficients {
        self.k
    }

    /// Turns rows of Y, U, V into R, G, B in place. The result is not clamped: colours
    /// that YUV can express and RGB cannot lie outside [0, 1].
    ///
    /// # Panics
    /// If the rows differ in length.
    pub fn to_rgb(&self, y: &mut [f32], u: &mut [f32], v: &mut [f32]) {
        assert!(
            y.len() == u.len() && y.len() == v.len(),
            "rows differ in length"
        );
        (kernels::current().to_rgb)(&self.k, y, u, v);
    }

    /// Turns rows of R, G, B into Y, U, V in place, not clamped.
    ///
    /// # Panics
    /// If the rows differ in length.
    pub fn to_yuv(&self, r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
        assert!(
            r.len() == g.len() && r.len() == b.len(),
            "rows differ in length"
        );
        (kernels::current().to_yuv)(&self.k, r, g, b);
    }

    /// The normalised luma code of each pixel of rows of R, G, B.
    ///
    /// # Panics
    /// If the rows differ in length.
    pub fn luma(&self, r: &[f32], g: &[f32], b: &[f32], y: &mut [f32]) {
        let n = y.len();
        assert!(
            r.len() == n && g.len() == n && b.len() == n,
            "rows differ in length"
        );
        (kernels::current().luma)(&self.k, r, g, b, y);
    }

    /// How much R, G and B change with the normalised luma code: 1 for full range,
    /// 255/219 for 8-bit limited range, (1023/4)/219 for 10-bit.
    pub fn luma_gain(&self) -> f32 {
        self.k.y_gain
    }
}

#[cfg(test)]
#[path = "color_tests.rs"]
mod tests;
