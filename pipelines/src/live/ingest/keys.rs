//! Stream keys: who may publish, and under which public name.

use crate::failure::Failure;
use std::fmt;
use std::io::Read;
use std::path::Path;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// Longest public name, in bytes.
pub const NAME_MAX: usize = 64;
/// Shortest key, in bytes.
pub const KEY_MIN: usize = 8;
/// Longest key, in bytes.
pub const KEY_MAX: usize = 128;
/// Largest file of keys, in bytes; a few thousand keys.
const FILE_MAX: u64 = 1 << 20;
/// Random bytes of a generated key.
const GENERATED: usize = 18;

/// A stream's key. It shows itself nowhere: neither `Debug` nor `Display` hold it.
#[derive(Clone)]
pub struct StreamKey(Padded);

/// A key with zeros behind it, so that comparing takes the same time for keys of all lengths, and in
/// the last byte its length, without which a key with zeros behind it would be the same key.
type Padded = [u8; KEY_MAX + 1];

impl StreamKey {
    /// Takes 8 to 128 of the characters `A-Z a-z 0-9 - _ . ~`, which need no escaping in a URL.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, without showing it.
    pub fn new(key: &str) -> Result<Self, Failure> {
        if !(KEY_MIN..=KEY_MAX).contains(&key.len()) {
            return Err(Failure::usage(format!(
                "a stream key has {KEY_MIN} to {KEY_MAX} characters, this one {}",
                key.len()
            )));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        if !key.bytes().all(plain) {
            return Err(Failure::usage(
                "a stream key has letters, digits and - _ . ~ only",
            ));
        }
        Ok(Self(padded(key.as_bytes())))
    }

    /// A new key of 144 random bits.
    ///
    /// # Errors
    ///
    /// The system has no random numbers to give.
    pub fn generate() -> Result<Self, Failure> {
        Self::new(&random_text(GENERATED)?)
    }

    /// The key itself, for the one place that tells the user what to type.
    pub fn reveal(&self) -> String {
        self.0
            .iter()
            .take(KEY_MAX)
            .take_while(|b| **b != 0)
            .map(|b| char::from(*b))
            .collect()
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(***)")
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `bytes` random bytes in hexadecimal.
///
/// # Errors
///
/// The system has no random numbers to give.
pub fn random_text(bytes: usize) -> Result<String, Failure> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|e| Failure::new(format!("random numbers: {e}")))?;
    Ok(random.iter().map(|b| format!("{b:02x}")).collect())
}

/// What is longer than [`KEY_MAX`] is cut, and the caller has to look at the length.
fn padded(bytes: &[u8]) -> Padded {
    let mut padded = [0; KEY_MAX + 1];
    if let Some((length, text)) = padded.split_last_mut() {
        for (to, from) in text.iter_mut().zip(bytes) {
            *to = *from;
        }
        *length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    }
    padded
}

/// Whether `name` can be a stream's public name: 1 to 64 of `A-Z a-z 0-9 _ -`. It is a folder and a
/// part of URLs, so nothing else is possible.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The streams that may be published.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    entries: Vec<(String, StreamKey)>,
}

impl Keys {
    /// One stream.
    ///
    /// # Errors
    ///
    /// The name is none (see [`is_name`]).
    pub fn single(name: &str, key: StreamKey) -> Result<Self, Failure> {
        let mut keys = Self::default();
        keys.add(name, key)?;
        Ok(keys)
    }

    /// One more stream.
    ///
    /// # Errors
    ///
    /// The name is none, or the name or the key is taken.
    pub fn add(&mut self, name: &str, key: StreamKey) -> Result<(), Failure> {
        if !is_name(name) {
            return Err(Failure::usage(format!(
                "`{}` is no name for a stream: 1 to {NAME_MAX} letters, digits, - and _",
                name.escape_debug()
            )));
        }
        if self.entries.iter().any(|(n, _)| n == name) {
            return Err(Failure::usage(format!("the stream {name} is there twice")));
        }
        if let Some((other, _)) = self
            .entries
            .iter()
            .find(|(_, k)| bool::from(k.0.ct_eq(&key.0)))
        {
            return Err(Failure::usage(format!(
                "the streams {other} and {name} have the same key"
            )));
        }
        self.entries.push((name.to_owned(), key));
        Ok(())
    }

