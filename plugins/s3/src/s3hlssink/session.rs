//! What goes on between start and stop: fragments that are open, and a queue of all that has to
//! reach S3, in order.
//!
//! Locks: a fragment's body is held while its bytes are written, which may wait for the server; no
//! other lock is. `open` and `incomplete` are held for moments only.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use gio::prelude::*;
use gst::{glib, prelude::*};
use gstneural_s3::{ObjectWriter, S3Error, S3Uri, delete_object, runtime};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use super::{S3HlsSink, Segment, location, settings::Plan};
use crate::connection::resource_error;

/// Fragments that are held at a time, in whole or in part.
const FRAGMENTS: usize = 3;
/// Objects that are deleted at the same time.
const DELETIONS: usize = 8;
/// Longest time that giving up a fragment may take.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(10);
/// Longest time that what is complete has to reach S3 after a stop without EOS.
const STOP_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

fn cancelled() -> glib::Error {
    glib::Error::new(gio::IOErrorEnum::Cancelled, "the element is stopping")
}

/// Bytes of a fragment on their way.
struct Body {
    writer: ObjectWriter,
    /// What was taken when writing was interrupted, and is written first.
    rest: Vec<u8>,
}

/// A fragment that is not complete in S3 yet.
pub(super) struct Fragment {
    uri: S3Uri,
    body: Mutex<Option<Body>>,
    room: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Fragment {
    fn name(&self) -> String {
        location::base(&self.uri.to_string()).to_owned()
    }

    fn take(&self) -> Option<Body> {
        lock(&self.body).take()
    }

    /// Lets go of what was written so far.
    async fn give_up(&self) -> Result<(), S3Error> {
        let body = self.take();
        let given_up = match body {
            Some(mut body) => body.writer.give_up(GIVE_UP_LIMIT).await.map(|_| ()),
            None => Ok(()),
        };
        lock(&self.room).take();
        given_up
    }
}

/// What is done in order.
pub(super) enum Job {
    /// Completes a fragment.
    Complete(Arc<Fragment>),
    /// Gives up a fragment.
    GiveUp(Arc<Fragment>),
    /// Writes the playlist.
    Playlist(Vec<u8>),
    /// Deletes a fragment.
    Delete(S3Uri),
    /// Does this when all before is done; it is given whether that went well.
    Then(Box<dyn FnOnce(bool) + Send>),
}

/// A run of the element.
pub(super) struct Session {
    element: glib::WeakRef<S3HlsSink>,
    plan: Plan,
    handle: Handle,
    /// Ends waiting in the streaming threads.
    cancel: runtime::Cancel,
    stopping: AtomicBool,
    failed: AtomicBool,
    jobs: mpsc::UnboundedSender<Job>,
    halt: watch::Sender<bool>,
    room: Arc<Semaphore>,
    open: Mutex<Vec<Arc<Fragment>>>,
    /// Names of fragments that were begun and are not complete: no playlist may name them.
    incomplete: Mutex<HashSet<String>>,
}

/// A session and what works for it.
pub(super) struct Running {
    pub session: Arc<Session>,
    worker: JoinHandle<()>,
}

impl Running {
    /// Begins, once it is clear that the settings can be right; nothing is asked of the server.
    pub fn start(element: &S3HlsSink, plan: Plan) -> Result<Self, gst::ErrorMessage> {
        let failed = |text: &str| gst::error_msg!(gst::ResourceError::Failed, ["{}", text]);
        let handle = runtime::handle().map_err(|e| failed(&e))?;
        let looked = [
            (&plan.template.first, &plan.segment_options),
            (&plan.playlist, &plan.playlist_options),
        ];
        for (uri, options) in looked {
            let open = ObjectWriter::open(&plan.connection, uri, options.clone());
            handle.block_on(open).map_err(|e| {
                let kind = resource_error(&e, gst::ResourceError::OpenWrite);
                gst::error_msg!(kind, ["{}", e])
            })?;
        }
        let (jobs, queue) = mpsc::unbounded_channel();
        let session = Arc::new(Session {
            element: element.downgrade(),
            plan,
            handle: handle.clone(),
            cancel: runtime::Cancel::default(),
            stopping: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            jobs,
            halt: watch::Sender::new(false),
            room: Arc::new(Semaphore::new(FRAGMENTS)),
            open: Mutex::default(),
            incomplete: Mutex::default(),
        });
        let worker = handle.spawn(Worker::new(session.clone()).run(queue));
        Ok(Self { session, worker })
    }

