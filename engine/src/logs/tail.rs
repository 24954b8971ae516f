//! Where the last lines of a log begin.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::defaults::LOG_CHUNK_BYTES;

/// Given all files of a log, the oldest first: the file and the place in it where its last `lines`
/// lines begin. All of it, if there are fewer.
pub fn start(files: &[File], lines: usize) -> io::Result<(usize, u64)> {
    let mut wanted = lines;
    for (number, file) in files.iter().enumerate().rev() {
        let length = file.metadata()?.len();
        if wanted == 0 {
            // What comes after the newest file's end is all that is wanted.
            return Ok((number, length));
        }
        if let Some(place) = last_lines(file, length, &mut wanted)? {
            return Ok((number, place));
        }
        if wanted == 0 {
            return Ok((number, 0));
        }
    }
    Ok((0, 0))
}

/// The place where the last `wanted` lines begin; None after counting down what the file has.
fn last_lines(file: &File, length: u64, wanted: &mut usize) -> io::Result<Option<u64>> {
    let mut chunk = vec![0; LOG_CHUNK_BYTES];
    let mut end = length;
    while end > 0 {
        let from = end.saturating_sub(LOG_CHUNK_BYTES as u64);
        let bytes = &mut chunk[..usize::try_from(end - from).unwrap_or(LOG_CHUNK_BYTES)];
        file.read_exact_at(bytes, from)?;
        for (index, byte) in bytes.iter().enumerate().rev() {
            let place = from + index as u64 + 1;
            // The newline at the very end closes the last line rather than beginning one.
            if *byte == b'\n' && place < length {
                *wanted -= 1;
                if *wanted == 0 {
                    return Ok(Some(place));
                }
            }
        }
        end = from;
    }
    if length > 0 {
        // The first line has no newline before it.
        *wanted -= 1;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found_across_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            File::open(path).unwrap()
        };
        let files = [file("2", "a\nbb\n"), file("1", "ccc\n"), file("0", "d\ne\n")];
        let begins = |lines| start(&files, lines).unwrap();
        assert_eq!(begins(0), (2, 4));
        assert_eq!(begins(1), (2, 2));
        assert_eq!(begins(2), (2, 0));
        assert_eq!(begins(3), (1, 0));
        assert_eq!(begins(4), (0, 2));
        assert_eq!(begins(5), (0, 0));
        assert_eq!(begins(99), (0, 0));
        assert_eq!(start(&[], 3).unwrap(), (0, 0));
        let big = "x".repeat(LOG_CHUNK_BYTES);
        let files = [file("big", &format!("{big}\n{big}\n"))];
        assert_eq!(start(&files, 1).unwrap(), (0, LOG_CHUNK_BYTES as u64 + 1));
    }
}
