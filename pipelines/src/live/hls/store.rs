//! Where segments and playlists are kept: a folder, or a place in S3.

use crate::failure::Failure;
use crate::live::hls::options::folder_name;
use crate::location::scheme;
use gstneural_s3::{Attributes, Connection, ObjectWriter, S3Error, S3Uri, WriteOptions};
use gstneural_s3::{delete_object, runtime};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// What a file is; it decides how it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A playlist: it changes all the time.
    Playlist,
    /// A transport stream.
    Ts,
    /// The beginning of an MP4 file.
    Init {
        /// Without a picture.
        audio: bool,
    },
    /// A fragment of an MP4 file.
    Fragment {
        /// Without a picture.
        audio: bool,
    },
}

impl Content {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Playlist => "application/vnd.apple.mpegurl",
            Self::Ts => "video/mp2t",
            Self::Init { audio: false } => "video/mp4",
            Self::Fragment { audio: false } => "video/iso.segment",
            Self::Init { audio: true } | Self::Fragment { audio: true } => "audio/mp4",
        }
    }

    /// How caches may keep it: names of media are never used again with other bytes.
    pub fn cache_control(self) -> &'static str {
        match self {
            Self::Playlist => "no-cache",
            _ => "public, max-age=31536000, immutable",
        }
    }
}

/// A place for files. Names are relative, with `/` between folders. Calls block.
pub trait Store: Debug + Send + Sync {
    /// Writes a file, replacing the one of that name if there is one. It has its name only once it
    /// is complete.
    ///
    /// # Errors
    /// A name that leads out of the place; those of the disk or the server, after all tries.
    fn put(&self, name: &str, content: Content, bytes: &[u8]) -> Result<(), Failure>;

    /// Deletes a file; one that does not exist is fine.
    ///
    /// # Errors
    /// As for [`Self::put`].
    fn delete(&self, name: &str) -> Result<(), Failure>;

    /// Whether it can hold playlist requests back, as low latency needs: not without a server of
    /// ours in front.
    fn can_wait(&self) -> bool;

    /// Ends calls that wait; they and all later ones fail.
    fn cancel(&self) {}
}

/// Opens the place that `--out` names: a folder (made if it does not exist) or
/// `s3://BUCKET[/PREFIX]`.
///
/// # Errors
/// A folder that cannot be made; a URI that cannot be right, or of another scheme.
pub fn open(location: &str) -> Result<Box<dyn Store>, Failure> {
    match scheme(location) {
        Some("s3") => Ok(Box::new(S3::new(location, Connection::default())?)),
        Some(other) => Err(Failure::usage(format!("{other}:// cannot be written to"))
            .hint("give a folder or s3://BUCKET/PREFIX")),
        None => Ok(Box::new(Folder::new(Path::new(location))?)),
    }
}

/// Checks each part of a name, so that none leads elsewhere.
fn checked(name: &str) -> Result<&str, Failure> {
    name.split('/').try_for_each(folder_name).map(|()| name)
}

/// A folder.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Takes this folder, and makes it if it does not exist.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(path).map_err(|e| Failure::io("making the folder", path, &e))?;
        Ok(Self(path.to_path_buf()))
    }

    fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let failed = |e: &std::io::Error| Failure::io("writing", path, e);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Failure::new(format!("{}: not a file", path.display())));
        };
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".{}.part", std::process::id()));
        let part = folder.join(part);
        let written = match std::fs::write(&part, bytes) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&part, bytes))
            }
            result => result,
        };
        // Not forced to the disk: after a power failure a live stream begins anew anyway.
        let named = written.and_then(|()| std::fs::rename(&part, path));
        named.map_err(|e| {
            let _ = std::fs::remove_file(&part);
            failed(&e)
        })
    }
}

impl Store for Folder {
    fn put(&self, name: &str, _: Content, bytes: &[u8]) -> Result<(), Failure> {
        Self::write(&self.0.join(checked(name)?), bytes)
    }

    fn delete(&self, name: &str) -> Result<(), Failure> {
        let path = self.0.join(checked(name)?);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::io("deleting", &path, &e))
            }
            _ => Ok(()),
        }
    }

    fn can_wait(&self) -> bool {
        true
    }
}

/// A place in S3: objects whose keys have a common beginning.
#[derive(Debug)]
pub struct S3 {
    bucket: String,
    /// Empty, or with `/` at its end.
    prefix: String,
    connection: Connection,
    handle: tokio::runtime::Handle,
    cancel: runtime::Cancel,
}

