//! The shape of a Compose file: version 3.13, and what the Compose Specification adds that a stack
//! can honour, or ignore with a warning.
//!
//! DEVIATION: Docker's stacks refuse what the Specification adds: `name`; of services `dns_opt`,
//! `group_add`, `platform`, `profiles`, `pull_policy`, `runtime`, `env_file` and `depends_on` in
//! long form; of ports `name`, `app_protocol`, `host_ip`, and `published` as text; `cpus` as a
//! number; sizes of tmpfs as text, and their mode; of networks `enable_ipv6`, `ip_range` and
//! `gateway`; `environment` of secrets and configs, and `content` of configs.

use crate::normal::ports;
use crate::shape::{Fields, Format, Kind, Others, Shape, is_object_name};
use crate::units;
use Kind::{Boolean, Integer, Null, Number, Text};

const TEXT: Shape = Shape::Scalar(&[Text]);
const BOOLEAN: Shape = Shape::Scalar(&[Boolean]);
const INTEGER: Shape = Shape::Scalar(&[Integer]);
const NUMBER: Shape = Shape::Scalar(&[Number]);
const TEXT_OR_NUMBER: Shape = Shape::Scalar(&[Text, Number]);
const SCALAR: Shape = Shape::Scalar(&[Text, Number, Null]);
const TEXTS: Shape = Shape::Set(&TEXT);
const TEXT_OR_TEXTS: Shape = Shape::Either(&[TEXT, TEXTS]);
const COMMAND: Shape = Shape::Either(&[TEXT, Shape::List(&TEXT), Shape::Scalar(&[Null])]);
const OPTIONS: Shape = Shape::Map(&Fields {
    known: &[],
    required: &[],
    others: Others::Values(&SCALAR),
    or_null: false,
});
/// `{A: 1}` or `["A=1"]`.
const PAIRS: Shape = Shape::Either(&[OPTIONS, Shape::Set(&PAIR)]);
const PAIR: Shape = Shape::Formatted(&[Text], &PAIR_FORMAT);
static PAIR_FORMAT: Format =
    Format { name: "name=value", valid: |text| !text.is_empty() && !text.starts_with('=') };
const NAME: Shape = Shape::Formatted(&[Text], &NAME_FORMAT);
static NAME_FORMAT: Format = Format { name: "name", valid: is_object_name };
const DURATION: Shape = Shape::Formatted(&[Text], &DURATION_FORMAT);
static DURATION_FORMAT: Format =
    Format { name: "duration", valid: |text| units::duration(text).is_ok() };
static PORTS_FORMAT: Format = Format { name: "ports", valid: |text| ports::parse(text).is_ok() };

/// A map with these keys and `x-…`.
const fn fields(known: &'static [(&'static str, Shape)]) -> Fields {
    Fields { known, required: &[], others: Others::Extensions, or_null: false }
}

/// A map from names to values of a shape.
const fn named(shape: &'static Shape) -> Fields {
    Fields { known: &[], required: &[], others: Others::Named(shape), or_null: false }
}

const fn or_null(fields: Fields) -> Fields {
    let Fields { known, required, others: _, or_null: _ } = fields;
    Fields { known, required, others: Others::Extensions, or_null: true }
}

pub(crate) static FILE: Shape = Shape::Map(&FILE_FIELDS);

static FILE_FIELDS: Fields = fields(&[
    ("version", TEXT_OR_NUMBER),
    ("name", TEXT),
    ("services", Shape::Map(&SERVICES)),
    ("networks", Shape::Map(&NETWORKS)),
    ("volumes", Shape::Map(&VOLUMES)),
    ("secrets", Shape::Map(&SECRETS)),
    ("configs", Shape::Map(&CONFIGS)),
]);

static SERVICES: Fields = named(&Shape::Map(&SERVICE));
static NETWORKS: Fields = named(&Shape::Map(&NETWORK));
static VOLUMES: Fields = named(&Shape::Map(&VOLUME));
static SECRETS: Fields = named(&Shape::Map(&SECRET));
static CONFIGS: Fields = named(&Shape::Map(&CONFIG));

