//! A strict S3 server in this process.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::S3Result;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::background::{Background, listen};

/// Connections served at the same time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

const ACCESS_KEY: &str = "RIGACCESSKEY";
const SECRET_KEY: &str = "rig/secret+key/of/no/account";

/// A real S3 server on a free port of 127.0.0.1, with its data in a temporary folder.
///
/// Path-style addresses only. Signatures are verified. When this is dropped, the server has
/// stopped and its folder is gone.
#[derive(Debug)]
pub struct Server {
    // Dropped in this order: first nothing writes any more, then the folder goes.
    _background: Background,
    addr: SocketAddr,
    access_key: String,
    secret_key: String,
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

/// How a [`Server`] is to be; from [`Server::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ServerBuilder {
    access_key: String,
    secret_key: String,
    anonymous: bool,
    folder: Option<PathBuf>,
    port: u16,
}

/// An object as it lies in the server's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A multipart upload that was neither completed nor aborted, or what is left of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingUpload {
    /// The upload's id.
    pub upload_id: String,
    /// The bucket, where that is still known.
    pub bucket: Option<String>,
    /// The key, where that is still known.
    pub key: Option<String>,
    /// The numbers of the parts that lie there, ascending.
    pub parts: Vec<u32>,
}

impl ServerBuilder {
    /// The one pair of keys that the server knows.
    pub fn keys(mut self, access_key: &str, secret_key: &str) -> Self {
        access_key.clone_into(&mut self.access_key);
        secret_key.clone_into(&mut self.secret_key);
        self
    }

    /// Lets requests without a signature do everything; those with one are still verified.
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Keeps the data in `folder`, which must exist and is left as it is at the end.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Listens on this port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// If the folder, the port, the thread or the runtime cannot be had.
    pub fn start(self) -> Result<Server> {
        let (folder, temporary) = match self.folder {
            Some(folder) => (folder, None),
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("s3-rig-")
                    .tempdir()
                    .context("cannot make the server's temporary folder")?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let store = FileSystem::new(&folder)
            .map_err(|error| anyhow!("cannot keep objects in {}: {error:?}", folder.display()))?;
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(SimpleAuth::from_single(
            self.access_key.as_str(),
            self.secret_key.as_str(),
        ));
        if self.anonymous {
            builder.set_access(Everyone);
        }
        let service = builder.build();
        let (listener, addr) = listen(self.port)?;
        let background = Background::start("s3-rig-server", move || serve(listener, service))?;
        Ok(Server {
            _background: background,
            addr,
            access_key: self.access_key,
            secret_key: self.secret_key,
            folder,
            _temporary: temporary,
        })
    }
}

impl Server {
    /// A server that knows one pair of keys and refuses everything else.
    ///
    /// # Errors
    /// If the folder, the port, the thread or the runtime cannot be had.
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A server that differs from the usual one.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            anonymous: false,
            folder: None,
            port: 0,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens, as an `http://` URL without a slash at the end.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The access key it knows.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret of that key.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// The folder with its data: a folder per bucket, and the server's own files beside them.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a bucket; one that is there already is fine.
    ///
    /// # Errors
    /// If `bucket` is no name for a folder, or the folder cannot be made.
    pub fn create_bucket(&self, bucket: &str) -> Result<()> {
        let folder = self.bucket(bucket)?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make bucket {bucket}"))
    }

