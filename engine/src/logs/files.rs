//! The files of one log: the newest bears the plain name, older ones `.1`, `.2` … after it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The name of the file that was rotated `age` times.
pub fn name(newest: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return newest.to_owned();
    }
    let mut name = newest.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

/// Opens a file of the log; None if there is no such file.
pub fn open(newest: &Path, age: u32) -> io::Result<Option<File>> {
    match File::open(name(newest, age)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens all files, the oldest first. A rotation meanwhile is noticed and the look taken again, so
/// that no file is missing or double.
pub fn open_all(newest: &Path) -> io::Result<Vec<File>> {
    // A writer rotates every few megabytes: it cannot win more than a few times in a row.
    const ATTEMPTS_MAX: u32 = 10;
    for _ in 0..ATTEMPTS_MAX {
        let Some(first) = open(newest, 0)? else { return Ok(Vec::new()) };
        let identity = identity(&first)?;
        let mut files = vec![first];
        let mut age = 1;
        while let Some(file) = open(newest, age)? {
            files.push(file);
            age += 1;
        }
        if age_of(newest, identity)? == Some(0) {
            files.reverse();
            return Ok(files);
        }
    }
    Err(io::Error::new(ErrorKind::ResourceBusy, "the log rotates faster than it can be opened"))
}

/// What tells one file from all others as long as it is open.
pub fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// How often the file was rotated; None if it was removed.
pub fn age_of(newest: &Path, wanted: (u64, u64)) -> io::Result<Option<u32>> {
    let mut age = 0;
    loop {
        match name(newest, age).metadata() {
            Ok(found) if (found.dev(), found.ino()) == wanted => return Ok(Some(age)),
            Ok(_) => age += 1,
            Err(error) if error.kind() == ErrorKind::NotFound && age > 0 => return Ok(None),
            // In the middle of a rotation there is no newest file.
            Err(error) if error.kind() == ErrorKind::NotFound => age = 1,
            Err(error) => return Err(error),
        }
    }
}
