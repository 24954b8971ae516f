//! Who may import whom. The rooms of ARCHITECTURE.md are crates so that this can be checked: a
//! pure crate that reached for a clock, a socket or entropy would show here.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each room with the rooms that it may import.
const ALLOWED: &[(&str, &[&str])] = &[
    ("skep-types", &[]),
    ("skep-state", &["skep-types"]),
    ("skep-orchestrator", &["skep-types", "skep-state"]),
    ("skep-scheduler", &["skep-types", "skep-state"]),
    ("skep-compose", &["skep-types"]),
    ("skep-secrets", &["skep-types"]),
    ("skep-overlay-plan", &["skep-types"]),
    ("skep-idmap", &[]),
    ("skep-overlay-kernel", &["skep-types", "skep-idmap", "skep-overlay-plan"]),
    ("skep-overlay-net", &["skep-types", "skep-idmap", "skep-overlay-plan", "skep-overlay-kernel"]),
    ("skep-images", &["skep-types", "skep-idmap"]),
    ("skep-engine", &["skep-types", "skep-idmap", "skep-images"]),
    ("skep-proto", &["skep-types", "skep-state"]),
    ("skep-docker-api", &["skep-types"]),
    ("skep-template", &["skep-types"]),
    (
        "skep-bridge",
        &[
            "skep-types",
            "skep-idmap",
            "skep-docker-api",
            "skep-overlay-net",
            "skep-overlay-plan",
            "skep-overlay-kernel",
        ],
    ),
    (
        "skep-containers",
        &[
            "skep-types",
            "skep-idmap",
            "skep-docker-api",
            "skep-agent-plan",
            "skep-engine",
            "skep-images",
            "skep-bridge",
        ],
    ),
    ("skep-raft", &["skep-types", "skep-state", "skep-proto", "skep-secrets"]),
    ("skep-dispatch", &["skep-types", "skep-state"]),
    (
        "skep-manager",
        &[
            "skep-types",
            "skep-state",
            "skep-orchestrator",
            "skep-scheduler",
            "skep-compose",
            "skep-secrets",
            "skep-proto",
            "skep-docker-api",
            "skep-raft",
            "skep-dispatch",
            "skep-template",
        ],
    ),
    ("skep-agent-plan", &["skep-types"]),
    (
        "skep-agent",
        &[
            "skep-types",
            "skep-idmap",
            "skep-proto",
            "skep-secrets",
            "skep-engine",
            "skep-images",
            "skep-overlay-plan",
            "skep-overlay-kernel",
            "skep-overlay-net",
            "skep-docker-api",
            "skep-agent-plan",
            "skep-containers",
            "skep-template",
        ],
    ),
    (
        "skep-node",
        &[
            "skep-types",
            "skep-idmap",
            "skep-state",
            "skep-secrets",
            "skep-proto",
            "skep-docker-api",
            "skep-raft",
            "skep-engine",
            "skep-images",
            "skep-manager",
            "skep-agent",
            "skep-containers",
            "skep-bridge",
            "skep-overlay-kernel",
            "skep-overlay-net",
        ],
    ),
    (
        "skep-cli",
        &[
            "skep-types",
            "skep-compose",
            "skep-docker-api",
            "skep-node",
            "skep-containers",
            "skep-engine",
            "skep-images",
            "skep-template",
        ],
    ),
    (
        "skep-sim",
        &[
            "skep-types",
            "skep-state",
            "skep-orchestrator",
            "skep-scheduler",
            "skep-dispatch",
            "skep-agent-plan",
            "skep-overlay-plan",
        ],
    ),
    ("skep-e2e", &["skep-docker-api"]),
    (
        "skep-bench-swarm",
        &[
            "skep-types",
            "skep-state",
            "skep-secrets",
            "skep-proto",
            "skep-raft",
            "skep-manager",
            "skep-docker-api",
        ],
    ),
];

