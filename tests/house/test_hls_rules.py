"""The checker of playlists finds what is wrong, and nothing else."""

import pathlib
import re
import subprocess
from collections.abc import Callable

import pytest

from support.hls_playlist import Finding, read_master, read_media
from support.hls_rules import (
    check, check_history, check_master, check_media, check_together, main, read_history,
)

TS = """#EXTM3U
#EXT-X-VERSION:3
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-DISCONTINUITY-SEQUENCE:1
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.000Z
#EXTINF:2.000000,
a-7.ts
#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:02.000Z
#EXTINF:2.000000,
a-8.ts
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:30.000Z
#EXTINF:1.966667,
a-9.ts
#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:31.967Z
#EXTINF:2.000000,
a-10.ts
"""

LL = """#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:1
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.500000
#EXT-X-PART-INF:PART-TARGET=0.500000
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI="i.mp4"
#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.000Z
#EXT-X-PART:DURATION=0.500000,URI="p0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.466667,URI="p1.m4s"
#EXTINF:0.966667,
0.m4s
#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.967Z
#EXT-X-PART:DURATION=0.500000,URI="p2.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.500000,URI="p3.m4s"
#EXTINF:1.000000,
1.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="j.mp4"
#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:01:00.000Z
#EXT-X-PART:DURATION=0.500000,URI="p4.m4s",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p5.m4s"
"""

MASTER = """#EXTM3U
#EXT-X-VERSION:4
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="a",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="a/index.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="b",DEFAULT=NO,AUTOSELECT=YES,CHANNELS="2",URI="b/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=3000000,AVERAGE-BANDWIDTH=2000000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO="audio"
hi/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=1000000,AVERAGE-BANDWIDTH=900000,CODECS="avc1.64001e,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO="audio"
lo/index.m3u8
"""


def media_findings(text: str | bytes) -> list[Finding]:
    media, findings = read_media(text, "x")
    return findings + check_media(media, "x")


def master_findings(text: str | bytes) -> list[Finding]:
    master, findings = read_master(text, "x")
    return findings + check_master(master, "x")


def rules(findings: list[Finding]) -> set[str]:
    return {f.rule for f in findings}


@pytest.mark.parametrize("text", [
    TS, LL, TS + "#EXT-X-ENDLIST\n", TS.replace("\n", "\r\n"), TS.replace("#EXTINF", "# a comment\n\n#EXTINF"),
    TS.replace("a-8.ts", "#x\na-8.ts"), TS.replace("#EXTINF:1.966667,", "#EXT-X-GAP\n#EXTINF:1.966667,a name"),
])
def test_good_media_playlists_pass(text: str) -> None:
    assert media_findings(text) == []


def test_a_good_master_playlist_passes() -> None:
    assert master_findings(MASTER) == []


def swap(old: str, new: str, count: int = 1) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text, old
        return text.replace(old, new, count)
    return change


