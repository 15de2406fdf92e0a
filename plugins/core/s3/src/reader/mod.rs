//! Reading an object: one version of it, anywhere, ahead of the reader.

mod fetch;
mod stats;
mod window;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::SystemTime,
};

use aws_sdk_s3::{
    operation::head_object::HeadObjectOutput,
    types::{ChecksumAlgorithm, ChecksumMode, ChecksumType},
};
use tokio::{runtime::Handle, sync::Notify};

pub use self::stats::ReadStats;
use self::{
    fetch::Fetch,
    window::{FIRST_BYTES, Plan, Status, Window},
};
use crate::{
    checksum::Verifier,
    client::Client,
    error::{ErrorKind, S3Error},
    options::Connection,
    runtime,
    uri::S3Uri,
};

/// Asked for first where the object is read on from its beginning: what may come while the answers
/// to the next requests are waited for.
const OPENING_BYTES: u64 = 8 << 20;

/// How far ahead is read.
///
/// The memory held never exceeds `parallel * range_bytes`, beside what the network library and
/// the allocator hold for each connection (about 2 MiB).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// Most bytes asked for at once, at least 64 KiB.
    pub range_bytes: u64,
    /// Most ranges at the same time, 1 to 256.
    pub parallel: u32,
    /// Whether an object that is read from its first to its last byte is compared with the
    /// checksum the server keeps of it.
    pub verify: bool,
    /// Whether the object will be read on from its beginning, as far as is known: then a whole
    /// range (8 MiB at most) is asked for at once and all others as soon as the size is known, and
    /// not a first look of 1 MiB.
    pub sequential: bool,
}

impl ReadOptions {
    /// Smallest range, in bytes.
    pub const MIN_RANGE: u64 = 64 << 10;
    /// Largest range, in bytes.
    pub const MAX_RANGE: u64 = 1 << 30;
    /// Most ranges at the same time.
    pub const MAX_PARALLEL: u32 = 256;
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            range_bytes: 8 << 20,
            parallel: 10,
            verify: true,
            sequential: false,
        }
    }
}

/// What the server says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its length in bytes.
    pub size: u64,
    /// Its entity tag, quotes included.
    pub etag: Option<String>,
    /// The version that is read.
    pub version_id: Option<String>,
    /// The media type it was stored with.
    pub content_type: Option<String>,
    /// When it was written.
    pub last_modified: Option<SystemTime>,
    /// The checksum of the whole, in base 64, and its algorithm.
    pub checksum: Option<(String, String)>,
}

/// An object that is being read.
///
/// The version found when it is opened is the one that is read to the end: an object that is
/// replaced meanwhile is an error ([`ErrorKind::Changed`]), never a mix of two.
#[derive(Debug)]
pub struct ObjectReader {
    shared: Arc<Shared>,
    info: ObjectInfo,
    verifier: Mutex<Option<Verifier>>,
}

/// What the reader and its transfers have in common.
#[derive(Debug)]
struct Shared {
    client: Arc<Client>,
    uri: S3Uri,
    etag: Option<String>,
    version_id: Option<String>,
    size: u64,
    window: Mutex<Window>,
    /// Bytes came, or a transfer ended.
    changed: Notify,
    stats: stats::Counters,
    runtime: Handle,
}