    /// Ends: what is complete reaches S3 if it does so soon, the rest is given up.
    pub fn stop(self) {
        let session = self.session;
        session.interrupt();
        let open = std::mem::take(&mut *lock(&session.open));
        let handle = session.handle.clone();
        let worker = self.worker;
        handle.block_on(async move {
            for fragment in open {
                session.warn_of(fragment.give_up().await);
            }
            let (done, at_last) = tokio::sync::oneshot::channel();
            session.send(Job::Then(Box::new(move |_| {
                let _ = done.send(());
            })));
            if tokio::time::timeout(STOP_LIMIT, at_last).await.is_err() {
                session.warn(
                    "stopped before the last fragments and the playlist were written: the server \
                     did not take them in time; send EOS and wait for it to have them all",
                );
            }
            session.halt.send_replace(true);
            let _ = worker.await;
        });
    }
}

impl Session {
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Ends all waiting: nothing that comes from now on is taken.
    pub fn interrupt(&self) {
        self.stopping.store(true, SeqCst);
        self.cancel.set(true);
    }

    pub fn send(&self, job: Job) {
        // Without a worker the run is over, and nothing is waiting for it.
        let _ = self.jobs.send(job);
    }

    /// Begins a fragment; `None` when that failed (an error was posted) or the run is over.
    pub fn begin(&self, location: &str) -> Option<Arc<Fragment>> {
        if self.failed.load(SeqCst) || self.stopping.load(SeqCst) {
            return None;
        }
        let uri = match S3Uri::parse(location) {
            Ok(uri) => uri,
            Err(error) => {
                self.post_error(gst::ResourceError::Settings, &error.to_string());
                return None;
            }
        };
        let begun = runtime::wait(&self.handle, &self.cancel, async {
            let room = self.room.clone().acquire_owned().await.ok();
            let (connection, options) = (&self.plan.connection, &self.plan.segment_options);
            let writer = ObjectWriter::open(connection, &uri, options.clone()).await;
            (room, writer)
        });
        let (room, writer) = begun?;
        match writer {
            Ok(writer) => {
                let body = Body {
                    writer,
                    rest: Vec::new(),
                };
                let fragment = Arc::new(Fragment {
                    uri,
                    body: Mutex::new(Some(body)),
                    room: Mutex::new(room),
                });
                lock(&self.incomplete).insert(fragment.name());
                lock(&self.open).push(fragment.clone());
                Some(fragment)
            }
            Err(error) => {
                self.fail(&error, "");
                None
            }
        }
    }

    /// Takes bytes of a fragment. When it is interrupted (to pause), what could not be written is
    /// kept for the next time.
    pub fn write(
        &self,
        fragment: &Arc<Fragment>,
        bytes: &[u8],
        interrupt: Option<&gio::Cancellable>,
    ) -> Result<(), glib::Error> {
        let mut guard = lock(&fragment.body);
        let Some(body) = guard.as_mut().filter(|_| !self.failed.load(SeqCst)) else {
            if self.stopping.load(SeqCst) {
                return Err(cancelled());
            }
            let text = format!("{} is over and takes no more bytes", fragment.uri);
            return Err(glib::Error::new(gio::IOErrorEnum::Closed, &text));
        };
        // Until the pausing thread gets the sink's lock, more buffers can come: they are put aside,
        // each in a moment, or they would keep that thread waiting.
        if interrupt.is_some_and(|i| i.is_cancelled()) {
            body.rest.extend_from_slice(bytes);
            return Ok(());
        }
        let before = std::mem::take(&mut body.rest);
        let joined;
        let data = if before.is_empty() {
            bytes
        } else {
            joined = [before.as_slice(), bytes].concat();
            joined.as_slice()
        };
        let (sender, mut interrupted) = watch::channel(false);
        let handler = interrupt.and_then(|i| {
            i.connect_cancelled(move |_| {
                sender.send_replace(true);
            })
        });
        let listening = handler.is_some();
        let mut consumed = 0;
        let write = async {
            tokio::select! {
                biased;
                written = body.writer.write(data, &mut consumed) => Some(written),
                true = async { interrupted.wait_for(|i| *i).await.is_ok() }, if listening => None,
            }
        };
        let written = runtime::wait(&self.handle, &self.cancel, write);
        if let (Some(interrupt), Some(handler)) = (interrupt, handler) {
            interrupt.disconnect_cancelled(handler);
        }
        match written {
            Some(Some(Ok(()))) => Ok(()),
            Some(Some(Err(error))) => {
                drop(guard);
                lock(&self.open).retain(|f| !Arc::ptr_eq(f, fragment));
                self.fail(&error, "");
                self.send(Job::GiveUp(fragment.clone()));
                let text = error.to_string();
                Err(glib::Error::new(gio::IOErrorEnum::Failed, &text))
            }
            Some(None) => {
                body.rest = data.get(consumed..).unwrap_or_default().to_vec();
                Ok(())
            }
            None => Err(cancelled()),
        }
    }

