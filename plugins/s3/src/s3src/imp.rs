//! The element: states, properties, seeking.
//!
//! Locks: `settings` and `reader`; neither is taken while the other is held, and none is held
//! while the server is waited for.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use gst::{glib, prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use gstneural_s3::{ObjectReader, ReadOptions, ReadStats, S3Error, S3Uri, runtime};

use super::Opened;
use crate::connection::{ConnectionSettings, resource_error};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "s3src",
        gst::DebugColorFlags::empty(),
        Some("Reading from S3"),
    )
});

/// Bytes of one buffer in push mode.
const BLOCK_BYTES: u32 = 256 << 10;

#[derive(Debug, Clone, Default)]
struct Settings {
    connection: ConnectionSettings,
    options: ReadOptions,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// The element's instance.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct S3Src {
    settings: Mutex<Settings>,
    reader: Mutex<Option<Arc<ObjectReader>>>,
    cancel: runtime::Cancel,
}

#[glib::object_subclass]
impl ObjectSubclass for S3Src {
    const NAME: &'static str = "GstNeuralS3Src";
    type Type = super::S3Src;
    type ParentType = gst_base::BaseSrc;
    type Interfaces = (gst::URIHandler,);
}

impl ObjectImpl for S3Src {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let default = ReadOptions::default();
            let mut all = ConnectionSettings::properties();
            all.extend([
                glib::ParamSpecUInt64::builder("range-size")
                    .nick("Range size")
                    .blurb("Most bytes of one request; parallel * range-size are held at most")
                    .minimum(ReadOptions::MIN_RANGE)
                    .maximum(ReadOptions::MAX_RANGE)
                    .default_value(default.range_bytes)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("parallel")
                    .nick("Parallel requests")
                    .blurb("Most requests at the same time")
                    .minimum(1)
                    .maximum(ReadOptions::MAX_PARALLEL)
                    .default_value(default.parallel)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("verify")
                    .nick("Verify")
                    .blurb(
                        "An object read from its first to its last byte is compared with the \
                         checksum that the server keeps of it",
                    )
                    .default_value(default.verify)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Statistics")
                    .blurb("Requests, retries, bytes, latency and throughput so far")
                    .read_only()
                    .build(),
            ]);
            all
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        if settings.connection.set(pspec.name(), value) {
            return;
        }
        let options = &mut settings.options;
        match pspec.name() {
            "range-size" => options.range_bytes = value.get().unwrap_or(options.range_bytes),
            "parallel" => options.parallel = value.get().unwrap_or(options.parallel),
            "verify" => options.verify = value.get().unwrap_or(options.verify),
            _ => {}
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            let reader = lock(&self.reader).clone();
            return stats(reader.map(|r| r.stats()).unwrap_or_default()).to_value();
        }
        let settings = lock(&self.settings);
        match pspec.name() {
            "range-size" => settings.options.range_bytes.to_value(),
            "parallel" => settings.options.parallel.to_value(),
            "verify" => settings.options.verify.to_value(),
            name => {
                let value = settings.connection.get(name);
                value.unwrap_or_else(|| glib::Value::from_type(pspec.value_type()))
            }
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.set_format(gst::Format::Bytes);
        obj.set_blocksize(BLOCK_BYTES);
    }
}

fn stats(stats: ReadStats) -> gst::Structure {
    gst::Structure::builder("s3src-stats")
        .field("requests", stats.requests)
        .field("retries", stats.retries)
        .field("bytes-received", stats.bytes_received)
        .field("bytes-read", stats.bytes_read)
        .field("bytes-held", stats.bytes_held)
        .field("latency-p50", stats.latency_p50.as_nanos() as u64)
        .field("latency-p95", stats.latency_p95.as_nanos() as u64)
        .field("throughput", stats.throughput)
        .build()
}

impl GstObjectImpl for S3Src {}

