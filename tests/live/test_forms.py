"""Other ways in and out: fragmented MP4, low latency, SRT, S3."""

import json
import pathlib
import signal
import socket
import subprocess
import time
import urllib.request

import boto3
import pytest
from botocore.config import Config
from support.browser import Browser
from support.hls_rules import check
from support.launch import environment, run
from support.live import Live, Publisher
from support.marks import flashes_and_beeps, marks
from support.paths import PROGRAM, RIG, ROOFTOP, WATER

FAST = ("--ladder", "720p,360p", "--model", "luma-x2-fast")


def wait_for(what, seconds: float = 60):
    """Waits until a function gives something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.2)
    raise TimeoutError(str(what))


@pytest.mark.parametrize("options", [("--container", "cmaf"), ("--part", "0.33")])
def test_fragmented_mp4_keeps_the_rules_and_plays(tmp_path: pathlib.Path, options: tuple[str, ...]) -> None:
    with Live(tmp_path / "out", *FAST, *options, "--event") as live:
        with Publisher(live, ROOFTOP):
            live.wait_stream(lambda s: s["renditions"] and s["renditions"][0]["segments"] >= 3, seconds=60)
            with Browser() as browser:
                browser.open(live.page + "/")
                browser.wait_for("document.querySelector('video') && document.querySelector('video').currentTime > 2", 60)
                first = browser.evaluate("document.querySelector('video').currentTime")
                browser.wait_for(f"document.querySelector('video').currentTime > {first} + 2", 30)
                assert browser.evaluate("document.querySelector('video').webkitAudioDecodedByteCount") > 0
                errors = [e for e in browser.evaluate("window.player.errors") if e["fatal"]]
                assert errors == [], errors
                if "--part" in options:
                    # A player without parts stays three target durations behind what there is.
                    target = int((live.out / "live" / "720p" / "index.m3u8").read_text().split("TARGETDURATION:")[1].split()[0])
                    delay = "(Date.now() - window.player.hls.playingDate.getTime()) / 1000"
                    browser.wait_for(f"{delay} < {3 * target}", 40)
                    # Requests that wait are answered when the part is there.
                    text = (live.out / "live" / "720p" / "index.m3u8").read_text()
                    assert "CAN-BLOCK-RELOAD=YES" in text and "#EXT-X-PRELOAD-HINT" in text
                    number = text.count("#EXTINF") + int(text.split("MEDIA-SEQUENCE:")[1].split()[0])
                    url = f"{live.page}/hls/live/720p/index.m3u8?_HLS_msn={number}"
                    with urllib.request.urlopen(url, timeout=15) as answer:
                        assert answer.read().decode().count("#EXTINF") > text.count("#EXTINF")
        dropped = live.streams()["live"]["dropped_frames"]
        assert live.stop() == 0, (live.said(), live.errors)
    # Frames that a busy machine has left out leave gaps, and nothing else.
    gaps = {"date-drift", "alignment"} if dropped else set()
    assert [finding for finding in check(tmp_path / "out" / "live" / "master.m3u8") if finding.rule not in gaps] == []


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PASSPHRASE = "nobody-listens-in"


def srt(tmp_path: pathlib.Path, ours: str, theirs: str, *source: str | pathlib.Path) -> tuple[list[dict], pathlib.Path]:
    """A stream by SRT, encrypted, from its begin to its end: the program's events and the master playlist."""
    port = free_port(socket.SOCK_DGRAM)
    where = f"srt://127.0.0.1:{port}?passphrase={PASSPHRASE}&mode="
    program = subprocess.Popen(
        [PROGRAM, "live", "--json", "--ingest", where + ours, "--out", tmp_path / "out", *FAST, "--event", "--reconnect", "2"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    try:
        time.sleep(2)
        sent = subprocess.run(
            ["ffmpeg", "-v", "error", "-nostdin", "-re", *source, "-c", "copy", "-f", "mpegts", f"{where}{theirs}&linger=5"],
            timeout=60, check=False, capture_output=True, text=True,
        )
        assert sent.returncode == 0, sent.stderr
        # Nobody comes back: the playlists get their end and the program is done.
        output, _ = program.communicate(timeout=60)
    finally:
        program.kill()
        program.wait()
    assert program.returncode == 0, output
    assert PASSPHRASE not in output
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    master = tmp_path / "out" / "live" / "master.m3u8"
    for rendition in ("720p", "360p"):
        assert "#EXT-X-ENDLIST" in (master.parent / rendition / "index.m3u8").read_text()
    return events, master


def test_srt_is_taken_from_a_sender_that_calls(tmp_path: pathlib.Path) -> None:
    _, master = srt(tmp_path, "listener", "caller", "-stream_loop", "1", "-i", ROOFTOP)
    assert (master.parent / "720p" / "index.m3u8").read_text().count("#EXTINF") >= 3
    # The sender hangs up while its last packets are under way: the last segment may lack frames.
    assert [f for f in check(master) if f.rule != "frame-rate-is"] == []
    played = run(["ffmpeg", "-v", "error", "-i", master, "-map", "0", "-f", "null", "-"])
    assert played.succeeded().output == ""


def test_srt_is_fetched_and_its_frame_rate_may_change(tmp_path: pathlib.Path) -> None:
    clip = tmp_path / "marks.ts"
    marks(clip, 30, 15)
    events, master = srt(tmp_path, "caller", "listener", "-i", clip)
    assert [e["message"] for e in events if e["event"] == "said"].count("the video's frame rate changed") == 1
    [stream] = [e for e in events if e["event"] == "figures"][-1]["streams"]
    assert stream["dropped_frames"] == 0 and stream["frames_in"] == stream["frames_out"] and stream["discontinuities"] == 1, stream
    # The master says the rate of now; the segments have that of then, too. The sender hangs up while its last packets
    # are under way, so the last segments end where they end.
    last = sum(line.startswith("#EXTINF") for line in (master.parent / "720p" / "index.m3u8").read_text().splitlines()) - 1
    findings = [f for f in check(master) if f.rule != "frame-rate-is" and f"segment {last} of" not in f.said]
    assert findings == []
    assert "FRAME-RATE=15.000" in master.read_text()
    for rendition in ("720p", "360p"):
        folder = master.parent / rendition
        text = (folder / "index.m3u8").read_text()
        assert text.count("#EXT-X-DISCONTINUITY\n") == 1
        # Nothing is lost, and sound and picture stay together on both sides.
        for rate, part in zip((30, 15), text.split("#EXT-X-DISCONTINUITY\n")):
            joined = tmp_path / f"{rendition}-{rate}.ts"
            names = [line for line in part.splitlines() if line.endswith(".ts")]
            joined.write_bytes(b"".join((folder / name).read_bytes() for name in names))
            flashes, beeps, frames = flashes_and_beeps(joined)
            assert len(frames) == 6 * rate if rate == 30 else 5 * rate <= len(frames) <= 6 * rate, (rendition, len(frames))
            whole = frames[:5 * rate]
            assert max(after - before for before, after in zip(whole, whole[1:])) < 1.5 / rate, rendition
            assert len(flashes) >= 4, (rendition, flashes)
            away = [min(abs(flash - beep) for beep in beeps) for flash in flashes[1:-1]]
            assert max(away) < 0.040, (rendition, away)


def test_s3_is_written(tmp_path: pathlib.Path) -> None:
    (tmp_path / "store").mkdir()
    rig = subprocess.Popen(
        [RIG, "serve", "--bucket", "films", "--dir", tmp_path / "store"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    try:
        access = json.loads(rig.stdout.readline())
        variables = {
            "AWS_ENDPOINT_URL": access["endpoint"], "AWS_ACCESS_KEY_ID": access["access_key"],
            "AWS_SECRET_ACCESS_KEY": access["secret_key"], "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        }
        client = boto3.client(
            "s3", endpoint_url=access["endpoint"], aws_access_key_id=access["access_key"],
            aws_secret_access_key=access["secret_key"], region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

        def keys() -> list[str]:
            return [o["Key"] for o in client.list_objects_v2(Bucket="films").get("Contents", [])]

        with Live("s3://films/on-air", *FAST, "--window", "3", "--keep", "1", env=environment(**variables)) as live:
            with Publisher(live, WATER):
                wait_for(lambda: sum(k.startswith("on-air/live/720p/") and k.endswith(".ts") for k in keys()) >= 2)
                wait_for(lambda: "on-air/live/master.m3u8" in keys())
                # Old ones go.
                wait_for(lambda: not any(k.endswith("-000000.ts") for k in keys()), 60)
            assert live.stop() == 0, (live.said(), live.errors)
            assert access["secret_key"] not in "\n".join(live.errors) + str(live.events)
        playlist = client.get_object(Bucket="films", Key="on-air/live/720p/index.m3u8")
        assert playlist["ContentType"] == "application/vnd.apple.mpegurl" and playlist["CacheControl"] == "no-cache"
        text = playlist["Body"].read().decode()
        assert text.rstrip().endswith("#EXT-X-ENDLIST")
        for name in (line for line in text.splitlines() if line.endswith(".ts")):
            segment = client.head_object(Bucket="films", Key=f"on-air/live/720p/{name}")
            assert segment["ContentType"] == "video/mp2t" and "immutable" in segment["CacheControl"]
    finally:
        rig.send_signal(signal.SIGTERM)
        rig.wait(10)
