"""Reads HLS playlists strictly: RFC 8216, and the draft of its second edition for low latency.

Everything that is against the grammar is a finding; what could be read is in the model.
"""

import datetime
import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """A rule that is broken, where, and how."""

    rule: str
    where: str
    said: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}: {self.said}"


@dataclass
class Part:
    """A partial segment."""

    uri: str
    duration: float
    independent: bool
    gap: bool


@dataclass
class Segment:
    """A media segment; the one that is being written has no URI yet."""

    number: int
    uri: str | None = None
    duration: float = 0.0
    discontinuity: bool = False
    # Discontinuities before it and its own, from the beginning of the stream.
    period: int = 0
    date: datetime.datetime | None = None
    map: str | None = None
    gap: bool = False
    parts: list[Part] = field(default_factory=list)


@dataclass
class Media:
    """A media playlist."""

    version: int = 1
    target: int = 0
    sequence: int = 0
    discontinuity_sequence: int = 0
    type: str | None = None
    ended: bool = False
    independent: bool = False
    part_target: float | None = None
    control: dict[str, str] | None = None
    hints: list[dict[str, str]] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    open: Segment | None = None

    def duration(self) -> float:
        """Length of all its segments, in seconds."""
        return sum(s.duration for s in self.segments)


@dataclass
class Variant:
    """A variant stream."""

    uri: str
    attributes: dict[str, str]


@dataclass
class Master:
    """A master playlist."""

    version: int = 1
    variants: list[Variant] = field(default_factory=list)
    renditions: list[dict[str, str]] = field(default_factory=list)


INTEGER = r"\d{1,20}"
FLOAT = r"\d+(\.\d+)?"
QUOTED = r'"[^"\r\n]*"'
KINDS = {
    "int": INTEGER,
    "float": FLOAT,
    "signed": rf"-?{FLOAT}",
    "quoted": QUOTED,
    "hex": r"0[xX][0-9A-F]+",
    "resolution": rf"{INTEGER}x{INTEGER}",
    "yes": "YES",
    "bool": "YES|NO",
    "method": "NONE|AES-128|SAMPLE-AES|SAMPLE-AES-CTR",
    "media": "AUDIO|VIDEO|SUBTITLES|CLOSED-CAPTIONS",
    "hdcp": "TYPE-0|TYPE-1|NONE",
    "range": "SDR|HLG|PQ",
    "hint": "PART|MAP",
    "captions": rf"NONE|{QUOTED}",
}
# Attributes of each tag: required ones first, then optional ones.
ATTRIBUTES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "EXT-X-MAP": ({"URI": "quoted"}, {"BYTERANGE": "quoted"}),
    "EXT-X-KEY": (
        {"METHOD": "method"},
        {"URI": "quoted", "IV": "hex", "KEYFORMAT": "quoted", "KEYFORMATVERSIONS": "quoted"},
    ),
    "EXT-X-START": ({"TIME-OFFSET": "signed"}, {"PRECISE": "bool"}),
    "EXT-X-PART-INF": ({"PART-TARGET": "float"}, {}),
    "EXT-X-SERVER-CONTROL": (
        {},
        {
            "CAN-BLOCK-RELOAD": "yes", "PART-HOLD-BACK": "float", "HOLD-BACK": "float",
            "CAN-SKIP-UNTIL": "float", "CAN-SKIP-DATERANGES": "yes",
        },
    ),
    "EXT-X-PART": (
        {"URI": "quoted", "DURATION": "float"},
        {"INDEPENDENT": "yes", "GAP": "yes", "BYTERANGE": "quoted"},
    ),
    "EXT-X-PRELOAD-HINT": (
        {"TYPE": "hint", "URI": "quoted"},
        {"BYTERANGE-START": "int", "BYTERANGE-LENGTH": "int"},
    ),
    "EXT-X-RENDITION-REPORT": (
        {"URI": "quoted", "LAST-MSN": "int"}, {"LAST-PART": "int"},
    ),
    "EXT-X-MEDIA": (
        {"TYPE": "media", "GROUP-ID": "quoted", "NAME": "quoted"},
        {
            "URI": "quoted", "LANGUAGE": "quoted", "ASSOC-LANGUAGE": "quoted", "DEFAULT": "bool",
            "AUTOSELECT": "bool", "FORCED": "bool", "INSTREAM-ID": "quoted",
            "CHARACTERISTICS": "quoted", "CHANNELS": "quoted", "STABLE-RENDITION-ID": "quoted",
            "BIT-DEPTH": "int", "SAMPLE-RATE": "int",
        },
    ),
    "EXT-X-STREAM-INF": (
        {"BANDWIDTH": "int"},
        {
            "AVERAGE-BANDWIDTH": "int", "CODECS": "quoted", "RESOLUTION": "resolution",
            "FRAME-RATE": "float", "HDCP-LEVEL": "hdcp", "VIDEO-RANGE": "range",
            "AUDIO": "quoted", "VIDEO": "quoted", "SUBTITLES": "quoted",
            "CLOSED-CAPTIONS": "captions", "SCORE": "float", "SUPPLEMENTAL-CODECS": "quoted",
            "STABLE-VARIANT-ID": "quoted", "PATHWAY-ID": "quoted",
        },
    ),
}
MASTER_TAGS = {"EXT-X-MEDIA", "EXT-X-STREAM-INF", "EXT-X-I-FRAME-STREAM-INF",
               "EXT-X-SESSION-DATA", "EXT-X-SESSION-KEY"}