    /// Reads a file with `NAME KEY` on each line; empty lines and lines that begin with `#` are
    /// skipped. Also returns a warning if others than the file's owner can read it.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is larger than 1 MiB, a line is wrong (the error names its number
    /// and never shows the key), or there is no stream in it.
    pub fn from_file(path: &Path) -> Result<(Self, Option<String>), Failure> {
        let io = |e| Failure::io("reading the stream keys in", path, &e);
        let file = std::fs::File::open(path).map_err(io)?;
        let warning = readable_by_others(&file).map_err(io)?.then(|| {
            format!(
                "other users can read the stream keys: chmod 600 {}",
                path.display()
            )
        });
        let mut text = String::new();
        file.take(FILE_MAX + 1)
            .read_to_string(&mut text)
            .map_err(io)?;
        if text.len() as u64 > FILE_MAX {
            return Err(Failure::new(format!(
                "{} is too large for a file of stream keys",
                path.display()
            )));
        }
        let keys = Self::parse(&text).map_err(|e| Failure {
            what: format!("{}, {}", path.display(), e.what),
            ..e
        })?;
        Ok((keys, warning))
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let mut keys = Self::default();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(name), Some(key), None) = (words.next(), words.next(), words.next()) else {
                return Err(Failure::usage(format!(
                    "line {number}: a line is a name, a space and a key"
                )));
            };
            StreamKey::new(key)
                .and_then(|key| keys.add(name, key))
                .map_err(|e| Failure {
                    what: format!("line {number}: {}", e.what),
                    ..e
                })?;
        }
        if keys.entries.is_empty() {
            return Err(Failure::usage("there is no stream in it"));
        }
        Ok(keys)
    }

    /// The public name of the stream with this key. Every key is compared, in a time that depends on
    /// nothing but how many there are.
    pub fn name_of(&self, key: &str) -> Option<&str> {
        let given = padded(key.as_bytes());
        let fits = Choice::from(u8::from((KEY_MIN..=KEY_MAX).contains(&key.len())));
        let mut found = u64::MAX;
        for (index, (_, known)) in (0u64..).zip(&self.entries) {
            found.conditional_assign(&index, known.0.ct_eq(&given) & fits);
        }
        let index = usize::try_from(found).ok()?;
        self.entries.get(index).map(|(name, _)| name.as_str())
    }

    /// Public names, in the order they were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// Each stream with its key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &StreamKey)> {
        self.entries.iter().map(|(name, key)| (name.as_str(), key))
    }
}

fn readable_by_others(file: &std::fs::File) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_finds_its_stream() {
        let keys = Keys::parse("# who\ncam1 aaaaaaaa\n\n  cam-2\tbbbb.bbb~_-  \n").unwrap();
        assert_eq!(keys.name_of("aaaaaaaa"), Some("cam1"));
        assert_eq!(keys.name_of("bbbb.bbb~_-"), Some("cam-2"));
        for wrong in ["", "aaaaaaa", "aaaaaaaaa", "aaaaaaaa\0", "cam1", "bbbb"] {
            assert_eq!(keys.name_of(wrong), None, "{wrong:?}");
        }
        assert_eq!(keys.name_of(&"a".repeat(100_000)), None);
        assert_eq!(keys.names().collect::<Vec<_>>(), ["cam1", "cam-2"]);
    }

    #[test]
    fn the_longest_key_is_compared_to_its_end() {
        let long = "k".repeat(KEY_MAX);
        let key = StreamKey::new(&long).unwrap();
        assert_eq!(key.reveal(), long);
        let keys = Keys::single("a", key).unwrap();
        assert_eq!(keys.name_of(&long), Some("a"));
        assert_eq!(keys.name_of(&format!("{long}k")), None);
        assert_eq!(keys.name_of(&format!("{}x", "k".repeat(KEY_MAX - 1))), None);
    }

    #[test]
    fn keys_show_themselves_nowhere() {
        let key = StreamKey::new("topsecret-topsecret").unwrap();
        let keys = Keys::single("cam", key.clone()).unwrap();
        let shown = format!("{key} {key:?} {keys:?} {keys:#?}");
        assert!(!shown.contains("topsecret"), "{shown}");
        assert_eq!(key.reveal(), "topsecret-topsecret");
    }

    #[test]
    fn wrong_keys_names_and_files_are_refused_without_showing_the_key() {
        for bad in [
            "cam short",
            "cam secret secret/secret",
            "cam secret/secret",
            "cam",
            "../cam secretsecret",
            "cam.1 secretsecret",
            "cam secretsecret more",
            "a secretsecret\na othersecret",
            "a secretsecret\nb secretsecret",
            "# nothing",
            "",
        ] {
            let failure = Keys::parse(bad).unwrap_err().to_string();
            assert!(!failure.contains("secret"), "{failure}");
        }
        assert!(StreamKey::new(&"k".repeat(KEY_MAX + 1)).is_err());
        assert!(!is_name(&"n".repeat(NAME_MAX + 1)));
    }

    #[test]
    fn a_file_that_others_can_read_is_warned_of() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "cam secretsecret\n").unwrap();
        let mode = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            Keys::from_file(file.path()).unwrap().1
        };
        assert_eq!(mode(0o600), None);
        assert!(mode(0o644).unwrap().contains("chmod 600"));
    }

    #[test]
    fn generated_keys_differ() {
        let a = StreamKey::generate().unwrap().reveal();
        let b = StreamKey::generate().unwrap().reveal();
        assert_eq!(a.len(), 2 * GENERATED);
        assert_ne!(a, b);
    }
}
