//! What a connection between two hosts carries, by each way that it can take: the wire alone, a VXLAN
//! made by hand, an overlay, a virtual address, published ports.
//!
//! All ways are measured in turns, round after round, so that what else the machine does costs each
//! of them alike. A ratio is that of two ways in one round; of it, too, the median counts.

mod by_hand;
mod overlay;
mod traffic;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use self::traffic::{Server, Traffic};
use super::figures::{Figure, Unit};
use super::side::{Side, block_on};
use crate::Host;

/// As many turns as there are rounds.
const ROUNDS: usize = 10;

/// One way from a client to a server.
struct Way {
    name: &'static str,
    /// The client's network namespace.
    client: PathBuf,
    /// What the client connects to.
    to: SocketAddr,
    /// Measured beside this one.
    beside: Option<&'static str>,
}

const WIRE: &str = "the wire (veth)";
const BY_HAND: &str = "VXLAN by hand";
const OVERLAY: &str = "an overlay";

/// A host's own network namespace, as this machine names it.
fn namespace_of(host: &Host) -> Result<PathBuf> {
    Ok(format!("/proc/{}/ns/net", host.first_process()?.pid).into())
}

fn ways(side: &Side) -> Result<(Vec<Way>, Vec<Server>)> {
    let (one, two) = (side.fleet.host(1), side.fleet.host(2));
    let wire = Server::start(namespace_of(&two)?)?;
    let to = SocketAddr::new(two.address().into(), wire.port());
    let mut ways = vec![Way { name: WIRE, client: namespace_of(&one)?, to, beside: None }];
    let [client, server] = by_hand::make(&one, &two)?;
    let by_hand = Server::start(server)?;
    let to = SocketAddr::new(by_hand::SERVER.into(), by_hand.port());
    ways.push(Way { name: BY_HAND, client, to, beside: Some(WIRE) });
    let (of_swarm, server) = block_on(overlay::ways(side, &one, &two))?;
    ways.extend(of_swarm);
    Ok((ways, vec![wire, by_hand, server]))
}

/// A figure for each way, and the ratio to the way that it is measured beside.
fn figures(ways: &[Way], traffic: Traffic, side: &Side) -> Result<Vec<Figure>> {
    let mut measured = vec![Vec::with_capacity(ROUNDS); ways.len()];
    for round in 1..=ROUNDS {
        for (way, rates) in ways.iter().zip(&mut measured) {
            let rate = traffic.run(&way.client, way.to, side.run);
            rates.push(rate.with_context(|| format!("{}, round {round}", way.name))?);
        }
    }
    let rates_of = |name: &str| {
        let index = ways.iter().position(|way| way.name == name);
        index.map(|index| &measured[index])
    };
    let mut figures = Vec::new();
    for (way, rates) in ways.iter().zip(&measured) {
        let name = format!("{}, {}", way.name, traffic.word());
        figures.push(Figure::median(name, rates.clone(), traffic.unit()));
        if let Some((beside, others)) = way.beside.and_then(|it| Some((it, rates_of(it)?))) {
            let name = format!("  beside {beside}");
            let ratios = rates.iter().zip(others).map(|(rate, other)| rate / other).collect();
            figures.push(Figure::median(name, ratios, Unit::Ratio));
        }
    }
    Ok(figures)
}

pub fn measure(side: &Side) -> Result<Vec<Figure>> {
    let (ways, servers) = ways(side)?;
    let mut all = figures(&ways, Traffic::Stream, side)?;
    all.extend(figures(&ways, Traffic::Requests, side)?);
    for server in servers {
        server.end()?;
    }
    block_on(side.leave())?;
    Ok(all)
}
