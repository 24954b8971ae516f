//! Figures, as the other benchmarks write them.

use std::path::Path;

use anyhow::{Context, Result};

#[derive(Clone, Copy)]
pub enum Unit {
    Seconds,
    Milliseconds,
    Mebibytes,
    PerSecond,
    Percent,
    Count,
}

impl Unit {
    fn word(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Mebibytes => "MiB",
            Self::PerSecond => "/s",
            Self::Percent => "%",
            Self::Count => "",
        }
    }
}

pub struct Rows {
    title: String,
    rows: Vec<(String, f64, Unit)>,
}

impl Rows {
    pub fn new(title: String) -> Self {
        Self { title, rows: Vec::new() }
    }

    /// Notes a figure, and prints it.
    pub fn add(&mut self, what: &str, value: f64, unit: Unit) {
        let name = format!("{}: {what}", self.title);
        println!("{name:<90} {value:>10.1} {}", unit.word());
        self.rows.push((name, value, unit));
    }

    /// Puts the rows into a list of figures, in place of those of earlier runs.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).unwrap_or_else(|_| "[]".to_owned());
        let mut list: Vec<serde_json::Value> = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged", path.display()))?;
        let ours = |row: &serde_json::Value| {
            row["name"].as_str().is_some_and(|name| name.starts_with("control-plane "))
        };
        list.retain(|row| !ours(row));
        list.extend(self.rows.iter().map(|(name, value, unit)| {
            serde_json::json!({ "name": name, "value": value, "unit": unit.word() })
        }));
        let text = serde_json::to_string_pretty(&list).context("figures are no JSON")?;
        let saved = std::fs::write(path, text + "\n");
        saved.with_context(|| format!("failed to write {}", path.display()))
    }
}
