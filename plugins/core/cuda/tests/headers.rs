//! `src/gstcuda.rs` against the headers of the installed libgstcuda, by the C compiler.

#![allow(clippy::unwrap_used)]

use std::{path::Path, process::Command};

use gstneural_cuda::{GST_MAP_CUDA, gstcuda};

fn tool(name: &str, arguments: &[String]) -> String {
    let output = Command::new(name).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn prototypes_offsets_and_constants() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/headers");
    let flags = tool(
        "pkg-config",
        &[
            "--cflags".into(),
            "gstreamer-cuda-1.0".into(),
            "gstreamer-video-1.0".into(),
        ],
    );
    let mut arguments: Vec<String> = flags.split_whitespace().map(String::from).collect();
    arguments.extend([
        format!("-I{}", here.display()),
        format!("-DMEMORY_CONTEXT={}", gstcuda::MEMORY_CONTEXT),
        format!("-DMAP_CUDA={GST_MAP_CUDA}"),
        "-std=gnu11".into(),
        "-S".into(),
        "-o-".into(),
        here.join("check.c").display().to_string(),
    ]);
    let assembly = tool("gcc", &arguments);
    for wanted in [
        format!("caps feature: {}", gstcuda::CUDA_MEMORY),
        format!("context type: {}", gstcuda::CUDA_CONTEXT_TYPE),
    ] {
        assert!(
            assembly.contains(&format!("\"{wanted}\"")),
            "not in the header: {wanted}"
        );
    }
}

/// The check can fail: with a wrong offset it does.
#[test]
fn a_wrong_offset_is_noticed() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/headers");
    let flags = tool(
        "pkg-config",
        &[
            "--cflags".into(),
            "gstreamer-cuda-1.0".into(),
            "gstreamer-video-1.0".into(),
        ],
    );
    let output = Command::new("gcc")
        .args(flags.split_whitespace())
        .arg(format!("-I{}", here.display()))
        .args([
            "-DMEMORY_CONTEXT=104",
            "-DMAP_CUDA=0x20000",
            "-fsyntax-only",
        ])
        .arg(here.join("check.c"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && error.contains("GstCudaMemory.context"),
        "{error}"
    );
}
