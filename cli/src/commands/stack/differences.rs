//! What differs between two documents, each place with its old and its new value. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One place that differs; none is what is not there.
#[derive(Debug, PartialEq)]
pub struct Difference {
    /// Members' names and places in lists: `TaskTemplate.ContainerSpec.Env.TZ`, `EndpointSpec.Ports[0]`.
    pub path: String,
    pub old: Option<Value>,
    pub new: Option<Value>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: &Option<Value>| match value {
            Some(value) => value.to_string(),
            None => "(none)".to_owned(),
        };
        write!(f, "{}: {} -> {}", self.path, shown(&self.old), shown(&self.new))
    }
}

/// Every place in which two documents differ, in the order of their names.
pub fn between(old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(old), Some(new), &mut found);
    found
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    let (old, new) = (old.filter(|it| says_something(it)), new.filter(|it| says_something(it)));
    if old == new {
        return;
    }
    let before = found.len();
    // What has members is told by them, also where it is wholly new or gone.
    let none = Value::Object(serde_json::Map::new());
    let both = match (old, new) {
        (None, Some(Value::Object(_))) => (Some(&none), new),
        (Some(Value::Object(_)), None) => (old, Some(&none)),
        both => both,
    };
    match both {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                compare(&member(path, name), old.get(name), new.get(name), found);
            }
            return;
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            if let (Some(one), Some(other)) = (pairs(one), pairs(other)) {
                let names: BTreeSet<&str> = one.keys().chain(other.keys()).copied().collect();
                for name in names {
                    compare(&member(path, name), one.get(name), other.get(name), found);
                }
            } else if one.len() == other.len() {
                for (place, (old, new)) in one.iter().zip(other).enumerate() {
                    compare(&format!("{path}[{place}]"), Some(old), Some(new), found);
                }
            }
        }
        _ => {}
    }
    if found.len() == before {
        let (path, old, new) = (path.to_owned(), old.cloned(), new.cloned());
        found.push(Difference { path, old, new });
    }
}

/// Whether a value is more than an empty one, which says the same as none.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => members.values().any(says_something),
        Value::String(text) => !text.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn member(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A list of `NAME=value`, as environments are, by name; none for any other list.
fn pairs(items: &[Value]) -> Option<BTreeMap<&str, Value>> {
    let mut pairs = BTreeMap::new();
    for item in items {
        let (name, value) = item.as_str()?.split_once('=')?;
        // `==` is a constraint, not a variable.
        if value.starts_with('=') || pairs.insert(name, Value::from(value)).is_some() {
            return None;
        }
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(old: Value, new: Value) -> Vec<String> {
        between(&old, &new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_place_that_differs_is_told_with_both_values() {
        let old =
            json!({"Image": "a:1", "Env": ["A=1", "B=2"], "Ports": [{"Target": 80}], "Same": [1]});
        let new =
            json!({"Image": "a:2", "Env": ["B=3", "C=4"], "Ports": [{"Target": 81}], "Same": [1]});
        let expected = [
            r#"Env.A: "1" -> (none)"#,
            r#"Env.B: "2" -> "3""#,
            r#"Env.C: (none) -> "4""#,
            r#"Image: "a:1" -> "a:2""#,
            "Ports[0].Target: 80 -> 81",
        ];
        assert_eq!(lines(old, new), expected);
    }

    #[test]
    fn lists_of_other_lengths_and_orders_are_told_whole() {
        let (old, new) = (json!({"Args": ["a"]}), json!({"Args": ["a", "b"]}));
        assert_eq!(lines(old, new), [r#"Args: ["a"] -> ["a","b"]"#]);
        let (old, new) = (json!(["A=1", "B=2"]), json!(["B=2", "A=1"]));
        assert_eq!(
            lines(json!({"Env": old}), json!({"Env": new})),
            [r#"Env: ["A=1","B=2"] -> ["B=2","A=1"]"#]
        );
        let (old, new) = (json!(["node.role==a"]), json!(["node.role==b"]));
        assert_eq!(
            lines(json!({"C": old}), json!({"C": new})),
            [r#"C[0]: "node.role==a" -> "node.role==b""#]
        );
    }

    #[test]
    fn what_is_empty_says_the_same_as_what_is_not_there() {
        assert!(lines(json!({"A": {}, "B": [], "C": null, "D": ""}), json!({})).is_empty());
        assert_eq!(lines(json!({}), json!({"A": 0})), ["A: (none) -> 0"]);
    }
}
