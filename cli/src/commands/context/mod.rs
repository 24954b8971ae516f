//! `skep context`: names for daemons.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::endpoint;
use crate::config::ConfigFile;
use crate::config::contexts::{Context, DEFAULT, Material, Store, check_name};
use crate::failure::{Failure, Outcome};
use crate::output::inspect::{self, Document};
use crate::output::list::{Columns, Row, Shape};
use crate::output::{line, warn};
use crate::values::pairs;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a context
    #[command(override_usage = "skep context create [OPTIONS] CONTEXT")]
    Create(CreateArgs),
    /// Display detailed information on one or more contexts
    #[command(override_usage = "skep context inspect [OPTIONS] [CONTEXT] [CONTEXT...]")]
    Inspect(InspectArgs),
    /// List contexts
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Remove one or more contexts
    #[command(visible_alias = "remove", override_usage = "skep context rm CONTEXT [CONTEXT...]")]
    Rm(RmArgs),
    /// Print the name of the current context
    Show,
    /// Update a context
    #[command(override_usage = "skep context update [OPTIONS] CONTEXT")]
    Update(UpdateArgs),
    /// Set the current docker context
    #[command(override_usage = "skep context use CONTEXT")]
    Use(UseArgs),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Description of the context
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    description: String,
    /// Set the docker endpoint (host, ca, cert, key, skip-tls-verify, from)
    #[arg(long, value_name = "stringToString")]
    docker: Vec<String>,
    /// Create context from a named context
    #[arg(long, value_name = "string")]
    from: Option<String>,
    #[arg(hide = true, value_name = "CONTEXT")]
    name: String,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Description of the context
    #[arg(long, value_name = "string")]
    description: Option<String>,
    /// Set the docker endpoint (host, ca, cert, key, skip-tls-verify, from)
    #[arg(long, value_name = "stringToString")]
    docker: Vec<String>,
    #[arg(hide = true, value_name = "CONTEXT")]
    name: String,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(hide = true, value_name = "CONTEXT")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only show context names
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Force the removal of a context in use
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, hide = true, value_name = "CONTEXT")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct UseArgs {
    #[arg(hide = true, value_name = "CONTEXT")]
    name: String,
}

const COLUMNS: Columns = Columns {
    headers: &[
        ("Name", "NAME"),
        ("Current", ""),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
    ],
    table: "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
};

/// The default context's description (Docker's words).
const DEFAULT_DESCRIPTION: &str = "Current DOCKER_HOST based configuration";

pub fn run(config: &mut ConfigFile, asked: &endpoint::Asked, command: Command) -> Outcome {
    let store = endpoint::store(config)?;
    match command {
        Command::Create(args) => create(&store, &args),
        Command::Inspect(args) => show(config, asked, &store, args),
        Command::Ls(args) => list(config, asked, &store, args),
        Command::Rm(args) => remove(config, asked, &store, args),
        Command::Show => line(asked.context(config)?),
        Command::Update(args) => update(&store, &args),
        Command::Use(args) => select(config, &store, &args.name),
    }
}

/// What `--docker` says, as an endpoint and its certificates.
fn endpoint_of(store: &Store, pairs: &[String], context: &mut Context) -> Outcome<Material> {
    // One flag may hold several, as pflag's maps do.
    let mut keys = skep_docker_api::json::Map::new();
    for text in pairs {
        for pair in crate::values::fields::split(text).map_err(Failure::new)? {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| Failure::new(format!("{pair} must be formatted as key=value")))?;
            keys.insert(key.trim().into(), value.into());
        }
    }
    if let Some(from) = keys.get("from") {
        let other = store.expect(from)?;
        context.set_host(other.host(), other.skips_verification());
        return Ok(store.material(from));
    }
    let mut material = Material::new();
    let (mut host, mut skip) = (String::new(), false);
    for (key, value) in &keys {
        match key.as_str() {
            "host" => host.clone_from(value),
            "skip-tls-verify" => {
                skip = crate::values::integer::truth(value)
                    .map_err(|_| Failure::new(format!("skip-tls-verify: invalid value {value}")))?;
            }
            "ca" | "cert" | "key" => {
                let bytes = std::fs::read(value).map_err(|error| {
                    Failure::new(format!("open {value}: {}", pairs::io_words(&error)))
                })?;
                material.insert(format!("{key}.pem"), bytes);
            }
            other => {
                return Err(Failure::new(format!("unrecognized config key: {other}")));
            }
        }
    }
    // DEVIATION: Docker keeps a host that no command will understand, and each command then says so.
    if !host.is_empty() && !endpoint::is_host(&host) {
        return Err(Failure::new(format!(
            "unable to create docker endpoint config: unable to parse docker host `{host}`"
        )));
    }
    context.set_host(&host, skip);
    Ok(material)
}

