//! Reads a tar archive entry by entry: ustar, GNU long names, PAX.
//!
//! The `tar` crate's own iterator reads extended headers of any size into memory, so this one
//! takes its header fields and does the rest. **Invariant:** memory is bound by
//! `EXTENSION_BYTES_MAX`, whatever the archive says.

use std::io::{self, Read};
use std::ops::Range;

use tar::{EntryType, Header};

use crate::limits::EXTENSION_BYTES_MAX;

const BLOCK: u64 = 512;

/// Where numbers stand in a header.
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const DEVICE_MAJOR: Range<usize> = 329..337;
const DEVICE_MINOR: Range<usize> = 337..345;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Character,
    Block,
    Fifo,
}

/// One entry's description; its content is read from the reader itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TarEntry {
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: Kind,
    /// Permission bits, set-id and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Major and minor number of a device.
    pub device: (u32, u32),
    pub xattrs: Vec<(String, Vec<u8>)>,
    pub size: u64,
}

/// What extended headers say about the entry that follows them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(String, Vec<u8>)>,
    bytes: u64,
}

/// The archive; [`Read`] gives the content of the entry last returned.
pub(crate) struct TarReader<R> {
    stream: R,
    /// Content of the current entry not read yet, and the padding behind it.
    content: u64,
    padding: u64,
}

fn bad(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, content: 0, padding: 0 }
    }

    /// The next entry; None at the archive's end. What was not read of the last one is skipped.
    pub(crate) fn next_entry(&mut self) -> io::Result<Option<TarEntry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            let size = unsigned(&header, SIZE)?;
            match kind {
                EntryType::GNULongName => {
                    extensions.path = Some(until_nul(self.extension(size, &mut extensions)?));
                }
                EntryType::GNULongLink => {
                    extensions.link = Some(until_nul(self.extension(size, &mut extensions)?));
                }
                EntryType::XHeader => {
                    let records = self.extension(size, &mut extensions)?;
                    extensions.take_records(&records)?;
                }
                // Defaults for all entries that follow: version control leaves a comment there.
                EntryType::XGlobalHeader => self.expect(size),
                _ => return self.entry(&header, kind, size, extensions).map(Some),
            }
        }
    }

    /// What is behind the last entry, so that its bytes count for a digest.
    pub(crate) fn drain(mut self) -> io::Result<()> {
        self.skip_rest()?;
        io::copy(&mut self.stream, &mut io::sink()).map(drop)
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        size: u64,
        extensions: Extensions,
    ) -> io::Result<TarEntry> {
        let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extensions
            .link
            .or_else(|| header.link_name_bytes().map(|link| link.into_owned()))
            .unwrap_or_default();
        let kind = match kind {
            // Before POSIX a directory was a file whose name ends so.
            EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Link => Kind::HardLink,
            EntryType::Char => Kind::Character,
            EntryType::Block => Kind::Block,
            EntryType::Fifo => Kind::Fifo,
            // DEVIATION: Docker reads GNU's sparse files. No builder of images writes them, and
            // their size says nothing about the archive's.
            EntryType::GNUSparse => return Err(bad("sparse files are not supported")),
            other => {
                return Err(bad(format!("unhandled tar entry type {:#04x}", other.as_byte())));
            }
        };
        // Only files have content; a hard link's header may repeat its target's size.
        let size = if kind == Kind::File { extensions.size.unwrap_or(size) } else { size };
        let size = if matches!(kind, Kind::HardLink | Kind::Symlink) { 0 } else { size };
        self.expect(size);
        let id = |extended: Option<u64>, plain| -> io::Result<u32> {
            let id = extended.map_or_else(|| unsigned(header, plain), Ok)?;
            u32::try_from(id).map_err(|_| bad(format!("owner {id} is out of range")))
        };
        Ok(TarEntry {
            path,
            link,
            kind,
            mode: (unsigned(header, MODE)? & 0o7777) as u32,
            uid: id(extensions.uid, UID)?,
            gid: id(extensions.gid, GID)?,
            mtime: match extensions.mtime {
                Some(time) => time,
                None => (numeric(&header.as_bytes()[MTIME])?, 0),
            },
            device: match kind {
                Kind::Character | Kind::Block => {
                    let part = |field| {
                        let part = unsigned(header, field)?;
                        u32::try_from(part).map_err(|_| bad("device number out of range"))
                    };
                    (part(DEVICE_MAJOR)?, part(DEVICE_MINOR)?)
                }
                _ => (0, 0),
            },
            xattrs: extensions.xattrs,
            size,
        })
    }

    /// The next header that is not empty; None at the end.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let mut filled = 0;
        while filled < BLOCK as usize {
            match self.stream.read(&mut header.as_mut_bytes()[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum();
        // The checksum counts its own field as spaces.
        if header.cksum().ok() != Some(sum + 8 * u32::from(b' ')) {
            return Err(bad("not a tar archive: header checksum mismatch"));
        }
        Ok(Some(header))
    }

    /// An extended header's content.
    fn extension(&mut self, size: u64, extensions: &mut Extensions) -> io::Result<Vec<u8>> {
        extensions.bytes = extensions.bytes.saturating_add(size);
        if extensions.bytes > EXTENSION_BYTES_MAX {
            return Err(bad(format!("extended headers exceed {EXTENSION_BYTES_MAX} bytes")));
        }
        self.expect(size);
        let mut content = Vec::new();
        self.read_to_end(&mut content)?;
        Ok(content)
    }

    fn expect(&mut self, size: u64) {
        self.content = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let rest = self.content.checked_add(self.padding).ok_or_else(|| bad("size overflow"))?;
        let skipped = io::copy(&mut (&mut self.stream).take(rest), &mut io::sink())?;
        (self.content, self.padding) = (0, 0);
        if skipped < rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.content).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let read = self.stream.read(&mut buffer[..want])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.content -= read as u64;
        Ok(read)
    }
}

