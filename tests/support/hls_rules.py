"""Are these playlists what RFC 8216 and the draft of its second edition want?

    python -m support.hls_rules MASTER.m3u8 [--history FOLDER] [--no-media]

FOLDER has one folder per moment, in the order of their names, each with the playlists under the
names they have beside the master playlist. Prints each rule that is broken; the exit status is 1 if
there is one. This reader is a program of its own: nothing of it is what writes the playlists.
"""

import argparse
import pathlib
import sys
from collections.abc import Iterable

from .hls_media import check_files
from .hls_playlist import Finding, Master, Media, Segment, read_master, read_media

# Lengths in a playlist and in what it names may differ by this much, in seconds.
ROUNDING = 0.0015


def check_media(media: Media, where: str, *, date_tolerance: float = 0.05) -> list[Finding]:
    """The rules within one media playlist, beyond its grammar."""
    findings: list[Finding] = []

    def wrong(rule: str, said: str) -> None:
        findings.append(Finding(rule, where, said))

    uris = [s.uri for s in media.segments]
    for uri in {u for u in uris if uris.count(u) > 1}:
        wrong("uri-twice", f"{uri} is listed more than once")
    for segment in media.segments:
        # To the nearest integer, halves up.
        if int(segment.duration + 0.5) > media.target:
            wrong("target", f"{segment.uri} lasts {segment.duration} s of {media.target} s at most")
        if segment.duration <= 0:
            wrong("extinf-zero", f"{segment.uri} lasts {segment.duration} s")
    if media.type == "VOD" and not media.ended:
        wrong("vod-open", "VOD without EXT-X-ENDLIST")
    if media.type == "EVENT" and media.sequence != 0 and media.discontinuity_sequence == 0:
        wrong("event-start", f"an EVENT playlist that begins with {media.sequence}")
    segments = all_segments(media)
    maps = [s.map for s in segments if s.map is not None]
    if maps and len(maps) < len(segments):
        wrong("map-missing", "some segments have an initialisation segment and some have none")
    for before, after in zip(segments, segments[1:]):
        if before.map != after.map and not after.discontinuity:
            wrong("map-change", f"segment {after.number} has another EXT-X-MAP without a discontinuity")
    findings += check_dates(media, where, date_tolerance)
    findings += check_low_latency(media, where)
    return findings


def all_segments(media: Media) -> list[Segment]:
    """Its segments, the one that is being written too."""
    return media.segments + ([media.open] if media.open else [])


def check_dates(media: Media, where: str, tolerance: float) -> list[Finding]:
    """EXT-X-PROGRAM-DATE-TIME goes on as the lengths do."""
    findings = []
    for segment in all_segments(media):
        if segment.date is None:
            findings.append(Finding("date-missing", where, f"segment {segment.number} has no date"))
        elif segment.date.tzinfo is None:
            findings.append(Finding("date-zone", where, f"segment {segment.number}: no time zone"))
    for before, after in zip(all_segments(media), all_segments(media)[1:]):
        if before.date is None or after.date is None or after.discontinuity:
            continue
        off = (after.date - before.date).total_seconds() - before.duration
        if abs(off) > tolerance:
            said = f"segment {after.number} is {off:+.3f} s off what the one before it says"
            findings.append(Finding("date-drift", where, said))
    return findings