impl S3 {
    /// Takes `s3://BUCKET[/PREFIX]`; nothing is asked of the server yet. Servers that the
    /// environment names (`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`) get the bucket in the path.
    ///
    /// # Errors
    /// A URI that cannot be right.
    pub fn new(location: &str, mut connection: Connection) -> Result<Self, Failure> {
        // A key has to be there for the URI to be one; it is taken off again.
        let with_key = format!("{}/x", location.trim_end_matches('/'));
        let refused = |e: &dyn std::fmt::Display| Failure::usage(format!("{location}: {e}"));
        let uri = S3Uri::parse(&with_key).map_err(|e| refused(&e))?;
        if uri.version_id.is_some() {
            return Err(refused(&"a version cannot be written to"));
        }
        let prefix = uri.key.strip_suffix('x').unwrap_or_default().to_owned();
        // Servers other than AWS rarely have a name for each bucket, but all of them know paths.
        connection.path_style |= ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
            .into_iter()
            .any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
        Ok(Self {
            bucket: uri.bucket,
            prefix,
            connection,
            handle: runtime::handle().map_err(Failure::new)?,
            cancel: runtime::Cancel::default(),
        })
    }

    fn uri(&self, name: &str) -> Result<S3Uri, Failure> {
        let key = format!("{}{}", self.prefix, checked(name)?);
        S3Uri::from_parts(&self.bucket, &key).map_err(|e| Failure::usage(e.to_string()))
    }

    fn wait(
        &self,
        uri: &S3Uri,
        act: impl Future<Output = Result<(), S3Error>>,
    ) -> Result<(), Failure> {
        match runtime::wait(&self.handle, &self.cancel, act) {
            Some(done) => done.map_err(|e| Failure::new(e.to_string())),
            None => Err(Failure::new(format!(
                "s3://{}/{}: broken off, the server did not take it in time",
                uri.bucket, uri.key
            ))),
        }
    }
}

impl Store for S3 {
    fn put(&self, name: &str, content: Content, bytes: &[u8]) -> Result<(), Failure> {
        let uri = self.uri(name)?;
        let options = WriteOptions {
            attributes: Attributes {
                content_type: Some(content.media_type().into()),
                cache_control: Some(content.cache_control().into()),
                ..Attributes::default()
            },
            ..WriteOptions::default()
        };
        self.wait(&uri, async {
            let mut writer = ObjectWriter::open(&self.connection, &uri, options).await?;
            let mut consumed = 0;
            writer.write(bytes, &mut consumed).await?;
            writer.finish().await.map(drop)
        })
    }

    fn delete(&self, name: &str) -> Result<(), Failure> {
        let uri = self.uri(name)?;
        self.wait(&uri, delete_object(&self.connection, &uri))
    }

    fn can_wait(&self) -> bool {
        false
    }

    fn cancel(&self) {
        self.cancel.set(true);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_has_whole_files_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path().join("a/b").to_str().unwrap()).unwrap();
        for text in ["one", "another"] {
            store.put("s/v/x.ts", Content::Ts, text.as_bytes()).unwrap();
            let path = dir.path().join("a/b/s/v");
            assert_eq!(std::fs::read_to_string(path.join("x.ts")).unwrap(), text);
            assert_eq!(std::fs::read_dir(path).unwrap().count(), 1);
        }
        store.delete("s/v/x.ts").unwrap();
        store.delete("s/v/x.ts").unwrap();
        assert_eq!(
            std::fs::read_dir(dir.path().join("a/b/s/v"))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn names_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("in");
        let stores = [open(inner.to_str().unwrap()), open("s3://bucket/prefix")];
        for store in stores {
            let store = store.unwrap();
            for bad in [
                "../x",
                "/etc/x",
                "a/../../x",
                "",
                "a//b",
                ".x",
                "a/.",
                "a\\..\\x",
            ] {
                assert!(store.put(bad, Content::Ts, b"x").is_err(), "{bad:?}");
                assert!(store.delete(bad).is_err(), "{bad:?}");
            }
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(inner).unwrap().count(), 0);
    }

    #[test]
    fn errors_name_the_path() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("s"), "a file").unwrap();
        let store = Folder::new(dir.path()).unwrap();
        let error = store.put("s/x.ts", Content::Ts, b"x").unwrap_err();
        assert!(error.what.contains("s/x.ts"), "{error:?}");
        let error = Folder::new(&dir.path().join("s")).unwrap_err();
        assert!(error.what.contains("making the folder"), "{error:?}");
    }

    #[test]
    fn places_in_s3_are_understood() {
        let key = |location: &str| {
            let store = S3::new(location, Connection::default())?;
            store
                .uri("a/b.ts")
                .map(|u| format!("{}|{}", u.bucket, u.key))
        };
        assert_eq!(key("s3://bucket").unwrap(), "bucket|a/b.ts");
        assert_eq!(key("s3://bucket/").unwrap(), "bucket|a/b.ts");
        assert_eq!(key("s3://bucket/x/y/").unwrap(), "bucket|x/y/a/b.ts");
        assert_eq!(key("s3://bucket/xx").unwrap(), "bucket|xx/a/b.ts");
        for bad in ["s3://", "s3://B", "s3://bucket/a?versionId=1", "s3:///x"] {
            assert!(key(bad).is_err(), "{bad}");
        }
        assert!(open("http://host/x").unwrap_err().what.contains("http://"));
    }
}
