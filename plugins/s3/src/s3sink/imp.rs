//! The element: states, events, what becomes of a stream that fails.
//!
//! Locks: `settings`, `upload` and `meter`. `upload` belongs to the streaming thread and is held
//! while the server is waited for; nothing else waits for it (`stats` reads `meter`). It is given
//! back before anything that may preroll.

use std::{
    sync::{LazyLock, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use gst::{glib, prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use gstneural_s3::{Connection, Finished, ObjectWriter, ProgressMeter, S3Error, S3Uri, runtime};

use super::{
    content_type, messages,
    settings::{self, Settings},
};
use crate::connection::resource_error;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "s3sink",
        gst::DebugColorFlags::empty(),
        Some("Writing to S3"),
    )
});

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Longest time that giving up an upload may take.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(20);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// An object on its way.
struct Upload {
    writer: ObjectWriter,
    uri: S3Uri,
    connection: Connection,
    told: Instant,
    /// Ended: well, or by an error that was posted.
    over: bool,
}

/// What the caps said comes first: only the first suggestion counts.
fn guess_by_name(upload: &Upload) {
    if let Some(guess) = content_type::of_key(&upload.uri.key) {
        upload.writer.suggest_content_type(guess);
    }
}

/// The element's instance.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct S3Sink {
    settings: Mutex<Settings>,
    upload: Mutex<Option<Upload>>,
    meter: Mutex<Option<ProgressMeter>>,
    cancel: runtime::Cancel,
}

#[glib::object_subclass]
impl ObjectSubclass for S3Sink {
    const NAME: &'static str = "GstNeuralS3Sink";
    type Type = super::S3Sink;
    type ParentType = gst_base::BaseSink;
    type Interfaces = (gst::URIHandler,);
}

impl ObjectImpl for S3Sink {
    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        lock(&self.settings).set(pspec.name(), value);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            let progress = lock(&self.meter).as_ref().map(ProgressMeter::read);
            return messages::progress(&progress.unwrap_or_default()).to_value();
        }
        let value = lock(&self.settings).get(pspec.name());
        value.unwrap_or_else(|| glib::Value::from_type(pspec.value_type()))
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.obj().set_sync(false);
    }
}

impl GstObjectImpl for S3Sink {}

impl ElementImpl for S3Sink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "S3 sink",
                "Sink/Network",
                "Writes an object of S3 while the pipeline runs, in parts, several at a time",
                "The gst-neural developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let (sink, always) = (gst::PadDirection::Sink, gst::PadPresence::Always);
            gst::PadTemplate::new("sink", sink, always, &gst::Caps::new_any())
                .into_iter()
                .collect()
        });
        &TEMPLATES
    }

    // Not in `start` and `stop`: a sink is stopped on its way to NULL, when its messages are
    // thrown away and nobody would learn that a stream was cut off.
    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused
            && let Err(error) = self.begin()
        {
            self.post_error_message(error);
            return Err(gst::StateChangeError);
        }
        let result = self.parent_change_state(transition);
        let failed = transition == gst::StateChange::ReadyToPaused && result.is_err();
        if (transition == gst::StateChange::PausedToReady || failed)
            && let Err(error) = self.end()
        {
            self.post_error_message(error);
        }
        result
    }
}

impl URIHandlerImpl for S3Sink {
    const URI_TYPE: gst::URIType = gst::URIType::Sink;

    fn protocols() -> &'static [&'static str] {
        &["s3"]
    }

    fn uri(&self) -> Option<String> {
        lock(&self.settings).connection.uri_text()
    }

    fn set_uri(&self, uri: &str) -> Result<(), glib::Error> {
        if self.obj().current_state() > gst::State::Ready {
            let text = "the uri cannot be changed while the element runs";
            return Err(glib::Error::new(gst::URIError::BadState, text));
        }
        lock(&self.settings).connection.set_uri(uri)
    }
}

