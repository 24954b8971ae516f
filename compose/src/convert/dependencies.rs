//! What services wait for, as a label of each; a circle is refused, for nobody in it would begin.

use std::collections::BTreeSet;

use skep_types::dependency::{self, Condition, Dependency};

use super::Scope;
use crate::error::{At, Problem};
use crate::node::Node;

/// The label's value; none where the service waits for nothing.
pub(super) fn label(service: &Node, scope: &mut Scope<'_>, name: &str) -> Option<String> {
    let dependencies: Vec<Dependency> = needs(service)
        // What need not be there and is not: there is nothing to wait for.
        .filter(|need| scope.services.get(need.service).is_some())
        .map(|need| Dependency {
            service: scope.namespace.scope(need.service),
            condition: need.condition,
        })
        .collect();
    let given = service.get("depends_on").into_iter().flat_map(Node::entries);
    for (other, node) in given {
        if node.get("restart").and_then(Node::as_bool) == Some(true) {
            let warning = format!("service {name}: depends_on {other}: restart is ignored");
            scope.warnings.push(warning);
        }
    }
    (!dependencies.is_empty()).then(|| dependency::label(&dependencies))
}

struct Need<'a> {
    service: &'a str,
    condition: Condition,
    at: At,
    required: bool,
}

/// Conditions are known words by then.
fn needs(service: &Node) -> impl Iterator<Item = Need<'_>> {
    let given = service.get("depends_on");
    let long = given.into_iter().flat_map(Node::entries).map(|(service, node)| Need {
        service,
        condition: Condition::from_word(node.text_of("condition")).unwrap_or_default(),
        at: node.at,
        required: node.get("required").and_then(Node::as_bool) != Some(false),
    });
    let short = given.into_iter().flat_map(Node::items).filter_map(|node| {
        let service = node.as_str()?;
        Some(Need { service, condition: Condition::default(), at: node.at, required: true })
    });
    long.chain(short)
}

/// Holds where every service that must be there is, and none waits for itself.
pub(super) fn check(services: &Node) -> Result<(), Problem> {
    for (name, service) in services.entries() {
        for (other, node) in service.get("depends_on").into_iter().flat_map(Node::entries) {
            let condition = node.text_of("condition");
            if Condition::from_word(condition).is_none() {
                return Err(node.at.problem(format!(
                    "service {name}: depends_on {other}: unknown condition {condition:?}: expected \
                     service_started, service_healthy or service_completed_successfully"
                )));
            }
        }
        for need in needs(service) {
            if services.get(need.service).is_none() && need.required {
                let other = need.service;
                return Err(need
                    .at
                    .problem(format!("service {name:?} depends on undefined service {other:?}")));
            }
        }
    }
    let mut done = BTreeSet::new();
    for (name, _) in services.entries() {
        walk(services, name, &mut Vec::new(), &mut done)?;
    }
    Ok(())
}

/// Goes where `name` waits; `done` are those from which no circle starts.
fn walk<'a>(
    services: &'a Node,
    name: &'a str,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Result<(), Problem> {
    if done.contains(name) {
        return Ok(());
    }
    let Some(service) = services.get(name) else { return Ok(()) };
    if let Some(start) = path.iter().position(|on| *on == name) {
        let circle = [&path[start..], &[name]].concat().join(" -> ");
        return Err(service.at.problem(format!("dependency cycle detected: {circle}")));
    }
    path.push(name);
    for need in needs(service) {
        walk(services, need.service, path, done)?;
    }
    path.pop();
    done.insert(name);
    Ok(())
}
