//! Finding our elements.

use crate::failure::Failure;
use std::path::PathBuf;

/// Starts GStreamer.
pub fn init() -> Result<(), Failure> {
    gst::init().map_err(|e| Failure::new(format!("GStreamer does not start: {e}")))?;
    // Inputs may be coded by our codec, whatever the job. Where the plugin is missing, and needed,
    // the job says so.
    let _ = ensure_neuralcodec();
    Ok(())
}

/// The folders beside the program in which its plugins may lie.
pub fn folders() -> Vec<PathBuf> {
    let Some(dir) = std::env::current_exe()
        .and_then(|exe| exe.canonicalize())
        .ok()
        .and_then(|exe| exe.parent().map(PathBuf::from))
    else {
        return Vec::new();
    };
    let mut folders = vec![
        dir.clone(),
        dir.join("gstreamer-1.0"),
        dir.join("../lib/gstreamer-1.0"),
        dir.join(format!(
            "../lib/{}-linux-gnu/gstreamer-1.0",
            std::env::consts::ARCH
        )),
    ];
    // `cargo test` leaves the plugin it builds there.
    folders.push(dir.join("deps"));
    folders
}

/// Makes `nnupscale` known to GStreamer: from its plugin path, else from beside the program.
pub fn ensure_nnupscale() -> Result<(), Failure> {
    ensure("nnupscale", "nnupscale")
}

/// Makes `psnrsink` known to GStreamer: from its plugin path, else from beside the program.
pub fn ensure_psnrsink() -> Result<(), Failure> {
    ensure("psnrsink", "quality")
}

/// Makes `neuralenc`, `neuraldec` and `neuralmkvmux` known to GStreamer: from its plugin path, else from
/// beside the program.
pub fn ensure_neuralcodec() -> Result<(), Failure> {
    ensure("neuralenc", "neuralcodec")
}

/// Makes `s3src` and `s3sink` known to GStreamer: from its plugin path, else from beside the program.
pub fn ensure_s3() -> Result<(), Failure> {
    ensure("s3src", "s3")?;
    ensure("s3sink", "s3")
}

/// Makes `cmafmux` known to GStreamer: from its plugin path, else from beside the program.
pub fn ensure_cmafmux() -> Result<(), Failure> {
    ensure("cmafmux", "fmp4")
}

fn ensure(element: &str, plugin: &str) -> Result<(), Failure> {
    let known = || gst::ElementFactory::find(element).is_some();
    if known() {
        return Ok(());
    }
    let file = format!(
        "{}gst{plugin}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let mut found = None;
    for folder in folders() {
        let path = folder.join(&file);
        if path.is_file() {
            // Only this file: the folder of a build holds other shared objects, too.
            match gst::Plugin::load_file(&path) {
                Ok(plugin) => {
                    let _ = gst::Registry::get().add_plugin(&plugin);
                    if known() {
                        return Ok(());
                    }
                }
                Err(err) => found = Some(format!("{}: {err}", path.display())),
            }
        }
    }
    Err(match found {
        Some(why) => Failure::new(format!("the plugin with `{element}` does not load: {why}")),
        None => Failure::new(format!(
            "GStreamer has no element `{element}`: {file} is neither in its plugin path nor beside the program"
        ))
        .hint("set GST_PLUGIN_PATH to the folder that holds it"),
    })
}
