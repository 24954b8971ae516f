//! Numbers that must be unique in the swarm: VXLAN ids, subnets, addresses, published ports.
//!
//! What is allocated is what the objects say. The [`Books`] only tell where to seek what is free; a
//! new leader can hand nothing out twice, because `apply` refuses it.

mod addresses;
mod attachments;
mod book;
mod books;
mod family;
mod networks;
mod services;
mod tasks;

pub use attachments::{NoAddress, addresses as attachment_addresses};
pub use books::Books;
pub use networks::allocate as networks;
pub use services::allocate as services;
pub use tasks::allocate as tasks;

use skep_types::Network;

pub(crate) fn is_allocated(network: &Network) -> bool {
    let has = |family| family::given(network).any(|it| it == family);
    network.vni.is_some() && !network.ipam.is_empty() && family::wanted(network).all(has)
}
