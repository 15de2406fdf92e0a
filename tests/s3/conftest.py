"""Real S3 servers for the tests, on free ports of this machine."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import botocore.config
import botocore.exceptions
import pytest

from support.launch import environment
from support.paths import RIG, ROOT

BUCKET = "films"


@dataclass
class Store:
    """A server that runs, a client of it that is not ours, and the bucket `films`."""

    endpoint: str
    access_key: str
    secret_key: str

    @property
    def client(self):
        """The official client."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=botocore.config.Config(s3={"addressing_style": "path"}),
        )

    @property
    def env(self) -> dict[str, str]:
        """The environment in which our elements find the server by themselves."""
        return environment(
            AWS_ACCESS_KEY_ID=self.access_key,
            AWS_SECRET_ACCESS_KEY=self.secret_key,
            AWS_REGION="us-east-1",
            AWS_ENDPOINT_URL=None,
            AWS_EC2_METADATA_DISABLED="true",
        )

    @property
    def way(self) -> str:
        """The properties that lead an element there."""
        return f"endpoint-uri={self.endpoint} force-path-style=true"


def ended(process: subprocess.Popen) -> None:
    """Ends a process with all its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def rig() -> Iterator[Store]:
    """The strict server of tests/s3-rig."""
    assert RIG.exists(), "s3-rig is missing; `cargo build --workspace --bin s3-rig` makes it"
    process = subprocess.Popen(
        [RIG, "serve", "--bucket", BUCKET],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )
    try:
        line = process.stdout.readline()
        assert line, "s3-rig did not start"
        said = json.loads(line)
        yield Store(said["endpoint"], said["access_key"], said["secret_key"])
    finally:
        ended(process)


@contextlib.contextmanager
def ministack_in(home: pathlib.Path, **settings: str) -> Iterator[Store]:
    """A MiniStack of one's own."""
    program = ROOT / ".deps" / "venv" / "bin" / "ministack"
    if not program.exists():
        program = type(program)(sys.executable).with_name("ministack")
    assert program.exists(), "ministack is missing; packaging/setup.sh installs it"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [program], cwd=home, start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "HOME": str(home), **settings},
    )
    try:
        store = Store(f"http://127.0.0.1:{port}", "test", "test")
        for _ in range(300):
            assert process.poll() is None, "ministack ended at once"
            try:
                store.client.create_bucket(Bucket=BUCKET)
                break
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                time.sleep(0.1)
        else:
            pytest.fail("ministack does not answer")
        yield store
    finally:
        ended(process)


@pytest.fixture(scope="module")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """MiniStack: versions, tags, encryption."""
    with ministack_in(tmp_path_factory.mktemp("ministack")) as store:
        yield store


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """MiniStack that looks at what its users may do."""
    with ministack_in(tmp_path_factory.mktemp("guarded"), AUTH="true") as store:
        yield store
