//! Lists of services, which `service ls` and `stack services` share.

use clap::Args;
use skep_docker_api::json::{PortConfig, Service};

use crate::commands::Session;
use crate::failure::Outcome;
use crate::output::human::short_id;
use crate::output::list::{Columns, Row, Shape};
use crate::output::natural;
use crate::values::filter::{self, Filter};
use crate::values::image;

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    pub filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    pub format: Option<String>,
    /// Only display IDs
    #[arg(short, long)]
    pub quiet: bool,
}

const COLUMNS: Columns = Columns {
    headers: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Mode", "MODE"),
        ("Replicas", "REPLICAS"),
        ("Image", "IMAGE"),
        ("Ports", "PORTS"),
    ],
    table: "table {{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}",
};

pub async fn run(session: &Session, args: LsArgs) -> Outcome {
    let services = session.client.services(&filter::all(&args.filter), !args.quiet).await?;
    show(services, Shape { format: args.format, quiet: args.quiet })
}

pub fn show(mut services: Vec<Service>, shape: Shape) -> Outcome {
    services.sort_by(|a, b| natural::compare(&a.spec.name, &b.spec.name));
    COLUMNS.show(&shape, services.into_iter().map(row).collect())
}

fn mode(service: &Service) -> &'static str {
    let mode = &service.spec.mode;
    match () {
        () if mode.global.is_some() => "global",
        () if mode.replicated.is_some() => "replicated",
        () if mode.replicated_job.is_some() => "replicated job",
        () if mode.global_job.is_some() => "global job",
        () => "",
    }
}

fn replicas(service: &Service) -> String {
    let status = service.service_status.clone().unwrap_or_default();
    let (running, desired) = (status.running_tasks, status.desired_tasks);
    let completed = status.completed_tasks;
    let mode = &service.spec.mode;
    if let Some(job) = &mode.replicated_job {
        let total = job.total_completions.unwrap_or(1);
        return format!("{running}/{desired} ({completed}/{total} completed)");
    }
    if mode.global_job.is_some() {
        return format!("{running}/{desired} ({completed}/{} completed)", desired + completed);
    }
    let placement = service.spec.task_template.placement.as_ref();
    match placement.map(|placement| placement.max_replicas) {
        Some(most) if most > 0 && mode.replicated.is_some() => {
            format!("{running}/{desired} (max {most} per node)")
        }
        _ => format!("{running}/{desired}"),
    }
}

fn row(service: Service) -> Row {
    let container = service.spec.task_template.container_spec.as_ref();
    let image = container.map(|container| image::familiar(&container.image)).unwrap_or_default();
    Row::from([
        ("ID", short_id(&service.id).into()),
        ("Mode", mode(&service).into()),
        ("Replicas", replicas(&service).into()),
        ("Image", image.into()),
        ("Ports", ports(service.endpoint.ports).into()),
        ("Name", service.spec.name.into()),
    ])
}

/// Ports that follow each other are one range, on one side or on both.
fn ports(mut ports: Vec<PortConfig>) -> String {
    struct Range {
        published: (u32, u32),
        target: (u32, u32),
        protocol: String,
    }
    ports.sort_by(|a, b| (&a.protocol, a.published_port).cmp(&(&b.protocol, b.published_port)));
    let mut ranges: Vec<Range> = Vec::new();
    for port in ports.into_iter().filter(|port| port.publish_mode == "ingress") {
        let follows = ranges.last().is_some_and(|last| {
            let spread = last.target.0 != last.target.1;
            last.protocol == port.protocol
                && port.published_port.wrapping_sub(last.published.1) <= 1
                && port.target_port.wrapping_sub(last.target.1) <= 1
                && !(spread && port.target_port <= last.target.1)
        });
        match ranges.last_mut().filter(|_| follows) {
            Some(last) => {
                last.published.1 = port.published_port;
                last.target.1 = port.target_port;
            }
            None => ranges.push(Range {
                published: (port.published_port, port.published_port),
                target: (port.target_port, port.target_port),
                protocol: port.protocol,
            }),
        }
    }
    let span = |(first, last): (u32, u32)| match last > first {
        true => format!("{first}-{last}"),
        false => first.to_string(),
    };
    let shown: Vec<_> = ranges
        .into_iter()
        .filter(|range| range.published.0 > 0)
        .map(|range| {
            format!("*:{}->{}/{}", span(range.published), span(range.target), range.protocol)
        })
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_joined() {
        let port = |published_port, target_port| PortConfig {
            protocol: "tcp".into(),
            publish_mode: "ingress".into(),
            published_port,
            target_port,
            ..Default::default()
        };
        let shown = |list: &[(u32, u32)]| ports(list.iter().map(|(p, t)| port(*p, *t)).collect());
        assert_eq!(shown(&[(80, 80), (81, 81)]), "*:80-81->80-81/tcp");
        assert_eq!(shown(&[(80, 80), (81, 80)]), "*:80-81->80/tcp");
        assert_eq!(shown(&[(80, 80), (81, 81), (82, 80)]), "*:80-81->80-81/tcp, *:82->80/tcp");
        assert_eq!(shown(&[(8080, 80), (443, 443)]), "*:443->443/tcp, *:8080->80/tcp");
    }
}
