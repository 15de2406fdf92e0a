"""Are the segments what the playlists say they are? FFmpeg's tools look at them."""

import json
import pathlib
import re
import subprocess
import tempfile
from dataclasses import dataclass, field

from .hls_playlist import Finding, Master, Media, Segment

AVC_PROFILES = {"Constrained Baseline": 0x42, "Baseline": 0x42, "Main": 0x4D, "Extended": 0x58,
                "High": 0x64, "High 10": 0x6E, "High 4:2:2": 0x7A, "High 4:4:4 Predictive": 0xF4}
AAC_PROFILES = {"LC": "mp4a.40.2", "HE-AAC": "mp4a.40.5", "HE-AACv2": "mp4a.40.29"}
OTHERS = {"mp3": ("mp4a.40.34", "mp4a.69", "mp4a.6B"), "opus": ("opus", "Opus"), "flac": ("fLaC",),
          "ac3": ("ac-3",), "eac3": ("ec-3",), "av1": ("av01",), "vp9": ("vp09",)}


@dataclass
class Stream:
    """A stream of a segment."""

    type: str
    info: dict[str, object]
    # Presentation time in seconds and whether a decoder can begin there, in decoding order.
    packets: list[tuple[float, bool]] = field(default_factory=list)

    def start(self) -> float:
        return min(p for p, _ in self.packets)

    def fits(self, codec: str) -> bool:
        """Whether a codec of RFC 6381 names what this is."""
        name, profile = self.info.get("codec_name"), str(self.info.get("profile"))
        if name == "h264":
            match = re.fullmatch(r"avc[13]\.([0-9a-fA-F]{2})[0-9a-fA-F]{2}([0-9a-fA-F]{2})", codec)
            return match is not None and (
                int(match[1], 16) == AVC_PROFILES.get(profile, int(match[1], 16))
                and int(match[2], 16) == self.info.get("level")
            )
        if name == "hevc":
            match = re.fullmatch(r"(hvc1|hev1)\..*\.[LH](\d+)(\..*)?", codec)
            return match is not None and int(match[2]) == self.info.get("level")
        if name == "aac":
            return codec == AAC_PROFILES.get(profile, codec) and codec.startswith("mp4a.40.")
        return codec.split(".")[0] in OTHERS.get(str(name), ()) or codec in OTHERS.get(str(name), ())


def probe(paths: list[pathlib.Path]) -> list[Stream]:
    """What ffprobe sees in these files, one after the other."""
    with tempfile.NamedTemporaryFile(suffix=paths[-1].suffix) as joined:
        for path in paths:
            joined.write(path.read_bytes())
        joined.flush()
        done = subprocess.run(
            ["ffprobe", "-v", "error", "-of", "json", "-show_entries",
             "stream=index,codec_type,codec_name,profile,level,width,height,avg_frame_rate,"
             "r_frame_rate,channels:packet=stream_index,pts_time,dts_time,flags", joined.name],
            capture_output=True, text=True, check=False,
        )
    seen = json.loads(done.stdout or "{}")
    streams = {s["index"]: Stream(s["codec_type"], s) for s in seen.get("streams", [])}
    for packet in seen.get("packets", []):
        if "pts_time" in packet and packet["stream_index"] in streams:
            key = "K" in packet["flags"]
            streams[packet["stream_index"]].packets.append((float(packet["pts_time"]), key))
    return [s for s in streams.values() if s.packets]


def peak_bps(sizes: list[tuple[int, float]], target: int) -> float:
    """The peak bit rate as RFC 8216 (1.1) has it: of segments in a row that together last between
    half and one and a half target durations."""
    peak = 0.0
    for first in range(len(sizes)):
        size, length = 0, 0.0
        for each, duration in sizes[first:]:
            size, length = size + each, length + duration
            if length > 1.5 * target:
                break
            if length >= 0.5 * target:
                peak = max(peak, 8 * size / length)
    return peak


@dataclass
class Looked:
    """A rendition whose files were looked at."""

    streams: dict[int, list[Stream]] = field(default_factory=dict)
    peak: float = 0.0

    def all(self) -> list[Stream]:
        """The streams of its newest segment."""
        return self.streams[max(self.streams)] if self.streams else []


def begins_with_tables(data: bytes) -> bool:
    """Whether a transport stream has its PAT and PMT before anything that is shown."""
    has_pat = False
    for at in range(0, min(len(data), 188 * 64), 188):
        packet = data[at:at + 188]
        if len(packet) < 188 or packet[0] != 0x47:
            return False
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        start = 4 + (packet[4] + 1 if packet[3] & 0x20 else 0)
        payload = packet[start:]
        if pid == 0:
            has_pat = True
        elif payload.startswith(b"\x00\x02"):
            return has_pat
        elif payload.startswith(b"\x00\x00\x01"):
            return False
    return False


