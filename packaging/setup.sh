#!/usr/bin/env bash
# Prepares a checkout: Debian packages, ONNX Runtime, the tests' Python.
# Safe to run as often as you like; a second run only looks.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: packaging/setup.sh [--no-apt] [--deps-only] [--force] [--quiet]

  --no-apt     install no Debian packages (they are there, or you cannot)
  --deps-only  ONNX Runtime only, without the Python environment of the tests
  --force      fetch and build again what is already there
  --quiet      say only what is being done, not what is already there

What it makes lies in .deps/ of the checkout and can be deleted at any time:
  .deps/onnxruntime/lib/   the runtime library that nnupscale loads
  .deps/venv/              the Python that tests and benchmarks run in
USAGE
}

readonly ORT_VERSION=1.31.1
# The wheels' SHA-256. Which CPython the wheel is for does not matter: only the
# C library inside it is taken.
declare -rA ORT_PLATFORM=(
    [x86_64]=manylinux_2_28_x86_64
    [aarch64]=manylinux_2_28_aarch64
)
declare -rA ORT_SHA256=(
    [x86_64]=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
    [aarch64]=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3
)

readonly DEBIAN_PACKAGES=(
    build-essential pkg-config meson ninja-build nasm xxd git ca-certificates
    libglib2.0-dev libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
    libgstreamer-plugins-bad1.0-dev
    gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
    gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
    ffmpeg mkvtoolnix chromium
    nginx-light libnginx-mod-rtmp
    python3-venv python3-pip python3-gi python3-gst-1.0
    gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0
    shellcheck
)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly deps=$root/.deps
readonly venv=$deps/venv
readonly ort=$deps/onnxruntime
as_root=()
apt=yes python=yes force=no quiet=no

while (($#)); do
    case $1 in
        --no-apt) apt=no ;;
        --deps-only) python=no ;;
        --force) force=yes ;;
        --quiet) quiet=yes ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; echo "setup: unknown option $1" >&2; exit 2 ;;
    esac
    shift
done

