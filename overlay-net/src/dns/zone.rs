//! The names of one network: what is told of it, and an index of it, so that no question visits
//! all that are there. Pure.
//!
//! Networks of the swarm and bridges of one host are told in the same words.
//!
//! **Invariant:** the index says what the members and services say, after every change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use skep_types::service::Protocol;

/// A task's or a container's id, or a service's.
pub type Id = u128;

/// What a network itself is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    pub name: String,
    pub subnets: Vec<IpNet>,
    /// Nothing has a name there: the ingress network, as in Docker.
    pub nameless: bool,
}

/// A task or a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Its own name first, then its aliases.
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// None for a container outside the swarm.
    pub service: Option<Id>,
    /// Whether it is to be found: a task that is not healthy yet, or is about to stop, is known and
    /// has no address.
    pub serving: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub aliases: Vec<String>,
    /// None: its name is answered by its tasks' addresses.
    pub vips: Vec<IpAddr>,
    pub ports: Vec<Port>,
}

/// A port of a service's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// May be empty.
    pub name: String,
    pub protocol: Protocol,
    pub number: u16,
}

impl Port {
    fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || name.parse() == Ok(self.number)
    }
}

/// A task that serves a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    pub name: &'a str,
    pub addresses: &'a [IpAddr],
    pub port: u16,
}

/// What is told of a network, on top of what was known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    pub head: Option<Head>,
    pub members: BTreeMap<Id, Member>,
    pub members_gone: BTreeSet<Id>,
    pub services: BTreeMap<Id, Service>,
    pub services_gone: BTreeSet<Id>,
}

impl Change {
    /// Both as one: this, and after it what came later.
    pub fn then(&mut self, later: Self) {
        self.head = later.head.or(self.head.take());
        for id in &later.members_gone {
            self.members.remove(id);
        }
        for id in &later.services_gone {
            self.services.remove(id);
        }
        // What is gone and there is taken away first.
        self.members_gone.extend(later.members_gone);
        self.services_gone.extend(later.services_gone);
        self.members.extend(later.members);
        self.services.extend(later.services);
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// All that is told of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub head: Head,
    pub members: BTreeMap<Id, Member>,
    pub services: BTreeMap<Id, Service>,
}

impl Told {
    pub fn take_in(&mut self, change: Change) {
        if let Some(head) = change.head {
            self.head = head;
        }
        for id in &change.members_gone {
            self.members.remove(id);
        }
        self.members.extend(change.members);
        for id in &change.services_gone {
            self.services.remove(id);
        }
        self.services.extend(change.services);
    }

    /// What makes this of what was before.
    pub fn since(&self, before: &Self) -> Change {
        Change {
            head: (self.head != before.head).then(|| self.head.clone()),
            members: differing(&self.members, &before.members),
            members_gone: lacking(&before.members, &self.members),
            services: differing(&self.services, &before.services),
            services_gone: lacking(&before.services, &self.services),
        }
    }
}

fn differing<T: Clone + PartialEq>(
    now: &BTreeMap<Id, T>,
    before: &BTreeMap<Id, T>,
) -> BTreeMap<Id, T> {
    let changed = now.iter().filter(|(id, it)| before.get(id) != Some(it));
    changed.map(|(id, it)| (*id, it.clone())).collect()
}

fn lacking<T>(before: &BTreeMap<Id, T>, now: &BTreeMap<Id, T>) -> BTreeSet<Id> {
    before.keys().filter(|id| !now.contains_key(id)).copied().collect()
}

/// Who is called by a name, or has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Service(Id),
    Member(Id),
}

/// A network with its index.
#[derive(Debug, Default)]
pub struct Zone {
    told: Told,
    /// By names in lower case.
    by_name: HashMap<Box<str>, Vec<Named>>,
    by_address: HashMap<IpAddr, Vec<Named>>,
    /// Each service's tasks that serve, in order.
    serving: HashMap<Id, Vec<Id>>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// At most so many addresses, beginning anew where the last question's ended, so that clients
    /// that take the first one spread.
    pub most: usize,
    pub turn: usize,
}

impl Zone {
    pub fn head(&self) -> &Head {
        &self.told.head
    }

    pub fn told(&self) -> &Told {
        &self.told
    }

    pub fn take_in(&mut self, change: Change) {
        if let Some(head) = change.head {
            self.told.head = head;
        }
        for id in &change.members_gone {
            self.remove_member(*id);
        }
        for (id, member) in change.members {
            self.remove_member(id);
            self.index_member(id, &member);
            self.told.members.insert(id, member);
        }
        for id in &change.services_gone {
            self.remove_service(*id);
        }
        for (id, service) in change.services {
            self.remove_service(id);
            for name in names_of(&service) {
                add(&mut self.by_name, lower(name), Named::Service(id));
            }
            for vip in &service.vips {
                add(&mut self.by_address, *vip, Named::Service(id));
            }
            self.told.services.insert(id, service);
        }
    }

    fn index_member(&mut self, id: Id, member: &Member) {
        for name in &member.names {
            add(&mut self.by_name, lower(name), Named::Member(id));
        }
        for address in &member.addresses {
            add(&mut self.by_address, *address, Named::Member(id));
        }
        if let (Some(service), true) = (member.service, member.serving) {
            let serving = self.serving.entry(service).or_default();
            // Told in the order of ids, so that this is nearly always the end.
            if let Err(at) = serving.binary_search(&id) {
                serving.insert(at, id);
            }
        }
    }

