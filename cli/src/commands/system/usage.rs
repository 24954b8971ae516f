//! `skep system df`: what takes room on the host.

use clap::Args;
use serde_json::{Value, json};
use skep_docker_api::json::{DiskUsage, Timestamp};
use skep_template::{Mode, Template};

use crate::commands::container::list as containers;
use crate::commands::{Session, volume};
use crate::failure::Outcome;
use crate::output::human::{ago, long_size, short_id, size};
use crate::output::list::{Columns, Row, Shape};
use crate::output::print;
use crate::values::image;

#[derive(Debug, Args)]
pub struct DfArgs {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

const TOTALS: Columns = Columns {
    headers: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    table: "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
};
const IMAGES: Columns = Columns {
    headers: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("Size", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ],
    table: "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
};
const CACHE: Columns = Columns {
    headers: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
    ],
    table: "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
};

/// Bytes, and what part of a whole they are.
fn part(bytes: i64, whole: i64) -> String {
    match whole {
        1.. => format!("{} ({}%)", long_size(bytes), bytes.saturating_mul(100) / whole),
        _ => long_size(bytes),
    }
}

fn total(kind: &str, count: usize, active: usize, bytes: i64, reclaimable: String) -> Row {
    Row::from([
        ("Type", kind.into()),
        ("TotalCount", count.to_string().into()),
        ("Active", active.to_string().into()),
        ("Size", long_size(bytes).into()),
        ("Reclaimable", reclaimable.into()),
    ])
}

fn totals(usage: &DiskUsage) -> Vec<Row> {
    let images = usage.images.as_deref().unwrap_or_default();
    let used = images.iter().filter(|image| image.containers > 0).count();
    let kept: i64 = images
        .iter()
        .filter(|image| image.containers != 0 && image.size != -1 && image.shared_size != -1)
        .map(|image| image.size - image.shared_size)
        .sum();
    let all = usage.containers.as_deref().unwrap_or_default();
    let active = |state: &str| matches!(state, "running" | "paused" | "restarting");
    let running = all.iter().filter(|one| active(&one.state)).count();
    let written: i64 = all.iter().map(|one| one.size_rw).sum();
    let idle: i64 = all.iter().filter(|one| !active(&one.state)).map(|one| one.size_rw).sum();
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    let known = || volumes.iter().filter_map(|volume| volume.usage_data.as_ref());
    let mounted = known().filter(|usage| usage.ref_count > 0).count();
    let stored: i64 = known().map(|usage| usage.size).filter(|size| *size != -1).sum();
    let unused: i64 = known()
        .filter(|usage| usage.ref_count == 0)
        .map(|usage| usage.size)
        .filter(|size| *size != -1)
        .sum();
    let layers = usage.layers_size;
    vec![
        total("Images", images.len(), used, layers, part(layers - kept, layers)),
        total("Containers", all.len(), running, written, part(idle, written)),
        total("Local Volumes", volumes.len(), mounted, stored, part(unused, stored)),
        total("Build Cache", 0, 0, 0, long_size(0)),
    ]
}

fn images(usage: &DiskUsage, cut: bool) -> Vec<Row> {
    let row = |image: &skep_docker_api::json::ImageSummary| {
        let name = image.repo_tags.first().map(|name| image::familiar(name)).unwrap_or_default();
        let (repository, tag) = match image::parts(&name) {
            (repository, Some(tag)) => (repository, tag),
            _ => ("<none>", "<none>"),
        };
        let created = Timestamp::from_unix_nanos(i128::from(image.created) * 1_000_000_000);
        let known = |n: i64, text: String| if n < 0 { "N/A".to_owned() } else { text };
        Row::from([
            ("Repository", repository.into()),
            ("Tag", tag.into()),
            ("ID", if cut { short_id(&image.id) } else { image.id.clone() }.into()),
            ("CreatedSince", ago(&created).into()),
            ("Size", size(image.size).into()),
            ("SharedSize", known(image.shared_size, size(image.shared_size)).into()),
            ("UniqueSize", known(image.shared_size, size(image.size - image.shared_size)).into()),
            ("Containers", known(image.containers, image.containers.to_string()).into()),
        ])
    };
    usage.images.iter().flatten().map(row).collect()
}

fn own(usage: &DiskUsage, cut: bool) -> Vec<Row> {
    let row = |mut container: skep_docker_api::json::ContainerSummary| {
        // What is shared with an image is the image's.
        container.size_root_fs = 0;
        containers::row(container, cut)
    };
    usage.containers.iter().flatten().cloned().map(row).collect()
}

pub async fn run(session: &Session, args: DfArgs) -> Outcome {
    let usage = session.client.disk_usage().await?;
    let format = args.format.filter(|format| !format.is_empty());
    if !args.verbose {
        return TOTALS.show(&Shape { format, quiet: false }, totals(&usage));
    }
    let volumes: Vec<Row> = usage.volumes.iter().flatten().cloned().map(volume::row).collect();
    if let Some(format) = format.filter(|format| format != "table") {
        let text = if format == "json" { "{{json .}}" } else { &format };
        let list = |rows: Vec<Row>| -> Value {
            rows.into_iter().map(|row| row.into_iter().collect::<Value>()).collect()
        };
        let document = json!({
            "Images": list(images(&usage, false)),
            "Containers": list(own(&usage, false)),
            "Volumes": list(volumes),
            "BuildCache": [],
        });
        return print(&format!("{}\n", Template::parse(text)?.render(&document, Mode::Row)?));
    }
    let table = Shape::default();
    print("Images space usage:\n\n")?;
    IMAGES.show(&table, images(&usage, true))?;
    print("\nContainers space usage:\n\n")?;
    containers::USAGE.show(&table, own(&usage, true))?;
    print("\nLocal Volumes space usage:\n\n")?;
    volume::USAGE.show(&table, volumes)?;
    print("\nBuild cache usage: 0B\n\n")?;
    CACHE.show(&table, Vec::new())
}
