//! Video encoders and their settings.

use crate::failure::{Failure, make};
use crate::parts::set_properties;
use crate::plan::Container;
use gst::prelude::*;

/// An encoder by the name of what it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Codec {
    /// H.264 by x264.
    X264,
    /// H.265 by x265.
    X265,
    /// AV1 by libaom.
    Av1,
    /// VP9 by libvpx.
    Vp9,
    /// FFV1, without loss.
    #[value(skip)]
    Ffv1,
    /// Our own codec.
    #[value(skip)]
    Neural,
}

/// The number of bits per second in `2500k`, `2.5M` or `2500000`, of any size and sign.
pub(crate) fn read_rate(text: &str) -> Option<f64> {
    let (number, factor) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 1e3),
        (at, 'm' | 'M') => (&text[..at], 1e6),
        _ => (text, 1.0),
    };
    let rate = number.parse::<f64>().ok()? * factor;
    rate.is_finite().then_some(rate)
}

/// What the user set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which encoder.
    pub codec: Codec,
    /// Constant quality, on the encoder's own scale (0-51 x264/x265, 0-63 av1/vp9).
    pub crf: Option<u32>,
    /// Average bits per second; instead of `crf`.
    pub bitrate_bps: Option<u64>,
    /// The encoder's preset, `ultrafast` ... `placebo`, or for av1/vp9 also the number of `cpu-used`.
    pub preset: Option<String>,
    /// Threads, 0 = as many as there are cores.
    pub threads: u32,
    /// Properties of the element as text; [`Codec::Neural`] alone has some.
    pub properties: Vec<(String, String)>,
}

const PRESETS: [&str; 10] = [
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
];

impl Codec {
    /// What is used where the user names none.
    pub fn default_for(container: Container) -> Self {
        match container {
            Container::Webm => Self::Vp9,
            _ => Self::X264,
        }
    }

    /// The GStreamer element.
    pub fn factory(self) -> &'static str {
        match self {
            Self::X264 => "x264enc",
            Self::X265 => "x265enc",
            Self::Av1 => "av1enc",
            Self::Vp9 => "vp9enc",
            Self::Ffv1 => "avenc_ffv1",
            Self::Neural => "neuralenc",
        }
    }

    /// The parser that goes between encoder and muxer, where one is needed.
    pub fn parser(self) -> Option<&'static str> {
        Some(match self {
            Self::X264 => "h264parse",
            Self::X265 => "h265parse",
            Self::Av1 => "av1parse",
            Self::Vp9 => "vp9parse",
            Self::Ffv1 | Self::Neural => return None,
        })
    }

    /// Name of the caps it makes.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::X264 => "video/x-h264",
            Self::X265 => "video/x-h265",
            Self::Av1 => "video/x-av1",
            Self::Vp9 => "video/x-vp9",
            Self::Ffv1 => "video/x-ffv",
            Self::Neural => "video/x-neural",
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::X264 => "x264",
            Self::X265 => "x265",
            Self::Av1 => "av1",
            Self::Vp9 => "vp9",
            Self::Ffv1 => "ffv1",
            Self::Neural => "neural",
        }
    }

    /// The quality used where the user names neither quality nor bit rate.
    pub fn default_crf(self) -> u32 {
        match self {
            Self::X264 => 18,
            Self::X265 => 20,
            Self::Av1 => 26,
            Self::Vp9 => 24,
            Self::Ffv1 | Self::Neural => 0,
        }
    }

    /// The greatest value of `crf`.
    pub fn max_crf(self) -> u32 {
        match self {
            Self::X264 | Self::X265 => 51,
            Self::Av1 | Self::Vp9 => 63,
            Self::Ffv1 | Self::Neural => 0,
        }
    }
}

impl Settings {
    /// Refuses values that the encoder does not know.
    pub fn validate(&self) -> Result<(), Failure> {
        let name = self.codec.name();
        if matches!(self.codec, Codec::Ffv1 | Codec::Neural)
            && (self.crf.is_some() || self.bitrate_bps.is_some() || self.preset.is_some())
        {
            return Err(Failure::usage(format!(
                "--crf, --bitrate and --preset mean nothing to {name}"
            )));
        }
        if let Some(crf) = self.crf
            && crf > self.codec.max_crf()
        {
            return Err(Failure::usage(format!(
                "--crf {crf}: {name} takes 0 to {}",
                self.codec.max_crf()
            )));
        }
        if let Some(bps) = self.bitrate_bps
            && !(10_000..=2_000_000_000).contains(&bps)
        {
            return Err(Failure::usage(format!(
                "--bitrate {bps}: outside 10 kbit/s to 2 Gbit/s"
            )));
        }
        if let Some(preset) = &self.preset {
            self.preset_index(preset)?;
        }
        Ok(())
    }

