//! GStreamer plugin: neural super-resolution.
