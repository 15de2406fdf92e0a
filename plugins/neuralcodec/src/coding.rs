//! Where the elements meet the codec: settings become a configuration of `gstneural-codec` here and
//! nowhere else. A profile that the codec learns is let in here.

use std::{path::Path, sync::Arc};

use gst::glib;
use gstneural_codec::{
    CodecError, Config, Decoder, Encoder, Format, Layer, Layers, Lossy, Rate,
    bitstream::{Colour, Profile},
    nets::{Kind, Model},
};

use crate::{
    device::{self, CudaSynthesiser, Place, Shape},
    models,
};

/// The quality of the lossy profiles where nothing is set.
const DEFAULT_QUALITY: u8 = 20;

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
    /// As `Inter`, with code vectors in place of the hyperprior.
    #[enum_value(
        name = "Lossy, as inter, in code vectors: larger files that decode faster",
        nick = "vq"
    )]
    Vq = 4,
}

/// What stands on the lossy pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstNeuralEncLayer")]
pub enum LayerChoice {
    /// Nothing.
    #[default]
    #[enum_value(name = "Nothing", nick = "none")]
    None = 0,
    /// What they lack.
    #[enum_value(
        name = "What they lack to be without loss, or within the error that near allows",
        nick = "lossless"
    )]
    Lossless = 1,
}

/// How much of a stream to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstNeuralDecLayers")]
pub enum LayersChoice {
    /// Everything.
    #[default]
    #[enum_value(name = "Everything", nick = "all")]
    All = 0,
    /// The lossy pictures.
    #[enum_value(name = "The lossy pictures, without the layer on them", nick = "base")]
    Base = 1,
}

/// Where networks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstNeuralCodecDevice")]
pub enum Device {
    /// A GPU if there is one that computes the same as the processor.
    #[default]
    #[enum_value(name = "A GPU if there is one, else the processor", nick = "auto")]
    Auto = 0,
    /// The processor.
    #[enum_value(name = "The processor", nick = "cpu")]
    Cpu = 1,
    /// An NVIDIA GPU.
    #[enum_value(name = "An NVIDIA GPU", nick = "cuda")]
    Cuda = 2,
}

