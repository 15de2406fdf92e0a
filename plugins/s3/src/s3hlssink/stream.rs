//! What `hlssink2` writes to.

use std::sync::{Arc, Mutex, OnceLock};

use gio::subclass::prelude::*;
use gst::glib;

use super::session::{Fragment, Job, Session, lock};

/// Where the bytes go.
pub(super) enum Target {
    /// Into a fragment, which is given up unless the stream is closed or a playlist follows.
    Fragment(Arc<Session>, Arc<Fragment>),
    /// Into a playlist, which is short and held until it is whole.
    Playlist(Arc<Session>, Mutex<Vec<u8>>),
    /// Nowhere: the run is over.
    Nowhere,
}

glib::wrapper! {
    /// A stream into S3.
    pub(super) struct Stream(ObjectSubclass<imp::Stream>) @extends gio::OutputStream;
}

impl Stream {
    pub fn new(target: Target) -> Self {
        let this: Self = glib::Object::new();
        // Nobody else has it yet: this cannot be the second time.
        let _ = this.imp().target.set(target);
        this
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub(in super::super) struct Stream {
        pub target: OnceLock<Target>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Stream {
        const NAME: &'static str = "GstNeuralS3HlsStream";
        type Type = super::Stream;
        type ParentType = gio::OutputStream;
    }

    impl ObjectImpl for Stream {
        /// The parent closes what was not closed; for a fragment that would be wrong.
        fn dispose(&self) {
            if let Some(Target::Fragment(session, fragment)) = self.target.get() {
                session.abandon(fragment);
            }
        }
    }

    impl OutputStreamImpl for Stream {
        fn write(
            &self,
            bytes: &[u8],
            cancellable: Option<&gio::Cancellable>,
        ) -> Result<usize, glib::Error> {
            match self.target.get() {
                Some(Target::Fragment(session, fragment)) => {
                    session.write(fragment, bytes, cancellable)?;
                }
                Some(Target::Playlist(_, whole)) => lock(whole).extend_from_slice(bytes),
                Some(Target::Nowhere) | None => {
                    let text = "the run is over: an error was posted, or the element is stopping";
                    return Err(glib::Error::new(gio::IOErrorEnum::Cancelled, text));
                }
            }
            Ok(bytes.len())
        }

        fn close(&self, _cancellable: Option<&gio::Cancellable>) -> Result<(), glib::Error> {
            match self.target.get() {
                Some(Target::Fragment(session, fragment)) => session.complete(fragment),
                Some(Target::Playlist(session, whole)) => {
                    session.send(Job::Playlist(std::mem::take(&mut lock(whole))));
                }
                Some(Target::Nowhere) | None => {}
            }
            Ok(())
        }

        /// Nothing is gained by sending half a part.
        fn flush(&self, _cancellable: Option<&gio::Cancellable>) -> Result<(), glib::Error> {
            Ok(())
        }
    }
}
