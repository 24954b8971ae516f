//! `skep secret` and `skep config`: named bytes that services read. They are alike but for what may be shown of them.
//!
//! Invariant: a secret's bytes go to the daemon and nowhere else.

use std::io::Read;

use base64::Engine as _;
use clap::{Args, Subcommand};
use skep_docker_api::json::{Config, ConfigSpec, Driver, Map, Secret, SecretSpec, Timestamp};

use super::Session;
use crate::failure::{Failure, Outcome};
use crate::output::human::{ago, moment};
use crate::output::list::{Columns, Row, Shape};
use crate::output::{inspect, line, natural, print};
use crate::values::filter::{self, Filter};
use crate::values::pairs;

#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Create a secret from a file or STDIN as content
    #[command(override_usage = "skep secret create [OPTIONS] SECRET [file|-]")]
    Create(SecretCreateArgs),
    /// Display detailed information on one or more secrets
    #[command(override_usage = "skep secret inspect [OPTIONS] SECRET [SECRET...]")]
    Inspect(InspectArgs),
    /// List secrets
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Remove one or more secrets
    #[command(visible_alias = "remove", override_usage = "skep secret rm SECRET [SECRET...]")]
    Rm(Names),
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Create a config from a file or STDIN
    #[command(override_usage = "skep config create [OPTIONS] CONFIG file|-")]
    Create(ConfigCreateArgs),
    /// Display detailed information on one or more configs
    #[command(override_usage = "skep config inspect [OPTIONS] CONFIG [CONFIG...]")]
    Inspect(InspectArgs),
    /// List configs
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Remove one or more configs
    #[command(visible_alias = "remove", override_usage = "skep config rm CONFIG [CONFIG...]")]
    Rm(Names),
}

#[derive(Debug, Args)]
pub struct SecretCreateArgs {
    /// Secret driver
    #[arg(short, long, value_name = "string")]
    driver: Option<String>,
    /// Secret labels
    #[arg(short, long, value_name = "list")]
    label: Vec<String>,
    /// Template driver
    #[arg(long, value_name = "string")]
    template_driver: Option<String>,
    #[arg(hide = true, value_name = "SECRET")]
    name: String,
    #[arg(hide = true, value_name = "FILE", allow_hyphen_values = true)]
    file: Option<String>,
}

#[derive(Debug, Args)]
pub struct ConfigCreateArgs {
    /// Config labels
    #[arg(short, long, value_name = "list")]
    label: Vec<String>,
    /// Template driver
    #[arg(long, value_name = "string")]
    template_driver: Option<String>,
    #[arg(hide = true, value_name = "CONFIG")]
    name: String,
    #[arg(hide = true, value_name = "FILE", allow_hyphen_values = true)]
    file: String,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Print the information in a human friendly format
    #[arg(long)]
    pretty: bool,
    #[arg(required = true, hide = true)]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display IDs
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub struct Names {
    #[arg(required = true, hide = true)]
    names: Vec<String>,
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("CreatedAt", "CREATED"),
    ("UpdatedAt", "UPDATED"),
    ("Labels", "LABELS"),
];
const SECRETS: Columns = Columns {
    headers: HEADERS,
    table: "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
};
const CONFIGS: Columns =
    Columns { headers: HEADERS, table: "table {{.ID}}\t{{.Name}}\t{{.CreatedAt}}\t{{.UpdatedAt}}" };

/// The largest payload read: twice what the swarm takes of a config, so that the daemon says what is too much.
const PAYLOAD_BYTES_MAX: u64 = 2 * 1000 * 1024;

pub async fn secret(session: &Session, command: SecretCommand) -> Outcome {
    let client = &session.client;
    match command {
        SecretCommand::Create(args) => {
            let data = match (&args.driver, args.file.as_deref()) {
                (Some(_), Some(_)) => {
                    return Err(Failure::new("when using secret driver secret data must be empty"));
                }
                (Some(_), None) => String::new(),
                (None, None) => return Err(Failure::new("secret file is required")),
                (None, Some(file)) => read(file)?,
            };
            let driver =
                |name: Option<String>| name.map(|name| Driver { name, ..Default::default() });
            let spec = SecretSpec {
                name: args.name,
                labels: pairs::map(&args.label),
                data,
                driver: driver(args.driver),
                templating: driver(args.template_driver),
            };
            line(client.secret_create(&spec).await?.id)
        }
        SecretCommand::Inspect(args) => {
            let mut found = Vec::new();
            for name in &args.names {
                found.push(client.secret(name).await.map_err(Failure::from));
            }
            show(&args, found, secret_text)
        }
        SecretCommand::Ls(args) => {
            let mut secrets = client.secrets(&filter::all(&args.filter)).await?;
            secrets.sort_by(|a, b| natural::compare(&a.spec.name, &b.spec.name));
            let rows = secrets
                .into_iter()
                .map(|Secret { id, spec, created_at, updated_at, .. }| {
                    let driver = spec.driver.map(|driver| driver.name).unwrap_or_default();
                    row(id, spec.name, &spec.labels, driver, (&created_at, &updated_at))
                })
                .collect();
            SECRETS.show(&Shape { format: args.format, quiet: args.quiet }, rows)
        }
        SecretCommand::Rm(args) => {
            let mut failures = Vec::new();
            for name in args.names {
                match client.secret_remove(&name).await {
                    Ok(()) => line(name)?,
                    Err(error) => failures.push(error.into()),
                }
            }
            Failure::join(failures)
        }
    }
}

pub async fn config(session: &Session, command: ConfigCommand) -> Outcome {
    let client = &session.client;
    match command {
        ConfigCommand::Create(args) => {
            let templating = args.template_driver.map(|name| Driver { name, ..Default::default() });
            let spec = ConfigSpec {
                name: args.name,
                labels: pairs::map(&args.label),
                data: read(&args.file)?,
                templating,
            };
            line(client.config_create(&spec).await?.id)
        }
        ConfigCommand::Inspect(args) => {
            let mut found = Vec::new();
            for name in &args.names {
                found.push(client.config(name).await.map_err(Failure::from));
            }
            show(&args, found, config_text)
        }
        ConfigCommand::Ls(args) => {
            let mut configs = client.configs(&filter::all(&args.filter)).await?;
            configs.sort_by(|a, b| natural::compare(&a.spec.name, &b.spec.name));
            let rows = configs
                .into_iter()
                .map(|Config { id, spec, created_at, updated_at, .. }| {
                    row(id, spec.name, &spec.labels, String::new(), (&created_at, &updated_at))
                })
                .collect();
            CONFIGS.show(&Shape { format: args.format, quiet: args.quiet }, rows)
        }
        ConfigCommand::Rm(args) => {
            let mut failures = Vec::new();
            for name in args.names {
                match client.config_remove(&name).await {
                    Ok(()) => line(name)?,
                    Err(error) => failures.push(error.into()),
                }
            }
            Failure::join(failures)
        }
    }
}

/// A file's bytes, or those of standard input for `-`, in base64.
fn read(file: &str) -> Outcome<String> {
    let shown = if file == "-" { "STDIN" } else { file };
    let refuse = |why: String| Failure::new(format!("error reading from {shown}: {why}"));
    let mut bytes = Vec::new();
    let limit = PAYLOAD_BYTES_MAX + 1;
    let done = match file {
        "-" => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
        _ => std::fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    done.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => refuse(format!("open {file}: no such file or directory")),
        _ => refuse(error.to_string()),
    })?;
    if bytes.is_empty() {
        return Err(refuse("data is empty".into()));
    }
    if bytes.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(refuse(format!("more than the {PAYLOAD_BYTES_MAX} bytes allowed")));
    }
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

