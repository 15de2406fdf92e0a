#!/usr/bin/env bash
# Builds the plugins of others that Debian 12 does not have, beside ours.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cargo build --release --locked --manifest-path packaging/third-party/Cargo.toml \
    -p gst-plugin-fmp4 --target-dir target/third-party
mkdir -p target/release
# Under its name only when it is whole: pipelines may be reading the old one.
cp target/third-party/release/libgstfmp4.so target/release/.libgstfmp4.so.part
mv target/release/.libgstfmp4.so.part target/release/libgstfmp4.so
