//! The output file: complete under its name, or not there at all.

use crate::failure::Failure;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

/// A file that is being written beside its final place. Dropped without [`Self::publish`], it is removed.
#[derive(Debug)]
pub struct PartFile {
    part: PathBuf,
    target: PathBuf,
    force: bool,
    published: bool,
}

impl PartFile {
    /// Checks `target` and makes an empty file beside it.
    ///
    /// Fails if the folder does not exist or cannot be written, if `target` is a folder or the
    /// same file as `input`, and, without `force`, if `target` exists.
    pub fn create(target: &Path, input: &Path, force: bool) -> Result<Self, Failure> {
        if let (Ok(a), Ok(b)) = (target.canonicalize(), input.canonicalize())
            && a == b
        {
            return Err(Failure::usage(format!(
                "{}: input and output are the same file",
                target.display()
            )));
        }
        let Some(name) = target.file_name() else {
            return Err(Failure::usage(format!(
                "{}: not a file name",
                target.display()
            )));
        };
        if target.is_dir() {
            return Err(Failure::usage(format!(
                "{}: is a folder; name a file in it",
                target.display()
            )));
        }
        if !force && target.symlink_metadata().is_ok() {
            return Err(exists(target));
        }
        let folder = match target.parent() {
            Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
            _ => PathBuf::from("."),
        };
        if !folder.is_dir() {
            return Err(Failure::new(format!(
                "the output folder {} does not exist",
                folder.display()
            ))
            .hint(format!("mkdir -p {}", folder.display())));
        }
        let mut part_name = std::ffi::OsString::from(".");
        part_name.push(name);
        part_name.push(format!(".{}.part", std::process::id()));
        let part = folder.join(part_name);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&part)
            .map_err(|e| Failure::io("writing in the folder of", target, &e))?;
        Ok(Self {
            part,
            target: target.to_path_buf(),
            force,
            published: false,
        })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.part
    }

    /// The name it will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Forces the bytes to the disk and gives the file its name.
    pub fn publish(mut self) -> Result<u64, Failure> {
        let file = File::open(&self.part).map_err(|e| Failure::io("opening", &self.part, &e))?;
        file.sync_all()
            .map_err(|e| Failure::io("writing", &self.target, &e))?;
        let size = file
            .metadata()
            .map_err(|e| Failure::io("reading", &self.part, &e))?
            .len();
        if self.force {
            fs::rename(&self.part, &self.target)
                .map_err(|e| Failure::io("naming", &self.target, &e))?;
        } else {
            // A link fails where the name has come into use in the meantime; a rename would not.
            match fs::hard_link(&self.part, &self.target) {
                Ok(()) => {
                    let _ = fs::remove_file(&self.part);
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(exists(&self.target));
                }
                Err(_) if self.target.symlink_metadata().is_err() => {
                    fs::rename(&self.part, &self.target)
                        .map_err(|e| Failure::io("naming", &self.target, &e))?;
                }
                Err(e) => return Err(Failure::io("naming", &self.target, &e)),
            }
        }
        self.published = true;
        if let Some(folder) = self.target.parent()
            && let Ok(dir) = File::open(if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            })
        {
            let _ = dir.sync_all();
        }
        Ok(size)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.part);
        }
    }
}

fn exists(target: &Path) -> Failure {
    Failure::new(format!("{} exists", target.display())).hint("--force overwrites it")
}
