//! `raft.redb`: the log, the vote and the positions, as sealed records in one redb file.
//!
//! It knows nothing of threads or of openraft's callbacks. **Invariant:** when [`LogDb::commit`]
//! returns `Ok`, the whole batch is on disk; the entries on disk have no hole.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::defaults;
use crate::error::OpenError;
use crate::record::{Identity, LogIdRecord, VoteRecord, decode_entry, encode_entry};
use crate::seal::{Place, Vault};
use crate::types::{Entry, LogId, Vote};

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const FORMAT: u32 = 1;
const FILE: &str = "raft.redb";

const IDENTITY: &str = "identity";
const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";

/// One change to the log; a batch of them is one sync.
pub(crate) enum Change {
    Vote(Vote),
    Append(Vec<Entry>),
    /// Removes every entry above.
    TruncateAfter(Option<u64>),
    /// Removes every entry up to and with this one.
    Purge(LogId),
    Committed(Option<LogId>),
}

/// What the file said when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    pub purged: Option<LogId>,
    pub last: Option<LogId>,
}

pub(crate) struct LogDb {
    db: Database,
    vault: Vault,
    path: PathBuf,
}

impl LogDb {
    /// Opens or makes the file and verifies every record in it.
    pub fn open(dir: &Path, vault: Vault, raft_id: u64) -> Result<(Self, Found), OpenError> {
        let path = dir.join(FILE);
        // redb trusts its own pages after a clean close and may panic on damaged ones.
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Self::open_inner(&path, vault, raft_id)
        }));
        opened.unwrap_or_else(|_| {
            Err(OpenError::Corrupt {
                path: path.clone(),
                what: "its page structure".into(),
                reason: "the database cannot be walked".into(),
            })
        })
    }

    fn open_inner(path: &Path, vault: Vault, raft_id: u64) -> Result<(Self, Found), OpenError> {
        let fail = |e: redb::Error| OpenError::Database { path: path.into(), source: Box::new(e) };
        let db = Database::builder()
            .set_cache_size(defaults::REDB_CACHE_BYTES)
            .create(path)
            .map_err(|e| fail(e.into()))?;
        let this = Self { db, vault, path: path.to_owned() };
        this.identify(raft_id)?;
        let found = this.verify()?;
        Ok((this, found))
    }

    fn corrupt(&self, what: impl Into<String>, reason: impl Into<String>) -> OpenError {
        OpenError::Corrupt { path: self.path.clone(), what: what.into(), reason: reason.into() }
    }

    fn db_error(&self, e: impl Into<redb::Error>) -> OpenError {
        OpenError::Database { path: self.path.clone(), source: Box::new(e.into()) }
    }

    /// Writes the identity into a new file, or compares it with the one that is there.
    fn identify(&self, raft_id: u64) -> Result<(), OpenError> {
        let mut tx = self.db.begin_write().map_err(|e| self.db_error(e))?;
        tx.set_durability(Durability::Immediate).map_err(|e| self.db_error(e))?;
        let new = {
            let log = tx.open_table(LOG).map_err(|e| self.db_error(e))?;
            let meta = tx.open_table(META).map_err(|e| self.db_error(e))?;
            log.first().map_err(|e| self.db_error(e))?.is_none()
                && meta.first().map_err(|e| self.db_error(e))?.is_none()
        };
        if new {
            let record = Identity { format: FORMAT, raft_id }.encode_to_vec();
            let sealed = self.vault.seal(&Place::Meta(IDENTITY), &record);
            let mut meta = tx.open_table(META).map_err(|e| self.db_error(e))?;
            meta.insert(IDENTITY, sealed.as_slice()).map_err(|e| self.db_error(e))?;
            drop(meta);
            return tx.commit().map_err(|e| self.db_error(e));
        }
        tx.abort().map_err(|e| self.db_error(e))?;
        let id: Identity = self
            .meta(IDENTITY)?
            .ok_or_else(|| self.corrupt(format!("record {IDENTITY}"), "missing"))?;
        if id.format != FORMAT {
            let path = self.path.clone();
            return Err(OpenError::Format { path, expected: FORMAT, got: id.format });
        }
        if id.raft_id != raft_id {
            let path = self.path.clone();
            return Err(OpenError::Foreign { path, expected: raft_id, got: id.raft_id });
        }
        Ok(())
    }

    fn meta<M: Message + Default>(&self, key: &'static str) -> Result<Option<M>, OpenError> {
        let tx = self.db.begin_read().map_err(|e| self.db_error(e))?;
        let table = tx.open_table(META).map_err(|e| self.db_error(e))?;
        let Some(sealed) = table.get(key).map_err(|e| self.db_error(e))? else { return Ok(None) };
        let bad = |reason| self.corrupt(format!("record {key}"), reason);
        let plain = self.vault.open(&Place::Meta(key), sealed.value()).map_err(bad)?;
        let record = M::decode(plain.as_slice())
            .map_err(|e| self.corrupt(format!("record {key}"), e.to_string()))?;
        Ok(Some(record))
    }

    /// Opens every record: an error names the first that does not open or is not there.
    fn verify(&self) -> Result<Found, OpenError> {
        let id = |r: LogIdRecord| LogId::from(r);
        let mut found = Found {
            vote: self.meta::<VoteRecord>(VOTE)?.map(Into::into),
            committed: self.meta(COMMITTED)?.map(id),
            purged: self.meta(PURGED)?.map(id),
            last: None,
        };
        found.last = found.purged;
        let tx = self.db.begin_read().map_err(|e| self.db_error(e))?;
        let table = tx.open_table(LOG).map_err(|e| self.db_error(e))?;
        let mut next = found.purged.map(|p| p.index + 1);
        for row in table.iter().map_err(|e| self.db_error(e))? {
            let (key, value) = row.map_err(|e| self.db_error(e))?;
            let index = key.value();
            // Without anything purged a log begins at its first entry, 0 or 1.
            let expected = next.unwrap_or(index.min(1));
            if index != expected {
                let what = format!("log entry {expected}");
                return Err(self.corrupt(what, format!("missing, next is {index}")));
            }
            let entry = self
                .open_entry(index, value.value())
                .map_err(|reason| self.corrupt(format!("log entry {index}"), reason))?;
            found.last = Some(entry.log_id);
            next = Some(index + 1);
        }
        Ok(found)
    }

    fn open_entry(&self, index: u64, sealed: &[u8]) -> Result<Entry, String> {
        let plain = self.vault.open(&Place::Entry(index), sealed)?;
        let entry = decode_entry(Bytes::from(plain))?;
        if entry.log_id.index != index {
            return Err(format!("expected index {index}, got {}", entry.log_id.index));
        }
        Ok(entry)
    }

    /// Entries of the range that are there, stopping once they hold `limit` bytes.
    pub fn read(&self, range: Range<u64>, limit: usize) -> io::Result<Vec<(Entry, usize)>> {
        let tx = self.db.begin_read().map_err(io::Error::other)?;
        let table = tx.open_table(LOG).map_err(io::Error::other)?;
        let mut out = Vec::new();
        let mut bytes = 0;
        for row in table.range(range).map_err(io::Error::other)? {
            let (key, value) = row.map_err(io::Error::other)?;
            let index = key.value();
            let size = value.value().len();
            let entry = self.open_entry(index, value.value()).map_err(|reason| {
                let path = self.path.display();
                io::Error::other(format!("raft log {path} is corrupt at entry {index}: {reason}"))
            })?;
            bytes += size;
            if bytes > limit && !out.is_empty() {
                break;
            }
            out.push((entry, size));
        }
        Ok(out)
    }

    /// Applies the changes in order in one transaction that is on disk when this returns.
    pub fn commit<'a>(&self, changes: impl Iterator<Item = &'a Change>) -> io::Result<()> {
        self.commit_inner(changes).map_err(|e| {
            io::Error::other(format!("failed to write raft log {}: {e}", self.path.display()))
        })
    }

    fn commit_inner<'a>(
        &self,
        changes: impl Iterator<Item = &'a Change>,
    ) -> Result<(), redb::Error> {
        let mut tx = self.db.begin_write()?;
        tx.set_durability(Durability::Immediate)?;
        {
            let mut log = tx.open_table(LOG)?;
            let mut meta = tx.open_table(META)?;
            let mut put = |key: &'static str, plain: Vec<u8>| -> Result<(), redb::Error> {
                let sealed = self.vault.seal(&Place::Meta(key), &plain);
                meta.insert(key, sealed.as_slice())?;
                Ok(())
            };
            for change in changes {
                match change {
                    Change::Vote(v) => put(VOTE, VoteRecord::from(v).encode_to_vec())?,
                    Change::Append(entries) => {
                        for entry in entries {
                            let index = entry.log_id.index;
                            let plain = encode_entry(entry);
                            let sealed = self.vault.seal(&Place::Entry(index), &plain);
                            log.insert(index, sealed.as_slice())?;
                        }
                    }
                    Change::TruncateAfter(last) => {
                        let from = last.map_or(0, |l| l + 1);
                        log.retain_in(from.., |_, _| false)?;
                    }
                    Change::Purge(upto) => {
                        log.retain_in(..=upto.index, |_, _| false)?;
                        put(PURGED, LogIdRecord::from(*upto).encode_to_vec())?;
                    }
                    Change::Committed(Some(c)) => {
                        put(COMMITTED, LogIdRecord::from(*c).encode_to_vec())?;
                    }
                    Change::Committed(None) => {}
                }
            }
        }
        tx.commit()?;
        Ok(())
    }
}
