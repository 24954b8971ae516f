//! Whatever is read: an answer or an error, never a panic, and within bounds.

use std::path::Path;

use proptest::prelude::*;
use skep_compose::{Interpolation, MapLoader, Source, load};

fn read(sources: Vec<Vec<u8>>) -> bool {
    let loader = MapLoader {
        variables: [("SET".to_owned(), "value".to_owned())].into(),
        files: [("/w/e".into(), b"A=1\nB".to_vec())].into(),
    };
    let sources = sources.into_iter().map(|contents| Source { name: "f".into(), contents });
    let project = load(sources.collect(), Path::new("/w"), Interpolation::Expand, &loader);
    match project {
        Ok(project) => {
            let printed = Source { name: "p".into(), contents: project.to_yaml().into_bytes() };
            // What is printed is YAML of the right shape, whatever text it holds.
            let again = load(vec![printed], Path::new("/w"), Interpolation::Keep, &loader);
            assert_eq!(again.expect("printed files are read").to_yaml(), project.to_yaml());
            match project.stack("demo", &loader) {
                Ok(_) => true,
                Err(error) => !error.to_string().is_empty(),
            }
        }
        Err(error) => !error.to_string().is_empty(),
    }
}

/// Text with what matters to YAML, to templates and to the short forms.
fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9:/.,$\\{\\}?+-]{0,12}",
        "\\PC{0,8}",
        "[0-9]{1,5}(-[0-9]{1,5})?(:[0-9]{1,5})?(/(tcp|udp))?",
        Just("${SET:-x}".to_owned()),
        Just("1m30s".to_owned()),
        Just(" x\n y \n".to_owned()),
        Just("true".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        scalar().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        (0u16..100).prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{1,6}", prop::sample::select(FIELDS).prop_map(str::to_owned),]
}

const FIELDS: &[&str] = &[
    "command",
    "configs",
    "environment",
    "env_file",
    "deploy",
    "replicas",
    "resources",
    "limits",
    "cpus",
    "memory",
    "update_config",
    "delay",
    "healthcheck",
    "test",
    "interval",
    "labels",
    "logging",
    "options",
    "networks",
    "aliases",
    "ports",
    "target",
    "published",
    "secrets",
    "source",
    "mode",
    "volumes",
    "type",
    "tmpfs",
    "size",
    "ulimits",
    "soft",
    "hard",
    "extra_hosts",
    "external",
    "name",
    "file",
    "content",
    "x-y",
    "placement",
    "constraints",
    "restart",
    "dns",
];

proptest! {
    #[test]
    fn bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(vec![bytes]));
    }

    #[test]
    fn text(text in "(services:|[a-z]+:|- |\\{|\\}|\\[|\\]|&a|\\*a|<<:|\"|'|\\||\n  |\n|[a-z0-9]| |#|\t){0,60}") {
        prop_assert!(read(vec![text.into_bytes()]));
    }

    /// JSON is YAML, so that services of every shape come by.
    #[test]
    fn services(
        fields in prop::collection::btree_map(key(), value(), 0..4),
        objects in prop::collection::btree_map("(networks|volumes|secrets|configs)", value(), 0..2),
    ) {
        let mut service = fields.into_iter().collect::<serde_json::Map<_, _>>();
        service.insert("image".into(), "x".into());
        let mut file = objects.into_iter().collect::<serde_json::Map<_, _>>();
        file.insert("services".into(), serde_json::json!({"web": service}));
        let contents = serde_json::Value::from(file).to_string().into_bytes();
        prop_assert!(read(vec![contents.clone()]));
        prop_assert!(read(vec![contents.clone(), contents]));
    }

    /// One field at a time gets further into the file than several do.
    #[test]
    fn fields(name in prop::sample::select(FIELDS), value in value()) {
        let file = serde_json::json!({"services": {"web": {"image": "x", name: value}}});
        prop_assert!(read(vec![file.to_string().into_bytes()]));
    }
}

#[test]
fn bombs_are_refused() {
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        aliases.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let deep = format!("{}x{}", "[".repeat(5000), "]".repeat(5000));
    let ports = format!("services: {{w: {{image: x, ports: [{}]}}}}", {
        let ranges: Vec<_> = (1..500).map(|start| format!("'{start}-65535'")).collect();
        ranges.join(", ")
    });
    let wide = vec![b'#'; 17 * 1024 * 1024];
    let merge = format!("x: &x {{a: 1}}\n{}", "y: {<<: [*x, *x, *x]}\n");
    assert!(read(vec![merge.into_bytes()]));
    let loader = MapLoader {
        variables: [("BIG".to_owned(), "x".repeat(1 << 20))].into(),
        ..Default::default()
    };
    let expanding = format!("x-y: [{}]", vec!["$BIG"; 100].join(", "));
    for bomb in
        [aliases.into_bytes(), deep.into_bytes(), ports.into_bytes(), wide, expanding.into_bytes()]
    {
        let sources = vec![Source { name: "bomb".into(), contents: bomb }];
        let error = load(sources, Path::new("/w"), Interpolation::Expand, &loader).unwrap_err();
        let error = error.to_string();
        assert!(error.len() < 1000, "an error is short: {} bytes", error.len());
    }
}
