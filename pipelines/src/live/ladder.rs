//! The ladder: which renditions a viewer can choose from, and how each is made of the source.

use crate::failure::Failure;
use std::time::Duration;

/// Most rungs.
const MAX_RUNGS: usize = 8;
/// Pixels of height a rung may have.
const HEIGHTS: std::ops::RangeInclusive<u32> = 64..=4320;
/// Bits per second a rung may have.
const RATES: std::ops::RangeInclusive<u64> = 50_000..=100_000_000;

/// A rung as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// Height in pixels; `None` is the source's own.
    pub height: Option<u32>,
    /// Bits per second; `None` is by size.
    pub bitrate_bps: Option<u64>,
}

/// Reads `720p,360p@800k,source`.
///
/// # Errors
/// A text for a person, if it is no ladder.
pub fn parse(text: &str) -> Result<Vec<Rung>, String> {
    let rungs = text
        .split(',')
        .map(|rung| parse_rung(rung.trim()))
        .collect::<Result<Vec<_>, _>>()?;
    if rungs.len() > MAX_RUNGS {
        return Err(format!("{} rungs: {MAX_RUNGS} are the most", rungs.len()));
    }
    for (i, rung) in rungs.iter().enumerate() {
        if rungs[..i].iter().any(|r| r.height == rung.height) {
            return Err(format!("{} is there twice", name_of(rung.height)));
        }
    }
    Ok(rungs)
}

fn name_of(height: Option<u32>) -> String {
    height.map_or_else(|| "source".into(), |h| format!("{h}p"))
}

fn parse_rung(text: &str) -> Result<Rung, String> {
    let (size, rate) = match text.split_once('@') {
        Some((size, rate)) => (size, Some(rate)),
        None => (text, None),
    };
    let wrong = || {
        format!(
            "`{text}`: a rung is HEIGHTp, such as 720p, or `source`, and @RATE, such as @2500k, if wanted"
        )
    };
    let height = match size {
        "source" => None,
        _ => {
            let height = size.strip_suffix('p').and_then(|h| h.parse().ok());
            let height: u32 = height.ok_or_else(wrong)?;
            if !HEIGHTS.contains(&height) {
                return Err(format!(
                    "`{text}`: from {}p to {}p",
                    HEIGHTS.start(),
                    HEIGHTS.end()
                ));
            }
            Some(height)
        }
    };
    let bitrate_bps = rate.map(|r| parse_rate(r).ok_or_else(wrong)).transpose()?;
    if bitrate_bps.is_some_and(|b| !RATES.contains(&b)) {
        return Err(format!("`{text}`: from 50k to 100M"));
    }
    Ok(Rung {
        height,
        bitrate_bps,
    })
}

/// Bits per second of `800k`, `2.5M` or `2500000`.
pub fn parse_rate(text: &str) -> Option<u64> {
    let rate = crate::encoder::read_rate(text)?;
    (1.0..1e12).contains(&rate).then_some(rate as u64)
}

/// What is known of a source before its first frame is decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second, as a fraction; 0/1 where the stream does not say.
    pub frame_rate: (u32, u32),
    /// Pixel aspect ratio.
    pub pixel_aspect: (u32, u32),
    /// Its video is one that HLS players take, so it can be passed through.
    pub playable: bool,
}

/// How a rendition is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The source's own packets.
    Pass,
    /// Of the decoded source, made smaller where needed.
    Decoded,
    /// Of what the network made.
    Upscaled,
}

/// A rendition that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its name and folder.
    pub name: String,
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// How.
    pub way: Way,
    /// Bits per second of the video; where it is passed through, only an expectation.
    pub bitrate_bps: u64,
}

/// The renditions of a source, in the ladder's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The renditions.
    pub renditions: Vec<Planned>,
    /// The scale that the network needs for the largest of them; 1 if none is larger than the source.
    pub scale: u32,
}

/// Plans the renditions of `source`. `pass` is whether its packets may be passed through.
///
/// # Errors
/// When a rendition would be larger than four times the source, which no shipped network makes.
pub fn plan(ladder: &[Rung], source: &Source, pass: bool) -> Result<Plan, Failure> {
    let square = f64::from(source.pixel_aspect.0.max(1)) / f64::from(source.pixel_aspect.1.max(1));
    let mut renditions: Vec<Planned> = Vec::new();
    let mut scale = 1;
    for rung in ladder {
        let height = rung.height.unwrap_or(source.height).max(2);
        let width = f64::from(source.width) * f64::from(height) / f64::from(source.height.max(1));
        let (width, height) = (even(width), even(f64::from(height)));
        let same = (width, height) == (source.width, source.height);
        let way = if height > source.height {
            Way::Upscaled
        } else if same && pass && source.playable {
            Way::Pass
        } else {
            Way::Decoded
        };
        if way == Way::Upscaled {
            let needed = height.div_ceil(source.height.max(1));
            if needed > 4 {
                return Err(Failure::new(format!(
                    "{height}p of a source of {}p: four times is the most; take a smaller ladder",
                    source.height
                )));
            }
            scale = scale.max(needed);
        }
        let name = format!("{height}p");
        // `source` beside its own height.
        if renditions.iter().any(|r| r.name == name) {
            continue;
        }
        let pixels = f64::from(width) * square * f64::from(height);
        renditions.push(Planned {
            name,
            width,
            height,
            way,
            bitrate_bps: rung
                .bitrate_bps
                .unwrap_or_else(|| usual_rate(pixels, source.frame_rate)),
        });
    }
    Ok(Plan { renditions, scale })
}