say() { printf 'setup: %s\n' "$*"; }
present() { [[ $quiet = yes ]] || say "$@"; }
warn() { printf 'setup: warning: %s\n' "$*" >&2; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

missing_packages() {
    local package
    for package in "${DEBIAN_PACKAGES[@]}"; do
        [[ $installed = *" $package "* ]] || echo "$package"
    done
}

# --- Debian packages ---------------------------------------------------------
install_packages() {
    if [[ $apt = no ]]; then
        present "Debian packages: left alone (--no-apt)"
        return
    fi
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        warn "no apt here; install the equivalents of these yourself: ${DEBIAN_PACKAGES[*]}"
        return
    fi
    # shellcheck disable=SC2016 # dpkg-query's own format, not the shell's
    installed=" $(dpkg-query -W -f='${db:Status-Abbrev}${Package}\n' 2>/dev/null \
        | sed -n 's/^ii *//p' | tr '\n' ' ') "
    local wanted
    mapfile -t wanted < <(missing_packages)
    if ((${#wanted[@]} == 0)); then
        present "Debian packages: all ${#DEBIAN_PACKAGES[@]} there"
        return
    fi
    if ((EUID != 0)); then
        command -v sudo >/dev/null || die "these Debian packages are missing, and this is neither root nor is there sudo: ${wanted[*]}
       have them installed, then run setup again (or with --no-apt to go on without)"
        as_root=(sudo)
    fi
    say "Debian packages: installing ${wanted[*]}"
    local fresh_nginx=no
    if [[ ! -x /usr/sbin/nginx ]]; then
        fresh_nginx=yes
        forbid_nginx_service
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null >"$deps/apt.log" 2>&1 \
        || warn "apt-get update failed (see .deps/apt.log); trying with the package lists that are there"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        "${wanted[@]}" </dev/null >>"$deps/apt.log" 2>&1 \
        || { tail -n 20 "$deps/apt.log" >&2; die "apt-get install failed; the whole log is in .deps/apt.log"; }
    if [[ $fresh_nginx = yes ]]; then leave_nginx_service_off; fi
}

# Of nginx we want the program, which `gst-neural live` runs itself. Its package would also start a
# web server on port 80 (which fails, and the installation with it, where the port is taken or there
# is no IPv6) and have it start with the machine. Neither is what somebody expects who prepares a
# checkout. Where nginx was there before, all stays as it is.
readonly service_policy=/usr/sbin/policy-rc.d
forbid_nginx_service() {
    [[ ! -e $service_policy ]] || return 0
    trap leave_nginx_service_off EXIT
    "${as_root[@]}" tee "$service_policy" >/dev/null <<'POLICY'
#!/bin/sh
# gst-neural packaging/setup.sh, while it installs
[ "$1" != nginx ] || exit 101
POLICY
    "${as_root[@]}" chmod 755 "$service_policy"
}

leave_nginx_service_off() {
    trap - EXIT
    if grep -qs 'gst-neural packaging/setup.sh' "$service_policy"; then
        "${as_root[@]}" rm -f "$service_policy"
    fi
    if [[ -d /run/systemd/system && -x /usr/sbin/nginx ]]; then
        "${as_root[@]}" systemctl disable --quiet nginx.service 2>>"$deps/apt.log" \
            || warn "the web server nginx that came with its package will start with this machine: systemctl disable nginx"
    fi
}

# --- Python ------------------------------------------------------------------
# Debian's own interpreter, because python3-gi is built for that one; any other
# python3 does for everything that needs no GStreamer binding.
find_python() {
    local candidate
    for candidate in /usr/bin/python3 python3; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    die "no python3 with venv and pip was found (Debian: python3-venv, python3-pip)"
}

make_venv() {
    local interpreter wanted stamp=$venv/.stamp
    interpreter=$(find_python)
    wanted=$({ "$interpreter" -VV; cat "$root/tests/requirements.txt"; } | sha256sum | cut -d' ' -f1)
    if [[ $force = no && -e $stamp && $(<"$stamp") = "$wanted" ]]; then
        present "Python environment: up to date in .deps/venv"
        return
    fi
    say "Python environment: building .deps/venv with $("$interpreter" -V)"
    rm -rf "$venv"
    "$interpreter" -m venv --system-site-packages "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --ignore-installed --only-binary :all: -r "$root/tests/requirements.txt" </dev/null \
        || die "pip could not install tests/requirements.txt; is there a network, and is pip's index reachable?"
    "$venv/bin/python" -c 'import gi' 2>/dev/null \
        || warn "python3-gi is not visible to .deps/venv: the tests that drive GStreamer from Python will fail"
    echo "$wanted" >"$stamp"
}

# --- ONNX Runtime ------------------------------------------------------------
fetch_onnxruntime() {
    local arch stamp=$ort/.stamp
    arch=$(uname -m)
    if [[ ! -v ORT_SHA256[$arch] ]]; then
        die "no ONNX Runtime $ORT_VERSION is known for $arch (only: ${!ORT_SHA256[*]});
       build or install libonnxruntime yourself and point ORT_DYLIB_PATH at it"
    fi
    local library=$ort/lib/libonnxruntime.so.$ORT_VERSION
    if [[ $force = no && -s $library && -e $stamp && $(<"$stamp") = "${ORT_SHA256[$arch]}" ]]; then
        present "ONNX Runtime: $ORT_VERSION there in .deps/onnxruntime"
        return
    fi
    say "ONNX Runtime: fetching $ORT_VERSION for $arch"
    local pip work
    pip=$(pip_command)
    work=$(mktemp -d "$deps/onnxruntime.XXXXXX")
    # shellcheck disable=SC2064 # the folder's name as it is now
    trap "rm -rf '$work'" EXIT
    # $pip is a command with its arguments.
    # shellcheck disable=SC2086
    $pip download --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
        --implementation cp --python-version 3.11 --abi cp311 --platform "${ORT_PLATFORM[$arch]}" \
        --dest "$work" "onnxruntime==$ORT_VERSION" </dev/null \
        || die "pip could not download onnxruntime==$ORT_VERSION; is there a network?"
    local wheel
    wheel=$(echo "$work"/onnxruntime-*.whl)
    echo "${ORT_SHA256[$arch]}  $wheel" | sha256sum --check --quiet - \
        || die "the downloaded wheel is not the one this script knows (SHA-256 differs); nothing was installed"
    "$(find_python)" - "$wheel" "$work/new" "$ORT_VERSION" <<'PYTHON'
import pathlib, sys, zipfile

wheel, target, version = sys.argv[1:]
take = {
    f"onnxruntime/capi/libonnxruntime.so.{version}": f"lib/libonnxruntime.so.{version}",
    "onnxruntime/capi/libonnxruntime_providers_shared.so": "lib/libonnxruntime_providers_shared.so",
    "onnxruntime/LICENSE": "LICENSE",
    "onnxruntime/ThirdPartyNotices.txt": "ThirdPartyNotices.txt",
}
with zipfile.ZipFile(wheel) as archive:
    for name, place in take.items():
        path = pathlib.Path(target, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archive.read(name))
        path.chmod(0o755 if place.startswith("lib/") else 0o644)
PYTHON
    ln -s "libonnxruntime.so.$ORT_VERSION" "$work/new/lib/libonnxruntime.so"
    echo "${ORT_SHA256[$arch]}" >"$work/new/.stamp"
    rm -rf "$ort"
    mv "$work/new" "$ort"
    rm -rf "$work"
    trap - EXIT
}

# The environment's pip, else any other.
pip_command() {
    if [[ -x $venv/bin/python ]]; then
        echo "$venv/bin/python -m pip"
    elif python3 -m pip --version >/dev/null 2>&1; then
        echo "python3 -m pip"
    else
        die "ONNX Runtime is fetched with pip, and there is none (Debian: python3-pip)"
    fi
}

check_rust() {
    local need have
    need=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
    if ! command -v cargo >/dev/null; then
        warn "no cargo; install Rust $need or newer with rustup (https://rustup.rs): this script does not"
        return
    fi
    have=$(rustc --version | cut -d' ' -f2)
    if [[ $(printf '%s\n' "$need" "$have" | sort -V | head -n 1) != "$need" ]]; then
        warn "Rust $have is older than the $need this needs: run 'rustup update'"
    else
        present "Rust: $have"
    fi
}

mkdir -p "$deps"
# One setup at a time in a checkout.
exec 9>"$deps/.lock"
flock 9
install_packages
if [[ $python = yes ]]; then make_venv; fi
fetch_onnxruntime
check_rust
say "ready"
