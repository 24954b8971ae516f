//! Users: they make, change and remove things at random, each on what was last committed, and know
//! of a change what the leader answered.

use std::sync::Arc;
use std::time::Duration;

use skep_state::{Action, Change, State};
use skep_types::service::{UpdateState, UpdateStatus};
use skep_types::*;

use crate::invariants::payloads::is_version;
use crate::invariants::{Acknowledged, Origin};
use crate::managers::Then;
use crate::objects;
use crate::world::{Event, World};

const NETWORKS_MAX: usize = 4;
const PAYLOADS_MAX: usize = 4;

/// What a user wants, and what holds once that is acknowledged.
type Wish = (Action, Acknowledged);

impl World {
    pub(crate) fn user(&mut self) {
        if !self.troubled {
            return;
        }
        let pause = Duration::from_millis(100 + self.rng.below(6_000));
        self.queue.push(self.now.saturating_add(pause), Event::User);
        let view = self.managers.truth.clone();
        // What is under way would make the look at what refers to what an old one.
        let under_way = |leader: &crate::leader::Leader| !leader.in_flight.is_empty();
        let is_quiet = !self.managers.leader.as_ref().is_some_and(under_way);
        let wish = match self.rng.below(24) {
            0..=3 => self.create_service(&view),
            4..=6 => self.change_service(&view, |world, spec| {
                let nodes = world.shape.nodes;
                match &mut spec.mode {
                    ServiceMode::Replicated { replicas } => {
                        *replicas = objects::replicas(&mut world.rng, nodes);
                    }
                    mode @ ServiceMode::ReplicatedJob { .. } => {
                        *mode = objects::completions(&mut world.rng);
                    }
                    ServiceMode::Global | ServiceMode::GlobalJob => {}
                }
            }),
            7..=10 => self.change_service(&view, |world, spec| {
                spec.task.container = objects::container(&mut world.rng, &world.managers.truth);
                spec.update = objects::update_config(&mut world.rng, spec.mode);
                spec.rollback = objects::update_config(&mut world.rng, spec.mode);
            }),
            11 => self.change_service(&view, |_, spec| spec.task.force_update += 1),
            12 => self.change_service(&view, |world, spec| {
                spec.task.placement = objects::placement(&mut world.rng, spec.mode);
                spec.task.resources = objects::resources(&mut world.rng);
            }),
            13 => self.change_service(&view, |world, spec| {
                spec.task.networks = objects::networks(&mut world.rng, &world.managers.truth);
                spec.endpoint = objects::endpoint(&mut world.rng);
                spec.task.restart = objects::restart(&mut world.rng);
                spec.annotations.labels =
                    objects::labels(&mut world.rng, world.shape.services_max as u64);
            }),
            14 => self.roll_back(&view),
            15 => self.remove_service(&view),
            16 | 17 => self.change_node(&view),
            18 if is_quiet => self.add_or_remove_node(&view),
            19 | 20 => self.change_network(&view),
            21 if is_quiet => self.change_secret(&view),
            22 if is_quiet => self.change_config(&view),
            18 | 21 | 22 => None,
            _ => self.change_history(&view),
        };
        if let Some((action, what)) = wish {
            self.invariants.wished(&what);
            self.propose(vec![action], Origin::User, Then::User(what));
        }
    }

    pub(crate) fn acknowledge(&mut self, what: Acknowledged) {
        if let Err((name, why)) = self.invariants.acknowledged(&what, &self.managers.truth) {
            self.fail(name, why);
        }
    }