static SERVICE: Fields = fields(&[
    ("build", Shape::Either(&[TEXT, Shape::Map(&FREE)])),
    ("cap_add", TEXTS),
    ("cap_drop", TEXTS),
    ("cgroupns_mode", TEXT),
    ("cgroup_parent", TEXT),
    ("command", COMMAND),
    ("configs", Shape::List(&Shape::Either(&[TEXT, Shape::Map(&FILE_REFERENCE)]))),
    ("container_name", TEXT),
    ("credential_spec", Shape::Map(&CREDENTIAL_SPEC)),
    ("depends_on", Shape::Either(&[TEXTS, Shape::Map(&DEPENDENCIES)])),
    ("deploy", Shape::Map(&DEPLOY)),
    ("devices", TEXTS),
    ("dns", TEXT_OR_TEXTS),
    ("dns_opt", TEXTS),
    ("dns_search", TEXT_OR_TEXTS),
    ("domainname", TEXT),
    ("entrypoint", COMMAND),
    (
        "env_file",
        Shape::Either(&[TEXT, Shape::List(&Shape::Either(&[TEXT, Shape::Map(&ENV_FILE)]))]),
    ),
    ("environment", PAIRS),
    ("expose", Shape::Set(&TEXT_OR_NUMBER)),
    ("external_links", TEXTS),
    ("extra_hosts", PAIRS),
    ("group_add", Shape::Set(&TEXT_OR_NUMBER)),
    ("healthcheck", Shape::Map(&HEALTHCHECK)),
    ("hostname", TEXT),
    ("image", TEXT),
    ("init", BOOLEAN),
    ("ipc", TEXT),
    ("isolation", TEXT),
    ("labels", PAIRS),
    ("links", TEXTS),
    ("logging", Shape::Map(&LOGGING)),
    ("mac_address", TEXT),
    ("network_mode", TEXT),
    ("networks", Shape::Either(&[Shape::Set(&NAME), Shape::Map(&SERVICE_NETWORKS)])),
    ("oom_score_adj", INTEGER),
    ("pid", Shape::Scalar(&[Text, Null])),
    ("platform", TEXT),
    ("ports", Shape::Set(&PORT)),
    ("privileged", BOOLEAN),
    ("profiles", TEXTS),
    ("pull_policy", TEXT),
    ("read_only", BOOLEAN),
    ("restart", TEXT),
    ("runtime", TEXT),
    ("secrets", Shape::List(&Shape::Either(&[TEXT, Shape::Map(&FILE_REFERENCE)]))),
    ("security_opt", TEXTS),
    ("shm_size", TEXT_OR_NUMBER),
    ("stdin_open", BOOLEAN),
    ("stop_grace_period", DURATION),
    ("stop_signal", TEXT),
    ("sysctls", PAIRS),
    ("tmpfs", TEXT_OR_TEXTS),
    ("tty", BOOLEAN),
    ("ulimits", Shape::Map(&ULIMITS)),
    ("user", TEXT),
    ("userns_mode", TEXT),
    ("volumes", Shape::List(&Shape::Either(&[TEXT, Shape::Map(&MOUNT)]))),
    ("working_dir", TEXT),
]);

static FREE: Fields = Fields { known: &[], required: &[], others: Others::Free, or_null: false };

static CREDENTIAL_SPEC: Fields = fields(&[("config", TEXT), ("file", TEXT), ("registry", TEXT)]);

static DEPENDENCIES: Fields = named(&Shape::Map(&DEPENDENCY));

static DEPENDENCY: Fields = Fields {
    known: &[("condition", TEXT), ("required", BOOLEAN), ("restart", BOOLEAN)],
    required: &["condition"],
    others: Others::Extensions,
    or_null: false,
};

static ENV_FILE: Fields = Fields {
    known: &[("path", TEXT), ("required", BOOLEAN)],
    required: &["path"],
    others: Others::Extensions,
    or_null: false,
};

static FILE_REFERENCE: Fields =
    fields(&[("source", TEXT), ("target", TEXT), ("uid", TEXT), ("gid", TEXT), ("mode", NUMBER)]);

static LOGGING: Fields = fields(&[("driver", TEXT), ("options", OPTIONS)]);

static SERVICE_NETWORKS: Fields =
    named(&Shape::Either(&[Shape::Map(&SERVICE_NETWORK), Shape::Scalar(&[Null])]));

static SERVICE_NETWORK: Fields = fields(&[
    ("aliases", TEXTS),
    ("driver_opts", OPTIONS),
    ("ipv4_address", TEXT),
    ("ipv6_address", TEXT),
]);

static PORT: Shape = Shape::Either(&[
    Shape::Formatted(&[Number], &PORTS_FORMAT),
    Shape::Formatted(&[Text], &PORTS_FORMAT),
    Shape::Map(&LONG_PORT),
]);

static LONG_PORT: Fields = fields(&[
    ("mode", TEXT),
    ("name", TEXT),
    ("target", INTEGER),
    ("published", Shape::Scalar(&[Integer, Text])),
    ("protocol", TEXT),
    ("app_protocol", TEXT),
    ("host_ip", TEXT),
]);

static ULIMITS: Fields = Fields {
    known: &[],
    required: &[],
    others: Others::Values(&Shape::Either(&[INTEGER, Shape::Map(&ULIMIT)])),
    or_null: false,
};

static ULIMIT: Fields = Fields {
    known: &[("hard", INTEGER), ("soft", INTEGER)],
    required: &["soft", "hard"],
    others: Others::Extensions,
    or_null: false,
};

static MOUNT: Fields = Fields {
    known: &[
        ("type", TEXT),
        ("source", TEXT),
        ("target", TEXT),
        ("read_only", BOOLEAN),
        ("consistency", TEXT),
        ("bind", Shape::Map(&BIND_OPTIONS)),
        ("volume", Shape::Map(&VOLUME_OPTIONS)),
        ("tmpfs", Shape::Map(&TMPFS_OPTIONS)),
        ("image", Shape::Map(&FREE)),
        ("cluster", Shape::Map(&FREE)),
    ],
    required: &["type"],
    others: Others::Extensions,
    or_null: false,
};

