//! What containers on a user's networks call one another. Pure, but for the lock on what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;
use skep_overlay_net::dns::answer::{Known, Outcome, Transport, answer};
use skep_overlay_net::dns::names::Names;
use skep_overlay_net::dns::server::Knowledge;

/// A container on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub container: String,
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// What this container alone calls others there: alias to name.
    pub links: BTreeMap<String, String>,
}

/// A network with its names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    pub name: String,
    pub subnets: Vec<IpNet>,
    pub members: Vec<Member>,
}

/// Every user's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zones(pub Vec<Zone>);

/// What one container may know.
pub struct View<'a> {
    pub zones: &'a Zones,
    pub container: &'a str,
}

impl<'a> View<'a> {
    fn mine(&self) -> impl Iterator<Item = (&'a Zone, &'a Member)> {
        let container = self.container;
        self.zones.0.iter().filter_map(move |zone| {
            let me = zone.members.iter().find(|it| it.container == container)?;
            Some((zone, me))
        })
    }

    fn on(zone: &Zone, me: &Member, name: &str) -> Option<Vec<IpAddr>> {
        let linked = me.links.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
        let name = linked.map_or(name, |(_, name)| name);
        let called = |it: &&Member| it.names.iter().any(|own| own.eq_ignore_ascii_case(name));
        let found: BTreeSet<IpAddr> =
            zone.members.iter().filter(called).flat_map(|it| it.addresses.clone()).collect();
        (!found.is_empty()).then(|| found.into_iter().collect())
    }
}

impl Names for View<'_> {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.mine().find_map(|(zone, me)| Self::on(zone, me, name)).or_else(|| {
            // `web.front`: a name on the network that is named last.
            let (name, network) = name.rsplit_once('.')?;
            let mut named = self.mine().filter(|(zone, _)| zone.name.eq_ignore_ascii_case(network));
            named.find_map(|(zone, me)| Self::on(zone, me, name))
        })
    }

    fn name_of(&self, address: IpAddr) -> Option<String> {
        self.mine().find_map(|(zone, _)| {
            let member = zone.members.iter().find(|it| it.addresses.contains(&address))?;
            Some(format!("{}.{}", member.names.first()?, zone.name))
        })
    }

    fn is_inside(&self, address: IpAddr) -> bool {
        self.mine().any(|(zone, _)| zone.subnets.iter().any(|it| it.contains(&address)))
    }
}

/// What all resolvers of a host know, each of its own container's networks.
#[derive(Debug, Default)]
pub struct Directory(RwLock<Arc<Zones>>);

impl Directory {
    pub fn set(&self, zones: Zones) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(zones);
    }

    fn zones(&self) -> Arc<Zones> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One container's part of the directory.
pub struct ContainerKnowledge {
    pub container: String,
    pub directory: Arc<Directory>,
}

impl Knowledge for ContainerKnowledge {
    fn answer(&self, question: &[u8], transport: Transport, turn: usize) -> Outcome {
        let zones = self.directory.zones();
        let view = View { zones: &zones, container: &self.container };
        answer(Known { names: &view, complete: true, turn }, question, transport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(container: &str, names: &[&str], address: &str) -> Member {
        Member {
            container: container.into(),
            names: names.iter().map(ToString::to_string).collect(),
            addresses: vec![address.parse().unwrap()],
            links: BTreeMap::new(),
        }
    }

    #[test]
    fn names_are_those_of_the_askers_networks() {
        let mut one = member("a", &["web", "www"], "10.1.0.2");
        one.links.insert("store".into(), "db".into());
        let zone = |name: &str, net: &str, members| Zone {
            name: name.into(),
            subnets: vec![net.parse().unwrap()],
            members,
        };
        let zones = Zones(vec![
            zone("front", "10.1.0.0/24", vec![one, member("b", &["db"], "10.1.0.3")]),
            zone("back", "10.2.0.0/24", vec![member("c", &["hidden"], "10.2.0.2")]),
        ]);
        let check = |container: &str, name: &str, expected: Option<&str>| {
            let view = View { zones: &zones, container };
            let found = view.addresses(name).map(|it| it[0].to_string());
            assert_eq!(found.as_deref(), expected, "{container} asks for {name}");
        };
        check("a", "WWW", Some("10.1.0.2"));
        check("a", "db", Some("10.1.0.3"));
        check("a", "db.front", Some("10.1.0.3"));
        check("a", "store", Some("10.1.0.3"));
        check("b", "store", None);
        check("a", "hidden", None);
        check("c", "hidden", Some("10.2.0.2"));
        let view = View { zones: &zones, container: "a" };
        assert_eq!(view.name_of("10.1.0.3".parse().unwrap()).as_deref(), Some("db.front"));
        assert!(view.is_inside("10.1.0.9".parse().unwrap()));
        assert!(!view.is_inside("10.2.0.2".parse().unwrap()));
    }
}
