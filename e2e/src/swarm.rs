//! Makes the hosts of a fleet one swarm, through each daemon's own API.

use anyhow::{Context, Result, bail};
use skep_docker_api::filters::Filters;
use skep_docker_api::json::{SwarmInitRequest, SwarmJoinRequest};

use crate::host::Host;
use crate::limits;

const LISTEN: &str = "0.0.0.0:2377";

/// The first of `hosts` becomes the leader, the next managers, the rest workers. Returns when the
/// leader sees all of them ready.
pub fn form(hosts: &[Host], managers: usize) -> Result<()> {
    // A thread of its own: the caller may already be inside a runtime.
    std::thread::scope(|scope| {
        let forming = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("failed to start a runtime")?;
            runtime.block_on(async {
                tokio::time::timeout(limits::SWARM_WITHIN, join_all(hosts, managers))
                    .await
                    .with_context(|| format!("no swarm within {:?}", limits::SWARM_WITHIN))?
            })
        });
        forming.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

async fn join_all(hosts: &[Host], managers: usize) -> Result<()> {
    let Some((first, rest)) = hosts.split_first() else { bail!("a swarm needs a host") };
    let leader = first.client();
    let request = SwarmInitRequest {
        listen_addr: LISTEN.into(),
        advertise_addr: first.address().to_string(),
        ..Default::default()
    };
    leader.swarm_init(&request).await.context("failed to start a swarm on host1")?;
    let tokens = leader.swarm_inspect().await.context("failed to read join tokens")?.join_tokens;
    for (index, host) in rest.iter().enumerate() {
        let token = if index + 1 < managers { &tokens.manager } else { &tokens.worker };
        let request = SwarmJoinRequest {
            listen_addr: LISTEN.into(),
            advertise_addr: host.address().to_string(),
            remote_addrs: vec![format!("{}:2377", first.address())],
            join_token: token.clone(),
            ..Default::default()
        };
        let joined = host.client().swarm_join(&request).await;
        joined.with_context(|| format!("failed to join {}", host.name()))?;
    }
    loop {
        let nodes = leader.nodes(&Filters::default()).await.context("failed to list nodes")?;
        if nodes.iter().filter(|node| node.status.state == "ready").count() == hosts.len() {
            return Ok(());
        }
        tokio::time::sleep(limits::LOOK_EVERY).await;
    }
}
