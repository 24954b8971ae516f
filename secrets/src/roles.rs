//! The one table of gRPC methods and who may call them.
//!
//! Invariant: a method that is not in the table is denied to everyone, and a certificate that is
//! foreign or expired counts as none: it neither opens a method nor closes one that is open to all.

use time::OffsetDateTime;

use crate::Role;
use crate::identity::Identity;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    Anyone,
    WorkerOrManager,
    ManagerOnly,
}

use Allowed::{Anyone, ManagerOnly, WorkerOrManager};

pub const TABLE: &[(&str, Allowed)] = &[
    ("/docker.swarmkit.v1.CA/GetRootCACertificate", Anyone),
    ("/docker.swarmkit.v1.CA/GetUnlockKey", ManagerOnly),
    // Anyone: the join token inside is what is checked.
    ("/docker.swarmkit.v1.NodeCA/IssueNodeCertificate", Anyone),
    ("/docker.swarmkit.v1.NodeCA/NodeCertificateStatus", Anyone),
    ("/docker.swarmkit.v1.Dispatcher/Session", WorkerOrManager),
    ("/docker.swarmkit.v1.Dispatcher/Heartbeat", WorkerOrManager),
    ("/docker.swarmkit.v1.Dispatcher/UpdateTaskStatus", WorkerOrManager),
    ("/docker.swarmkit.v1.Dispatcher/Assignments", WorkerOrManager),
    ("/docker.swarmkit.v1.Dispatcher/Tasks", WorkerOrManager),
    ("/docker.swarmkit.v1.Dispatcher/UpdateVolumeStatus", WorkerOrManager),
    ("/docker.swarmkit.v1.LogBroker/ListenSubscriptions", WorkerOrManager),
    ("/docker.swarmkit.v1.LogBroker/PublishLogs", WorkerOrManager),
    ("/docker.swarmkit.v1.Logs/SubscribeLogs", ManagerOnly),
    ("/docker.swarmkit.v1.ResourceAllocator/AttachNetwork", WorkerOrManager),
    ("/docker.swarmkit.v1.ResourceAllocator/DetachNetwork", WorkerOrManager),
    ("/docker.swarmkit.v1.Health/Check", ManagerOnly),
    ("/skep.v1.Control/Execute", ManagerOnly),
    ("/skep.v1.Control/ReadIndex", ManagerOnly),
    ("/skep.v1.Control/Upkeep", ManagerOnly),
    ("/skep.v1.Raft/AppendEntries", ManagerOnly),
    ("/skep.v1.Raft/Vote", ManagerOnly),
    ("/skep.v1.Raft/PreVote", ManagerOnly),
    ("/skep.v1.Raft/InstallSnapshot", ManagerOnly),
    ("/skep.v1.Raft/TransferLeader", ManagerOnly),
    ("/skep.v1.Membership/Join", ManagerOnly),
    ("/skep.v1.Membership/Leave", ManagerOnly),
    ("/skep.v1.Membership/Status", ManagerOnly),
    ("/skep.v1.Overlay/Endpoints", WorkerOrManager),
    ("/skep.v1.Overlay/Acknowledge", WorkerOrManager),
    ("/skep.v1.Overlay/Upkeep", WorkerOrManager),
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("permission denied: unknown method {0}")]
    UnknownMethod(String),
    #[error("permission denied: {0} needs a node certificate")]
    NoCertificate(String),
    #[error("permission denied: certificate of node {node_id} expired at {expires}")]
    Expired { node_id: String, expires: OffsetDateTime },
    #[error("permission denied: certificate of another swarm: expected {expected}, got {got}")]
    ForeignCluster { expected: String, got: String },
    #[error("permission denied: {method} needs role swarm-manager, got {}", .got.ou())]
    Role { method: String, got: Role },
}

