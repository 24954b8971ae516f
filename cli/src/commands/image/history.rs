//! `skep history`: the steps an image was made by.

use clap::Args;
use skep_docker_api::json::Timestamp;

use crate::commands::Session;
use crate::failure::Outcome;
use crate::output::human::{ago, ellipsis, short_id, size};
use crate::output::list::{Columns, Row, Shape};
use crate::values::integer;

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, value_name = "bool", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = integer::truth)]
    human: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Show history for the given platform
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    platform: String,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    #[arg(hide = true, value_name = "IMAGE")]
    image: String,
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];
const HUMAN: Columns = Columns {
    headers: HEADERS,
    table: "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
};
const EXACT: Columns = Columns {
    headers: HEADERS,
    table: "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
};

/// The year 2000: what is older was not made, but written so that builds are the same.
const EPOCH: i64 = 946_684_800;

pub async fn run(session: &Session, args: HistoryArgs) -> Outcome {
    let steps = session.client.image_history(&args.image).await?;
    let cut = !args.no_trunc;
    let rows = steps.into_iter().map(|step| {
        let at = Timestamp::from_unix_nanos(i128::from(step.created) * 1_000_000_000);
        let since = match step.created {
            _ if !args.human => at.0.clone(),
            ..=EPOCH => "N/A".into(),
            _ => ago(&at),
        };
        let by = step.created_by.replace('\t', " ");
        Row::from([
            ("ID", if cut { short_id(&step.id) } else { step.id }.into()),
            ("CreatedSince", since.into()),
            ("CreatedAt", at.0.into()),
            ("CreatedBy", if cut { ellipsis(&by, 45) } else { by }.into()),
            ("Size", if args.human { size(step.size) } else { step.size.to_string() }.into()),
            ("Comment", step.comment.into()),
        ])
    });
    let columns = if args.human { HUMAN } else { EXACT };
    columns.show(&Shape { format: args.format, quiet: args.quiet }, rows.collect())
}