    fn remove_member(&mut self, id: Id) {
        let Some(member) = self.told.members.remove(&id) else { return };
        for name in &member.names {
            take(&mut self.by_name, &*lower(name), Named::Member(id));
        }
        for address in &member.addresses {
            take(&mut self.by_address, address, Named::Member(id));
        }
        if let Some(service) = member.service
            && let Some(serving) = self.serving.get_mut(&service)
        {
            if let Ok(at) = serving.binary_search(&id) {
                serving.remove(at);
            }
            if serving.is_empty() {
                self.serving.remove(&service);
            }
        }
    }

    fn remove_service(&mut self, id: Id) {
        let Some(service) = self.told.services.remove(&id) else { return };
        for name in names_of(&service) {
            take(&mut self.by_name, &*lower(name), Named::Service(id));
        }
        for vip in &service.vips {
            take(&mut self.by_address, vip, Named::Service(id));
        }
    }

    /// The addresses of a name in lower case; None if it is not known here. A service without a
    /// task that serves is known and has none.
    pub fn addresses(&self, name: &str, wanted: Wanted) -> Option<Vec<IpAddr>> {
        let mut found = Found { wanted, addresses: Vec::new() };
        let mut known = false;
        for named in self.by_name.get(name).into_iter().flatten() {
            known = true;
            match named {
                Named::Service(id) => match self.told.services.get(id) {
                    Some(service) if !service.vips.is_empty() => {
                        found.addresses.extend(&service.vips);
                    }
                    _ => self.tasks_of(*id, &mut found),
                },
                Named::Member(id) => {
                    let member = self.told.members.get(id).filter(|it| it.serving);
                    found.addresses.extend(member.into_iter().flat_map(|it| &it.addresses));
                }
            }
        }
        if let Some(service) = name.strip_prefix(TASKS) {
            for id in self.services_called(service) {
                known = true;
                self.tasks_of(id, &mut found);
            }
        }
        known.then_some(found.addresses)
    }

    fn services_called<'a>(&'a self, name: &str) -> impl Iterator<Item = Id> + use<'a> {
        let named = self.by_name.get(name).into_iter().flatten();
        named.filter_map(|it| match it {
            Named::Service(id) => Some(*id),
            Named::Member(_) => None,
        })
    }

    fn tasks_of(&self, service: Id, found: &mut Found) {
        let members = self.serving(service, found.wanted);
        found.addresses.extend(members.flat_map(|it| &it.addresses));
    }

    /// A service's tasks that serve, in turns.
    fn serving(&self, service: Id, wanted: Wanted) -> impl Iterator<Item = &Member> {
        let tasks = self.serving.get(&service).map(Vec::as_slice).unwrap_or_default();
        let begin = wanted.turn.checked_rem(tasks.len()).unwrap_or_default();
        let tasks = tasks[begin..].iter().chain(&tasks[..begin]).take(wanted.most);
        tasks.filter_map(|id| self.told.members.get(id))
    }

    /// The tasks that serve a port, by its name or number, of a service that is called so in lower case.
    /// None if there is no such service here, none in all if it has no such port.
    pub fn targets<'a>(
        &'a self,
        service: &str,
        port: &str,
        protocol: Protocol,
        wanted: Wanted,
    ) -> Option<Option<Vec<Target<'a>>>> {
        let mut known = false;
        let mut found = None;
        for id in self.services_called(service) {
            known = true;
            let ports = self.told.services.get(&id).into_iter().flat_map(|it| &it.ports);
            let mut called = ports.filter(|it| it.protocol == protocol && it.is_called(port));
            let Some(port) = called.next() else { continue };
            let target = |member: &'a Member| {
                let (name, addresses) = (member.names.first()?, &member.addresses);
                Some(Target { name, addresses, port: port.number })
            };
            let all: &mut Vec<Target<'a>> = found.get_or_insert_default();
            all.extend(self.serving(id, wanted).filter_map(target));
        }
        known.then_some(found)
    }

    /// The name of an address, with the network's; None if it is nobody's that is to be found.
    pub fn name_of(&self, address: IpAddr) -> Option<String> {
        let of = |named: &Named| match named {
            Named::Member(id) => {
                let member = self.told.members.get(id).filter(|it| it.serving)?;
                member.names.first()
            }
            Named::Service(id) => self.told.services.get(id).map(|it| &it.name),
        };
        let name = self.by_address.get(&address)?.iter().find_map(of)?;
        Some(format!("{name}.{}", self.told.head.name))
    }

    /// Whether an address is of this network, so that nobody else is to be asked about it.
    pub fn is_inside(&self, address: IpAddr) -> bool {
        self.told.head.subnets.iter().any(|it| it.contains(&address))
    }
}

/// The prefix that asks for a service's tasks rather than its virtual address, as in Docker.
const TASKS: &str = "tasks.";

struct Found {
    wanted: Wanted,
    addresses: Vec<IpAddr>,
}

fn names_of(service: &Service) -> impl Iterator<Item = &String> {
    std::iter::once(&service.name).chain(&service.aliases)
}

fn lower(name: &str) -> Box<str> {
    name.to_ascii_lowercase().into()
}

fn add<K: std::hash::Hash + Eq>(index: &mut HashMap<K, Vec<Named>>, key: K, named: Named) {
    let all = index.entry(key).or_default();
    if let Err(at) = all.binary_search(&named) {
        all.insert(at, named);
    }
}

fn take<K, Q>(index: &mut HashMap<K, Vec<Named>>, key: &Q, named: Named)
where
    K: std::hash::Hash + Eq + std::borrow::Borrow<Q>,
    Q: std::hash::Hash + Eq + ?Sized,
{
    let Some(all) = index.get_mut(key) else { return };
    if let Ok(at) = all.binary_search(&named) {
        all.remove(at);
    }
    if all.is_empty() {
        index.remove(key);
    }
}
