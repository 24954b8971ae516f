//! The keys that leave a terminal without ending what runs in it: how they are written, and how they are found in what is typed.
//!
//! Pure. Invariant: bytes that are no part of the keys come through unchanged and in order.

/// Docker's own keys where nobody says otherwise: ctrl-p, ctrl-q.
const DEFAULT: &[u8] = &[0x10, 0x11];

/// The keys, and how many of them were typed already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
    /// These, of the keys, are held back until it shows what they are.
    held: usize,
}

/// A key that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown key {0:?}")]
pub struct UnknownKey(pub String);

fn key(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] => Some(*byte),
        b"DEL" => Some(0x7f),
        [b'c', b't', b'r', b'l', b'-', letter] => match letter {
            b'a'..=b'z' => Some(letter - b'a' + 1),
            b'@' => Some(0),
            b'[' | b'\\' | b']' | b'^' | b'_' => Some(letter - b'@'),
            _ => None,
        },
        _ => None,
    }
}

impl Default for DetachKeys {
    fn default() -> Self {
        Self { keys: DEFAULT.into(), held: 0 }
    }
}

impl DetachKeys {
    /// Keys parted by commas: a character, `ctrl-` and one, or `DEL`. Empty: the default ones.
    pub fn parse(text: &str) -> Result<Self, UnknownKey> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let keys = text.split(',').map(|word| key(word).ok_or_else(|| UnknownKey(word.into())));
        Ok(Self { keys: keys.collect::<Result<_, _>>()?, held: 0 })
    }

    /// Takes what is typed, and adds what of it goes through; true once all keys were typed, and the rest is nobody's.
    pub fn pass(&mut self, typed: &[u8], through: &mut Vec<u8>) -> bool {
        for &byte in typed {
            loop {
                if byte == self.keys[self.held] {
                    self.held += 1;
                    if self.held == self.keys.len() {
                        self.held = 0;
                        return true;
                    }
                    break;
                }
                if self.held == 0 {
                    through.push(byte);
                    break;
                }
                // What was held is not the beginning, but its end may be one.
                let held = self.held;
                let shorter = |n: &usize| self.keys[..*n] == self.keys[held - n..held];
                let next = (0..held).rev().find(shorter).unwrap_or(0);
                through.extend_from_slice(&self.keys[..held - next]);
                self.held = next;
            }
        }
        false
    }

    /// What is still held back when nothing more comes.
    pub fn rest(&mut self) -> &[u8] {
        let held = std::mem::take(&mut self.held);
        &self.keys[..held]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_docker_writes_them() {
        let parse = |text| DetachKeys::parse(text).map(|keys| keys.keys);
        assert_eq!(parse("").unwrap(), [0x10, 0x11]);
        assert_eq!(parse("ctrl-@,ctrl-a,ctrl-z").unwrap(), [0, 1, 26]);
        assert_eq!(parse("ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_").unwrap(), [27, 28, 29, 30, 31]);
        assert_eq!(parse("a,DEL,B").unwrap(), [b'a', 0x7f, b'B']);
        for bad in [",", "a,", "ctrl-", "ctrl-A", "ctrl-aa", "é", "del"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_found_however_they_are_cut() {
        for (keys, typed, through, found) in [
            ("", &b"ab\x10\x11cd"[..], &b"ab"[..], true),
            ("", b"ab\x10c\x11", b"ab\x10c\x11", false),
            ("", b"\x10\x10\x11", b"\x10", true),
            ("", b"x\x10", b"x\x10", false),
            ("a,b,a,c", b"ababac", b"ab", true),
            ("a,a,b", b"aaaab", b"aa", true),
            ("q", b"xyq", b"xy", true),
        ] {
            for cut in 1..=typed.len() {
                let mut detach = DetachKeys::parse(keys).unwrap();
                let mut got = Vec::new();
                let was = typed.chunks(cut).any(|part| detach.pass(part, &mut got));
                got.extend_from_slice(detach.rest());
                assert_eq!((was, &got[..]), (found, through), "{keys:?} {typed:?} by {cut}");
            }
        }
    }
}
