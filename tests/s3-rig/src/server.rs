//! A strict S3 server in this process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::S3Result;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::sync::{RwLock, Semaphore};

use crate::background::{Background, listen};
use crate::store::{self, Store};

/// Connections served at the same time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// How long an object that is put past the protocol waits for requests to let go of the old.
const PUT_LIMIT: Duration = Duration::from_secs(30);

const ACCESS_KEY: &str = "RIGACCESSKEY";
const SECRET_KEY: &str = "rig/secret+key/of/no/account";

/// A real S3 server on a free port of 127.0.0.1, with its data in a temporary folder.
///
/// It is s3s-fs, made stricter: signatures, conditions, checksums of objects and parts, and ETags
/// of parts are verified, and a request sees an object and its ETag change at the same time.
/// Path-style addresses only; no versions, encryption, ACLs, tags or storage classes (MiniStack
/// has them). A PutObject may have 256 MiB. When this is dropped, the server has
/// stopped and its folder is gone.
#[derive(Debug)]
pub struct Server {
    // Dropped in this order: first nothing writes any more, then the folder goes.
    _background: Background,
    addr: SocketAddr,
    access_key: String,
    secret_key: String,
    folder: PathBuf,
    names: Arc<RwLock<()>>,
    _temporary: Option<TempDir>,
}

/// How a [`Server`] is to be; from [`Server::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ServerBuilder {
    access_key: String,
    secret_key: String,
    anonymous: bool,
    cheap_etags: bool,
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

    /// Gives parts ETags that are no MD5 sums, as S3 does where it encrypts with KMS: computing
    /// those would be most of the work of an upload.
    pub fn cheap_etags(mut self) -> Self {
        self.cheap_etags = true;
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
        let names = Arc::new(RwLock::new(()));
        let store = Store::new(store, &folder, Arc::clone(&names), self.cheap_etags);
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
            names,
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
            cheap_etags: false,
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
        self.object(bucket, key)?;
        let begun = Instant::now();
        let _alone = loop {
            // Not the blocking way, which must not be used inside a runtime.
            if let Ok(guard) = self.names.try_write() {
                break guard;
            }
            ensure!(
                begun.elapsed() < PUT_LIMIT,
                "the server does not let go of its objects"
            );
            std::thread::sleep(Duration::from_millis(1));
        };
        store::replace(&self.folder, bucket, key, bytes)
            .with_context(|| format!("cannot put s3://{bucket}/{key}"))
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
        store::pending(&self.folder)
            .with_context(|| format!("cannot list {}", self.folder.display()))
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
