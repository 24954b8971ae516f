//! `/secrets` and `/configs`: the same document twice, but for the driver that only a secret has.

use super::shape::{null_default, omitempty, shape};
use super::{Driver, Map, ObjectVersion, Timestamp};

shape! {
    /// `Data` is base64; it is never in an answer.
    SecretSpec {
        "Name" name: String,
        "Labels" labels: Map,
        [redacted] "Data" data: String => "omitempty",
        "Driver" driver: Option<Driver> => "omitempty",
        "Templating" templating: Option<Driver> => "omitempty",
    }

    Secret {
        "ID" id: String,
        "Version" version: ObjectVersion,
        "CreatedAt" created_at: Timestamp,
        "UpdatedAt" updated_at: Timestamp,
        "Spec" spec: SecretSpec,
    }

    /// `Data` is base64.
    ConfigSpec {
        "Name" name: String,
        "Labels" labels: Map,
        "Data" data: String => "omitempty",
        "Templating" templating: Option<Driver> => "omitempty",
    }

    Config {
        "ID" id: String,
        "Version" version: ObjectVersion,
        "CreatedAt" created_at: Timestamp,
        "UpdatedAt" updated_at: Timestamp,
        "Spec" spec: ConfigSpec,
    }

    /// The answer to a create of either.
    IdResponse { "ID" id: String }
}
