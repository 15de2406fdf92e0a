//! The frames that wait for each other: a bounded queue for each pad, and what to take from them
//! next. No locks and no waiting here; see `imp` and `worker`.

use std::{collections::VecDeque, sync::Arc, thread::ThreadId};

use super::{
    frames::StreamInfo,
    pairing::{Head, Pairer, Step},
};

/// A frame that waits.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub buffer: gst::Buffer,
    pub info: Arc<StreamInfo>,
    /// Its number in its stream, from 0.
    pub number: u64,
    pub running_time: Option<u64>,
}

/// One pad's side.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub name: String,
    pub reference: bool,
    pub items: VecDeque<Item>,
    /// Frames that ever came.
    pub received: u64,
    pub eos: bool,
    pub flushing: bool,
    /// The thread that pushed last, data or events.
    pub thread: Option<ThreadId>,
    pub info: Option<Arc<StreamInfo>>,
    pub segment: gst::FormattedSegment<gst::ClockTime>,
    /// Of a distorted stream: number of the next frame of the reference to be paired.
    pub position: u64,
    /// Of a distorted stream: both it and the reference were taken to their end.
    pub done: bool,
    pairer: Pairer,
}

/// What the worker is to do for one distorted pad.
#[derive(Debug)]
pub(super) enum Task {
    Pair {
        reference: Item,
        distorted: Item,
        late_ns: i64,
        tolerance_ns: u64,
    },
    Missing(Item),
    Extra {
        distorted: Item,
        repeated: bool,
    },
    /// Both have ended; how many frames came.
    Done {
        reference: u64,
        distorted: u64,
    },
    NoTime {
        pad: String,
        number: u64,
    },
}

/// All pads.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub streams: Vec<Stream>,
    pub max: usize,
    pub by_time: bool,
    /// None is half a frame of the reference.
    pub tolerance_ns: Option<u64>,
}

/// Frames that a pad holds while all of them can be measured: memory that is used again at once is
/// still in the cache.
const WHILE_MEASURING: usize = 2;
/// The tolerance where the frame rate is not known either.
const USUAL_TOLERANCE_NS: u64 = 20_000_000;

impl Queues {
    pub fn add(&mut self, name: &str, reference: bool) {
        let position = self.reference().map_or(0, Stream::first);
        self.streams.push(Stream {
            name: name.to_owned(),
            reference,
            position,
            ..Stream::default()
        });
    }

    pub fn remove(&mut self, name: &str) {
        self.streams.retain(|s| s.name != name);
        self.trim();
    }