    /// The fragment has all its bytes.
    pub fn complete(&self, fragment: &Arc<Fragment>) {
        let mut open = lock(&self.open);
        let before = open.len();
        open.retain(|f| !Arc::ptr_eq(f, fragment));
        if open.len() < before {
            self.send(Job::Complete(fragment.clone()));
        }
    }

    /// The fragment will not get all its bytes.
    pub fn abandon(&self, fragment: &Arc<Fragment>) {
        let mut open = lock(&self.open);
        let before = open.len();
        open.retain(|f| !Arc::ptr_eq(f, fragment));
        if open.len() < before {
            self.send(Job::GiveUp(fragment.clone()));
        }
    }

    /// A playlist is about to come: what is open has all its bytes, but for a stop in the middle.
    pub fn complete_all(&self) {
        if self.stopping.load(SeqCst) {
            return;
        }
        for fragment in lock(&self.open).drain(..) {
            self.send(Job::Complete(fragment));
        }
    }

    /// Posts the error, if it is the first, and lets no playlist be written any more.
    fn fail(&self, error: &S3Error, note: &str) {
        let kind = resource_error(error, gst::ResourceError::Write);
        self.post_error(kind, &format!("{error}{note}"));
    }

    fn post_error(&self, kind: gst::ResourceError, text: &str) {
        let first = !self.failed.swap(true, SeqCst);
        let Some(element) = self.element.upgrade() else {
            return;
        };
        if first {
            gst::element_error!(element, kind, ["{}", text]);
        } else {
            gst::error!(gst::CAT_RUST, obj = element, "{text}");
        }
    }

    fn warn(&self, text: &str) {
        if let Some(element) = self.element.upgrade() {
            gst::element_warning!(element, gst::ResourceError::Write, ["{}", text]);
        }
    }

    fn warn_of(&self, result: Result<(), S3Error>) {
        if let Err(error) = result {
            self.warn(&error.to_string());
        }
    }
}

/// Runs `act` where it may block: what handles a message may do anything.
async fn aside(act: impl FnOnce() + Send + 'static) {
    let _ = tokio::task::spawn_blocking(act).await;
}

/// Does the jobs, one after the other.
struct Worker {
    session: Arc<Session>,
    halted: watch::Receiver<bool>,
    /// Complete, and not yet named by a playlist in S3.
    new: Vec<Segment>,
    deletions: JoinSet<()>,
}

impl Worker {
    fn new(session: Arc<Session>) -> Self {
        Self {
            halted: session.halt.subscribe(),
            session,
            new: Vec::new(),
            deletions: JoinSet::new(),
        }
    }

