//! One macro that writes a document's struct the way Go's `encoding/json` reads and writes it.
//!
//! Invariant: each field has its wire key spelled out beside it, for Docker's capitals follow no rule (`ID`, `IPAM`, `NanoCPUs`).

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

macro_rules! shape {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$fmeta:meta])* $key:literal $field:ident : $ty:ty $(=> $skip:literal)? ),* $(,)? } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name { $(
            $(#[$fmeta])*
            #[serde(rename = $key, deserialize_with = "null_default" $(, skip_serializing_if = $skip)?)]
            pub $field: $ty,
        )* }
    )* };
}
pub(crate) use shape;
