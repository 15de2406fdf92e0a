//! What the proxy does to which requests.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::http::{Framing, Op, Request};

/// Where in a body something happens. In a body that is shorter, it happens at its last byte;
/// in one of unknown length, fractions are of 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum At {
    /// At this byte, counted from 0.
    Byte(u64),
    /// After this part of the body, 0 to 1.
    Fraction(f64),
    /// Anywhere; the same place for the same seed, request and repetition of it.
    Random,
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Answered with this status and an `<Error>` body; not forwarded.
    Answer {
        /// The HTTP status; S3 also sends errors with 200.
        status: u16,
        /// The S3 error code, such as `SlowDown`.
        code: String,
        /// More headers of the answer.
        headers: Vec<(String, String)>,
    },
    /// Answered with these bytes, whatever they are; not forwarded; then closed.
    Raw(Vec<u8>),
    /// The connection is reset as soon as the request's head has come.
    ResetBefore,
    /// The connection is reset when this much of the request's body was forwarded.
    ResetInRequest(At),
    /// The server has done what was asked; the connection is reset in place of its answer.
    ResetAfter,
    /// The connection is reset in the answer's body.
    ResetInResponse(At),
    /// The connection is closed properly, but before the promised end of the answer's body.
    Truncate(At),
    /// A byte of the request's body is changed.
    FlipInRequest(At),
    /// A byte of the answer's body is changed.
    FlipInResponse(At),
    /// The request is read and never answered.
    Hang,
    /// No more of the request is read from there on.
    HangInRequest(At),
    /// No more of the answer comes from there on.
    HangInResponse(At),
    /// It takes this much longer.
    Delay(Duration),
    /// The bodies of the request and its answer go at this pace, in bytes a second.
    Throttle(u64),
    /// A header of the answer is set, or taken away.
    Header(String, Option<String>),
}

impl Fault {
    /// An answer with this status and S3 error code.
    #[must_use]
    pub fn status(status: u16, code: &str) -> Self {
        Self::Answer {
            status,
            code: code.to_owned(),
            headers: Vec::new(),
        }
    }

    /// 503 `SlowDown`.
    #[must_use]
    pub fn slow_down() -> Self {
        Self::status(503, "SlowDown")
    }

    /// 500 `InternalError`.
    #[must_use]
    pub fn internal_error() -> Self {
        Self::status(500, "InternalError")
    }

    /// 403 `AccessDenied`.
    #[must_use]
    pub fn access_denied() -> Self {
        Self::status(403, "AccessDenied")
    }

    /// 200 with an `<Error>` in its body, as S3 answers a completion that failed late.
    #[must_use]
    pub fn error_in_200() -> Self {
        Self::status(200, "InternalError")
    }

    /// 301 `PermanentRedirect` that names the bucket's region.
    #[must_use]
    pub fn redirect(region: &str) -> Self {
        Self::Answer {
            status: 301,
            code: "PermanentRedirect".to_owned(),
            headers: vec![("x-amz-bucket-region".to_owned(), region.to_owned())],
        }
    }

    /// Everything that a connection and a busy server do, each somewhere: no wrong bytes.
    #[must_use]
    pub fn of_the_network() -> Vec<Self> {
        vec![
            Self::slow_down(),
            Self::internal_error(),
            Self::ResetBefore,
            Self::ResetInRequest(At::Random),
            Self::ResetAfter,
            Self::ResetInResponse(At::Random),
            Self::Truncate(At::Random),
            Self::Hang,
            Self::HangInRequest(At::Random),
            Self::HangInResponse(At::Random),
            Self::Delay(Duration::from_millis(200)),
        ]
    }

