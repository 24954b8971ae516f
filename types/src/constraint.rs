//! Placement constraints: `node.labels.zone == east` and its kin, parsed once, matched often.

use std::net::IpAddr;

use crate::Node;
use ipnet::IpNet;

/// What is wrong with a constraint's text; SwarmKit's wording.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum ConstraintError {
    #[error("constraint expected one operator from ==, !=: {0:?}")]
    NoOperator(String),
    #[error("key '{0}' is invalid")]
    Key(String),
    #[error("value '{0}' is invalid")]
    Value(String),
}

/// Which property of a node is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Subject {
    Id,
    Hostname,
    Ip,
    Role,
    Os,
    Architecture,
    NodeLabel(String),
    EngineLabel(String),
    /// A key that no node has: equal to nothing, different from nothing, as in SwarmKit.
    Unknown,
}

/// One condition on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    text: String,
    subject: Subject,
    equal: bool,
    value: String,
}

impl Constraint {
    /// Reads one constraint.
    ///
    /// # Errors
    /// The text has no operator, or its key or value has characters that none may have.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        let (key, equal, value) = match (text.split_once("=="), text.split_once("!=")) {
            (Some((key, value)), None) => (key, true, value),
            (None, Some((key, value))) => (key, false, value),
            (Some((key, value)), Some((other, rest))) => {
                if key.len() < other.len() {
                    (key, true, value)
                } else {
                    (other, false, rest)
                }
            }
            (None, None) => return Err(ConstraintError::NoOperator(text.to_owned())),
        };
        let (key, value) = (key.trim(), value.trim());
        if !is_key(key) {
            return Err(ConstraintError::Key(key.to_owned()));
        }
        if !is_value(value) {
            return Err(ConstraintError::Value(value.to_owned()));
        }
        let subject = subject(key);
        Ok(Self { text: text.to_owned(), subject, equal, value: value.to_owned() })
    }

    /// Whether a node meets the condition.
    pub fn holds(&self, node: &Node) -> bool {
        let description = node.description.as_ref();
        let of = |get: fn(&crate::node::NodeDescription) -> &str| {
            description.map_or("", get).eq_ignore_ascii_case(&self.value)
        };
        let same = match &self.subject {
            Subject::Id => node.id.to_string().eq_ignore_ascii_case(&self.value),
            Subject::Hostname => of(|description| &description.hostname),
            Subject::Ip => match within(&node.status.addr, &self.value) {
                Some(within) => within,
                // Neither side of an address that cannot be read is true.
                None => return false,
            },
            Subject::Role => node.spec.role.to_string().eq_ignore_ascii_case(&self.value),
            Subject::Os => of(|description| &description.os),
            Subject::Architecture => architecture(description.map_or("", |of| &of.architecture))
                .eq_ignore_ascii_case(architecture(&self.value)),
            Subject::NodeLabel(key) => {
                let label = node.spec.annotations.labels.get(key);
                label.map_or("", String::as_str).eq_ignore_ascii_case(&self.value)
            }
            Subject::EngineLabel(key) => {
                let label = description.and_then(|description| description.engine_labels.get(key));
                label.map_or("", String::as_str).eq_ignore_ascii_case(&self.value)
            }
            Subject::Unknown => return false,
        };
        same == self.equal
    }
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn subject(key: &str) -> Subject {
    let lower = key.to_ascii_lowercase();
    // Prefixes are matched in any case, the label's own key to the letter.
    if let Some(at) = lower.strip_prefix("node.labels.").map(|label| key.len() - label.len()) {
        return Subject::NodeLabel(key[at..].to_owned());
    }
    if let Some(at) = lower.strip_prefix("engine.labels.").map(|label| key.len() - label.len()) {
        return Subject::EngineLabel(key[at..].to_owned());
    }
    match lower.as_str() {
        "node.id" => Subject::Id,
        "node.hostname" => Subject::Hostname,
        "node.ip" => Subject::Ip,
        "node.role" => Subject::Role,
        "node.platform.os" => Subject::Os,
        "node.platform.arch" => Subject::Architecture,
        _ => Subject::Unknown,
    }
}

fn is_key(key: &str) -> bool {
    let mut bytes = key.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first
        && key.len() > 1
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_value(value: &str) -> bool {
    !value.is_empty()
        && value.bytes().all(|byte| {
            byte.is_ascii_alphanumeric()
                || byte.is_ascii_whitespace()
                || b":-_.*()?+[]\\^$|/".contains(&byte)
        })
}

/// Whether an address is the one given, or in the subnet given; none if either cannot be read.
fn within(address: &str, value: &str) -> Option<bool> {
    let address: IpAddr = address.parse().ok()?;
    match value.parse::<IpNet>() {
        Ok(subnet) => Some(subnet.contains(&address)),
        Err(_) => value.parse::<IpAddr>().ok().map(|given| given == address),
    }
}

/// One word for each architecture: Docker takes the kernel's names and Go's.
pub fn architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use crate::node::{NodeDescription, NodeStatus};
    use crate::{NodeId, NodeRole, NodeSpec};

    use super::*;

    fn node() -> Node {
        let mut spec = NodeSpec { role: NodeRole::Manager, ..NodeSpec::default() };
        spec.annotations.labels.insert("Zone".to_owned(), "East".to_owned());
        let description = NodeDescription {
            hostname: "host1".to_owned(),
            os: "linux".to_owned(),
            architecture: "x86_64".to_owned(),
            engine_labels: [("disk".to_owned(), "ssd".to_owned())].into(),
            ..NodeDescription::default()
        };
        Node {
            description: Some(description),
            status: NodeStatus { addr: "10.1.2.3".to_owned(), ..NodeStatus::default() },
            ..Node::new(NodeId::new(1), spec)
        }
    }

    #[test]
    fn constraints_hold_or_not() {
        for (text, expected) in [
            ("node.labels.Zone==east", true),
            ("node.labels.Zone == EAST", true),
            ("node.labels.zone==east", false),
            ("node.labels.zone!=east", true),
            ("Node.Labels.Zone!=east", false),
            ("engine.labels.disk==ssd", true),
            ("node.role==manager", true),
            ("node.role!=worker", true),
            ("node.hostname==HOST1", true),
            ("node.id==0000000000000000000000001", true),
            ("node.ip==10.1.2.3", true),
            ("node.ip==10.1.0.0/16", true),
            ("node.ip!=10.1.0.0/16", false),
            ("node.ip==nonsense", false),
            ("node.ip!=nonsense", false),
            ("node.platform.os==linux", true),
            ("node.platform.arch==amd64", true),
            ("node.platform.arch==x86_64", true),
            ("node.colour==red", false),
            ("node.colour!=red", false),
        ] {
            assert_eq!(Constraint::parse(text).unwrap().holds(&node()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_constraint_is_refused() {
        for (text, expected) in [
            ("node.role", "constraint expected one operator from ==, !=: \"node.role\""),
            ("==manager", "key '' is invalid"),
            ("1node==x", "key '1node' is invalid"),
            ("node.role==", "value '' is invalid"),
            ("node.role==a;b", "value 'a;b' is invalid"),
        ] {
            assert_eq!(Constraint::parse(text).unwrap_err().to_string(), expected);
        }
    }
}