    pub fn get(&mut self, name: &str) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|s| s.name == name)
    }

    pub fn reference(&self) -> Option<&Stream> {
        self.streams.iter().find(|s| s.reference)
    }

    pub fn distorted(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(|s| !s.reference)
    }

    /// Forgets all frames and states, keeps the pads.
    pub fn reset(&mut self) {
        for s in &mut self.streams {
            *s = Stream {
                name: std::mem::take(&mut s.name),
                reference: s.reference,
                ..Stream::default()
            };
        }
    }

    /// Empties a pad's queue after a flush.
    pub fn flush(&mut self, name: &str) {
        let Some(s) = self.get(name) else { return };
        s.items.clear();
        (s.eos, s.done) = (false, false);
        let (reference, next) = (s.reference, s.received);
        if reference {
            for s in self.streams.iter_mut().filter(|s| !s.reference) {
                (s.position, s.done) = (next, false);
            }
        }
    }

    /// What to do next: at most one task for each distorted pad.
    pub fn tasks(&mut self) -> Vec<(String, Task)> {
        let Some(at) = self.streams.iter().position(|s| s.reference) else {
            return Vec::new();
        };
        let reference = std::mem::take(&mut self.streams[at]);
        let tolerance = self.tolerance(&reference);
        let mut tasks = Vec::new();
        for s in self.streams.iter_mut().filter(|s| !s.done) {
            if s.name.is_empty() {
                // The place of the reference.
                continue;
            }
            s.pairer.by_time = self.by_time;
            s.pairer.tolerance = tolerance;
            if let Some(task) = s.task(&reference) {
                tasks.push((s.name.clone(), task));
            }
        }
        self.streams[at] = reference;
        self.trim();
        tasks
    }

    fn tolerance(&self, reference: &Stream) -> u64 {
        let half = |rate: f64| (0.5e9 / rate) as u64;
        self.tolerance_ns
            .or_else(|| Some(half(reference.info.as_ref()?.rate()?)))
            .or_else(|| {
                let duration = reference.items.front()?.buffer.duration()?;
                Some(duration.nseconds() / 2)
            })
            .unwrap_or(USUAL_TOLERANCE_NS)
    }

    /// Lets go of the frames of the reference that nobody waits for.
    fn trim(&mut self) {
        let least = self.distorted().map(|s| s.position).min();
        let Some(reference) = self.streams.iter_mut().find(|s| s.reference) else {
            return;
        };
        while reference
            .items
            .front()
            .is_some_and(|i| least.is_some_and(|l| i.number < l))
        {
            reference.items.pop_front();
        }
    }

    /// Whether every stream was taken to its end.
    pub fn all_done(&self) -> bool {
        let ended = self.reference().is_some_and(|r| r.eos);
        ended && self.distorted().all(|s| s.done)
    }

    /// Whether a pad holds as many frames as it may.
    pub fn full(&self) -> Option<&Stream> {
        self.streams.iter().find(|s| s.items.len() >= self.max)
    }

    /// How many frames `name` may hold now: a few while the worker is what it waits for, as many as
    /// are allowed while it waits for another pad.
    pub fn limit(&self, name: &str) -> usize {
        match self.blockers(name).is_empty() {
            true => self.max.min(WHILE_MEASURING),
            false => self.max,
        }
    }

    /// The pads whose next frame `name`, being full, waits for.
    pub fn blockers(&self, name: &str) -> Vec<&Stream> {
        let (Some(me), Some(reference)) = (
            self.streams.iter().find(|s| s.name == name),
            self.reference(),
        ) else {
            return Vec::new();
        };
        let starved = || {
            self.distorted()
                .filter(|s| s.items.is_empty() && !s.eos && s.position <= reference.first())
                .collect()
        };
        if me.reference {
            return starved();
        }
        if reference.eos || reference.after() > me.position {
            return Vec::new();
        }
        if reference.items.len() >= self.max {
            return starved();
        }
        vec![reference]
    }
}

impl Stream {
    /// Number of the first frame that is still here, or of the next to come.
    fn first(&self) -> u64 {
        self.items.front().map_or(self.received, |i| i.number)
    }

    /// The number after the last frame that came.
    fn after(&self) -> u64 {
        self.received
    }