    /// Puts an object there, past the protocol; what was there under this key is replaced.
    ///
    /// # Errors
    /// If the bucket does not exist or the file cannot be written.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<()> {
        let path = self.object(bucket, key)?;
        let what = || format!("cannot put s3://{bucket}/{key}");
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(what)?;
        }
        // Under another name first: a request that reads the old object goes on reading that.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).with_context(what)?;
        std::io::Write::write_all(&mut file, bytes).with_context(what)?;
        file.persist(&path).with_context(what)?;
        self.note_etag(bucket, key, bytes).with_context(what)
    }

    /// The bytes of an object, past the protocol; none if there is no such object.
    ///
    /// # Errors
    /// If the bucket does not exist or the file cannot be read.
    pub fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.object(bucket, key)?;
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot get s3://{bucket}/{key}")),
        }
    }

    /// The objects of a bucket, by key.
    ///
    /// # Errors
    /// If the bucket does not exist or cannot be read.
    pub fn objects(&self, bucket: &str) -> Result<Vec<Object>> {
        let root = self.bucket(bucket)?;
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder)
                .with_context(|| format!("cannot list {} of bucket {bucket}", folder.display()))?;
            for entry in entries {
                let entry = entry?;
                let about = entry.metadata()?;
                if about.is_dir() {
                    folders.push(entry.path());
                } else if let Ok(key) = entry.path().strip_prefix(&root) {
                    found.push(Object {
                        key: key.to_string_lossy().into_owned(),
                        size: about.len(),
                    });
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Multipart uploads that were neither completed nor aborted, and parts that a failed
    /// completion left behind. Empty at the end of a test that cleaned up.
    ///
    /// # Errors
    /// If the server's folder cannot be read.
    pub fn pending_uploads(&self) -> Result<Vec<PendingUpload>> {
        let mut found: BTreeMap<String, PendingUpload> = BTreeMap::new();
        let entries = fs::read_dir(&self.folder)
            .with_context(|| format!("cannot list {}", self.folder.display()))?;
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Some((id, part, object)) = trace_of_upload(&name) else {
                continue;
            };
            let upload = found.entry(id.clone()).or_insert_with(|| PendingUpload {
                upload_id: id,
                bucket: None,
                key: None,
                parts: Vec::new(),
            });
            upload.parts.extend(part);
            if let Some((bucket, key)) = object {
                upload.bucket = Some(bucket);
                upload.key = Some(key);
            }
        }
        let mut uploads: Vec<_> = found.into_values().collect();
        for upload in &mut uploads {
            upload.parts.sort_unstable();
        }
        Ok(uploads)
    }

    fn bucket(&self, bucket: &str) -> Result<PathBuf> {
        // The server itself refuses others.
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        ensure!(
            (3..=63).contains(&bucket.len())
                && bucket.chars().all(good)
                && !bucket.starts_with(['.', '-'])
                && !bucket.contains(".."),
            "{bucket:?} is no name for a bucket"
        );
        Ok(self.folder.join(bucket))
    }

    fn object(&self, bucket: &str, key: &str) -> Result<PathBuf> {
        let folder = self.bucket(bucket)?;
        ensure!(folder.is_dir(), "there is no bucket {bucket}");
        if key.is_empty() || Path::new(key).is_absolute() || key.split('/').any(|part| part == "..")
        {
            bail!("{key:?} is no key for an object of this server");
        }
        Ok(folder.join(key))
    }

    /// Notes the ETag where the server looks for it: it would else read the whole object for
    /// each request for a range of it.
    fn note_etag(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<()> {
        use s3s::crypto::{Checksum, Md5};
        let sum: String = Md5::checksum(bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let encode = |text: &str| base64_simd::URL_SAFE_NO_PAD.encode_to_string(text);
        let name = format!(
            ".bucket-{}.object-{}.internal.json",
            encode(bucket),
            encode(key)
        );
        fs::write(
            self.folder.join(name),
            serde_json::json!({ "e_tag": sum }).to_string(),
        )?;
        Ok(())
    }
}

/// Which upload a file in the server's folder belongs to, which part it is, of which object.
#[allow(clippy::type_complexity)]
fn trace_of_upload(name: &str) -> Option<(String, Option<u32>, Option<(String, String)>)> {
    if let Some(rest) = name.strip_prefix(".upload_id-") {
        let (id, part) = rest.split_once(".part-")?;
        return Some((id.to_owned(), Some(part.parse().ok()?), None));
    }
    if let Some(rest) = name.strip_prefix(".upload-") {
        return Some((rest.strip_suffix(".json")?.to_owned(), None, None));
    }
    let rest = name.strip_prefix(".bucket-")?;
    let (bucket, rest) = rest.split_once(".object-")?;
    let (key, rest) = rest.split_once(".upload-")?;
    let id = rest.strip_suffix(".metadata.json")?;
    let decode = |text: &str| {
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
        String::from_utf8(bytes).ok()
    };
    Some((id.to_owned(), None, Some((decode(bucket)?, decode(key)?))))
}

/// Lets everyone do everything.
struct Everyone;

#[async_trait::async_trait]
impl S3Access for Everyone {
    async fn check(&self, _: &mut S3AccessContext<'_>) -> S3Result<()> {
        Ok(())
    }
}

async fn serve(listener: std::net::TcpListener, service: S3Service) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let Ok((socket, _)) = listener.accept().await else {
            // For want of file descriptors, for instance.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = socket.set_nodelay(true);
        let service = service.clone();
        tokio::spawn(async move {
            let http = auto::Builder::new(TokioExecutor::new()).http1_only();
            let _ = http.serve_connection(TokioIo::new(socket), service).await;
            drop(slot);
        });
    }
}
