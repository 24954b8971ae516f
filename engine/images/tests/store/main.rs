//! The store from outside: real files, real mounts, real registries on the loopback.

mod archives;
mod commit;
mod diff;
mod files;
mod hostile;
mod import;
mod kill;
mod load;
mod prune;
mod pull;
mod registry;
mod remove;
mod rootfs;

use std::time::{Duration, Instant};

use skep_images::{Error, Store};

/// How long a thing that happens on another thread may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Opens a store that another handle may be about to let go.
async fn reopen(root: &std::path::Path) -> Store {
    let start = Instant::now();
    loop {
        match Store::open(root).await {
            Err(Error::Locked(_)) if start.elapsed() < DEADLINE => tokio::task::yield_now().await,
            result => return result.unwrap(),
        }
    }
}

/// Whether this process may do what the test needs; says so loudly if not.
fn privileged(why: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIP: {why} needs root");
    }
    root
}

/// Everything under a directory, as relative paths.
fn tree(root: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if std::fs::symlink_metadata(&path).unwrap().is_dir() {
                pending.push(path.clone());
            }
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

/// The same without what every container has.
fn image_tree(root: &std::path::Path) -> Vec<String> {
    const BASE: &[&str] = &[
        ".dockerenv",
        "dev",
        "dev/console",
        "dev/pts",
        "dev/shm",
        "etc",
        "etc/hostname",
        "etc/hosts",
        "etc/mtab",
        "etc/resolv.conf",
        "proc",
        "sys",
    ];
    let (base, rest): (Vec<String>, Vec<String>) =
        tree(root).into_iter().partition(|path| BASE.contains(&path.as_str()));
    assert_eq!(base, BASE, "every container has these");
    rest
}

/// Waits until a condition holds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what} did not come to hold");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