    /// Its name, as in [`Rule`]'s text form and in the counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Answer { .. } => "status",
            Self::Raw(_) => "raw",
            Self::ResetBefore => "reset-before",
            Self::ResetInRequest(_) => "reset-in-request",
            Self::ResetAfter => "reset-after",
            Self::ResetInResponse(_) => "reset-in-response",
            Self::Truncate(_) => "truncate",
            Self::FlipInRequest(_) => "flip-in-request",
            Self::FlipInResponse(_) => "flip-in-response",
            Self::Hang => "hang",
            Self::HangInRequest(_) => "hang-in-request",
            Self::HangInResponse(_) => "hang-in-response",
            Self::Delay(_) => "delay",
            Self::Throttle(_) => "throttle",
            Self::Header(..) => "header",
        }
    }
}

impl FromStr for At {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "random" {
            return Ok(Self::Random);
        }
        if let Ok(byte) = text.parse() {
            return Ok(Self::Byte(byte));
        }
        match text.parse() {
            Ok(part) if (0.0..=1.0).contains(&part) => Ok(Self::Fraction(part)),
            _ => bail!("{text:?} is no place in a body: a byte, a fraction like 0.5, or random"),
        }
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    /// `KIND` or `KIND=ARGUMENT`.
    fn from_str(text: &str) -> Result<Self> {
        let (kind, argument) = match text.split_once('=') {
            Some((kind, argument)) => (kind, Some(argument)),
            None => (text, None),
        };
        let at = || argument.unwrap_or("0.5").parse::<At>();
        let needed = || argument.with_context(|| format!("{kind} needs {kind}=SOMETHING"));
        Ok(match kind {
            "slow-down" => Self::slow_down(),
            "internal-error" => Self::internal_error(),
            "access-denied" => Self::access_denied(),
            "error-in-200" => Self::error_in_200(),
            "redirect" => Self::redirect(needed()?),
            "status" => {
                let (status, code) = needed()?
                    .split_once('/')
                    .context("use status=503/SlowDown")?;
                Self::status(status.parse().context("a status is a number")?, code)
            }
            "raw" => Self::Raw(needed()?.as_bytes().to_vec()),
            "reset-before" => Self::ResetBefore,
            "reset-in-request" => Self::ResetInRequest(at()?),
            "reset-after" => Self::ResetAfter,
            "reset-in-response" => Self::ResetInResponse(at()?),
            "truncate" => Self::Truncate(at()?),
            "flip-in-request" => Self::FlipInRequest(at()?),
            "flip-in-response" => Self::FlipInResponse(at()?),
            "hang" => Self::Hang,
            "hang-in-request" => Self::HangInRequest(at()?),
            "hang-in-response" => Self::HangInResponse(at()?),
            "delay" => Self::Delay(Duration::from_millis(
                needed()?.parse().context("use delay=MILLISECONDS")?,
            )),
            "throttle" => Self::Throttle(needed()?.parse().context("use throttle=BYTES-A-SECOND")?),
            "header" => {
                let header = needed()?;
                match header.split_once('=') {
                    Some((name, value)) => Self::Header(name.to_owned(), Some(value.to_owned())),
                    None => Self::Header(header.to_owned(), None),
                }
            }
            _ => bail!("{kind:?} is no fault"),
        })
    }
}

/// A fault, and the requests that it befalls: all those that match, unless limited.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Rule {
    fault: Fault,
    op: Option<Op>,
    method: Option<String>,
    key: Option<String>,
    part: Option<u32>,
    skip: u64,
    last: u64,
    times: u64,
    probability: f64,
}

impl Rule {
    /// A rule for all requests.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            op: None,
            method: None,
            key: None,
            part: None,
            skip: 0,
            last: u64::MAX,
            times: u64::MAX,
            probability: 1.0,
        }
    }

    /// Only for this operation.
    pub fn op(mut self, op: Op) -> Self {
        self.op = Some(op);
        self
    }

    /// Only for this method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only for keys that contain this.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Only for this part of a multipart upload.
    pub fn part(mut self, part: u32) -> Self {
        self.part = Some(part);
        self
    }

    /// Lets the first `skip` requests that match pass.
    pub fn skip(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// Befalls at most so many requests.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Only the nth request that matches, counted from 1.
    pub fn nth(mut self, nth: u64) -> Self {
        self.last = nth;
        self.skip(nth.saturating_sub(1))
    }

    /// Befalls a request with this probability, 0 to 1. Which ones follows from the plan's
    /// seed, what is asked for, and how often that was asked before: not from the order in
    /// which requests arrive, so that a run can be repeated.
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    fn matches(&self, request: &Request) -> bool {
        self.op.is_none_or(|op| op == request.op)
            && self.part.is_none_or(|part| Some(part) == request.part)
            && self
                .method
                .as_ref()
                .is_none_or(|method| *method == request.method)
            && self
                .key
                .as_ref()
                .is_none_or(|key| request.key.contains(key))
    }
}

