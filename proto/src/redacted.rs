//! `Debug` for messages that hold credentials: the other fields, and how long the hidden ones are.
//!
//! `build.rs` names the same messages, so one that is missing here does not compile in what
//! contains it.

use std::fmt;

use crate::{state, swarmkit, v1};

/// Stands for a value that is not shown.
struct Hidden(usize);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}

macro_rules! redacted {
    ($($message:ty { shown: [$($shown:ident),*], hidden: [$($hidden:ident),*] })*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Taken apart in full: a field that is added must be put on one side.
                let Self { $($shown,)* $($hidden,)* } = self;
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($shown), $shown))*
                    $(.field(stringify!($hidden), &Hidden($hidden.len())))*
                    .finish()
            }
        }
    )*};
}

redacted! {
    swarmkit::acceptance_policy::role_admission_policy::Secret { shown: [alg], hidden: [data] }
    swarmkit::CaConfig {
        shown: [node_cert_expiry, external_cas, signing_ca_cert, force_rotate],
        hidden: [signing_ca_key]
    }
    swarmkit::ConfigSpec { shown: [annotations, templating], hidden: [data] }
    swarmkit::container_spec::PullOptions { shown: [], hidden: [registry_auth] }
    swarmkit::EncryptionKey { shown: [subsystem, algorithm, lamport_time], hidden: [key] }
    swarmkit::GetUnlockKeyResponse { shown: [version], hidden: [unlock_key] }
    swarmkit::IssueNodeCertificateRequest { shown: [role, csr, availability], hidden: [token] }
    swarmkit::JoinTokens { shown: [], hidden: [worker, manager] }
    swarmkit::RootCa {
        shown: [ca_cert, ca_cert_hash, join_tokens, root_rotation, last_forced_rotation],
        hidden: [ca_key]
    }
    swarmkit::RootRotation { shown: [ca_cert, cross_signed_ca_cert], hidden: [ca_key] }
    swarmkit::SecretSpec { shown: [annotations, templating, driver], hidden: [data] }
    swarmkit::VolumeSecret { shown: [key], hidden: [secret] }
    state::RootCa { shown: [certificate, join_tokens], hidden: [key] }
    v1::Opaque { shown: [], hidden: [data] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_however_deep_it_lies() {
        let spec = swarmkit::SecretSpec { data: b"hunter2".to_vec(), ..Default::default() };
        let secret =
            swarmkit::Secret { id: "s1".into(), spec: Some(spec.clone()), ..Default::default() };
        let assignment = swarmkit::AssignmentChange {
            assignment: Some(swarmkit::Assignment {
                item: Some(swarmkit::assignment::Item::Secret(secret)),
            }),
            ..Default::default()
        };
        let request = v1::ControlRequest {
            request: Some(v1::control_request::Request::CreateSecret(v1::CreateSecret {
                spec: Some(spec),
            })),
        };
        for shown in [format!("{assignment:?}"), format!("{request:#?}")] {
            assert!(shown.contains("<7 bytes>"), "{shown}");
            // Neither as text nor as the list of numbers that a byte vector prints.
            assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
        }
    }

    #[test]
    fn keys_and_tokens_are_not_shown() {
        let cluster = state::Cluster {
            root_ca: Some(state::RootCa {
                certificate: Vec::new(),
                key: b"hhhh".to_vec(),
                join_tokens: Some(swarmkit::JoinTokens {
                    worker: "SWMTKN-1-w".into(),
                    manager: "SWMTKN-1-m".into(),
                }),
            }),
            ..Default::default()
        };
        let entry = v1::Entry {
            log_id: None,
            payload: Some(v1::entry::Payload::Normal(v1::Opaque { data: b"hhhh".to_vec() })),
        };
        let shown = format!("{cluster:?}{entry:?}");
        assert!(!shown.contains("SWMTKN") && !shown.contains("104"), "{shown}");
    }
}
