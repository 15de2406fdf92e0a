#!/usr/bin/env bash
# Everything that only a GPU can show, on a machine that has nothing but its driver, CUDA 13 and
# cuDNN (as Python packages or installed) and Python with PyTorch:
#
#   tests/gpu/run.sh unpack     takes the pieces of .gpu/ that are here (tests/gpu/pack.sh made them)
#   tests/gpu/run.sh [STEP...]  steps: kernels inference element codec sanitizer speed torch streams leak
#
# Results go to $OUT (else build/gpu): a log for each step, gpu.jsonl with all figures, summary.txt.
# `tests/gpu/report.py FOLDER` writes docs/results/gpu.md from them. Every step has a limit of time, and
# all together have ten minutes; one that fails does not keep the others from running, and one that
# cannot be run here says so: it counts neither as passed nor as failed.
#
# With the stand-in for the driver (tests/gpu/pack.sh --stand-in) everything runs at small sizes: a
# rehearsal of this script, whose figures mean nothing.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
readonly home=${GST_NEURAL_GPU_HOME:-/opt/gst-neural-gpu}
readonly out=${OUT:-$PWD/build/gpu}
mkdir -p "$home" "$out"

if [[ ${1:-} = unpack ]]; then
    cp -v .gpu/*/part.* "$home/" || exit 1
    [[ ! -e .gpu/1/pieces ]] || cp -r .gpu/1/pieces .gpu/1/zstd "$home/"
    have=$(find "$home" -name 'part.*' | wc -l)
    wanted=$(cat "$home/pieces" 2>/dev/null || echo '?')
    echo "$have of $wanted pieces"
    if [[ $have = "$wanted" ]]; then
        cat "$home"/part.* | LD_LIBRARY_PATH=$home/zstd "$home/zstd/zstd" -dc | tar -C "$home" -x &&
            echo "unpacked to $home"
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
# Python itself is to find its own libraries.
export GPU_OWN_LIBRARIES=${GPU_OWN_LIBRARIES-${LD_LIBRARY_PATH:-}}
export LD_LIBRARY_PATH=$g/lib:$cuda:$GPU_OWN_LIBRARIES
ldconfig -p | grep -q libnvcuvid.so.1 || export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$g/cuvid
export ORT_DYLIB_PATH
ORT_DYLIB_PATH=$(echo "$g"/lib/libonnxruntime.so.*)
export GST_PLUGIN_PATH=$g/plugins GST_PLUGIN_SYSTEM_PATH='' GST_REGISTRY=$out/registry.bin
export GST_PLUGIN_SCANNER=$g/bin/gst-plugin-scanner GST_NEURAL_MODEL_PATH=$PWD/models
export CARGO_MANIFEST_DIR=$PWD/plugins/core/inference

figures=$out/gpu.jsonl
summary=$out/summary.txt
wanted=("$@")
((${#wanted[@]})) || wanted=(kernels inference element codec sanitizer speed torch streams leak)

# What a step answers that cannot be run here, after a line that says why.
readonly cannot=77
readonly seconds=${GST_NEURAL_GPU_SECONDS:-570}
stand_in=no
[[ ! -e $g/lib/libcuda.so.1 ]] || stand_in=yes

# step NAME SECONDS WHAT COMMAND...
step() {
    local name=$1 limit=$2 what=$3 begun=$SECONDS code=0 result
    shift 3
    [[ " ${wanted[*]} " = *" $name "* ]] || return 0
    # timeout starts programs, not functions: this script does those when it is started for them.
    ! declare -F "$1" >/dev/null || set -- "$PWD/tests/gpu/run.sh" --function "$@"
    printf '\n==== %s: %s\n' "$name" "$what"
    ((limit <= seconds - SECONDS)) || limit=$((seconds - SECONDS))
    if ((limit < 5)); then
        result="not run: no time was left"
    else
        timeout "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
        tail -n 15 "$out/$name.log"
        case $code in
            0) result=passed ;;
            "$cannot") result="not run: $(tail -n 1 "$out/$name.log")" ;;
            124 | 137) result="FAILED: not done after $limit s" ;;
            *) result="FAILED: exit status $code" ;;
        esac
    fi
    printf '%s\t%s\t%d\t%s\n' "$name" "$result" "$((SECONDS - begun))" "$what" >>"$summary"
}

bench() { "$g/bin/bench_gpu" "$@" | tee -a "$figures"; }

models=(luma-x2 luma-x2-fast luma-x4)
for name in rgb-x2 rgb-x4; do [[ -f models/$name.onnx ]] && models+=("$name"); done
third=tests/models/realesr-animevideov3_x4.onnx

speed() {
    local precision sizes=960x540,1280x720,1920x1080 frames=150 found=("${models[@]}" "$third")
    [[ $stand_in = no ]] || { sizes=64x36 frames=5 found=(luma-x2-fast); }
    for precision in fp32 fp16; do
        bench "${found[@]}" --precision "$precision" --sizes $sizes --frames $frames || return
    done
    # What it costs to compare frames, where it is most of the time.
    bench luma-x2-fast --compared --precision fp16 --sizes $sizes --frames $frames
}
streams() {
    local sizes=960x540 frames=300
    [[ $stand_in = no ]] || { sizes=64x36 frames=5; }
    bench luma-x2 luma-x2-fast --streams 4 --sizes $sizes --frames $frames --precision fp16
}
leak_size=640x360 leak_frames=10000
[[ $stand_in = no ]] || leak_size=32x18 leak_frames=50
leak() { bench luma-x2-fast --sizes $leak_size --frames $leak_frames --precision fp16; }
codec() {
    local size profile device sizes="1280x720 3840x2160" frames=90
    [[ $stand_in = no ]] || { sizes=96x64 frames=6; }
    "$g/bin/test-codec" --test-threads=2 || return
    for size in $sizes; do
        for profile in inter intra vq; do
            for device in cuda cpu; do
                "$g/bin/decode_speed" --size "$size" --profile "$profile" --device "$device" --frames $frames |
                    tee -a "$figures" || return
            done
        done
    done
}
sanitizer() {
    command -v compute-sanitizer || { echo "compute-sanitizer is not installed"; return $cannot; }
    [[ $stand_in = no ]] || { echo "there is no device"; return $cannot; }
    compute-sanitizer --error-exitcode 9 "$g/bin/test-cuda" --test-threads=1 --skip driver::the_reason
}
torch() {
    # Not with what was packed: PyTorch brings its own.
    export LD_LIBRARY_PATH=$GPU_OWN_LIBRARIES
    python3 -c 'import torch' || { echo "python3 has no PyTorch"; return $cannot; }
    python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
        { echo "PyTorch sees no GPU"; return $cannot; }
    python3 tests/gpu/torch_loop.py --out "$figures" "${models[@]/%/.onnx}"
}

# Tests would build a stand-in of their own: what they say then is not about a GPU.
python3 -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null ||
    { echo "there is no NVIDIA driver here: libcuda.so.1 cannot be loaded" >&2; exit 2; }

if [[ ${1:-} = --function ]]; then
    "${@:2}"
    exit
fi
: >"$summary"
: >"$figures"
{
    date -u +%F
    if [[ $stand_in = yes ]]; then
        echo "the stand-in for the driver"
    else
        nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null |
            grep . || echo "a device that nvidia-smi does not name"
    fi
    nproc
} | tee "$out/machine.txt"
# One test is about machines without a GPU, and builds the stand-in from its sources.
step kernels 120 "kernels beside their twins" "$g/bin/test-cuda" --test-threads=4 \
    --skip driver::the_reason_is_given
step inference 120 "upscaling in GPU memory beside the CPU's" \
    "$g/bin/test-inference" --ignored gpu:: --test-threads=1
step element 120 "nnupscale between elements in CUDA memory" \
    "$g/bin/test-nnupscale" --ignored --test-threads=1
step codec 240 "the codec's synthesis: the CPU's bits, frames a second" codec
step speed 300 "frames a second, with the network's part" speed
step torch 120 "the same networks in a loop of PyTorch" torch
step streams 60 "four streams at once" streams
step leak 120 "$leak_frames frames" leak
step sanitizer 120 "compute-sanitizer on the kernels" sanitizer
printf '\n'
column -t -s "$(printf '\t')" "$summary" 2>/dev/null || cat "$summary"
! grep -q FAILED "$summary"
