//! Generates messages and gRPC stubs from `proto/`; needs `protoc`.

/// Messages that hold credentials: `src/redacted.rs` writes their `Debug`, without the values.
const REDACTED: &[&str] = &[
    ".docker.swarmkit.v1.AcceptancePolicy.RoleAdmissionPolicy.Secret",
    ".docker.swarmkit.v1.CAConfig",
    ".docker.swarmkit.v1.ConfigSpec",
    ".docker.swarmkit.v1.ContainerSpec.PullOptions",
    ".docker.swarmkit.v1.EncryptionKey",
    ".docker.swarmkit.v1.GetUnlockKeyResponse",
    ".docker.swarmkit.v1.IssueNodeCertificateRequest",
    ".docker.swarmkit.v1.JoinTokens",
    ".docker.swarmkit.v1.RootCA",
    ".docker.swarmkit.v1.RootRotation",
    ".docker.swarmkit.v1.SecretSpec",
    ".docker.swarmkit.v1.VolumeSecret",
    ".skep.state.v1.RootCa",
    ".skep.v1.Opaque",
];

fn main() -> std::io::Result<()> {
    let swarmkit =
        ["types", "specs", "objects", "ca", "dispatcher", "logbroker", "resource", "health"]
            .map(|file| format!("proto/docker/swarmkit/v1/{file}.proto"));
    let ours = ["raft", "membership", "control", "state", "overlay"]
        .map(|file| format!("proto/skep/v1/{file}.proto"));
    let files: Vec<String> = swarmkit.into_iter().chain(ours).collect();
    tonic_prost_build::configure()
        .skip_debug(REDACTED)
        // The largest variants are the commonest, too: boxing them would cost more than it saves.
        .enum_attribute(".", "#[allow(clippy::large_enum_variant)]")
        // Shared by the messages to many nodes.
        .bytes(".skep.v1.EndpointsMessage.answers")
        // Maps in order, so that equal objects have equal bytes on every manager.
        .btree_map(".")
        .compile_protos(&files, &["proto".to_owned()])
}
