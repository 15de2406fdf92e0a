//! Writing an object in parts, several at a time.

mod body;
mod options;
mod plan;
mod target;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::{JoinHandle, JoinSet},
};

pub use self::options::{Attributes, Encryption, OnError, WriteOptions};
use self::{
    plan::{MAX_OBJECT, MAX_PARTS, part_bytes},
    target::{Part, Target, Upload},
};
use crate::{
    client::Client,
    error::{ErrorKind, S3Error},
    options::Connection,
    runtime,
    uri::S3Uri,
};

/// What an upload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Length of the object in bytes.
    pub size: u64,
    /// Parts it was uploaded in; 0: by one PutObject.
    pub parts: u32,
    /// The entity tag, quotes included.
    pub etag: Option<String>,
    /// The version, in a bucket with versions.
    pub version_id: Option<String>,
    /// The checksum of the whole, in base 64.
    pub checksum: Option<String>,
}

/// How far an upload has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes taken so far.
    pub bytes_written: u64,
    /// Bytes that are on the server.
    pub bytes_uploaded: u64,
    /// Parts that are on the server, those of an earlier run included.
    pub parts_uploaded: u32,
    /// Parts on their way.
    pub parts_in_flight: u32,
    /// Parts that an earlier run had uploaded.
    pub parts_resumed: u32,
    /// Requests that were made again, after a failure.
    pub retries: u64,
    /// The id of the upload, once there is one.
    pub upload_id: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    parts: BTreeMap<u32, Part>,
    bytes_in_flight: u64,
    parts_in_flight: u32,
    failure: Option<S3Error>,
    tasks: JoinSet<()>,
    /// Buffers of parts that were uploaded, to be filled again.
    spare: Vec<BytesMut>,
    retries: u64,
    upload_id: Option<String>,
}

#[derive(Debug)]
struct Shared {
    target: Target,
    state: Mutex<State>,
    /// A part arrived, or failed.
    changed: Notify,
    written: AtomicU64,
    runtime: Handle,
}

