//! The filters of system calls that containers of this daemon have had, each made once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::capabilities;
use crate::config::{ContainerConfig, Seccomp};
use crate::error::{Error, Result};
use crate::shim::filter::Filter;
use crate::shim::seccomp;

/// Hosts have a handful: a filter follows from a profile and a set of capabilities. Each takes some
/// ten KiB, and a profile of one's own as much again.
const FILTERS_MAX: usize = 32;

/// What a filter follows from, beside the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    profile: Seccomp,
    capabilities: Vec<&'static str>,
}

/// The last ones, those that were asked for most recently first.
#[derive(Debug, Default)]
pub struct Filters {
    known: Mutex<VecDeque<(Key, Arc<Filter>)>>,
}

impl Filters {
    /// The filter of a container; None where it may call all. The first of a kind takes some ten
    /// milliseconds of a CPU.
    pub fn of(&self, config: &ContainerConfig) -> Result<Option<Arc<Filter>>> {
        if config.seccomp == Seccomp::Unconfined {
            return Ok(None);
        }
        let capabilities = capabilities::of(config)?;
        if config.seccomp == Seccomp::Default && config.privileged {
            return Ok(None);
        }
        let key = Key { profile: config.seccomp.clone(), capabilities };
        // Held while one is made: of those that are started at once the others need the same.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.iter().position(|(other, _)| *other == key)
            && let Some(entry) = known.remove(found)
        {
            let filter = Arc::clone(&entry.1);
            known.push_front(entry);
            return Ok(Some(filter));
        }
        let rules = seccomp::rules(config, &key.capabilities).map_err(Error::Invalid)?;
        let Some(rules) = rules else { return Ok(None) };
        let filter = Arc::new(Filter::compile(&rules).map_err(Error::Invalid)?);
        known.truncate(FILTERS_MAX - 1);
        known.push_front((key, Arc::clone(&filter)));
        Ok(Some(filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rootfs;

    fn config(change: impl FnOnce(&mut ContainerConfig)) -> ContainerConfig {
        let rootfs = Rootfs::Directory("/".into());
        let mut config = ContainerConfig::new("a", rootfs, vec!["true".to_owned()]);
        change(&mut config);
        config
    }

    #[test]
    fn a_filter_is_made_once_for_a_profile_and_its_capabilities() {
        let filters = Filters::default();
        let of = |change: fn(&mut ContainerConfig)| filters.of(&config(change)).unwrap();
        let plain = of(|_| {}).unwrap();
        assert!(Arc::ptr_eq(&plain, &of(|it| it.no_new_privileges = true).unwrap()));
        let other = of(|it| it.capability_drop = vec!["SYS_CHROOT".to_owned()]).unwrap();
        assert_ne!(plain, other);
        assert!(of(|it| it.seccomp = Seccomp::Unconfined).is_none());
        assert!(of(|it| it.privileged = true).is_none());
        let own = |number: i32| {
            let text = format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":
                [{{"names":["chmod"],"action":"SCMP_ACT_ERRNO","errnoRet":{number}}}]}}"#
            );
            filters.of(&config(|it| it.seccomp = Seccomp::Profile(text))).unwrap().unwrap()
        };
        assert_ne!(own(1), own(2));
        for number in 0..FILTERS_MAX as i32 {
            own(number);
        }
        let known = filters.known.lock().unwrap();
        assert_eq!(known.len(), FILTERS_MAX);
        assert!(known.iter().all(|(key, _)| key.profile != Seccomp::Default), "the oldest go");
    }
}
