#!/usr/bin/env python3
"""One timed transfer in a process of its own; what to do comes as JSON on its input.

Answers with one line of JSON: the seconds from the start of the transfer to its end, the processor
seconds of this process in that time, and the greatest memory it had, in MB. What a client needs
before its first request (plugins, imports) is not counted.
"""

import json
import pathlib
import re
import resource
import sys
import time
from collections.abc import Callable

LIMIT_S = 300


class Nowhere:
    """A file that can be written anywhere and keeps nothing."""

    def write(self, data: bytes) -> int:
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset

    def seekable(self) -> bool:
        return True


def python(task: dict[str, str]) -> Callable[[], None]:
    """The official client, ten threads."""
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=task["endpoint"],
        aws_access_key_id=task["access_key"],
        aws_secret_access_key=task["secret_key"],
        region_name=task["region"],
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=10),
    )
    how = TransferConfig(max_concurrency=10)
    bucket, key = task["bucket"], task["key"]
    if task["direction"] == "write":
        return lambda: client.upload_file(task["file"], bucket, key, Config=how)
    if task.get("into"):
        return lambda: client.download_file(bucket, key, task["into"], Config=how)
    return lambda: client.download_fileobj(bucket, key, Nowhere(), Config=how)


def description(task: dict[str, str]) -> str:
    """The pipeline of an element; properties with secrets are set later."""
    region, bucket, key = task["region"], task["bucket"], task["key"]
    common = f"name=s3 endpoint-uri={task['endpoint']} force-path-style=true"
    sink = f"filesink location={task['into']}" if task.get("into") else "fakesink sync=false"
    source = f"filesrc location={task['file']} blocksize=1048576"
    if task["client"] == "ours":
        common += f" location=s3://{bucket}/{key} region={region}"
        read, write = "s3src", "s3sink"
    else:
        common += f" uri=s3://{region}/{bucket}/{key}"
        read, write = "awss3src", "awss3sink"
        if task["client"] == "upstream-8m":
            read, write = "awss3src blocksize=8388608", "awss3sink part-size=8388608"
    if task["direction"] == "read":
        return f"{read} {common} ! {sink}"
    return f"{source} ! {write} {common}"


def element(task: dict[str, str]) -> Callable[[], None]:
    """The elements: from NULL to the message that all is done."""
    import gi

    gi.require_version("Gst", "1.0")
    from gi.repository import Gst

    Gst.init(None)
    pipeline = Gst.parse_launch(description(task))
    s3 = pipeline.get_by_name("s3")
    s3.set_property("access-key", task["access_key"])
    s3.set_property("secret-access-key", task["secret_key"])

    def work() -> None:
        pipeline.set_state(Gst.State.PLAYING)
        message = pipeline.get_bus().timed_pop_filtered(
            LIMIT_S * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR
        )
        if message is None:
            raise SystemExit(f"{task['client']} did not end within {LIMIT_S} s")
        if message.type == Gst.MessageType.ERROR:
            error, details = message.parse_error()
            raise SystemExit(f"{task['client']}: {error.message}\n{details}")
        pipeline.set_state(Gst.State.NULL)

    return work


def peak_mb() -> float:
    """Of this program only; getrusage would count what the caller had, too."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024 / 1e6


def main() -> None:
    task = json.load(sys.stdin)
    work = python(task) if task["client"] == "python" else element(task)
    if task["direction"] == "write":
        # Into the page cache, for all alike.
        with pathlib.Path(task["file"]).open("rb") as file:
            while file.read(1 << 20):
                pass
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.monotonic()
    work()
    seconds = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "seconds": seconds,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mb": peak_mb(),
    }))


if __name__ == "__main__":
    main()
