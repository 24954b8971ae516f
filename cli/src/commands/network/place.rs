//! A container's place on a network, taken and given up while it runs.

use clap::Args;
use skep_docker_api::json::{
    EndpointIpamConfig, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest,
};

use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::values::{host, integer, pairs};

#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    alias: Vec<String>,
    /// Driver options for the network
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    driver_opt: Vec<String>,
    /// Highest gw-priority provides the default gateway. Accepts positive and negative values.
    #[arg(long, value_name = "int", value_parser = integer::signed)]
    gw_priority: Option<i64>,
    /// IPv4 address (e.g., "172.30.100.104")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    ip: String,
    /// IPv6 address (e.g., "2001:db8::33")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    ip6: String,
    /// Add link to another container
    #[arg(long, value_name = "list", value_parser = host::link)]
    link: Vec<String>,
    /// Add a link-local address for the container
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    link_local_ip: Vec<String>,
    #[arg(hide = true, value_name = "NETWORK")]
    network: String,
    #[arg(hide = true, value_name = "CONTAINER")]
    container: String,
}

#[derive(Debug, Args)]
pub struct DisconnectArgs {
    /// Force the container to disconnect from a network
    #[arg(short, long)]
    force: bool,
    #[arg(hide = true, value_name = "NETWORK")]
    network: String,
    #[arg(hide = true, value_name = "CONTAINER")]
    container: String,
}

fn some(list: Vec<String>) -> Option<Vec<String>> {
    (!list.is_empty()).then_some(list)
}

pub async fn connect(session: &Session, args: ConnectArgs) -> Outcome {
    if args.driver_opt.iter().any(|pair| !pair.contains('=') || pairs::key(pair).trim().is_empty())
    {
        return Err(Failure::new("invalid key/value pair format in driver options"));
    }
    let options: Vec<String> = args
        .driver_opt
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| format!("{}={}", key.trim(), value.trim()))
        .collect();
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: args.ip,
            ipv6_address: args.ip6,
            link_local_ips: args.link_local_ip,
        }),
        links: some(args.link),
        aliases: some(args.alias),
        driver_opts: Some(pairs::map(&options)),
        gw_priority: args.gw_priority.unwrap_or(0),
        ..Default::default()
    };
    let request =
        NetworkConnectRequest { container: args.container, endpoint_config: Some(endpoint) };
    Ok(session.client.network_connect(&args.network, &request).await?)
}

pub async fn disconnect(session: &Session, args: DisconnectArgs) -> Outcome {
    let request = NetworkDisconnectRequest { container: args.container, force: args.force };
    Ok(session.client.network_disconnect(&args.network, &request).await?)
}
