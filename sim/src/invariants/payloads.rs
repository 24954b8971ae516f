//! A version of a secret or config that is taken away when nothing refers to it any more is missed by
//! no service, and by no rollback either. What a service reads now stays whoever wants it gone.

use skep_state::{Event, State};
use skep_types::{Service, ServiceSpec};

use super::{Invariant, Seen, Verdict};

pub struct Payloads;

impl Invariant for Payloads {
    fn name(&self) -> &'static str {
        "payloads"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            match event {
                Event::Secret(delta) if delta.after.is_none() => all_found(seen.after)?,
                Event::Config(delta) if delta.after.is_none() => all_found(seen.after)?,
                Event::Service(delta) => {
                    if let Some(service) = &delta.after {
                        found(seen.after, service)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn all_found(state: &State) -> Verdict {
    state.services().iter().try_for_each(|service| found(state, service))
}

fn found(state: &State, service: &Service) -> Verdict {
    if let Some(name) = missing(state, &service.spec, |_| true) {
        return Err(format!("{name} is gone, and {service:?} reads it"));
    }
    // Others are their users' to remove, whatever a rollback would read.
    match service.previous_spec.as_ref().and_then(|it| missing(state, it, is_version)) {
        Some(name) => Err(format!("{name} is gone, and {service:?} may go back to it")),
        None => Ok(()),
    }
}

fn missing(state: &State, spec: &ServiceSpec, counts: fn(&str) -> bool) -> Option<String> {
    let container = &spec.task.container;
    let mut secrets = container.secrets.iter().filter(|it| counts(&it.secret_name));
    let mut configs = container.configs.iter().filter(|it| counts(&it.config_name));
    let secret = secrets.find(|it| state.secrets().get(it.secret_id).is_none());
    let config = configs.find(|it| state.configs().get(it.config_id).is_none());
    secret.map(|it| it.secret_name.clone()).or_else(|| config.map(|it| it.config_name.clone()))
}

/// Whether a name is that of a version, as stacks make them.
pub fn is_version(name: &str) -> bool {
    name.contains('.')
}