impl FromStr for Rule {
    type Err = anyhow::Error;

    /// `FAULT[:op=Op,part=N,key=TEXT,method=PUT,nth=N,skip=N,times=N,p=0.1]`, for instance
    /// `truncate=0.5:op=GetObject,nth=2`.
    fn from_str(text: &str) -> Result<Self> {
        let (fault, limits) = text.split_once(':').unwrap_or((text, ""));
        let mut rule = Self::new(fault.parse()?);
        for limit in limits.split(',').filter(|limit| !limit.is_empty()) {
            let (name, value) = limit
                .split_once('=')
                .with_context(|| format!("{limit:?} is no NAME=VALUE"))?;
            let number = || {
                value
                    .parse::<u64>()
                    .with_context(|| format!("{name} needs a number, not {value:?}"))
            };
            rule = match name {
                "op" => rule.op(value.parse()?),
                "method" => rule.method(value),
                "key" => rule.key(value),
                "part" => rule.part(u32::try_from(number()?)?),
                "skip" => rule.skip(number()?),
                "times" => rule.times(number()?),
                "nth" => rule.nth(number()?),
                "p" => {
                    let p: f64 = value.parse().context("p is a number from 0 to 1")?;
                    ensure!(
                        (0.0..=1.0).contains(&p),
                        "p is a number from 0 to 1, not {p}"
                    );
                    rule.probability(p)
                }
                _ => {
                    bail!("a rule knows op, method, key, part, skip, times, nth and p, not {name}")
                }
            };
        }
        Ok(rule)
    }
}

/// All that the proxy does; the default passes everything through as it is.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Plan {
    pub(crate) seed: u64,
    pub(crate) latency: Duration,
    pub(crate) up: Option<u64>,
    pub(crate) down: Option<u64>,
    pub(crate) connections: usize,
    pub(crate) hang_limit: Duration,
    rules: Vec<Rule>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 0,
            latency: Duration::ZERO,
            up: None,
            down: None,
            connections: 256,
            hang_limit: Duration::from_secs(60),
            rules: Vec::new(),
        }
    }
}

impl Plan {
    /// Befalls each request with this probability with one of these faults, repeatably.
    pub fn chaos(seed: u64, probability: f64, faults: Vec<Fault>) -> Self {
        let mut plan = Self::default().seed(seed);
        let count = faults.len();
        for (at, fault) in faults.into_iter().enumerate() {
            // Later rules see only what earlier ones let pass.
            let each = probability / count as f64;
            let left = 1.0 - each * at as f64;
            plan = plan.rule(Rule::new(fault).probability(each / left));
        }
        plan
    }

    /// What probabilities and random places follow from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Each request waits so long before it is looked at; its body is not held up beyond that.
    pub fn latency_ms(mut self, latency_ms: u64) -> Self {
        self.latency = Duration::from_millis(latency_ms);
        self
    }

    /// Bodies of all requests together, in bytes a second.
    pub fn up(mut self, bytes_per_s: u64) -> Self {
        self.up = Some(bytes_per_s);
        self
    }

    /// Bodies of all answers together, in bytes a second.
    pub fn down(mut self, bytes_per_s: u64) -> Self {
        self.down = Some(bytes_per_s);
        self
    }

    /// At most so many connections at a time; more wait to be accepted. What holds for a proxy
    /// is what it was started with.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// After this long, even a hanging connection is reset.
    pub fn hang_limit(mut self, limit: Duration) -> Self {
        self.hang_limit = limit;
        self
    }

