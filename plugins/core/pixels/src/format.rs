//! Pixel formats: where each component of a pixel lies in memory.

/// What the components of a format mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Luma and two chroma components, in the order Y, U, V.
    Yuv,
    /// Luma alone.
    Gray,
    /// Red, green, blue and perhaps alpha, in this order whatever the memory order.
    Rgb,
}

/// A raw video format. The names follow GStreamer's; see [`FormatInfo::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum PixelFormat {
    I420,
    Yv12,
    Nv12,
    Nv21,
    Y42b,
    Y444,
    I42010Le,
    I42210Le,
    Y44410Le,
    P01010Le,
    Gray8,
    Gray16Le,
    Rgb,
    Bgr,
    Rgba,
    Bgra,
    Argb,
    Abgr,
    Rgbx,
    Bgrx,
    Xrgb,
    Xbgr,
}

/// Where one component lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Component {
    /// Index of the plane.
    pub plane: usize,
    /// Samples from the start of a row to the first value.
    pub offset: usize,
    /// Samples from one value to the next.
    pub step: usize,
    /// log2 of the horizontal subsampling.
    pub sub_w: u8,
    /// log2 of the vertical subsampling.
    pub sub_h: u8,
    /// A value is stored shifted up by this many bits (6 for P010).
    pub shift: u8,
}

/// Everything about a format that does not depend on the size of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FormatInfo {
    /// GStreamer's name, such as `I420_10LE`.
    pub name: &'static str,
    /// What the components mean.
    pub family: Family,
    /// Significant bits of a value.
    pub depth: u8,
    /// Bytes of a sample, 1 or 2 (little endian).
    pub sample_bytes: usize,
    /// Number of planes.
    pub planes: usize,
    /// Y, U, V; or Y; or R, G, B and perhaps A: in this order whatever the memory order.
    pub components: &'static [Component],
    /// Index of the alpha component.
    pub alpha: Option<usize>,
    /// Plane and offset of an unused byte of each pixel, to be written as 255.
    pub padding: Option<(usize, usize)>,
}

const fn comp(plane: usize, offset: usize, step: usize, sub: (u8, u8), shift: u8) -> Component {
    Component {
        plane,
        offset,
        step,
        sub_w: sub.0,
        sub_h: sub.1,
        shift,
    }
}

const fn yuv(
    name: &'static str,
    depth: u8,
    planes: usize,
    components: &'static [Component],
) -> FormatInfo {
    let sample_bytes = if depth > 8 { 2 } else { 1 };
    FormatInfo {
        name,
        family: Family::Yuv,
        depth,
        sample_bytes,
        planes,
        components,
        alpha: None,
        padding: None,
    }
}

const fn gray(name: &'static str, depth: u8) -> FormatInfo {
    FormatInfo {
        family: Family::Gray,
        ..yuv(name, depth, 1, const { &[comp(0, 0, 1, (0, 0), 0)] })
    }
}

const fn rgb(
    name: &'static str,
    components: &'static [Component],
    padding: Option<usize>,
) -> FormatInfo {
    FormatInfo {
        family: Family::Rgb,
        alpha: if components.len() == 4 { Some(3) } else { None },
        padding: match padding {
            Some(offset) => Some((0, offset)),
            None => None,
        },
        ..yuv(name, 8, 1, components)
    }
}

const fn rgb_at<const N: usize>(step: usize, offsets: [usize; N]) -> [Component; N] {
    let mut out = [comp(0, 0, step, (0, 0), 0); N];
    let mut i = 0;
    while i < N {
        out[i].offset = offsets[i];
        i += 1;
    }
    out
}

const fn planar(sub: (u8, u8), u: usize, v: usize) -> [Component; 3] {
    [
        comp(0, 0, 1, (0, 0), 0),
        comp(u, 0, 1, sub, 0),
        comp(v, 0, 1, sub, 0),
    ]
}

const fn semi(u: usize, v: usize, shift: u8) -> [Component; 3] {
    [
        comp(0, 0, 1, (0, 0), shift),
        comp(1, u, 2, (1, 1), shift),
        comp(1, v, 2, (1, 1), shift),
    ]
}

static INFOS: [FormatInfo; PixelFormat::ALL.len()] = [
    yuv("I420", 8, 3, const { &planar((1, 1), 1, 2) }),
    yuv("YV12", 8, 3, const { &planar((1, 1), 2, 1) }),
    yuv("NV12", 8, 2, const { &semi(0, 1, 0) }),
    yuv("NV21", 8, 2, const { &semi(1, 0, 0) }),
    yuv("Y42B", 8, 3, const { &planar((1, 0), 1, 2) }),
    yuv("Y444", 8, 3, const { &planar((0, 0), 1, 2) }),
    yuv("I420_10LE", 10, 3, const { &planar((1, 1), 1, 2) }),
    yuv("I422_10LE", 10, 3, const { &planar((1, 0), 1, 2) }),
    yuv("Y444_10LE", 10, 3, const { &planar((0, 0), 1, 2) }),
    yuv("P010_10LE", 10, 2, const { &semi(0, 1, 6) }),
    gray("GRAY8", 8),
    gray("GRAY16_LE", 16),
    rgb("RGB", const { &rgb_at(3, [0, 1, 2]) }, None),
    rgb("BGR", const { &rgb_at(3, [2, 1, 0]) }, None),
    rgb("RGBA", const { &rgb_at(4, [0, 1, 2, 3]) }, None),
    rgb("BGRA", const { &rgb_at(4, [2, 1, 0, 3]) }, None),
    rgb("ARGB", const { &rgb_at(4, [1, 2, 3, 0]) }, None),
    rgb("ABGR", const { &rgb_at(4, [3, 2, 1, 0]) }, None),
    rgb("RGBx", const { &rgb_at(4, [0, 1, 2]) }, Some(3)),
    rgb("BGRx", const { &rgb_at(4, [2, 1, 0]) }, Some(3)),
    rgb("xRGB", const { &rgb_at(4, [1, 2, 3]) }, Some(0)),
    rgb("xBGR", const { &rgb_at(4, [3, 2, 1]) }, Some(0)),
];