SHARED_TAGS = {"EXT-X-VERSION", "EXT-X-INDEPENDENT-SEGMENTS", "EXT-X-START"}
ONCE = {"EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE",
        "EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-PLAYLIST-TYPE", "EXT-X-ENDLIST",
        "EXT-X-INDEPENDENT-SEGMENTS", "EXT-X-START", "EXT-X-PART-INF", "EXT-X-SERVER-CONTROL"}
# Tags whose whole value is this.
VALUES = {
    "EXT-X-VERSION": INTEGER,
    "EXT-X-TARGETDURATION": INTEGER,
    "EXT-X-MEDIA-SEQUENCE": INTEGER,
    "EXT-X-DISCONTINUITY-SEQUENCE": INTEGER,
    "EXT-X-PLAYLIST-TYPE": "EVENT|VOD",
    "EXTINF": rf"({INTEGER}|{FLOAT}),.*",
    "EXT-X-BYTERANGE": rf"{INTEGER}(@{INTEGER})?",
    "EXT-X-PROGRAM-DATE-TIME": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)",
}
PLAIN = {"EXTM3U", "EXT-X-ENDLIST", "EXT-X-DISCONTINUITY", "EXT-X-INDEPENDENT-SEGMENTS", "EXT-X-GAP",
         "EXT-X-I-FRAMES-ONLY"}
PAIR = re.compile(rf'([A-Z0-9-]+)=({QUOTED}|[^",\s]+)(?:,|$)')


