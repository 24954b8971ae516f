//! `skep search`: images in the public registry.

use clap::Args;

use super::Session;
use crate::config::credentials::{self, DOCKER_HUB};
use crate::failure::Outcome;
use crate::output::human::ellipsis;
use crate::output::list::{Columns, Row, Shape};
use crate::values::filter::{self, Filter};
use crate::values::integer;

#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Pretty-print search using a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Max number of search results
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = integer::signed)]
    limit: i64,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    #[arg(hide = true, value_name = "TERM")]
    term: String,
}

const COLUMNS: Columns = Columns {
    headers: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
    ],
    table: "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
};

pub async fn run(session: &Session, args: SearchArgs) -> Outcome {
    let registry = args.term.split_once('/').map(|(host, _)| host);
    let registry = registry.filter(|host| host.contains(['.', ':']) || *host == "localhost");
    let auth = credentials::get(&session.config, registry.unwrap_or(DOCKER_HUB))?;
    let limit = u64::try_from(args.limit).unwrap_or(0);
    let found = session
        .client
        .image_search(&args.term, limit, &filter::all(&args.filter), auth.as_ref())
        .await?;
    let rows = found.into_iter().map(|one| {
        let text = one.description.replace(['\n', '\r'], " ");
        Row::from([
            ("Name", one.name.into()),
            ("Description", if args.no_trunc { text } else { ellipsis(&text, 45) }.into()),
            ("StarCount", one.star_count.to_string().into()),
            ("IsOfficial", if one.is_official { "[OK]" } else { "" }.into()),
        ])
    });
    COLUMNS.show(&Shape { format: args.format, quiet: false }, rows.collect())
}
