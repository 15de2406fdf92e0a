//! Where the elements meet the codec: settings become a configuration of `gstneural-codec` here and
//! nowhere else. A profile that the codec learns is let in here.

use gst::glib;
use gstneural_codec::{CodecError, Config, Decoder, Encoder, Format, bitstream::Colour};

/// The name of the caps.
pub(crate) const MEDIA_TYPE: &str = "video/x-neural";

/// Which profile to code with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstNeuralEncProfile")]
pub enum ProfileChoice {
    /// What fits the other settings.
    #[default]
    #[enum_value(name = "What fits the other settings", nick = "auto")]
    Auto = 0,
    /// Every frame by itself.
    #[enum_value(name = "Lossy, every frame by itself", nick = "intra")]
    Intra = 1,
    /// Frames predicted from others.
    #[enum_value(name = "Lossy, frames predicted from others", nick = "inter")]
    Inter = 2,
    /// No loss, or a stated greatest error.
    #[enum_value(
        name = "Without loss, or within the error that near allows",
        nick = "lossless"
    )]
    Lossless = 3,
}

/// Where networks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstNeuralCodecDevice")]
pub enum Device {
    /// The best there is.
    #[default]
    #[enum_value(name = "The best there is", nick = "auto")]
    Auto = 0,
    /// The processor.
    #[enum_value(name = "The processor", nick = "cpu")]
    Cpu = 1,
}

/// What the properties of the encoder say about coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub profile: ProfileChoice,
    /// 0 (coarse) to 31 (fine); negative: not set.
    pub quality: i32,
    /// Bits a second; 0: not set.
    pub bitrate_bps: u32,
    /// Greatest error of a sample in `lossless`.
    pub near: u32,
    pub keyframe_interval: u32,
    /// Size of the networks.
    pub tier: u32,
    /// 0: one for each core.
    pub threads: u32,
    pub device: Device,
    pub picture_crc: bool,
}

/// What the frames of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    pub format: Format,
    pub colour: Colour,
    pub fps: (u32, u32),
}

impl Wishes {
    /// Checks what can be checked before the first frame.
    ///
    /// # Errors
    /// A sentence that names the property.
    pub fn check(&self) -> Result<(), String> {
        // The codec has no lossy profile yet.
        let lossy = match self.profile {
            ProfileChoice::Intra => Some("profile=intra"),
            ProfileChoice::Inter => Some("profile=inter"),
            _ if self.quality >= 0 => Some("quality"),
            _ if self.bitrate_bps > 0 => Some("bitrate"),
            _ => None,
        };
        if let Some(what) = lossy {
            return Err(format!(
                "{what} asks for lossy coding, which this version of the codec does not have: take profile=lossless, and near for a smaller stream"
            ));
        }
        if self.tier > 0 {
            return Err(format!(
                "tier={} asks for networks, which profile=lossless does not have: leave it at 0",
                self.tier
            ));
        }
        Ok(())
    }

    /// Frames that the encoder holds back: what it adds to the latency.
    pub fn delay_frames(&self) -> u32 {
        0
    }

    /// An encoder.
    ///
    /// # Errors
    /// Those of [`Encoder::new`].
    pub fn encoder(&self, source: &Source) -> Result<Encoder, CodecError> {
        let Source {
            format,
            colour,
            fps,
        } = *source;
        Encoder::new(Config {
            colour,
            fps,
            keyframe_interval: self.keyframe_interval,
            near: u8::try_from(self.near).unwrap_or(u8::MAX),
            threads: threads(self.threads),
            picture_crc: self.picture_crc,
            ..Config::new(format)
        })
    }
}

/// A decoder of the stream with this `codec_data`, on `wanted` threads (0: one for each core).
///
/// # Errors
/// Those of [`Decoder::new`]: another version, profile or model is named.
pub(crate) fn decoder(
    codec_data: &[u8],
    wanted: u32,
    _device: Device,
) -> Result<Decoder, CodecError> {
    Ok(Decoder::new(codec_data)?.threads(threads(wanted)))
}

fn threads(wanted: u32) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISHES: Wishes = Wishes {
        profile: ProfileChoice::Auto,
        quality: -1,
        bitrate_bps: 0,
        near: 0,
        keyframe_interval: 64,
        tier: 0,
        threads: 0,
        device: Device::Auto,
        picture_crc: false,
    };

    #[test]
    fn what_the_codec_cannot_do_is_refused_by_name() {
        assert_eq!(WISHES.check(), Ok(()));
        let refused = |wishes: Wishes| wishes.check().unwrap_err();
        let intra = refused(Wishes {
            profile: ProfileChoice::Intra,
            ..WISHES
        });
        assert!(intra.starts_with("profile=intra"), "{intra}");
        let bitrate = refused(Wishes {
            bitrate_bps: 1,
            ..WISHES
        });
        assert!(bitrate.starts_with("bitrate"), "{bitrate}");
        let tier = refused(Wishes { tier: 1, ..WISHES });
        assert!(tier.starts_with("tier=1"), "{tier}");
    }
}
