//! The keys that leave a container to itself: how they are written, and finding them in what is typed.

/// Ctrl-p, ctrl-q (Docker's default).
const DEFAULT: [u8; 2] = [16, 17];

/// `ctrl-p,ctrl-q`, `a,b`: a letter or `ctrl-` with a letter or one of `@[\]^_`.
fn parse(text: &str) -> Option<Vec<u8>> {
    text.split(',')
        .map(|key| match key.strip_prefix("ctrl-").map(str::as_bytes) {
            Some([letter @ b'a'..=b'z']) => Some(letter - b'a' + 1),
            Some(b"@") => Some(0),
            Some([sign @ (b'[' | b'\\' | b']' | b'^' | b'_')]) => Some(sign - b'[' + 27),
            Some(_) => None,
            None => match key.as_bytes() {
                [byte] => Some(*byte),
                _ => None,
            },
        })
        .collect()
}

/// Finds the keys in chunks of what is typed.
pub struct Keys {
    wanted: Vec<u8>,
    /// How many of them were just typed; they are held back until it is known what they mean.
    seen: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    Pass(Vec<u8>),
    /// What stood before the keys goes through; what stands behind them is nobody's.
    Detach(Vec<u8>),
}

impl Keys {
    /// What cannot be read is the default, and so is nothing.
    pub fn new(text: &str) -> Self {
        let wanted = match text {
            "" => DEFAULT.to_vec(),
            _ => parse(text).unwrap_or_else(|| {
                crate::output::warn("invalid detach escape keys, using default");
                DEFAULT.to_vec()
            }),
        };
        Self { wanted, seen: 0 }
    }

    pub fn look(&mut self, typed: &[u8]) -> Typed {
        let mut out = Vec::with_capacity(typed.len());
        for byte in typed {
            if *byte == self.wanted[self.seen] {
                self.seen += 1;
                if self.seen == self.wanted.len() {
                    return Typed::Detach(out);
                }
                continue;
            }
            out.extend_from_slice(&self.wanted[..self.seen]);
            self.seen = usize::from(*byte == self.wanted[0] && self.wanted.len() > 1);
            if self.seen == 0 {
                out.push(*byte);
            }
        }
        Typed::Pass(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_keys() {
        assert_eq!(parse("ctrl-p,ctrl-q"), Some(vec![16, 17]));
        assert_eq!(parse("ctrl-@,a,ctrl-]"), Some(vec![0, b'a', 29]));
        assert_eq!(parse("ctrl-1"), None);
        assert_eq!(parse("shift-a"), None);
    }

    #[test]
    fn keys_are_found_across_chunks() {
        let mut keys = Keys::new("");
        assert_eq!(keys.look(b"ls\x10"), Typed::Pass(b"ls".into()));
        assert_eq!(keys.look(b"x"), Typed::Pass(b"\x10x".into()));
        assert_eq!(keys.look(b"\x10\x10"), Typed::Pass(b"\x10".into()));
        assert_eq!(keys.look(b"\x11rest"), Typed::Detach(Vec::new()));
    }
}
