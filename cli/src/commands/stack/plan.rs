//! What a deploy would do: each thing that it makes, changes or takes away, and of a change each place with both
//! values. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use skep_compose::Stack;
use skep_docker_api::json::{Network, Service, ServiceSpec};
use skep_types::NetworkSpec;

use super::apply;
use super::differences::{self, Difference};
use super::versions::Version;

/// What stands in the swarm, as far as a stack is concerned.
pub struct Standing {
    /// All of the swarm's, for services name them.
    pub networks: Vec<Network>,
    /// The stack's.
    pub services: Vec<Service>,
}

#[derive(Debug, PartialEq)]
pub enum Act {
    Create,
    /// Where it will differ.
    Change(Vec<Difference>),
    Remove,
    Keep,
}

/// What becomes of one thing.
#[derive(Debug, PartialEq)]
pub struct Step {
    pub kind: &'static str,
    pub name: String,
    pub act: Act,
    /// What else there is to say of it.
    pub why: Option<String>,
}

#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// What a deploy leaves as it is though the files say something else.
    pub notes: Vec<String>,
}

impl Plan {
    /// Compares a stack as its files have it, its secrets and configs as `versions`, with what stands.
    pub fn of(stack: &Stack, versions: &[Version], standing: &Standing, prune: bool) -> Self {
        let mut plan = Self::default();
        for spec in &stack.networks {
            plan.network(spec, standing);
        }
        for version in versions {
            plan.payload(version);
        }
        let names: BTreeMap<&str, &str> = standing
            .networks
            .iter()
            .map(|network| (network.id.as_str(), network.name.as_str()))
            .collect();
        for template in &stack.services {
            let name = template.spec.annotations.name.clone();
            let spec = apply::by_name(template);
            let old = standing.services.iter().find(|service| service.spec.name == name);
            plan.step("service", name, old.map_or(Act::Create, |old| changed(old, spec, &names)));
        }
        let wanted: BTreeSet<&str> =
            stack.services.iter().map(|it| it.spec.annotations.name.as_str()).collect();
        for service in &standing.services {
            let name = &service.spec.name;
            if wanted.contains(name.as_str()) {
                continue;
            }
            match prune {
                true => plan.step("service", name.clone(), Act::Remove),
                false => plan.notes.push(format!(
                    "service {name} is not in the files and stays: --prune removes it"
                )),
            }
        }
        plan
    }

    fn step(&mut self, kind: &'static str, name: String, act: Act) {
        self.steps.push(Step { kind, name, act, why: None });
    }

    /// A network that stands is never changed.
    fn network(&mut self, spec: &NetworkSpec, standing: &Standing) {
        let name = spec.annotations.name.clone();
        let Some(old) = standing.networks.iter().find(|it| apply::is_made(it, spec)) else {
            return self.step("network", name, Act::Create);
        };
        let driver = if spec.driver.is_empty() { "overlay" } else { &spec.driver };
        let differs = [
            ("driver", old.driver != driver),
            ("attachable", old.attachable != spec.attachable),
            ("internal", old.internal != spec.internal),
            ("IPv6", old.enable_ipv6 != spec.ipv6),
            ("subnets", !spec.ipam.iter().all(|part| has_subnet(old, &part.subnet.to_string()))),
        ];
        let differs: Vec<&str> =
            differs.into_iter().filter_map(|(what, differs)| differs.then_some(what)).collect();
        if !differs.is_empty() {
            self.notes.push(format!(
                "network {name} stays as it is, though the files differ in: {}; remove it first to \
                 have it made anew",
                differs.join(", ")
            ));
        }
        self.step("network", name, Act::Keep);
    }

    fn payload(&mut self, version: &Version) {
        let name = version.spec.name.clone();
        let why = version
            .is_new_content()
            .then(|| format!("the content of {} changed", version.known_as()));
        let act = match &version.held {
            None => Act::Create,
            Some(held) if held.spec.labels == version.spec.labels => Act::Keep,
            Some(held) => {
                let labels = |labels| serde_json::json!({ "Labels": labels });
                Act::Change(differences::between(
                    &labels(&held.spec.labels),
                    &labels(&version.spec.labels),
                ))
            }
        };
        self.steps.push(Step { kind: version.kind.word(), name, act, why });
    }

    /// Whether a deploy would leave all as it is.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.act == Act::Keep)
    }
}

fn has_subnet(network: &Network, subnet: &str) -> bool {
    network.ipam.config.iter().any(|part| part.subnet == subnet)
}

fn changed(old: &Service, mut spec: ServiceSpec, names: &BTreeMap<&str, &str>) -> Act {
    apply::carry_over(&mut spec, old);
    let differences =
        differences::between(&comparable(old.spec.clone(), names), &comparable(spec, names));
    if differences.is_empty() { Act::Keep } else { Act::Change(differences) }
}

/// A spec with names instead of ids, in one order.
fn comparable(mut spec: ServiceSpec, names: &BTreeMap<&str, &str>) -> Value {
    let networks = &mut spec.task_template.networks;
    for network in networks.iter_mut() {
        if let Some(name) = names.get(network.target.as_str()) {
            network.target = (*name).to_owned();
        }
    }
    networks.sort_by(|a, b| a.target.cmp(&b.target));
    if let Some(container) = &mut spec.task_template.container_spec {
        container.secrets.iter_mut().for_each(|secret| secret.secret_id.clear());
        container.configs.iter_mut().for_each(|config| config.config_id.clear());
    }
    // A document of the API's own is always JSON.
    serde_json::to_value(spec).unwrap_or_default()
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mut made, mut changed, mut removed, mut kept) = (0, 0, 0, 0);
        for step in &self.steps {
            let sign = match &step.act {
                Act::Create => (made += 1, '+').1,
                Act::Change(_) => (changed += 1, '~').1,
                Act::Remove => (removed += 1, '-').1,
                Act::Keep => {
                    kept += 1;
                    continue;
                }
            };
            write!(f, "{sign} {} {}", step.kind, step.name)?;
            match &step.why {
                Some(why) => writeln!(f, " ({why})")?,
                None => writeln!(f)?,
            }
            if let Act::Change(differences) = &step.act {
                for difference in differences {
                    writeln!(f, "    {difference}")?;
                }
            }
        }
        for note in &self.notes {
            writeln!(f, "! {note}")?;
        }
        writeln!(f, "{made} to create, {changed} to change, {removed} to remove, {kept} unchanged")
    }
}
