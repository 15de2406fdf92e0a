//! A memory limit and a number of slots for each device, shared by the pipelines of a process and,
//! if wanted, of a machine.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::error::{Error, Result, arguments};

/// How often lock files are tried while waiting.
const RETRY: Duration = Duration::from_millis(50);

/// How long elements wait for others to give back memory or a slot.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a device's users may take together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of device memory, in this process; None: as much as there is.
    pub bytes: Option<u64>,
    /// Pipelines at once; None: as many as come.
    pub slots: Option<usize>,
    /// A folder that all processes of the machine that share the device name: `slots` then counts
    /// theirs too, by locked files in it. A process that dies gives its slot back.
    pub folder: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Taken {
    /// What each of those who take part says, with its number.
    stated: Vec<(u64, Limits)>,
    /// The next one's number.
    next: u64,
    bytes: u64,
    slots: usize,
}

impl Taken {
    fn bytes_limit(&self) -> Option<u64> {
        self.stated.iter().filter_map(|(_, l)| l.bytes).min()
    }

    fn slots_limit(&self) -> Option<usize> {
        self.stated.iter().filter_map(|(_, l)| l.slots).min()
    }

    fn folder(&self) -> Option<&PathBuf> {
        self.stated.iter().find_map(|(_, l)| l.folder.as_ref())
    }
}

#[derive(Debug, Default)]
struct Shared {
    taken: Mutex<Taken>,
    given_back: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The budget of one device, the same for all who ask for it in this process.
#[derive(Debug, Clone)]
pub struct Budget {
    ordinal: usize,
    shared: Arc<Shared>,
}

impl Budget {
    /// The budget of device `ordinal`. Needs no device.
    pub fn of(ordinal: usize) -> Self {
        static ALL: LazyLock<Mutex<HashMap<usize, Arc<Shared>>>> = LazyLock::new(Mutex::default);
        let mut all = ALL.lock().unwrap_or_else(|e| e.into_inner());
        Self {
            ordinal,
            shared: all.entry(ordinal).or_default().clone(),
        }
    }

    /// Takes part under limits of one's own, for as long as the result lives. Of the limits that
    /// those who take part state, the tightest hold for all of them; who states none does not loosen
    /// the others'. What is taken already stays so, even if it is more.
    pub fn join(&self, limits: Limits) -> Member {
        let mut taken = self.shared.lock();
        let number = taken.next;
        taken.next += 1;
        taken.stated.push((number, limits));
        Member {
            number,
            shared: self.shared.clone(),
        }
    }

    /// The limits that hold now.
    pub fn limits(&self) -> Limits {
        let taken = self.shared.lock();
        Limits {
            bytes: taken.bytes_limit(),
            slots: taken.slots_limit(),
            folder: taken.folder().cloned(),
        }
    }

    /// Bytes and slots that are taken in this process.
    pub fn taken(&self) -> (u64, usize) {
        let taken = self.shared.lock();
        (taken.bytes, taken.slots)
    }

    /// Takes `bytes` of the limit, and waits up to `wait` for others to give back what is missing.
    ///
    /// # Errors
    /// [`Error::Budget`] if they do not, at once if the limit as a whole is smaller: try less.
    pub fn reserve(&self, bytes: u64, wait: Duration) -> Result<Reservation> {
        let late = |waited: Duration| Error::Budget {
            ordinal: self.ordinal,
            what: format!("{bytes} bytes"),
            waited_ms: waited.as_millis() as u64,
        };
        let alone = |t: &Taken| t.bytes_limit().is_some_and(|l| bytes > l);
        if alone(&self.shared.lock()) {
            return Err(late(Duration::ZERO));
        }
        let full = |t: &mut Taken| {
            t.bytes_limit()
                .is_some_and(|l| t.bytes.saturating_add(bytes) > l)
        };
        let (mut taken, timeout) = self
            .shared
            .given_back
            .wait_timeout_while(self.shared.lock(), wait, full)
            .unwrap_or_else(|e| e.into_inner());
        if timeout.timed_out() && full(&mut taken) {
            return Err(late(wait));
        }
        taken.bytes = taken.bytes.saturating_add(bytes);
        Ok(Reservation {
            bytes,
            shared: self.shared.clone(),
        })
    }

    /// Takes a slot, and waits up to `wait` for one.
    ///
    /// # Errors
    /// [`Error::Budget`] if none gets free; [`Error::Arguments`] if the folder cannot be written to.
    pub fn slot(&self, wait: Duration) -> Result<Slot> {
        let begun = Instant::now();
        let late = || Error::Budget {
            ordinal: self.ordinal,
            what: "a slot".into(),
            waited_ms: begun.elapsed().as_millis() as u64,
        };
        let limits = self.limits();
        if let (Some(slots), Some(folder)) = (limits.slots, &limits.folder) {
            let file = loop {
                if let Some(file) = try_files(folder, self.ordinal, slots)? {
                    break file;
                }
                let left = wait.saturating_sub(begun.elapsed());
                if left.is_zero() {
                    return Err(late());
                }
                std::thread::sleep(RETRY.min(left));
            };
            self.shared.lock().slots += 1;
            return Ok(self.taken_slot(Some(file)));
        }
        let full = |t: &mut Taken| t.slots_limit().is_some_and(|l| t.slots >= l);
        let (mut taken, timeout) = self
            .shared
            .given_back
            .wait_timeout_while(self.shared.lock(), wait, full)
            .unwrap_or_else(|e| e.into_inner());
        if timeout.timed_out() && full(&mut taken) {
            return Err(late());
        }
        taken.slots += 1;
        drop(taken);
        Ok(self.taken_slot(None))
    }

