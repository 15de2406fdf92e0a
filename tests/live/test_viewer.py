"""A viewer: nginx in front, ffmpeg as the publisher, a real browser with hls.js as the audience."""

import base64
import io
import json
import math
import pathlib
import re
import signal
import subprocess
import time

import av
import numpy as np
import pytest
from PIL import Image
from support.browser import Browser
from support.hls_rules import check
from support.launch import environment, run
from support.live import Live, Publisher
from support.marks import flashes_and_beeps, marks
from support.paths import PROGRAM, ROOFTOP, ROOT, WORK

MODEL = "luma-x2-fast"
# What the page shows of a video element: the frame on display and its time.
FRAME = """
new Promise(done => {
  const video = document.querySelector('video');
  video.requestVideoFrameCallback((now, meta) => {
    const canvas = document.createElement('canvas');
    canvas.width = video.videoWidth; canvas.height = video.videoHeight;
    canvas.getContext('2d').drawImage(video, 0, 0);
    done(JSON.stringify({time: meta.mediaTime, width: canvas.width, height: canvas.height,
                         png: canvas.toDataURL('image/png').split(',')[1]}));
  });
})
"""


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of two pictures of 8 bits."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def luma(picture: Image.Image) -> np.ndarray:
    """BT.601 luma, full range: enough to tell pictures apart."""
    return np.asarray(picture.convert("RGB"), dtype=np.float64) @ (0.299, 0.587, 0.114)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Luma of all frames of the clip, upscaled without any hurry."""
    folder = tmp_path_factory.mktemp("offline")
    run([PROGRAM, "upscale", ROOFTOP, folder / "x2.mkv", "--model", MODEL, "--crf", "4", "-q"],
        timeout=300).succeeded()
    with av.open(str(folder / "x2.mkv")) as file:
        return [luma(frame.to_image()) for frame in file.decode(video=0)]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory):
    """A stream that is on the air."""
    with Live(tmp_path_factory.mktemp("live"), "--ladder", "720p,360p", "--model", MODEL, "--name", "live") as live:
        with Publisher(live, ROOFTOP):
            live.wait_stream(lambda s: s["renditions"] and s["renditions"][0]["segments"] >= 3, seconds=60)
            yield live


def test_the_picture_plays_and_is_right(live: Live, offline: list[np.ndarray]) -> None:
    with Browser() as browser:
        browser.open(live.page + "/")
        browser.wait_for("document.querySelector('video') && document.querySelector('video').currentTime > 1", 60)
        # Down to the first rendition: hls.js may begin with another.
        browser.evaluate("window.player.hls.nextLevel = window.player.hls.levels.length - 1")
        browser.wait_for("document.querySelector('video').videoHeight === 720", 30)
        first = browser.evaluate("document.querySelector('video').currentTime")
        browser.wait_for(f"document.querySelector('video').currentTime > {first} + 2", 30)

        shown = json.loads(browser.evaluate(FRAME))
        assert (shown["width"], shown["height"]) == (1280, 720)
        picture = luma(Image.open(io.BytesIO(base64.b64decode(shown["png"]))))
        best = max(psnr(picture, frame) for frame in offline)
        other = sorted(psnr(picture, frame) for frame in offline)[len(offline) // 2]
        assert best > 33, f"{best:.2f} dB to the nearest frame of the offline upscale"
        assert best > other + 3, "a picture of this clip, not of any"

        # The other rendition, and back.
        browser.evaluate("window.player.hls.nextLevel = 0")
        browser.wait_for("document.querySelector('video').videoHeight === 360", 30)
        browser.evaluate("window.player.hls.nextLevel = window.player.hls.levels.length - 1")
        browser.wait_for("document.querySelector('video').videoHeight === 720", 30)
        WORK.mkdir(parents=True, exist_ok=True)
        kept = browser.screenshot(WORK / "live-player.png")
        assert Image.open(kept).size[0] >= 1000
        # A buffer that runs dry is the machine's, a request that was given up belongs to the switches
        # above; everything else is ours.
        harmless = ("bufferStalledError", "aborted")
        errors = [e for e in browser.evaluate("window.player.errors") if e["fatal"] or e["details"] not in harmless]
        assert errors == [] and not [c for c in browser.console if c.startswith("exception")], (errors, browser.console)


def test_before_and_after_are_switched(live: Live) -> None:
    with Browser() as browser:
        browser.open(live.page + "/")
        browser.wait_for("document.querySelector('video') && document.querySelector('video').currentTime > 1", 60)
        answer = browser.evaluate(
            "fetch('/api/streams/live/compare', {method: 'POST', headers: {'Content-Type': 'application/json',"
            " 'X-Requested-With': 'test'}, body: JSON.stringify({on: true})}).then(r => r.status)"
        )
        assert answer in (200, 204)
        live.wait_stream(lambda s: s["compare"])
        # Another site's page has no say.
        refused = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", "-H", "Origin: http://evil.example",
             "-H", "X-Requested-With: x", "-H", "Content-Type: application/json", "-d", '{"on": false}',
             f"{live.page}/api/streams/live/compare"],
            capture_output=True, text=True, check=True,
        )
        assert refused.stdout == "403"
        assert live.streams()["live"]["compare"]


def test_playlists_keep_every_rule(live: Live) -> None:
    assert check(live.out / "live" / "master.m3u8") == []
    master = live.playlist()
    assert "RESOLUTION=1280x720" in master and "RESOLUTION=640x360" in master
    assert "avc1." in master and "mp4a.40.2" in master and "FRAME-RATE=" in master


def test_the_pipeline_of_the_guide_makes_a_rendition(live: Live, tmp_path: pathlib.Path) -> None:
    guide = (ROOT / "docs" / "live.md").read_text()
    line = re.search(r"^(gst-launch-1\.0 -e rtmp2src .*?)^```", guide, re.S | re.M).group(1).replace("\\\n", " ")
    line = line.replace("rtmp://127.0.0.1:1935/live/NAME", f"{live.ingest}/live")
    assert str(live.ingest) in line
    with subprocess.Popen(["bash", "-c", f"exec {line}"], cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as graph:
        try:
            until = time.monotonic() + 120
            playlist = tmp_path / "live.m3u8"
            while not (playlist.exists() and playlist.read_text().count("#EXTINF") >= 1):
                assert graph.poll() is None and time.monotonic() < until
                time.sleep(0.2)
            graph.send_signal(signal.SIGINT)
            # The end comes after all frames that wait, and this graph shares the processor with the stream.
            assert graph.wait(90) == 0
        finally:
            graph.kill()
    assert "#EXT-X-ENDLIST" in playlist.read_text()
    seen = run(["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,height", "-of", "csv=p=0", playlist])
    assert "h264,720" in seen.output and "aac" in seen.output, seen.output


def test_metrics_and_health(live: Live) -> None:
    status, body = live.get("/metrics")
    assert status == 200 and b'stream="live"' in body
    assert live.get("/healthz")[0] == 200
    for path in ("/hls/../Cargo.toml", "/hls/%2e%2e/%2e%2e/etc/passwd", "/hls/live/..%2f..%2fmaster.m3u8"):
        assert live.get(path)[0] in (400, 403, 404), path


def test_sound_and_picture_are_together(tmp_path: pathlib.Path) -> None:
    """And stay so when the frame rate changes in mid-stream."""
    clip = tmp_path / "marks.ts"
    sent = marks(clip, 30, 15)
    with Live(tmp_path / "out", "--ladder", "720p,360p", "--model", MODEL, "--event") as live:
        with Publisher(live, clip, once=True) as publisher:
            assert publisher.process.wait(60) == 0, publisher.log
            stream = live.wait_stream(lambda s: s["phase"] == "waiting", seconds=30)
        assert live.stop() == 0
    # RTMP has the frame rate in a header that comes once: frames are shown when they say, that is all.
    assert stream["discontinuities"] == 0 and stream["dropped_frames"] == 0, stream
    for rendition in ("720p", "360p"):
        folder = tmp_path / "out" / "live" / rendition
        assert "#EXT-X-DISCONTINUITY\n" not in (folder / "index.m3u8").read_text()
        joined = tmp_path / f"{rendition}.ts"
        joined.write_bytes(b"".join(p.read_bytes() for p in sorted(folder.glob("*.ts"))))
        flashes, beeps, frames = flashes_and_beeps(joined)
        # nginx hands over from the first keyframe it sees.
        assert sent - 3 <= len(frames) <= sent, (rendition, sent, len(frames))
        assert len(flashes) >= 10 and len(beeps) >= 10, (rendition, flashes, beeps)
        away = [min(abs(flash - beep) for beep in beeps) for flash in flashes[1:-1]]
        assert max(away) < 0.040, (rendition, away)


def test_frames_are_all_there(tmp_path: pathlib.Path) -> None:
    """Every frame that was sent is in both renditions, once."""
    with Live(tmp_path / "out", "--ladder", "720p,360p", "--model", MODEL, "--event") as live:
        with Publisher(live, ROOFTOP, once=True) as publisher:
            assert publisher.process.wait(60) == 0, publisher.log
        live.wait_stream(lambda s: s["phase"] == "waiting", seconds=30)
        stream = live.streams()["live"]
        assert live.stop() == 0
    assert stream["dropped_frames"] == 0
    sent = int(run(["ffprobe", "-v", "error", "-count_packets", "-select_streams", "v", "-show_entries",
                    "stream=nb_read_packets", "-of", "csv=p=0", ROOFTOP], env=environment()).output.strip(" ,\n"))
    for rendition in ("720p", "360p"):
        playlist = (tmp_path / "out" / "live" / rendition / "index.m3u8").read_text()
        assert "#EXT-X-ENDLIST" in playlist
        count = int(run(["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries",
                         "stream=nb_read_frames", "-of", "csv=p=0",
                         tmp_path / "out" / "live" / rendition / "index.m3u8"]).output.split(",")[0].split()[0])
        # nginx hands over from the first keyframe it sees.
        assert sent - 3 <= count <= sent, (rendition, sent, count)
