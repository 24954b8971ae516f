//! Removing what nobody uses: `container prune`, `network prune`, `volume prune`, `image prune`, and all at once.

use clap::Args;
use skep_docker_api::Filters;

use super::Session;
use crate::failure::{Failure, Outcome};
use crate::output::human::long_size;
use crate::output::line;
use crate::terminal;
use crate::values::filter::{self, Filter};

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
pub struct AllPruneArgs {
    /// Remove all unused ones
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    prune: PruneArgs,
}

#[derive(Debug, Args)]
pub struct SystemPruneArgs {
    /// Remove all unused images not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    prune: PruneArgs,
}

/// What went: bytes that are free again, and lines about it.
#[derive(Default)]
struct Report {
    bytes: u64,
    text: String,
}

impl Report {
    fn of(title: &str, names: impl IntoIterator<Item = String>, bytes: u64) -> Self {
        let lines: String = names.into_iter().map(|name| format!("{name}\n")).collect();
        match lines.is_empty() {
            true => Self::default(),
            false => Self { bytes, text: format!("Deleted {title}:\n{lines}") },
        }
    }
}

impl PruneArgs {
    /// What the flags and the user's own settings leave alone.
    fn filters(&self, session: &Session) -> Filters {
        let mut filters = filter::all(&self.filter);
        let own = session.config.get("pruneFilters").and_then(serde_json::Value::as_array);
        for text in own.into_iter().flatten().filter_map(serde_json::Value::as_str) {
            if let Some((name, value)) = text.split_once('=') {
                filters.add(name, value);
            }
        }
        filters
    }

    fn agreed(&self, warning: &str, what: &str) -> Outcome {
        let question = format!("WARNING! {warning}\nAre you sure you want to continue?");
        if self.force || terminal::agreed(&question)? {
            return Ok(());
        }
        Err(Failure::new(format!("{what} prune has been cancelled")))
    }
}

async fn containers_report(session: &Session, filters: &Filters) -> Outcome<Report> {
    let done = session.client.containers_prune(filters).await?;
    let names = done.containers_deleted.into_iter().flatten();
    Ok(Report::of("Containers", names, done.space_reclaimed))
}

async fn networks_report(session: &Session, filters: &Filters) -> Outcome<Report> {
    let done = session.client.networks_prune(filters).await?;
    Ok(Report::of("Networks", done.networks_deleted.into_iter().flatten(), 0))
}

async fn volumes_report(session: &Session, filters: &Filters) -> Outcome<Report> {
    let done = session.client.volumes_prune(filters).await?;
    let names = done.volumes_deleted.into_iter().flatten();
    Ok(Report::of("Volumes", names, done.space_reclaimed))
}

async fn images_report(session: &Session, filters: Filters, all: bool) -> Outcome<Report> {
    let mut filters = filters;
    filters.add("dangling", if all { "false" } else { "true" });
    let done = session.client.images_prune(&filters).await?;
    let names = done.images_deleted.into_iter().flatten().map(|item| match item.untagged {
        name if name.is_empty() => format!("deleted: {}", item.deleted),
        name => format!("untagged: {name}"),
    });
    Ok(Report::of("Images", names, done.space_reclaimed))
}

fn show(report: &Report, sizes: bool) -> Outcome {
    if !report.text.is_empty() {
        line(&report.text)?;
    }
    if sizes { total(report.bytes) } else { Ok(()) }
}

fn total(bytes: u64) -> Outcome {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    line(format!("Total reclaimed space: {}", long_size(bytes)))
}

pub async fn containers(session: &Session, args: PruneArgs) -> Outcome {
    args.agreed("This will remove all stopped containers.", "container")?;
    show(&containers_report(session, &args.filters(session)).await?, true)
}

pub async fn networks(session: &Session, args: PruneArgs) -> Outcome {
    args.agreed(
        "This will remove all custom networks not used by at least one container.",
        "network",
    )?;
    show(&networks_report(session, &args.filters(session)).await?, false)
}

pub async fn volumes(session: &Session, args: AllPruneArgs) -> Outcome {
    let mut filters = args.prune.filters(session);
    let which = if args.all { "all" } else { "anonymous" };
    if args.all {
        if filters.values("all").next().is_some() {
            return Err(Failure::new(
                "conflicting options: cannot specify both --all and --filter all=1",
            ));
        }
        filters.add("all", "true");
    }
    args.prune.agreed(
        &format!("This will remove {which} local volumes not used by at least one container."),
        "volume",
    )?;
    show(&volumes_report(session, &filters).await?, true)
}

pub async fn images(session: &Session, args: AllPruneArgs) -> Outcome {
    let which = match args.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    args.prune.agreed(&format!("This will remove {which}."), "image")?;
    show(&images_report(session, args.prune.filters(session), args.all).await?, true)
}

pub async fn system(session: &Session, args: SystemPruneArgs) -> Outcome {
    let filters = args.prune.filters(session);
    if args.volumes && filters.values("until").next().is_some() {
        return Err(Failure::new(
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        ));
    }
    let mut warning = String::from("This will remove:\n  - all stopped containers\n");
    warning.push_str("  - all networks not used by at least one container\n");
    if args.volumes {
        warning.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    warning.push_str(match args.all {
        true => "  - all images without at least one container associated to them\n",
        false => "  - all dangling images\n",
    });
    let mut named: Vec<String> = ["label", "label!", "until"]
        .into_iter()
        .flat_map(|name| filters.values(name).map(move |value| format!("{name}={value}")))
        .collect();
    named.sort_by(|a, b| crate::output::natural::compare(a, b));
    if !named.is_empty() {
        warning.push_str("\n  Items to be pruned will be filtered with:\n");
        named.iter().for_each(|filter| warning.push_str(&format!("  - {filter}\n")));
    }
    args.prune.agreed(&warning, "system")?;
    let mut bytes = 0;
    let mut tell = |report: Report| {
        bytes += report.bytes;
        show(&report, false)
    };
    tell(containers_report(session, &filters).await?)?;
    tell(networks_report(session, &filters).await?)?;
    if args.volumes {
        tell(volumes_report(session, &filters).await?)?;
    }
    tell(images_report(session, filters, args.all).await?)?;
    total(bytes)
}