impl ElementImpl for S3Src {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "S3 source",
                "Source/Network",
                "Reads an object of S3, ahead and over several connections",
                "The gst-neural developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let (src, always) = (gst::PadDirection::Src, gst::PadPresence::Always);
            gst::PadTemplate::new("src", src, always, &gst::Caps::new_any())
                .into_iter()
                .collect()
        });
        &TEMPLATES
    }
}

impl URIHandlerImpl for S3Src {
    const URI_TYPE: gst::URIType = gst::URIType::Src;

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

impl BaseSrcImpl for S3Src {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let (uri, connection) = settings.connection.resolve()?;
        let failed = |text: &str| gst::error_msg!(gst::ResourceError::Failed, ("{}", text));
        let handle = runtime::handle().map_err(|e| failed(&e))?;
        gst::debug!(CAT, imp = self, "opening {uri}");
        // A pad that pushes reads on from the beginning; who pulls may look here and there first.
        let options = ReadOptions {
            sequential: self.obj().src_pad().mode() == gst::PadMode::Push,
            ..settings.options
        };
        let open = ObjectReader::open(&connection, &uri, &options);
        let reader = runtime::wait(&handle, &self.cancel, open)
            .ok_or_else(|| failed("interrupted while the object was opened"))?
            .map_err(|e| {
                let kind = resource_error(&e, gst::ResourceError::OpenRead);
                gst::error_msg!(kind, ("{}", e))
            })?;
        self.announce(&uri, &reader);
        *lock(&self.reader) = Some(Arc::new(reader));
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let reader = lock(&self.reader).take();
        if let Some(reader) = reader {
            gst::debug!(CAT, imp = self, "{:?}", reader.stats());
        }
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Option<u64> {
        lock(&self.reader).as_ref().map(|r| r.info().size)
    }

    fn do_seek(&self, segment: &mut gst::Segment) -> bool {
        let reader = lock(&self.reader).clone();
        if let (Some(reader), Some(bytes)) = (reader, segment.downcast_ref::<gst::format::Bytes>())
            && let Some(start) = bytes.start()
        {
            reader.jump(*start);
        }
        self.parent_do_seek(segment)
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        self.cancel.set(true);
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        self.cancel.set(false);
        Ok(())
    }

    fn fill(
        &self,
        offset: u64,
        length: u32,
        buffer: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let reader = lock(&self.reader).clone().ok_or(gst::FlowError::Flushing)?;
        if offset >= reader.info().size {
            return Err(gst::FlowError::Eos);
        }
        let count = {
            let mut map = buffer.map_writable().map_err(|_| {
                gst::element_imp_error!(
                    self,
                    gst::ResourceError::Failed,
                    ("a buffer is read-only")
                );
                gst::FlowError::Error
            })?;
            let length = (length as usize).min(map.len());
            let into = map.get_mut(..length).unwrap_or_default();
            let handle = runtime::handle().map_err(|_| gst::FlowError::Error)?;
            match runtime::wait(&handle, &self.cancel, reader.read_at(offset, into)) {
                Some(Ok(count)) => count,
                Some(Err(error)) => return Err(self.fail(&error)),
                None => return Err(gst::FlowError::Flushing),
            }
        };
        buffer.set_size(count);
        buffer.set_offset(offset);
        buffer.set_offset_end(offset + count as u64);
        Ok(gst::FlowSuccess::Ok)
    }
}

impl S3Src {
    fn fail(&self, error: &S3Error) -> gst::FlowError {
        let kind = resource_error(error, gst::ResourceError::Read);
        gst::element_imp_error!(self, kind, ("{}", error));
        gst::FlowError::Error
    }

    fn announce(&self, uri: &S3Uri, reader: &ObjectReader) {
        let info = reader.info();
        let opened = Opened {
            uri: uri.to_string(),
            size: info.size,
            etag: info.etag.clone(),
            version_id: info.version_id.clone(),
            content_type: info.content_type.clone(),
        };
        let obj = self.obj();
        let message = gst::message::Element::builder(opened.to_structure()).src(&*obj);
        let _ = obj.post_message(message.build());
    }
}