impl Extensions {
    /// PAX records: `LENGTH KEY=VALUE\n`, where the length counts the whole record.
    fn take_records(&mut self, mut rest: &[u8]) -> io::Result<()> {
        let malformed = || bad("malformed extended header");
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length: usize = number(&rest[..space]).ok_or_else(malformed)?;
            if length <= space + 1 || length > rest.len() || rest[length - 1] != b'\n' {
                return Err(malformed());
            }
            let record = &rest[space + 1..length - 1];
            rest = &rest[length..];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            let key = std::str::from_utf8(&record[..equals]).map_err(|_| malformed())?;
            self.take_record(key, &record[equals + 1..]).ok_or_else(malformed)??;
        }
        Ok(())
    }

    fn take_record(&mut self, key: &str, value: &[u8]) -> Option<io::Result<()>> {
        match key {
            "path" => self.path = Some(value.to_vec()),
            "linkpath" => self.link = Some(value.to_vec()),
            "size" => self.size = Some(number(value)?),
            "uid" => self.uid = Some(number(value)?),
            "gid" => self.gid = Some(number(value)?),
            "mtime" => self.mtime = Some(time(value)?),
            _ if key.starts_with("GNU.sparse.") => {
                return Some(Err(bad("sparse files are not supported")));
            }
            _ => {
                if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                    self.xattrs.push((name.to_owned(), value.to_vec()));
                }
            }
        }
        Some(Ok(()))
    }
}

fn unsigned(header: &Header, field: Range<usize>) -> io::Result<u64> {
    u64::try_from(numeric(&header.as_bytes()[field])?).map_err(|_| bad("negative number in header"))
}

/// A header's number: octal digits, nothing at all for zero, or GNU's big-endian binary form,
/// which the first bit marks.
fn numeric(field: &[u8]) -> io::Result<i64> {
    let malformed = || bad("malformed number in header");
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let start = if negative { -1i64 } else { 0 };
        // The mark is no part of a positive number; of a negative one it is a sign bit.
        let first = if negative { field[0] } else { field[0] & 0x7f };
        return std::iter::once(first).chain(field[1..].iter().copied()).try_fold(
            start,
            |value, byte| {
                let value = value.checked_mul(256).ok_or_else(malformed)?;
                Ok(value | i64::from(byte))
            },
        );
    }
    let blank = |byte: &u8| matches!(byte, 0 | b' ');
    let digits = field.iter().copied().skip_while(blank).take_while(|byte| !blank(byte));
    digits.into_iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'7' => value
            .checked_mul(8)
            .and_then(|value| value.checked_add(i64::from(byte - b'0')))
            .ok_or_else(malformed),
        _ => Err(malformed()),
    })
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Decimal seconds with an optional fraction; before 1970 they are negative.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(archive: &[u8]) -> io::Result<Vec<(TarEntry, Vec<u8>)>> {
        let mut reader = TarReader::new(archive);
        let mut all = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            let mut content = Vec::new();
            reader.read_to_end(&mut content)?;
            all.push((entry, content));
        }
        Ok(all)
    }

    fn header(kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(9);
        header
    }

    #[test]
    fn long_names_and_extended_headers_describe_what_follows() {
        let long = "d/".repeat(90) + "file";
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_data(&mut header(EntryType::Regular, 3), &long, b"abc".as_slice()).unwrap();
        builder
            .append_pax_extensions([
                ("path", b"other".as_slice()),
                ("uid", b"3000000"),
                ("mtime", b"-1.25"),
                ("SCHILY.xattr.user.a", b"x=\ny"),
            ])
            .unwrap();
        builder.append_data(&mut header(EntryType::Regular, 1), "short", b"z".as_slice()).unwrap();
        let all = entries(&builder.into_inner().unwrap()).unwrap();
        assert_eq!(all[0].0.path, long.as_bytes());
        assert_eq!((all[0].0.uid, all[0].0.mtime, &all[0].1[..]), (7, (9, 0), &b"abc"[..]));
        let (second, content) = &all[1];
        assert_eq!((&second.path[..], second.uid, second.gid), (&b"other"[..], 3_000_000, 8));
        assert_eq!(second.mtime, (-2, 750_000_000));
        assert_eq!(second.xattrs, [("user.a".to_owned(), b"x=\ny".to_vec())]);
        assert_eq!(content, b"z");
    }

    #[test]
    fn numbers_are_octal_or_binary_or_absent() {
        for (field, expected) in [
            (*b"0000755\0", Some(0o755)),
            (*b"    17 \0", Some(0o17)),
            ([0; 8], Some(0)),
            (*b"12x4\0\0\0\0", None),
            ([0x80, 0, 0, 0, 0, 0, 1, 2], Some(258)),
            ([0xff; 8], Some(-1)),
            ([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], Some(-2)),
        ] {
            assert_eq!(numeric(&field).ok(), expected, "{field:?}");
        }
        let huge = [0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert!(numeric(&huge).is_err());
    }

    #[test]
    fn what_is_no_archive_or_too_large_a_header_is_refused() {
        let check = |archive: &[u8], expected: &str| {
            let error = entries(archive).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&[7; 1024], "not a tar archive");
        check(&[b'a'; 100], "unexpected end of file");
        let mut huge = header(EntryType::XHeader, u64::MAX / 2);
        huge.set_cksum();
        check(huge.as_bytes(), "extended headers exceed");
        let mut cut = header(EntryType::Regular, 100);
        cut.set_cksum();
        check(cut.as_bytes(), "unexpected end of file");
    }
}
