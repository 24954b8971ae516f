//! Conversions that every message is put together from: presence, lists, numbers, ids, times.
//!
//! It knows no message of its own; what a field means is said where the message is converted.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use skep_types::{
    AttachmentId, ClusterId, ConfigId, NetworkId, NodeId, ParseIdError, SecretId, ServiceId,
    TaskId, Timestamp,
};

use super::error::{At, ConvertError};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A message in a field that must be there; `name` is the field's, for the error.
pub fn part<M, T: TryFrom<M, Error = ConvertError>>(
    field: Option<M>,
    name: &str,
) -> Result<T, ConvertError> {
    field.ok_or_else(ConvertError::missing).and_then(T::try_from).at(name)
}

/// A message in a field that may be absent.
pub(super) fn optional<M, T: TryFrom<M, Error = ConvertError>>(
    field: Option<M>,
    name: &str,
) -> Result<Option<T>, ConvertError> {
    field.map(T::try_from).transpose().at(name)
}

/// A message whose absence means the default.
pub(super) fn or_default<M, T: TryFrom<M, Error = ConvertError> + Default>(
    field: Option<M>,
    name: &str,
) -> Result<T, ConvertError> {
    Ok(optional(field, name)?.unwrap_or_default())
}

/// A list; an error says which of its items is wrong.
pub(super) fn list<M, T: TryFrom<M, Error = ConvertError>>(
    items: Vec<M>,
    name: &str,
) -> Result<Vec<T>, ConvertError> {
    list_with(items, name, T::try_from)
}

pub(super) fn list_with<M, T>(
    items: Vec<M>,
    name: &str,
    convert: impl Fn(M) -> Result<T, ConvertError>,
) -> Result<Vec<T>, ConvertError> {
    let items = items.into_iter().enumerate();
    items
        .map(|(place, item)| convert(item).map_err(|e| e.inside(&format!("{name}[{place}]"))))
        .collect()
}

/// The messages of a list of values.
pub(super) fn messages<'a, T, M: From<&'a T>>(values: &'a [T]) -> Vec<M> {
    values.iter().map(M::from).collect()
}

/// A field that must not be used, since nothing of ours can hold it.
pub(super) fn absent(is_absent: bool, what: &'static str, name: &str) -> Result<(), ConvertError> {
    if is_absent { Ok(()) } else { Err(ConvertError::unsupported(what)).at(name) }
}

/// A number on its way to a narrower type.
pub(super) fn narrow<A: Copy + Display, B: TryFrom<A>>(
    number: A,
    expected: &'static str,
    name: &str,
) -> Result<B, ConvertError> {
    B::try_from(number).map_err(|_| ConvertError::bad(expected, number)).at(name)
}

pub(super) const A_PORT: &str = "a port number";

/// An enumeration of ours, whose numbers are those of a message's.
pub(super) trait WireEnum: Sized {
    fn number(self) -> i32;
    fn from_number(number: i32) -> Result<Self, ConvertError>;
}

pub(super) fn enumeration<E: WireEnum>(number: i32, name: &str) -> Result<E, ConvertError> {
    E::from_number(number).at(name)
}

/// Ties each value of an enumeration of ours to one of a message's.
macro_rules! wire_enum {
    ($ours:ty = $theirs:ty { $($our:ident = $their:ident),* $(,)? }) => {
        impl $crate::convert::field::WireEnum for $ours {
            fn number(self) -> i32 {
                match self {
                    $(Self::$our => <$theirs>::$their as i32,)*
                }
            }

            fn from_number(number: i32) -> Result<Self, $crate::convert::ConvertError> {
                $(if number == <$theirs>::$their as i32 {
                    return Ok(Self::$our);
                })*
                Err($crate::convert::ConvertError::unknown(number))
            }
        }
    };
}
pub(super) use wire_enum;

/// An id as the node-facing messages have it: 25 digits; `name` is the field's, for the error.
pub fn id<I: FromStr<Err = ParseIdError>>(text: &str, name: &str) -> Result<I, ConvertError> {
    text.parse()
        .map_err(|_| match text {
            "" => ConvertError::missing(),
            _ => ConvertError::bad("an id of 25 digits of 0-9a-z", format_args!("{text:?}")),
        })
        .at(name)
}

/// An id as the log and the snapshots have it: 16 bytes, most significant first.
pub(super) trait CompactId: Sized {
    fn to_bytes(self) -> Vec<u8>;
    fn of_bits(bits: u128) -> Self;