def check_low_latency(media: Media, where: str) -> list[Finding]:
    """Parts, hints and what the server promises."""
    findings: list[Finding] = []

    def wrong(rule: str, said: str) -> None:
        findings.append(Finding(rule, where, said))

    control = media.control or {}
    if "HOLD-BACK" in control and float(control["HOLD-BACK"]) < 3 * media.target:
        wrong("ll-hold-back", f"HOLD-BACK={control['HOLD-BACK']}")
    if "CAN-SKIP-UNTIL" in control and float(control["CAN-SKIP-UNTIL"]) < 6 * media.target:
        wrong("ll-skip", f"CAN-SKIP-UNTIL={control['CAN-SKIP-UNTIL']}")
    target = media.part_target
    if target is None:
        if any(s.parts for s in all_segments(media)):
            wrong("ll-part-inf", "parts without EXT-X-PART-INF")
        if any(h["TYPE"] == "PART" for h in media.hints):
            wrong("ll-part-inf", "a hint at a part without EXT-X-PART-INF")
        return findings
    if "PART-HOLD-BACK" not in control:
        wrong("ll-part-hold-back", "PART-HOLD-BACK is missing")
    elif float(control["PART-HOLD-BACK"]) < 3 * target - 1e-9:
        wrong("ll-part-hold-back", f"{control['PART-HOLD-BACK']} is less than three parts")
    if "CAN-BLOCK-RELOAD" not in control:
        wrong("ll-block-reload", "CAN-BLOCK-RELOAD is missing")
    if target > media.target:
        wrong("ll-part-target", f"{target} is more than the target duration")
    listed: set[str] = set()
    for segment in all_segments(media):
        for index, part in enumerate(segment.parts):
            last = index == len(segment.parts) - 1
            if part.duration > target + 1e-9:
                wrong("ll-part-long", f"{part.uri} lasts {part.duration} s of {target} s at most")
            if not last and not part.gap and part.duration < 0.85 * target - 1e-9:
                wrong("ll-part-short", f"{part.uri} lasts {part.duration} s of {target} s")
            if part.uri in listed:
                wrong("uri-twice", f"{part.uri} is listed more than once")
            listed.add(part.uri)
        if segment.parts and media.independent and not segment.parts[0].independent:
            wrong("ll-independent", f"the first part of segment {segment.number} is not INDEPENDENT")
        length = sum(p.duration for p in segment.parts)
        if segment.parts and segment.uri and abs(length - segment.duration) > ROUNDING * len(segment.parts):
            wrong("ll-part-sum", f"{segment.uri}: its parts last {length:.3f} s, it {segment.duration} s")
    if media.ended and media.hints:
        wrong("ll-hint-end", "a hint after the end")
    hinted = [h["TYPE"] for h in media.hints]
    if len(set(hinted)) < len(hinted):
        wrong("ll-hint-twice", "two hints of the same type")
    for hint in media.hints:
        if hint["URI"] in listed:
            wrong("ll-hint-known", f"{hint['URI']} is listed already")
    return findings + check_listed_parts(media, where)


def check_listed_parts(media: Media, where: str) -> list[Finding]:
    """Segments near the end are listed with their parts, those far from it without."""
    findings = []
    after = sum(p.duration for p in media.open.parts) if media.open else 0.0
    for segment in reversed(media.segments):
        if after > 3 * media.target + media.target and segment.parts:
            said = f"{segment.uri} is {after:.1f} s before the end and still has its parts"
            findings.append(Finding("ll-part-old", where, said))
        near = after + segment.duration <= 3 * media.target
        if near and not segment.parts and not segment.gap:
            said = f"{segment.uri} is {after:.1f} s before the end and has no parts"
            findings.append(Finding("ll-part-missing", where, said))
        after += segment.duration
    return findings


def check_master(master: Master, where: str) -> list[Finding]:
    """The rules within the master playlist."""
    findings: list[Finding] = []

    def wrong(rule: str, said: str) -> None:
        findings.append(Finding(rule, where, said))

    if not master.variants:
        wrong("no-variant", "no EXT-X-STREAM-INF")
    uris = [v.uri for v in master.variants]
    if len(set(uris)) < len(uris):
        wrong("uri-twice", "a variant is listed more than once")
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for rendition in master.renditions:
        groups.setdefault((rendition["TYPE"], rendition["GROUP-ID"]), []).append(rendition)
        if rendition.get("DEFAULT") == "YES" and rendition.get("AUTOSELECT", "YES") == "NO":
            wrong("media-autoselect", f"{rendition['NAME']}: DEFAULT=YES and AUTOSELECT=NO")
        if rendition["TYPE"] == "CLOSED-CAPTIONS" and "URI" in rendition:
            wrong("media-uri", f"{rendition['NAME']}: closed captions have no URI")
        if rendition["TYPE"] == "SUBTITLES" and "URI" not in rendition:
            wrong("media-uri", f"{rendition['NAME']}: subtitles need a URI")
        if rendition["TYPE"] == "AUDIO" and "CHANNELS" not in rendition:
            wrong("media-channels", f"{rendition['NAME']}: CHANNELS is missing")
    for (kind, group), members in groups.items():
        names = [m["NAME"] for m in members]
        if len(set(names)) < len(names):
            wrong("media-name", f"{kind} {group}: two of the same name")
        if sum(m.get("DEFAULT") == "YES" for m in members) > 1:
            wrong("media-default", f"{kind} {group}: more than one default")
    if groups and master.version < 4:
        wrong("version", f"{master.version}, and groups need 4")
    for variant in master.variants:
        findings += check_variant(variant.uri, variant.attributes, set(groups), where)
    used = {v.attributes.get("AUDIO") for v in master.variants}
    for kind, group in groups:
        if kind == "AUDIO" and group not in used:
            wrong("group-unused", f"no variant has the group {group}")
    return findings


