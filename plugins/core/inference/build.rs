//! Generates the ONNX messages from `proto/onnx.proto`, with the pure Rust parser (no protoc).

fn main() {
    println!("cargo::rerun-if-changed=proto/onnx.proto");
    protobuf_codegen::Codegen::new()
        .pure()
        .include("proto")
        .input("proto/onnx.proto")
        .cargo_out_dir("proto")
        .run_from_script();
}