class Reader:
    """Reads one text; what is wrong with it goes to `findings`."""

    def __init__(self, text: str | bytes, where: str) -> None:
        self.where = where
        self.findings: list[Finding] = []
        self.lines = self._lines(text)

    def wrong(self, rule: str, said: str, line: int | None = None) -> None:
        where = self.where if line is None else f"{self.where}:{line}"
        self.findings.append(Finding(rule, where, said))

    def _lines(self, text: str | bytes) -> list[str]:
        if isinstance(text, bytes):
            try:
                text = text.decode("utf-8")
            except UnicodeDecodeError as error:
                self.wrong("encoding", str(error))
                text = text.decode("utf-8", "replace")
        if text.startswith("\ufeff"):
            self.wrong("encoding", "begins with a byte order mark")
            text = text[1:]
        if re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]", text):
            self.wrong("encoding", "control characters")
        if text and not text.endswith("\n"):
            self.wrong("line-end", "the last line has no end: it may be cut off")
        return [line.removesuffix("\r") for line in text.split("\n")]

    def tags(self) -> list[tuple[int, str | None, str]]:
        """Line number, tag (None for a URI), and value of each line that says something."""
        found: list[tuple[int, str | None, str]] = []
        seen: set[str] = set()
        if not self.lines or self.lines[0] != "#EXTM3U":
            self.wrong("extm3u", "the first line is not #EXTM3U", 1)
        for number, line in enumerate(self.lines, 1):
            if not line:
                continue
            if line != line.strip():
                self.wrong("white-space", f"{line!r} has white space around it", number)
                line = line.strip()
            if not line.startswith("#"):
                found.append((number, None, line))
                continue
            if not line.startswith("#EXT"):
                continue
            tag, colon, value = line[1:].partition(":")
            if tag in ONCE or tag == "EXTM3U":
                if tag in seen:
                    self.wrong("twice", f"{tag} comes again", number)
                seen.add(tag)
            if tag in PLAIN and colon:
                self.wrong("value", f"{tag} has no value", number)
            elif tag in VALUES and not re.fullmatch(VALUES[tag], value):
                self.wrong("value", f"{tag}:{value}", number)
                continue
            elif tag not in PLAIN and tag not in VALUES and tag not in ATTRIBUTES:
                self.wrong("unknown-tag", tag, number)
                continue
            found.append((number, tag, value))
        return found

    def attributes(self, tag: str, value: str, line: int) -> dict[str, str] | None:
        """The attributes, without quotes; None if they cannot be used."""
        required, optional = ATTRIBUTES[tag]
        result: dict[str, str] = {}
        at = 0
        while at < len(value):
            match = PAIR.match(value, at)
            if match is None or (match.end() == len(value) and value.endswith(",")):
                self.wrong("attribute-list", f"{tag}:{value}", line)
                return None
            name, said = match.group(1), match.group(2)
            at = match.end()
            kind = required.get(name) or optional.get(name)
            if name in result:
                self.wrong("attribute-twice", f"{tag}: {name}", line)
            if kind is None:
                self.wrong("unknown-attribute", f"{tag}: {name}", line)
            elif not re.fullmatch(KINDS[kind], said):
                self.wrong("attribute-value", f"{tag}: {name}={said} is no {kind}", line)
                return None
            result[name] = said.strip('"')
        missing = [name for name in required if name not in result]
        if missing:
            self.wrong("attribute-missing", f"{tag}: {', '.join(missing)}", line)
            return None
        return result


def is_master(text: str) -> bool:
    """Whether it lists variants."""
    return any(re.match(rf"#({'|'.join(MASTER_TAGS)}):", line) for line in text.splitlines())


