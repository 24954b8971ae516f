//! Attachments: a container that was started by hand is on a network once, has its addresses from the
//! beginning to the end, and only where the network lets it.

use std::net::IpAddr;

use skep_types::{Attachment, NetworkId, feature, validate};

use super::services::address_is_free;
use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::{AddressOwner, State};

pub fn check(state: &State, delta: &Delta<Attachment>) -> Result<(), Reason> {
    let Some(after) = &delta.after else { return Ok(()) };
    validate::attachment(&after.container_id, &after.names)?;
    match &delta.before {
        Some(before) => keeps_its_place(before, after),
        None => {
            is_let_in(state, after)?;
            addresses_fit(state, after)?;
            claims_are_free(state, after)
        }
    }
}

fn is_let_in(state: &State, attachment: &Attachment) -> Result<(), Reason> {
    let current = state.cluster().map_or(0, |cluster| cluster.feature_level);
    if current < feature::ATTACHMENTS {
        return Err(Reason::FeatureLevel { needed: feature::ATTACHMENTS, current });
    }
    state.nodes.expect(attachment.node_id)?;
    let network = state.networks.expect(attachment.network)?;
    let name = &network.spec.annotations.name;
    if !network.spec.attachable {
        return Err(Reason::NotAttachable(name.clone()));
    }
    let place = (attachment.node_id, attachment.network, &attachment.container_id[..]);
    if state.attachment_at(place).is_some() {
        let container = attachment.container_id.clone();
        return Err(Reason::Attached { container, network: name.clone() });
    }
    Ok(())
}

fn addresses_fit(state: &State, attachment: &Attachment) -> Result<(), Reason> {
    let addresses = &attachment.addresses;
    let of = |v4: bool| addresses.iter().filter(|it| it.addr().is_ipv4() == v4).count();
    if addresses.is_empty() || of(true) > 1 || of(false) > 1 {
        return Err(Reason::Addresses(attachment.container_id.clone()));
    }
    let network = state.networks.expect(attachment.network)?;
    for net in addresses {
        let within = network.ipam.iter().any(|config| config.subnet == net.trunc());
        if !within {
            let network = network.spec.annotations.name.clone();
            return Err(Reason::AddressOutside { network, address: net.addr() });
        }
    }
    Ok(())
}

/// Only names change.
fn keeps_its_place(before: &Attachment, after: &Attachment) -> Result<(), Reason> {
    let what = match () {
        () if after.node_id != before.node_id => "node",
        () if after.network != before.network => "network",
        () if after.container_id != before.container_id => "container",
        () if after.addresses != before.addresses => "addresses",
        () => return Ok(()),
    };
    Err(Reason::Fixed { kind: "attachment", id: after.id.to_string(), what })
}

/// Whether no other has its addresses.
pub fn claims_are_free(state: &State, attachment: &Attachment) -> Result<(), Reason> {
    for claim in held_addresses(attachment) {
        address_is_free(state, claim, AddressOwner::Attachment(attachment.id))?;
    }
    Ok(())
}

/// Moves its places in the indexes from `before` to `after`.
pub fn index(state: &mut State, before: Option<&Attachment>, after: Option<&Attachment>) {
    let place = |it: &Attachment| (it.node_id, it.network, it.container_id.as_str().into());
    if let Some(before) = before {
        state.attachment_places.remove(&place(before));
        for claim in held_addresses(before) {
            state.addresses.remove(&claim);
        }
    }
    if let Some(after) = after {
        state.attachment_places.insert(place(after), after.id);
        for claim in held_addresses(after) {
            state.addresses.insert(claim, AddressOwner::Attachment(after.id));
        }
    }
}

fn held_addresses(attachment: &Attachment) -> impl Iterator<Item = (NetworkId, IpAddr)> + '_ {
    attachment.addresses.iter().map(|address| (attachment.network, address.addr()))
}