/// What the properties of the encoder say about coding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub profile: ProfileChoice,
    /// 0 (coarse) to 31 (fine); negative: not set.
    pub quality: i32,
    /// Bits a second; 0: not set.
    pub bitrate_bps: u32,
    /// How long the decoder's buffer takes to fill.
    pub buffer_ms: u32,
    /// Greatest error of a sample in `lossless`, and with a layer.
    pub near: u32,
    /// What stands on lossy pictures.
    pub layer: LayerChoice,
    pub keyframe_interval: u32,
    /// Whether a scene change begins with a keyframe.
    pub scene_cuts: bool,
    /// 2: every second frame can be dropped.
    pub layers: u32,
    /// Size of the networks; 0: the smallest.
    pub tier: u32,
    /// A file with networks; empty: those that are built in.
    pub model: String,
    /// 0: one for each core.
    pub threads: u32,
    pub place: Place,
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
    /// The profile, with `auto` decided: lossy if anything is set that only lossy profiles have.
    pub fn profile(&self) -> Profile {
        let lossy = self.quality >= 0
            || self.bitrate_bps > 0
            || self.tier > 0
            || self.layer != LayerChoice::None
            || !self.model.is_empty();
        match self.profile {
            ProfileChoice::Lossless => Profile::Lossless,
            ProfileChoice::Intra => Profile::Intra,
            ProfileChoice::Inter => Profile::Inter,
            ProfileChoice::Vq => Profile::Vq,
            ProfileChoice::Auto if lossy => Profile::Inter,
            ProfileChoice::Auto => Profile::Lossless,
        }
    }

    /// Whether frames must be 8-bit 4:2:0.
    pub fn takes_i420_only(&self) -> bool {
        self.profile() != Profile::Lossless
    }

    /// Checks what can be checked before the first frame.
    ///
    /// # Errors
    /// A sentence that names the property.
    pub fn check(&self) -> Result<(), String> {
        device::check(self.place.device)?;
        let (profile, name) = (self.profile(), self.profile().name());
        if profile == Profile::Lossless {
            let lossy = [
                (self.quality >= 0, "quality"),
                (self.bitrate_bps > 0, "bitrate"),
                (self.tier > 0, "tier"),
                (!self.model.is_empty(), "model"),
                (self.layers > 1, "temporal-layers"),
                (self.layer != LayerChoice::None, "layer"),
            ];
            return match lossy.iter().find(|(set, _)| *set) {
                Some((_, what)) => Err(format!(
                    "{what} is for the lossy profiles, and profile={name} is asked for: take profile=inter, or leave {what} alone"
                )),
                None => Ok(()),
            };
        }
        if self.near > 0 && self.layer == LayerChoice::None {
            return Err(format!(
                "near={} is for profile=lossless or layer=lossless, and the profile is {name} without a layer: leave one of them alone",
                self.near
            ));
        }
        if self.quality >= 0 && self.bitrate_bps > 0 {
            return Err("quality and bitrate are both set: one of them decides".into());
        }
        let model = self.model()?;
        if profile == Profile::Vq {
            for kind in Kind::ALL {
                model.codebooks(kind).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }

    fn model(&self) -> Result<Arc<Model>, String> {
        if self.model.is_empty() {
            return models::of_tier(self.tier);
        }
        models::load(Path::new(&self.model))
    }

    /// What decides on the quality of frames.
    pub fn rate(&self) -> Rate {
        match u8::try_from(self.quality) {
            _ if self.bitrate_bps > 0 => Rate::Average {
                bits_per_second: self.bitrate_bps,
                buffer_ms: self.buffer_ms,
            },
            Ok(quality) => Rate::Quality(quality),
            Err(_) => Rate::Quality(DEFAULT_QUALITY),
        }
    }

    /// Frames that the encoder holds back: what it adds to the latency.
    pub fn delay_frames(&self) -> u32 {
        0
    }

    /// An encoder, and the GPU that it uses, if any.
    ///
    /// # Errors
    /// A sentence; those of [`Encoder::new`].
    pub fn encoder(&self, source: &Source) -> Result<(Encoder, UsedGpu), String> {
        let Source {
            format,
            colour,
            fps,
        } = *source;
        let profile = self.profile();
        let lossy = match profile {
            Profile::Lossless => None,
            _ => Some(Lossy {
                rate: self.rate(),
                intra_only: profile == Profile::Intra,
                vq: profile == Profile::Vq,
                scene_cuts: self.scene_cuts,
                droppable: self.layers > 1,
                ..Lossy::new(self.model()?)
            }),
        };
        let model = lossy.as_ref().map(|l| l.model.clone());
        let near = u8::try_from(self.near).unwrap_or(u8::MAX);
        let encoder = Encoder::new(Config {
            colour,
            fps,
            keyframe_interval: self.keyframe_interval,
            near: if lossy.is_none() { near } else { 0 },
            layer: (self.layer == LayerChoice::Lossless).then_some(Layer { near, refers: true }),
            lossy,
            threads: threads(self.threads),
            picture_crc: self.picture_crc,
            ..Config::new(format)
        });
        let encoder = encoder.map_err(|e| e.to_string())?;
        let shape = Shape {
            width: format.width,
            height: format.height,
            intra_only: profile == Profile::Intra,
        };
        let gpu = gpu(&self.place, model.as_ref(), shape).map_err(|e| e.to_string())?;
        Ok(match &gpu {
            Some(used) => (encoder.synthesiser(used.clone()), gpu),
            None => (encoder, None),
        })
    }
}

/// The GPU that a stream's networks run on; none is the processor.
pub(crate) type UsedGpu = Option<Arc<CudaSynthesiser>>;

/// The GPU for a model. Streams without networks have no use for one.
fn gpu(place: &Place, model: Option<&Arc<Model>>, shape: Shape) -> Result<UsedGpu, CodecError> {
    let Some(model) = model else {
        return Ok(None);
    };
    let open = || CudaSynthesiser::open(model, place, shape);
    let found = device::choose(place.device, open)?;
    Ok(found.map(Arc::new))
}

/// The name of the device that a stream's networks run on.
pub(crate) fn active(gpu: &UsedGpu) -> &'static str {
    match gpu {
        Some(gpu) if gpu.failed().is_none() => "cuda",
        _ => "cpu",
    }
}

