"""A viewer: nginx in front, ffmpeg as the publisher, a real browser with hls.js as the audience."""

import base64
import io
import json
import math
import pathlib
import subprocess

import av
import numpy as np
import pytest
from PIL import Image
from support.browser import Browser
from support.hls_rules import check
from support.launch import environment, run
from support.live import Live, Publisher
from support.paths import PROGRAM, ROOFTOP, WORK

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
        errors = browser.evaluate("(window.player.errors || []).filter(e => e.fatal).length")
        assert errors == 0 and not [c for c in browser.console if c.startswith("exception")], browser.console


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


def test_metrics_and_health(live: Live) -> None:
    status, body = live.get("/metrics")
    assert status == 200 and b'stream="live"' in body
    assert live.get("/healthz")[0] == 200
    for path in ("/hls/../Cargo.toml", "/hls/%2e%2e/%2e%2e/etc/passwd", "/hls/live/..%2f..%2fmaster.m3u8"):
        assert live.get(path)[0] in (400, 403, 404), path


def flashes_and_beeps(path: pathlib.Path) -> tuple[list[float], list[float]]:
    """The times at which the picture becomes white and the sound begins."""
    flashes, beeps = [], []
    with av.open(str(path)) as file:
        before = False
        for frame in file.decode(video=0):
            white = frame.to_ndarray(format="gray").mean() > 128
            if white and not before:
                flashes.append(float(frame.time))
            before = white
    with av.open(str(path)) as file:
        quiet_since = -1.0
        for frame in file.decode(audio=0):
            samples = np.abs(frame.to_ndarray().astype(np.float64)).reshape(frame.layout.nb_channels, -1).max(axis=0)
            if samples.max() > 2:
                samples = samples / 32768
            loud = np.flatnonzero(samples > 0.1)
            if loud.size:
                at = float(frame.time) + loud[0] / frame.sample_rate
                if at - quiet_since > 0.3:
                    beeps.append(at)
                quiet_since = float(frame.time) + loud[-1] / frame.sample_rate
    return flashes, beeps


def test_sound_and_picture_are_together(tmp_path: pathlib.Path) -> None:
    clip = tmp_path / "marks.mp4"
    run(["ffmpeg", "-v", "error", "-y",
         "-f", "lavfi", "-i", "color=black:s=640x360:r=30:d=12,drawbox=color=white:t=fill:enable='lt(mod(t,1),0.1)'",
         "-f", "lavfi", "-i", "sine=f=1000:r=48000:d=12,volume=volume='if(lt(mod(t,1),0.1),6,0)':eval=frame",
         "-c:v", "libx264", "-g", "60", "-bf", "2", "-pix_fmt", "yuv420p", "-c:a", "aac", clip]).succeeded()
    with Live(tmp_path / "out", "--ladder", "720p,360p", "--model", MODEL, "--event") as live:
        with Publisher(live, clip, once=True) as publisher:
            assert publisher.process.wait(60) == 0, publisher.log
            live.wait_stream(lambda s: s["phase"] == "waiting", seconds=30)
        assert live.stop() == 0
    for rendition in ("720p", "360p"):
        joined = tmp_path / f"{rendition}.ts"
        joined.write_bytes(b"".join(p.read_bytes() for p in sorted((tmp_path / "out" / "live" / rendition).glob("*.ts"))))
        flashes, beeps = flashes_and_beeps(joined)
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
