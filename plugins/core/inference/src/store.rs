//! Where models are found by name.
//!
//! A model is an `.onnx` file with, usually, a `.modelinfo` beside it. `aliases.ini` in the same
//! folder may give further names (`luma-x2 = luma-x2-compressed`).

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use ini::Ini;

use crate::error::{Error, Result};

/// The environment variable with further model folders, separated by `:`.
pub const MODEL_PATH_VARIABLE: &str = "GST_NEURAL_MODEL_PATH";

/// A list of folders in which models are looked up, first match wins.
#[derive(Debug, Clone, Default)]
pub struct ModelStore {
    dirs: Vec<PathBuf>,
}

/// One model of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name to give as `model=`.
    pub name: String,
    /// The ONNX file.
    pub path: PathBuf,
    /// Other names that lead to it.
    pub aliases: Vec<String>,
}

impl ModelStore {
    /// The folders in the order of their precedence: `extra`, `GST_NEURAL_MODEL_PATH`, `models/`
    /// beside the plugin and in the folders above it, `share/gst-neural/models` of its prefix, the
    /// user's and the system's.
    pub fn new(extra: Option<&Path>, roots: &[PathBuf]) -> Self {
        let mut dirs: Vec<PathBuf> = Vec::new();
        dirs.extend(extra.map(Path::to_path_buf));
        if let Some(list) = env::var_os(MODEL_PATH_VARIABLE) {
            dirs.extend(env::split_paths(&list).filter(|p| !p.as_os_str().is_empty()));
        }
        dirs.extend(roots.iter().map(|r| r.join("models")));
        dirs.extend(roots.iter().map(|r| r.join("share/gst-neural/models")));
        if let Some(home) = env::var_os("HOME") {
            dirs.push(Path::new(&home).join(".local/share/gst-neural/models"));
        }
        dirs.push("/usr/local/share/gst-neural/models".into());
        dirs.push("/usr/share/gst-neural/models".into());
        Self { dirs }
    }

    /// The folders, whether they exist or not.
    pub fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// The file of a model given by path or by name.
    ///
    /// Anything with a `/` or ending in `.onnx` is a path; an existing file is one, too.
    ///
    /// # Errors
    /// [`Error::Read`] for a path that is not there, [`Error::UnknownModel`] for a name.
    pub fn resolve(&self, model: &str) -> Result<PathBuf> {
        let path = Path::new(model);
        if model.contains('/') || path.extension().is_some_and(|e| e == "onnx") || path.is_file() {
            return match fs::metadata(path) {
                Ok(meta) if meta.is_file() => Ok(path.to_path_buf()),
                Ok(_) => Err(Error::Read {
                    path: path.to_path_buf(),
                    source: std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file"),
                }),
                Err(source) => Err(Error::Read {
                    path: path.to_path_buf(),
                    source,
                }),
            };
        }
        for dir in &self.dirs {
            let name = aliases(dir)
                .remove(model)
                .unwrap_or_else(|| model.to_owned());
            let file = dir.join(format!("{name}.onnx"));
            if file.is_file() {
                return Ok(file);
            }
        }
        let searched: Vec<_> = self
            .dirs
            .iter()
            .filter(|d| d.is_dir())
            .map(|d| d.display().to_string())
            .collect();
        Err(Error::UnknownModel {
            name: model.to_owned(),
            searched: if searched.is_empty() {
                "any model folder (none exists)".to_owned()
            } else {
                searched.join(", ")
            },
        })
    }

    /// All models of all folders; a name in an earlier folder hides the later one.
    pub fn list(&self) -> Vec<Entry> {
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        for dir in &self.dirs {
            let Ok(files) = fs::read_dir(dir) else {
                continue;
            };
            let names = aliases(dir);
            for path in files.filter_map(|f| f.ok()).map(|f| f.path()) {
                let Some(name) = path.file_stem().and_then(|s| s.to_str()) else {
                    continue;
                };
                if path.extension().is_none_or(|e| e != "onnx") || entries.contains_key(name) {
                    continue;
                }
                let aliases = names
                    .iter()
                    .filter(|(_, to)| *to == name)
                    .map(|(a, _)| a.clone())
                    .collect();
                entries.insert(
                    name.to_owned(),
                    Entry {
                        name: name.to_owned(),
                        path: path.clone(),
                        aliases,
                    },
                );
            }
        }
        entries.into_values().collect()
    }
}

/// The aliases of one folder; none if it has no readable `aliases.ini`.
fn aliases(dir: &Path) -> BTreeMap<String, String> {
    let Ok(ini) = Ini::load_from_file(dir.join("aliases.ini")) else {
        return BTreeMap::new();
    };
    ini.section(Some("aliases"))
        .map(|s| {
            s.iter()
                .map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()))
                .collect()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ModelStore) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a-compressed.onnx"), b"x").unwrap();
        fs::write(dir.path().join("b.onnx"), b"x").unwrap();
        fs::write(
            dir.path().join("aliases.ini"),
            "[aliases]\na = a-compressed\n",
        )
        .unwrap();
        let store = ModelStore::new(Some(dir.path()), &[]);
        (dir, store)
    }

    #[test]
    fn names_aliases_and_paths_resolve() {
        let (dir, store) = store();
        assert_eq!(
            store.resolve("a").unwrap(),
            dir.path().join("a-compressed.onnx")
        );
        assert_eq!(store.resolve("b").unwrap(), dir.path().join("b.onnx"));
        let path = dir.path().join("b.onnx");
        assert_eq!(store.resolve(path.to_str().unwrap()).unwrap(), path);
    }

    #[test]
    fn what_is_missing_is_named() {
        let (dir, store) = store();
        let e = store.resolve("nope").unwrap_err().to_string();
        assert!(
            e.contains("nope") && e.contains(dir.path().to_str().unwrap()),
            "{e}"
        );
        let e = store.resolve("/nowhere/x.onnx").unwrap_err().to_string();
        assert!(e.contains("/nowhere/x.onnx"), "{e}");
    }

    #[test]
    fn the_list_has_aliases() {
        let (_dir, store) = store();
        let a = store
            .list()
            .into_iter()
            .find(|e| e.name == "a-compressed")
            .unwrap();
        assert_eq!(a.aliases, ["a"]);
    }
}
