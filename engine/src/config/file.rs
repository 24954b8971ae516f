//! Files whose contents come with the configuration.
//!
//! **Invariant:** the contents are neither serialised nor shown.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A file whose contents come with the configuration (a secret, a config). It is written to memory
/// in the container's own mount namespace and never to disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct File {
    /// An absolute path in the container.
    pub target: PathBuf,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    #[serde(skip)]
    pub content: Content,
}

/// Bytes that may be secret: wiped when dropped, not shown.
#[derive(Clone, Default)]
pub struct Content(zeroize::Zeroizing<Vec<u8>>);

impl Content {
    pub fn new(bytes: Vec<u8>) -> Content {
        Content(zeroize::Zeroizing::new(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