def look_at(folder: pathlib.Path, media: Media, where: str, tolerance: float) -> tuple[Looked, list[Finding]]:
    """Looks at each segment of a playlist."""
    findings: list[Finding] = []
    looked = Looked()
    sizes: list[tuple[int, float]] = []

    def wrong(rule: str, said: str) -> None:
        findings.append(Finding(rule, where, said))

    before: tuple[Segment, float] | None = None
    for segment in media.segments:
        if segment.gap or segment.uri is None:
            before = None
            continue
        names = [segment.map] if segment.map else []
        paths = [folder / name for name in [*names, segment.uri]]
        missing = [p.name for p in paths if not p.is_file()]
        if missing:
            wrong("file-missing", ", ".join(missing))
            before = None
            continue
        sizes.append((paths[-1].stat().st_size, segment.duration))
        if segment.uri.endswith(".ts") and not begins_with_tables(paths[-1].read_bytes()):
            wrong("tables", f"{segment.uri} does not begin with PAT and PMT")
        streams = probe(paths)
        if not streams:
            wrong("unreadable", segment.uri)
            before = None
            continue
        looked.streams[segment.number] = streams
        video = next((s for s in streams if s.type == "video"), None)
        lead = video or streams[0]
        if video and not video.packets[0][1]:
            wrong("keyframe", f"{segment.uri} does not begin with a keyframe")
        if video and min(video.packets)[0] < video.packets[0][0] - 1e-6:
            wrong("leading", f"{segment.uri} has frames that are shown before its first keyframe")
        start = lead.start()
        if before is not None and not segment.discontinuity:
            off = start - before[1] - before[0].duration
            if abs(off) > tolerance:
                wrong("extinf", f"{before[0].uri} is {off:+.3f} s longer than its EXTINF says")
        before = (segment, start)
        for sound in (s for s in streams if s.type == "audio" and video):
            if abs(sound.start() - start) > 0.5:
                wrong("audio-start", f"{segment.uri}: sound is {sound.start() - start:+.3f} s off")
    for segment in [*media.segments, *([media.open] if media.open else [])]:
        for part in segment.parts:
            if not part.gap and not (folder / part.uri).is_file():
                wrong("file-missing", part.uri)
        present = segment.parts and all((folder / p.uri).is_file() for p in segment.parts)
        if present and segment.uri and (folder / segment.uri).is_file() and not segment.gap:
            joined = b"".join((folder / p.uri).read_bytes() for p in segment.parts)
            if joined != (folder / segment.uri).read_bytes():
                wrong("ll-part-bytes", f"{segment.uri} is not what its parts are together")
    looked.peak = peak_bps(sizes, media.target)
    return looked, findings


def check_files(
    base: pathlib.Path, master: Master, playlists: dict[str, Media], *, tolerance: float = 0.05,
) -> list[Finding]:
    """Looks at all files of a presentation."""
    findings: list[Finding] = []
    looked: dict[str, Looked] = {}
    for uri, media in playlists.items():
        looked[uri], said = look_at((base / uri).parent, media, uri, tolerance)
        findings += said
    for variant in master.variants:
        if variant.uri not in looked:
            continue
        own, attributes = looked[variant.uri], variant.attributes
        group = [
            looked[r["URI"]] for r in master.renditions
            if r["TYPE"] == "AUDIO" and r["GROUP-ID"] == attributes.get("AUDIO")
            and r.get("URI") in looked
        ]
        streams = own.all() + [s for each in group for s in each.all()]
        findings += check_variant_files(variant.uri, attributes, own, streams)
        peak = own.peak + max((g.peak for g in group), default=0.0)
        if peak > int(attributes["BANDWIDTH"]):
            said = f"{peak:.0f} bits/s at the peak, and BANDWIDTH={attributes['BANDWIDTH']}"
            findings.append(Finding("bandwidth", variant.uri, said))
    return findings + check_starts(looked, tolerance)


def check_variant_files(
    uri: str, attributes: dict[str, str], own: Looked, streams: list[Stream],
) -> list[Finding]:
    """A variant's attributes against what its newest segments are."""
    findings = []
    codecs = [c for c in attributes.get("CODECS", "").split(",") if c]
    for stream in streams:
        if not any(stream.fits(c) for c in codecs):
            info = {k: stream.info.get(k) for k in ("codec_name", "profile", "level")}
            findings.append(Finding("codecs", uri, f"{info} is not in {codecs}"))
    for codec in codecs:
        if streams and not any(s.fits(codec) for s in streams):
            findings.append(Finding("codecs", uri, f"{codec}: no stream is that"))
    for video in (s for s in own.all() if s.type == "video"):
        size = f"{video.info.get('width')}x{video.info.get('height')}"
        if attributes.get("RESOLUTION") != size:
            findings.append(Finding("resolution", uri, f"{attributes.get('RESOLUTION')} is {size}"))
        times = sorted(p for p, _ in video.packets)
        if len(times) > 5 and "FRAME-RATE" in attributes:
            rate = (len(times) - 1) / (times[-1] - times[0])
            if abs(rate / float(attributes["FRAME-RATE"]) - 1) > 0.01:
                said = f"{attributes['FRAME-RATE']} is {rate:.3f}"
                findings.append(Finding("frame-rate-is", uri, said))
    return findings


def check_starts(looked: dict[str, Looked], tolerance: float) -> list[Finding]:
    """Segments of the same number begin at the same time in all renditions with pictures."""
    findings = []
    starts: dict[int, dict[str, float]] = {}
    for uri, each in looked.items():
        for number, streams in each.streams.items():
            lead = next((s for s in streams if s.type == "video"), None)
            if lead is None:
                continue
            starts.setdefault(number, {})[uri] = lead.start()
    for number, by_uri in starts.items():
        if max(by_uri.values()) - min(by_uri.values()) > tolerance:
            findings.append(Finding("starts-differ", f"segment {number}", str(by_uri)))
    return findings