/// Crates that decide and do nothing else.
const PURE: &[&str] = &[
    "skep-types",
    "skep-state",
    "skep-orchestrator",
    "skep-scheduler",
    "skep-compose",
    "skep-overlay-plan",
    "skep-dispatch",
    "skep-agent-plan",
    "skep-template",
    "skep-sim",
];

/// What no pure crate may reach, at any distance: runtimes, kernels, clocks, entropy.
const IMPURE: &[&str] = &[
    "tokio",
    "tonic",
    "hyper",
    "axum",
    "openraft",
    "redb",
    "nix",
    "libc",
    "rustix",
    "mio",
    "socket2",
    "rand",
    "getrandom",
    "time",
    "chrono",
    "tracing",
    "rtnetlink",
    "nftables",
];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Rooms that import what they may not.
fn trespasses(graph: &Graph) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, imports) in graph.iter().filter(|(name, _)| name.starts_with("skep-")) {
        let Some((_, allowed)) = ALLOWED.iter().find(|(room, _)| room == name) else {
            faults.push(format!("{name} has no place in the table of rooms"));
            continue;
        };
        for import in imports.iter().filter(|import| import.starts_with("skep-")) {
            if !allowed.contains(&import.as_str()) {
                faults.push(format!("{name} imports {import}"));
            }
        }
    }
    faults
}

/// What of a crate's own tree is impure.
fn impurities(room: &str, tree: &BTreeSet<String>) -> Vec<String> {
    IMPURE
        .iter()
        .filter(|impure| tree.contains(**impure))
        .map(|impure| format!("{room} is to be pure and reaches {impure}"))
        .collect()
}

/// All that a crate reaches by normal dependencies with the features it asks for itself: in the
/// workspace's graph, features that others switch on would count against it.
fn tree(room: &str) -> BTreeSet<String> {
    let output = cargo(&["tree", "--package", room, "--edges", "normal", "--prefix", "none"]);
    let text = String::from_utf8(output).expect("crate names are UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn cargo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The workspace's graph of normal dependencies for this platform, as cargo resolves it.
fn workspace() -> Graph {
    let output =
        cargo(&["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"]);
    let metadata: serde_json::Value = serde_json::from_slice(&output).unwrap();
    let list = |value: &serde_json::Value| value.as_array().unwrap().clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let names: BTreeMap<String, String> =
        list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let mut graph = Graph::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let imports = graph.entry(names[&text(&node["id"])].clone()).or_default();
        for dependency in list(&node["deps"]) {
            if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                imports.insert(names[&text(&dependency["pkg"])].clone());
            }
        }
    }
    graph
}

#[test]
fn the_rooms_import_only_what_they_may() {
    let graph = workspace();
    let rooms = graph.keys().filter(|name| name.starts_with("skep-")).count();
    assert_eq!(rooms, ALLOWED.len(), "every room stands in the workspace");
    assert_eq!(trespasses(&graph), Vec::<String>::new());
}

#[test]
fn pure_rooms_reach_nothing_that_acts() {
    for room in PURE {
        let tree = tree(room);
        assert!(tree.contains("skep-types"), "the tree of {room} was read");
        assert_eq!(impurities(room, &tree), Vec::<String>::new());
    }
}

#[test]
fn a_bad_graph_is_found_out() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(
        trespasses(&graph(&[("skep-types", "skep-state")])),
        ["skep-types imports skep-state"]
    );
    assert_eq!(
        trespasses(&graph(&[("skep-attic", "serde")])),
        ["skep-attic has no place in the table of rooms"]
    );
    let tree = BTreeSet::from(["imbl".to_owned(), "getrandom".to_owned()]);
    assert_eq!(impurities("skep-state", &tree), ["skep-state is to be pure and reaches getrandom"]);
    assert!(!tree_is_pure("skep-proto"), "a room with a runtime is found to have one");
}

fn tree_is_pure(room: &str) -> bool {
    impurities(room, &tree(room)).is_empty()
}
