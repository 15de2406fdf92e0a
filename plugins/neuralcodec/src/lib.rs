//! GStreamer plugin with `neuralenc`, `neuraldec` and `neuralmkvmux`: video coding that decodes to
//! the same bits everywhere.

use gst::glib;

mod coding;
mod colour;
pub mod device;
mod locks;
mod models;
pub mod neuraldec;
pub mod neuralenc;
pub mod neuralmkvmux;
mod pictures;
mod preface;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    neuralenc::register(plugin)?;
    neuraldec::register(plugin)?;
    neuralmkvmux::register(plugin)
}

gst::plugin_define!(
    neuralcodec,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
