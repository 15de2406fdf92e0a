//! GStreamer plugin with `psnrsink`: video quality against a reference.

use gst::glib;

pub mod psnrsink;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    psnrsink::register(plugin)
}

gst::plugin_define!(
    quality,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