/// `size` divided by `1 << log2`, rounded up: the size of a subsampled component.
pub const fn subsampled(size: usize, log2: u8) -> usize {
    (size >> log2) + ((size & ((1 << log2) - 1)) != 0) as usize
}

impl PixelFormat {
    /// Every format, in the order of the enum.
    pub const ALL: &[PixelFormat] = &[
        PixelFormat::I420,
        PixelFormat::Yv12,
        PixelFormat::Nv12,
        PixelFormat::Nv21,
        PixelFormat::Y42b,
        PixelFormat::Y444,
        PixelFormat::I42010Le,
        PixelFormat::I42210Le,
        PixelFormat::Y44410Le,
        PixelFormat::P01010Le,
        PixelFormat::Gray8,
        PixelFormat::Gray16Le,
        PixelFormat::Rgb,
        PixelFormat::Bgr,
        PixelFormat::Rgba,
        PixelFormat::Bgra,
        PixelFormat::Argb,
        PixelFormat::Abgr,
        PixelFormat::Rgbx,
        PixelFormat::Bgrx,
        PixelFormat::Xrgb,
        PixelFormat::Xbgr,
    ];

    /// The layout of the format.
    pub fn info(self) -> &'static FormatInfo {
        &INFOS[self as usize]
    }

    /// The format with GStreamer's name `name`.
    ///
    /// ```
    /// use gstneural_pixels::PixelFormat;
    /// assert_eq!(PixelFormat::from_name("P010_10LE"), Some(PixelFormat::P01010Le));
    /// assert_eq!(PixelFormat::from_name("AYUV"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|f| f.info().name == name)
    }

    /// Bytes of a row (without padding at its end) and rows of `plane` in a frame of
    /// `width` x `height` pixels; (0, 0) for a plane that the format does not have.
    pub fn plane_size(self, plane: usize, width: usize, height: usize) -> (usize, usize) {
        let info = self.info();
        info.components
            .iter()
            .find(|c| c.plane == plane)
            .map_or((0, 0), |c| {
                (
                    subsampled(width, c.sub_w) * c.step * info.sample_bytes,
                    subsampled(height, c.sub_h),
                )
            })
    }

    /// Pixels in the smallest unit that can be cut out of a frame without moving chroma:
    /// (2, 2) for 4:2:0, (2, 1) for 4:2:2, (1, 1) for everything else.
    pub fn grid(self) -> (usize, usize) {
        let comps = self.info().components;
        let w = comps.iter().map(|c| c.sub_w).max().unwrap_or(0);
        let h = comps.iter().map(|c| c.sub_h).max().unwrap_or(0);
        (1 << w, 1 << h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_follows_the_enum() {
        for (i, f) in PixelFormat::ALL.iter().enumerate() {
            assert_eq!(*f as usize, i);
            let info = f.info();
            assert_eq!(PixelFormat::from_name(info.name), Some(*f));
            let variant = format!("{f:?}").to_lowercase();
            assert_eq!(variant, info.name.replace('_', "").to_lowercase());
            let planes = info.components.iter().map(|c| c.plane).max().unwrap() + 1;
            assert_eq!(planes, info.planes);
            assert_eq!(
                info.alpha.is_some(),
                info.name.contains('A') && info.name.len() == 4 && info.family == Family::Rgb
            );
        }
    }

    #[test]
    fn rgb_names_spell_the_memory_order() {
        for f in PixelFormat::ALL
            .iter()
            .filter(|f| f.info().family == Family::Rgb)
        {
            let info = f.info();
            let mut name = vec!['?'; info.components[0].step];
            for (c, letter) in info.components.iter().zip("RGBA".chars()) {
                name[c.offset] = letter;
            }
            if let Some((_, offset)) = info.padding {
                name[offset] = 'x';
            }
            assert_eq!(name.into_iter().collect::<String>(), info.name);
        }
    }

    #[test]
    fn plane_sizes_of_odd_frames() {
        assert_eq!(PixelFormat::I420.plane_size(0, 3, 5), (3, 5));
        assert_eq!(PixelFormat::I420.plane_size(2, 3, 5), (2, 3));
        assert_eq!(PixelFormat::I420.plane_size(3, 3, 5), (0, 0));
        assert_eq!(PixelFormat::Nv12.plane_size(1, 3, 5), (4, 3));
        assert_eq!(PixelFormat::P01010Le.plane_size(1, 3, 5), (8, 3));
        assert_eq!(PixelFormat::Y42b.plane_size(1, 853, 481), (427, 481));
        assert_eq!(PixelFormat::Rgb.plane_size(0, 3, 5), (9, 5));
        assert_eq!(PixelFormat::Nv12.grid(), (2, 2));
        assert_eq!(PixelFormat::Y42b.grid(), (2, 1));
        assert_eq!(PixelFormat::Rgba.grid(), (1, 1));
    }
}