fn create(store: &Store, args: &CreateArgs) -> Outcome {
    let name = &args.name;
    check_name(name)?;
    if store.get(name)?.is_some() {
        return Err(Failure::new(format!("context {name:?} already exists")));
    }
    let mut context = Context { name: name.clone(), ..Default::default() };
    if args.from.is_some() && !args.docker.is_empty() {
        return Err(Failure::new("cannot use --docker flag when --from is set"));
    }
    let material = match &args.from {
        Some(from) if from != DEFAULT => {
            context = Context { name: name.clone(), ..store.expect(from)? };
            store.material(from)
        }
        _ if args.docker.is_empty() => {
            context.set_host(&endpoint::default_host(), false);
            Material::new()
        }
        _ => endpoint_of(store, &args.docker, &mut context)?,
    };
    if !args.description.is_empty() {
        context.describe(&args.description);
    }
    store.put(&context)?;
    store.put_material(name, &material)?;
    line(name)?;
    warn(format!("Successfully created context {name:?}"));
    Ok(())
}

fn update(store: &Store, args: &UpdateArgs) -> Outcome {
    let name = &args.name;
    check_name(name)?;
    let mut context = store.expect(name)?;
    if let Some(text) = args.description.as_deref().filter(|text| !text.is_empty()) {
        context.describe(text);
    }
    if !args.docker.is_empty() {
        let material = endpoint_of(store, &args.docker, &mut context)?;
        store.put_material(name, &material)?;
    }
    store.put(&context)?;
    line(name)?;
    warn(format!("Successfully updated context {name:?}"));
    Ok(())
}

fn default_context() -> Context {
    Context::new(DEFAULT, &endpoint::default_host())
}

fn list(config: &ConfigFile, asked: &endpoint::Asked, store: &Store, args: LsArgs) -> Outcome {
    let current = asked.context(config)?;
    let mut contexts = store.list()?;
    let known = current == DEFAULT || contexts.iter().any(|context| context.name == current);
    let mut default = default_context();
    default.describe(DEFAULT_DESCRIPTION);
    contexts.push(default);
    contexts.sort_by(|a, b| crate::output::natural::compare(&a.name, &b.name));
    let row = |context: &Context, error: &str| {
        Row::from([
            ("Name", context.name.clone().into()),
            ("Current", (context.name == current).into()),
            ("Description", context.description().into()),
            ("DockerEndpoint", context.host().into()),
            ("Error", error.into()),
        ])
    };
    let mut rows: Vec<Row> = contexts.iter().map(|context| row(context, "")).collect();
    if !known {
        let missing = Context { name: current.clone(), ..Default::default() };
        let why = store.expect(&current).err().map(|failure| failure.message);
        rows.push(row(&missing, &why.unwrap_or_default()));
    }
    let format = match args.quiet && args.format.is_none() {
        true => Some("{{.Name}}".into()),
        false => args.format,
    };
    COLUMNS.show(&Shape { format, quiet: false }, rows)?;
    if current != DEFAULT || config.text("currentContext").is_some() {
        overridden(None);
    }
    Ok(())
}

/// A variable that is set decides, whatever was chosen.
fn overridden(name: Option<&str>) {
    if std::env::var_os("DOCKER_HOST").is_some_and(|value| !value.is_empty()) {
        let what = name.map_or("a context".into(), |name| format!("{name:?}"));
        warn(format!(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use {what}, either set the global --context flag, or unset DOCKER_HOST environment variable."
        ));
    }
}

fn show(config: &ConfigFile, asked: &endpoint::Asked, store: &Store, args: InspectArgs) -> Outcome {
    let names = if args.names.is_empty() { vec![asked.context(config)?] } else { args.names };
    let one = |name: String| {
        let value = if name == DEFAULT {
            let mut shown = store.shown(&default_context());
            shown["TLSMaterial"] = Value::Object(Map::new());
            shown["Storage"] = json!({ "MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>" });
            shown
        } else {
            store.shown(&store.expect(&name)?)
        };
        Ok(Document::plain(value))
    };
    inspect::show(args.format.as_deref(), names.into_iter().map(one).collect())
}

fn remove(
    config: &mut ConfigFile,
    asked: &endpoint::Asked,
    store: &Store,
    args: RmArgs,
) -> Outcome {
    let current = asked.context(config)?;
    let mut failures = Vec::new();
    for name in args.names {
        let removed = (|| {
            if name == DEFAULT {
                return Err(Failure::new("context \"default\" cannot be removed"));
            }
            if !args.force {
                store.expect(&name)?;
            }
            if name == current {
                if !args.force {
                    return Err(Failure::new(format!(
                        "context {name:?} is in use, set -f flag to force remove"
                    )));
                }
                config.set("currentContext", None);
                config.save()?;
            }
            store.remove(&name)
        })();
        match removed {
            Ok(()) => line(&name)?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::join(failures)
}

fn select(config: &mut ConfigFile, store: &Store, name: &str) -> Outcome {
    if name != DEFAULT {
        check_name(name)?;
        store.expect(name)?;
    }
    let value = (name != DEFAULT).then(|| Value::from(name));
    if config.get("currentContext") != value.as_ref() {
        config.set("currentContext", value);
        config.save()?;
    }
    line(name)?;
    warn(format!("Current context is now {name:?}"));
    if name != DEFAULT {
        overridden(Some(name));
    }
    Ok(())
}