impl Shared {
    fn progress(&self) -> Progress {
        let state = self.state();
        Progress {
            bytes_written: self.written.load(Relaxed),
            bytes_uploaded: state.parts.values().map(|p| p.size).sum(),
            parts_uploaded: state.parts.len() as u32,
            parts_in_flight: state.parts_in_flight,
            parts_resumed: state.parts.values().filter(|p| p.resumed).count() as u32,
            retries: state.retries,
            upload_id: state.upload_id.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// An object that is being written.
///
/// The futures of its methods may be dropped before they are ready, and called again: nothing is
/// lost or done twice.
#[derive(Debug)]
pub struct ObjectWriter {
    shared: Arc<Shared>,
    /// The first part once it is full: held back to the end, so that it can be rewritten.
    head: Option<BytesMut>,
    /// The part that is being filled.
    current: BytesMut,
    /// Its number, from 1.
    number: u32,
    /// Where it begins in the object.
    start: u64,
    position: u64,
    beginning: Option<JoinHandle<Result<Upload, S3Error>>>,
    upload: Option<Arc<Upload>>,
    ending: Option<JoinHandle<Result<Finished, S3Error>>>,
    over: bool,
}

/// An interrupted task of ours: the runtime never stops while the process lives.
fn lost(uri: &S3Uri, operation: &'static str) -> S3Error {
    S3Error::local(
        ErrorKind::Invalid,
        operation,
        uri,
        "the transfer broke down unexpectedly",
    )
}

impl ObjectWriter {
    /// Checks what can be checked before the first byte; nothing is written yet.
    ///
    /// # Errors
    /// Options that cannot be right; an object that exists where that is not wanted; those of the
    /// server.
    pub async fn open(
        connection: &Connection,
        uri: &S3Uri,
        options: WriteOptions,
    ) -> Result<Self, S3Error> {
        options.validate(uri)?;
        let runtime = runtime::handle()
            .map_err(|text| S3Error::local(ErrorKind::Invalid, "writing", uri, text))?;
        let target = Target {
            client: Client::connect(connection, uri).await?,
            uri: uri.clone(),
            options,
            suggested: OnceLock::new(),
        };
        target.check_absent().await?;
        Ok(Self {
            shared: Arc::new(Shared {
                target,
                state: Mutex::default(),
                changed: Notify::new(),
                written: AtomicU64::new(0),
                runtime,
            }),
            head: None,
            current: BytesMut::new(),
            number: 1,
            start: 0,
            position: 0,
            beginning: None,
            upload: None,
            ending: None,
            over: false,
        })
    }

    /// Bytes written so far: the length the object would have now.
    pub fn len(&self) -> u64 {
        self.start + self.current.len() as u64
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the next byte goes.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How far back the beginning of the object can still be rewritten, in bytes.
    pub fn rewritable(&self) -> u64 {
        self.head.as_ref().map_or(self.current.len(), BytesMut::len) as u64
    }

    /// Goes to a place that can be (re)written: in the first part, in the part being filled, or at
    /// the end.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for any other place, with the limits in its text.
    pub fn seek(&mut self, position: u64) -> Result<(), S3Error> {
        if position < self.rewritable() || (self.start..=self.len()).contains(&position) {
            self.position = position;
            return Ok(());
        }
        let text = format!(
            "byte {position} cannot be rewritten: of the {} bytes written, only the first {} and \
             those from {} on can (a larger part-size holds more back)",
            self.len(),
            self.rewritable(),
            self.start
        );
        let uri = &self.shared.target.uri;
        Err(S3Error::local(ErrorKind::Unsupported, "seeking", uri, text))
    }

    /// Writes `data` from `*consumed` on, at the position, and counts `*consumed` up; waits while
    /// too many parts are on their way.
    ///
    /// # Errors
    /// The failure of any part so far; an object that becomes too long.
    pub async fn write(&mut self, data: &[u8], consumed: &mut usize) -> Result<(), S3Error> {
        self.check()?;
        while let Some(rest) = data.get(*consumed..).filter(|r| !r.is_empty()) {
            let count = if self.position < self.len() {
                self.rewrite(rest)?
            } else {
                self.append(rest).await?
            };
            *consumed += count;
            self.position += count as u64;
            self.shared.written.store(self.len(), Relaxed);
        }
        Ok(())
    }

    fn rewrite(&mut self, data: &[u8]) -> Result<usize, S3Error> {
        let position = self.position;
        let (part, start) = match &mut self.head {
            Some(head) if position < head.len() as u64 => (head, 0),
            _ if position >= self.start => (&mut self.current, self.start),
            // Only `write` comes here, from the end of the head into what has been sent.
            _ => {
                return Err(self
                    .seek(position)
                    .err()
                    .unwrap_or_else(|| lost(&self.shared.target.uri, "writing")));
            }
        };
        let at = (position - start) as usize;
        let to = part.get_mut(at..).unwrap_or_default();
        let count = to.len().min(data.len());
        if let (Some(to), Some(from)) = (to.get_mut(..count), data.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    async fn append(&mut self, data: &[u8]) -> Result<usize, S3Error> {
        let first = self.shared.target.options.part_bytes;
        let mut limit = part_bytes(first, self.number);
        if self.current.len() as u64 >= limit {
            self.next_part().await?;
            limit = part_bytes(first, self.number);
        }
        let room = (limit as usize).saturating_sub(self.current.len());
        let count = room.min(data.len());
        if self.len() + count as u64 > MAX_OBJECT {
            let text = "the object would be longer than 5 TiB, which is all S3 takes";
            return Err(S3Error::local(
                ErrorKind::Invalid,
                "writing",
                &self.shared.target.uri,
                text,
            ));
        }
        self.current
            .extend_from_slice(data.get(..count).unwrap_or_default());
        Ok(count)
    }

    /// Sends the full part on its way, or holds it back if it is the first.
    async fn next_part(&mut self) -> Result<(), S3Error> {
        if self.number >= MAX_PARTS {
            let text = "an object has 10,000 parts at most; a larger part-size holds more";
            return Err(S3Error::local(
                ErrorKind::Invalid,
                "writing",
                &self.shared.target.uri,
                text,
            ));
        }
        if self.number > 1 {
            let upload = self.upload().await?;
            self.room(self.current.len() as u64).await?;
            let full = std::mem::take(&mut self.current);
            self.start += full.len() as u64;
            self.dispatch(&upload, self.number, full.freeze());
        } else {
            let full = std::mem::take(&mut self.current);
            self.start += full.len() as u64;
            self.head = Some(full);
            // Now it is certain that there will be parts: asked for while the next one fills.
            self.begin();
        }
        self.number += 1;
        let wanted = part_bytes(self.shared.target.options.part_bytes, self.number) as usize;
        let spare = self
            .shared
            .state()
            .spare
            .pop()
            .filter(|b| b.capacity() >= wanted);
        // Reserved in one piece: growing by doubling would copy the part several times.
        self.current = spare.unwrap_or_else(|| BytesMut::with_capacity(wanted));
        Ok(())
    }

    /// Asks for an upload in parts.
    fn begin(&mut self) -> &mut JoinHandle<Result<Upload, S3Error>> {
        let shared = &self.shared;
        self.beginning.get_or_insert_with(|| {
            let shared = shared.clone();
            let runtime = shared.runtime.clone();
            runtime.spawn(async move { shared.target.begin().await })
        })
    }

    /// The upload, once there is one.
    async fn upload(&mut self) -> Result<Arc<Upload>, S3Error> {
        if let Some(upload) = &self.upload {
            return Ok(upload.clone());
        }
        let task = self.begin();
        let begun = task.await;
        let shared = &self.shared;
        self.beginning = None;
        let begun = begun.map_err(|_| lost(&shared.target.uri, "CreateMultipartUpload"));
        match begun.and_then(|upload| upload) {
            Ok(upload) => {
                self.shared.state().upload_id = Some(upload.id.clone());
                Ok(self.upload.insert(Arc::new(upload)).clone())
            }
            Err(error) => {
                self.shared.state().failure = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Waits until a part of this length may be sent on its way, or all have arrived.
    async fn room(&self, bytes: u64) -> Result<(), S3Error> {
        let options = &self.shared.target.options;
        let budget = options.part_bytes * u64::from(options.parallel);
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.shared.state();
                if let Some(error) = &state.failure {
                    return Err(error.clone());
                }
                if state.parts_in_flight == 0 || state.bytes_in_flight + bytes <= budget {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    fn dispatch(&self, upload: &Arc<Upload>, number: u32, bytes: Bytes) {
        let (shared, upload) = (self.shared.clone(), upload.clone());
        let size = bytes.len() as u64;
        let mut state = self.shared.state();
        state.bytes_in_flight += size;
        state.parts_in_flight += 1;
        while state.tasks.try_join_next().is_some() {}
        let task = async move {
            let retried = || shared.state().retries += 1;
            let result = shared
                .target
                .part(&upload, number, bytes.clone(), retried)
                .await;
            let mut state = shared.state();
            state.bytes_in_flight -= size;
            state.parts_in_flight -= 1;
            match result {
                Ok(part) => {
                    state.parts.insert(number, part);
                    let spares = shared.target.options.parallel as usize;
                    if let Ok(mut buffer) = bytes.try_into_mut()
                        && state.spare.len() < spares.min(2)
                    {
                        buffer.clear();
                        state.spare.push(buffer);
                    }
                }
                Err(error) => {
                    state.failure.get_or_insert(error);
                }
            }
            drop(state);
            shared.changed.notify_waiters();
        };
        state.tasks.spawn_on(task, &self.shared.runtime);
    }

    fn check(&self) -> Result<(), S3Error> {
        let uri = &self.shared.target.uri;
        if self.over {
            let text = "the upload is over already";
            return Err(S3Error::local(ErrorKind::Invalid, "writing", uri, text));
        }
        match &self.shared.state().failure {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Sends what is left, waits for all parts and makes the object of them.
    ///
    /// # Errors
    /// Those of the server. The upload is as it was then: call [`Self::give_up`].
    pub async fn finish(&mut self) -> Result<Finished, S3Error> {
        if self.ending.is_none() {
            self.check()?;
            let shared = self.shared.clone();
            let end: JoinHandle<_> = if self.number == 1 {
                let bytes = std::mem::take(&mut self.current).freeze();
                self.start = bytes.len() as u64;
                self.shared
                    .runtime
                    .spawn(async move { shared.target.put(bytes).await })
            } else {
                let upload = self.upload().await?;
                if !self.current.is_empty() {
                    self.room(self.current.len() as u64).await?;
                    let last = std::mem::take(&mut self.current);
                    self.start += last.len() as u64;
                    self.dispatch(&upload, self.number, last.freeze());
                }
                if let Some(size) = self.head.as_ref().map(|h| h.len() as u64) {
                    self.room(size).await?;
                    if let Some(head) = self.head.take() {
                        self.dispatch(&upload, 1, head.freeze());
                    }
                }
                self.all_arrived().await?;
                let parts = self.shared.state().parts.clone();
                let complete = async move { shared.target.complete(&upload, &parts).await };
                self.shared.runtime.spawn(complete)
            };
            self.ending = Some(end);
        }
        let Some(end) = self.ending.as_mut() else {
            return Err(lost(&self.shared.target.uri, "writing"));
        };
        let ended = end.await;
        self.ending = None;
        let ended = ended.map_err(|_| lost(&self.shared.target.uri, "writing"));
        match ended.and_then(|finished| finished) {
            Ok(finished) => {
                self.over = true;
                Ok(finished)
            }
            Err(error) => {
                self.shared.state().failure = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn all_arrived(&self) -> Result<(), S3Error> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.shared.state();
                if let Some(error) = &state.failure {
                    return Err(error.clone());
                }
                if state.parts_in_flight == 0 {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Ends an upload that cannot be ended properly, as [`OnError`] says; gives the finished object
    /// where that is what it says, and the id of the upload where its parts stay.
    ///
    /// An upload one of whose parts failed is never completed: it would have a hole.
    ///
    /// # Errors
    /// Those of the server, with the id of the upload that is left, after `limit` at most.
    pub async fn give_up(&mut self, limit: Duration) -> Result<Option<Finished>, S3Error> {
        if self.over {
            return Ok(None);
        }
        let target = &self.shared.target;
        let whole = self.shared.state().failure.is_none();
        match target.options.on_error {
            OnError::Complete if whole && !self.is_empty() => {
                return self.finish().await.map(Some);
            }
            OnError::Keep => {
                self.over = true;
                self.stop_tasks().await;
                return Ok(None);
            }
            _ => {}
        }
        self.over = true;
        self.stop_tasks().await;
        let id = match (&self.upload, self.beginning.take()) {
            (Some(upload), _) => upload.id.clone(),
            // Asked for, and not answered yet: the answer names what has to be aborted.
            (None, Some(task)) => match tokio::time::timeout(limit, task).await {
                Ok(Ok(Ok(upload))) => upload.id,
                _ => return Ok(None),
            },
            (None, None) => return Ok(None),
        };
        let aborted = tokio::time::timeout(limit, self.shared.target.abort(&id)).await;
        let aborted = aborted.unwrap_or_else(|_| {
            let text = format!("no answer within {} s", limit.as_secs_f32());
            let uri = &self.shared.target.uri;
            Err(S3Error::local(
                ErrorKind::Timeout,
                "AbortMultipartUpload",
                uri,
                text,
            ))
        });
        aborted.map(|()| None).map_err(|mut error| {
            error.text.push_str(&format!(
                "; the upload {id} is left and has to be aborted by hand"
            ));
            error
        })
    }

    /// Ends the transfers and waits until they have ended.
    async fn stop_tasks(&mut self) {
        if let Some(end) = self.ending.take() {
            end.abort();
            let _ = end.await;
        }
        let mut tasks = std::mem::take(&mut self.shared.state().tasks);
        tasks.shutdown().await;
    }

    /// How far it has come, also for another thread to look at meanwhile.
    pub fn progress(&self) -> ProgressMeter {
        ProgressMeter(self.shared.clone())
    }

    /// The media type to store where [`Attributes::content_type`] says none. Only the first one
    /// counts, and only until the upload begins.
    pub fn suggest_content_type(&self, content_type: &str) {
        let _ = self.shared.target.suggested.set(content_type.to_owned());
    }
}

/// How far an upload has come; stays valid when the writer is gone.
#[derive(Debug, Clone)]
pub struct ProgressMeter(Arc<Shared>);

impl ProgressMeter {
    /// The figures at this moment.
    pub fn read(&self) -> Progress {
        self.0.progress()
    }
}

impl Drop for ObjectWriter {
    /// An upload that nobody ended is aborted in the background, as far as the process lives on.
    fn drop(&mut self) {
        self.shared.state().tasks.abort_all();
        let keep = self.shared.target.options.on_error == OnError::Keep;
        if self.over || keep {
            return;
        }
        let (shared, upload, beginning) = (
            self.shared.clone(),
            self.upload.take(),
            self.beginning.take(),
        );
        let abort = async move {
            let id = match (upload, beginning) {
                (Some(upload), _) => upload.id.clone(),
                (None, Some(task)) => task.await.ok()?.ok()?.id,
                (None, None) => return None,
            };
            shared.target.abort(&id).await.ok()
        };
        drop(self.shared.runtime.spawn(abort));
    }
}
