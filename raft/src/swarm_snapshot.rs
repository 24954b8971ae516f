//! The swarm's state as the bytes of a snapshot: a header, then its records, each with its length
//! before it.
//!
//! Not the file (that is `snapshot`), and not what a record says (that is `skep_proto::convert`).

use std::io;

use prost::Message;
use skep_proto::convert::{ConvertError, put_record, records};
use skep_proto::state::{Record, SnapshotHeader};
use skep_state::state::Objects;
use skep_state::{Reason, State};

/// Of the layout; raised when a reader of the one before could not make sense of it.
const FORMAT: u32 = 1;

/// Why bytes are not a state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("snapshot has no header")]
    Header(#[source] prost::DecodeError),
    #[error("snapshot has a format of a newer version: expected {FORMAT}, got {0}")]
    Format(u32),
    #[error("snapshot record {place} of {count} is damaged")]
    Record { place: u64, count: u64, source: prost::DecodeError },
    #[error("snapshot record {place} of {count} does not stand for an object")]
    Contents { place: u64, count: u64, source: ConvertError },
    #[error("snapshot record {place} of {count} comes after the tasks")]
    Order { place: u64, count: u64 },
    #[error("snapshot has {0} bytes after its last record")]
    Trailing(usize),
    #[error("snapshot is not of one state")]
    State(#[source] Reason),
}

pub(crate) fn encode(state: &State) -> io::Result<Vec<u8>> {
    let count = objects(state);
    let header = SnapshotHeader { format: FORMAT, records: count, epoch: state.epoch() };
    // Before the records, so that the body of a million tasks is in memory once.
    let mut bytes = header.encode_length_delimited_to_vec();
    let mut written = 0;
    for record in records(state) {
        record.encode_length_delimited(&mut bytes).map_err(io::Error::other)?;
        written += 1;
    }
    if written != count {
        let text = format!("a state of {count} objects gave {written} records");
        return Err(io::Error::other(text));
    }
    Ok(bytes)
}

/// How many records a state has.
fn objects(state: &State) -> u64 {
    let tables = [
        state.nodes().len(),
        state.services().len(),
        state.tasks().len(),
        state.networks().len(),
        state.secrets().len(),
        state.configs().len(),
        state.attachments().len(),
    ];
    let count = usize::from(state.cluster().is_some()) + tables.iter().sum::<usize>();
    (count + state.specs().count()) as u64
}

pub(crate) fn decode(mut bytes: &[u8]) -> Result<State, SnapshotError> {
    let header =
        SnapshotHeader::decode_length_delimited(&mut bytes).map_err(SnapshotError::Header)?;
    if header.format != FORMAT {
        return Err(SnapshotError::Format(header.format));
    }
    let count = header.records;
    let mut objects = Objects { epoch: header.epoch, ..Objects::default() };
    // Tasks come last and go straight into it: a second copy of a million would not be small.
    let mut state: Option<State> = None;
    for place in 1..=count {
        let record = Record::decode_length_delimited(&mut bytes)
            .map_err(|source| SnapshotError::Record { place, count, source })?;
        put_record(&mut objects, record).map_err(|source| SnapshotError::Contents {
            place,
            count,
            source,
        })?;
        match (objects.tasks.pop(), &mut state) {
            (Some(task), Some(state)) => state.load_task(task).map_err(SnapshotError::State)?,
            (Some(task), None) => {
                let begun = State::from_objects(std::mem::take(&mut objects));
                let mut begun = begun.map_err(SnapshotError::State)?;
                begun.load_task(task).map_err(SnapshotError::State)?;
                state = Some(begun);
            }
            (None, Some(_)) => return Err(SnapshotError::Order { place, count }),
            (None, None) => {}
        }
    }
    if !bytes.is_empty() {
        return Err(SnapshotError::Trailing(bytes.len()));
    }
    match state {
        Some(state) => Ok(state),
        None => State::from_objects(objects).map_err(SnapshotError::State),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_snapshot_is_refused_with_the_reason() {
        let good = encode(&State::default()).unwrap();
        assert!(decode(&good).unwrap() == State::default());
        let refused = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert_eq!(refused(b""), "snapshot has no header");
        assert_eq!(
            refused(&[&good[..], b"x"].concat()),
            "snapshot has 1 bytes after its last record"
        );
        let header = |format, records| {
            SnapshotHeader { format, records, epoch: 0 }.encode_length_delimited_to_vec()
        };
        assert_eq!(
            refused(&header(2, 0)),
            "snapshot has a format of a newer version: expected 1, got 2"
        );
        assert_eq!(
            refused(&header(1, u64::MAX)),
            format!("snapshot record 1 of {} is damaged", u64::MAX)
        );
        let empty = [header(1, 1), Record::default().encode_length_delimited_to_vec()].concat();
        assert_eq!(refused(&empty), "snapshot record 1 of 1 does not stand for an object");
    }
}