pub fn joined(labels: &Map) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn row(
    id: String,
    name: String,
    labels: &Map,
    driver: String,
    at: (&Timestamp, &Timestamp),
) -> Row {
    Row::from([
        ("ID", id.into()),
        ("Name", name.into()),
        ("Driver", driver.into()),
        ("CreatedAt", ago(at.0).into()),
        ("UpdatedAt", ago(at.1).into()),
        ("Labels", joined(labels).into()),
    ])
}

fn show<T: serde::Serialize>(
    args: &InspectArgs,
    found: Vec<Outcome<T>>,
    text: impl Fn(&T) -> String,
) -> Outcome {
    if args.pretty || args.format.as_deref() == Some("pretty") {
        for one in found {
            print(&text(&one?))?;
        }
        return Ok(());
    }
    let values = found.into_iter().map(|one| one.map(|one| inspect::value(&one))).collect();
    inspect::show(args.format.as_deref(), values)
}

fn labels_text(labels: &Map) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let line = |(key, value): (&String, &String)| match value.as_str() {
        "" => format!(" - {key}\n"),
        value => format!(" - {key}={value}\n"),
    };
    format!("Labels:\n{}", labels.iter().map(line).collect::<String>())
}

/// The blanks are Docker's own: scripts cut at them.
fn secret_text(secret: &Secret) -> String {
    let driver = secret.spec.driver.as_ref().map_or("", |driver| driver.name.as_str());
    format!(
        "ID:              {}\nName:              {}\n{}Driver:            {driver}\nCreated at:        {}\nUpdated at:        {}\n",
        secret.id,
        secret.spec.name,
        labels_text(&secret.spec.labels),
        moment(&secret.created_at).to_lowercase(),
        moment(&secret.updated_at).to_lowercase(),
    )
}

fn config_text(config: &Config) -> String {
    let data = base64::engine::general_purpose::STANDARD.decode(&config.spec.data);
    let data = String::from_utf8_lossy(&data.unwrap_or_default()).into_owned();
    format!(
        "ID:\t\t\t{}\nName:\t\t\t{}\n{}Created at:            \t{}\nUpdated at:            \t{}\nData:\n{data}\n",
        config.id,
        config.spec.name,
        labels_text(&config.spec.labels),
        moment(&config.created_at).to_lowercase(),
        moment(&config.updated_at).to_lowercase(),
    )
}
