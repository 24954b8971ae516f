//! A netlink socket in a namespace, and what links it has.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{
    InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use skep_types::Family;
use tokio::task::JoinHandle;

use crate::{KernelError, Namespace};

/// A connection to the kernel, closed when dropped.
#[derive(Debug)]
pub struct Netlink {
    pub handle: Handle,
    pub place: Namespace,
    connection: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Netlink {
    pub async fn open(place: &Namespace) -> Result<Self, KernelError> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, handle, _) = place
            .run(move || {
                let _guard = runtime.enter();
                rtnetlink::new_connection()
            })
            .await
            .and_then(|result| result)
            .map_err(KernelError::io(format!("open a netlink socket in {place}")))?;
        let connection = tokio::spawn(connection);
        Ok(Self { handle, place: place.clone(), connection })
    }

    /// Whether it still answers: it may have ended by an error of the socket.
    pub fn is_open(&self) -> bool {
        !self.connection.is_finished()
    }

    /// The link of that name, if there is one.
    pub async fn find(&self, name: &str) -> Result<Option<LinkMessage>, KernelError> {
        let mut links = self.handle.link().get().match_name(name).execute();
        match links.try_next().await {
            Err(error) if is(&error, libc::ENODEV) => Ok(None),
            other => other.map_err(KernelError::netlink(self.step("find link", name))),
        }
    }

    /// The index of a link that must be there.
    pub async fn index(&self, name: &str) -> Result<u32, KernelError> {
        let link = self.find(name).await?.ok_or_else(|| KernelError::LinkMissing {
            link: name.to_owned(),
            place: self.place.to_string(),
        })?;
        Ok(link.header.index)
    }

    pub async fn links(&self) -> Result<Vec<LinkMessage>, KernelError> {
        let links = self.handle.link().get().execute().try_collect();
        links.await.map_err(KernelError::netlink(format!("list links in {}", self.place)))
    }

    pub async fn add(&self, name: &str, message: LinkMessage) -> Result<(), KernelError> {
        let request = self.handle.link().add(message);
        request.execute().await.map_err(KernelError::netlink(self.step("add link", name)))
    }

    /// Deletes a link; one that is not there is no error.
    pub async fn delete(&self, name: &str) -> Result<(), KernelError> {
        let Some(link) = self.find(name).await? else { return Ok(()) };
        match self.handle.link().del(link.header.index).execute().await {
            Err(error) if is(&error, libc::ENODEV) => Ok(()),
            other => other.map_err(KernelError::netlink(self.step("delete link", name))),
        }
    }

    pub async fn up(&self, name: &str) -> Result<(), KernelError> {
        self.set(name, LinkUnspec::new_with_name(name).up().build()).await
    }

    /// Gives a link that is down another name.
    pub async fn rename(&self, name: &str, to: &str) -> Result<(), KernelError> {
        let index = self.index(name).await?;
        let message = LinkUnspec::new_with_index(index).name(to.to_owned()).build();
        self.set(name, message).await
    }

    /// Makes a link a port of a bridge.
    pub async fn join(&self, name: &str, bridge: &str) -> Result<(), KernelError> {
        let bridge = self.index(bridge).await?;
        self.set(name, LinkUnspec::new_with_name(name).controller(bridge).build()).await
    }

    /// Lets a bridge's port send back where it came from. A container that reaches itself through
    /// a translation needs it on hosts whose bridges call packet rules (`br_netfilter`).
    pub async fn reflect(&self, name: &str) -> Result<(), KernelError> {
        self.set_port(name, vec![InfoBridgePort::HairpinMode(true)]).await
    }

    /// Changes settings of a bridge's port.
    pub async fn set_port(
        &self,
        name: &str,
        settings: Vec<InfoBridgePort>,
    ) -> Result<(), KernelError> {
        let mut message = LinkUnspec::new_with_name(name).build();
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(settings)),
        ]));
        // Ports' settings are heeded in this message alone (`RTM_NEWLINK`).
        let request = self.handle.link().change(message);
        request.execute().await.map_err(KernelError::netlink(self.step("change link", name)))
    }

    async fn set(&self, name: &str, message: LinkMessage) -> Result<(), KernelError> {
        let request = self.handle.link().set(message);
        request.execute().await.map_err(KernelError::netlink(self.step("change link", name)))
    }

    pub async fn add_address(&self, name: &str, address: IpNet) -> Result<(), KernelError> {
        let index = self.index(name).await?;
        let mut request = self.handle.address().add(index, address.addr(), address.prefix_len());
        // The managers see to it that nobody else has it; detection would keep an IPv6 address
        // from use for a second or two.
        let flags = AddressAttribute::Flags(AddressFlags::Nodad);
        request.message_mut().attributes.push(flags);
        let step = || format!("add address {address} to link {name} in {}", self.place);
        request.replace().execute().await.map_err(|error| KernelError::netlink(step())(error))
    }

    /// Each address with the index of its link, without those the kernel gives by itself.
    pub async fn addresses(&self) -> Result<Vec<(u32, IpNet)>, KernelError> {
        let step = format!("list addresses in {}", self.place);
        let messages: Vec<_> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(KernelError::netlink(step))?;
        let address = |message: &netlink_packet_route::address::AddressMessage| {
            let ip = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(ip) => Some(*ip),
                _ => None,
            })?;
            let own = !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
            let net = IpNet::new(ip, message.header.prefix_len).ok()?;
            own.then_some((message.header.index, net))
        };
        Ok(messages.iter().filter_map(address).collect())
    }

    /// Where packets go that no other route takes, in the family of the gateway; what stood is
    /// replaced.
    pub async fn set_default_route(&self, name: &str, gateway: IpAddr) -> Result<(), KernelError> {
        let index = self.index(name).await?;
        let route = match gateway {
            IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
        };
        let step = self.step("route by default through", name);
        let request = self.handle.route().add(route).replace();
        request.execute().await.map_err(KernelError::netlink(step))
    }

    /// Takes all default routes of a family away; none is no error.
    pub async fn remove_default_routes(&self, family: Family) -> Result<(), KernelError> {
        let step = || format!("remove the default route in {}", self.place);
        for route in self.routes(family).await? {
            if route.header.destination_prefix_length == 0
                && route.header.kind == RouteType::Unicast
            {
                let deleted = self.handle.route().del(route).execute().await;
                gone_is_fine(deleted).map_err(|error| KernelError::netlink(step())(error))?;
            }
        }
        Ok(())
    }

    /// The networks that this namespace has routes to, but for the default one.
    pub async fn routed_networks(&self) -> Result<Vec<IpNet>, KernelError> {
        let mut networks = Vec::new();
        for family in Family::ALL {
            for route in self.routes(family).await? {
                networks.extend(destination(&route));
            }
        }
        Ok(networks)
    }

    /// Subnets that somebody said are reached without a router, by the index of the link.
    pub async fn on_link_routes(&self) -> Result<BTreeMap<u32, BTreeSet<IpNet>>, KernelError> {
        let mut found: BTreeMap<u32, BTreeSet<IpNet>> = BTreeMap::new();
        for family in Family::ALL {
            for route in self.routes(family).await? {
                let by_kernel = route.header.protocol == RouteProtocol::Kernel;
                let has_router = route.attributes.iter().any(is_router);
                if let (false, false, Some(to), Some(link)) =
                    (by_kernel, has_router, destination(&route), output(&route))
                {
                    found.entry(link).or_default().insert(to);
                }
            }
        }
        Ok(found)
    }

    /// The routes of the main table.
    pub async fn routes(&self, family: Family) -> Result<Vec<RouteMessage>, KernelError> {
        let wanted = match family {
            Family::V4 => RouteMessageBuilder::<Ipv4Addr>::new().build(),
            Family::V6 => RouteMessageBuilder::<Ipv6Addr>::new().build(),
        };
        let step = format!("list routes in {}", self.place);
        let routes: Vec<RouteMessage> = self
            .handle
            .route()
            .get(wanted)
            .execute()
            .try_collect()
            .await
            .map_err(KernelError::netlink(step))?;
        let main = |it: &RouteMessage| it.header.table == RouteHeader::RT_TABLE_MAIN;
        Ok(routes.into_iter().filter(main).collect())
    }

    fn step(&self, verb: &str, link: &str) -> String {
        format!("{verb} {link} in {}", self.place)
    }
}