    /// One rule more. Each rule counts all requests that match it; of those that would befall
    /// a request, the first does.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }
}

/// A fault that befalls a request, and where in a body if that is left open.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub fault: Fault,
    fraction: f64,
}

impl Decision {
    /// The byte of a body at which it happens; none in an empty body.
    pub(crate) fn position(&self, at: At, framing: Framing) -> Option<u64> {
        let length = match framing {
            Framing::Length(length) => length,
            Framing::Chunked | Framing::UntilClose => match at {
                At::Byte(byte) => byte.saturating_add(1),
                At::Fraction(_) | At::Random => 64,
            },
        };
        let part = |fraction: f64| (length as f64 * fraction) as u64;
        let byte = match at {
            At::Byte(byte) => byte,
            At::Fraction(fraction) => part(fraction),
            At::Random => part(self.fraction),
        };
        Some(byte.min(length.checked_sub(1)?))
    }
}

/// How far the rules of a plan have got.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Per rule: how many requests matched it, and how many it befell.
    rules: Vec<(u64, u64)>,
    /// How often the same was asked for.
    asked: HashMap<u64, u64>,
}

impl Progress {
    pub(crate) fn decide(&mut self, plan: &Plan, request: &Request) -> Option<Decision> {
        self.rules.resize(plan.rules.len(), (0, 0));
        let identity = identity(request);
        let repeats = self.asked.entry(identity).or_default();
        *repeats += 1;
        let mut decided = None;
        for (at, (rule, (matched, befell))) in plan.rules.iter().zip(&mut self.rules).enumerate() {
            if !rule.matches(request) {
                continue;
            }
            *matched += 1;
            let counts = *matched > rule.skip && *matched <= rule.last;
            if decided.is_some() || !counts || *befell >= rule.times {
                continue;
            }
            let mut random = plan.seed ^ identity ^ mixed(*repeats) ^ mixed(mixed(at as u64 + 1));
            if unit(&mut random) < rule.probability {
                *befell += 1;
                decided = Some(Decision {
                    fault: rule.fault.clone(),
                    fraction: unit(&mut random),
                });
            }
        }
        decided
    }
}

