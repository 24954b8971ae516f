//! The `X-Docker-Container-Path-Stat` header: what stands at a path in a container.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::shape::{null_default, shape};

shape! {
    /// `mode` is Go's `os.FileMode`.
    PathStat {
        "name" name: String,
        "size" size: i64,
        "mode" mode: u32,
        "mtime" mtime: String,
        "linkTarget" link_target: String,
    }
}

/// Go's bits of a mode.
const DIR: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;

impl PathStat {
    pub fn is_dir(&self) -> bool {
        self.mode & DIR != 0
    }

    pub fn is_symlink(&self) -> bool {
        self.mode & SYMLINK != 0
    }

    pub fn to_header(&self) -> String {
        STANDARD.encode(serde_json::to_vec(self).expect("API documents always serialise"))
    }

    pub fn from_header(text: &str) -> Option<Self> {
        serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()
    }
}
