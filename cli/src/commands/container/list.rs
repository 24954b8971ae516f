//! `skep ps`: the containers of a host.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};
use skep_docker_api::json::{ContainerListOptions, ContainerSummary, PortSummary, Timestamp};

use crate::commands::Session;
use crate::commands::payload::joined;
use crate::failure::Outcome;
use crate::output::human::{ago, ellipsis, local_moment, short_id, size};
use crate::output::list::{Columns, Row, Shape};
use crate::output::warn;
use crate::values::filter::{self, Filter};
use crate::values::{image, integer};

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "int", default_value = "-1", value_parser = integer::signed)]
    last: i64,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];
const COLUMNS: Columns = Columns {
    headers: HEADERS,
    table: "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
};
const SIZES: Columns = Columns {
    headers: HEADERS,
    table: "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}",
};

/// What `system df -v` shows.
pub const USAGE: Columns = Columns {
    headers: HEADERS,
    table: "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
};

pub async fn run(session: &Session, args: LsArgs) -> Outcome {
    let format = match &args.format {
        Some(format) if !format.is_empty() => {
            if args.quiet {
                warn("WARNING: Ignoring custom format, because both --format and --quiet are set.");
            }
            Some(format.clone())
        }
        _ => session.config.ps_format(),
    };
    // Sizes cost the daemon a walk over files: asked for only where they are shown.
    let shown = format.as_deref().is_some_and(|format| !args.quiet && format.contains(".Size"));
    let wanted = args.size || shown;
    let limit = if args.latest && args.last == -1 { 1 } else { args.last };
    let options = ContainerListOptions {
        all: args.all,
        limit: u64::try_from(limit).unwrap_or(0),
        size: wanted,
        filters: filter::all(&args.filter),
    };
    let containers = session.client.containers(&options).await?;
    let format = if args.quiet { None } else { format };
    let rows = containers.into_iter().map(|one| row(one, !args.no_trunc)).collect();
    let columns = if wanted { SIZES } else { COLUMNS };
    columns.show(&Shape { format, quiet: args.quiet }, rows)
}

pub fn row(container: ContainerSummary, cut: bool) -> Row {
    let created = Timestamp::from_unix_nanos(i128::from(container.created) * 1_000_000_000);
    let command = if cut { ellipsis(&container.command, 20) } else { container.command.clone() };
    let mounts: Vec<_> = container
        .mounts
        .iter()
        .map(|mount| if mount.name.is_empty() { &mount.source } else { &mount.name })
        .map(|name| if cut { ellipsis(name, 15) } else { name.clone() })
        .collect();
    let volumes = container.mounts.iter().filter(|mount| mount.driver == "local").count();
    let networks: Vec<_> = container.network_settings.networks.keys().cloned().collect();
    Row::from([
        ("Names", names(&container.names, cut).into()),
        ("Image", shown_image(&container, cut).into()),
        ("ID", if cut { short_id(&container.id) } else { container.id }.into()),
        ("Command", Value::from(format!("{command:?}").replace("\\'", "'"))),
        ("CreatedAt", local_moment(container.created).into()),
        ("RunningFor", ago(&created).into()),
        ("Ports", ports(container.ports).into()),
        ("State", container.state.into()),
        ("Status", container.status.into()),
        ("Size", sizes(container.size_rw, container.size_root_fs).into()),
        ("Labels", joined(&container.labels).into()),
        ("Mounts", mounts.join(",").into()),
        ("LocalVolumes", volumes.to_string().into()),
        ("Networks", networks.join(",").into()),
        ("Platform", json!(null)),
    ])
}

pub fn sizes(own: i64, whole: i64) -> String {
    match whole {
        1.. => format!("{} (virtual {})", size(own), size(whole)),
        _ => size(own),
    }
}

/// A name with a second slash is what another container's link calls it.
fn names(names: &[String], cut: bool) -> String {
    let bare: Vec<_> = names.iter().map(|name| name.strip_prefix('/').unwrap_or(name)).collect();
    match bare.iter().find(|name| cut && !name.contains('/')) {
        Some(own) => (*own).into(),
        None => bare.join(","),
    }
}

pub fn shown_image(container: &ContainerSummary, cut: bool) -> String {
    let given = container.image.as_str();
    if given.is_empty() {
        return "<no image>".into();
    }
    let short = short_id(&container.image_id);
    match () {
        () if cut && short == short_id(given) => short,
        () if cut && given.starts_with("sha256:") => given.into(),
        () if cut => {
            let name = image::familiar(given);
            name.split_once('@').map_or(name.as_str(), |(name, _)| name).to_owned()
        }
        () => given.into(),
    }
}

fn host_port(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Ports that follow each other are one range, where they are the same on both sides.
pub fn ports(mut ports: Vec<PortSummary>) -> String {
    ports.sort_by(|a, b| {
        (a.private_port, &a.ip, a.public_port, &a.kind).cmp(&(
            b.private_port,
            &b.ip,
            b.public_port,
            &b.kind,
        ))
    });
    let shown = |(ip, kind): &(String, String), (first, last): (u16, u16)| {
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match ip.as_str() {
            "" => format!("{range}/{kind}"),
            ip => format!("{}->{range}/{kind}", host_port(ip, &range)),
        }
    };
    let mut order: Vec<(String, String)> = Vec::new();
    let mut open: BTreeMap<(String, String), (u16, u16)> = BTreeMap::new();
    let (mut out, mut moved) = (Vec::new(), Vec::new());
    for port in ports {
        let here = port.private_port;
        if !port.ip.is_empty() && port.public_port != here {
            let outside = host_port(&port.ip, &port.public_port.to_string());
            moved.push(format!("{outside}->{here}/{}", port.kind));
            continue;
        }
        let key = (port.ip, port.kind);
        match open.get_mut(&key) {
            None => {
                order.push(key.clone());
                open.insert(key, (here, here));
            }
            Some(range) if u32::from(here) == u32::from(range.1) + 1 => range.1 = here,
            Some(range) => {
                out.push(shown(&key, *range));
                *range = (here, here);
            }
        }
    }
    out.extend(order.iter().map(|key| shown(key, open[key])));
    out.extend(moved);
    out.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, private_port: u16, public_port: u16, kind: &str) -> PortSummary {
        PortSummary { ip: ip.into(), private_port, public_port, kind: kind.into() }
    }

    #[test]
    fn ports_are_joined() {
        let shown = ports(vec![
            port("", 6379, 0, "tcp"),
            port("0.0.0.0", 80, 8080, "tcp"),
            port("::", 80, 8080, "tcp"),
            port("0.0.0.0", 1000, 1000, "udp"),
            port("0.0.0.0", 1001, 1001, "udp"),
            port("", 6380, 0, "tcp"),
        ]);
        assert_eq!(
            shown,
            "0.0.0.0:1000-1001->1000-1001/udp, 6379-6380/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
        );
    }

    #[test]
    fn names_without_links() {
        let all = ["/other/db".to_owned(), "/db".to_owned()];
        assert_eq!(names(&all, true), "db");
        assert_eq!(names(&all, false), "other/db,db");
    }
}
