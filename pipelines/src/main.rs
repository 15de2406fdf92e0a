//! The program `gst-neural`.

fn main() {
    std::process::exit(gst_neural::cli::run());
}
