//! How far apart two rate-distortion curves lie: Bjøntegaard's differences of rate and quality.
//!
//! The method is that of VCEG-M33 (G. Bjøntegaard, 2001) in the form of the common test conditions
//! for HEVC and VVC (JCTVC-L1100, JVET-T2010): both curves are interpolated over the logarithm of
//! the rate, by pieces that keep the points' monotony ([`Method::Pchip`]), and the difference is
//! averaged over the range that both cover. [`Method::Akima`] is the interpolation that follows
//! measured curves most closely after C. Herglotz et al., "Beyond Bjøntegaard: Limits of Video
//! Compression Performance Comparisons" (2022).
//!
//! ```
//! use gst_neural::bd_rate::{Curve, Method, difference};
//! let anchor = Curve::new([(1000.0, 34.0), (2000.0, 37.0), (4000.0, 40.0), (8000.0, 42.0)])?;
//! // The same quality for half the rate, at every point.
//! let test = Curve::new([(500.0, 34.0), (1000.0, 37.0), (2000.0, 40.0), (4000.0, 42.0)])?;
//! let d = difference(&anchor, &test, Method::Pchip)?;
//! assert!((d.rate_percent + 50.0).abs() < 1e-9);
//! # Ok::<(), gst_neural::bd_rate::Error>(())
//! ```

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a curve goes from point to point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Piecewise cubic Hermite polynomials that never overshoot (Fritsch and Butland 1984).
    #[default]
    Pchip,
    /// Akima's splines (1970).
    Akima,
}

impl Method {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pchip, Self::Akima];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pchip => "pchip",
            Self::Akima => "akima",
        }
    }
}

/// Why there is no difference to state.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// Fewer than two points.
    TooFew(usize),
    /// A rate that is not positive, or a number that is not finite.
    NotANumber(f64, f64),
    /// Two points where more rate does not give more quality.
    NotRising {
        /// The point with the lower rate.
        lower: (f64, f64),
        /// The point with the higher rate.
        upper: (f64, f64),
    },
    /// The curves have no range in common.
    Apart {
        /// What the range is of: `quality` or `rate`.
        of: &'static str,
        /// Range of the anchor.
        anchor: (f64, f64),
        /// Range of the other.
        test: (f64, f64),
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew(n) => write!(f, "{n} point{}: a curve needs at least two", s(*n)),
            Self::NotANumber(rate, quality) => {
                write!(
                    f,
                    "point {rate}={quality}: a rate must be positive, a quality finite"
                )
            }
            Self::NotRising { lower, upper } => write!(
                f,
                "the quality does not rise with the rate: {} at {}, {} at {}",
                short(lower.1),
                short(lower.0),
                short(upper.1),
                short(upper.0)
            ),
            Self::Apart { of, anchor, test } => write!(
                f,
                "the curves have no {of} in common: {} to {} and {} to {}",
                short(anchor.0),
                short(anchor.1),
                short(test.0),
                short(test.1)
            ),
        }
    }
}

/// Four decimals at most.
fn short(v: f64) -> f64 {
    (v * 1e4).round() / 1e4
}

fn s(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

impl std::error::Error for Error {}

/// A rate-distortion curve: at least two points, rate and quality both strictly rising.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// Makes one of points `(rate, quality)` in any order. The rate may have any unit, as long as
    /// it is the same for the curves that are compared; more quality must be better.
    pub fn new(points: impl IntoIterator<Item = (f64, f64)>) -> Result<Self, Error> {
        let mut points: Vec<_> = points.into_iter().collect();
        if let Some(p) = points
            .iter()
            .find(|p| !(p.0.is_finite() && p.0 > 0.0 && p.1.is_finite()))
        {
            return Err(Error::NotANumber(p.0, p.1));
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        points.dedup();
        if points.len() < 2 {
            return Err(Error::TooFew(points.len()));
        }
        for pair in points.windows(2) {
            if pair[1].1 <= pair[0].1 || pair[1].0.log10() <= pair[0].0.log10() {
                return Err(Error::NotRising {
                    lower: pair[0],
                    upper: pair[1],
                });
            }
        }
        Ok(Self { points })
    }

    /// The points by rising rate.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// `n` points (at least two) along the curve as `method` draws it, evenly over log rate.
    pub fn sample(&self, method: Method, n: usize) -> Vec<(f64, f64)> {
        let spline = self.over_rate(method);
        let (from, to) = spline.range();
        let n = n.max(2);
        (0..n)
            .map(|i| {
                let x = from + (to - from) * i as f64 / (n - 1) as f64;
                (10f64.powf(x), spline.at(x))
            })
            .collect()
    }

    /// Quality over log10 of the rate.
    fn over_rate(&self, method: Method) -> Spline {
        Spline::new(
            self.points.iter().map(|p| p.0.log10()).collect(),
            self.points.iter().map(|p| p.1).collect(),
            method,
        )
    }

    /// log10 of the rate over quality.
    fn over_quality(&self, method: Method) -> Spline {
        Spline::new(
            self.points.iter().map(|p| p.1).collect(),
            self.points.iter().map(|p| p.0.log10()).collect(),
            method,
        )
    }
}

/// How a curve differs from the anchor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Mean difference of rate at the same quality, in percent of the anchor's; negative is better.
    pub rate_percent: f64,
    /// Mean difference of quality at the same rate, in the quality's unit; positive is better.
    /// `None` where the curves share no rate.
    pub quality: Option<f64>,
    /// Quality range of the mean.
    pub quality_range: (f64, f64),
    /// That range as a part of what both curves together cover: little means that the difference
    /// says little.
    pub overlap: f64,
    /// How the curves were interpolated.
    pub method: Method,
}

