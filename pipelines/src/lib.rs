//! One-line jobs on GStreamer graphs around the element `nnupscale`.
//!
//! The program `gst-neural` is a thin shell over this library: [`cli`] reads the command line,
//! [`probe`] looks at the input, [`plan`] decides what happens to each stream, [`graph`] builds
//! the pipeline, [`run`] drives it to its end, and [`output`] puts the finished file under its name.
#![deny(missing_docs)]

pub mod bd_rate;
mod branches;
pub mod cli;
pub mod compare;
mod deinterlace;
mod describe;
pub mod doctor;
pub mod encoder;
pub mod failure;
pub mod graph;
pub mod ground_truth;
pub mod job;
pub mod ladder;
pub mod live;
mod location;
pub mod models;
pub mod mp4;
pub mod output;
mod parts;
pub mod plan;
pub mod plugins;
pub mod probe;
pub mod rates;
pub mod report;
pub mod run;
pub mod timing;
pub mod transport;
mod watch;
