//! Identifiers of objects: 128 random bits, shown as 25 base-36 digits as SwarmKit does.
//!
//! They are minted outside (entropy is the shell's), so every id is `Copy`, 16 bytes, and orders
//! the same way as its text.

use std::fmt;
use std::str::FromStr;

/// Digits of an id's text: enough for 128 bits in base 36 (36^25 > 2^128).
pub const ID_DIGITS: usize = 25;

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The text given for an id is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid id {given:?}: expected 25 digits of 0-9a-z")]
pub struct ParseIdError {
    given: String,
}

/// Digits that are reckoned together: as many as fit 64 bits, which processors divide at once.
const GROUP: usize = 12;
const GROUP_SIZE: u64 = 36u64.pow(GROUP as u32);

fn render(value: u128) -> [u8; ID_DIGITS] {
    let mut digits = [b'0'; ID_DIGITS];
    let size = u128::from(GROUP_SIZE);
    let groups = [value / size / size, value / size % size, value % size];
    let (first, rest) = digits.split_at_mut(ID_DIGITS - 2 * GROUP);
    let (middle, last) = rest.split_at_mut(GROUP);
    for (digits, group) in [first, middle, last].into_iter().zip(groups) {
        let mut rest = group as u64;
        for digit in digits.iter_mut().rev() {
            *digit = ALPHABET[(rest % 36) as usize];
            rest /= 36;
        }
    }
    digits
}

fn parse(text: &str) -> Option<u128> {
    let digits: &[u8; ID_DIGITS] = text.as_bytes().try_into().ok()?;
    let (first, rest) = digits.split_at(ID_DIGITS - 2 * GROUP);
    let (middle, last) = rest.split_at(GROUP);
    [first, middle, last].into_iter().try_fold(0u128, |value, digits| {
        let group = digits.iter().try_fold(0u64, |group, byte| {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'z' => byte - b'a' + 10,
                _ => return None,
            };
            Some(group * 36 + u64::from(digit))
        })?;
        value.checked_mul(GROUP_SIZE.into())?.checked_add(group.into())
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// An id made of 128 bits, random ones when an object is minted.
            pub const fn new(bits: u128) -> Self {
                Self(bits)
            }

            /// The 128 bits, for compact storage.
            pub const fn bits(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = render(self.0);
                f.pad(std::str::from_utf8(&digits).expect("base-36 digits are ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self).ok_or_else(|| ParseIdError { given: text.to_owned() })
            }
        }
    )*};
}

ids! {
    /// Names a node; also the common name of its certificate.
    NodeId;
    /// Names a service.
    ServiceId;
    /// Names a task: one attempt to run a container.
    TaskId;
    /// Names a network.
    NetworkId;
    /// Names a container's place on a network of the swarm, that was started by hand.
    AttachmentId;
    /// Names a secret.
    SecretId;
    /// Names a config.
    ConfigId;
    /// Names a swarm; also the organization in every node's certificate.
    ClusterId;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_smallest_and_largest_ids_have_25_digits() {
        assert_eq!(NodeId::new(0).to_string(), "0000000000000000000000000");
        assert_eq!(NodeId::new(u128::MAX).to_string(), "f5lxx1zz5pnorynqglhzmsp33");
    }

    #[test]
    fn what_is_no_id_is_refused_by_name() {
        let too_large = "zzzzzzzzzzzzzzzzzzzzzzzzz";
        for bad in ["", "abc", "F5LXX1ZZ5PNORYNQGLHZMSP33", too_large, "é000000000000000000000000"]
        {
            let error = bad.parse::<TaskId>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn text_and_bits_agree(a: u128, b: u128) {
            let (a, b) = (ServiceId::new(a), ServiceId::new(b));
            prop_assert_eq!(a.to_string().parse::<ServiceId>().unwrap(), a);
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }
    }
}
