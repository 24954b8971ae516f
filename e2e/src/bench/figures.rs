//! What was measured, as a table and as `bench.json`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "us")]
    Microseconds,
    #[serde(rename = "MiB")]
    Mebibytes,
    #[serde(rename = "Gbit/s")]
    GigabitsPerSecond,
    #[serde(rename = "1/s")]
    PerSecond,
    /// Of two figures of one side.
    #[serde(rename = "ratio")]
    Ratio,
}

impl Unit {
    fn text(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Microseconds => "us",
            Self::Mebibytes => "MiB",
            Self::GigabitsPerSecond => "Gbit/s",
            Self::PerSecond => "1/s",
            Self::Ratio => "ratio",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: Unit,
    /// The least and the greatest of those of which `value` is the median.
    pub spread: Option<[f64; 2]>,
}

impl Figure {
    pub fn seconds(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value, unit: Unit::Seconds, spread: None }
    }

    pub fn microseconds(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value, unit: Unit::Microseconds, spread: None }
    }

    pub fn mebibytes(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value, unit: Unit::Mebibytes, spread: None }
    }

    /// The median of what was measured in several runs. `values` is not empty.
    pub fn median(name: String, mut values: Vec<f64>, unit: Unit) -> Self {
        values.sort_by(f64::total_cmp);
        let spread = Some([values[0], values[values.len() - 1]]);
        // Of an even number the middle of the two, so that a ratio and its inverse agree.
        let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        Self { name, value: middle, unit, spread }
    }
}

/// The middle one; of an even number the upper. `values` is not empty.
pub fn median(values: Vec<f64>) -> f64 {
    percentile(values, 50)
}

/// The smallest value that `percent` of all are not above. `values` is not empty.
pub fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

#[derive(Serialize)]
struct Row {
    name: String,
    value: f64,
    unit: Unit,
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<f64>,
    /// Ours by the peer's: less is better, but of speeds more.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

/// Our figures beside the peer's.
pub struct Report(Vec<Row>);

impl Report {
    pub fn new(ours: &[Figure], peer: &[Figure]) -> Self {
        let row = |figure: &Figure| {
            let peer = peer.iter().find(|it| it.name == figure.name).map(|it| it.value);
            let ratio = peer.map(|peer| figure.value / peer);
            let Figure { name, value, unit, spread } = figure.clone();
            Row { name, value, unit, spread, peer, ratio }
        };
        Self(ours.iter().map(row).collect())
    }

    pub fn table(&self) -> String {
        let head = ("skep", "peer", "ratio", "spread");
        let mut text =
            format!("{:60} {:>10} {:>10} {:>7}  {}\n", "", head.0, head.1, head.2, head.3);
        for row in &self.0 {
            let number = |value: Option<f64>| value.map_or("-".into(), |it| format!("{it:.3}"));
            let name = format!("{} ({})", row.name, row.unit.text());
            let (value, peer) = (number(Some(row.value)), number(row.peer));
            let spread = row.spread.map(|[least, most]| format!("  {least:.3} to {most:.3}"));
            let (ratio, spread) = (number(row.ratio), spread.unwrap_or_default());
            let _ = writeln!(text, "{name:60} {value:>10} {peer:>10} {ratio:>7}{spread}");
        }
        text
    }

    /// Writes the list for programs.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.0).context("failed to encode figures")?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("failed to write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_of_both_sides_has_a_ratio() {
        let ours = [Figure::seconds("init", 0.1), Figure::mebibytes("idle", 12.0)];
        let report = Report::new(&ours, &[Figure::seconds("init", 0.5)]);
        let rows = serde_json::to_value(&report.0).unwrap();
        assert_eq!(
            rows,
            serde_json::json!([
                { "name": "init", "value": 0.1, "unit": "s", "peer": 0.5, "ratio": 0.2 },
                { "name": "idle", "value": 12.0, "unit": "MiB" },
            ])
        );
        assert!(report.table().contains("init (s)"), "{}", report.table());
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(percentile(values.clone(), 50), 11.0);
        assert_eq!(percentile(values, 99), 20.0);
        assert_eq!(median(vec![3.0]), 3.0);
        let of_runs = Figure::median("runs".into(), vec![4.0, 1.0, 2.0, 3.0], Unit::PerSecond);
        assert_eq!((of_runs.value, of_runs.spread), (2.5, Some([1.0, 4.0])));
    }
}
