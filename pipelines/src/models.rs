//! `gst-neural models`: what networks there are, whether they are whole, how fast they are here.

use crate::failure::{Exit, Failure, make};
use crate::plugins;
use gst::prelude::*;
use gstneural_inference::{Model, ModelInfo, ModelStore, runtime};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The folders that belong to the program.
pub fn roots() -> Vec<PathBuf> {
    let exe = std::env::current_exe()
        .and_then(|e| e.canonicalize())
        .unwrap_or_default();
    runtime::roots(&exe)
}

fn load(store: &ModelStore, name: &str) -> Result<ModelInfo, Failure> {
    let path = store
        .resolve(name)
        .map_err(|e| Failure::new(e.to_string()))?;
    let model = Model::load(&path, &roots()).map_err(|e| Failure::new(e.to_string()))?;
    Ok(model.info().clone())
}

/// Prints every model with its aliases.
pub fn list(dir: Option<&Path>) -> Result<Exit, Failure> {
    let store = ModelStore::new(dir, &roots());
    let entries = store.list();
    if entries.is_empty() {
        return Err(
            Failure::new("no models in any model folder").hint("--model-dir names a folder")
        );
    }
    for entry in entries {
        let aliases = if entry.aliases.is_empty() {
            String::new()
        } else {
            format!("  (also {})", entry.aliases.join(", "))
        };
        println!("{:<28} {}{aliases}", entry.name, entry.path.display());
    }
    Ok(Exit::Ok)
}

/// Prints what is known of one model.
pub fn info(dir: Option<&Path>, name: &str) -> Result<Exit, Failure> {
    let store = ModelStore::new(dir, &roots());
    let info = load(&store, name)?;
    println!("name        {}", info.name);
    println!("scale       {}", info.scale);
    println!(
        "channels    {:?}, {:?}, white {}",
        info.channels, info.layout, info.white
    );
    println!("window      {}", info.window);
    println!("overlap     {}", info.overlap);
    println!("parameters  {}", info.parameters);
    for (key, value) in &info.declared.text {
        println!("{key:<11} {value}");
    }
    Ok(Exit::Ok)
}

/// Loads each model (or the named one) and says whether it does.
pub fn verify(dir: Option<&Path>, name: Option<&str>) -> Result<Exit, Failure> {
    let store = ModelStore::new(dir, &roots());
    let names: Vec<String> = match name {
        Some(n) => vec![n.to_string()],
        None => store.list().into_iter().map(|e| e.name).collect(),
    };
    let mut exit = Exit::Ok;
    for name in names {
        match load(&store, &name) {
            Ok(info) if info.declared.unknown.is_empty() => {
                println!("ok      {name} (x{})", info.scale)
            }
            Ok(info) => println!(
                "ok      {name} (unknown keys: {})",
                info.declared.unknown.join(", ")
            ),
            Err(e) => {
                println!("BROKEN  {name}: {e}");
                exit = Exit::Error;
            }
        }
    }
    Ok(exit)
}

/// Measures a model in the element, on a moving picture of `width` x `height`.
pub fn bench(
    dir: Option<&Path>,
    name: &str,
    width: u32,
    height: u32,
    frames: u32,
) -> Result<Exit, Failure> {
    plugins::ensure_nnupscale()?;
    let fail = |e: gst::glib::BoolError| Failure::new(e.to_string());
    let pipeline = gst::Pipeline::new();
    let src = make("videotestsrc")?;
    src.set_property_from_str("pattern", "ball");
    src.set_property("num-buffers", i32::try_from(frames).unwrap_or(100));
    let caps = make("capsfilter")?;
    caps.set_property(
        "caps",
        gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", width as i32)
            .field("height", height as i32)
            .build(),
    );
    let up = make("nnupscale")?;
    if let Some(dir) = dir {
        up.set_property("model-dir", dir.to_string_lossy().as_ref());
    }
    up.set_property("model", name);
    let sink = make("fakesink")?;
    let chain = [&src, &caps, &up, &sink];
    pipeline.add_many(chain).map_err(fail)?;
    gst::Element::link_many(chain).map_err(fail)?;
    let bus = pipeline
        .bus()
        .ok_or_else(|| Failure::new("a pipeline without a bus"))?;
    let began = Instant::now();
    let _ = pipeline.set_state(gst::State::Playing);
    let message = bus.timed_pop_filtered(None, &[gst::MessageType::Eos, gst::MessageType::Error]);
    let wall = began.elapsed().as_secs_f64();
    let stats = up.property::<Option<gst::Structure>>("stats");
    let _ = pipeline.set_state(gst::State::Null);
    if let Some(gst::MessageView::Error(e)) = message.as_ref().map(|m| m.view()) {
        return Err(Failure::from_gst(e));
    }
    println!(
        "{name} {width}x{height}: {:.1} fps ({frames} frames, loading included)",
        f64::from(frames) / wall
    );
    if let Some(stats) = stats {
        for key in ["inference-p50-ns", "inference-p95-ns"] {
            if let Ok(ns) = stats.get::<u64>(key) {
                println!("{key:<18} {:.2} ms", ns as f64 / 1e6);
            }
        }
    }
    Ok(Exit::Ok)
}
