"""`gst-neural live` as a user runs it, and publishers that send to it."""

import json
import pathlib
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

from .launch import environment
from .paths import PROGRAM

KEY = "a-key-that-nobody-guesses"


class Live:
    """The program, until the end of the block."""

    def __init__(self, out: pathlib.Path | str, *options: str, key: str = KEY, env: dict[str, str] | None = None) -> None:
        self.out = pathlib.Path(out)
        self.key = key
        self.events: list[dict] = []
        self.errors: list[str] = []
        self.changed = threading.Condition()
        command = [
            str(PROGRAM), "live", "--json", "--with-ingest", "--ingest", f"rtmp://127.0.0.1:0/live/{key}",
            "--out", str(out), "--serve", "0", *options,
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            env=env or environment(),
        )
        self.threads = [
            threading.Thread(target=self._events, daemon=True),
            threading.Thread(target=self._errors, daemon=True),
        ]
        for thread in self.threads:
            thread.start()
        ready = self.wait(lambda e: e["event"] == "ready", 60)
        self.page = ready["page"].rstrip("/")
        self.ingest = ready["ingest"]

    def _events(self) -> None:
        for line in self.process.stdout:
            with self.changed:
                self.events.append(json.loads(line))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def _errors(self) -> None:
        for line in self.process.stderr:
            self.errors.append(line.rstrip())

    def wait(self, matches, seconds: float = 30) -> dict:
        """The first event that matches, from the beginning on."""
        until = time.monotonic() + seconds
        seen = 0
        with self.changed:
            while True:
                for event in self.events[seen:]:
                    if matches(event):
                        return event
                seen = len(self.events)
                left = until - time.monotonic()
                if left <= 0 or self.process.poll() is not None and seen == len(self.events):
                    raise TimeoutError(f"no such event; the program said {self.said()} {self.errors}")
                self.changed.wait(min(left, 0.5))

    def said(self) -> list[str]:
        """What it told people."""
        return [e["message"] for e in self.events if e["event"] in ("said", "warning", "error")]

    def wait_said(self, text: str, seconds: float = 30, after: int = 0) -> str:
        """Waits until it says this, behind the first `after` lines."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for line in self.said()[after:]:
                if text in line:
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise TimeoutError(f"it did not say {text!r} but {self.said()} {self.errors}")

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        try:
            with urllib.request.urlopen(self.page + path, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def streams(self) -> dict[str, dict]:
        """What the program knows of its streams."""
        status, body = self.get("/api/streams")
        assert status == 200
        answer = json.loads(body)
        streams = answer["streams"] if isinstance(answer, dict) else answer
        return {stream["name"]: stream for stream in streams}

    def wait_stream(self, matches, name: str = "live", seconds: float = 30) -> dict:
        """Waits until a stream is as wanted."""
        until = time.monotonic() + seconds
        stream = None
        while time.monotonic() < until:
            stream = self.streams().get(name)
            if stream and matches(stream):
                return stream
            time.sleep(0.2)
        raise TimeoutError(f"{stream}; the program said {self.said()} {self.errors}")

    def playlist(self, path: str = "live/master.m3u8", seconds: float = 30) -> str:
        """A playlist, once it is there."""
        file = self.out / path
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if file.exists():
                return file.read_text()
            time.sleep(0.1)
        raise TimeoutError(f"no {path}; the program said {self.said()} {self.errors}")

    def stop(self, seconds: float = 40) -> int:
        """Ctrl-C; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        for thread in self.threads:
            thread.join(10)
        return status

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                pass


class Publisher:
    """A real ffmpeg that sends a clip, again and again unless `once`."""

    def __init__(self, live: Live, *source: str | pathlib.Path, key: str | None = None, once: bool = False,
                 encode: tuple[str, ...] = ("-c", "copy")) -> None:
        self.log: list[str] = []
        loop = [] if once else ["-stream_loop", "-1"]
        inputs = [str(part) for part in source]
        if len(inputs) == 1:
            inputs = [*loop, "-i", *inputs]
        self.process = subprocess.Popen(
            ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-re", *inputs, *encode,
             "-f", "flv", f"{live.ingest}/{key or live.key}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        )
        self.thread = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.thread.start()

    def kill(self) -> None:
        """As a power failure would."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        self.thread.join(5)
