//! Cuts output into entries: at newlines, and within lines that are too long. Pure.
//!
//! **Invariant:** what came in goes out, in order; at most one partial line is held, of less than
//! [`LOG_LINE_BYTES_MAX`] bytes.

use crate::defaults::LOG_LINE_BYTES_MAX;

#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes output and hands over each entry that is complete.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = LOG_LINE_BYTES_MAX - self.partial.len();
            let window = &bytes[..bytes.len().min(room)];
            let end = match window.iter().position(|byte| *byte == b'\n') {
                // The newline may stand one past the bound, as it does in Docker's entries.
                Some(newline) => newline + 1,
                None if window.len() == room => match bytes.get(room) {
                    Some(b'\n') => room + 1,
                    _ => room,
                },
                None => {
                    self.partial.extend(window);
                    return;
                }
            };
            if self.partial.is_empty() {
                each(&bytes[..end]);
            } else {
                self.partial.extend(&bytes[..end]);
                each(&self.partial);
                self.partial.clear();
            }
            bytes = &bytes[end..];
        }
    }

    /// The output has ended: what is left is an entry without a newline.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            each(&self.partial);
            self.partial.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<usize> {
        let mut lines = Lines::default();
        let mut lengths = Vec::new();
        let mut whole: Vec<u8> = Vec::new();
        for piece in pieces {
            lines.push(piece, |entry| {
                lengths.push(entry.len());
                whole.extend(entry);
            });
        }
        lines.finish(|entry| {
            lengths.push(entry.len());
            whole.extend(entry);
        });
        assert_eq!(whole, pieces.concat());
        lengths
    }

    #[test]
    fn lines_are_cut_at_newlines_and_at_16_kib() {
        const MAX: usize = LOG_LINE_BYTES_MAX;
        assert_eq!(cut(&[b"one\ntwo\nthr", b"ee\n", b"end"]), [4, 4, 6, 3]);
        assert_eq!(cut(&[b"\n\n", b"\n"]), [1, 1, 1]);
        let long = vec![b'x'; 2 * MAX + 5];
        assert_eq!(cut(&[&long, b"\n"]), [MAX, MAX, 6]);
        let mut exact = vec![b'x'; MAX];
        exact.push(b'\n');
        assert_eq!(cut(&[&exact]), [MAX + 1]);
        assert_eq!(cut(&[&exact[..MAX], b"\n"]), [MAX, 1], "the newline came too late");
        assert_eq!(cut(&[&exact[..MAX - 1], b"\nrest"]), [MAX, 4]);
        assert_eq!(cut(&[]), Vec::<usize>::new());
    }
}
