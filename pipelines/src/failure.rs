//! What can go wrong, in one line for a person and one number for a script.

use gst::prelude::*;
use std::fmt;
use std::path::Path;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// Nothing was written.
    Error = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The output is there, but the input broke before its end.
    Partial = 3,
    /// What was asked for is written, but a limit of `--fail-under` or `--fail-over` was not kept,
    /// or what should have been measured could not be.
    BelowLimit = 4,
    /// Stopped by Ctrl-C (or SIGTERM); what was done until then is kept.
    Interrupted = 130,
}

/// An error with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit status it leads to.
    pub exit: Exit,
    /// What happened, to which thing.
    pub what: String,
    /// What the user can do, where that is known.
    pub hint: Option<String>,
}

impl Failure {
    /// An error (exit 1).
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            exit: Exit::Error,
            what: what.into(),
            hint: None,
        }
    }

    /// A misuse of the command line (exit 2).
    pub fn usage(what: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new(what)
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error of the file system, at `path`, while `doing` something.
    pub fn io(doing: &str, path: &Path, err: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let path = path.display();
        match err.kind() {
            K::StorageFull | K::QuotaExceeded => {
                Self::new(format!("{doing} {path}: the disk is full"))
                    .hint("free some space, or write elsewhere")
            }
            K::PermissionDenied => Self::new(format!("{doing} {path}: permission denied")),
            K::ReadOnlyFilesystem => {
                Self::new(format!("{doing} {path}: the file system is read-only"))
            }
            _ => Self::new(format!("{doing} {path}: {err}")),
        }
    }

    /// Translates an error message of a GStreamer element.
    pub fn from_gst(msg: &gst::message::Error) -> Self {
        let err = msg.error();
        let debug = msg.debug().map(|d| d.to_string()).unwrap_or_default();
        let source = msg
            .src()
            .map(|s| {
                s.downcast_ref::<gst::Element>()
                    .and_then(|e| e.factory().map(|f| f.name().to_string()))
                    .unwrap_or_else(|| s.name().to_string())
            })
            .unwrap_or_default();
        if err.matches(gst::ResourceError::NoSpaceLeft)
            || debug.contains("No space left")
            || debug.contains("File too large")
            || debug.contains("Disk quota")
        {
            return Self::new("writing the output: the disk is full (or a size limit is reached)")
                .hint("free some space, or write elsewhere");
        }
        if err.matches(gst::ResourceError::NotFound) {
            return Self::new(match source.as_str() {
                "filesrc" | "souphttpsrc" => {
                    format!("opening the input: no such file ({source})")
                }
                _ => format!("{source}: {}", err.message().trim_end_matches('.')),
            });
        }
        if err.matches(gst::CoreError::MissingPlugin)
            || err.matches(gst::StreamError::CodecNotFound)
        {
            return Self::new(err.message().trim_end_matches('.'))
                .hint("a decoder or demuxer is not installed: apt install gstreamer1.0-libav gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly, then `gst-neural doctor`");
        }
        // The first line of the debug text is "file(line): function (): path:"; the cause follows.
        let cause = debug
            .lines()
            .skip(1)
            .map(str::trim)
            .find(|l| !l.is_empty())
            .unwrap_or("");
        let mut what = format!("{source}: {}", err.message().trim_end_matches('.'));
        if !cause.is_empty() && !what.contains(cause) && !cause.starts_with("streaming stopped") {
            what.push_str(&format!(" ({cause})"));
        }
        Self::new(what)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Makes an element, or says which Debian package has it.
pub fn make(factory: &str) -> Result<gst::Element, Failure> {
    gst::ElementFactory::make(factory).build().map_err(|_| {
        let failure = Failure::new(format!("GStreamer has no element `{factory}`"));
        match package_of(factory) {
            Some(package) => failure.hint(format!("apt install {package}")),
            None => failure.hint("see `gst-neural doctor`"),
        }
    })
}

/// The Debian package an element that we use comes from.
pub fn package_of(factory: &str) -> Option<&'static str> {
    Some(match factory {
        "filesrc" | "filesink" | "queue" | "capsfilter" | "fakesink" => "libgstreamer1.0-0",
        "parsebin" | "decodebin" | "decodebin3" | "uridecodebin3" | "urisourcebin"
        | "videoconvert" | "videoscale" | "audioconvert" | "audioresample" | "opusenc"
        | "vorbisenc" => "gstreamer1.0-plugins-base",
        "mp4mux" | "qtmux" | "matroskamux" | "webmmux" | "qtdemux" | "matroskademux" | "vp9enc"
        | "vp8enc" | "videoflip" | "videocrop" | "deinterlace" | "souphttpsrc" | "aacparse"
        | "mpegaudioparse" | "ac3parse" | "flacparse" | "flvdemux" => "gstreamer1.0-plugins-good",
        "mpegtsmux" | "tsdemux" | "x265enc" | "av1enc" | "h264parse" | "h265parse" | "av1parse"
        | "vp9parse" | "y4mdec" | "voaacenc" | "opusparse" | "rtmp2src" | "srtsrc" => {
            "gstreamer1.0-plugins-bad"
        }
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "avenc_aac" | "avenc_ffv1" | "avdec_h264" | "avdec_h265" => "gstreamer1.0-libav",
        _ => return None,
    })
}