/// Where a route leads; none for a default route.
fn destination(route: &RouteMessage) -> Option<IpNet> {
    let to = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(to)) => Some(IpAddr::V4(*to)),
        RouteAttribute::Destination(RouteAddress::Inet6(to)) => Some(IpAddr::V6(*to)),
        _ => None,
    })?;
    IpNet::new(to, route.header.destination_prefix_length).ok()
}

fn is_router(attribute: &RouteAttribute) -> bool {
    matches!(attribute, RouteAttribute::Gateway(_) | RouteAttribute::Via(_))
}

/// The link that a route leads by.
pub fn output(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

/// Whether the kernel answered with this error.
pub fn is(error: &rtnetlink::Error, errno: i32) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message)
        if message.code.is_some_and(|code| code.get().abs() == errno))
}

/// A link's name.
pub fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

pub fn is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up)
}

/// Turns a missing object into success: it is to be gone, and is.
pub fn gone_is_fine(result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    match result {
        Err(error)
            if [libc::ENOENT, libc::ENODEV, libc::ESRCH].iter().any(|errno| is(&error, *errno)) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// For results of threads that answer with an `io::Error` of their own.
pub fn flatten<T>(result: io::Result<io::Result<T>>) -> io::Result<T> {
    result.and_then(|inner| inner)
}