/// The difference of `test` from `anchor`.
pub fn difference(anchor: &Curve, test: &Curve, method: Method) -> Result<Difference, Error> {
    let (a, b) = (anchor.over_quality(method), test.over_quality(method));
    let (from, to) = common(&a, &b).ok_or_else(|| Error::Apart {
        of: "quality",
        anchor: a.range(),
        test: b.range(),
    })?;
    let log_ratio = (b.integral(from, to) - a.integral(from, to)) / (to - from);
    let all = a.range().1.max(b.range().1) - a.range().0.min(b.range().0);
    let (qa, qb) = (anchor.over_rate(method), test.over_rate(method));
    let quality = common(&qa, &qb)
        .map(|(from, to)| (qb.integral(from, to) - qa.integral(from, to)) / (to - from));
    Ok(Difference {
        rate_percent: (10f64.powf(log_ratio) - 1.0) * 100.0,
        quality,
        quality_range: (from, to),
        overlap: (to - from) / all,
        method,
    })
}

fn common(a: &Spline, b: &Spline) -> Option<(f64, f64)> {
    let from = a.range().0.max(b.range().0);
    let to = a.range().1.min(b.range().1);
    (to > from).then_some((from, to))
}

/// A piecewise cubic through knots, by their slopes.
#[derive(Debug)]
struct Spline {
    x: Vec<f64>,
    y: Vec<f64>,
    slope: Vec<f64>,
}

impl Spline {
    /// `x` strictly rising, at least two knots.
    fn new(x: Vec<f64>, y: Vec<f64>, method: Method) -> Self {
        let secants: Vec<f64> = x
            .windows(2)
            .zip(y.windows(2))
            .map(|(x, y)| (y[1] - y[0]) / (x[1] - x[0]))
            .collect();
        let slope = match (method, secants.as_slice()) {
            (_, [only]) => vec![*only; 2],
            (Method::Pchip, _) => pchip_slopes(&x, &secants),
            (Method::Akima, _) => akima_slopes(&secants),
        };
        Self { x, y, slope }
    }

    fn range(&self) -> (f64, f64) {
        (self.x[0], self.x[self.x.len() - 1])
    }

    /// The piece that `x` lies in.
    fn piece(&self, x: f64) -> usize {
        self.x
            .partition_point(|knot| *knot <= x)
            .clamp(1, self.x.len() - 1)
            - 1
    }

    /// Coefficients of piece `i` in powers of the distance from its left knot.
    fn coefficients(&self, i: usize) -> [f64; 4] {
        let h = self.x[i + 1] - self.x[i];
        let secant = (self.y[i + 1] - self.y[i]) / h;
        let (d0, d1) = (self.slope[i], self.slope[i + 1]);
        [
            self.y[i],
            d0,
            (3.0 * secant - 2.0 * d0 - d1) / h,
            (d0 + d1 - 2.0 * secant) / (h * h),
        ]
    }

    fn at(&self, x: f64) -> f64 {
        let i = self.piece(x);
        let t = x - self.x[i];
        let [a, b, c, d] = self.coefficients(i);
        a + t * (b + t * (c + t * d))
    }