    fn create_service(&mut self, view: &State) -> Option<Wish> {
        if view.services().len() >= self.shape.services_max {
            return None;
        }
        let nodes = self.shape.nodes;
        let id = ServiceId::new(self.rng.bits());
        let name = (1..).map(|number| format!("service{number}"));
        let mut annotations = objects::named(name.clone().nth(self.rng.below(3) as usize)?);
        if view.services().by_name(&annotations.name).is_some() {
            annotations.name = name.into_iter().find(|it| view.services().by_name(it).is_none())?;
        }
        let now = self.swarm_time();
        let rng = &mut self.rng;
        annotations.labels = objects::labels(rng, self.shape.services_max as u64);
        let mode = objects::mode(rng, nodes);
        let task = TaskSpec {
            container: objects::container(rng, view),
            resources: objects::resources(rng),
            restart: objects::restart(rng),
            placement: objects::placement(rng, mode),
            networks: objects::networks(rng, view),
            ..TaskSpec::default()
        };
        let (update, rollback) =
            (objects::update_config(rng, mode), objects::update_config(rng, mode));
        let endpoint = objects::endpoint(rng);
        let spec = ServiceSpec { annotations, task, mode, update, rollback, endpoint };
        let service = objects::service(id, spec, now);
        Some((Change::Create(Arc::new(service)).into(), Acknowledged::Service(id)))
    }

    fn any_service(&mut self, view: &State) -> Option<Arc<Service>> {
        let place = self.rng.below(view.services().len() as u64) as usize;
        view.services().iter().nth(place).cloned()
    }

    /// As control does: whatever an earlier update came to, this one starts afresh.
    fn change_service(
        &mut self,
        view: &State,
        change: impl FnOnce(&mut Self, &mut ServiceSpec),
    ) -> Option<Wish> {
        let mut changed = Service::clone(&*self.any_service(view)?);
        change(self, Arc::make_mut(&mut changed.spec));
        changed.update_status = None;
        self.run_again(&mut changed);
        let id = changed.id;
        Some((Change::Update(Arc::new(changed)).into(), Acknowledged::Service(id)))
    }

    fn roll_back(&mut self, view: &State) -> Option<Wish> {
        let mut changed = Service::clone(&*self.any_service(view)?);
        changed.spec = changed.previous_spec.clone()?;
        let status = UpdateStatus {
            state: UpdateState::RollbackStarted,
            started_at: self.swarm_time(),
            completed_at: None,
            message: "manually requested rollback".to_owned(),
            moving: Default::default(),
        };
        changed.update_status = (!changed.spec.mode.is_job()).then_some(status);
        self.run_again(&mut changed);
        let id = changed.id;
        Some((Change::Update(Arc::new(changed)).into(), Acknowledged::Service(id)))
    }

    /// Every update of a job runs it once more.
    fn run_again(&self, service: &mut Service) {
        if let Some(job) = &mut service.job {
            job.iteration += 1;
            job.last_execution = self.swarm_time();
        }
    }

    fn remove_service(&mut self, view: &State) -> Option<Wish> {
        let id = self.any_service(view)?.id;
        Some((Change::<Service>::Remove(id, None).into(), Acknowledged::Gone(id.bits())))
    }

    fn any_node(&mut self, view: &State) -> Option<Arc<Node>> {
        let place = self.rng.below(view.nodes().len() as u64) as usize;
        view.nodes().iter().nth(place).cloned()
    }

    fn change_node(&mut self, view: &State) -> Option<Wish> {
        let mut changed = Node::clone(&*self.any_node(view)?);
        if self.rng.once_in(6) {
            // Promoted or demoted; who keeps the log is a matter of its own here.
            changed.spec.role = match changed.spec.role {
                NodeRole::Manager => NodeRole::Worker,
                NodeRole::Worker => NodeRole::Manager,
            };
        } else if self.rng.once_in(3) {
            let zone = objects::ZONES[self.rng.below(3) as usize].to_owned();
            changed.spec.annotations.labels.insert("zone".to_owned(), zone);
        } else {
            changed.spec.availability = match self.rng.below(4) {
                0 => Availability::Drain,
                1 => Availability::Pause,
                _ => Availability::Active,
            };
        }
        let id = changed.id;
        Some((Change::Update(Arc::new(changed)).into(), Acknowledged::Node(id)))
    }

