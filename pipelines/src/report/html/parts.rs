//! What stands in a report.

use serde::Serialize;

/// A report.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Page {
    /// What is compared with what.
    pub title: String,
    /// One line under the title.
    pub subtitle: String,
    /// Program and version.
    pub generator: String,
    /// The command that makes this report again.
    pub command: Option<String>,
    /// Label and value of what a reader should know of how it was measured.
    pub facts: Vec<(String, String)>,
    /// Things found on the way.
    pub notes: Vec<Note>,
    /// What was measured.
    pub columns: Vec<Column>,
    /// On what it was measured.
    pub candidates: Vec<Candidate>,
    /// Name of the column that decides which frames are the worst.
    pub worst_by: Option<String>,
    /// The worst frames as pictures.
    #[serde(skip)]
    pub pictures: Vec<Pictures>,
    /// What the pictures are, such as their compression.
    #[serde(skip)]
    pub picture_note: String,
    /// Rate-distortion curves.
    pub rate_charts: Vec<RateChart>,
    /// A table of all points of the curves.
    pub points: Vec<PointRow>,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A limit that was kept.
    Good,
    /// Worth knowing.
    Info,
    /// The numbers may not mean what they seem to.
    Warning,
    /// A limit that was not kept, a fault.
    Bad,
}

/// Something found on the way.
#[derive(Debug, Clone, Serialize)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// The thing itself.
    pub text: String,
}

/// A measured quantity.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// Its name in files and options, such as `psnr-y`.
    pub name: String,
    /// Its name for people, such as `PSNR Y`.
    pub label: String,
    /// Its unit, or nothing.
    pub unit: &'static str,
    /// Decimals to show.
    pub digits: usize,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Whether it is shown at once, not on demand.
    pub main: bool,
}

/// A video that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Size, codec, bit rate.
    pub detail: String,
    /// Pooled values in the order of the columns.
    pub pooled: Vec<Option<Pooled>>,
    /// Number of each frame in the reference.
    pub frames: Vec<u64>,
    /// Time of each frame.
    pub time_s: Vec<f64>,
    /// Values of each frame, in the order of the columns.
    pub values: Vec<Vec<Option<f64>>>,
    /// Indices of the frames shown as pictures, worst first.
    pub worst: Vec<usize>,
}

/// A column over all frames.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pooled {
    /// Arithmetic mean.
    pub mean: f64,
    /// Harmonic mean.
    pub harmonic_mean: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// 1st percentile.
    pub p1: f64,
    /// 5th percentile.
    pub p5: f64,
}

/// A frame of reference and candidate, and how they differ.
#[derive(Debug, Clone)]
pub struct Pictures {
    /// Index of the candidate.
    pub candidate: usize,
    /// Number of the frame, from 0.
    pub frame: u64,
    /// Its time.
    pub time_s: f64,
    /// Values worth showing: label and text.
    pub values: Vec<(String, String)>,
    /// Width of the pictures.
    pub width: u32,
    /// Height of the pictures.
    pub height: u32,
    /// The reference as a data URI.
    pub reference: String,
    /// The candidate as a data URI.
    pub distorted: String,
    /// The absolute difference, amplified, as a data URI.
    pub difference: String,
    /// How many times the difference is amplified.
    pub amplification: u32,
}

/// Curves of one quality over rate.
#[derive(Debug, Clone, Serialize)]
pub struct RateChart {
    /// What the quality is, such as `VMAF`.
    pub label: String,
    /// Its unit, or nothing.
    pub unit: &'static str,
    /// Decimals to show.
    pub digits: usize,
    /// The rate's unit.
    pub rate_unit: String,
    /// A curve each.
    pub series: Vec<RateSeries>,
    /// Differences from an anchor.
    pub differences: Vec<DifferenceRow>,
}

/// A curve.
#[derive(Debug, Clone, Serialize)]
pub struct RateSeries {
    /// Its name.
    pub name: String,
    /// Measured: rate, quality, what it is (such as `crf 27`).
    pub points: Vec<(f64, f64, String)>,
    /// Drawn: rate and quality along the interpolation; empty where the points are no curve.
    pub line: Vec<(f64, f64)>,
}

/// A curve's difference from the anchor.
#[derive(Debug, Clone, Serialize)]
pub struct DifferenceRow {
    /// The curve it is measured from.
    pub anchor: String,
    /// The curve it is measured of.
    pub test: String,
    /// Rate in percent, by PCHIP.
    pub pchip_rate: Option<f64>,
    /// Quality, by PCHIP.
    pub pchip_quality: Option<f64>,
    /// Rate in percent, by Akima.
    pub akima_rate: Option<f64>,
    /// Quality, by Akima.
    pub akima_quality: Option<f64>,
    /// Part of the quality range that both curves cover.
    pub overlap: Option<f64>,
    /// Why there is none.
    pub why_not: Option<String>,
}

/// A point of a curve, for the table.
#[derive(Debug, Clone, Serialize)]
pub struct PointRow {
    /// The curve.
    pub series: String,
    /// What it is, such as `crf 27`.
    pub label: String,
    /// Its rate.
    pub rate: f64,
    /// Size of the file.
    pub bytes: Option<u64>,
    /// Time that encoding took.
    pub encode_s: Option<f64>,
    /// Values in the order of [`Page::columns`].
    pub values: Vec<Option<f64>>,
}
