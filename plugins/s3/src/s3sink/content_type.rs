//! Media types, guessed from caps or from the end of a name.

/// The media type of what these caps carry.
pub(super) fn of_caps(caps: &gst::CapsRef) -> Option<String> {
    let structure = caps.structure(0)?;
    let name = structure.name().as_str();
    let variant = structure.get::<&str>("variant").unwrap_or_default();
    let known = match name {
        "video/quicktime" if matches!(variant, "iso" | "iso-fragmented" | "mss-fragmented") => {
            "video/mp4"
        }
        "audio/x-m4a" => "audio/mp4",
        "video/x-matroska" | "video/x-matroska-3d" => "video/x-matroska",
        "video/mpegts" => "video/mp2t",
        "application/x-hls" => "application/vnd.apple.mpegurl",
        "application/x-subtitle" => "application/x-subrip",
        "application/x-subtitle-vtt" => "text/vtt",
        "audio/x-wav" => "audio/wav",
        "audio/x-flac" => "audio/flac",
        "video/x-flv" => "video/x-flv",
        "video/x-msvideo" => "video/x-msvideo",
        "audio/mpeg" if structure.get::<i32>("mpegversion") == Ok(4) => "audio/aac",
        "text/x-raw" => "text/plain",
        // Types of GStreamer alone mean nothing to others.
        other if other.contains("/x-") => return None,
        "video/quicktime" | "video/webm" | "audio/webm" | "audio/mpeg" | "audio/ogg"
        | "video/ogg" | "application/ogg" | "image/jpeg" | "image/png" | "image/webp" => name,
        _ => return None,
    };
    Some(known.to_owned())
}

/// The media type that the name of an object ends in.
pub(super) fn of_key(key: &str) -> Option<&'static str> {
    let (_, extension) = key.rsplit_once('.')?;
    let known = match extension.to_ascii_lowercase().as_str() {
        "mp4" | "m4v" | "m4s" | "cmfv" => "video/mp4",
        "m4a" | "cmfa" => "audio/mp4",
        "mov" => "video/quicktime",
        "mkv" => "video/x-matroska",
        "webm" => "video/webm",
        "ts" | "m2ts" | "mts" => "video/mp2t",
        "m3u8" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "vtt" => "text/vtt",
        "srt" => "application/x-subrip",
        "json" => "application/json",
        "csv" => "text/csv",
        "html" => "text/html",
        "txt" => "text/plain",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "aac" => "audio/aac",
        "mp3" => "audio/mpeg",
        "flac" => "audio/flac",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "ogv" => "video/ogg",
        "wav" => "audio/wav",
        "flv" => "video/x-flv",
        "avi" => "video/x-msvideo",
        _ => return None,
    };
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses() {
        gst::init().expect("GStreamer");
        let of = |caps: &str| of_caps(&caps.parse::<gst::Caps>().expect("caps"));
        assert_eq!(
            of("video/quicktime,variant=iso").as_deref(),
            Some("video/mp4")
        );
        assert_eq!(of("video/quicktime").as_deref(), Some("video/quicktime"));
        assert_eq!(
            of("video/mpegts,systemstream=true").as_deref(),
            Some("video/mp2t")
        );
        assert_eq!(of("video/x-raw"), None);
        assert_eq!(of("video/x-h264,stream-format=byte-stream"), None);
        assert_eq!(of_key("a/b.M3U8"), Some("application/vnd.apple.mpegurl"));
        assert_eq!(of_key("a.b/c"), None);
    }
}