/// A decoder, and the GPU that it uses, if any, of the stream with this `codec_data`, on `wanted` threads (0: one for each core).
/// `model` is one that is at hand beside those that are built in. `good` is called once the stream is
/// known to be one that can be decoded, before a GPU is asked for.
///
/// # Errors
/// Those of [`Decoder::with_models`]: another version, profile or model is named.
/// [`CodecError::Device`] if a GPU must be used and cannot.
pub(crate) fn decoder(
    codec_data: &[u8],
    wanted: u32,
    model: Option<&Arc<Model>>,
    place: &Place,
    layers: LayersChoice,
    good: impl FnOnce(),
) -> Result<(Decoder, UsedGpu), CodecError> {
    let decoder = Decoder::with_models(codec_data, |hash| models::find(hash, model))?;
    good();
    let layers = match layers {
        LayersChoice::All => Layers::All,
        LayersChoice::Base => Layers::Base,
    };
    let decoder = decoder.threads(threads(wanted)).layers(layers);
    let header = decoder.header();
    let shape = Shape {
        width: header.width,
        height: header.height,
        intra_only: header.profile == Profile::Intra,
    };
    let gpu = gpu(place, decoder.model(), shape)?;
    Ok(match &gpu {
        Some(used) => (decoder.synthesiser(used.clone()), gpu),
        None => (decoder, None),
    })
}

fn threads(wanted: u32) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n as usize,
    }
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            profile: ProfileChoice::Auto,
            quality: -1,
            bitrate_bps: 0,
            buffer_ms: 1000,
            near: 0,
            layer: LayerChoice::None,
            keyframe_interval: 64,
            scene_cuts: true,
            layers: 1,
            tier: 0,
            model: String::new(),
            threads: 0,
            place: Place::default(),
            picture_crc: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use gstneural_codec::nets::Sizes;

    use super::*;

    #[test]
    fn what_contradicts_itself_is_refused_by_name() {
        let good = Wishes::default();
        assert_eq!(good.check(), Ok(()));
        let refused = |wishes: Wishes| wishes.check().unwrap_err();
        let lossless = Wishes {
            profile: ProfileChoice::Lossless,
            ..good.clone()
        };
        let bitrate = refused(Wishes {
            bitrate_bps: 1,
            ..lossless.clone()
        });
        assert!(bitrate.starts_with("bitrate"), "{bitrate}");
        let layer = refused(Wishes {
            layer: LayerChoice::Lossless,
            ..lossless.clone()
        });
        assert!(layer.starts_with("layer"), "{layer}");
        let tier = refused(Wishes {
            tier: 1,
            ..lossless
        });
        assert!(tier.starts_with("tier"), "{tier}");
        let near = refused(Wishes {
            near: 2,
            quality: 3,
            ..good.clone()
        });
        assert!(near.starts_with("near=2"), "{near}");
        let both = refused(Wishes {
            bitrate_bps: 1000,
            quality: 3,
            ..good.clone()
        });
        assert!(both.starts_with("quality and bitrate"), "{both}");
        let missing = refused(Wishes {
            model: "/nowhere/x.gnm".into(),
            ..good.clone()
        });
        assert!(missing.starts_with("model /nowhere/x.gnm"), "{missing}");
        let tier = refused(Wishes { tier: 3, ..good });
        assert!(tier.contains("tier 3"), "{tier}");
    }

    #[test]
    fn auto_is_what_fits() {
        let of = |quality, bitrate_bps| {
            Wishes {
                quality,
                bitrate_bps,
                ..Wishes::default()
            }
            .profile()
        };
        assert_eq!(of(-1, 0), Profile::Lossless);
        assert_eq!(of(0, 0), Profile::Inter);
        assert_eq!(of(-1, 1), Profile::Inter);
        let layered = Wishes {
            layer: LayerChoice::Lossless,
            near: 1,
            ..Wishes::default()
        };
        assert_eq!(layered.profile(), Profile::Inter);
        assert_eq!(layered.check(), Ok(()));
    }

    #[test]
    fn vq_needs_codebooks() {
        let sizes = Sizes {
            groups: &[4, 4],
            hidden: 4,
            features: 4,
            expanded: 4,
            blocks: 1,
            encoder_blocks: Some(1),
            inter: true,
        };
        let name = format!("without-codebooks-{}.gnm", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, Model::synthetic(1, sizes).unwrap().1).unwrap();
        let wishes = |profile| Wishes {
            profile,
            model: path.display().to_string(),
            ..Wishes::default()
        };
        let inter = wishes(ProfileChoice::Inter).check();
        let vq = wishes(ProfileChoice::Vq).check();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(inter, Ok(()));
        assert!(vq.unwrap_err().contains("no codebooks for intra pictures"));
        let shipped = Wishes {
            profile: ProfileChoice::Vq,
            ..Wishes::default()
        };
        assert_eq!(shipped.check(), Ok(()));
    }

    #[test]
    fn the_shipped_model_computes_the_same_here() {
        assert_eq!(models::of_tier(0).unwrap().tier(), 1);
    }
}
