//! Packet rules, through the `nft` command: one transaction for each namespace.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use skep_overlay_plan::Ruleset;
use skep_overlay_plan::rules::{Digest, TABLE};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::netlink::flatten;
use crate::{KernelError, Namespace};

/// A transaction takes about 10 ms; on a machine that is overloaded a hundred times over it still
/// ends within this.
const NFT_TIMEOUT: Duration = Duration::from_secs(30);

/// Replaces all rules of ours.
pub async fn replace(place: &Namespace, rules: &Ruleset) -> Result<(), KernelError> {
    execute(place, rules.text()).await
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

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    chain: Option<Chain>,
}

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
}

/// The digest of the rules that stand.
pub async fn digest(place: &Namespace) -> Result<Option<Digest>, KernelError> {
    let answer = run(place, &["-j", "list", "chains"], "").await?;
    let listing: Listing = serde_json::from_slice(&answer)
        .map_err(|source| KernelError::RulesAnswer { place: place.to_string(), source })?;
    let ours = |chain: &Chain| chain.family == "inet" && chain.table == TABLE;
    let chains = listing.nftables.into_iter().filter_map(|entry| entry.chain);
    Ok(chains.filter(ours).find_map(|chain| Digest::from_chain(&chain.name)))
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
