//! Generic resources as flags name them: `gpu=2`, in docker's words where they are none.

use skep_docker_api::json::{DiscreteGenericResource, GenericResource};
use skep_types::generic;
use skep_types::resources::GenericResource as Parsed;

use crate::failure::{Failure, Outcome};

/// One term, as a flag takes it.
pub fn term(text: &str) -> Result<String, String> {
    match text.contains('=') {
        true => Ok(text.to_owned()),
        false => Err(format!("invalid generic-resource format `{text}` expected `name=value`")),
    }
}

/// The resources that terms ask for.
pub fn parse(terms: &[String]) -> Outcome<Vec<GenericResource>> {
    let parsed = generic::parse(terms.iter().map(String::as_str)).map_err(|error| {
        Failure::new(format!("invalid generic resource specification: {error}"))
    })?;
    let one = |resource: Parsed| match resource {
        Parsed::Discrete { kind, value } => Ok(GenericResource {
            discrete: Some(DiscreteGenericResource { kind, value }),
            ..Default::default()
        }),
        Parsed::Named { kind, value } => Err(Failure::new(format!(
            "invalid generic-resource request `{kind}={value}`, Named Generic Resources is not \
             supported for service create or update"
        ))),
    };
    parsed.into_iter().map(one).collect()
}

fn kind(resource: &GenericResource) -> &str {
    match (&resource.named, &resource.discrete) {
        (Some(named), _) => &named.kind,
        (None, Some(count)) => &count.kind,
        (None, None) => "",
    }
}

/// Adds to what stands, or changes how many of it, and takes kinds away, as `service update` does.
pub fn change(resources: &mut Vec<GenericResource>, add: &[String], remove: &[String]) -> Outcome {
    for added in parse(add)? {
        let stands = resources.iter_mut().find(|it| kind(it) == kind(&added));
        match (stands.and_then(|it| it.discrete.as_mut()), &added.discrete) {
            (Some(have), Some(wanted)) => have.value = wanted.value,
            _ => resources.push(added),
        }
    }
    for removed in remove {
        if !resources.iter().any(|it| kind(it) == removed) {
            return Err(Failure::new(format!(
                "could not find generic-resource `{removed}` to remove it"
            )));
        }
        resources.retain(|it| kind(it) != removed);
    }
    Ok(())
}
