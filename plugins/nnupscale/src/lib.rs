//! GStreamer plugin with `nnupscale`: super-resolution of video by neural networks.

use gst::glib;

pub mod nnupscale;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    nnupscale::register(plugin)
}

gst::plugin_define!(
    nnupscale,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
