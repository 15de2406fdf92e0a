//! The RTMP server in front: nginx with its RTMP module, as a process of our own.
//!
//! [`keys`] says who may publish under which name, [`nginx`] runs the server. A publisher gives its
//! key as the stream's name (that is what OBS calls "stream key"); nginx asks us, and the answer
//! gives the stream its public name, so that nothing behind nginx ever sees the key.

pub mod keys;
pub mod nginx;

pub use keys::{Keys, StreamKey};
pub use nginx::{Ingest, Options};
