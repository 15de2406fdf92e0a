"""s3src and s3sink by gst-launch-1.0, seen from the other side: the official client."""

import hashlib
import os
import pathlib
import random
import re
import signal
import subprocess
import time

import botocore.exceptions
import pytest

from support.launch import run
from support.paths import ROOFTOP
from s3.conftest import BUCKET, Store

MIB = 1 << 20


def made(path: pathlib.Path, size: int, seed: int = 1) -> pathlib.Path:
    """A file without a pattern."""
    source = random.Random(seed)
    with path.open("wb") as file:
        for begin in range(0, size, 16 * MIB):
            file.write(source.randbytes(min(16 * MIB, size - begin)))
    return path


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pending(store: Store) -> list[dict]:
    return store.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


def launch(line: str, store: Store, **kwargs):
    return run(f"gst-launch-1.0 -q {line}", env=store.env, **kwargs)


def test_what_we_write_the_official_client_reads(rig: Store, tmp_path: pathlib.Path) -> None:
    for size in (0, 1, 8 * MIB, 24 * MIB, 24 * MIB + 1):
        file = made(tmp_path / "in.bin", size, size)
        launch(f"filesrc location={file} ! s3sink uri=s3://{BUCKET}/a%20b.bin {rig.way}", rig).succeeded()
        answer = rig.client.get_object(Bucket=BUCKET, Key="a b.bin")
        assert digest(answer["Body"].read()) == digest(file.read_bytes()), size
    assert pending(rig) == []


def test_what_the_official_client_writes_we_read(rig: Store, tmp_path: pathlib.Path) -> None:
    file = made(tmp_path / "in.bin", 300 * MIB)
    rig.client.upload_file(str(file), BUCKET, "large.bin")
    out = tmp_path / "out.bin"
    launch(f"s3src uri=s3://{BUCKET}/large.bin {rig.way} ! filesink location={out}", rig).succeeded()
    expected = digest(file.read_bytes())
    assert digest(out.read_bytes()) == expected
    launch(f"filesrc location={out} blocksize={MIB} ! s3sink uri=s3://{BUCKET}/back.bin {rig.way}", rig).succeeded()
    assert digest(rig.client.get_object(Bucket=BUCKET, Key="back.bin")["Body"].read()) == expected


def test_a_clip_is_decoded_by_its_uri(rig: Store) -> None:
    rig.client.upload_file(str(ROOFTOP), BUCKET, "rooftop.mp4")
    env = rig.env | {"AWS_ENDPOINT_URL": rig.endpoint}
    line = f"gst-launch-1.0 uridecodebin3 uri=s3://{BUCKET}/rooftop.mp4 ! fakesink"
    # By its address the SDK would look for the bucket in the host's name, but for IP addresses.
    run(line, env=env).succeeded()
    play = f"gst-launch-1.0 playbin3 uri=s3://{BUCKET}/rooftop.mp4"
    said = run(f"{play} video-sink='fakesink sync=false' audio-sink='fakesink sync=false'", env=env)
    assert "EOS" in said.succeeded().output


def test_attributes_arrive(ministack: Store, tmp_path: pathlib.Path) -> None:
    for size, key in ((1000, "small.mp4"), (6 * MIB, "large.mp4")):
        file = made(tmp_path / "in.bin", size)
        launch(
            f"filesrc location={file} ! s3sink uri=s3://{BUCKET}/{key} {ministack.way} part-size={5 * MIB} "
            "cache-control=max-age=60 content-language=de content-disposition=inline "
            "storage-class=STANDARD_IA encryption=s3 "
            "metadata=metadata,made-by=gst-neural,take=7 tagging=tags,project=films,state=raw",
            ministack,
        ).succeeded()
        head = ministack.client.head_object(Bucket=BUCKET, Key=key)
        assert head["ContentLength"] == size
        assert head["ContentType"] == "video/mp4"
        assert head["CacheControl"] == "max-age=60"
        assert head["ContentLanguage"] == "de"
        assert head["ContentDisposition"] == "inline"
        assert head["StorageClass"] == "STANDARD_IA"
        assert head["ServerSideEncryption"] == "AES256"
        assert head["Metadata"] == {"made-by": "gst-neural", "take": "7"}
        if size > 5 * MIB:
            continue  # MiniStack keeps no tags of an upload in parts.
        tags = ministack.client.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
        assert {t["Key"]: t["Value"] for t in tags} == {"project": "films", "state": "raw"}


