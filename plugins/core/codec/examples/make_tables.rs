//! Writes the shipped frequency tables: `cargo run -p gstneural-codec --example make_tables DIR`.

use gstneural_codec::rans::TableSet;

fn main() -> std::io::Result<()> {
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "plugins/core/codec/tables".into());
    let write = |name: &str, tables: &[Vec<u16>]| {
        std::fs::write(format!("{dir}/{name}"), TableSet::to_bytes(tables))
    };
    write("laplace.bin", &TableSet::build_laplace())?;
    write("gaussian64.bin", &TableSet::build_gaussian())
}
