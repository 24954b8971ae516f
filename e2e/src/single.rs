//! One host with a daemon and the tests' image, shared by the tests of a file that run at once; and
//! a case that is written once and run with each command line.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use anyhow::{Context, Result};

use crate::command_line::{CommandLine, Program};
use crate::config::{FleetConfig, skep_binary};
use crate::fleet::Fleet;
use crate::host::Host;
use crate::http::{self, Answer};
use crate::root_fs;

pub const IMAGE: &str = "busybox:latest";

/// Taken down with the last test that holds it.
pub struct Single {
    fleet: Fleet,
}

/// Whether this is root, as a fleet needs; says SKIP where it is not.
pub(crate) fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIP: a fleet needs root");
    }
    root
}

/// Beside what is built, for it is made of the machine's own busybox; once in each process.
pub fn image_archive() -> PathBuf {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    let made = ARCHIVE.get_or_init(|| {
        let program = std::env::current_exe().expect("a program has a place");
        let place = program.parent().expect("a program lies in a directory");
        let archive = place.join("busybox.tar");
        root_fs::busybox(&archive).unwrap_or_else(|error| panic!("{error:#}"));
        archive
    });
    made.clone()
}

impl Single {
    /// One of its own; none (and SKIP) without root.
    pub fn own() -> Option<Self> {
        root().then(|| Self::up().unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// The one that this program's tests share; none (and SKIP) without root.
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Single>> = Mutex::new(Weak::new());
        if !root() {
            return None;
        }
        // A test that panicked while it held the lock left nothing half done.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(single) = shared.upgrade() {
            return Some(single);
        }
        let single = Arc::new(Self::up().unwrap_or_else(|error| panic!("{error:#}")));
        *shared = Arc::downgrade(&single);
        Some(single)
    }

    fn up() -> Result<Self> {
        let fleet = Fleet::up(FleetConfig::hosts(1).daemon(skep_binary()))?;
        let single = Self { fleet };
        single.import(&image_archive(), IMAGE)?;
        Ok(single)
    }

    /// An archive of this machine becomes an image of the host.
    fn import(&self, archive: &Path, name: &str) -> Result<()> {
        let archive = archive.to_str().context("an archive's path is UTF-8")?;
        let words = ["skep", "image", "import", "--change", "CMD [\"sh\"]", archive, name];
        self.host().check(&words).map(drop)
    }

    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    pub fn host(&self) -> Host {
        self.fleet.host(1)
    }

    /// One plain exchange with the daemon; `body` is JSON where it is not empty.
    pub fn api(&self, method: &str, path: &str, body: &str) -> Answer {
        let json = [("Content-Type", "application/json")];
        let headers = if body.is_empty() { &json[..0] } else { &json[..] };
        http::exchange(&self.host().socket(), method, path, headers, body.as_bytes())
            .unwrap_or_else(|error| panic!("{method} {path}: {error:#}"))
    }

    /// A command line whose names end as no other's do, and which takes away what it made.
    pub fn command_line(&self, program: Program) -> CommandLine {
        CommandLine::new(self.host(), program, case_number())
    }
}

fn case_number() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Runs a case on the shared host with the docker command line, then with skep: what it gives must
/// be equal. Names are the same for both, so output that holds them can be compared.
pub fn both<T: PartialEq + Debug>(case: impl Fn(&CommandLine) -> T) {
    let Some(single) = Single::shared() else { return };
    let number = case_number();
    let docker = Program::Docker.installed().then(|| {
        let line = CommandLine::new(single.host(), Program::Docker, number);
        case(&line)
    });
    if docker.is_none() {
        eprintln!("SKIP: no docker command line is installed");
    }
    let line = CommandLine::new(single.host(), Program::Skep, number);
    let skep = case(&line);
    if let Some(docker) = docker {
        assert_eq!(docker, skep, "docker's on the left, skep's on the right");
    }
}