def read_media(text: str | bytes, where: str) -> tuple[Media, list[Finding]]:
    """Reads a media playlist."""
    reader = Reader(text, where)
    media = Media()
    segment = Segment(0)
    has_length = has_target = has_discontinuity = False
    current_map: str | None = None
    fraction = False
    needs = 1
    for line, tag, value in reader.tags():
        if tag in MASTER_TAGS:
            reader.wrong("mixed", f"{tag} in a media playlist", line)
            continue
        started = bool(media.segments) or has_length or bool(segment.parts)
        attributes = reader.attributes(tag, value, line) if tag in ATTRIBUTES else {}
        if attributes is None:
            continue
        match tag:
            case None:
                if not has_length:
                    reader.wrong("extinf-missing", f"{value} has no EXTINF", line)
                segment.uri = value
                segment.map = current_map
                media.segments.append(segment)
                segment = Segment(0)
                has_length = False
            case "EXTINF":
                if has_length:
                    reader.wrong("uri-missing", "EXTINF without a URI before the next one", line)
                length = value.partition(",")[0]
                fraction |= "." in length
                segment.duration = float(length)
                has_length = True
            case "EXT-X-VERSION":
                media.version = int(value)
            case "EXT-X-TARGETDURATION":
                media.target = int(value)
                has_target = True
            case "EXT-X-MEDIA-SEQUENCE":
                media.sequence = int(value)
                if started:
                    reader.wrong("order", f"{tag} after a segment", line)
            case "EXT-X-DISCONTINUITY-SEQUENCE":
                media.discontinuity_sequence = int(value)
                if started or has_discontinuity:
                    reader.wrong("order", f"{tag} after a segment or a discontinuity", line)
            case "EXT-X-PLAYLIST-TYPE":
                media.type = value
            case "EXT-X-ENDLIST":
                media.ended = True
            case "EXT-X-INDEPENDENT-SEGMENTS":
                media.independent = True
            case "EXT-X-DISCONTINUITY":
                if segment.parts or has_length:
                    reader.wrong("order", "EXT-X-DISCONTINUITY inside a segment", line)
                segment.discontinuity = has_discontinuity = True
            case "EXT-X-GAP":
                segment.gap = True
            case "EXT-X-BYTERANGE":
                needs = max(needs, 4)
            case "EXT-X-I-FRAMES-ONLY":
                needs = max(needs, 4)
            case "EXT-X-KEY":
                needs = max(needs, 5 if "KEYFORMAT" in attributes else 2 if "IV" in attributes else 1)
            case "EXT-X-MAP":
                if segment.parts or has_length:
                    reader.wrong("order", "EXT-X-MAP inside a segment", line)
                current_map = attributes["URI"]
                needs = max(needs, 6)
            case "EXT-X-PROGRAM-DATE-TIME":
                if segment.date is not None:
                    reader.wrong("twice", "EXT-X-PROGRAM-DATE-TIME for the same segment", line)
                if "." not in value:
                    reader.wrong("date", f"{value} has no fraction of a second", line)
                try:
                    segment.date = datetime.datetime.fromisoformat(value)
                except ValueError as error:
                    reader.wrong("value", f"{tag}: {error}", line)
            case "EXT-X-PART-INF":
                media.part_target = float(attributes["PART-TARGET"])
            case "EXT-X-SERVER-CONTROL":
                media.control = attributes
            case "EXT-X-PART":
                if has_length:
                    reader.wrong("order", "EXT-X-PART between EXTINF and URI", line)
                segment.parts.append(Part(
                    attributes["URI"], float(attributes["DURATION"]),
                    "INDEPENDENT" in attributes, "GAP" in attributes,
                ))
            case "EXT-X-PRELOAD-HINT":
                media.hints.append(attributes)
            case _:
                pass
    if has_length:
        reader.wrong("uri-missing", "EXTINF without a URI at the end")
    if not has_target:
        reader.wrong("target-missing", "no EXT-X-TARGETDURATION")
    needs = max(needs, 3 if fraction else 1)
    if media.version < needs:
        reader.wrong("version", f"{media.version}, and what is used needs {needs}")
    if segment.parts:
        segment.map = current_map
        media.open = segment
    period = media.discontinuity_sequence
    for index, each in enumerate(media.segments + ([media.open] if media.open else [])):
        each.number = media.sequence + index
        period += each.discontinuity
        each.period = period
    return media, reader.findings


def read_master(text: str | bytes, where: str) -> tuple[Master, list[Finding]]:
    """Reads a master playlist."""
    reader = Reader(text, where)
    master = Master()
    pending: dict[str, str] | None = None
    for line, tag, value in reader.tags():
        if tag is None:
            if pending is None:
                reader.wrong("stream-inf-missing", f"{value} has no EXT-X-STREAM-INF", line)
            else:
                master.variants.append(Variant(value, pending))
            pending = None
            continue
        if pending is not None:
            reader.wrong("uri-missing", "no URI after EXT-X-STREAM-INF", line)
            pending = None
        if tag not in MASTER_TAGS | SHARED_TAGS | {"EXTM3U"}:
            reader.wrong("mixed", f"{tag} in a master playlist", line)
            continue
        attributes = reader.attributes(tag, value, line) if tag in ATTRIBUTES else {}
        if tag == "EXT-X-VERSION":
            master.version = int(value)
        elif tag == "EXT-X-STREAM-INF":
            pending = attributes
        elif tag == "EXT-X-MEDIA" and attributes is not None:
            master.renditions.append(attributes)
    if pending is not None:
        reader.wrong("uri-missing", "no URI after the last EXT-X-STREAM-INF")
    return master, reader.findings