static BIND_OPTIONS: Fields =
    fields(&[("propagation", TEXT), ("create_host_path", BOOLEAN), ("selinux", TEXT)]);
static VOLUME_OPTIONS: Fields = fields(&[("nocopy", BOOLEAN), ("subpath", TEXT)]);
static TMPFS_OPTIONS: Fields =
    fields(&[("size", Shape::Either(&[Shape::Size, TEXT])), ("mode", NUMBER)]);

static HEALTHCHECK: Fields = fields(&[
    ("disable", BOOLEAN),
    ("interval", DURATION),
    ("retries", NUMBER),
    ("test", Shape::Either(&[TEXT, Shape::List(&TEXT)])),
    ("timeout", DURATION),
    ("start_period", DURATION),
    ("start_interval", DURATION),
]);

static DEPLOY: Fields = or_null(fields(&[
    ("mode", TEXT),
    ("endpoint_mode", TEXT),
    ("replicas", INTEGER),
    ("labels", PAIRS),
    ("rollback_config", Shape::Map(&UPDATE_CONFIG)),
    ("update_config", Shape::Map(&UPDATE_CONFIG)),
    ("resources", Shape::Map(&RESOURCES)),
    ("restart_policy", Shape::Map(&RESTART_POLICY)),
    ("placement", Shape::Map(&PLACEMENT)),
]));

static UPDATE_CONFIG: Fields = fields(&[
    ("parallelism", INTEGER),
    ("delay", DURATION),
    ("failure_action", TEXT),
    ("monitor", DURATION),
    ("max_failure_ratio", NUMBER),
    ("order", Shape::Words(&["start-first", "stop-first"])),
]);

static RESOURCES: Fields =
    fields(&[("limits", Shape::Map(&LIMITS)), ("reservations", Shape::Map(&RESERVATIONS))]);

static LIMITS: Fields = fields(&[("cpus", TEXT_OR_NUMBER), ("memory", TEXT), ("pids", INTEGER)]);

static RESERVATIONS: Fields = fields(&[
    ("cpus", TEXT_OR_NUMBER),
    ("memory", TEXT),
    ("generic_resources", Shape::List(&Shape::Map(&GENERIC_RESOURCE))),
]);

static GENERIC_RESOURCE: Fields =
    fields(&[("discrete_resource_spec", Shape::Map(&DISCRETE_RESOURCE))]);

static DISCRETE_RESOURCE: Fields = fields(&[("kind", TEXT), ("value", INTEGER)]);

static RESTART_POLICY: Fields = fields(&[
    ("condition", TEXT),
    ("delay", DURATION),
    ("max_attempts", INTEGER),
    ("window", DURATION),
]);

static PLACEMENT: Fields = fields(&[
    ("constraints", Shape::List(&TEXT)),
    ("preferences", Shape::List(&Shape::Map(&PREFERENCE))),
    ("max_replicas_per_node", INTEGER),
]);

static PREFERENCE: Fields = fields(&[("spread", TEXT)]);

const EXTERNAL: Shape = Shape::Either(&[BOOLEAN, Shape::Map(&EXTERNAL_NAME)]);
static EXTERNAL_NAME: Fields = fields(&[("name", TEXT)]);

static NETWORK: Fields = or_null(fields(&[
    ("name", TEXT),
    ("driver", TEXT),
    ("driver_opts", OPTIONS),
    ("ipam", Shape::Map(&IPAM)),
    ("external", EXTERNAL),
    ("internal", BOOLEAN),
    ("attachable", BOOLEAN),
    ("enable_ipv6", BOOLEAN),
    ("labels", PAIRS),
]));

static IPAM: Fields = fields(&[("driver", TEXT), ("config", Shape::List(&Shape::Map(&IPAM_POOL)))]);

static IPAM_POOL: Fields = fields(&[("subnet", TEXT), ("ip_range", TEXT), ("gateway", TEXT)]);

static VOLUME: Fields = or_null(fields(&[
    ("name", TEXT),
    ("driver", TEXT),
    ("driver_opts", OPTIONS),
    ("external", EXTERNAL),
    ("labels", PAIRS),
]));

static SECRET: Fields = fields(&[
    ("name", TEXT),
    ("file", TEXT),
    ("environment", TEXT),
    ("external", EXTERNAL),
    ("labels", PAIRS),
    ("driver", TEXT),
    ("driver_opts", OPTIONS),
    ("template_driver", TEXT),
]);

static CONFIG: Fields = fields(&[
    ("name", TEXT),
    ("file", TEXT),
    ("environment", TEXT),
    ("content", TEXT),
    ("external", EXTERNAL),
    ("labels", PAIRS),
    ("template_driver", TEXT),
]);
