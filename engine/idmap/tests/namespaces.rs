//! Namespaces of the kernel's: made, told apart, and gone with their last descriptor.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use skep_idmap::{IdMaps, IdRange, Owner, is_own, make, owner_of};

fn root_or_skip(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIP {test}: needs root");
    }
    root
}

fn maps() -> IdMaps {
    let range = IdRange { inside: 0, outside: 100_000, count: 65536 };
    IdMaps { uids: vec![range], gids: vec![range] }
}

fn inode(file: &impl AsRawFd) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

#[test]
fn a_network_belongs_to_the_user_namespace_that_it_was_made_in() {
    if !root_or_skip("a_network_belongs_to_the_user_namespace_that_it_was_made_in") {
        return;
    }
    let first = make(&Owner::New(maps())).unwrap();
    assert_eq!(inode(&owner_of(&first.network).unwrap()), inode(&first.user));
    assert!(!is_own(&first.user).unwrap());
    // Another network of the same owner.
    let of = Owner::Of(format!("/proc/self/fd/{}", first.user.as_raw_fd()).into());
    let second = make(&of).unwrap();
    assert_eq!(inode(&second.user), inode(&first.user));
    assert_ne!(inode(&second.network), inode(&first.network));
    // Two new ones are two.
    let other = make(&Owner::New(maps())).unwrap();
    assert_ne!(inode(&other.user), inode(&first.user));
    let own = File::open("/proc/self/ns/net").unwrap();
    assert!(is_own(&owner_of(&own).unwrap()).unwrap());
}

#[test]
fn many_threads_make_them_at_once() {
    if !root_or_skip("many_threads_make_them_at_once") {
        return;
    }
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..16).map(|_| scope.spawn(|| make(&Owner::New(maps())).unwrap())).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let mut all: Vec<_> = made.iter().map(|it| inode(&it.user)).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 16);
}

#[test]
fn what_cannot_be_is_refused() {
    if !root_or_skip("what_cannot_be_is_refused") {
        return;
    }
    assert!(make(&Owner::Host).is_err());
    assert!(make(&Owner::Of("/proc/self/ns/net".into())).is_err());
    // Twice the same user of the host.
    let mut doubled = maps();
    doubled.uids.push(IdRange { inside: 65536, outside: 100_000, count: 1 });
    assert!(make(&Owner::New(doubled)).is_err());
}
