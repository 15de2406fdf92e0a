#!/usr/bin/env bash
# Builds the stand-in for the CUDA driver: build.sh FOLDER makes FOLDER/libcuda.so.1 of fake_cuda.cpp
# and the kernels' own sources, and FOLDER/libnvcuvid.so.1, without which GStreamer has no cudaupload.
# With LD_LIBRARY_PATH=FOLDER, programs find them in place of a driver.
set -euo pipefail
[[ $# = 1 ]] || { echo "usage: $0 FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
work=$(mktemp -d "$1/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
# As for the device: nothing fused.
options=(-O2 -g -std=c++17 -fPIC -fvisibility=hidden -ffp-contract=off -ftls-model=initial-exec
    -Wall -Wextra -Werror -DGSTNEURAL_ON_CPU -I"$here" -I"$here/../kernels")
objects=()
for source in "$here/fake_cuda.cpp" "$here"/../kernels/*.cu; do
    object=$work/$(basename "$source").o
    "${CXX:-g++}" "${options[@]}" -x c++ -c "$source" -o "$object" &
    objects+=("$object")
done
# `wait` alone forgets what failed.
for job in $(jobs -p); do wait "$job"; done
"${CXX:-g++}" -shared -Wl,-soname,libcuda.so.1 "${objects[@]}" -o "$work/libcuda.so.1"
"${CXX:-g++}" -shared -fPIC -Wl,-soname,libnvcuvid.so.1 "$here/fake_cuvid.cpp" -o "$work/libnvcuvid.so.1"
mv "$work/libnvcuvid.so.1" "$work/libcuda.so.1" "$1/"
ln -sf libcuda.so.1 "$1/libcuda.so"
