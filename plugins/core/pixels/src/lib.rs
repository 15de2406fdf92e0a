//! Planes, colour, chroma and resampling for gst-neural.
#![deny(missing_docs)]
