//! What a model says of itself: `.modelinfo`, ONNX `metadata_props`, shapes.
//!
//! A `MODEL.modelinfo` beside `MODEL.onnx` is an ini file in the form of GStreamer 1.28's
//! `GstAnalyticsModelInfo` (a section for each tensor) with a section `[nnupscale]` of ours. The
//! same keys may be in the ONNX file itself as metadata properties named `nnupscale.KEY`. What
//! neither says is taken from the shapes and from trial runs; what stays unclear is an error that
//! names the key.
//!
//! | key | values | meaning |
//! |---|---|---|
//! | `scale` | 1..16 | output size / input size |
//! | `channels` | 1, 3 | 1: luma, 3: RGB |
//! | `layout` | nchw, nhwc | order of the axes |
//! | `range` | `0,1`, `0,255` | code values of black and white in full range |
//! | `order` | rgb, bgr | order of three channels |
//! | `multiple` | 1.. | input width and height must be multiples of this |
//! | `window` | odd | frames that the network sees at once, the middle one is upscaled |
//! | `overlap` | pixels | input pixels around a tile that its output depends on |
//! | `blend` | crop, feather | how tiles meet; `feather` for networks with attention |
//! | `name`, `description`, `license`, `tier`, `variant` | text | for people |

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::onnx::ModelProto;
use ini::{Ini, ParseOption};

use crate::{
    error::{Error, Result},
    tensor::Layout,
};

/// The keys that `[nnupscale]` may have.
pub const KEYS: &[&str] = &[
    "scale",
    "channels",
    "layout",
    "range",
    "order",
    "multiple",
    "window",
    "overlap",
    "blend",
    "name",
    "description",
    "license",
    "tier",
    "variant",
];

/// The largest factor accepted.
pub const MAX_SCALE: usize = 16;

/// What the channels of a network are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// One: luma.
    Luma,
    /// Three: red, green, blue.
    Rgb,
}

impl Channels {
    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Self::Luma => 1,
            Self::Rgb => 3,
        }
    }
}

/// How neighbouring tiles meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blend {
    /// At a cut inside the overlap: exact for convolutional networks.
    Crop,
    /// By a linear ramp over the overlap, for networks that see the whole tile.
    Feather,
}

/// The declared part of a model's metadata; `None` is what was not declared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declared {
    /// Output size / input size.
    pub scale: Option<usize>,
    /// Luma or RGB.
    pub channels: Option<Channels>,
    /// Order of the axes.
    pub layout: Option<Layout>,
    /// The value of white: 1 or 255.
    pub white: Option<f32>,
    /// True for blue, green, red.
    pub bgr: Option<bool>,
    /// Input sizes are multiples of this.
    pub multiple: Option<usize>,
    /// Frames seen at once.
    pub window: Option<usize>,
    /// Overlap of tiles, input pixels.
    pub overlap: Option<usize>,
    /// How tiles meet.
    pub blend: Option<Blend>,
    /// Name, description, license, tier, variant.
    pub text: BTreeMap<String, String>,
    /// Keys in `[nnupscale]` that are not known: misspelt, or of a newer version.
    pub unknown: Vec<String>,
}

/// The `.modelinfo` that belongs to a model file.
pub fn sidecar(model: &Path) -> PathBuf {
    model.with_extension("modelinfo")
}

/// Collects what the sidecar and the ONNX metadata declare; the sidecar wins.
///
/// # Errors
/// [`Error::Metadata`] for a sidecar that is no ini file or a value that cannot be.
pub(crate) fn declared(model_path: &Path, model: &ModelProto) -> Result<Declared> {
    let mut keys: BTreeMap<String, String> = model
        .metadata_props
        .iter()
        .filter_map(|p| {
            Some((
                p.key.strip_prefix("nnupscale.")?.to_owned(),
                p.value.clone(),
            ))
        })
        .collect();
    let path = sidecar(model_path);
    let mut shown = model_path.to_path_buf();
    if path.is_file() {
        let option = ParseOption {
            enabled_escape: false,
            ..Default::default()
        };
        let ini = Ini::load_from_file_opt(&path, option).map_err(|e| Error::Metadata {
            path: path.clone(),
            reason: format!("not a modelinfo file: {e}"),
        })?;
        if let Some(range) = input_range(&ini) {
            keys.entry("range".into()).or_insert(range);
        }
        if let Some(section) = ini.section(Some("nnupscale")) {
            keys.extend(
                section
                    .iter()
                    .map(|(k, v)| (k.to_owned(), v.trim().to_owned())),
            );
        }
        shown = path;
    }
    parse(&keys).map_err(|reason| Error::Metadata {
        path: shown,
        reason,
    })
}