def check_variant(
    uri: str, attributes: dict[str, str], groups: set[tuple[str, str]], where: str,
) -> list[Finding]:
    findings = []
    for kind in ("AUDIO", "VIDEO", "SUBTITLES"):
        if kind in attributes and (kind, attributes[kind]) not in groups:
            findings.append(Finding("group-missing", where, f"{uri}: {kind}={attributes[kind]}"))
    peak, average = int(attributes["BANDWIDTH"]), attributes.get("AVERAGE-BANDWIDTH")
    if peak == 0:
        findings.append(Finding("bandwidth-zero", where, f"{uri}: BANDWIDTH=0"))
    if average is None:
        findings.append(Finding("average-missing", where, f"{uri}: no AVERAGE-BANDWIDTH"))
    elif int(average) > peak:
        findings.append(Finding("average-above-peak", where, f"{uri}: {average} > {peak}"))
    codecs = attributes.get("CODECS", "")
    if not codecs or any(not c or c != c.strip() for c in codecs.split(",")):
        findings.append(Finding("codecs-missing", where, f"{uri}: CODECS={codecs!r}"))
    if any(c.split(".")[0] in ("avc1", "avc3", "hvc1", "hev1", "av01") for c in codecs.split(",")):
        for name in ("RESOLUTION", "FRAME-RATE"):
            if name not in attributes:
                findings.append(Finding("video-attributes", where, f"{uri}: no {name}"))
    if len(attributes.get("FRAME-RATE", "").partition(".")[2]) > 3:
        findings.append(Finding("frame-rate", where, f"{uri}: more than three decimals"))
    return findings


# How far segments of sound alone may be from those of the pictures.
AUDIO_TOLERANCE = 0.4


def check_together(
    playlists: dict[str, Media], where: str, *, tolerance: float = 0.05, apart: frozenset[str] = frozenset(),
) -> list[Finding]:
    """What the renditions of one stream have in common.

    Those in `apart` have no pictures: they are cut where their own frames, or some of them, begin.
    """
    findings: list[Finding] = []

    def differ(rule: str, values: dict[str, object]) -> None:
        if len(set(values.values())) > 1:
            findings.append(Finding(rule, where, str(values)))

    differ("target-differs", {n: p.target for n, p in playlists.items()})
    differ("type-differs", {n: p.type for n, p in playlists.items()})
    differ("end-differs", {n: p.ended for n, p in playlists.items()})
    differ("part-target-differs", {n: p.part_target for n, p in playlists.items()})
    differ("independent-differs", {n: p.independent for n, p in playlists.items()})
    (first, reference), *others = playlists.items()
    known = {s.number: s for s in reference.segments}
    for name, media in others:
        common = [(known[s.number], s) for s in media.segments if s.number in known]
        if known and media.segments and not common:
            findings.append(Finding("alignment", where, f"{first} and {name} have no number in common"))
        allowed = max(tolerance, AUDIO_TOLERANCE) if name in apart or first in apart else tolerance
        for one, other in common:
            what = f"segment {one.number} of {first} and {name}"
            if one.period != other.period:
                said = f"{what}: discontinuity sequence {one.period} and {other.period}"
                findings.append(Finding("discontinuity-differs", where, said))
            if abs(one.duration - other.duration) > allowed:
                said = f"{what} last {one.duration} s and {other.duration} s"
                findings.append(Finding("alignment", where, said))
            if one.date and other.date and abs((one.date - other.date).total_seconds()) > allowed:
                findings.append(Finding("alignment", where, f"{what}: {one.date} and {other.date}"))
    return findings


