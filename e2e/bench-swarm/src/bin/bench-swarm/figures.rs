//! What was measured, as a table and as rows of `bench.json`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// A figure; its name begins with that of its benchmark and a blank.
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// The peer's, where one is known.
    pub peer: Option<f64>,
}

impl Figure {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, peer: None }
    }

    pub fn beside(self, peer: f64) -> Self {
        Self { peer: Some(peer), ..self }
    }
}

pub fn table(figures: &[Figure]) -> String {
    let mut text = format!("{:60} {:>12} {:>12} {:>8}\n", "", "skep", "SwarmKit", "ratio");
    for Figure { name, value, unit, peer } in figures {
        let number = |it: Option<f64>| it.map_or("-".to_owned(), |it| format!("{it:.2}"));
        let (name, ratio) = (format!("{name} ({unit})"), peer.map(|peer| value / peer));
        let (value, peer, ratio) = (number(Some(*value)), number(*peer), number(ratio));
        let _ = writeln!(text, "{name:60} {value:>12} {peer:>12} {ratio:>8}");
    }
    text
}

/// Puts rows in the place of earlier ones of the same benchmarks; others stay.
pub fn save(path: &Path, figures: &[Figure]) -> Result<()> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "[]".to_owned(),
        read => read.with_context(|| format!("failed to read {}", path.display()))?,
    };
    let mut rows: Vec<Value> = serde_json::from_str(&text)
        .with_context(|| format!("{} holds no list of figures", path.display()))?;
    let benchmark = |name: &str| name.split(' ').next().unwrap_or_default().to_owned();
    let measured: BTreeSet<String> = figures.iter().map(|it| benchmark(&it.name)).collect();
    rows.retain(|row| !row["name"].as_str().is_some_and(|it| measured.contains(&benchmark(it))));
    for Figure { name, value, unit, peer } in figures {
        let mut row = json!({ "name": name, "value": value, "unit": unit });
        if let Some(peer) = peer {
            row["peer"] = json!(peer);
            row["ratio"] = json!(value / peer);
        }
        rows.push(row);
    }
    let text = serde_json::to_string_pretty(&rows).context("failed to encode figures")?;
    std::fs::write(path, text + "\n").with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_other_benchmarks_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bench.json");
        save(&path, &[Figure::new("one a", 1.0, "s"), Figure::new("one b", 2.0, "s")]).unwrap();
        save(&path, &[Figure::new("two a", 3.0, "s")]).unwrap();
        save(&path, &[Figure::new("one a", 4.0, "s").beside(2.0)]).unwrap();
        let rows: Vec<Value> =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(
            rows,
            [
                json!({ "name": "two a", "value": 3.0, "unit": "s" }),
                json!({ "name": "one a", "value": 4.0, "unit": "s", "peer": 2.0, "ratio": 2.0 }),
            ]
        );
        std::fs::write(&path, "{}").unwrap();
        save(&path, &[]).unwrap_err();
    }
}
