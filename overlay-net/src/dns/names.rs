//! What a name stands for, for one asker on the networks that it is on. Pure.
//!
//! **Invariant:** nothing outside the given networks is ever told.

use std::net::IpAddr;

use skep_types::service::Protocol;

use super::zone::{Target, Wanted, Zone};

/// A network that an asker is on, and what it alone calls others there: alias and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Which network.
    pub zone: String,
    pub links: Vec<(String, String)>,
}

/// The networks that an asker may ask about, in the order of its interfaces.
#[derive(Debug, Clone, Default)]
pub struct View<'a>(pub Vec<(&'a Zone, &'a Place)>);

impl<'a> View<'a> {
    /// The addresses of a name, in any case; None if no network knows it.
    pub fn addresses(&self, name: &str, wanted: Wanted) -> Option<Vec<IpAddr>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let here = self.named().find_map(|(zone, at)| on(zone, at, &name, wanted));
        here.or_else(|| {
            // `web.front`: a name on the network that is named last.
            let (name, network) = name.rsplit_once('.')?;
            let mut qualified =
                self.named().filter(|(zone, _)| zone.head().name.eq_ignore_ascii_case(network));
            qualified.find_map(|(zone, at)| on(zone, at, name, wanted))
        })
    }

    /// The tasks that serve a service's port, as [`Zone::targets`], the service with its network too.
    pub fn targets(
        &self,
        service: &str,
        port: &str,
        protocol: Protocol,
        wanted: Wanted,
    ) -> Option<Option<Vec<Target<'a>>>> {
        let service = service.to_ascii_lowercase();
        let on = |zone: &'a Zone, service: &str| zone.targets(service, port, protocol, wanted);
        self.named().find_map(|(zone, _)| on(zone, &service)).or_else(|| {
            let (service, network) = service.rsplit_once('.')?;
            let mut qualified =
                self.named().filter(|(zone, _)| zone.head().name.eq_ignore_ascii_case(network));
            qualified.find_map(|(zone, _)| on(zone, service))
        })
    }

    /// The name of an address, with its network's; None if it is nobody's on these networks.
    pub fn name_of(&self, address: IpAddr) -> Option<String> {
        self.named().find_map(|(zone, _)| zone.name_of(address))
    }

    /// Whether an address is one of these networks', so that nobody else is to be asked about it.
    pub fn is_inside(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(zone, _)| zone.is_inside(address))
    }

    fn named(&self) -> impl Iterator<Item = (&'a Zone, &'a Place)> {
        self.0.iter().copied().filter(|(zone, _)| !zone.head().nameless)
    }
}

fn on(zone: &Zone, at: &Place, name: &str, wanted: Wanted) -> Option<Vec<IpAddr>> {
    let linked = at.links.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
    match linked {
        Some((_, name)) => zone.addresses(&name.to_ascii_lowercase(), wanted),
        None => zone.addresses(name, wanted),
    }
}