def check_reload(before: Media, after: Media, where: str) -> list[Finding]:
    """What may have changed from one state of a media playlist to a later one."""
    findings: list[Finding] = []

    def wrong(rule: str, said: str) -> None:
        findings.append(Finding(rule, where, said))

    if before.ended and (not after.ended or before != after):
        wrong("reload-after-end", "it changed after EXT-X-ENDLIST")
    for name in ("target", "version", "type", "part_target"):
        if getattr(before, name) != getattr(after, name):
            wrong("reload-constant", f"{name}: {getattr(before, name)}, then {getattr(after, name)}")
    end_before = before.sequence + len(before.segments)
    end_after = after.sequence + len(after.segments)
    if after.sequence < before.sequence:
        wrong("reload-sequence", f"EXT-X-MEDIA-SEQUENCE {before.sequence}, then {after.sequence}")
        return findings
    if end_after < end_before:
        wrong("reload-shrinks", f"the last number was {end_before - 1}, then {end_after - 1}")
    gone = [s for s in before.segments if s.number < after.sequence]
    if gone and after.type is not None:
        wrong("reload-event", f"{gone[0].uri} left a playlist of type {after.type}")
    if gone and not after.ended and after.duration() < 3 * after.target - 1e-6:
        wrong("reload-short", f"{gone[0].uri} left, and {after.duration():.3f} s are listed")
    if after.sequence <= end_before:
        expected = before.discontinuity_sequence + sum(s.discontinuity for s in gone)
        if after.discontinuity_sequence != expected:
            said = f"EXT-X-DISCONTINUITY-SEQUENCE {after.discontinuity_sequence}, not {expected}"
            wrong("reload-discontinuity", said)
    now = {s.number: s for s in all_segments(after)}
    for segment in before.segments:
        other = now.get(segment.number)
        if other is None:
            continue
        for name in ("uri", "duration", "discontinuity", "date", "map", "gap"):
            if getattr(segment, name) != getattr(other, name):
                said = f"{name} of segment {segment.number}: {getattr(segment, name)}, "
                wrong("reload-segment", said + f"then {getattr(other, name)}")
    for segment in all_segments(before):
        other = now.get(segment.number)
        if other is not None and other.parts and other.parts[: len(segment.parts)] != segment.parts:
            wrong("reload-part", f"parts of segment {segment.number} changed")
    return findings


def check_history(texts: Iterable[str], where: str) -> list[Finding]:
    """Each state of a media playlist by itself, and from each one to the next."""
    findings: list[Finding] = []
    before: Media | None = None
    for index, text in enumerate(texts):
        place = f"{where} (state {index})"
        after, said = read_media(text, place)
        findings += said + check_media(after, place)
        if before is not None:
            findings += check_reload(before, after, place)
        before = after
    return findings


def listed_by(master: Master) -> list[str]:
    """The media playlists it names, each once."""
    uris = [v.uri for v in master.variants]
    uris += [r["URI"] for r in master.renditions if "URI" in r]
    return list(dict.fromkeys(uris))


def check(
    path: pathlib.Path,
    history: dict[str, list[str]] | None = None,
    *,
    media_files: bool = True,
    tolerance: float = 0.05,
) -> list[Finding]:
    """Checks a master playlist, all that it names, and what they were before.

    `history` has the states of each playlist in the order of time, by its name beside the master
    playlist. `media_files`: FFmpeg's tools look at segments, too. `tolerance`: how far renditions
    and dates may be apart, in seconds.
    """
    master, findings = read_master(path.read_bytes(), path.name)
    findings += check_master(master, path.name)
    playlists: dict[str, Media] = {}
    for uri in listed_by(master):
        try:
            text = (path.parent / uri).read_bytes()
        except OSError as error:
            findings.append(Finding("playlist-missing", path.name, f"{uri}: {error}"))
            continue
        media, said = read_media(text, uri)
        findings += said + check_media(media, uri, date_tolerance=tolerance)
        playlists[uri] = media
    if playlists:
        streams = {variant.uri for variant in master.variants}
        findings += check_together(playlists, path.name, tolerance=tolerance, apart=frozenset(playlists) - streams)
        if media_files:
            findings += check_files(path.parent, master, playlists, tolerance=tolerance)
    for uri, texts in (history or {}).items():
        if uri == path.name:
            for index, text in enumerate(texts):
                place = f"{uri} (state {index})"
                then, said = read_master(text, place)
                findings += said + check_master(then, place)
        else:
            findings += check_history(texts, uri)
    return findings


def read_history(folder: pathlib.Path) -> dict[str, list[str]]:
    """The states below `folder`, each in a folder of its own."""
    history: dict[str, list[str]] = {}
    for moment in sorted(p for p in folder.iterdir() if p.is_dir()):
        for path in sorted(moment.rglob("*.m3u8")):
            name = path.relative_to(moment).as_posix()
            history.setdefault(name, []).append(path.read_text("utf-8"))
    return history


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks HLS playlists against RFC 8216.")
    parser.add_argument("master", type=pathlib.Path)
    parser.add_argument("--history", type=pathlib.Path)
    parser.add_argument("--no-media", action="store_true", help="leave the segments alone")
    args = parser.parse_args()
    history = read_history(args.history) if args.history else None
    findings = check(args.master, history, media_files=not args.no_media)
    for finding in findings:
        print(finding)
    print(f"{args.master}: {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
