//! Whole graphs for gst-neural: upscale, models, doctor.
#![deny(missing_docs)]
