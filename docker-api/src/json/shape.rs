//! One macro that writes a document's struct the way Go's `encoding/json` reads and writes it.
//!
//! Invariants: each field has its wire key spelled out beside it, for Docker's capitals follow no rule (`ID`, `IPAM`, `NanoCPUs`);
//! a field marked `[redacted]` is never shown by `Debug`, only whether it holds anything.

use serde::{Deserialize, Deserializer};

/// Go's `omitempty`: leave the key out when the value is its zero.
pub(crate) fn omitempty<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads `null` as the zero value: Go's clients send it for empty lists and maps.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// What `Debug` shows of a secret.
pub(crate) struct Redacted {
    pub empty: bool,
}

impl std::fmt::Debug for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.empty { "<empty>" } else { "<redacted>" })
    }
}

macro_rules! shown {
    ($value:expr) => {
        &$value
    };
    ($value:expr, redacted) => {
        &$crate::json::shape::Redacted { empty: $value.is_empty() }
    };
}
pub(crate) use shown;

macro_rules! shape {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$fmeta:meta])* $([$mark:ident])? $key:literal $field:ident : $ty:ty $(=> $skip:literal)? ),* $(,)? } )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name { $(
            $(#[$fmeta])*
            #[serde(rename = $key, deserialize_with = "null_default" $(, skip_serializing_if = $skip)?)]
            pub $field: $ty,
        )* }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $( .field(stringify!($field), $crate::json::shape::shown!(self.$field $(, $mark)?)) )*
                    .finish()
            }
        }
    )* };
}
pub(crate) use shape;
