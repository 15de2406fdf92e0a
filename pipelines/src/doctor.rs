//! `gst-neural doctor`: what is installed, what is missing, and the command that mends it.

use crate::failure::{Exit, Failure, package_of};
use crate::live::ingest;
use crate::models::roots;
use crate::plugins;
use gstneural_inference::{ModelStore, runtime};

/// Without these nothing works.
const NEEDED: &[&str] = &[
    "filesrc",
    "parsebin",
    "decodebin",
    "videoconvert",
    "x264enc",
    "h264parse",
    "mp4mux",
    "qtdemux",
    "avdec_h264",
];
/// Each of these is for some jobs.
const WANTED: &[&str] = &[
    "x265enc",
    "av1enc",
    "vp9enc",
    "matroskamux",
    "webmmux",
    "qtmux",
    "mpegtsmux",
    "matroskademux",
    "tsdemux",
    "avenc_aac",
    "opusenc",
    "aacparse",
    "avdec_h265",
    "avenc_ffv1",
    "y4mdec",
    "videoflip",
    "videoscale",
    "deinterlace",
    "souphttpsrc",
    "rtmp2src",
    "flvdemux",
    "srtsrc",
];

/// What a user chooses by name, and the element behind each.
const CHOICES: &[(&str, &[(&str, &str)])] = &[
    (
        "encoders",
        &[
            ("x264", "x264enc"),
            ("x265", "x265enc"),
            ("av1", "av1enc"),
            ("vp9", "vp9enc"),
        ],
    ),
    (
        "containers",
        &[
            ("mp4", "mp4mux"),
            ("mov", "qtmux"),
            ("mkv", "matroskamux"),
            ("webm", "webmmux"),
            ("ts", "mpegtsmux"),
        ],
    ),
];

/// Prints the findings; an error if an upscale could not run.
pub fn run() -> Result<Exit, Failure> {
    let mut healthy = true;
    println!("GStreamer     {}", gst::version_string());
    for (list, needed) in [(NEEDED, true), (WANTED, false)] {
        for name in list {
            if gst::ElementFactory::find(name).is_none() {
                healthy &= !needed;
                let fix = package_of(name)
                    .map(|p| format!(": apt install {p}"))
                    .unwrap_or_default();
                println!(
                    "{}  element {name}{fix}",
                    if needed { "MISSING" } else { "missing" }
                );
            }
        }
    }
    match plugins::ensure_nnupscale() {
        Ok(()) => println!("nnupscale     found"),
        Err(e) => {
            healthy = false;
            println!("MISSING  {e}");
        }
    }
    match plugins::ensure_psnrsink() {
        Ok(()) => println!("psnrsink      found"),
        Err(e) => println!("missing  {e} (compare, ladder and --measure need it)"),
    }
    match plugins::ensure_neuralcodec() {
        Ok(()) => println!("neuralcodec   found"),
        Err(e) => println!("missing  {e} (encode, and reading what it made, need it)"),
    }
    match plugins::ensure_s3() {
        Ok(()) => println!("s3            found"),
        Err(e) => println!("missing  {e} (s3:// needs it)"),
    }
    match ingest::nginx::installed(None, None) {
        Ok(_) => println!("nginx, RTMP   found"),
        Err(e) => println!("missing  {e} (live --with-ingest needs it)"),
    }
    if let Err(e) = plugins::ensure_cmafmux() {
        println!("missing  {e} (live --container cmaf needs it: make build)");
    }
    match runtime::environment(&roots()) {
        Ok(_) => println!(
            "ONNX Runtime  {}",
            runtime::description().unwrap_or("loaded")
        ),
        Err(e) => {
            healthy = false;
            println!(
                "MISSING  ONNX Runtime: packaging/setup.sh installs it, or ORT_DYLIB_PATH names it ({e})"
            );
        }
    }
    let models = ModelStore::new(None, &roots()).list().len();
    if models == 0 {
        healthy = false;
        println!("MISSING  models: GST_NEURAL_MODEL_PATH names their folder");
    } else {
        println!("models        {models}");
    }
    for (what, choices) in CHOICES {
        let there: Vec<&str> = choices
            .iter()
            .filter(|(_, element)| gst::ElementFactory::find(element).is_some())
            .map(|(name, _)| *name)
            .collect();
        println!("{what:<13} {}", there.join(" "));
    }
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    println!("devices       cpu ({cores} threads)");
    match gstneural_inference::gpus() {
        Ok(gpus) => gpus
            .iter()
            .for_each(|gpu| println!("              cuda: {gpu}")),
        Err(why) => println!("              no GPU: {why}"),
    }
    Ok(if healthy { Exit::Ok } else { Exit::Error })
}