/// The same for the same request, in any run.
fn identity(request: &Request) -> u64 {
    // FNV-1a. The query is left out for the upload ids in it.
    let part = request.part.map_or(String::new(), |part| part.to_string());
    let range = request.range.as_deref().unwrap_or_default();
    let op = request.op.to_string();
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for text in [op.as_str(), &request.method, &request.path, &part, range] {
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// A step of SplitMix64 (Steele, Lea and Flood, 2014).
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The next number in [0, 1).
fn unit(state: &mut u64) -> f64 {
    *state = mixed(*state);
    (*state >> 11) as f64 / (1u64 << 53) as f64
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { status, code, .. } => write!(f, "{} {status} {code}", self.kind()),
            _ => f.write_str(self.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(op: Op, part: u32, range: &str) -> Request {
        Request {
            method: "GET".to_owned(),
            path: "/b/k".to_owned(),
            query: String::new(),
            op,
            bucket: "b".to_owned(),
            key: "k".to_owned(),
            part: Some(part),
            range: Some(range.to_owned()),
            framing: Framing::Length(0),
            expects: false,
            closes: false,
        }
    }

    #[test]
    fn rules_count_what_matches_them() {
        let plan = Plan::default()
            .rule(
                Rule::new(Fault::Hang)
                    .op(Op::UploadPart)
                    .part(3)
                    .skip(1)
                    .times(2),
            )
            .rule(Rule::new(Fault::ResetAfter).op(Op::UploadPart).nth(3));
        let mut progress = Progress::default();
        let mut kinds = |op, part| {
            progress
                .decide(&plan, &asked(op, part, ""))
                .map(|decision| decision.fault.kind())
        };
        assert_eq!(kinds(Op::UploadPart, 3), None);
        assert_eq!(kinds(Op::GetObject, 3), None);
        assert_eq!(kinds(Op::UploadPart, 1), None);
        // The third UploadPart: both rules are for it, the first has it.
        assert_eq!(kinds(Op::UploadPart, 3), Some("hang"));
        assert_eq!(kinds(Op::UploadPart, 3), Some("hang"));
        assert_eq!(kinds(Op::UploadPart, 3), None);
    }

    #[test]
    fn chance_follows_from_the_seed_and_not_from_the_order() {
        let requests: Vec<_> = (0..2000)
            .map(|n| asked(Op::GetObject, 1, &format!("bytes={n}-")))
            .collect();
        let run = |seed: u64, backwards: bool| {
            let plan = Plan::chaos(seed, 0.2, Fault::of_the_network());
            let mut progress = Progress::default();
            let mut order: Vec<_> = requests.iter().enumerate().collect();
            if backwards {
                order.reverse();
            }
            let mut found = vec![None; requests.len()];
            for (at, request) in order {
                found[at] = progress.decide(&plan, request).map(|d| d.fault);
            }
            found
        };
        let first = run(7, false);
        assert_eq!(first, run(7, true));
        assert_ne!(first, run(8, false));
        let count = first.iter().flatten().count();
        assert!((300..500).contains(&count), "{count} of 2000 at 0.2");
        for fault in Fault::of_the_network() {
            let of_it = first.iter().flatten().filter(|f| **f == fault).count();
            assert!(
                (15..65).contains(&of_it),
                "{fault}: {of_it} of 2000 at 0.2/11"
            );
        }
    }

    #[test]
    fn the_same_request_is_not_always_befallen() {
        let plan = Plan::chaos(1, 0.5, vec![Fault::Hang]);
        let mut progress = Progress::default();
        let request = asked(Op::GetObject, 1, "");
        let hit = (0..1000)
            .filter(|_| progress.decide(&plan, &request).is_some())
            .count();
        assert!((400..600).contains(&hit), "{hit} of 1000 at 0.5");
    }

    #[test]
    fn places_lie_inside_the_body() {
        let decision = Decision {
            fault: Fault::Hang,
            fraction: 0.999,
        };
        let at = |at, framing| decision.position(at, framing);
        assert_eq!(at(At::Byte(7), Framing::Length(100)), Some(7));
        assert_eq!(at(At::Byte(700), Framing::Length(100)), Some(99));
        assert_eq!(at(At::Fraction(1.0), Framing::Length(100)), Some(99));
        assert_eq!(at(At::Fraction(0.5), Framing::Length(100)), Some(50));
        assert_eq!(at(At::Random, Framing::Length(1)), Some(0));
        assert_eq!(at(At::Random, Framing::Length(0)), None);
        assert_eq!(at(At::Byte(700), Framing::Chunked), Some(700));
    }

    #[test]
    fn rules_are_read() {
        let rule: Rule = "truncate=0.25:op=GetObject,nth=2,key=a,method=GET"
            .parse()
            .unwrap();
        let same = Rule::new(Fault::Truncate(At::Fraction(0.25)))
            .op(Op::GetObject)
            .nth(2)
            .key("a")
            .method("GET");
        assert_eq!(rule, same);
        let rule: Rule = "status=404/NoSuchKey:part=2,times=3,skip=1,p=0.5"
            .parse()
            .unwrap();
        let same = Rule::new(Fault::status(404, "NoSuchKey"))
            .part(2)
            .times(3)
            .skip(1)
            .probability(0.5);
        assert_eq!(rule, same);
        for fault in Fault::of_the_network() {
            if !matches!(fault, Fault::Answer { .. } | Fault::Delay(_)) {
                assert_eq!(fault.kind().parse::<Fault>().unwrap().kind(), fault.kind());
            }
        }
        for wrong in [
            "",
            "explode",
            "delay",
            "hang:op=Get",
            "hang:p=2",
            "hang:colour=red",
            "truncate=2.5",
            "hang:nth",
            "status=503",
        ] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }
}
