//! Packet rules, through the `nft` command: one transaction for each namespace. Those that change often
//! are changed without it (`edit.rs`).

mod edit;
mod read;

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use skep_overlay_plan::Ruleset;
use skep_overlay_plan::rules::{TABLE, USER_TABLE, user_table};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

pub use self::edit::edit;
pub use self::read::{counters, digest};
use crate::netlink::flatten;
use crate::{KernelError, Namespace};

/// A transaction takes about 10 ms; on a machine that is overloaded a hundred times over it still
/// ends within this.
const NFT_TIMEOUT: Duration = Duration::from_secs(30);

/// Replaces all rules of ours. What they count goes on, but for what comes in the moment between the
/// look at the counters and the replacement.
pub async fn replace(place: &Namespace, rules: &Ruleset) -> Result<(), KernelError> {
    match rules.counts() {
        true => execute(place, &rules.text_from(&counters(place).await?)).await,
        false => execute(place, rules.text()).await,
    }
}

/// Carries out a script in one transaction: all of it, or nothing.
pub async fn execute(place: &Namespace, script: &str) -> Result<(), KernelError> {
    run(place, &["-f", "-"], script).await.map(drop)
}

/// Removes all rules of ours; none is no error.
pub async fn remove(place: &Namespace) -> Result<(), KernelError> {
    let text: String = ["inet", "netdev"]
        .iter()
        .map(|family| format!("table {family} {TABLE} {{ }}\ndelete table {family} {TABLE}\n"))
        .collect();
    execute(place, &text).await
}

/// Makes the table for the operator's own rules; one that stands is left as it is.
pub async fn create_user_table(place: &Namespace) -> Result<(), KernelError> {
    if user_table_stands(place).await? {
        return Ok(());
    }
    execute(place, &user_table()).await
}

/// Whether the table for the operator's own rules is there.
pub async fn user_table_stands(place: &Namespace) -> Result<bool, KernelError> {
    let tables = list(place, &["-j", "list", "tables", "inet"]).await?;
    let mut tables = tables.into_iter().filter_map(|entry| entry.table);
    Ok(tables.any(|table| table.name == USER_TABLE))
}

/// Removes that table if nothing was written into it; none is no error.
pub async fn remove_unused_user_table(place: &Namespace) -> Result<(), KernelError> {
    if !user_table_stands(place).await? {
        return Ok(());
    }
    let held = run(place, &["-s", "list", "table", "inet", USER_TABLE], "").await?;
    // What was made is a chain without rules: its type, and what encloses it.
    let made = |line: &str| {
        matches!(line, "" | "}" | "chain forward {")
            || line.starts_with(&format!("table inet {USER_TABLE} {{"))
            || line.starts_with("type filter hook forward priority ")
    };
    let held = String::from_utf8_lossy(&held);
    if held.lines().map(str::trim).all(made) {
        execute(place, &format!("delete table inet {USER_TABLE}\n")).await?;
    }
    Ok(())
}

async fn list(
    place: &Namespace,
    question: &'static [&'static str],
) -> Result<Vec<Entry>, KernelError> {
    let answer = run(place, question, "").await?;
    let listing: Listing = serde_json::from_slice(&answer)
        .map_err(|source| KernelError::RulesAnswer { place: place.to_string(), source })?;
    Ok(listing.nftables)
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    table: Option<Table>,
}

#[derive(Deserialize)]
struct Table {
    name: String,
}

async fn run(
    place: &Namespace,
    arguments: &'static [&'static str],
    input: &str,
) -> Result<Vec<u8>, KernelError> {
    let runtime = tokio::runtime::Handle::current();
    let start = move || {
        let _guard = runtime.enter();
        Command::new("nft")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    };
    let step = || format!("run nft in {place}");
    let child = flatten(place.run(start).await).map_err(|error| KernelError::io(step())(error))?;
    let output = tokio::time::timeout(NFT_TIMEOUT, talk(child, input))
        .await
        .map_err(|_| KernelError::RulesTimeout {
            place: place.to_string(),
            seconds: NFT_TIMEOUT.as_secs(),
        })?
        .map_err(|error| KernelError::io(step())(error))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(KernelError::Rules { place: place.to_string(), message });
    }
    Ok(output.stdout)
}

async fn talk(mut child: Child, input: &str) -> std::io::Result<std::process::Output> {
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()).await {
            // It ended before it read everything, and says why on its standard error.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    child.wait_with_output().await
}