    fn preset_index(&self, preset: &str) -> Result<usize, Failure> {
        let by_number = matches!(self.codec, Codec::Av1 | Codec::Vp9);
        if by_number
            && let Ok(n) = preset.parse::<usize>()
            && n <= 9
        {
            return Ok(9 - n);
        }
        PRESETS.iter().position(|p| *p == preset).ok_or_else(|| {
            Failure::usage(format!(
                "--preset {preset}: {} takes {}{}",
                self.codec.name(),
                PRESETS.join(", "),
                if by_number {
                    ", or 0 (best) to 9 (fastest)"
                } else {
                    ""
                }
            ))
        })
    }

    /// Makes the encoder.
    pub fn make(&self) -> Result<gst::Element, Failure> {
        let encoder = make(self.codec.factory())?;
        set_properties(
            &encoder,
            self.properties
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str())),
        )?;
        let index = self.preset_index(self.preset.as_deref().unwrap_or("medium"))?;
        let crf = self.crf.unwrap_or_else(|| self.codec.default_crf());
        let kbps = self
            .bitrate_bps
            .map(|b| u32::try_from((b / 1000).max(1)).unwrap_or(u32::MAX));
        match self.codec {
            Codec::X264 => {
                encoder.set_property_from_str("speed-preset", PRESETS[index]);
                match kbps {
                    Some(kbps) => {
                        encoder.set_property_from_str("pass", "cbr");
                        encoder.set_property("bitrate", kbps.min(2_048_000));
                    }
                    None => {
                        encoder.set_property_from_str("pass", "qual");
                        encoder.set_property("quantizer", crf);
                    }
                }
                encoder.set_property("threads", self.threads);
            }
            Codec::X265 => {
                encoder.set_property_from_str("speed-preset", PRESETS[index]);
                let mut options = match kbps {
                    Some(kbps) => {
                        encoder.set_property("bitrate", kbps.clamp(1, 102_400));
                        Vec::new()
                    }
                    None => vec![format!("crf={crf}")],
                };
                if self.threads > 0 {
                    options.push(format!("pools={}", self.threads));
                }
                encoder.set_property("option-string", options.join(":"));
            }
            Codec::Vp9 => {
                encoder.set_property("deadline", 1_000_000i64);
                encoder.set_property("cpu-used", [8, 7, 6, 5, 4, 3, 2, 1, 0, 0][index]);
                encoder.set_property("row-mt", true);
                // With look-ahead, vp9enc of GStreamer 1.22 loses frames at high bit rates.
                encoder.set_property("lag-in-frames", 0i32);
                encoder.set_property("threads", threads(self.threads).min(64) as i32);
                encoder.set_property("timebase", gst::Fraction::new(1, 90_000));
                match self.bitrate_bps {
                    Some(bps) => encoder
                        .set_property("target-bitrate", i32::try_from(bps).unwrap_or(i32::MAX)),
                    None => {
                        // libvpx's constant quality is not to be had through vp9enc, and its
                        // constrained quality goes far below the level where the rate allows it.
                        encoder.set_property_from_str("end-usage", "cq");
                        encoder.set_property("cq-level", crf as i32);
                        encoder.set_property("min-quantizer", crf.saturating_sub(8) as i32);
                        encoder.set_property("max-quantizer", (crf + 8).min(63) as i32);
                        encoder.set_property("target-bitrate", 1_000_000_000i32);
                    }
                }
            }
            Codec::Av1 => {
                encoder.set_property("cpu-used", [9, 8, 7, 6, 5, 4, 3, 2, 1, 0][index]);
                encoder.set_property("threads", self.threads);
                match kbps {
                    Some(kbps) => encoder.set_property("target-bitrate", kbps),
                    None => {
                        encoder.set_property_from_str("end-usage", "q");
                        encoder.set_property("min-quantizer", crf.saturating_sub(8));
                        encoder.set_property("max-quantizer", (crf + 8).min(63));
                    }
                }
                if self.bitrate_bps.is_some() {
                    encoder.set_property("max-quantizer", 63u32);
                }
                encoder.set_property("keyframe-max-dist", 250i32);
            }
            Codec::Ffv1 | Codec::Neural => {}
        }
        Ok(encoder)
    }
}

fn threads(asked: u32) -> u32 {
    if asked > 0 {
        return asked;
    }
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}
