//! What a container shares with the host or with others, and what it may ask of the kernel.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Whose namespace of a kind a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    #[default]
    Private,
    Host,
    /// That of the process, as the host counts.
    Of(i32),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkNamespace {
    /// A new one with nothing but a loopback interface, which is up.
    #[default]
    New,
    /// The one bound at this path.
    Join(PathBuf),
    Host,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's profile.
    #[default]
    Default,
    Unconfined,
    /// Docker's JSON.
    Profile(String),
}