def test_keys_of_the_customer_and_access_lists_arrive(ministack: Store, tmp_path: pathlib.Path) -> None:
    ministack.client.create_bucket(Bucket="lists", ObjectOwnership="ObjectWriter")
    file = made(tmp_path / "in.bin", 10)
    # Buckets of today have no lists, and say so.
    refused = launch(f"filesrc location={file} ! s3sink uri=s3://{BUCKET}/a {ministack.way} acl=public-read", ministack)
    assert "AccessControlListNotSupported" in refused.failed().output
    for size, key in ((1000, "locked.mp4"), (6 * MIB, "locked_large.mp4")):
        file = made(tmp_path / "in.bin", size)
        launch(
            f"filesrc location={file} ! s3sink uri=s3://lists/{key} {ministack.way} part-size={5 * MIB} "
            "encryption=kms kms-key-id=alias/films acl=public-read requester-pays=true",
            ministack,
        ).succeeded()
        head = ministack.client.head_object(Bucket="lists", Key=key)
        assert head["ServerSideEncryption"] == "aws:kms", head
        assert "films" in head.get("SSEKMSKeyId", ""), head
        if size > 5 * MIB:
            continue
        grants = ministack.client.get_object_acl(Bucket="lists", Key=key)["Grants"]
        assert any(g["Grantee"].get("URI", "").endswith("AllUsers") for g in grants), grants


def test_content_types_follow_the_caps(ministack: Store) -> None:
    source = "videotestsrc num-buffers=5 ! x264enc"
    for mux, key, expected in (
        ("mp4mux", "clip", "video/mp4"),
        ("mpegtsmux", "clip2", "video/mp2t"),
        ("matroskamux", "clip3", "video/x-matroska"),
    ):
        launch(f"{source} ! {mux} ! s3sink uri=s3://{BUCKET}/{key} {ministack.way}", ministack).succeeded()
        assert ministack.client.head_object(Bucket=BUCKET, Key=key)["ContentType"] == expected


def test_one_version_is_read(ministack: Store, tmp_path: pathlib.Path) -> None:
    client = ministack.client
    client.create_bucket(Bucket="versions")
    client.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    old = client.put_object(Bucket="versions", Key="a", Body=b"the old one")["VersionId"]
    said = run(
        f"gst-launch-1.0 -m fakesrc num-buffers=3 sizetype=fixed sizemax=5 filltype=zero ! "
        f"s3sink uri=s3://versions/a {ministack.way}", env=ministack.env,
    ).succeeded().output
    new = client.head_object(Bucket="versions", Key="a")["VersionId"]
    assert new != old and new in said, "the new version is told in a message"
    out = tmp_path / "out"
    for query, expected in ((f"?versionId={old}", b"the old one"), ("", bytes(15))):
        launch(f"s3src uri=s3://versions/a{query} {ministack.way} ! filesink location={out}", ministack).succeeded()
        assert out.read_bytes() == expected
    said = launch(f"s3src uri=s3://versions/a?versionId=nonsense {ministack.way} ! fakesink", ministack).failed()
    assert "versions/a" in said.output