impl BaseSinkImpl for S3Sink {
    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let map = buffer.map_readable().map_err(|_| {
            gst::element_imp_error!(
                self,
                gst::ResourceError::Failed,
                ("a buffer is not readable")
            );
            gst::FlowError::Error
        })?;
        let handle = runtime::handle().map_err(|_| gst::FlowError::Error)?;
        let mut consumed = 0;
        loop {
            let ended = {
                let mut guard = lock(&self.upload);
                let upload = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
                if upload.over {
                    return Err(gst::FlowError::Error);
                }
                if upload.writer.is_empty() {
                    guess_by_name(upload);
                }
                let write = upload.writer.write(&map, &mut consumed);
                let ended = runtime::wait(&handle, &self.cancel, write);
                if let Some(Err(error)) = &ended {
                    self.fail(upload, error);
                }
                self.tell_progress(upload);
                ended
            };
            match ended {
                Some(Ok(())) => return Ok(gst::FlowSuccess::Ok),
                Some(Err(_)) => return Err(gst::FlowError::Error),
                // Interrupted: to pause, then it goes on where it was; or to flush.
                None => {
                    self.obj().wait_preroll()?;
                }
            }
        }
    }

    fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        if let (Some(guess), Some(upload)) = (content_type::of_caps(caps), &*lock(&self.upload)) {
            upload.writer.suggest_content_type(&guess);
        }
        self.parent_set_caps(caps)
    }

    fn event(&self, event: gst::Event) -> bool {
        let good = match event.view() {
            gst::EventView::Segment(segment) => {
                match segment.segment().downcast_ref::<gst::format::Bytes>() {
                    Some(bytes) => self.seek(*bytes.start().unwrap_or_default()),
                    None => true,
                }
            }
            gst::EventView::FlushStop(_) => self.begin_again(),
            gst::EventView::Eos(_) => self.finish(),
            _ => true,
        };
        // The event is the parent's in any case, but for an EOS that would hide a failure.
        if good {
            self.parent_event(event)
        } else {
            false
        }
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Seeking(q) if q.format() == gst::Format::Bytes => {
                q.set(true, gst::format::Bytes::ZERO, None::<gst::format::Bytes>);
                true
            }
            gst::QueryViewMut::Formats(q) => {
                q.set([gst::Format::Default, gst::Format::Bytes]);
                true
            }
            gst::QueryViewMut::Position(q) if q.format() == gst::Format::Bytes => {
                let meter = lock(&self.meter).clone();
                let written = meter.map_or(0, |m| m.read().bytes_written);
                q.set(gst::format::Bytes::from_u64(written));
                true
            }
            _ => BaseSinkImplExt::parent_query(self, query),
        }
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        self.cancel.set(true);
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        self.cancel.set(false);
        Ok(())
    }
}

impl S3Sink {
    fn begin(&self) -> Result<(), gst::ErrorMessage> {
        self.cancel.set(false);
        let settings = lock(&self.settings).clone();
        let (uri, connection) = settings.connection.resolve()?;
        let upload = self.open(uri, connection, &settings)?;
        *lock(&self.meter) = Some(upload.writer.progress());
        *lock(&self.upload) = Some(upload);
        Ok(())
    }

    fn end(&self) -> Result<(), gst::ErrorMessage> {
        let upload = lock(&self.upload).take();
        let Some(mut upload) = upload.filter(|u| !u.over) else {
            return Ok(());
        };
        if upload.writer.is_empty() {
            // Nothing was begun, so nothing is lost.
            return Ok(());
        }
        let written = upload.writer.len();
        let text = format!("{}: stopped after {written} bytes without EOS", upload.uri);
        let (what, error) = match self.give_up(&mut upload) {
            Ok(Some(finished)) => {
                self.tell_finished(&upload.uri, &finished);
                return Ok(());
            }
            Ok(None) => ("", None),
            Err(error) => ("; ", Some(error)),
        };
        let error = error.map(|e| e.to_string()).unwrap_or_default();
        Err(gst::error_msg!(
            gst::ResourceError::Write,
            ("{}; the object was not written{}{}", text, what, error)
        ))
    }

    fn open(
        &self,
        uri: S3Uri,
        connection: Connection,
        settings: &Settings,
    ) -> Result<Upload, gst::ErrorMessage> {
        let options = settings.options()?;
        let failed = |text: &str| gst::error_msg!(gst::ResourceError::Failed, ("{}", text));
        let handle = runtime::handle().map_err(|e| failed(&e))?;
        let open = ObjectWriter::open(&connection, &uri, options);
        let writer = runtime::wait(&handle, &self.cancel, open)
            .ok_or_else(|| failed("interrupted before the upload began"))?
            .map_err(|e| {
                let kind = resource_error(&e, gst::ResourceError::OpenWrite);
                gst::error_msg!(kind, ("{}", e))
            })?;
        Ok(Upload {
            writer,
            uri,
            connection,
            told: Instant::now(),
            over: false,
        })
    }

