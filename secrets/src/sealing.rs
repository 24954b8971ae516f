//! Sealed records: version byte 1, u32 key id, 24-byte nonce, XChaCha20-Poly1305.
//!
//! The header is authenticated with the caller's associated data. It is not the unlock key: the
//! keyring's file has a `wrapping` byte for that, of which only 0 (none) is known.

use std::io;
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::durable::write_private;

const VERSION: u8 = 1;
const NONCE: usize = 24;
const HEADER: usize = 1 + 4 + NONCE;
const FILE_VERSION: u8 = 1;
const WRAPPING_NONE: u8 = 0;
const CHECKSUM: usize = 32;
const ENTRY: usize = 4 + 32;

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("unknown sealed record version: expected {VERSION}, got {0}")]
    UnknownVersion(u8),
    #[error("unknown data key {0}")]
    UnknownKey(u32),
    #[error("corrupt sealed record")]
    Corrupt,
    #[error("failed to seal record of {0} bytes")]
    Seal(usize),
    #[error("no data key ids left")]
    IdsExhausted,
    #[error("unknown keyring version: expected {FILE_VERSION}, got {0}")]
    UnknownFileVersion(u8),
    #[error("unknown keyring wrapping: expected {WRAPPING_NONE}, got {0}")]
    UnknownWrapping(u8),
    #[error("corrupt keyring")]
    CorruptFile,
    #[error("failed to read keyring")]
    Read(#[source] io::Error),
    #[error("failed to write keyring")]
    Write(#[source] io::Error),
}

/// Data keys, oldest first; the last one seals, all of them open.
pub struct Keyring {
    keys: Vec<(u32, Zeroizing<[u8; 32]>)>,
}

impl Keyring {
    pub fn generate() -> Self {
        Self { keys: vec![(1, Zeroizing::new(rand::random()))] }
    }

    fn current(&self) -> &(u32, Zeroizing<[u8; 32]>) {
        self.keys.last().expect("a keyring is made and loaded with at least one key")
    }

    pub fn current_id(&self) -> u32 {
        self.current().0
    }

    /// Adds a fresh key that seals from now on; older ones still open.
    pub fn rotate(&mut self) -> Result<(), SealError> {
        let id = self.current_id().checked_add(1).ok_or(SealError::IdsExhausted)?;
        self.keys.push((id, Zeroizing::new(rand::random())));
        Ok(())
    }

    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, key) = self.current();
        let mut record = Vec::with_capacity(HEADER + plaintext.len() + 16);
        record.push(VERSION);
        record.extend_from_slice(&id.to_be_bytes());
        record.extend_from_slice(&rand::random::<[u8; NONCE]>());
        let bound = [&record[..5], aad].concat();
        let body = XChaCha20Poly1305::new((&**key).into())
            .encrypt(
                XNonce::from_slice(&record[5..HEADER]),
                Payload { msg: plaintext, aad: &bound },
            )
            .map_err(|_| SealError::Seal(plaintext.len()))?;
        record.extend_from_slice(&body);
        Ok(record)
    }

    pub fn open(&self, aad: &[u8], record: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        match record.first() {
            Some(&VERSION) => {}
            Some(&other) => return Err(SealError::UnknownVersion(other)),
            None => return Err(SealError::Corrupt),
        }
        let (header, body) = record.split_at_checked(HEADER).ok_or(SealError::Corrupt)?;
        let id = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let (_, key) =
            self.keys.iter().find(|entry| entry.0 == id).ok_or(SealError::UnknownKey(id))?;
        let bound = [&header[..5], aad].concat();
        XChaCha20Poly1305::new((&**key).into())
            .decrypt(XNonce::from_slice(&header[5..]), Payload { msg: body, aad: &bound })
            .map(Zeroizing::new)
            .map_err(|_| SealError::Corrupt)
    }

    /// Version, wrapping, entries (id, key), then SHA-256 of all before it; mode 0600, durable.
    pub fn save(&self, path: &Path) -> Result<(), SealError> {
        // Sized once: a growing buffer would leave copies of keys behind in freed memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 + self.keys.len() * ENTRY + CHECKSUM));
        bytes.extend_from_slice(&[FILE_VERSION, WRAPPING_NONE]);
        for (id, key) in &self.keys {
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(&**key);
        }
        let checksum = Sha256::digest(&*bytes);
        bytes.extend_from_slice(&checksum);
        write_private(path, &bytes).map_err(SealError::Write)
    }

    pub fn load(path: &Path) -> Result<Self, SealError> {
        let bytes = Zeroizing::new(std::fs::read(path).map_err(SealError::Read)?);
        match bytes.get(..2) {
            Some(&[FILE_VERSION, WRAPPING_NONE]) => {}
            Some(&[FILE_VERSION, other]) => return Err(SealError::UnknownWrapping(other)),
            Some(&[other, _]) => return Err(SealError::UnknownFileVersion(other)),
            _ => return Err(SealError::CorruptFile),
        }
        let end = bytes.len().checked_sub(CHECKSUM).ok_or(SealError::CorruptFile)?;
        let (content, checksum) = bytes.split_at(end);
        if Sha256::digest(content).as_slice() != checksum {
            return Err(SealError::CorruptFile);
        }
        let entries = content.get(2..).ok_or(SealError::CorruptFile)?;
        if entries.is_empty() || !entries.len().is_multiple_of(ENTRY) {
            return Err(SealError::CorruptFile);
        }
        let keys: Vec<_> = entries
            .chunks_exact(ENTRY)
            .map(|entry| {
                let mut key = Zeroizing::new([0; 32]);
                key.copy_from_slice(&entry[4..]);
                (u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]), key)
            })
            .collect();
        // Two keys of one id would make records unreadable by luck of the search.
        if !keys.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(SealError::CorruptFile);
        }
        Ok(Self { keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let keys = Keyring::generate();
        let record = keys.seal(b"log 7", b"entry").unwrap();
        assert_eq!(*keys.open(b"log 7", &record).unwrap(), b"entry");
        assert_ne!(keys.seal(b"log 7", b"entry").unwrap(), record, "a fresh nonce each time");
        assert!(matches!(keys.open(b"log 8", &record), Err(SealError::Corrupt)));
        assert!(matches!(keys.open(b"log 7", b""), Err(SealError::Corrupt)));
        for length in 1..record.len() {
            assert!(matches!(keys.open(b"log 7", &record[..length]), Err(SealError::Corrupt)));
        }
        let empty = keys.seal(b"", b"").unwrap();
        assert!(keys.open(b"", &empty).unwrap().is_empty());
    }

    #[test]
    fn every_changed_byte_is_named_for_what_it_is() {
        let keys = Keyring::generate();
        let record = keys.seal(b"log 7", b"entry").unwrap();
        for place in 0..record.len() {
            let mut changed = record.clone();
            changed[place] ^= 0x80;
            match (place, keys.open(b"log 7", &changed).unwrap_err()) {
                (0, SealError::UnknownVersion(got)) => assert_eq!(got, 0x81),
                (1..5, SealError::UnknownKey(got)) => assert_ne!(got, 1),
                (5.., SealError::Corrupt) => {}
                (_, other) => panic!("byte {place}: {other}"),
            }
        }
    }

    #[test]
    fn key_id_is_authenticated() {
        // The same key under two ids: only the header tells the records apart.
        let key = Zeroizing::new([7; 32]);
        let keys = Keyring { keys: vec![(1, key.clone()), (2, key)] };
        let mut record = keys.seal(b"", b"entry").unwrap();
        record[4] = 1;
        assert!(matches!(keys.open(b"", &record), Err(SealError::Corrupt)));
    }

    #[test]
    fn rotated_keys_seal_and_older_ones_still_open() {
        let mut keys = Keyring::generate();
        let old = keys.seal(b"", b"old").unwrap();
        keys.rotate().unwrap();
        assert_eq!(keys.current_id(), 2);
        let new = keys.seal(b"", b"new").unwrap();
        assert_eq!(new[1..5], [0, 0, 0, 2]);
        assert_eq!(*keys.open(b"", &old).unwrap(), b"old");
        assert_eq!(*keys.open(b"", &new).unwrap(), b"new");
        let other = Keyring::generate();
        assert!(matches!(other.open(b"", &new), Err(SealError::UnknownKey(2))));
        assert!(matches!(other.open(b"", &old), Err(SealError::Corrupt)));
        let mut last = Keyring { keys: vec![(u32::MAX, Zeroizing::new([0; 32]))] };
        assert!(matches!(last.rotate(), Err(SealError::IdsExhausted)));
    }

    #[test]
    fn file_is_private_and_gives_the_same_keys() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let mut keys = Keyring::generate();
        keys.save(&path).unwrap();
        let record = keys.seal(b"", b"entry").unwrap();
        keys.rotate().unwrap();
        keys.save(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let loaded = Keyring::load(&path).unwrap();
        assert_eq!(loaded.current_id(), 2);
        assert_eq!(*loaded.open(b"", &record).unwrap(), b"entry");
        assert_eq!(*loaded.open(b"", &keys.seal(b"", b"x").unwrap()).unwrap(), b"x");
    }

    #[test]
    fn refuses_a_file_it_does_not_know_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        assert!(matches!(Keyring::load(&path), Err(SealError::Read(_))));
        Keyring::generate().save(&path).unwrap();
        let good = std::fs::read(&path).unwrap();
        let load = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Keyring::load(&path).map(|_| ()).unwrap_err()
        };
        for place in 0..good.len() {
            let mut changed = good.clone();
            changed[place] ^= 2;
            match (place, load(&changed)) {
                (0, SealError::UnknownFileVersion(3)) => {}
                (1, SealError::UnknownWrapping(2)) => {}
                (2.., SealError::CorruptFile) => {}
                (_, other) => panic!("byte {place}: {other}"),
            }
        }
        for length in 0..good.len() {
            assert!(matches!(load(&good[..length]), SealError::CorruptFile), "{length} bytes");
        }
        // A whole file of no keys, and one whose ids do not rise: `current` could not be told.
        let with = |entries: &[u8]| {
            let mut bytes = [&good[..2], entries].concat();
            let checksum = Sha256::digest(&bytes);
            bytes.extend_from_slice(&checksum);
            bytes
        };
        assert!(matches!(load(&with(&[])), SealError::CorruptFile));
        let entry = &good[2..2 + ENTRY];
        assert!(matches!(load(&with(&[entry, entry].concat())), SealError::CorruptFile));
    }

    proptest! {
        #[test]
        fn round_trip(aad: Vec<u8>, text: Vec<u8>) {
            let keys = Keyring::generate();
            let record = keys.seal(&aad, &text).unwrap();
            prop_assert_eq!(&*keys.open(&aad, &record).unwrap(), &text);
        }

        #[test]
        fn open_never_panics(record: Vec<u8>, aad: Vec<u8>, body: Vec<u8>) {
            let keys = Keyring::generate();
            prop_assert!(keys.open(&aad, &record).is_err());
            // Past the version and key checks too.
            let plausible = [&[VERSION, 0, 0, 0, 1][..], &body].concat();
            prop_assert!(matches!(keys.open(&aad, &plausible), Err(SealError::Corrupt)));
        }
    }
}