    /// The result of `act`, or `None` when it is time to end.
    async fn unless_halted<T>(
        halted: &mut watch::Receiver<bool>,
        act: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            _ = halted.wait_for(|h| *h) => None,
            result = act => Some(result),
        }
    }

    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        let mut halted = self.halted.clone();
        while let Some(Some(job)) = Self::unless_halted(&mut halted, queue.recv()).await {
            match job {
                Job::Complete(fragment) => self.complete(&fragment).await,
                Job::GiveUp(fragment) => self.give_up(&fragment).await,
                Job::Playlist(bytes) => self.playlist(bytes).await,
                Job::Delete(uri) => self.delete(uri).await,
                Job::Then(act) => {
                    while Self::unless_halted(&mut halted, self.deletions.join_next())
                        .await
                        .flatten()
                        .is_some()
                    {}
                    let well = !self.session.failed.load(SeqCst);
                    aside(move || act(well)).await;
                }
            }
        }
        self.deletions.shutdown().await;
        queue.close();
        while let Some(job) = queue.recv().await {
            if let Job::Complete(fragment) | Job::GiveUp(fragment) = job {
                self.give_up(&fragment).await;
            }
        }
    }

    async fn give_up(&self, fragment: &Fragment) {
        if let Err(error) = fragment.give_up().await {
            let session = self.session.clone();
            aside(move || session.warn_of(Err(error))).await;
        }
    }

    async fn fail(&self, error: S3Error, note: String) {
        let session = self.session.clone();
        aside(move || session.fail(&error, &note)).await;
    }

    async fn complete(&mut self, fragment: &Arc<Fragment>) {
        if self.session.failed.load(SeqCst) {
            return self.give_up(fragment).await;
        }
        let Some(mut body) = fragment.take() else {
            return;
        };
        let ended = Self::unless_halted(&mut self.halted, async {
            let mut consumed = 0;
            body.writer.write(&body.rest, &mut consumed).await?;
            body.writer.finish().await
        });
        match ended.await {
            Some(Ok(finished)) => {
                lock(&self.session.incomplete).remove(&fragment.name());
                self.new.push(Segment {
                    uri: fragment.uri.to_string(),
                    size: finished.size,
                    duration: None,
                });
            }
            Some(Err(error)) => {
                let left = body.writer.give_up(GIVE_UP_LIMIT).await.err();
                let note = left.map(|e| format!("; {e}")).unwrap_or_default();
                self.fail(error, note).await;
            }
            None => {
                let _ = body.writer.give_up(GIVE_UP_LIMIT).await;
            }
        }
        lock(&fragment.room).take();
    }

    async fn playlist(&mut self, bytes: Vec<u8>) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let named = location::entries(&text);
        let unfinished = {
            let incomplete = lock(&self.session.incomplete);
            named.iter().any(|(name, _)| incomplete.contains(*name))
        };
        // The second is what the fragment on which the element stopped would come to.
        if self.session.failed.load(SeqCst) || unfinished {
            return;
        }
        let plan = self.session.plan();
        let written = Self::unless_halted(&mut self.halted, async {
            let (uri, options) = (&plan.playlist, plan.playlist_options.clone());
            let mut writer = ObjectWriter::open(&plan.connection, uri, options).await?;
            let mut consumed = 0;
            writer.write(&bytes, &mut consumed).await?;
            writer.finish().await
        });
        match written.await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return self.fail(error, String::new()).await,
            None => return,
        }
        let mut new = std::mem::take(&mut self.new);
        for segment in &mut new {
            let name = location::base(&segment.uri);
            let entry = named.iter().find(|(named, _)| *named == name);
            segment.duration = entry.and_then(|(_, duration)| *duration);
        }
        let element = self.session.element.clone();
        aside(move || {
            for segment in new {
                let Some(element) = element.upgrade() else {
                    return;
                };
                let message = gst::message::Element::builder(segment.to_structure());
                let _ = element.post_message(message.src(&element).build());
            }
        })
        .await;
    }

    async fn delete(&mut self, uri: S3Uri) {
        // The playlist that no longer names it was not written.
        if self.session.failed.load(SeqCst) {
            return;
        }
        while self.deletions.len() >= DELETIONS {
            let next = Self::unless_halted(&mut self.halted, self.deletions.join_next());
            if next.await.is_none() {
                return;
            }
        }
        let session = self.session.clone();
        self.deletions.spawn(async move {
            let deleted = delete_object(&session.plan.connection, &uri).await;
            if let Err(error) = deleted {
                aside(move || session.warn_of(Err(error))).await;
            }
        });
    }
}
