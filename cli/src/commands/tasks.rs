//! Lists of tasks, which `node ps`, `service ps` and `stack ps` share.

use std::collections::HashMap;

use clap::Args;
use skep_docker_api::Client;
use skep_docker_api::json::Task;

use super::Session;
use crate::failure::Outcome;
use crate::output::human::{ago, capital, ellipsis, short_id};
use crate::output::list::{Columns, Row, Shape};
use crate::output::natural;
use crate::values::filter::Filter;
use crate::values::image;

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    pub filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    pub format: Option<String>,
    /// Do not map IDs to Names
    #[arg(long)]
    pub no_resolve: bool,
    /// Do not truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Only display task IDs
    #[arg(short, long)]
    pub quiet: bool,
}

const COLUMNS: Columns = Columns {
    headers: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Image", "IMAGE"),
        ("Node", "NODE"),
        ("DesiredState", "DESIRED STATE"),
        ("CurrentState", "CURRENT STATE"),
        ("Error", "ERROR"),
        ("Ports", "PORTS"),
    ],
    table: "table {{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}\t{{.Ports}}",
};

/// How much of an error fits in a table (Docker's value).
const ERROR_WIDTH: usize = 30;

/// Ids to names, each asked for once.
pub struct Names<'a> {
    client: &'a Client,
    resolve: bool,
    nodes: HashMap<String, String>,
    services: HashMap<String, String>,
}

impl<'a> Names<'a> {
    pub fn new(client: &'a Client, resolve: bool) -> Self {
        Self { client, resolve, nodes: HashMap::new(), services: HashMap::new() }
    }

    pub async fn node(&mut self, id: &str) -> String {
        if !self.resolve || id.is_empty() {
            return id.into();
        }
        if let Some(name) = self.nodes.get(id) {
            return name.clone();
        }
        // A node that is gone keeps its id: its tasks are still worth showing.
        let name = match self.client.node(id).await {
            Ok(node) if !node.spec.name.is_empty() => node.spec.name,
            Ok(node) if !node.description.hostname.is_empty() => node.description.hostname,
            _ => id.into(),
        };
        self.nodes.insert(id.into(), name.clone());
        name
    }

    async fn service(&mut self, id: &str) -> String {
        if !self.resolve {
            return id.into();
        }
        if let Some(name) = self.services.get(id) {
            return name.clone();
        }
        let name = match self.client.service(id, false).await {
            Ok(service) if !service.spec.name.is_empty() => service.spec.name,
            _ => id.into(),
        };
        self.services.insert(id.into(), name.clone());
        name
    }
}

pub async fn show(session: &Session, tasks: Vec<Task>, args: &ListArgs) -> Outcome {
    let format = args.format.as_deref().unwrap_or_default();
    let table = !args.quiet && (format.is_empty() || format.starts_with("table"));
    let mut names = Names::new(&session.client, !args.no_resolve);
    let mut named = Vec::with_capacity(tasks.len());
    for task in tasks {
        let service = names.service(&task.service_id).await;
        let name = match task.slot {
            0 => format!("{service}.{}", task.node_id),
            slot => format!("{service}.{slot}"),
        };
        named.push((name, task));
    }
    // Tasks of a slot stand together, the newest first; those it replaced are indented below it.
    named.sort_by(|(a, x), (b, y)| {
        natural::compare(a, b)
            .then_with(|| y.created_at.unix_nanos().cmp(&x.created_at.unix_nanos()))
    });
    let mut rows = Vec::with_capacity(named.len());
    let mut previous = String::new();
    for (name, task) in named {
        let shown = match table && name == previous {
            true => format!(" \\_ {name}"),
            false => name.clone(),
        };
        previous = name;
        let node = names.node(&task.node_id).await;
        rows.push(row(task, shown, node, !args.no_trunc));
    }
    COLUMNS.show(&Shape { format: args.format.clone(), quiet: args.quiet }, rows)
}

fn row(task: Task, name: String, node: String, cut: bool) -> Row {
    let image = task.spec.container_spec.map(|spec| spec.image).unwrap_or_default();
    let status = &task.status;
    let error = match status.err.as_str() {
        "" => String::new(),
        text if cut => format!("\"{}\"", ellipsis(text, ERROR_WIDTH)),
        text => format!("\"{text}\""),
    };
    let ports: Vec<_> = status
        .port_status
        .ports
        .iter()
        .map(|port| format!("*:{}->{}/{}", port.published_port, port.target_port, port.protocol))
        .collect();
    let state = format!("{} {}", capital(&status.state), ago(&status.timestamp).to_lowercase());
    Row::from([
        ("ID", if cut { short_id(&task.id) } else { task.id.clone() }.into()),
        ("Name", name.into()),
        ("Image", if cut { image::familiar(&image) } else { image }.into()),
        ("Node", node.into()),
        ("DesiredState", capital(&task.desired_state).into()),
        ("CurrentState", state.trim_end().into()),
        ("Error", error.into()),
        ("Ports", ports.join(",").into()),
    ])
}