    fn from_bytes(bytes: &[u8], name: &str) -> Result<Self, ConvertError> {
        let bits = <[u8; 16]>::try_from(bytes).map_err(|_| match bytes.len() {
            0 => ConvertError::missing(),
            length => ConvertError::bad("an id of 16 bytes", format_args!("{length} bytes")),
        });
        bits.map(|bits| Self::of_bits(u128::from_be_bytes(bits))).at(name)
    }
}

macro_rules! compact_ids {
    ($($id:ident),*) => {$(
        impl CompactId for $id {
            fn to_bytes(self) -> Vec<u8> {
                self.bits().to_be_bytes().to_vec()
            }

            fn of_bits(bits: u128) -> Self {
                Self::new(bits)
            }
        }
    )*};
}

compact_ids!(AttachmentId, ClusterId, ConfigId, NetworkId, NodeId, SecretId, ServiceId, TaskId);

/// Beyond what a message can hold (292 thousand million years) it is the longest that one can.
pub(super) fn duration(value: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(value.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(value.subsec_nanos()).expect("less than a second of nanoseconds");
    prost_types::Duration { seconds, nanos }
}

pub(super) fn duration_of(
    message: prost_types::Duration,
    name: &str,
) -> Result<Duration, ConvertError> {
    let bad = || {
        let got = format_args!("{} s and {} ns", message.seconds, message.nanos).to_string();
        ConvertError::bad("a duration that is not negative", got).inside(name)
    };
    let seconds = u64::try_from(message.seconds).map_err(|_| bad())?;
    let nanos = u32::try_from(message.nanos).map_err(|_| bad())?;
    if i64::from(nanos) >= NANOS_PER_SECOND {
        return Err(bad());
    }
    Ok(Duration::new(seconds, nanos))
}

/// A duration whose absence means `default`.
pub(super) fn duration_or(
    field: Option<prost_types::Duration>,
    default: Duration,
    name: &str,
) -> Result<Duration, ConvertError> {
    field.map_or(Ok(default), |message| duration_of(message, name))
}

pub(super) fn timestamp(value: Timestamp) -> prost_types::Timestamp {
    let nanos = value.0.rem_euclid(NANOS_PER_SECOND);
    prost_types::Timestamp {
        seconds: value.0.div_euclid(NANOS_PER_SECOND),
        nanos: i32::try_from(nanos).expect("less than a second of nanoseconds"),
    }
}

/// Absent is 1970, as an object that has not been stored has it.
pub(super) fn timestamp_of(
    field: Option<prost_types::Timestamp>,
    name: &str,
) -> Result<Timestamp, ConvertError> {
    let Some(message) = field else { return Ok(Timestamp::default()) };
    let whole = i128::from(message.seconds) * i128::from(NANOS_PER_SECOND);
    let nanos = whole + i128::from(message.nanos);
    let expected = "a time between the years 1677 and 2262";
    narrow(nanos, expected, name).map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_at_their_ends() {
        for nanos in [i64::MIN, -1, 0, 1, NANOS_PER_SECOND, i64::MAX] {
            let message = timestamp(Timestamp(nanos));
            assert!((0..1_000_000_000).contains(&message.nanos), "{message:?}");
            assert_eq!(timestamp_of(Some(message), "t"), Ok(Timestamp(nanos)));
        }
        let late = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        assert!(timestamp_of(Some(late), "t").is_err());
    }

    #[test]
    fn durations_survive_and_negative_ones_are_named() {
        for value in [Duration::ZERO, Duration::from_nanos(1), Duration::new(7, 999_999_999)] {
            assert_eq!(duration_of(duration(value), "delay"), Ok(value));
        }
        assert_eq!(duration(Duration::MAX).seconds, i64::MAX);
        for bad in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
            let bad = prost_types::Duration { seconds: bad.0, nanos: bad.1 };
            let error = duration_of(bad, "delay").unwrap_err().to_string();
            assert!(error.contains("field delay: expected a duration"), "{error}");
        }
    }

    #[test]
    fn ids_survive_and_others_are_named() {
        for bits in [0, 1, u128::MAX] {
            let node = NodeId::new(bits);
            assert_eq!(NodeId::from_bytes(&node.to_bytes(), "id"), Ok(node));
            assert_eq!(id(&node.to_string(), "id"), Ok(node));
        }
        let error = NodeId::from_bytes(&[1, 2], "node_id").unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid message: field node_id: expected an id of 16 bytes, got 2 bytes"
        );
        let error = id::<NodeId>("", "node_id").unwrap_err().to_string();
        assert_eq!(error, "invalid message: field node_id: missing");
        assert!(id::<NodeId>("n1", "node_id").is_err());
    }
}
