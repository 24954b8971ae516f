//! When time alone will change something of a service.

use std::collections::{BTreeMap, BTreeSet};

use skep_types::{ServiceId, Timestamp};

/// One moment a service at most.
#[derive(Debug, Default)]
pub struct Wakes {
    by_service: BTreeMap<ServiceId, Timestamp>,
    by_time: BTreeSet<(Timestamp, ServiceId)>,
}

impl Wakes {
    /// A service was looked at; it is to be looked at again at that moment, if there is one.
    pub fn set(&mut self, service: ServiceId, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.by_service.insert(service, at),
            None => self.by_service.remove(&service),
        };
        if let Some(before) = before {
            self.by_time.remove(&(before, service));
        }
        if let Some(at) = at {
            self.by_time.insert((at, service));
        }
    }

    /// Moves the services whose time has come to `services`.
    pub fn due(&mut self, now: Timestamp, services: &mut BTreeSet<ServiceId>) {
        while let Some(&(at, service)) = self.by_time.first()
            && at <= now
        {
            self.by_time.pop_first();
            self.by_service.remove(&service);
            services.insert(service);
        }
    }

    /// The next moment at which [`Self::due`] would find something.
    pub fn first(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }
}
