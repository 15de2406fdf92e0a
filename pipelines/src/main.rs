//! The program `gst-neural`.
fn main() {}