    /// The exact integral over a range inside [`Self::range`].
    fn integral(&self, from: f64, to: f64) -> f64 {
        (0..self.x.len() - 1)
            .map(|i| {
                let (left, right) = (from.max(self.x[i]), to.min(self.x[i + 1]));
                if right <= left {
                    return 0.0;
                }
                let [a, b, c, d] = self.coefficients(i);
                let primitive = |t: f64| t * (a + t * (b / 2.0 + t * (c / 3.0 + t * d / 4.0)));
                primitive(right - self.x[i]) - primitive(left - self.x[i])
            })
            .sum()
    }
}

/// Weighted harmonic means of neighbouring secants, 0 where they turn; three-point ends.
fn pchip_slopes(x: &[f64], secants: &[f64]) -> Vec<f64> {
    let h: Vec<f64> = x.windows(2).map(|x| x[1] - x[0]).collect();
    let n = secants.len();
    let end = |h0: f64, h1: f64, s0: f64, s1: f64| {
        let d = ((2.0 * h0 + h1) * s0 - h0 * s1) / (h0 + h1);
        if d * s0 <= 0.0 {
            0.0
        } else if s0 * s1 <= 0.0 && d.abs() > 3.0 * s0.abs() {
            3.0 * s0
        } else {
            d
        }
    };
    let mut slopes = vec![end(h[0], h[1], secants[0], secants[1])];
    for i in 1..n {
        let (s0, s1) = (secants[i - 1], secants[i]);
        slopes.push(if s0 * s1 <= 0.0 {
            0.0
        } else {
            let (w0, w1) = (2.0 * h[i] + h[i - 1], h[i] + 2.0 * h[i - 1]);
            (w0 + w1) / (w0 / s0 + w1 / s1)
        });
    }
    slopes.push(end(h[n - 1], h[n - 2], secants[n - 1], secants[n - 2]));
    slopes
}

