//! Which distorted frame belongs to which frame of the reference. Knows times only.

/// The next frame of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// A frame and its running time in nanoseconds, where it has one.
    Frame(Option<u64>),
    /// Not there yet.
    Pending,
    /// The stream has ended.
    End,
}

/// What is to be done with the two next frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait for one of them.
    Wait,
    /// They belong together; the distorted one is that many nanoseconds late.
    Pair(i64),
    /// The frame of the reference has no distorted one.
    Missing,
    /// The distorted frame has no frame of the reference; it may be a second one for the frame
    /// that was paired last.
    Extra { repeated: bool },
    /// Both streams have ended.
    Done,
    /// A frame has no time to go by.
    NoTime { reference: bool },
}

/// The rule of pairing and what it has to remember.
#[derive(Debug, Clone, Default)]
pub(super) struct Pairer {
    /// By time rather than by count.
    pub by_time: bool,
    /// How far apart the times of a pair may be, in nanoseconds.
    pub tolerance: u64,
    last: Option<u64>,
}

impl Pairer {
    pub fn step(&mut self, reference: Head, distorted: Head) -> Step {
        let (r, d) = match (reference, distorted) {
            (Head::End, Head::End) => return Step::Done,
            (Head::Frame(_), Head::End) => return Step::Missing,
            (Head::End, Head::Frame(d)) => {
                return Step::Extra {
                    repeated: self.repeats(d),
                };
            }
            (Head::Pending, _) | (_, Head::Pending) => return Step::Wait,
            (Head::Frame(r), Head::Frame(d)) => (r, d),
        };
        let offset = |r: u64, d: u64| i64::try_from(i128::from(d) - i128::from(r)).unwrap_or(0);
        if !self.by_time {
            return Step::Pair(r.zip(d).map_or(0, |(r, d)| offset(r, d)));
        }
        let (Some(r), Some(d)) = (r, d) else {
            return Step::NoTime {
                reference: r.is_none(),
            };
        };
        if d.abs_diff(r) <= self.tolerance {
            self.last = Some(r);
            Step::Pair(offset(r, d))
        } else if d > r {
            Step::Missing
        } else {
            Step::Extra {
                repeated: self.repeats(Some(d)),
            }
        }
    }

    fn repeats(&self, d: Option<u64>) -> bool {
        let near = |(d, last): (u64, u64)| d.abs_diff(last) <= self.tolerance;
        self.by_time && d.zip(self.last).is_some_and(near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairer(by_time: bool, tolerance: u64) -> Pairer {
        Pairer {
            by_time,
            tolerance,
            last: None,
        }
    }

    /// Runs two lists of times to their end; a letter for each step.
    fn run(by_time: bool, reference: &[u64], distorted: &[u64]) -> String {
        let mut pairer = pairer(by_time, 5);
        let (mut r, mut d, mut out) = (0, 0, String::new());
        let head =
            |list: &[u64], at: usize| list.get(at).map_or(Head::End, |t| Head::Frame(Some(*t)));
        loop {
            match pairer.step(head(reference, r), head(distorted, d)) {
                Step::Pair(0) => out.push('='),
                Step::Pair(late) => out.push(if late > 0 { '>' } else { '<' }),
                Step::Missing => {
                    out.push('m');
                    r += 1;
                    continue;
                }
                Step::Extra { repeated } => {
                    out.push(if repeated { 'r' } else { 'x' });
                    d += 1;
                    continue;
                }
                Step::Done => return out,
                step => panic!("{step:?}"),
            }
            (r, d) = (r + 1, d + 1);
        }
    }

    #[test]
    fn by_time() {
        assert_eq!(run(true, &[0, 10, 20], &[0, 10, 20]), "===");
        assert_eq!(run(true, &[0, 10, 20], &[0, 20]), "=m=");
        assert_eq!(run(true, &[0, 10, 20], &[0, 12, 18]), "=><");
        assert_eq!(run(true, &[0, 10, 20], &[0, 10, 10, 20]), "==r=");
        assert_eq!(run(true, &[20, 30], &[0, 10, 20, 30]), "xx==");
        assert_eq!(run(true, &[0, 10], &[0, 10, 20, 30]), "==xx");
        assert_eq!(run(true, &[0, 10, 20, 30], &[0, 10]), "==mm");
        assert_eq!(run(true, &[0, 10, 20, 30], &[0, 20, 40]), "=m=mx");
        assert_eq!(run(true, &[], &[]), "");
    }

    #[test]
    fn by_count() {
        assert_eq!(run(false, &[0, 10, 20], &[7, 17, 27, 37]), ">>>x");
        assert_eq!(run(false, &[0, 10, 20], &[0]), "=mm");
    }

    #[test]
    fn waits_and_complains() {
        let mut p = pairer(true, 5);
        assert_eq!(p.step(Head::Pending, Head::Frame(Some(1))), Step::Wait);
        assert_eq!(p.step(Head::Frame(Some(1)), Head::Pending), Step::Wait);
        assert_eq!(p.step(Head::End, Head::Pending), Step::Wait);
        let no_time = p.step(Head::Frame(Some(1)), Head::Frame(None));
        assert_eq!(no_time, Step::NoTime { reference: false });
        let mut p = pairer(false, 0);
        assert_eq!(p.step(Head::Frame(None), Head::Frame(None)), Step::Pair(0));
    }
}
