//! Where models come from: those that are built in, a file that a property names, and folders.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use gstneural_codec::{
    bitstream::{ModelHash, hex},
    nets::Model,
};

/// Folders with models of other streams, as in `PATH`.
pub(crate) const FOLDERS: &str = "GST_NEURAL_CODEC_MODELS";
/// Files of a folder that are looked into: reading takes a few milliseconds each.
const MOST_FILES: usize = 64;
/// The largest file that is read.
const MOST_BYTES: u64 = 64 << 20;

/// The models that are built in, the smallest first; empty if this processor computes something
/// else than where they were made, and why.
fn shipped() -> &'static (Vec<Arc<Model>>, Option<String>) {
    const FILES: [&[u8]; 1] = [include_bytes!("../../../models/neural/small.gnm")];
    static MODELS: LazyLock<(Vec<Arc<Model>>, Option<String>)> = LazyLock::new(|| {
        let (mut models, mut why) = (Vec::new(), None);
        for bytes in FILES {
            match Model::parse(bytes) {
                Ok(model) => models.push(Arc::new(model)),
                Err(e) => why = Some(format!("a model that is built in: {e}")),
            }
        }
        (models, why)
    });
    &MODELS
}

/// The model of a tier (0: the smallest there is) for encoding.
///
/// # Errors
/// A sentence that says what there is instead.
pub(crate) fn of_tier(tier: u32) -> Result<Arc<Model>, String> {
    let (models, why) = shipped();
    let found = models
        .iter()
        .find(|m| tier == 0 || u32::from(m.tier()) == tier);
    found.cloned().ok_or_else(|| match why {
        Some(why) => why.clone(),
        None => format!(
            "no model of tier {tier} is built in: take tier=1, or a file of your own by the property model"
        ),
    })
}

/// The model of a file.
///
/// # Errors
/// A sentence with the path.
pub(crate) fn load(path: &Path) -> Result<Arc<Model>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("model {}: {e}", path.display());
    let size = std::fs::metadata(path).map_err(|e| failed(&e))?.len();
    if size > MOST_BYTES {
        return Err(failed(&"larger than 64 MiB, which no model is"));
    }
    let bytes = std::fs::read(path).map_err(|e| failed(&e))?;
    Ok(Arc::new(Model::parse(&bytes).map_err(|e| failed(&e))?))
}

/// The model that a stream names: the one of the property, one that is built in, or one of the
/// folders in `GST_NEURAL_CODEC_MODELS`.
pub(crate) fn find(hash: &ModelHash, own: Option<&Arc<Model>>) -> Option<Arc<Model>> {
    let known = own.into_iter().chain(&shipped().0);
    if let Some(found) = known.into_iter().find(|m| m.hash() == hash) {
        return Some(found.clone());
    }
    let folders = std::env::var_os(FOLDERS)?;
    let files = std::env::split_paths(&folders).flat_map(|folder| {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "gnm"))
            .take(MOST_FILES)
            .collect();
        // Those that are named after their hash are tried first.
        let name = hex(hash);
        let named = |path: &PathBuf| {
            let stem = path.file_stem().and_then(|s| s.to_str());
            !stem.is_some_and(|s| s.len() >= 8 && name.starts_with(s))
        };
        files.sort_by_key(named);
        files
    });
    files
        .filter_map(|path| load(&path).ok())
        .find(|model| model.hash() == hash)
}