    fn task(&mut self, reference: &Stream) -> Option<Task> {
        let frame = self
            .position
            .checked_sub(reference.first())
            .and_then(|i| reference.items.get(usize::try_from(i).ok()?));
        let head = |item: Option<&Item>, eos| match item {
            Some(item) => Head::Frame(item.running_time),
            None if eos => Head::End,
            None => Head::Pending,
        };
        let step = self.pairer.step(
            head(frame, reference.eos),
            head(self.items.front(), self.eos),
        );
        Some(match step {
            Step::Wait => return None,
            Step::Pair(late_ns) => {
                self.position += 1;
                Task::Pair {
                    reference: frame?.clone(),
                    distorted: self.items.pop_front()?,
                    late_ns,
                    tolerance_ns: self.pairer.tolerance,
                }
            }
            Step::Missing => {
                self.position += 1;
                Task::Missing(frame?.clone())
            }
            Step::Extra { repeated } => Task::Extra {
                distorted: self.items.pop_front()?,
                repeated,
            },
            Step::Done => {
                self.done = true;
                Task::Done {
                    reference: reference.received,
                    distorted: self.received,
                }
            }
            Step::NoTime { reference: of_r } => Task::NoTime {
                pad: match of_r {
                    true => reference.name.clone(),
                    false => self.name.clone(),
                },
                number: match of_r {
                    true => frame?.number,
                    false => self.items.front()?.number,
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(pads: &[&str]) -> Queues {
        gst::init().unwrap();
        let mut q = Queues {
            max: 3,
            by_time: true,
            tolerance_ns: Some(4),
            ..Queues::default()
        };
        q.add("reference", true);
        pads.iter().for_each(|p| q.add(p, false));
        q
    }

    fn push(q: &mut Queues, name: &str, time: u64) {
        let caps = "video/x-raw,format=GRAY8,width=8,height=8,framerate=25/1";
        let info = StreamInfo::new(&caps.parse::<gst::Caps>().unwrap()).unwrap();
        let s = q.get(name).unwrap();
        let item = Item {
            buffer: gst::Buffer::new(),
            info: Arc::new(info),
            number: s.received,
            running_time: Some(time),
        };
        s.received += 1;
        s.items.push_back(item);
    }

    fn kinds(tasks: &[(String, Task)]) -> String {
        let kind = |(name, task): &(String, Task)| {
            let kind = match task {
                Task::Pair { reference, .. } => format!("={}", reference.number),
                Task::Missing(i) => format!("m{}", i.number),
                Task::Extra { distorted, .. } => format!("x{}", distorted.number),
                Task::Done { .. } => ".".into(),
                Task::NoTime { .. } => "?".into(),
            };
            format!("{name}{kind}")
        };
        tasks.iter().map(kind).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_reference_is_kept_until_all_have_used_it() {
        let mut q = queues(&["a", "b"]);
        push(&mut q, "reference", 0);
        push(&mut q, "reference", 10);
        push(&mut q, "a", 0);
        assert_eq!(kinds(&q.tasks()), "a=0");
        assert_eq!(q.reference().unwrap().items.len(), 2);
        push(&mut q, "b", 10);
        assert_eq!(kinds(&q.tasks()), "bm0");
        assert_eq!(q.reference().unwrap().items.len(), 1);
        assert_eq!(kinds(&q.tasks()), "b=1");
        assert!(q.tasks().is_empty());
        for s in &mut q.streams {
            s.eos = true;
        }
        assert_eq!(kinds(&q.tasks()), "am1 b.");
        assert_eq!(kinds(&q.tasks()), "a.");
        assert!(q.all_done() && q.tasks().is_empty());
        assert!(q.reference().unwrap().items.is_empty());
    }

    #[test]
    fn a_pad_that_goes_lets_the_reference_go() {
        let mut q = queues(&["a", "b"]);
        push(&mut q, "reference", 0);
        push(&mut q, "a", 0);
        q.tasks();
        assert_eq!(q.reference().unwrap().items.len(), 1);
        q.remove("b");
        assert!(q.reference().unwrap().items.is_empty());
    }

    #[test]
    fn who_waits_for_whom() {
        let names = |q: &Queues, me| -> Vec<String> {
            q.blockers(me).iter().map(|s| s.name.clone()).collect()
        };
        let mut q = queues(&["a", "b"]);
        (0..3).for_each(|i| push(&mut q, "reference", 10 * i));
        assert_eq!(names(&q, "reference"), ["a", "b"]);
        push(&mut q, "a", 0);
        q.tasks();
        assert_eq!(
            names(&q, "reference"),
            ["b"],
            "a does not need the first frame any more"
        );
        // a runs ahead until the reference, full because of b, has nothing for it.
        (1..3).for_each(|i| push(&mut q, "a", 10 * i));
        while !q.tasks().is_empty() {}
        (3..6).for_each(|i| push(&mut q, "a", 10 * i));
        assert_eq!(names(&q, "a"), ["b"]);
        q.get("b").unwrap().eos = true;
        assert!(names(&q, "reference").is_empty());

        let mut q = queues(&["a"]);
        (0..3).for_each(|i| push(&mut q, "a", 10 * i));
        assert_eq!(names(&q, "a"), ["reference"]);
        q.get("reference").unwrap().eos = true;
        assert!(names(&q, "a").is_empty());
    }

    #[test]
    fn what_can_be_measured_does_not_pile_up() {
        let mut q = queues(&["a", "b"]);
        q.max = 9;
        let limits = |q: &Queues| ["reference", "a", "b"].map(|name| q.limit(name));
        assert_eq!(limits(&q), [9, 9, 9], "all wait for the others");
        push(&mut q, "reference", 0);
        assert_eq!(limits(&q), [9, 2, 2]);
        push(&mut q, "a", 0);
        assert_eq!(limits(&q), [9, 2, 2], "b has nothing for the reference");
        push(&mut q, "b", 0);
        assert_eq!(limits(&q), [2, 2, 2]);
        q.tasks();
        assert_eq!(limits(&q), [9, 9, 9]);
        q.max = 1;
        push(&mut q, "reference", 10);
        assert_eq!(limits(&q), [1, 1, 1]);
    }

    #[test]
    fn a_flush_starts_over() {
        let mut q = queues(&["a"]);
        (0..2).for_each(|i| push(&mut q, "reference", 10 * i));
        push(&mut q, "a", 0);
        q.tasks();
        q.flush("reference");
        q.flush("a");
        push(&mut q, "reference", 50);
        push(&mut q, "a", 50);
        assert_eq!(kinds(&q.tasks()), "a=2");
    }
}