/// Whether the holder of a TLS-verified certificate may call `method_path` at `now`. The time is
/// asked for because a connection may outlive the certificate that opened it.
///
/// Gives the identity to act on. It is none for a method open to [`Anyone`] when the certificate
/// is foreign or expired: a node must be able to join with a token whatever it still holds, but a
/// method that renews must not believe that certificate either.
pub fn authorize<'a>(
    method_path: &str,
    peer: Option<&'a Identity>,
    cluster_id: &str,
    now: OffsetDateTime,
) -> Result<Option<&'a Identity>, Denied> {
    let (_, allowed) = TABLE
        .iter()
        .find(|(method, _)| *method == method_path)
        .ok_or_else(|| Denied::UnknownMethod(method_path.to_owned()))?;
    if *allowed == Anyone {
        return Ok(peer.filter(|peer| valid(peer, cluster_id, now).is_ok()));
    }
    let peer = peer.ok_or_else(|| Denied::NoCertificate(method_path.to_owned()))?;
    valid(peer, cluster_id, now)?;
    match (allowed, peer.role) {
        (ManagerOnly, Role::Worker) => {
            Err(Denied::Role { method: method_path.to_owned(), got: peer.role })
        }
        _ => Ok(Some(peer)),
    }
}

fn valid(peer: &Identity, cluster_id: &str, now: OffsetDateTime) -> Result<(), Denied> {
    if peer.cluster_id != cluster_id {
        return Err(Denied::ForeignCluster {
            expected: cluster_id.to_owned(),
            got: peer.cluster_id.clone(),
        });
    }
    if peer.expires <= now {
        return Err(Denied::Expired { node_id: peer.node_id.clone(), expires: peer.expires });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn every_method_with_every_kind_of_certificate() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let peer = |role| Identity {
            node_id: "n1".into(),
            role,
            cluster_id: "c1".into(),
            expires: now + Duration::hours(1),
        };
        fn ask<'a>(
            method: &str,
            peer: Option<&'a Identity>,
            now: OffsetDateTime,
        ) -> Result<Option<&'a Identity>, Denied> {
            authorize(method, peer, "c1", now)
        }
        for (method, allowed) in TABLE {
            let none = ask(method, None, now);
            match allowed {
                Anyone => assert_eq!(none, Ok(None), "{method}"),
                _ => assert!(matches!(none, Err(Denied::NoCertificate(_))), "{method}"),
            }
            let worker = peer(Role::Worker);
            match ask(method, Some(&worker), now) {
                Ok(got) => assert!(*allowed != ManagerOnly && got == Some(&worker), "{method}"),
                Err(Denied::Role { .. }) => assert_eq!(*allowed, ManagerOnly, "{method}"),
                Err(other) => panic!("{method}: {other}"),
            }
            let manager = peer(Role::Manager);
            assert_eq!(ask(method, Some(&manager), now), Ok(Some(&manager)), "{method}");
            for role in [Role::Worker, Role::Manager] {
                let expired = Identity { expires: now, ..peer(role) };
                let foreign = Identity { cluster_id: "c2".into(), ..peer(role) };
                let expired = ask(method, Some(&expired), now);
                let foreign = ask(method, Some(&foreign), now);
                if *allowed == Anyone {
                    assert_eq!((expired, foreign), (Ok(None), Ok(None)), "{method}");
                } else {
                    assert!(matches!(expired, Err(Denied::Expired { .. })), "{method}");
                    assert!(matches!(foreign, Err(Denied::ForeignCluster { .. })), "{method}");
                }
            }
        }
        for unknown in ["", "/", "/docker.swarmkit.v1.CA/", "/skep.v1.Control/execute"] {
            let manager = peer(Role::Manager);
            let denied = ask(unknown, Some(&manager), now);
            assert!(matches!(denied, Err(Denied::UnknownMethod(_))));
        }
    }

    #[test]
    fn each_method_stands_once() {
        let unique: std::collections::BTreeSet<_> = TABLE.iter().map(|row| row.0).collect();
        assert_eq!(unique.len(), TABLE.len());
    }
}