    fn taken_slot(&self, file: Option<File>) -> Slot {
        Slot {
            _file: file,
            shared: self.shared.clone(),
        }
    }
}

/// Locks the first file that nobody has locked.
fn try_files(folder: &Path, ordinal: usize, slots: usize) -> Result<Option<File>> {
    for slot in 0..slots {
        let path = folder.join(format!("gst-neural-gpu{ordinal}-{slot}.lock"));
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(e) => {
                return arguments(format!(
                    "slots are shared by files in {}, which cannot be written: {e}",
                    folder.display()
                ));
            }
        };
        if file.try_lock().is_ok() {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Limits that hold while this lives.
#[derive(Debug)]
#[must_use = "limits hold only while this lives"]
pub struct Member {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Member {
    fn drop(&mut self) {
        let own = self.number;
        self.shared.lock().stated.retain(|(n, _)| *n != own);
        self.shared.given_back.notify_all();
    }
}

/// Bytes taken of a budget, given back when dropped.
#[derive(Debug)]
#[must_use = "what is dropped is given back"]
pub struct Reservation {
    bytes: u64,
    shared: Arc<Shared>,
}

impl Reservation {
    /// How many.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.lock().bytes -= self.bytes;
        self.shared.given_back.notify_all();
    }
}

/// A slot of a budget, given back when dropped.
#[derive(Debug)]
#[must_use = "what is dropped is given back"]
pub struct Slot {
    _file: Option<File>,
    shared: Arc<Shared>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.lock().slots -= 1;
        self.shared.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_TIME: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn bytes_are_waited_for_and_given_back() {
        let budget = Budget::of(1001);
        let _member = budget.join(Limits {
            bytes: Some(100),
            ..Limits::default()
        });
        let first = budget.reserve(60, NO_TIME).unwrap();
        assert!(matches!(
            budget.reserve(60, NO_TIME),
            Err(Error::Budget { .. })
        ));
        let too_much = budget.reserve(101, LONG).unwrap_err().to_string();
        assert!(too_much.contains("101 bytes"), "{too_much}");
        let waiting = std::thread::spawn(|| Budget::of(1001).reserve(60, LONG).map(|r| r.bytes()));
        drop(first);
        assert_eq!(waiting.join().unwrap(), Ok(60));
        assert_eq!(budget.taken(), (0, 0));
    }

    #[test]
    fn slots_are_counted_in_the_process() {
        let budget = Budget::of(1002);
        let _member = budget.join(Limits {
            slots: Some(1),
            ..Limits::default()
        });
        let slot = budget.slot(NO_TIME).unwrap();
        assert!(budget.slot(NO_TIME).is_err());
        assert_eq!(budget.taken().1, 1);
        drop(slot);
        assert!(budget.slot(NO_TIME).is_ok());
    }

    #[test]
    fn the_tightest_limits_of_those_who_take_part_hold() {
        let budget = Budget::of(1005);
        let with = |bytes, slots| {
            budget.join(Limits {
                bytes,
                slots,
                ..Limits::default()
            })
        };
        let holding = || (budget.limits().bytes, budget.limits().slots);
        let wide = with(Some(100), Some(3));
        let none = with(None, None);
        assert_eq!(holding(), (Some(100), Some(3)));
        let tight = with(Some(40), None);
        assert_eq!(holding(), (Some(40), Some(3)));
        assert!(budget.reserve(60, LONG).is_err());
        drop((tight, none));
        assert!(budget.reserve(60, NO_TIME).is_ok());
        drop(wide);
        assert_eq!(holding(), (None, None));
    }

    #[test]
    fn slots_are_shared_by_files() {
        let folder = tempfile::tempdir().unwrap();
        // Two budgets stand for two processes: locks are of open files.
        let budgets = [Budget::of(1003), Budget::of(1004)];
        let file = |slot| try_files(folder.path(), 7, slot).unwrap();
        let members = budgets.each_ref().map(|budget| {
            budget.join(Limits {
                slots: Some(2),
                folder: Some(folder.path().into()),
                ..Limits::default()
            })
        });
        let one = file(2).unwrap();
        let two = file(2).unwrap();
        assert!(file(2).is_none());
        drop(one);
        assert!(file(2).is_some());
        drop(two);
        let slot = budgets[0].slot(NO_TIME).unwrap();
        let other = budgets[0].slot(NO_TIME).unwrap();
        assert!(budgets[0].slot(NO_TIME).is_err());
        drop((slot, other, members));
        let _member = budgets[1].join(Limits {
            slots: Some(1),
            folder: Some(folder.path().join("missing")),
            ..Limits::default()
        });
        let error = budgets[1].slot(NO_TIME).unwrap_err().to_string();
        assert!(error.contains("cannot be written"), "{error}");
    }
}
