//! The file in which a ladder keeps its points.

use crate::compare::{self, measure};
use crate::encoder::Codec;
use crate::failure::Failure;
use crate::output::PartFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// A point to be measured.
pub(super) struct Wanted<'a> {
    pub(super) codec: Codec,
    pub(super) crf: u32,
    /// The preset, or which networks.
    pub(super) variant: &'a str,
    pub(super) settings: &'a measure::Settings,
}
/// The file of points.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Which file the points belong to.
    pub(super) input: Identity,
    /// In the order in which they were measured.
    pub(super) points: Vec<KeptPoint>,
}

/// A file, told from others by its size and a hash (FNV-1a) of its first and last mebibyte.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) hash: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptPoint {
    pub(super) encoder: String,
    pub(super) crf: u32,
    /// The preset; of our own encoder, which networks it took.
    pub(super) preset: String,
    pub(super) metrics: String,
    pub(super) vmaf_model: String,
    pub(super) bytes: u64,
    pub(super) duration_s: f64,
    pub(super) rate_kbps: f64,
    pub(super) encode_s: f64,
    pub(super) frames: u64,
    pub(super) values: BTreeMap<String, f64>,
}

impl Identity {
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        let read = || -> std::io::Result<(u64, u64)> {
            let mut file = File::open(path)?;
            let bytes = file.metadata()?.len();
            let mut hash = 0xcbf2_9ce4_8422_2325u64;
            let mut block = Vec::new();
            for start in [0, bytes.saturating_sub(1 << 20)] {
                block.clear();
                file.seek(SeekFrom::Start(start))?;
                (&mut file).take(1 << 20).read_to_end(&mut block)?;
                for b in &block {
                    hash = (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
                }
            }
            Ok((bytes, hash))
        };
        let (bytes, hash) = read().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::new(format!("{}: no such file", path.display()))
            }
            _ => Failure::io("reading", path, &e),
        })?;
        Ok(Self {
            name: path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default(),
            bytes,
            hash: format!("{hash:016x}"),
        })
    }
}

impl Kept {
    /// Reads the file of points, or begins one.
    pub(super) fn load(path: &Path, input: Identity) -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self {
                    input,
                    points: Vec::new(),
                });
            }
            Err(e) => return Err(Failure::io("reading", path, &e)),
        };
        let kept: Self = serde_json::from_str(&text).map_err(|e| {
            Failure::new(format!("{}: no file of points: {e}", path.display()))
                .hint("name another with --points")
        })?;
        if (kept.input.bytes, &kept.input.hash) != (input.bytes, &input.hash) {
            return Err(Failure::new(format!(
                "{}: its points belong to another file ({})",
                path.display(),
                kept.input.name
            ))
            .hint("name another with --points, or delete it"));
        }
        Ok(kept)
    }

    pub(super) fn save(&self, path: &Path, input: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
        compare::publish(PartFile::create(path, input, true)?, &text)
    }

    pub(super) fn find(&self, wanted: &Wanted<'_>) -> Option<&KeptPoint> {
        self.points.iter().find(|p| {
            p.encoder == wanted.codec.name()
                && p.crf == wanted.crf
                && p.preset == wanted.variant
                && p.metrics == wanted.settings.metrics
                && p.vmaf_model == wanted.settings.vmaf_model
                // Of which network a kept distance is, is not noted.
                && wanted.settings.lpips_model.is_none()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_kept_and_belong_to_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let clip = dir.path().join("a.mp4");
        std::fs::write(&clip, b"0123").unwrap();
        let place = dir.path().join("p.json");
        let identity = Identity::of(&clip).unwrap();
        assert_eq!(identity.bytes, 4);
        let mut kept = Kept::load(&place, identity).unwrap();
        kept.points.push(KeptPoint {
            encoder: "x264".into(),
            crf: 22,
            preset: "medium".into(),
            metrics: "psnr".into(),
            vmaf_model: String::new(),
            bytes: 1,
            duration_s: 1.0,
            rate_kbps: 0.008,
            encode_s: 1.0,
            frames: 25,
            values: BTreeMap::from([("psnr-y".into(), 40.0)]),
        });
        kept.save(&place, &clip).unwrap();
        assert_eq!(
            Kept::load(&place, Identity::of(&clip).unwrap()).unwrap(),
            kept
        );
        std::fs::write(&clip, b"0124").unwrap();
        let failure = Kept::load(&place, Identity::of(&clip).unwrap()).unwrap_err();
        assert!(failure.what.contains("another file"), "{failure}");
        std::fs::write(&place, "{").unwrap();
        assert!(Kept::load(&place, Identity::of(&clip).unwrap()).is_err());
    }
}
