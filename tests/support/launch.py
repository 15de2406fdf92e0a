"""Runs gst-launch-1.0 and the program as a user would, in an environment that is known."""

import os
import pathlib
import shlex
import subprocess
from dataclasses import dataclass

from .paths import BUILT, ROOT, WORK


def environment(**changes: str | None) -> dict[str, str]:
    """The caller's environment with this checkout's plugin and a registry of the tests' own.

    A value of None takes the variable away.
    """
    WORK.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ)
    for name in ("GST_DEBUG", "GST_NEURAL_MODEL_PATH", "ORT_DYLIB_PATH", "GST_PLUGIN_PATH_1_0"):
        env.pop(name, None)
    env["GST_PLUGIN_PATH"] = str(BUILT)
    env["GST_REGISTRY"] = str(WORK / "registry.bin")
    env["LC_ALL"] = "C.UTF-8"
    env["NO_COLOR"] = "1"
    for name, value in changes.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


@dataclass
class Finished:
    """What a command left: its exit status and all it said."""

    command: str
    status: int
    output: str

    def succeeded(self) -> "Finished":
        """Itself, or a failed test that shows what was said."""
        assert self.status == 0, f"{self.command}\nexited with {self.status}:\n{self.output}"
        assert "panicked" not in self.output, self.output
        return self

    def failed(self) -> "Finished":
        """Itself if it ended with an error of its own making, neither by a signal nor a panic."""
        assert self.status > 0, f"{self.command}\nended with {self.status}:\n{self.output}"
        assert "panicked" not in self.output, self.output
        return self


def run(
    command: list[str | pathlib.Path] | str,
    *,
    env: dict[str, str] | None = None,
    timeout: float = 120,
    cwd: pathlib.Path = ROOT,
) -> Finished:
    """Runs a command (a text is run by bash) and collects both its streams in order."""
    shell = isinstance(command, str)
    arguments = ["bash", "-c", command] if shell else [str(part) for part in command]
    done = subprocess.run(
        arguments,
        cwd=cwd,
        env=environment() if env is None else env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    shown = command if shell else shlex.join(arguments)
    return Finished(shown, done.returncode, done.stdout)


def launch(
    pipeline: str, *, env: dict[str, str] | None = None, timeout: float = 120, flags: str = "-q"
) -> Finished:
    """Runs `gst-launch-1.0 PIPELINE`; the pipeline is split as a shell would split it."""
    return run(
        ["gst-launch-1.0", *flags.split(), *shlex.split(pipeline)], env=env, timeout=timeout
    )
