//! Writes a tar archive entry by entry: ustar, and PAX for what does not fit there.
//!
//! Times are written in whole seconds, as Docker does.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use crate::tar_reader::{Kind, TarEntry};

const BLOCK: u64 = 512;

/// What a ustar header holds: names of 100 bytes, owners of 7 and sizes of 11 octal digits.
const NAME_BYTES_MAX: usize = 100;
const ID_MAX: u32 = 0o7777777;
const SIZE_MAX: u64 = 0o77777777777;

/// What is copied at once.
const PIECE_BYTES: usize = 64 << 10;

/// The archive.
pub(crate) struct TarWriter<W> {
    out: W,
    piece: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, piece: vec![0; PIECE_BYTES] }
    }

    /// Writes an entry with its content, of which the size in the entry is taken. Content that ends
    /// before is an error: the archive cannot be told what was already said.
    pub(crate) fn append(&mut self, entry: &TarEntry, content: &mut impl Read) -> io::Result<()> {
        let mut path = entry.path.clone();
        if entry.kind == Kind::Directory && !path.ends_with(b"/") {
            path.push(b'/');
        }
        self.extensions(entry, &path)?;
        let mut header = Header::new_ustar();
        header.set_entry_type(match entry.kind {
            Kind::File => EntryType::Regular,
            Kind::Directory => EntryType::Directory,
            Kind::Symlink => EntryType::Symlink,
            Kind::HardLink => EntryType::Link,
            Kind::Character => EntryType::Char,
            Kind::Block => EntryType::Block,
            Kind::Fifo => EntryType::Fifo,
        });
        // Written as bytes: the crate would change names.
        fill(&mut header.as_old_mut().name, &path);
        fill(&mut header.as_old_mut().linkname, &entry.link);
        header.set_mode(entry.mode & 0o7777);
        header.set_uid(u64::from(if entry.uid > ID_MAX { 0 } else { entry.uid }));
        header.set_gid(u64::from(if entry.gid > ID_MAX { 0 } else { entry.gid }));
        header.set_mtime(entry.mtime.0.try_into().unwrap_or(0));
        header.set_size(if entry.size > SIZE_MAX { 0 } else { entry.size });
        if matches!(entry.kind, Kind::Character | Kind::Block) {
            header.set_device_major(entry.device.0)?;
            header.set_device_minor(entry.device.1)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        let mut left = entry.size;
        while left > 0 {
            let want = self.piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = match content.read(&mut self.piece[..want]) {
                Ok(0) => return Err(io::Error::other("the file became shorter while it was read")),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.out.write_all(&self.piece[..read])?;
            left -= read as u64;
        }
        self.pad(entry.size)
    }

    /// Ends the archive and gives back what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// The extended header of an entry that needs one.
    fn extensions(&mut self, entry: &TarEntry, path: &[u8]) -> io::Result<()> {
        let mut records = Vec::new();
        if path.len() > NAME_BYTES_MAX || !path.is_ascii() {
            record(&mut records, "path", path);
        }
        if entry.link.len() > NAME_BYTES_MAX || !entry.link.is_ascii() {
            record(&mut records, "linkpath", &entry.link);
        }
        for (key, id) in [("uid", entry.uid), ("gid", entry.gid)] {
            if id > ID_MAX {
                record(&mut records, key, id.to_string().as_bytes());
            }
        }
        if entry.size > SIZE_MAX {
            record(&mut records, "size", entry.size.to_string().as_bytes());
        }
        if entry.mtime.0 < 0 {
            record(&mut records, "mtime", entry.mtime.0.to_string().as_bytes());
        }
        for (name, value) in &entry.xattrs {
            record(&mut records, &format!("SCHILY.xattr.{name}"), value);
        }
        if records.is_empty() {
            return Ok(());
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        fill(&mut header.as_old_mut().name, b"PaxHeaders.0/entry");
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(records.len() as u64);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(&records)?;
        self.pad(records.len() as u64)
    }

    fn pad(&mut self, bytes: u64) -> io::Result<()> {
        let padding = (BLOCK - bytes % BLOCK) % BLOCK;
        self.out.write_all(&[0; BLOCK as usize][..padding as usize])
    }
}

/// As much of a name as its field holds; the whole stands in the extended header then.
fn fill(field: &mut [u8], name: &[u8]) {
    let bytes = name.len().min(field.len());
    field[..bytes].copy_from_slice(&name[..bytes]);
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    loop {
        let next = rest + length.to_string().len();
        if next == length {
            break;
        }
        length = next;
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar_reader::TarReader;

    fn round_trip(entry: &TarEntry, content: &[u8]) -> (TarEntry, Vec<u8>) {
        let mut writer = TarWriter::new(Vec::new());
        writer.append(entry, &mut &content[..]).unwrap();
        let archive = writer.finish().unwrap();
        let mut reader = TarReader::new(archive.as_slice());
        let read = reader.next_entry().unwrap().unwrap();
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(reader.next_entry().unwrap(), None);
        (read, got)
    }

    fn plain() -> TarEntry {
        TarEntry {
            path: b"a/b".to_vec(),
            link: Vec::new(),
            kind: Kind::File,
            mode: 0o4755,
            uid: 1,
            gid: 2,
            mtime: (1_700_000_000, 0),
            device: (0, 0),
            xattrs: Vec::new(),
            size: 3,
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        assert_eq!(round_trip(&plain(), b"abc"), (plain(), b"abc".to_vec()));
        // The longest of names, and ones around the lengths where the count of digits changes.
        for length in (80..120).chain([990, 1000, 4000]) {
            let long = TarEntry { path: vec![b'x'; length], ..plain() };
            assert_eq!(round_trip(&long, b"abc").0, long, "{length}");
        }
        let unusual = TarEntry {
            path: "größe".into(),
            uid: u32::MAX - 1,
            gid: 0o10000000,
            mtime: (-5, 0),
            xattrs: vec![("security.capability".to_owned(), vec![0, 1, b'\n', b'=', 255])],
            ..plain()
        };
        assert_eq!(round_trip(&unusual, b"abc").0, unusual);
        let device = TarEntry { kind: Kind::Character, device: (259, 70_000), size: 0, ..plain() };
        assert_eq!(round_trip(&device, b"").0, device);
        let link = TarEntry { kind: Kind::Symlink, link: vec![b'y'; 300], size: 0, ..plain() };
        assert_eq!(round_trip(&link, b"").0, link);
        let dir = TarEntry { kind: Kind::Directory, path: b"d".to_vec(), size: 0, ..plain() };
        assert_eq!(round_trip(&dir, b"").0.path, b"d/");
    }

    #[test]
    fn a_file_that_became_shorter_is_no_entry() {
        let mut writer = TarWriter::new(Vec::new());
        let error = writer.append(&plain(), &mut b"ab".as_slice()).unwrap_err();
        assert!(error.to_string().contains("shorter"), "{error}");
    }
}