fn even(value: f64) -> u32 {
    ((value / 2.0).round() as u32).max(1) * 2
}

/// About what streaming services ask for: 2.8 Mbit/s for 720p30, the power 0.8 of the pixels.
fn usual_rate(pixels: f64, frame_rate: (u32, u32)) -> u64 {
    let fps = match frame_rate {
        (n, d) if n > 0 && d > 0 => f64::from(n) / f64::from(d),
        _ => 30.0,
    };
    let motion = (fps / 30.0).clamp(0.5, 2.0).powf(0.6);
    let rate = 2.8e6 * (pixels / (1280.0 * 720.0)).powf(0.8) * motion;
    (rate / 1e5).round().max(2.0) as u64 * 100_000
}

/// The time of one frame, 1/30 s where the rate is unknown.
pub fn frame_time(frame_rate: (u32, u32)) -> Duration {
    match frame_rate {
        (n, d) if n > 0 && d > 0 => Duration::from_secs_f64(f64::from(d) / f64::from(n)),
        _ => Duration::from_secs_f64(1.0 / 30.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(width: u32, height: u32) -> Source {
        Source {
            width,
            height,
            frame_rate: (30, 1),
            pixel_aspect: (1, 1),
            playable: true,
        }
    }

    #[test]
    fn ladders_are_read() {
        let rungs = parse("720p, 360p@800k,source@1.5M").unwrap();
        assert_eq!(rungs.len(), 3);
        assert_eq!(
            rungs[0],
            Rung {
                height: Some(720),
                bitrate_bps: None
            }
        );
        assert_eq!(rungs[1].bitrate_bps, Some(800_000));
        assert_eq!(
            rungs[2],
            Rung {
                height: None,
                bitrate_bps: Some(1_500_000)
            }
        );
        for wrong in [
            "",
            "720",
            "720p,720p",
            "0p",
            "9000p",
            "720p@",
            "720p@x",
            "720p@1",
            "720p@nan",
            "-4p",
            "é",
            "720p@é",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(
            parse("64p,65p,66p,67p,68p,69p,70p,71p,72p")
                .unwrap_err()
                .contains("most")
        );
    }

    #[test]
    fn renditions_are_planned() {
        let ladder = parse("720p,360p,180p").unwrap();
        let made = plan(&ladder, &source(640, 360), true).unwrap();
        let ways: Vec<_> = made
            .renditions
            .iter()
            .map(|r| (r.width, r.height, r.way))
            .collect();
        assert_eq!(
            ways,
            [
                (1280, 720, Way::Upscaled),
                (640, 360, Way::Pass),
                (320, 180, Way::Decoded)
            ]
        );
        assert_eq!(made.scale, 2);
        let made = plan(&ladder, &source(640, 360), false).unwrap();
        assert_eq!(made.renditions[1].way, Way::Decoded);
        // Odd widths become even, and the aspect stays.
        let made = plan(&parse("540p").unwrap(), &source(854, 480), true).unwrap();
        assert_eq!(
            (made.renditions[0].width, made.renditions[0].height),
            (960, 540)
        );
        assert_eq!(plan(&ladder, &source(1280, 720), true).unwrap().scale, 1);
        assert_eq!(plan(&ladder, &source(320, 180), true).unwrap().scale, 4);
        assert!(plan(&ladder, &source(160, 120), true).is_err());
    }

    #[test]
    fn the_source_and_its_height_are_one() {
        let ladder = parse("360p,source").unwrap();
        assert_eq!(
            plan(&ladder, &source(640, 360), true)
                .unwrap()
                .renditions
                .len(),
            1
        );
    }

    #[test]
    fn rates_grow_with_size_and_motion() {
        let rate = |w: f64, h: f64, fps| usual_rate(w * h, (fps, 1));
        assert_eq!(rate(1280.0, 720.0, 30), 2_800_000);
        assert!(rate(640.0, 360.0, 30) < 1_200_000);
        assert!(rate(1920.0, 1080.0, 30) > 5_000_000);
        assert!(rate(1280.0, 720.0, 60) > rate(1280.0, 720.0, 30));
        assert!(usual_rate(100.0, (0, 1)) >= 100_000);
    }
}
