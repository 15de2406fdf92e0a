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
    limits: Limits,
    bytes: u64,
    slots: usize,
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

    /// Sets the limits. What is taken already stays so, even if it is more.
    pub fn set(&self, limits: Limits) {
        self.shared.lock().limits = limits;
        self.shared.given_back.notify_all();
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.shared.lock().limits.clone()
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
        if self.shared.lock().limits.bytes.is_some_and(|l| bytes > l) {
            return Err(late(Duration::ZERO));
        }
        let full = |t: &mut Taken| {
            t.limits
                .bytes
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
        let full = |t: &mut Taken| t.limits.slots.is_some_and(|l| t.slots >= l);
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
        budget.set(Limits {
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
        budget.set(Limits {
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
    fn slots_are_shared_by_files() {
        let folder = tempfile::tempdir().unwrap();
        // Two budgets stand for two processes: locks are of open files.
        let budgets = [Budget::of(1003), Budget::of(1004)];
        let file = |slot| try_files(folder.path(), 7, slot).unwrap();
        for budget in &budgets {
            budget.set(Limits {
                slots: Some(2),
                folder: Some(folder.path().into()),
                ..Limits::default()
            });
        }
        let one = file(2).unwrap();
        let two = file(2).unwrap();
        assert!(file(2).is_none());
        drop(one);
        assert!(file(2).is_some());
        drop(two);
        let slot = budgets[0].slot(NO_TIME).unwrap();
        let other = budgets[0].slot(NO_TIME).unwrap();
        assert!(budgets[0].slot(NO_TIME).is_err());
        drop((slot, other));
        budgets[1].set(Limits {
            slots: Some(1),
            folder: Some(folder.path().join("missing")),
            ..Limits::default()
        });
        let error = budgets[1].slot(NO_TIME).unwrap_err().to_string();
        assert!(error.contains("cannot be written"), "{error}");
    }
}