impl Shared {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl ObjectReader {
    /// Asks for the object's size, tag and version.
    ///
    /// # Errors
    /// Those of the server; settings that cannot be right.
    pub async fn open(
        connection: &Connection,
        uri: &S3Uri,
        options: &ReadOptions,
    ) -> Result<Self, S3Error> {
        let invalid = |text: String| S3Error::local(ErrorKind::Invalid, "reading", uri, text);
        let runtime = runtime::handle().map_err(invalid)?;
        let ranges = ReadOptions::MIN_RANGE..=ReadOptions::MAX_RANGE;
        if !ranges.contains(&options.range_bytes)
            || !(1..=ReadOptions::MAX_PARALLEL).contains(&options.parallel)
        {
            return Err(invalid(
                "the size or the number of ranges is out of bounds".into(),
            ));
        }
        let client = Client::connect(connection, uri).await?;
        // The first bytes are asked for at the same time: one way less before they are here.
        let first = match options.sequential {
            true => OPENING_BYTES,
            false => FIRST_BYTES,
        };
        let first = first.min(options.range_bytes);
        let (head, opening) = tokio::join!(head(&client, uri), fetch::open(&client, uri, first));
        let head = head?;
        let info = describe(uri, &head)?;
        let verifier = if options.verify {
            verifier(&head)
        } else {
            None
        };
        let shared = Shared {
            client,
            etag: info.etag.clone(),
            // A version that was asked for, or the one that HEAD found in a bucket with versions.
            version_id: uri.version_id.clone().or_else(|| info.version_id.clone()),
            uri: uri.clone(),
            size: info.size,
            window: Mutex::new(Window::new(
                info.size,
                options.range_bytes,
                options.parallel,
                first,
            )),
            changed: Notify::new(),
            stats: stats::Counters::default(),
            runtime,
        };
        let this = Self {
            shared: Arc::new(shared),
            info,
            verifier: Mutex::new(verifier),
        };
        if let Some(opening) = opening {
            let mut plans = this.shared.window().plan(0, 0);
            if !plans.is_empty() {
                // Whether it is the same object is looked at as with every answer.
                let first = plans.remove(0);
                this.spawn(
                    &first,
                    Fetch::new(this.shared.clone(), &first).opened(opening),
                );
            }
            this.begin(plans);
        }
        Ok(this)
    }

    /// What the server said when the object was opened.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// Fills `buffer` from `offset` on and says how many bytes that are: fewer than asked for only
    /// at the object's end.
    ///
    /// Dropping the future before it is ready loses nothing: the transfers go on.
    ///
    /// # Errors
    /// Those of the server, after the tries that are allowed; [`ErrorKind::Changed`];
    /// [`ErrorKind::Checksum`] at the end of an object that is not what was stored.
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, S3Error> {
        let shared = &self.shared;
        let wanted = shared.size.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < wanted {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let at = offset + done as u64;
            let rest = buffer.get_mut(done..wanted).unwrap_or_default();
            let (copied, failed, plans) = {
                let mut window = shared.window();
                let copied = window.copy(at, rest);
                let missing = (wanted - done - copied) as u64;
                let at = at + copied as u64;
                let failed = match window.status(at) {
                    Some(Status::Failed(error)) if missing > 0 => Some(error.clone()),
                    _ => None,
                };
                let plans = match failed {
                    Some(_) => Vec::new(),
                    None => window.plan(at, missing),
                };
                (copied, failed, plans)
            };
            if let Some(error) = failed {
                // Asked again, it is tried again.
                shared.window().clear();
                return Err(error);
            }
            self.begin(plans);
            done += copied;
            if copied == 0 {
                changed.await;
            }
        }
        shared.stats.read(wanted as u64);
        self.verify(offset, buffer.get(..wanted).unwrap_or_default())?;
        Ok(wanted)
    }

    /// The reader goes on at `offset`: what is under way elsewhere ends, unless that place was read
    /// ahead already or is about to be.
    pub fn jump(&self, offset: u64) {
        let mut window = self.shared.window();
        if !window.is_near(offset) {
            window.clear();
        }
    }

    /// Ends the transfers that are under way and forgets what was read ahead.
    pub fn forget(&self) {
        self.shared.window().clear();
    }

    /// What was done so far.
    pub fn stats(&self) -> ReadStats {
        let held = self.shared.window().held();
        self.shared.stats.snapshot(held)
    }

    fn begin(&self, plans: Vec<Plan>) {
        for plan in plans {
            self.spawn(&plan, Fetch::new(self.shared.clone(), &plan));
        }
    }

    fn spawn(&self, plan: &Plan, fetch: Fetch) {
        let task = self.shared.runtime.spawn(fetch.run());
        self.shared.window().started(plan.id, task.abort_handle());
    }

