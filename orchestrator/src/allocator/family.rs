//! Of which families a network has addresses to give.

use skep_types::{Family, Network};

/// Those that it has subnets of.
pub fn given(network: &Network) -> impl Iterator<Item = Family> + '_ {
    let stands = |family: &Family| {
        network.ipam.iter().any(|config| Family::of(config.subnet.addr()) == *family)
    };
    Family::ALL.into_iter().filter(stands)
}

/// Those that it is to have.
pub fn wanted(network: &Network) -> impl Iterator<Item = Family> {
    let both = network.spec.ipv6;
    Family::ALL.into_iter().filter(move |family| *family == Family::V4 || both)
}
