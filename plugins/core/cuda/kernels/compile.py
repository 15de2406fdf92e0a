#!/usr/bin/env python3
"""Compiles the kernels to PTX with NVRTC: `compile.py` writes the .ptx beside each .cu,
`compile.py --check` only compares, and fails where one is missing or differs.

NVRTC comes from PyPI (nvidia-cuda-nvrtc-cu12, see tests/requirements.txt) and needs no GPU.
PTX for compute_75 (Turing) is compiled by the driver for the GPU at hand when it is loaded.
"""

import argparse
import ctypes
import importlib.util
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
OPTIONS = (
    "--gpu-architecture=compute_75",
    # Results are to be equal to the CPU's, bit by bit: nothing fused, nothing flushed.
    "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true",
    "--std=c++17",
)


def library() -> ctypes.CDLL:
    found = importlib.util.find_spec("nvidia.cuda_nvrtc")
    if found is None or not found.submodule_search_locations:
        sys.exit("compile.py: no NVRTC; pip install -r tests/requirements.txt")
    return ctypes.CDLL(str(pathlib.Path(next(iter(found.submodule_search_locations)), "lib", "libnvrtc.so.12")))


def compile_one(nvrtc: ctypes.CDLL, source: pathlib.Path) -> str:
    """The PTX of one file, without the lines that name the compiler's build."""
    headers = sorted(HERE.glob("*.cuh"))
    program = ctypes.c_void_p()
    texts = (ctypes.c_char_p * len(headers))(*(h.read_bytes() for h in headers))
    names = (ctypes.c_char_p * len(headers))(*(h.name.encode() for h in headers))

    def check(code: int) -> None:
        if code == 0:
            return
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        sys.exit(f"compile.py: {source.name}: NVRTC error {code}\n{log.value.decode()}")

    check(nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), source.read_bytes(), source.name.encode(), len(headers), texts, names))
    options = (ctypes.c_char_p * len(OPTIONS))(*(o.encode() for o in OPTIONS))
    check(nvrtc.nvrtcCompileProgram(program, len(OPTIONS), options))
    size = ctypes.c_size_t()
    check(nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)))
    ptx = ctypes.create_string_buffer(size.value)
    check(nvrtc.nvrtcGetPTX(program, ptx))
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    lines = ptx.value.decode().splitlines()
    body = [line.rstrip() for line in lines if not line.startswith("//")]
    return "\n".join(body).strip() + "\n"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="write nothing; fail where a .ptx is not its .cu's")
    check_only = arguments.parse_args().check
    nvrtc = library()
    stale = []
    for source in sorted(HERE.glob("*.cu")):
        target = source.with_suffix(".ptx")
        text = compile_one(nvrtc, source)
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        stale.append(target.name)
        if not check_only:
            target.write_text(text, encoding="utf-8")
    if check_only and stale:
        print(f"compile.py: not what their sources compile to: {', '.join(stale)}; run {HERE.name}/compile.py")
        return 1
    print(f"compile.py: {'all up to date' if not stale else 'written: ' + ', '.join(stale)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
