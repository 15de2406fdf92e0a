//! What tests need of a device: a GPU where there is one, else the stand-in of `fake/`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

/// The stand-in, built if it is older than its sources; several test programs share it.
pub fn stand_in() -> PathBuf {
    // Other crates' tests take this file, too.
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [own.to_path_buf(), own.join("../core/cuda")];
    let here = folders.iter().find(|f| f.join("fake").is_dir()).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fake-cuda");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let library = folder.join("libcuda.so.1");
    let changed = |path: &Path| fs::metadata(path).and_then(|m| m.modified());
    let newest = ["fake", "kernels"]
        .iter()
        .flat_map(|d| fs::read_dir(here.join(d)).unwrap())
        .map(|entry| changed(&entry.unwrap().path()).unwrap())
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH);
    if changed(&library).is_ok_and(|built| built > newest) {
        return library;
    }
    let output = Command::new(here.join("fake/build.sh"))
        .arg(&folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "fake/build.sh: {said}");
    library
}

/// Makes CUDA available: a driver that is installed, else the stand-in.
pub fn start() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let open = |name: &Path| {
            // SAFETY: a driver, or the stand-in, whose initialisers do nothing of note.
            unsafe { libloading::Library::new(name) }.map(std::mem::forget)
        };
        if open(Path::new("libcuda.so.1")).is_err() {
            // Once it is loaded by its path, it is found by its name.
            open(&stand_in()).unwrap();
        }
        gstneural_cuda::available().unwrap();
    });
}
