//! GStreamer plugin with `s3src`, `s3sink` and `s3hlssink`: video straight out of and into S3.

use gst::glib;

mod connection;
pub mod s3hlssink;
pub mod s3sink;
pub mod s3src;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    s3src::register(plugin)?;
    s3sink::register(plugin)?;
    s3hlssink::register(plugin)
}

gst::plugin_define!(
    s3,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
