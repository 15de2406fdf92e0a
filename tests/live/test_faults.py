"""Publishers that die, stall, change and lie: what the viewers' playlists make of it."""

import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest
from support.hls_rules import check
from support.launch import run
from support.live import KEY, Live, Publisher
from support.paths import ROOFTOP, WATER

FAST = ("--ladder", "720p,360p", "--model", "luma-x2-fast", "--event")


def segments(live: Live, rendition: str = "720p") -> int:
    playlist = live.out / "live" / rendition / "index.m3u8"
    return playlist.read_text().count("#EXTINF") if playlist.exists() else 0


def wait_segments(live: Live, count: int, seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while segments(live) < count:
        assert time.monotonic() < until, (live.said(), live.errors, live.streams())
        time.sleep(0.2)


@pytest.fixture
def live(tmp_path: pathlib.Path):
    with Live(tmp_path / "out", *FAST) as live:
        yield live


def finish(live: Live, but: tuple[str, ...] = ()) -> list[str]:
    """Ends it; the playlists, which keep the rules, `but` for some."""
    assert live.stop() == 0, (live.said(), live.errors)
    playlists = []
    for rendition in ("720p", "360p"):
        text = (live.out / "live" / rendition / "index.m3u8").read_text()
        assert text.rstrip().endswith("#EXT-X-ENDLIST")
        playlists.append(text)
    findings = check(live.out / "live" / "master.m3u8")
    assert [finding for finding in findings if finding.rule not in but] == []
    assert not [line for line in live.errors if "panicked" in line], live.errors
    assert not any(KEY in line for line in live.errors + live.said())
    return playlists


def test_a_publisher_that_comes_back_goes_on_in_the_same_playlist(live: Live) -> None:
    with Publisher(live, ROOFTOP) as publisher:
        wait_segments(live, 2)
        publisher.kill()
    live.wait_stream(lambda s: s["phase"] == "waiting")
    before = segments(live)
    with Publisher(live, ROOFTOP):
        wait_segments(live, before + 2)
    for text in finish(live):
        assert text.count("#EXT-X-DISCONTINUITY\n") >= 1
        assert text.count("#EXT-X-PLAYLIST-TYPE") == 1


def test_another_size_is_another_run_of_the_same_stream(live: Live, tmp_path: pathlib.Path) -> None:
    small = tmp_path / "small.flv"
    run(["ffmpeg", "-v", "error", "-y", "-i", ROOFTOP, "-t", "10", "-vf", "scale=480:270,fps=25", "-c:v", "libx264",
         "-preset", "veryfast", "-g", "50", "-c:a", "copy", small]).succeeded()
    with Publisher(live, ROOFTOP) as publisher:
        wait_segments(live, 2)
        publisher.kill()
    live.wait_stream(lambda s: s["phase"] == "waiting")
    with Publisher(live, small):
        live.wait_stream(lambda s: (s["width"], s["phase"]) == (480, "live"))
        wait_segments(live, segments(live) + 2)
    # 720 lines of 270: twice by the network, and a scaler does the rest.
    # The master says the rate of now; the segments have that of then, too.
    for text in finish(live, but=("frame-rate-is",)):
        assert text.count("#EXT-X-DISCONTINUITY\n") == 1


def test_the_size_changes_within_a_connection(live: Live) -> None:
    branch = "videotestsrc is-live=false num-buffers={n} pattern=ball ! video/x-raw,width={w},height={h},framerate=30/1"
    encode = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! video/x-h264,profile=baseline ! h264parse"
    first, second = branch.format(n=150, w=640, h=360), branch.format(n=240, w=480, h=360)
    command = (
        f"gst-launch-1.0 -q concat name=c ! identity sync=true ! flvmux streamable=true ! "
        f"rtmp2sink location={live.ingest}/{KEY} {first} ! {encode} ! c. {second} ! {encode} ! c."
    )
    with subprocess.Popen(["bash", "-c", f"exec {command}"], stderr=subprocess.PIPE) as publisher:
        try:
            live.wait_stream(lambda s: s["width"] == 640, seconds=30)
            live.wait_stream(lambda s: s["width"] == 480, seconds=30)
            live.wait_said("size or codec changed")
            time.sleep(5)
        finally:
            publisher.kill()
    texts = finish(live)
    assert texts[0].count("#EXT-X-DISCONTINUITY\n") >= 1


def test_a_stalled_line_is_waited_for(live: Live) -> None:
    with Publisher(live, ROOFTOP) as publisher:
        wait_segments(live, 2)
        publisher.process.send_signal(signal.SIGSTOP)
        time.sleep(5)
        publisher.process.send_signal(signal.SIGCONT)
        wait_segments(live, segments(live) + 3)
        stream = live.wait_stream(lambda s: s["phase"] == "live")
        assert stream["delay_s"] < 10, stream
    finish(live)


@pytest.mark.parametrize("streams, audio", [(("-an", "-c:v", "copy"), False), (("-c", "copy"), True)])
def test_sound_may_be_missing(live: Live, streams: tuple[str, ...], audio: bool) -> None:
    with Publisher(live, ROOFTOP, encode=streams):
        wait_segments(live, 2)
        assert live.streams()["live"]["audio"] is audio
    finish(live)
    first = next((live.out / "live" / "720p").glob("*.ts"))
    kinds = run(["ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", first]).output.split()
    assert ("audio" in kinds) is audio


def test_sound_alone_is_refused_in_words(live: Live) -> None:
    with Publisher(live, ROOFTOP, encode=("-vn", "-c:a", "copy")):
        line = live.wait_said("sound without video", seconds=40)
        assert "nothing to enlarge" in line
    assert live.streams()["live"]["phase"] == "failed"
    # Another publisher with the same key begins anew.
    with Publisher(live, ROOFTOP):
        wait_segments(live, 2)
    finish(live)


def test_garbage_ends_nothing_else(live: Live) -> None:
    port = int(re.search(r":(\d+)/", live.ingest).group(1))
    with Publisher(live, ROOFTOP):
        wait_segments(live, 1)
        for garbage in (b"\x03" + bytes(1536) + b"\xff" * 4096, b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 64):
            with socket.create_connection(("127.0.0.1", port), 5) as line:
                line.sendall(garbage)
                line.settimeout(1)
                try:
                    line.recv(4096)
                except (TimeoutError, ConnectionError):
                    pass
        before = segments(live)
        wait_segments(live, before + 2)
    finish(live)


def test_a_broken_bitstream_ends_in_words_or_goes_on(live: Live, tmp_path: pathlib.Path) -> None:
    """FLV whose video is noise behind its headers."""
    clip = tmp_path / "clip.flv"
    run(["ffmpeg", "-v", "error", "-y", "-i", ROOFTOP, "-t", "8", "-c", "copy", "-bsf:v", "noise=amount=20", clip]).succeeded()
    with Publisher(live, clip, once=True) as publisher:
        publisher.process.wait(40)
    time.sleep(2)
    assert live.process.poll() is None, (live.said(), live.errors)
    with Publisher(live, ROOFTOP):
        wait_segments(live, segments(live) + 2)
    assert live.stop() == 0
    assert not [line for line in live.errors if "panicked" in line], live.errors


def test_limits_of_a_publisher(tmp_path: pathlib.Path) -> None:
    with Live(tmp_path / "out", *FAST, "--max-size", "320x240") as live:
        with Publisher(live, ROOFTOP):
            live.wait_said("--max-size")
        assert live.streams()["live"]["phase"] == "failed"
    with Live(tmp_path / "out2", *FAST, "--max-bitrate", "100k") as live:
        with Publisher(live, ROOFTOP):
            live.wait_said("more than the 100 kbit/s")
    with Live(tmp_path / "out3", *FAST, "--max-fps", "20") as live:
        with Publisher(live, ROOFTOP):
            live.wait_said("--max-fps")


def test_a_wrong_key_is_turned_away_and_no_key_is_shown(live: Live) -> None:
    with Publisher(live, WATER, key="not-the-right-key") as publisher:
        assert publisher.process.wait(20) != 0
    assert live.streams() == {}
    with Publisher(live, WATER):
        wait_segments(live, 1)
    assert live.stop() == 0
    everything = "\n".join(live.errors) + str(live.events)
    assert KEY not in everything and "not-the-right-key" not in everything


@pytest.fixture
def two(tmp_path: pathlib.Path):
    """Two may publish, and one may use the network; `begin` begins it with what the others do."""
    keys = tmp_path / "keys"
    keys.write_text("one first-key-of-two\ntwo second-key-of-two\n")
    keys.chmod(0o600)
    started = []

    def begin(over_limit: str) -> Live:
        # The address without a key: the keys are in the file.
        started.append(Live(tmp_path / "out", "--ladder", "360p,720p", "--model", "luma-x2-fast", "--keys", str(keys),
                            "--max-networks", "1", "--over-limit", over_limit, key=""))
        return started[0]

    yield begin
    for live in started:
        live.stop()


def test_streams_do_not_touch_each_other_and_take_the_network_in_turn(two) -> None:
    live = two("fallback")
    with Publisher(live, WATER, key="first-key-of-two") as first:
        live.wait_stream(lambda s: s["inference_p95_s"] > 0, name="one", seconds=60)
        with Publisher(live, WATER, key="second-key-of-two"):
            upscaled = lambda s: s["frames_out"] - s["fallback_frames"]
            # At each start of the clip, which is sent in a loop, it ramps down over a few frames.
            began = live.wait_stream(lambda s: s["frames_out"] > 60, name="two", seconds=60)
            second = live.wait_stream(lambda s: s["frames_out"] > 150, name="two", seconds=60)
            assert upscaled(second) - upscaled(began) < (second["frames_out"] - began["frames_out"]) / 3, (began, second)
            assert live.streams()["one"]["phase"] == "live"
            first.kill()
            live.wait_said("the network is free")
            # The clip's packets come in bursts of half a second, which is no reason to fall back.
            second = live.wait_stream(lambda s: upscaled(s) > upscaled(second) + 60, name="two", seconds=60)
            assert second["phase"] == "live" and second["discontinuities"] == 0, second
            assert live.streams()["one"]["phase"] == "waiting"
    assert live.stop() == 0


def test_a_stream_that_waits_for_the_network_gets_its_turn(two) -> None:
    live = two("wait")
    with Publisher(live, WATER, key="first-key-of-two") as first:
        live.wait_stream(lambda s: s["phase"] == "live", name="one", seconds=60)
        with Publisher(live, WATER, key="second-key-of-two") as second:
            live.wait_said("as many streams as may use the network do")
            live.wait_stream(lambda s: s["frames_out"] > 30, name="one")
            waits = live.streams()["two"]
            assert waits["phase"] == "waiting" and waits["frames_in"] == 0, waits
            assert not (live.out / "two").exists() and second.process.poll() is None
            first.kill()
            turn = live.wait_stream(lambda s: s["renditions"] and s["renditions"][0]["segments"] >= 1, name="two", seconds=60)
            assert turn["phase"] == "live" and turn["inference_p95_s"] > 0 and turn["error"] is None, turn
            assert second.process.poll() is None
    assert live.stop() == 0
    assert check(live.out / "two" / "master.m3u8", media_files=False) == []