    fn verify(&self, offset: u64, bytes: &[u8]) -> Result<(), S3Error> {
        let mut slot = self.verifier.lock().unwrap_or_else(|e| e.into_inner());
        let Some(verifier) = slot.as_mut() else {
            return Ok(());
        };
        if !verifier.take(offset, bytes) {
            *slot = None;
            return Ok(());
        }
        verifier
            .verdict(self.shared.size)
            .map_err(|(found, stored)| {
                let text =
                    format!("the object's checksum is {stored}, that of what was read {found}");
                S3Error::local(ErrorKind::Checksum, "GetObject", &self.shared.uri, text)
            })
    }
}

impl Drop for ObjectReader {
    fn drop(&mut self) {
        self.forget();
    }
}

async fn head(client: &Client, uri: &S3Uri) -> Result<HeadObjectOutput, S3Error> {
    let asked = client
        .call("HeadObject", uri, |_| {
            let request = client.sdk.head_object();
            let request = request.bucket(&uri.bucket).key(&uri.key);
            let request = request
                .set_version_id(uri.version_id.clone())
                .checksum_mode(ChecksumMode::Enabled)
                .set_request_payer(client.payer());
            async {
                request
                    .send()
                    .await
                    .map_err(|e| S3Error::from_sdk("HeadObject", uri, e))
            }
        })
        .await;
    match asked {
        // An answer to HEAD has no body and so no code of the server's own: GET says why.
        Err(error)
            if error.code.as_deref().is_none_or(|c| c == "NotFound")
                && error.status.is_some_and(|s| s >= 300) =>
        {
            Err(reason(client, uri).await.unwrap_or(error))
        }
        asked => asked,
    }
}

/// Why the object cannot be read, in the words of GET.
async fn reason(client: &Client, uri: &S3Uri) -> Option<S3Error> {
    let request = client.sdk.get_object().bucket(&uri.bucket).key(&uri.key);
    let request = request
        .set_version_id(uri.version_id.clone())
        .range("bytes=0-0")
        .set_request_payer(client.payer());
    let limit = client.connection.request_timeout;
    let answer = tokio::time::timeout(limit, request.send()).await.ok()?;
    let error = S3Error::from_sdk("HeadObject", uri, answer.err()?);
    error.code.is_some().then_some(error)
}

fn describe(uri: &S3Uri, head: &HeadObjectOutput) -> Result<ObjectInfo, S3Error> {
    let size = head.content_length().and_then(|n| u64::try_from(n).ok());
    let size = size.ok_or_else(|| {
        let text = "the server does not say how long the object is";
        S3Error::local(ErrorKind::Unsupported, "HeadObject", uri, text)
    })?;
    let modified = head
        .last_modified()
        .and_then(|t| SystemTime::try_from(*t).ok());
    let checksum = full_checksum(head);
    Ok(ObjectInfo {
        size,
        etag: head.e_tag().map(str::to_owned),
        // "null" names the only version there is, in a bucket without versions.
        version_id: head
            .version_id()
            .filter(|v| *v != "null")
            .map(str::to_owned),
        content_type: head.content_type().map(str::to_owned),
        last_modified: modified,
        checksum: checksum.map(|(a, sum)| (a.as_str().to_owned(), sum.to_owned())),
    })
}

/// A checksum over all bytes in their order (and not over the checksums of parts).
fn full_checksum(head: &HeadObjectOutput) -> Option<(ChecksumAlgorithm, &str)> {
    let composite = matches!(head.checksum_type(), Some(ChecksumType::Composite));
    let sums = [
        (ChecksumAlgorithm::Crc64Nvme, head.checksum_crc64_nvme()),
        (ChecksumAlgorithm::Crc32, head.checksum_crc32()),
        (ChecksumAlgorithm::Crc32C, head.checksum_crc32_c()),
    ];
    // That of parts ends in "-COUNT".
    sums.into_iter()
        .filter_map(|(algorithm, sum)| Some((algorithm, sum?)))
        .find(|(_, sum)| !composite && !sum.contains('-'))
}

fn verifier(head: &HeadObjectOutput) -> Option<Verifier> {
    let (algorithm, sum) = full_checksum(head)?;
    Verifier::new(&algorithm, sum)
}
