//! What the log's entries hold, and what applying one is answered with.
//!
//! An entry is a batch of transactions, a reply one verdict for each. It decides nothing: the
//! verdicts are `skep_state`'s.

use bytes::Bytes;
use prost::Message;
use skep_proto::convert::ConvertError;
use skep_proto::state as pb;
use skep_state::{Reason, Rejection, Transaction};
use skep_types::error_chain;

/// Bytes that are no batch, or no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("failed to decode a log entry or its reply")]
    Encoding(#[from] prost::DecodeError),
    #[error("failed to read a log entry")]
    Contents(#[from] ConvertError),
    #[error("verdict {0} is of a kind that is not known")]
    Kind(usize),
    /// The machine could not read the entry; nothing of it was applied.
    #[error("log entry was not applied: {0}")]
    NotApplied(String),
}

/// What became of one transaction.
pub type Verdict = Result<(), Rejected>;

/// A transaction was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejected {
    pub kind: RejectedKind,
    /// In the words of [`Reason`], which reach users.
    pub message: String,
    /// Place of the action that broke a rule; `None` where the transaction as a whole is refused.
    pub action: Option<u64>,
}

/// What sort of rule a transaction broke: as much as a caller needs to answer its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectedKind {
    /// Leadership moved; the same request may be decided anew.
    StaleEpoch,
    NotFound,
    AlreadyExists,
    /// An object changed since it was read.
    OutOfSequence,
    Invalid,
    /// It does not fit what stands.
    Conflict,
}

impl From<&Reason> for RejectedKind {
    fn from(reason: &Reason) -> Self {
        match reason {
            Reason::StaleEpoch { .. } => Self::StaleEpoch,
            Reason::NotFound { .. } => Self::NotFound,
            Reason::IdTaken { .. } | Reason::NameTaken { .. } => Self::AlreadyExists,
            Reason::OutOfSequence { .. } => Self::OutOfSequence,
            Reason::Invalid(_) | Reason::VniRange(_) | Reason::PortTaken { .. } => Self::Invalid,
            _ => Self::Conflict,
        }
    }
}

impl From<&Rejection> for Rejected {
    fn from(rejection: &Rejection) -> Self {
        Self {
            kind: (&rejection.reason).into(),
            message: rejection.to_string(),
            // An entry never holds more actions than 64 bits count.
            action: rejection.action.and_then(|place| u64::try_from(place).ok()),
        }
    }
}

/// The bytes of one log entry.
pub fn encode_batch(transactions: &[Transaction]) -> Bytes {
    let transactions = transactions.iter().map(Into::into).collect();
    pb::Batch { transactions }.encode_to_vec().into()
}

/// # Errors
/// The bytes are no batch, or say what no transaction can hold; the error names the field.
pub fn decode_batch(bytes: &[u8]) -> Result<Vec<Transaction>, CodecError> {
    let batch = pb::Batch::decode(bytes)?;
    let transactions = batch.transactions.into_iter().map(Transaction::try_from);
    Ok(transactions.collect::<Result<_, _>>()?)
}

/// What an applied batch is answered with; an error where it could not be read.
pub(crate) fn encode_reply(verdicts: Result<Vec<Verdict>, CodecError>) -> Vec<u8> {
    let reply = match verdicts {
        Ok(verdicts) => {
            let verdicts = verdicts.into_iter().map(|verdict| pb::Verdict {
                rejection: verdict.err().map(|rejected| pb::Rejection {
                    kind: number(rejected.kind) as i32,
                    message: rejected.message,
                    action: rejected.action,
                }),
            });
            pb::Reply { verdicts: verdicts.collect(), undecodable: None }
        }
        Err(error) => pb::Reply { verdicts: Vec::new(), undecodable: Some(error_chain(&error)) },
    };
    reply.encode_to_vec()
}

/// One verdict for each transaction of the batch, in order.
///
/// # Errors
/// The batch was not understood, and so not applied; or the bytes are no reply.
pub fn decode_reply(bytes: &[u8]) -> Result<Vec<Verdict>, CodecError> {
    let reply = pb::Reply::decode(bytes)?;
    if let Some(why) = reply.undecodable {
        return Err(CodecError::NotApplied(why));
    }
    let verdicts = reply.verdicts.into_iter().enumerate().map(|(place, verdict)| {
        let Some(rejection) = verdict.rejection else { return Ok(Ok(())) };
        let kind = kind(rejection.kind()).ok_or(CodecError::Kind(place))?;
        Ok(Err(Rejected { kind, message: rejection.message, action: rejection.action }))
    });
    verdicts.collect()
}

fn number(kind: RejectedKind) -> pb::rejection::Kind {
    match kind {
        RejectedKind::StaleEpoch => pb::rejection::Kind::StaleEpoch,
        RejectedKind::NotFound => pb::rejection::Kind::NotFound,
        RejectedKind::AlreadyExists => pb::rejection::Kind::AlreadyExists,
        RejectedKind::OutOfSequence => pb::rejection::Kind::OutOfSequence,
        RejectedKind::Invalid => pb::rejection::Kind::Invalid,
        RejectedKind::Conflict => pb::rejection::Kind::Conflict,
    }
}

fn kind(message: pb::rejection::Kind) -> Option<RejectedKind> {
    match message {
        pb::rejection::Kind::StaleEpoch => Some(RejectedKind::StaleEpoch),
        pb::rejection::Kind::NotFound => Some(RejectedKind::NotFound),
        pb::rejection::Kind::AlreadyExists => Some(RejectedKind::AlreadyExists),
        pb::rejection::Kind::OutOfSequence => Some(RejectedKind::OutOfSequence),
        pb::rejection::Kind::Invalid => Some(RejectedKind::Invalid),
        pb::rejection::Kind::Conflict => Some(RejectedKind::Conflict),
        pb::rejection::Kind::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_come_back_as_they_were() {
        let rejected =
            |kind, action| Err(Rejected { kind, message: format!("{kind:?} it is"), action });
        let verdicts = vec![
            Ok(()),
            rejected(RejectedKind::StaleEpoch, None),
            rejected(RejectedKind::NotFound, Some(0)),
            rejected(RejectedKind::AlreadyExists, Some(7)),
            rejected(RejectedKind::OutOfSequence, Some(1)),
            rejected(RejectedKind::Invalid, Some(2)),
            rejected(RejectedKind::Conflict, Some(3)),
            Ok(()),
        ];
        assert_eq!(decode_reply(&encode_reply(Ok(verdicts.clone()))), Ok(verdicts));
    }

    #[test]
    fn an_entry_that_was_not_understood_is_an_error_with_its_cause() {
        let error = decode_batch(b"no batch").unwrap_err();
        let back = decode_reply(&encode_reply(Err(error))).unwrap_err().to_string();
        assert!(back.starts_with("log entry was not applied: failed to decode"), "{back}");
        let unknown = pb::Verdict { rejection: Some(pb::Rejection::default()) };
        let reply =
            pb::Reply { verdicts: vec![pb::Verdict::default(), unknown], undecodable: None };
        assert_eq!(decode_reply(&reply.encode_to_vec()), Err(CodecError::Kind(1)));
    }
}
