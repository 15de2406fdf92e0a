#!/usr/bin/env bash
# All tests, one step after the other; what follows a broken build is not tried.
#
#   tests/run.sh [STEP...]      steps: setup build rust python training
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly all_steps=(setup build rust python training)
readonly log=build/tests/summary.txt
failed=()
mkdir -p build/tests
: >"$log"

banner() { printf '\n==== %s\n' "$*"; }

# step NAME WHAT COMMAND...: runs the command, notes its time and how it ended
step() {
    local name=$1 what=$2 begun=$SECONDS result=passed
    shift 2
    [[ " ${wanted[*]} " = *" $name "* ]] || return 0
    banner "$name: $what"
    if ! "$@"; then
        result=FAILED
        failed+=("$name")
    fi
    printf '%-8s %-7s %4d s   %s\n' "$name" "$result" "$((SECONDS - begun))" "$what" >>"$log"
    printf '==== %s %s after %d s\n' "$name" "$result" "$((SECONDS - begun))"
    [[ $result = passed ]]
}

summary() {
    banner "summary"
    cat "$log"
    printf 'in all %d s\n' "$SECONDS"
    if ((${#failed[@]})); then
        printf 'FAILED: %s\n' "${failed[*]}"
        exit 1
    fi
    echo "all passed"
}

# A disk that fills up fails tests in ways that say nothing of it: a build and what the tests write
# take about 12 GB.
room() {
    local free
    free=$(($(df --output=avail -k . | tail -n 1) / 1024 / 1024))
    if ((free < 12)) && [[ ! -d target/release ]]; then
        echo "only $free GB are free here, and a build with all tests takes about 12: expect failures" >&2
    fi
}

build() { room && cargo build --release --locked && packaging/third-party/build.sh; }

# What the Rust tests load at run time: this checkout's runtime, plugin and models.
rust_tests() {
    local library
    library=$(echo "$PWD"/.deps/onnxruntime/lib/libonnxruntime.so.*)
    ORT_DYLIB_PATH=$library \
        GST_PLUGIN_PATH=$PWD/target/release \
        GST_REGISTRY=$PWD/build/tests/registry.bin \
        cargo test --workspace --locked
}

python_tests() {
    # The S3 server of the tests; the step before this one has made it.
    [[ -x target/debug/s3-rig ]] || cargo build --locked --workspace --bin s3-rig
    .deps/venv/bin/python -m pytest -c tests/pytest.ini --rootdir tests --durations=8 tests
}

# The training's data path; what needs PyTorch says that it is left out.
training_tests() {
    .deps/venv/bin/python -m pytest -p no:cacheprovider -ra models/training/tests
}

wanted=("$@")
((${#wanted[@]})) || wanted=("${all_steps[@]}")
setup_flags=()
read -ra setup_flags <<<"${SETUP_FLAGS:-}"

step setup "packages, ONNX Runtime, Python" packaging/setup.sh "${setup_flags[@]}" || summary
step build "plugin and program, release" build || summary
step rust "cargo test, all crates" rust_tests || true
step python "equality, faults, memory, house, README (pytest)" python_tests || true
step training "the training's resampling and codecs (pytest)" training_tests || true
summary