@pytest.mark.parametrize("server", ["rig", "ministack"])
def test_a_killed_upload_is_gone_on_with(
    server: str, request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> None:
    store: Store = request.getfixturevalue(server)
    file = made(tmp_path / "in.bin", 32 * MIB + 17)
    sink = (
        f"s3sink uri=s3://{BUCKET}/resumed.bin {store.way} part-size={5 * MIB} parallel=2 "
        "resume=true on-error=nothing"
    )
    slow = f"filesrc location={file} blocksize=65536 ! identity sleep-time=12000 ! {sink}"
    process = subprocess.Popen(
        f"exec gst-launch-1.0 -q {slow}", shell=True, env=store.env, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < deadline, "no parts came"
            uploads = [u for u in pending(store) if u["Key"] == "resumed.bin"]
            if uploads:
                parts = store.client.list_parts(
                    Bucket=BUCKET, Key="resumed.bin", UploadId=uploads[0]["UploadId"]
                ).get("Parts", [])
                if len(parts) >= 3:
                    break
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with pytest.raises(botocore.exceptions.ClientError):
        store.client.head_object(Bucket=BUCKET, Key="resumed.bin")
    # Another beginning than before: its part is not taken over, the others are.
    data = bytearray(file.read_bytes())
    at = 6 * MIB
    data[at : at + 4] = b"new!"
    file.write_bytes(data)
    said = run(
        f"gst-launch-1.0 -m filesrc location={file} blocksize=65536 ! identity sleep-time=4000 ! {sink}",
        env=store.env,
    ).succeeded().output
    resumed = [int(n) for n in re.findall(r"parts-resumed=\(uint\)(\d+)", said)]
    assert resumed and max(resumed) >= 1, said
    body = store.client.get_object(Bucket=BUCKET, Key="resumed.bin")["Body"].read()
    assert digest(body) == digest(bytes(data))
    assert [u for u in pending(store) if u["Key"] == "resumed.bin"] == []


def test_errors_on_the_command_line(rig: Store) -> None:
    said = launch(f"s3src uri=s3://{BUCKET}/nothing {rig.way} ! fakesink", rig).failed().output
    assert "NoSuchKey" in said and "HTTP 404" in said, said
    said = run(
        f"gst-launch-1.0 -v s3src uri=s3://{BUCKET}/a {rig.way} access-key=AKIDNOBODY "
        "secret-access-key=do-not-show-this ! fakesink", env=rig.env,
    ).failed().output
    assert "HTTP 403" in said and "do-not-show-this" not in said, said
    said = launch(f"fakesrc num-buffers=1 ! s3sink uri=s3://no-such-bucket/a {rig.way}", rig).failed().output
    assert "NoSuchBucket" in said, said
    said = launch(f"s3src uri=s3://{BUCKET}/a endpoint-uri=http://127.0.0.1:9 retry-attempts=1 ! fakesink", rig)
    assert "endpoint-uri" in said.failed().output
    nobody = {n: v for n, v in rig.env.items() if not n.startswith(("AWS_ACCESS", "AWS_SECRET", "AWS_PROFILE"))}
    nobody |= {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    said = run(f"gst-launch-1.0 s3src uri=s3://{BUCKET}/a {rig.way} ! fakesink", env=nobody).failed().output
    assert "AWS_ACCESS_KEY_ID" in said and "anonymous" in said, said


def test_what_exists_is_left_alone_when_that_is_asked_for(rig: Store) -> None:
    sink = f"s3sink uri=s3://{BUCKET}/once {rig.way} if-none-match=*"
    launch(f"fakesrc num-buffers=1 sizetype=fixed sizemax=9 filltype=zero ! {sink}", rig).succeeded()
    said = launch(f"fakesrc num-buffers=1 sizetype=fixed sizemax=7 ! {sink}", rig).failed().output
    assert "exists already" in said, said
    assert rig.client.get_object(Bucket=BUCKET, Key="once")["Body"].read() == bytes(9)


def test_interrupting_with_eos_completes(rig: Store) -> None:
    line = (
        "gst-launch-1.0 -e videotestsrc is-live=true ! x264enc tune=zerolatency ! mp4mux ! "
        f"s3sink uri=s3://{BUCKET}/interrupted.mp4 {rig.way}"
    )
    process = subprocess.Popen(f"exec {line}", shell=True, env=rig.env, stdout=subprocess.DEVNULL)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    body = rig.client.get_object(Bucket=BUCKET, Key="interrupted.mp4")["Body"].read()
    assert b"moov" in body


def peak_mib(line: str, store: Store) -> float:
    """The most memory the command held."""
    said = run(f"/usr/bin/time -f peak=%M gst-launch-1.0 -q {line}", env=store.env, timeout=300).succeeded()
    return int(re.search(r"peak=(\d+)", said.output)[1]) / 1024


def test_memory_stays_under_its_bound(rig: Store) -> None:
    """1 GiB up and down; beyond what a pipeline that moves nothing holds."""
    base = peak_mib(f"fakesrc num-buffers=1 sizetype=fixed sizemax=1000 ! s3sink uri=s3://{BUCKET}/tiny {rig.way}", rig)
    up = peak_mib(
        f"fakesrc num-buffers=1024 sizetype=fixed sizemax={MIB} ! "
        f"s3sink uri=s3://{BUCKET}/huge {rig.way} part-size={8 * MIB} parallel=4", rig,
    )
    bound = (4 + 2) * 8
    assert up - base < bound * 1.25 + 8, f"{up - base:.0f} MiB for an upload, stated {bound}"
    down = peak_mib(
        f"s3src uri=s3://{BUCKET}/huge {rig.way} range-size={4 * MIB} parallel=8 ! fakesink", rig
    )
    bound = 8 * 4
    # Beside it the network library holds buffers for each of the eight connections.
    assert down - base < bound + 8 * 3, f"{down - base:.0f} MiB for a download, stated {bound}"
    print(f"up {up - base:.0f} MiB, down {down - base:.0f} MiB, base {base:.0f} MiB")
