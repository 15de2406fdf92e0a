"""S3: s3src and s3sink against the upstream elements and the official Python client."""

import argparse
import datetime
import filecmp
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

from bench import measure
from support.launch import environment
from support.paths import BUILT, ROOT

MIB = 1 << 20
# Added latency in ms, how much is moved, which way. Reading more, the upstream elements would need minutes.
CASES = (
    (0, 256 * MIB, ("read", "write")),
    (20, 128 * MIB, ("read",)),
    (20, 256 * MIB, ("write",)),
    (50, 64 * MIB, ("read",)),
    (50, 256 * MIB, ("write",)),
)
UPSTREAM = ROOT / "tests" / "bench" / "s3-upstream"
BENCH = ROOT / "build" / "bench"
PLUGINS = BENCH / "plugins"
BUCKET = "bench"

CLIENTS = {
    "ours": "s3src, s3sink",
    "upstream": "awss3src, awss3sink 0.15.4",
    "upstream-8m": "the same, blocksize and part-size 8 MiB",
    "python": "boto3, 10 threads",
}


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Server:
    """A process with a real S3 server, and a proxy before it if latency is wanted."""

    def __init__(self, latency_ms: int, folder: pathlib.Path) -> None:
        self.process = subprocess.Popen(
            [BUILT / "s3-rig", "serve", "--bucket", BUCKET, "--dir", folder,
             "--cheap-etags", "--latency-ms", str(latency_ms)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: s3-rig did not start (exit status {self.process.wait()})")
        self.access: dict[str, str] = json.loads(line)
        self.folder = folder

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stats(self) -> dict[str, dict[str, int]]:
        """What was asked since the last `clear`; empty without a proxy."""
        assert self.process.stdin is not None and self.process.stdout is not None
        answers = []
        for word in ("stats", "clear"):
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
            answers.append(json.loads(self.process.stdout.readline()))
        return answers[0]


@dataclass
class Side:
    """What one client did in one case, round by round."""

    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    requests: int = 0
    at_once: int = 0

    def rate(self, size: int) -> float:
        """The best round, in MiB/s."""
        return size / MIB / min(self.seconds)


def upstream_plugin() -> bool:
    """Builds the upstream plugin, outside the project's own build; whether it is there."""
    say("building gst-plugin-aws 0.15.4 to measure against (a quarter of an hour the first time)")
    built = subprocess.run(
        ["cargo", "build", "--release", "--locked", "--quiet", "-p", "gst-plugin-aws",
         "--manifest-path", UPSTREAM / "Cargo.toml", "--target-dir", BENCH],
        check=False,
    )
    if built.returncode != 0:
        say("it could not be built; going on without it")
        return False
    # Alone in a folder: plugins are looked for in all that lies below the one that is named.
    PLUGINS.mkdir(parents=True, exist_ok=True)
    shutil.copy2(BENCH / "release" / "libgstaws.so", PLUGINS)
    return True


def plugin_environment() -> dict[str, str]:
    return environment(
        GST_PLUGIN_PATH=f"{BUILT}:{PLUGINS}",
        GST_REGISTRY=str(BENCH / "registry.bin"),
        AWS_EC2_METADATA_DISABLED="true",
    )


def has_element(name: str) -> bool:
    found = subprocess.run(
        ["gst-inspect-1.0", name], env=plugin_environment(), check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    return found.returncode == 0


def transfer(server: Server, client: str, direction: str, file: pathlib.Path, key: str,
             into: pathlib.Path | None = None) -> dict[str, float]:
    """One transfer in a process of its own."""
    task = server.access | {
        "client": client, "direction": direction, "file": str(file), "bucket": BUCKET, "key": key,
        "into": str(into) if into else "",
    }
    done = subprocess.run(
        [sys.executable, pathlib.Path(__file__).with_name("s3_transfer.py")],
        input=json.dumps(task), capture_output=True, text=True, timeout=400, check=False,
        env=plugin_environment(),
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: {client} could not {direction}:\n{done.stderr}{done.stdout}")
    return json.loads(done.stdout.splitlines()[-1])


def check_bytes(clients: list[str], file: pathlib.Path, folder: pathlib.Path) -> None:
    """Each client moves the right bytes in both directions; nothing is timed."""
    with Server(0, folder / "store") as server:
        for client in clients:
            transfer(server, client, "write", file, client)
            if not filecmp.cmp(file, server.folder / BUCKET / client, shallow=False):
                raise SystemExit(f"bench: {client} wrote other bytes than it was given")
            into = folder / "read"
            transfer(server, client, "read", file, client, into)
            if not filecmp.cmp(file, into, shallow=False):
                raise SystemExit(f"bench: {client} read other bytes than were there")
            into.unlink()


def one_case(clients: list[str], latency_ms: int, size: int, ways: tuple[str, ...], rounds: int,
             folder: pathlib.Path) -> dict[str, dict[str, Side]]:
    """The directions of one case, the clients by turns."""
    source = folder / "source"
    with source.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    sides = {way: {client: Side() for client in clients} for way in ways}
    with Server(latency_ms, folder / "store") as server:
        # By the first client, so that the object has the ETag of a multipart upload.
        transfer(server, "python", "write", source, "source")
        server.stats()
        for turn in range(rounds):
            for way in ways:
                say(f"{latency_ms} ms, {way} {size // MIB} MiB, round {turn + 1} of {rounds}")
                for client in clients:
                    key = "source" if way == "read" else f"{client}-{turn}"
                    took = transfer(server, client, way, source, key)
                    side = sides[way][client]
                    side.seconds.append(took["seconds"])
                    side.cpu_s.append(took["cpu_s"])
                    side.peak_mb.append(took["peak_mb"])
                    stats = server.stats()
                    of = "GetObject" if way == "read" else "UploadPart"
                    side.requests = stats.get("requests", {}).get(of, 0)
                    side.at_once = stats.get("peak", {}).get(of, 0)
                    if way == "write":
                        (server.folder / BUCKET / key).unlink()
    source.unlink()
    shutil.rmtree(folder / "store")
    (folder / "store").mkdir()
    return sides


def tables(results: list[tuple[int, int, dict[str, dict[str, Side]]]], clients: list[str]) -> list[str]:
    ratios = [client for client in clients if client != "ours"] if "ours" in clients else []
    lines = [
        "## Throughput, MiB/s", "",
        "| added latency | direction | moved | " + " | ".join(CLIENTS[c] for c in clients) + " |"
        + "".join(f" times {CLIENTS[c]} |" for c in ratios),
        "|---" * (3 + len(clients) + len(ratios)) + "|",
    ]
    for latency, size, sides in results:
        for way, found in sides.items():
            rates = {client: side.rate(size) for client, side in found.items()}
            cells = [f"{latency} ms", way, f"{size // MIB} MiB"]
            cells += [f"{rates[c]:.1f}" for c in clients]
            cells += [f"**{rates['ours'] / rates[c]:.2f}**" for c in ratios]
            lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "", "## What it took", "",
        "Processor seconds of the client's own process for the whole transfer and the most memory "
        "it had, the least of the rounds; requests that carried data and how many of them went on "
        "at the same time, of the last round (counted by the proxy, so not at 0 ms).", "",
        "| added latency | direction | client | processor, s | memory, MB | requests | at once |",
        "|---|---|---|---|---|---|---|",
    ]
    for latency, _, sides in results:
        for way, found in sides.items():
            for client, side in found.items():
                counted = [str(side.requests), str(side.at_once)] if latency else ["", ""]
                lines.append(
                    f"| {latency} ms | {way} | {CLIENTS[client]} | {min(side.cpu_s):.2f} | "
                    f"{min(side.peak_mb):.0f} | {counted[0]} | {counted[1]} |"
                )
    return lines


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="run.py s3", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-upstream", action="store_true", help="leave the upstream elements out")
    parser.add_argument("--scale", type=float, default=1.0, help="move this part of the usual sizes")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "results" / "s3.md")
    args = parser.parse_args(arguments)
    for what in ((), ("-p", "gstneural-s3-rig")):
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", *what], cwd=ROOT, check=True)
    BENCH.mkdir(parents=True, exist_ok=True)
    clients = ["python"]
    if not args.no_upstream and upstream_plugin():
        clients = ["upstream", "upstream-8m", *clients]
    if has_element("s3src") and has_element("s3sink"):
        clients = ["ours", *clients]
    else:
        say("s3src and s3sink are not built; going on without them")
    load = os.getloadavg()[0]
    if load > 1:
        say(f"the load is {load:.1f}: absolute figures will be low; compare within a row only")
    with tempfile.TemporaryDirectory(dir=BENCH) as name:
        folder = pathlib.Path(name)
        (folder / "store").mkdir()
        sample = folder / "sample"
        sample.write_bytes(os.urandom(20 * MIB + 1))
        check_bytes(clients, sample, folder)
        results = []
        for latency, full, ways in CASES:
            size = max(1, int(full / MIB * args.scale)) * MIB
            results.append((latency, size, one_case(clients, latency, size, ways, args.rounds, folder)))
    import boto3

    machine, gstreamer, *_ = measure.versions()
    versions = [machine, gstreamer, f"boto3 {boto3.__version__} with s3transfer"]
    lines = [
        "# S3, measured", "",
        f"{datetime.date.today().isoformat()}, written by `tests/bench/run.py s3` ({args.rounds} rounds, "
        "the clients by turns, the best round of each).", "",
        *(f"- {line}" for line in versions),
        f"- load average before the run: {load:.1f}"
        + (" (other work ran beside it: the absolute figures are low)" if load > 1 else ""),
        "",
        "The server is s3-rig, a process of its own on the same machine, so clients and server share "
        "its processors; it gives parts ETags that are no MD5 sums, which would be most of the work of an "
        "upload. Latency is added to each request by a proxy before it; TCP itself has none, "
        "and bandwidth is not limited. Each transfer is a process of its own that moves random bytes "
        "with fresh connections, timed from the first request to the last answer: reads go to nowhere "
        "(fakesink, a file object that keeps nothing), writes come from a file in the page cache. All "
        "elements and clients with their default settings, but for the one column that says so. "
        "Before the timing, each client's bytes are compared in both directions.", "",
        *tables(results, clients),
    ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("\n".join(lines) + "\n")
    say(f"wrote {args.out}")
