//! The log: a line for each pair, under a temporary name until it is complete.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use gstneural_metrics::{Column, FrameScores};

use super::settings::LogFormat;

/// What the log says about a pair beside its scores.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub pad: String,
    pub frame: u64,
    pub distorted_frame: u64,
    pub running_time: Option<u64>,
}

/// A log that is being written; the file appears under its name with [`Log::finish`].
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    part: PathBuf,
    format: LogFormat,
    out: Option<BufWriter<File>>,
    header: bool,
}

impl Log {
    pub fn create(path: &Path, format: LogFormat) -> io::Result<Self> {
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::other("not the name of a file"))?;
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".{}.part", std::process::id()));
        let part = path.with_file_name(part);
        let out = BufWriter::new(File::create(&part)?);
        Ok(Self {
            path: path.to_owned(),
            part,
            format,
            out: Some(out),
            header: false,
        })
    }

    pub fn write(
        &mut self,
        pair: &Pair,
        columns: &[Column],
        scores: &FrameScores,
    ) -> io::Result<()> {
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        let values = columns.iter().zip(&scores.values);
        let identical = scores.identical();
        match self.format {
            LogFormat::Csv => {
                if !std::mem::replace(&mut self.header, true) {
                    write!(out, "pad,frame,distorted_frame,running_time_ns,identical")?;
                    for c in columns {
                        write!(out, ",{}", c.name)?;
                    }
                    writeln!(out)?;
                }
                write!(out, "{},{},{},", pair.pad, pair.frame, pair.distorted_frame)?;
                if let Some(t) = pair.running_time {
                    write!(out, "{t}")?;
                }
                write!(out, ",{}", u8::from(identical))?;
                for (_, value) in values {
                    match value {
                        Some(v) => write!(out, ",{v:.6}")?,
                        None => write!(out, ",")?,
                    }
                }
                writeln!(out)
            }
            LogFormat::Ndjson => {
                // Names are of letters, digits, dots, dashes and underscores, but a model's file
                // may have any.
                write!(out, "{{\"pad\":{}", quoted(&pair.pad))?;
                write!(out, ",\"frame\":{}", pair.frame)?;
                write!(out, ",\"distorted_frame\":{}", pair.distorted_frame)?;
                match pair.running_time {
                    Some(t) => write!(out, ",\"running_time_ns\":{t}")?,
                    None => write!(out, ",\"running_time_ns\":null")?,
                }
                write!(out, ",\"identical\":{identical}")?;
                for (column, value) in values {
                    match value {
                        Some(v) => write!(out, ",{}:{v:.6}", quoted(&column.name))?,
                        None => write!(out, ",{}:null", quoted(&column.name))?,
                    }
                }
                writeln!(out, "}}")
            }
        }
    }

    /// Gives the file its name.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(out) = self.out.take() {
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            fs::rename(&self.part, &self.path)?;
        }
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Still there only if the log was not finished.
        let _ = fs::remove_file(&self.part);
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use gstneural_metrics::{MetricList, VmafModels};
    use gstneural_pixels::PixelFormat;

    fn columns() -> Vec<Column> {
        let list: MetricList = "psnr,ssim".parse().unwrap();
        list.columns(PixelFormat::Gray8, &VmafModels::default())
    }

    fn write(format: LogFormat, path: &Path) -> Log {
        let mut log = Log::create(path, format).unwrap();
        let mut scores = FrameScores::empty(0, 3);
        scores.values = vec![Some(100.0), None, Some(0.25)];
        let mut pair = Pair {
            pad: "distorted_0".into(),
            frame: 0,
            distorted_frame: 1,
            running_time: Some(40),
        };
        log.write(&pair, &columns(), &scores).unwrap();
        pair.running_time = None;
        log.write(&pair, &columns(), &scores).unwrap();
        log
    }

    #[test]
    fn appears_only_when_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.csv");
        let log = write(LogFormat::Csv, &path);
        assert!(!path.exists());
        log.finish().unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "pad,frame,distorted_frame,running_time_ns,identical,psnr-y,ssim-y,ssim\n\
             distorted_0,0,1,40,0,100.000000,,0.250000\n\
             distorted_0,0,1,,0,100.000000,,0.250000\n"
        );
        drop(write(LogFormat::Csv, &dir.path().join("other")));
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left over"
        );
        assert!(Log::create(&dir.path().join("no/such"), LogFormat::Csv).is_err());
    }

    #[test]
    fn ndjson_is_json() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.ndjson");
        write(LogFormat::Ndjson, &path).finish().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().next().unwrap(),
            "{\"pad\":\"distorted_0\",\"frame\":0,\"distorted_frame\":1,\"running_time_ns\":40,\
             \"identical\":false,\"psnr-y\":100.000000,\"ssim-y\":null,\"ssim\":0.250000}"
        );
        assert_eq!(quoted("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
    }
}
