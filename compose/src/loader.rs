//! The one door to the outside: contents of files and variables of the environment.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What the crate asks of the world. The command line answers from disk and environment.
pub trait Loader {
    /// The contents of a file; the path is absolute where the working directory is.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
}

/// Files and variables that are already at hand.
#[derive(Debug, Clone, Default)]
pub struct MapLoader {
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    pub variables: BTreeMap<String, String>,
}

impl Loader for MapLoader {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}
