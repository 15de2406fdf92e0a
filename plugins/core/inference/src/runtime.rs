//! Finding and loading ONNX Runtime, once for the process.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
};

use ort::environment::Environment;

use crate::error::{Error, Result};

/// How many parent folders of the plugin are looked into for a development tree's `.deps`.
const PARENTS: usize = 4;

static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// The folders that belong to an installed plugin: its own, and those above it.
///
/// `anchor` is the plugin's file (or the program's where the plugin is linked in).
pub fn roots(anchor: &Path) -> Vec<PathBuf> {
    anchor
        .ancestors()
        .skip(1)
        .take(PARENTS + 1)
        .map(Path::to_path_buf)
        .collect()
}

/// The library files that would be tried, in order.
///
/// `ORT_DYLIB_PATH` alone if it is set; else beside the plugin, `.deps/onnxruntime/lib` of a
/// development tree, and at last the system's own search by name.
pub fn candidates(roots: &[PathBuf]) -> Vec<PathBuf> {
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|p| !p.is_empty()) {
        return vec![PathBuf::from(path)];
    }
    let mut found = Vec::new();
    for (i, root) in roots.iter().enumerate() {
        if i == 0 {
            found.extend(libraries_in(root));
        }
        found.extend(libraries_in(&root.join(".deps/onnxruntime/lib")));
    }
    found.push(PathBuf::from("libonnxruntime.so"));
    found
}

/// Files named `libonnxruntime.so*` in a folder, the plain name and the newest version first.
fn libraries_in(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .filter_map(|e| e.ok())
        .map(|e| e.path())
        .filter(|p| {
            p.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n == "libonnxruntime.so" || n.starts_with("libonnxruntime.so."))
        })
        .collect();
    files.sort_by_key(|p| {
        (
            p.extension().is_none_or(|e| e != "so"),
            std::cmp::Reverse(p.clone()),
        )
    });
    files
}

/// The process's ONNX Runtime; loads it at the first call.
///
/// # Errors
/// [`Error::Runtime`] with each file tried and why it did not load.
pub fn environment(roots: &[PathBuf]) -> Result<&'static Environment> {
    if let Some(env) = ENVIRONMENT.get() {
        return Ok(env);
    }
    let _guard = LOADING.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(env) = ENVIRONMENT.get() {
        return Ok(env);
    }
    let mut tried = Vec::new();
    for path in candidates(roots) {
        match ort::init_from(&path) {
            Ok(builder) => {
                let env = builder
                    .with_name("gst-neural")
                    .with_telemetry(false)
                    .build()
                    .map_err(|e| Error::Runtime(e.to_string()))?;
                env.set_log_level(ort::logging::LogLevel::Fatal);
                return Ok(ENVIRONMENT.get_or_init(|| env));
            }
            Err(e) => tried.push(format!("{}: {e}", path.display())),
        }
    }
    Err(Error::Runtime(tried.join("; ")))
}

/// The loaded runtime's description (version, commit, flags), if it is loaded.
pub fn description() -> Option<&'static str> {
    ENVIRONMENT.get().map(|_| ort::info())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_name_comes_before_versions() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "libonnxruntime.so.1.30.0",
            "libonnxruntime.so",
            "libonnxruntime.so.1.31.1",
            "x.so",
        ] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        let names: Vec<_> = libraries_in(dir.path())
            .iter()
            .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            names,
            [
                "libonnxruntime.so",
                "libonnxruntime.so.1.31.1",
                "libonnxruntime.so.1.30.0"
            ]
        );
    }

    #[test]
    fn roots_are_the_parents() {
        let r = roots(Path::new("/a/b/c/libx.so"));
        assert_eq!(r[0], Path::new("/a/b/c"));
        assert_eq!(r[1], Path::new("/a/b"));
    }
}