MEDIA_BROKEN = [
    ("extm3u", TS, swap("#EXTM3U\n", "")),
    ("extm3u", TS, swap("#EXTM3U", "\n#EXTM3U")),
    ("encoding", TS, lambda t: "\ufeff" + t),
    ("encoding", TS, swap("a-7", "a\x07")),
    ("encoding", TS, lambda t: t.encode().replace(b"a-7", b"\xff")),
    ("line-end", TS, lambda t: t.rstrip("\n")),
    ("white-space", TS, swap("a-7.ts", "a-7.ts ")),
    ("twice", TS, swap("#EXT-X-VERSION:3", "#EXT-X-VERSION:3\n#EXT-X-VERSION:3")),
    ("twice", TS, swap("#EXTINF", "#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.000Z\n#EXTINF")),
    ("twice", TS, lambda t: t + "#EXT-X-ENDLIST\n#EXT-X-ENDLIST\n"),
    ("unknown-tag", TS, swap("#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-INDEPENDENT")),
    ("unknown-tag", TS, swap("#EXTINF", "#EXT-INF")),
    ("value", TS, swap("#EXTINF:2.000000,", "#EXTINF:2.000000")),
    ("value", TS, swap("#EXTINF:2.000000,", "#EXTINF:-2.0,")),
    ("value", TS, swap("#EXTINF:2.000000,", "#EXTINF:2e0,")),
    ("value", TS, swap("DURATION:2", "DURATION:2.0")),
    ("value", TS, swap("SEQUENCE:7", "SEQUENCE:x")),
    ("value", TS, swap("#EXT-X-DISCONTINUITY\n", "#EXT-X-DISCONTINUITY:1\n")),
    ("value", TS, swap("08:00:00.000Z", "8:00:00.000Z")),
    ("value", TS, swap("08:00:00.000Z", "08:00:00.000")),
    ("value", TS, swap("2027-01-15", "2027-02-31")),
    ("value", TS, swap("#EXT-X-INDEP", "#EXT-X-PLAYLIST-TYPE:LIVE\n#EXT-X-INDEP")),
    ("date", TS, swap("08:00:00.000Z", "08:00:00Z")),
    ("target-missing", TS, swap("#EXT-X-TARGETDURATION:2\n", "")),
    ("target", TS, swap("2.000000", "2.500000")),
    ("target", TS, swap("DURATION:2", "DURATION:1")),
    ("extinf-zero", TS, swap("2.000000", "0.000000")),
    ("extinf-missing", TS, swap("#EXTINF:2.000000,\n", "")),
    ("uri-missing", TS, swap("a-7.ts\n", "")),
    ("uri-missing", TS, swap("a-10.ts\n", "")),
    ("uri-twice", TS, swap("a-8.ts", "a-7.ts")),
    ("version", TS, swap("VERSION:3", "VERSION:2")),
    ("version", TS, swap("#EXT-X-VERSION:3\n", "")),
    ("version", LL, swap("VERSION:6", "VERSION:5")),
    ("order", TS, lambda t: t + "#EXT-X-MEDIA-SEQUENCE:7\n"),
    ("order", TS, lambda t: swap("#EXT-X-DISCONTINUITY-SEQUENCE:1\n", "")(t) + "#EXT-X-DISCONTINUITY-SEQUENCE:1\n"),
    ("order", TS, swap("#EXTINF:1.966667,\n", "#EXTINF:1.966667,\n#EXT-X-DISCONTINUITY\n")),
    ("order", LL, swap('#EXT-X-PART:DURATION=0.466667,URI="p1.m4s"', '#EXT-X-MAP:URI="k.mp4"')),
    ("order", LL, swap("0.m4s\n#EXT-X-PROG", '#EXT-X-PART:DURATION=0.5,URI="p9"\n0.m4s\n#EXT-X-PROG')),
    ("mixed", TS, swap("#EXTINF", "#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXTINF")),
    ("event-start", TS, lambda t: swap("SEQUENCE:1", "SEQUENCE:0")(
        swap("#EXT-X-INDEP", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEP")(t))),
    ("vod-open", TS, swap("#EXT-X-INDEP", "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEP")),
    ("date-missing", TS, swap("#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:02.000Z\n", "")),
    ("date-drift", TS, swap("08:00:02.000Z", "08:00:02.100Z")),
    ("date-drift", TS, swap("08:00:31.967Z", "08:00:31.000Z")),
    ("date-drift", TS, swap("#EXT-X-DISCONTINUITY\n", "")),
    ("map-missing", LL, swap('#EXT-X-MAP:URI="i.mp4"\n', "")),
    ("map-change", LL, swap("#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.967Z", '#EXT-X-MAP:URI="k.mp4"\n#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.967Z')),
    ("attribute-list", LL, swap('URI="p1.m4s"', 'URI="p1.m4s",')),
    ("attribute-list", LL, swap('URI="p1.m4s"', 'URI="p1.m4s')),
    ("attribute-list", LL, swap("URI=", "uri=")),
    ("attribute-list", LL, swap("=0.466667,", "=0.466667, ")),
    ("attribute-value", LL, swap('URI="p1.m4s"', "URI=p1.m4s")),
    ("attribute-value", LL, swap("0.466667,U", "a,U")),
    ("attribute-value", LL, swap("INDEPENDENT=YES", "INDEPENDENT=NO")),
    ("attribute-value", LL, swap("TYPE=PART", 'TYPE="PART"')),
    ("attribute-missing", LL, swap("DURATION=0.466667,", "")),
    ("attribute-missing", LL, swap('URI="i.mp4"', 'BYTERANGE="1@0"')),
    ("attribute-twice", LL, swap("DURATION=0.466667", "DURATION=0.466667,DURATION=0.466667")),
    ("unknown-attribute", LL, swap("DURATION=0.466667", "DURATION=0.466667,NAME=1")),
    ("ll-part-inf", LL, swap("#EXT-X-PART-INF:PART-TARGET=0.500000\n", "")),
    ("ll-part-hold-back", LL, swap(",PART-HOLD-BACK=1.500000", "")),
    ("ll-part-hold-back", LL, swap("HOLD-BACK=1.500000", "HOLD-BACK=1.400000")),
    ("ll-hold-back", LL, swap("PART-HOLD", "HOLD-BACK=2.0,PART-HOLD")),
    ("ll-skip", LL, swap("PART-HOLD", "CAN-SKIP-UNTIL=5.0,PART-HOLD")),
    ("ll-block-reload", LL, swap("CAN-BLOCK-RELOAD=YES,", "")),
    ("ll-part-target", LL, swap("TARGET=0.500000", "TARGET=1.100000")),
    ("ll-part-long", LL, swap("DURATION=0.500000", "DURATION=0.510000")),
    ("ll-part-short", LL, swap("DURATION=0.500000", "DURATION=0.400000")),
    ("ll-part-sum", LL, swap("0.466667,U", "0.456667,U")),
    ("ll-independent", LL, swap(",INDEPENDENT=YES", "")),
    ("ll-hint-known", LL, swap("p5", "p4")),
    ("ll-hint-end", LL, lambda t: t + "#EXT-X-ENDLIST\n"),
    ("ll-hint-twice", LL, lambda t: t + '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p6.m4s"\n'),
    ("uri-twice", LL, swap("p3", "p2")),
    ("ll-part-missing", LL, lambda t: re.sub(r"#EXT-X-PART:.*p[23].m4s.*\n", "", t)),
]


@pytest.mark.parametrize(("rule", "text", "change"), MEDIA_BROKEN)
def test_each_broken_rule_of_media_playlists_is_found(
    rule: str, text: str, change: Callable[[str], str],
) -> None:
    assert rule in rules(media_findings(change(text)))


def test_parts_that_are_listed_too_long_are_found() -> None:
    head, _, tail = LL.partition("#EXT-X-PROGRAM-DATE-TIME")
    later = [
        f"#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:{n:02d}.000Z\n"
        f'#EXT-X-PART:DURATION=0.5,URI="q{n}a",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.5,URI="q{n}b"\n'
        f"#EXTINF:1.000,\nq{n}.m4s\n"
        for n in range(8)
    ]
    assert tail
    assert rules(media_findings(head + "".join(later))) == {"ll-part-old"}
    bare = [re.sub(r"#EXT-X-PART:.*\n", "", t) for t in later[:4]]
    assert media_findings(head + "".join(bare + later[4:])) == []


MASTER_BROKEN = [
    ("extm3u", swap("#EXTM3U\n", "")),
    ("no-variant", lambda t: "".join(line for line in t.splitlines(True) if "index" not in line or "MEDIA" in line)),
    ("uri-missing", swap("hi/index.m3u8\n", "")),
    ("uri-missing", swap("lo/index.m3u8\n", "")),
    ("uri-twice", swap("lo/index", "hi/index")),
    ("stream-inf-missing", lambda t: t + "more/index.m3u8\n"),
    ("mixed", swap("#EXT-X-STREAM", "#EXT-X-TARGETDURATION:2\n#EXT-X-STREAM")),
    ("mixed", swap("#EXT-X-STREAM", "#EXTINF:2.0,\n#EXT-X-STREAM")),
    ("version", swap("VERSION:4", "VERSION:3")),
    ("attribute-missing", swap("BANDWIDTH=3000000,AVERAGE", "AVERAGE")),
    ("attribute-missing", swap('NAME="a",', "")),
    ("attribute-value", swap("BANDWIDTH=3000000", "BANDWIDTH=3.0")),
    ("attribute-value", swap("RESOLUTION=1280x720", "RESOLUTION=1280X720")),
    ("attribute-value", swap('CODECS="avc1.64001f,mp4a.40.2"', "CODECS=avc1.64001f")),
    ("attribute-value", swap("DEFAULT=YES", "DEFAULT=TRUE")),
    ("attribute-value", swap("TYPE=AUDIO", "TYPE=SOUND")),
    ("attribute-value", swap('CHANNELS="2"', "CHANNELS=2")),
    ("unknown-attribute", swap("BANDWIDTH=3000000", "BANDWIDTH=3000000,PROGRAM-ID=1")),
    ("bandwidth-zero", swap("BANDWIDTH=3000000", "BANDWIDTH=0")),
    ("average-missing", swap("AVERAGE-BANDWIDTH=2000000,", "")),
    ("average-above-peak", swap("AVERAGE-BANDWIDTH=2000000", "AVERAGE-BANDWIDTH=3000001")),
    ("codecs-missing", swap('CODECS="avc1.64001f,mp4a.40.2",', "")),
    ("codecs-missing", swap("avc1.64001f,mp4a", "avc1.64001f, mp4a")),
    ("video-attributes", swap("RESOLUTION=1280x720,", "")),
    ("video-attributes", swap(",FRAME-RATE=29.970", "")),
    ("frame-rate", swap("29.970", "29.9700")),
    ("group-missing", swap(',AUDIO="audio"\nhi', ',AUDIO="sound"\nhi')),
    ("group-unused", swap(',AUDIO="audio"', "", 2)),
    ("media-default", swap("DEFAULT=NO", "DEFAULT=YES")),
    ("media-autoselect", swap("DEFAULT=YES,AUTOSELECT=YES", "DEFAULT=YES,AUTOSELECT=NO")),
    ("media-name", swap('NAME="b"', 'NAME="a"')),
    ("media-channels", swap('CHANNELS="2",', "")),
]


@pytest.mark.parametrize(("rule", "change"), MASTER_BROKEN)
def test_each_broken_rule_of_master_playlists_is_found(
    rule: str, change: Callable[[str], str],
) -> None:
    assert rule in rules(master_findings(change(MASTER)))


def together(one: str, other: str) -> set[str]:
    return rules(check_together({"a": read_media(one, "a")[0], "b": read_media(other, "b")[0]}, "x"))


@pytest.mark.parametrize(("rule", "change"), [
    ("target-differs", swap("DURATION:2", "DURATION:3")),
    ("type-differs", swap("#EXT-X-INDEP", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEP")),
    ("end-differs", lambda t: t + "#EXT-X-ENDLIST\n"),
    ("independent-differs", swap("#EXT-X-INDEPENDENT-SEGMENTS\n", "")),
    ("part-target-differs", swap("#EXT-X-INDEP", "#EXT-X-PART-INF:PART-TARGET=0.5\n#EXT-X-INDEP")),
    ("discontinuity-differs", swap("DISCONTINUITY-SEQUENCE:1", "DISCONTINUITY-SEQUENCE:0")),
    ("discontinuity-differs", swap("#EXT-X-DISCONTINUITY\n", "")),
    ("alignment", swap("1.966667", "1.866667")),
    ("alignment", swap("MEDIA-SEQUENCE:7", "MEDIA-SEQUENCE:70")),
    ("alignment", swap("MEDIA-SEQUENCE:7", "MEDIA-SEQUENCE:8")),
])
def test_renditions_that_do_not_fit_are_found(rule: str, change: Callable[[str], str]) -> None:
    assert together(TS, TS.replace("a-", "b-")) == set()
    assert rule in together(TS, change(TS))


NEXT = """#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:33.967Z
#EXTINF:2.000000,
a-11.ts
"""
FIRST = """#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.000Z
#EXTINF:2.000000,
a-7.ts
"""
SECOND = FIRST.replace(":00.000Z", ":02.000Z").replace("a-7", "a-8")


def slid(text: str) -> str:
    return text.replace(FIRST, "").replace("SEQUENCE:7", "SEQUENCE:8") + NEXT


def slid_over_the_break(text: str) -> str:
    more = NEXT.replace("33.967", "35.967").replace("a-11", "a-12")
    third = "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:30.000Z\n#EXTINF:1.966667,\na-9.ts\n"
    text = slid(text).replace(SECOND, "").replace(third, "") + more
    last = NEXT.replace("33.967", "37.967").replace("a-11", "a-13")
    return text.replace("SEQUENCE:8", "SEQUENCE:10").replace("Y-SEQUENCE:1\n", "Y-SEQUENCE:2\n") + last


@pytest.mark.parametrize("then", [
    TS, TS + NEXT, slid(TS), slid(TS) + "#EXT-X-ENDLIST\n", slid_over_the_break(TS),
])
def test_good_changes_pass(then: str) -> None:
    assert check_history([TS, then], "x") == []


def test_good_changes_of_low_latency_playlists_pass() -> None:
    hint = '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p5.m4s"\n'
    more = LL.replace(hint, '#EXT-X-PART:DURATION=0.5,URI="p5.m4s"\n' + hint.replace("p5", "p6"))
    done = more.replace(hint.replace("p5", "p6"), "#EXTINF:1.000,\n2.m4s\n" + hint.replace("p5", "p6"))
    assert check_history([LL, more, done], "x") == []
    changed = more.replace("p4.m4s", "p44.m4s")
    assert rules(check_history([LL, changed], "x")) == {"reload-part"}


@pytest.mark.parametrize(("rule", "before", "then"), [
    ("reload-after-end", TS + "#EXT-X-ENDLIST\n", TS),
    ("reload-after-end", TS + "#EXT-X-ENDLIST\n", TS + NEXT + "#EXT-X-ENDLIST\n"),
    ("reload-constant", TS, TS.replace("DURATION:2", "DURATION:3")),
    ("reload-constant", TS, TS.replace("VERSION:3", "VERSION:4")),
    ("reload-sequence", slid(TS), TS),
    ("reload-shrinks", TS, TS.rsplit("#EXT-X-PROG", 1)[0]),
    ("reload-short", TS, TS.replace(FIRST, "").replace("SEQUENCE:7", "SEQUENCE:8")),
    ("reload-discontinuity", TS, slid(TS).replace("Y-SEQUENCE:1\n", "Y-SEQUENCE:2\n")),
    ("reload-discontinuity", TS, slid_over_the_break(TS).replace("Y-SEQUENCE:2\n", "Y-SEQUENCE:1\n")),
    ("reload-segment", TS, TS.replace("a-8", "c-8")),
    ("reload-segment", TS, TS.replace("2.000000", "1.999000")),
    ("reload-segment", TS, TS.replace("08:00:02.000Z", "08:00:02.001Z")),
    ("reload-segment", TS, TS.replace("#EXT-X-DISCONTINUITY\n", "")),
    ("reload-segment", TS, TS.replace("SEQUENCE:7", "SEQUENCE:8")),
    ("reload-segment", TS, TS.replace("#EXTINF:1.96", "#EXT-X-GAP\n#EXTINF:1.96")),
    ("reload-segment", LL, LL.replace("i.mp4", "k.mp4")),
    (
        "reload-event",
        TS.replace("#EXT-X-INDEP", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEP"),
        slid(TS).replace("#EXT-X-INDEP", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEP"),
    ),
])
def test_changes_that_may_not_be_are_found(rule: str, before: str, then: str) -> None:
    assert rule in rules(check_history([before, then], "x"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A presentation of two renditions that FFmpeg made, with a master playlist by hand."""
    folder = tmp_path_factory.mktemp("hls")
    for name, size in (("hi", "320x180"), ("lo", "160x90")):
        (folder / name).mkdir()
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=6", "-f", "lavfi",
             "-i", "sine=r=48000:d=6", "-c:v", "libx264", "-level", "3.1",
             "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0",
             "-c:a", "aac", "-f", "hls", "-hls_time", "2", "-hls_list_size", "0", "-hls_flags",
             "independent_segments+program_date_time", "-hls_segment_filename", f"{folder}/{name}/%d.ts",
             f"{folder}/{name}/index.m3u8"],
            check=True,
        )
    # They were not made at the same moment.
    dates = re.findall(r"DATE-TIME:(.*)", (folder / "hi/index.m3u8").read_text())
    for name in ("hi", "lo"):
        path = folder / name / "index.m3u8"
        text = path.read_text()
        for index, date in enumerate(re.findall(r"DATE-TIME:(.*)", text)):
            text = text.replace(f"DATE-TIME:{date}", f"DATE-TIME:{dates[index]}")
        path.write_text(text)
    lines = ["#EXTM3U", "#EXT-X-VERSION:3"]
    for name, size in (("hi", "320x180"), ("lo", "160x90")):
        lines.append(
            "#EXT-X-STREAM-INF:BANDWIDTH=3000000,AVERAGE-BANDWIDTH=1500000,"
            f'CODECS="avc1.42c01f,mp4a.40.2",RESOLUTION={size},FRAME-RATE=25.000\n{name}/index.m3u8'
        )
    (folder / "master.m3u8").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def shown(made: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of it that may be broken."""
    subprocess.run(["cp", "-r", f"{made}/.", str(tmp_path)], check=True)
    return tmp_path


def test_a_presentation_that_another_program_made_passes(made: pathlib.Path) -> None:
    assert [str(f) for f in check(made / "master.m3u8")] == []


def edit(path: pathlib.Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(("rule", "old", "new"), [
    ("resolution", "320x180", "322x180"),
    ("frame-rate-is", "25.000", "30.000"),
    ("codecs", "avc1.42c01f", "avc1.64001f"),
    ("codecs", "avc1.42c01f", "avc1.42c020"),
    ("codecs", "mp4a.40.2", "mp4a.40.5"),
    ("codecs", ",mp4a.40.2", ""),
    ("codecs", "mp4a.40.2", "mp4a.40.2,ac-3"),
    ("bandwidth", "BANDWIDTH=3000000,AVERAGE-BANDWIDTH=1500000", "BANDWIDTH=90000,AVERAGE-BANDWIDTH=80000"),
    ("playlist-missing", "lo/index", "no/index"),
])
def test_attributes_that_do_not_fit_the_segments_are_found(
    shown: pathlib.Path, rule: str, old: str, new: str,
) -> None:
    edit(shown / "master.m3u8", old, new)
    assert rule in rules(check(shown / "master.m3u8"))


def test_segments_that_are_not_as_said_are_found(shown: pathlib.Path) -> None:
    def found() -> set[str]:
        return rules(check(shown / "master.m3u8"))

    segment = shown / "hi" / "1.ts"
    whole = segment.read_bytes()
    segment.unlink()
    assert "file-missing" in found()
    segment.write_bytes(b"")
    assert {"unreadable", "tables"} <= found()
    segment.write_bytes(whole[3 * 188:])
    assert "tables" in found()
    segment.write_bytes((shown / "hi" / "2.ts").read_bytes())
    assert {"extinf", "starts-differ"} <= found()
    # Cut where no keyframe is.
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", str(shown / "hi" / "2.ts"), "-copyts", "-c", "copy", "-bsf:v",
         "noise=drop='lt(n,10)'", "-f", "mpegts", str(segment)], check=True,
    )
    assert "keyframe" in found()


def test_the_program_says_what_it_found(shown: pathlib.Path, capsys: pytest.CaptureFixture[str],
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    master = shown / "master.m3u8"
    monkeypatch.setattr("sys.argv", ["hls_rules", str(master), "--no-media"])
    assert main() == 0
    history = shown / "history"
    for moment, text in (("000", TS), ("001", TS.replace("a-8", "c-8"))):
        (history / moment / "hi").mkdir(parents=True)
        (history / moment / "hi" / "index.m3u8").write_text(text)
    assert list(read_history(history)) == ["hi/index.m3u8"]
    monkeypatch.setattr("sys.argv", ["hls_rules", str(master), "--no-media", "--history", str(history)])
    assert main() == 1
    assert "reload-segment" in capsys.readouterr().out
