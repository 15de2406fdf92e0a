#!/usr/bin/env bash
# Everything that only a GPU can show, on a machine that has nothing but its driver, CUDA 13 and
# cuDNN (as Python packages or installed) and Python with PyTorch:
#
#   tests/gpu/run.sh unpack     takes the pieces of .gpu/ that are here (tests/gpu/pack.sh made them)
#   tests/gpu/run.sh [STEP...]  steps: kernels inference element codec sanitizer speed torch streams leak
#
# Results go to $OUT (else build/gpu): a log for each step, gpu.jsonl with all figures, summary.txt.
# `tests/gpu/report.py FOLDER` writes docs/results/gpu.md from them. Every step has a limit of time;
# one that fails does not keep the others from running.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly home=${GST_NEURAL_GPU_HOME:-/opt/gst-neural-gpu}
readonly out=${OUT:-$PWD/build/gpu}
mkdir -p "$home" "$out"

if [[ ${1:-} = unpack ]]; then
    cp -v .gpu/*/part.* "$home/" || exit 1
    cp .gpu/1/pieces "$home/" 2>/dev/null
    have=$(find "$home" -name 'part.*' | wc -l)
    wanted=$(cat "$home/pieces" 2>/dev/null || echo '?')
    echo "$have of $wanted pieces"
    if [[ $have = "$wanted" ]]; then
        cat "$home"/part.* | zstd -dc | tar -C "$home" -x && echo "unpacked to $home"
    fi
    exit
fi

readonly g=$home/g
[[ -x $g/bin/bench_gpu ]] || { echo "nothing is unpacked in $home: tests/gpu/run.sh unpack" >&2; exit 2; }
# CUDA's libraries: those that Python packages bring.
cuda=$(python3 - <<'P' 2>/dev/null
import pathlib, site, sys
folders = [pathlib.Path(p) / "nvidia" for p in [*site.getsitepackages(), *sys.path] if p]
print(":".join(sorted({str(f.parent) for d in folders if d.is_dir() for f in d.rglob("*.so*")})))
P
)
export LD_LIBRARY_PATH=$g/lib:$cuda:${LD_LIBRARY_PATH:-}
ldconfig -p | grep -q libnvcuvid.so.1 || export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$g/cuvid
export ORT_DYLIB_PATH
ORT_DYLIB_PATH=$(echo "$g"/lib/libonnxruntime.so.*)
export GST_PLUGIN_PATH=$g/plugins GST_PLUGIN_SYSTEM_PATH= GST_REGISTRY=$out/registry.bin
export GST_PLUGIN_SCANNER=$g/bin/gst-plugin-scanner GST_NEURAL_MODEL_PATH=$PWD/models
export CARGO_MANIFEST_DIR=$PWD/plugins/core/inference

figures=$out/gpu.jsonl
summary=$out/summary.txt
wanted=("$@")
((${#wanted[@]})) || wanted=(kernels inference element codec sanitizer speed torch streams leak)

# step NAME SECONDS WHAT COMMAND...
step() {
    local name=$1 limit=$2 what=$3 begun=$SECONDS result=passed
    shift 3
    # timeout starts programs, not functions: this script does those when it is started for them.
    ! declare -F "$1" >/dev/null || set -- "$PWD/tests/gpu/run.sh" --function "$@"
    [[ " ${wanted[*]} " = *" $name "* ]] || return 0
    printf '\n==== %s: %s\n' "$name" "$what"
    timeout "$limit" "$@" >"$out/$name.log" 2>&1 || result="FAILED ($?)"
    tail -n 15 "$out/$name.log"
    printf '%-10s %-12s %4d s   %s\n' "$name" "$result" "$((SECONDS - begun))" "$what" | tee -a "$summary"
}

bench() { "$g/bin/bench_gpu" "$@" | tee -a "$figures"; }

models=(luma-x2 luma-x2-fast luma-x4)
for name in rgb-x2 rgb-x4; do [[ -f models/$name.onnx ]] && models+=("$name"); done
third=tests/models/realesr-animevideov3_x4.onnx

speed() {
    local precision
    for precision in fp32 fp16; do
        bench "${models[@]}" "$third" --precision "$precision" --sizes 960x540,1280x720,1920x1080 --frames 150
    done
}
streams() { bench luma-x2 luma-x2-fast --streams 4 --sizes 960x540 --frames 300 --precision fp16; }
leak() { bench luma-x2-fast --sizes 640x360 --frames 10000 --precision fp16; }
codec() {
    local size profile device
    "$g/bin/test-codec" --test-threads=2 || return
    for size in 1280x720 3840x2160; do
        for profile in inter intra vq; do
            for device in cuda cpu; do
                "$g/bin/decode_speed" --size "$size" --profile "$profile" --device "$device" --frames 90 |
                    tee -a "$figures" || return
            done
        done
    done
}
sanitizer() {
    command -v compute-sanitizer || { echo "compute-sanitizer is not here"; return 1; }
    compute-sanitizer --error-exitcode 9 "$g/bin/test-cuda" --test-threads=1
}
torch() { python3 tests/gpu/torch_loop.py --out "$figures" "${models[@]/%/.onnx}"; }

if [[ ${1:-} = --function ]]; then
    "${@:2}"
    exit
fi
: >"$summary"
{
    date -u +%F
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null ||
        echo "no nvidia-smi: the stand-in for the driver"
    nproc
} | tee "$out/machine.txt"
step kernels 120 "kernels beside their twins" "$g/bin/test-cuda" --test-threads=4
step inference 120 "upscaling in GPU memory beside the CPU's" \
    "$g/bin/test-inference" --ignored gpu:: --test-threads=1
step element 120 "nnupscale between cudaupload and cudadownload" \
    "$g/bin/test-nnupscale" --ignored --test-threads=1
step codec 240 "the codec's synthesis: the CPU's bits, frames a second" codec
step speed 300 "frames a second, with the network's part" speed
step torch 120 "the same networks in a loop of PyTorch" torch
step streams 60 "four streams at once" streams
step leak 120 "10,000 frames" leak
step sanitizer 120 "compute-sanitizer on the kernels" sanitizer
printf '\n'
cat "$summary"
! grep -q FAILED "$summary"