    fn caps(&self) -> Option<gst::Caps> {
        self.obj()
            .static_pad("sink")
            .and_then(|pad| pad.current_caps())
    }

    fn seek(&self, position: u64) -> bool {
        let mut guard = lock(&self.upload);
        let Some(upload) = guard.as_mut().filter(|u| !u.over) else {
            return false;
        };
        match upload.writer.seek(position) {
            Ok(()) => true,
            Err(error) => {
                self.fail(upload, &error);
                false
            }
        }
    }

    /// After a flush the object begins anew.
    fn begin_again(&self) -> bool {
        let taken = lock(&self.upload).take();
        let Some(mut old) = taken.filter(|u| !u.over) else {
            return true;
        };
        if old.writer.is_empty() {
            *lock(&self.upload) = Some(old);
            return true;
        }
        gst::debug!(
            CAT,
            imp = self,
            "flushed after {} bytes: beginning again",
            old.writer.len()
        );
        let settings = lock(&self.settings).clone();
        let (uri, connection) = (old.uri.clone(), old.connection.clone());
        if let Err(error) = self.give_up(&mut old) {
            gst::warning!(CAT, imp = self, "{error}");
        }
        // What follows the flush may be waited for again.
        self.cancel.set(false);
        match self.open(uri, connection, &settings) {
            Ok(new) => {
                if let Some(guess) = self.caps().and_then(|c| content_type::of_caps(&c)) {
                    new.writer.suggest_content_type(&guess);
                }
                *lock(&self.meter) = Some(new.writer.progress());
                *lock(&self.upload) = Some(new);
                true
            }
            Err(error) => {
                self.post_error_message(error);
                false
            }
        }
    }

    /// Ends the upload at EOS; `false` after an error, which has been posted then.
    fn finish(&self) -> bool {
        let Ok(handle) = runtime::handle() else {
            return false;
        };
        loop {
            let ended = {
                let mut guard = lock(&self.upload);
                let Some(upload) = guard.as_mut() else {
                    return true;
                };
                if upload.over {
                    return false;
                }
                guess_by_name(upload);
                let ended = runtime::wait(&handle, &self.cancel, upload.writer.finish());
                match &ended {
                    Some(Ok(finished)) => {
                        upload.over = true;
                        self.post(messages::progress(&upload.writer.progress().read()));
                        self.tell_finished(&upload.uri, finished);
                    }
                    Some(Err(error)) => self.fail(upload, error),
                    None => {}
                }
                ended
            };
            match ended {
                Some(ended) => return ended.is_ok(),
                // Interrupted: to pause, while the parts go on, or for good. The lock that this
                // waits with is held during this event as it is while rendering.
                None if self.obj().wait_preroll().is_err() => return false,
                None => {}
            }
        }
    }

    /// Posts an error and leaves nothing of the upload, or what `on-error` says.
    fn fail(&self, upload: &mut Upload, error: &S3Error) {
        let kind = resource_error(error, gst::ResourceError::Write);
        let note = match self.give_up(upload) {
            Ok(_) => String::new(),
            Err(error) => format!("; {error}"),
        };
        upload.over = true;
        gst::element_imp_error!(self, kind, ("{}{}", error, note));
    }

    /// Ends the upload as `on-error` says; not to be interrupted, but bounded in time.
    fn give_up(&self, upload: &mut Upload) -> Result<Option<Finished>, S3Error> {
        upload.over = true;
        match runtime::handle() {
            Ok(handle) => handle.block_on(upload.writer.give_up(GIVE_UP_LIMIT)),
            Err(_) => Ok(None),
        }
    }

    fn tell_progress(&self, upload: &mut Upload) {
        if upload.told.elapsed() < PROGRESS_EVERY {
            return;
        }
        upload.told = Instant::now();
        self.post(messages::progress(&upload.writer.progress().read()));
    }

    fn tell_finished(&self, uri: &S3Uri, finished: &Finished) {
        gst::info!(CAT, imp = self, "{uri}: {finished:?}");
        self.post(messages::finished(&uri.to_string(), finished));
    }

    fn post(&self, structure: gst::Structure) {
        let obj = self.obj();
        let message = gst::message::Element::builder(structure).src(&*obj).build();
        let _ = obj.post_message(message);
    }
}