/// Each slope leans towards the side whose secants change less; two secants are extrapolated
/// beyond each end.
fn akima_slopes(secants: &[f64]) -> Vec<f64> {
    let n = secants.len();
    let before = 2.0 * secants[0] - secants[1];
    let after = 2.0 * secants[n - 1] - secants[n - 2];
    let mut m = vec![2.0 * before - secants[0], before];
    m.extend_from_slice(secants);
    m.extend([after, 2.0 * after - secants[n - 1]]);
    m.windows(4)
        .map(|m| {
            let (left, right) = ((m[1] - m[0]).abs(), (m[3] - m[2]).abs());
            if left + right <= f64::EPSILON * (m[1].abs() + m[2].abs()) {
                (m[1] + m[2]) / 2.0
            } else {
                (right * m[1] + left * m[2]) / (left + right)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(anchor: &[(f64, f64)], test: &[(f64, f64)], method: Method) -> (f64, f64) {
        let d = difference(
            &Curve::new(anchor.iter().copied()).unwrap(),
            &Curve::new(test.iter().copied()).unwrap(),
            method,
        )
        .unwrap();
        (d.rate_percent, d.quality.unwrap())
    }

    /// The worked examples of JCTVC-E137's spreadsheet, with its results, as Netflix/vmaf's
    /// python/test/bd_rate_calculator_test.py repeats them.
    #[test]
    fn the_worked_examples_of_jctvc_e137() {
        let anchor = [
            (108048.8736, 43.6471),
            (61279.976, 40.3953),
            (33905.6656, 37.247),
            (18883.6928, 34.2911),
        ];
        let test = [
            (108061.2784, 43.6768),
            (61299.9936, 40.4232),
            (33928.7472, 37.2761),
            (18910.912, 34.3147),
        ];
        let (rate, _) = both(&anchor, &test, Method::Pchip);
        assert!((rate - -0.465215420752807).abs() < 1e-9, "{rate}");
        let anchor = [
            (40433.8848, 37.5761),
            (7622.7456, 35.3756),
            (2394.488, 33.8977),
            (1017.6184, 32.0603),
        ];
        let test = [
            (40370.12, 37.5982),
            (7587.0024, 35.4025),
            (2390.0944, 33.9194),
            (1017.0984, 32.0822),
        ];
        let (rate, _) = both(&anchor, &test, Method::Pchip);
        assert!((rate - -1.8779823450567612).abs() < 1e-9, "{rate}");
    }

    /// The example in the description of the Python package `bjontegaard` (FAU-LMS), with what
    /// its version 1.3.0 computes; the package itself agrees with the spreadsheet of the common
    /// test conditions.
    #[test]
    fn the_example_of_the_package_bjontegaard() {
        let anchor = [
            (9487.76, 40.037),
            (4593.60, 38.615),
            (2486.44, 36.845),
            (1358.24, 34.851),
        ];
        let test = [
            (9787.80, 40.121),
            (4469.00, 38.651),
            (2451.52, 36.970),
            (1356.24, 34.987),
        ];
        let (rate, quality) = both(&anchor, &test, Method::Pchip);
        assert!((rate - -4.417485350589045).abs() < 1e-9, "{rate}");
        assert!((quality - 0.11969278542479489).abs() < 1e-9, "{quality}");
        let (rate, quality) = both(&anchor, &test, Method::Akima);
        assert!((rate - -4.425245156997493).abs() < 1e-9, "{rate}");
        assert!((quality - 0.11940927028529469).abs() < 1e-9, "{quality}");
    }

    /// Curves with different numbers of points; expected values again from `bjontegaard` 1.3.0.
    #[test]
    fn curves_of_different_lengths() {
        let anchor = [
            (100.0, 30.1),
            (220.0, 33.2),
            (400.0, 35.4),
            (800.0, 38.0),
            (1500.0, 40.3),
            (3100.0, 42.9),
        ];
        let test = [
            (1600.0, 41.2),
            (90.0, 30.9),
            (260.0, 34.6),
            (410.0, 36.0),
            (900.0, 39.5),
        ];
        let (rate, quality) = both(&anchor, &test, Method::Pchip);
        assert!((rate - -20.66937429686574).abs() < 1e-9, "{rate}");
        assert!((quality - 0.8601905623480297).abs() < 1e-9, "{quality}");
        let (rate, quality) = both(&anchor, &test, Method::Akima);
        assert!((rate - -20.375702484424394).abs() < 1e-9, "{rate}");
        assert!((quality - 0.849836054682367).abs() < 1e-9, "{quality}");
    }

    #[test]
    fn a_curve_does_not_differ_from_itself_and_two_points_are_a_line() {
        for method in Method::ALL {
            let line = [(100.0, 30.0), (1000.0, 40.0)];
            assert_eq!(both(&line, &line, method), (0.0, 0.0));
            let dearer = [(200.0, 30.0), (2000.0, 40.0)];
            let (rate, quality) = both(&line, &dearer, method);
            assert!((rate - 100.0).abs() < 1e-9);
            assert!((quality + 10.0 * 2f64.log10()).abs() < 1e-9);
            let curve = Curve::new([(1.0, 1.0), (2.0, 5.0), (4.0, 6.0)]).unwrap();
            let samples = curve.sample(method, 9);
            assert!((samples[0].1 - 1.0).abs() < 1e-12);
            assert!((samples[4].1 - 5.0).abs() < 1e-9, "{samples:?}");
            assert!((samples[8].1 - 6.0).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_no_curve_says_why() {
        assert_eq!(Curve::new([(1.0, 2.0)]), Err(Error::TooFew(1)));
        assert!(matches!(
            Curve::new([(0.0, 2.0), (1.0, 3.0)]),
            Err(Error::NotANumber(..))
        ));
        assert!(matches!(
            Curve::new([(1.0, f64::NAN), (2.0, 3.0)]),
            Err(Error::NotANumber(..))
        ));
        for falling in [
            [(1.0, 5.0), (2.0, 5.0), (3.0, 6.0)],
            [(1.0, 5.0), (1.0, 6.0), (3.0, 7.0)],
        ] {
            assert!(matches!(Curve::new(falling), Err(Error::NotRising { .. })));
        }
        let low = Curve::new([(1.0, 1.0), (2.0, 2.0)]).unwrap();
        let high = Curve::new([(1.0, 3.0), (2.0, 4.0)]).unwrap();
        let err = difference(&low, &high, Method::Pchip).unwrap_err();
        assert_eq!(
            err.to_string(),
            "the curves have no quality in common: 1 to 2 and 3 to 4"
        );
        // No rate in common is no obstacle to the difference of rate.
        let dear = Curve::new([(10.0, 1.0), (20.0, 2.0)]).unwrap();
        let d = difference(&low, &dear, Method::Pchip).unwrap();
        assert!((d.rate_percent - 900.0).abs() < 1e-9);
        assert_eq!((d.quality, d.overlap), (None, 1.0));
    }
}
