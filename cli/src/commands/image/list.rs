//! Lists of images: a row for each name of each.

use std::collections::BTreeMap;

use clap::Args;
use skep_docker_api::json::{ImageSummary, Timestamp};

use crate::commands::Session;
use crate::failure::Outcome;
use crate::output::human::{ago, moment, short_id, size};
use crate::output::list::{Columns, Row, Shape};
use crate::values::filter::{self, Filter};
use crate::values::image;

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Show all images (there are no intermediate ones to hide)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    #[arg(hide = true, value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];
const PLAIN: Columns = Columns {
    headers: HEADERS,
    table: "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}",
};
const DIGESTS: Columns = Columns {
    headers: HEADERS,
    table: "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}",
};

const NONE: &str = "<none>";

/// Repository, tag and digest of each row.
fn names(image: &ImageSummary, digests: bool) -> Vec<(String, String, String)> {
    let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in &image.repo_tags {
        let name = image::familiar(name);
        if let (repo, Some(tag)) = image::parts(&name)
            && repo != NONE
        {
            tags.entry(repo.into()).or_default().push(tag.into());
        }
    }
    for name in &image.repo_digests {
        if let Some((repo, digest)) = name.split_once('@').filter(|(repo, _)| *repo != NONE) {
            let repo = image::familiar(&format!("{repo}:x"));
            let repo = repo.strip_suffix(":x").unwrap_or(&repo);
            known.entry(repo.into()).or_default().push(digest.into());
        }
    }
    let none = || NONE.to_owned();
    if tags.is_empty() && known.is_empty() {
        return vec![(none(), none(), none())];
    }
    let mut rows = Vec::new();
    for (repo, tags) in tags {
        let its = known.remove(&repo).filter(|_| digests).unwrap_or_default();
        for tag in tags {
            if its.is_empty() {
                rows.push((repo.clone(), tag, none()));
            } else {
                rows.extend(its.iter().map(|d| (repo.clone(), tag.clone(), d.clone())));
            }
        }
    }
    for (repo, its) in known {
        if digests {
            rows.extend(its.into_iter().map(|digest| (repo.clone(), none(), digest)));
        } else {
            rows.push((repo, none(), String::new()));
        }
    }
    rows
}

pub async fn run(session: &Session, args: LsArgs) -> Outcome {
    let mut filters = filter::all(&args.filter);
    if let Some(reference) = &args.reference {
        filters.add("reference", reference);
    }
    let images = session.client.images(&filters).await?;
    let digests =
        args.digests || args.format.as_ref().is_some_and(|format| format.contains("{{.Digest}}"));
    let mut rows = Vec::new();
    for image in images {
        let created = Timestamp::from_unix_nanos(i128::from(image.created) * 1_000_000_000);
        let counted = |n: i64, text: String| if n < 0 { "N/A".to_owned() } else { text };
        for (repo, tag, digest) in names(&image, digests) {
            rows.push(Row::from([
                ("ID", if args.no_trunc { image.id.clone() } else { short_id(&image.id) }.into()),
                ("Repository", repo.into()),
                ("Tag", tag.into()),
                ("Digest", digest.into()),
                ("CreatedSince", ago(&created).into()),
                ("CreatedAt", moment(&created).into()),
                ("Size", size(image.size).into()),
                ("VirtualSize", size(image.size).into()),
                ("SharedSize", counted(image.shared_size, size(image.shared_size)).into()),
                (
                    "UniqueSize",
                    counted(image.shared_size, size(image.size - image.shared_size)).into(),
                ),
                ("Containers", counted(image.containers, image.containers.to_string()).into()),
            ]));
        }
        // Of an image with several names its id is one.
        if args.quiet && args.format.is_none() {
            let id = |row: &Row| row.get("ID").cloned();
            rows.dedup_by(|later, first| id(later) == id(first));
        }
    }
    let columns = if args.digests { DIGESTS } else { PLAIN };
    columns.show(&Shape { format: args.format, quiet: args.quiet }, rows)
}