    /// As `node rm --force` does, or a host that joins.
    fn add_or_remove_node(&mut self, view: &State) -> Option<Wish> {
        if self.rng.once_in(2) {
            let action = objects::node(self, false);
            let Action::Node(Change::Create(node)) = &action else { return None };
            let id = node.id;
            return Some((action, Acknowledged::Node(id)));
        }
        let node = self.any_node(view)?;
        if node.spec.role == NodeRole::Manager || view.nodes().len() <= 2 {
            return None;
        }
        Some((Change::<Node>::Remove(node.id, None).into(), Acknowledged::Gone(node.id.bits())))
    }

    fn change_network(&mut self, view: &State) -> Option<Wish> {
        if view.networks().len() < NETWORKS_MAX && !self.rng.once_in(3) {
            let action = objects::network(self, false);
            let Action::Network(Change::Create(network)) = &action else { return None };
            let id = network.id;
            return Some((action, Acknowledged::Network(id)));
        }
        let place = self.rng.below(view.networks().len() as u64) as usize;
        let network = view.networks().iter().nth(place).filter(|it| !it.spec.ingress)?;
        let id = network.id;
        Some((Change::<Network>::Remove(id, None).into(), Acknowledged::Gone(id.bits())))
    }

    /// Half of them are versions, as stacks make them, and are taken away when nothing refers to them,
    /// a rollback included; of the others any.
    fn change_secret(&mut self, view: &State) -> Option<Wish> {
        if view.secrets().len() < PAYLOADS_MAX && !self.rng.once_in(3) {
            let annotations = self.payload_name("secret");
            let data = Payload(b"content".as_slice().into());
            let spec = SecretSpec { annotations, data, template: false };
            let id = SecretId::new(self.rng.bits());
            let secret = Secret { id, meta: Meta::default(), spec };
            return Some((Change::Create(Arc::new(secret)).into(), Acknowledged::Secret(id)));
        }
        let refers = |spec: &ServiceSpec, id| {
            spec.task.container.secrets.iter().any(|it| it.secret_id == id)
        };
        let goes = |it: &&Arc<Secret>| {
            !is_version(&it.spec.annotations.name) || !any_spec(view, |spec| refers(spec, it.id))
        };
        let id = view.secrets().iter().find(goes)?.id;
        Some((Change::<Secret>::Remove(id, None).into(), Acknowledged::Gone(id.bits())))
    }

    fn change_config(&mut self, view: &State) -> Option<Wish> {
        if view.configs().len() < PAYLOADS_MAX && !self.rng.once_in(3) {
            let annotations = self.payload_name("config");
            let data = Payload(b"content".as_slice().into());
            let spec = ConfigSpec { annotations, data, template: false };
            let id = ConfigId::new(self.rng.bits());
            let config = Config { id, meta: Meta::default(), spec };
            return Some((Change::Create(Arc::new(config)).into(), Acknowledged::Config(id)));
        }
        let refers = |spec: &ServiceSpec, id| {
            spec.task.container.configs.iter().any(|it| it.config_id == id)
        };
        let goes = |it: &&Arc<Config>| {
            !is_version(&it.spec.annotations.name) || !any_spec(view, |spec| refers(spec, it.id))
        };
        let id = view.configs().iter().find(goes)?.id;
        Some((Change::<Config>::Remove(id, None).into(), Acknowledged::Gone(id.bits())))
    }

    fn payload_name(&mut self, kind: &str) -> Annotations {
        self.names += 1;
        let number = self.names;
        let version = if self.rng.once_in(2) { "." } else { "" };
        objects::named(format!("{kind}{version}{number}"))
    }

    fn change_history(&mut self, view: &State) -> Option<Wish> {
        let mut changed = Cluster::clone(&**view.cluster()?);
        changed.spec.task_history_limit = self.rng.below(6) as u32;
        Some((Change::Update(Arc::new(changed)).into(), Acknowledged::Cluster))
    }
}

/// Whether a spec that stands, or that a service may go back to, is such a one.
fn any_spec(view: &State, is: impl Fn(&ServiceSpec) -> bool) -> bool {
    let specs = view.services().iter().flat_map(|it| [Some(&it.spec), it.previous_spec.as_ref()]);
    specs.flatten().any(|spec| is(spec))
}