/// `ranges` of the input tensor's section, in GStreamer's form `min,max[;min,max]`.
fn input_range(ini: &Ini) -> Option<String> {
    ini.iter()
        .filter(|(name, _)| !matches!(name, None | Some("nnupscale" | "modelinfo")))
        .find(|(_, p)| p.get("dir").is_some_and(|d| d.trim() == "input"))
        .and_then(|(_, p)| p.get("ranges"))
        .and_then(|r| r.split(';').next().map(|r| r.trim().to_owned()))
        .filter(|r| white(r).is_some())
}

/// The value of white of a `range` of `0,1` or `0,255`.
fn white(range: &str) -> Option<f32> {
    let (low, high) = range.split_once(',')?;
    let (low, high) = (
        low.trim().parse::<f32>().ok()?,
        high.trim().parse::<f32>().ok()?,
    );
    (low == 0.0 && (high == 1.0 || high == 255.0)).then_some(high)
}

fn parse(keys: &BTreeMap<String, String>) -> Result<Declared, String> {
    let mut d = Declared::default();
    for (key, value) in keys {
        let bad = |allowed: &str| format!("{key}={value}: must be {allowed}");
        let number = |min: usize, max: usize| {
            value
                .parse::<usize>()
                .ok()
                .filter(|n| (min..=max).contains(n))
                .ok_or_else(|| bad(&format!("a whole number from {min} to {max}")))
        };
        match key.as_str() {
            "scale" => d.scale = Some(number(1, MAX_SCALE)?),
            "channels" => {
                d.channels = Some(match value.as_str() {
                    "1" => Channels::Luma,
                    "3" => Channels::Rgb,
                    _ => return Err(bad("1 (luma) or 3 (RGB)")),
                });
            }
            "layout" => {
                d.layout = Some(match value.to_ascii_lowercase().as_str() {
                    "nchw" => Layout::Nchw,
                    "nhwc" => Layout::Nhwc,
                    _ => return Err(bad("nchw or nhwc")),
                });
            }
            "range" => d.white = Some(white(value).ok_or_else(|| bad("0,1 or 0,255"))?),
            "order" => {
                d.bgr = Some(match value.to_ascii_lowercase().as_str() {
                    "rgb" => false,
                    "bgr" => true,
                    _ => return Err(bad("rgb or bgr")),
                });
            }
            "multiple" => d.multiple = Some(number(1, 1024)?),
            "window" => {
                d.window = Some(
                    number(1, 31)
                        .ok()
                        .filter(|n| n % 2 == 1)
                        .ok_or_else(|| bad("an odd number from 1 to 31"))?,
                );
            }
            "overlap" => d.overlap = Some(number(0, 1024)?),
            "blend" => {
                d.blend = Some(match value.as_str() {
                    "crop" => Blend::Crop,
                    "feather" => Blend::Feather,
                    _ => return Err(bad("crop or feather")),
                });
            }
            k if KEYS.contains(&k) => {
                d.text.insert(key.clone(), value.clone());
            }
            _ => d.unknown.push(key.clone()),
        }
    }
    Ok(d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<Declared> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("m.modelinfo"), text).unwrap();
        declared(&dir.path().join("m.onnx"), &ModelProto::default())
    }

    #[test]
    fn a_modelinfo_is_read() {
        let d = parse_text(
            "[modelinfo]\nversion=1.0\n\n[input]\ndir=input\nranges=0.0,255.0\n\n[nnupscale]\n\
             scale=2\nchannels=1\nmultiple=2\nwindow=3\nname=a = b\nblend=feather\nscael=3\n",
        )
        .unwrap();
        assert_eq!(d.scale, Some(2));
        assert_eq!(d.channels, Some(Channels::Luma));
        assert_eq!(d.white, Some(255.0));
        assert_eq!(
            (d.multiple, d.window, d.blend),
            (Some(2), Some(3), Some(Blend::Feather))
        );
        assert_eq!(d.text["name"], "a = b");
        assert_eq!(d.unknown, ["scael"]);
    }

    #[test]
    fn a_bad_value_names_its_key() {
        for (text, key) in [
            ("scale=0", "scale"),
            ("scale=99", "scale"),
            ("channels=4", "channels"),
            ("window=2", "window"),
            ("range=-1,1", "range"),
            ("layout=chw", "layout"),
        ] {
            let e = parse_text(&format!("[nnupscale]\n{text}\n"))
                .unwrap_err()
                .to_string();
            assert!(e.contains(key) && e.contains("m.modelinfo"), "{e}");
        }
    }

    #[test]
    fn nothing_declared_is_no_error() {
        let model = ModelProto::default();
        assert_eq!(
            declared(Path::new("/nowhere/m.onnx"), &model).unwrap(),
            Declared::default()
        );
    }
}
