//! From the one form to the objects of a swarm.
//!
//! **Invariant:** all or nothing. A stack comes out whole, or an error names the first spot that
//! stands in its way; nothing has been sent by then.

mod container;
mod dependencies;
mod deploy;
mod mounts;
mod objects;
mod reference;
mod service;

use std::collections::BTreeSet;

use crate::error::{Error, Problem};
use crate::loader::Loader;
use crate::names::Namespace;
use crate::node::Node;
use crate::project::Project;
use crate::stack::Stack;

/// What converting needs to know, and what it has to say.
struct Scope<'a> {
    namespace: Namespace<'a>,
    services: Node,
    networks: Node,
    volumes: Node,
    secrets: Node,
    configs: Node,
    warnings: Vec<String>,
}

impl Project {
    /// The stack `name`; contents of secrets and configs are asked of `loader`.
    pub fn stack(&self, name: &str, loader: &dyn Loader) -> Result<Stack, Error> {
        let quote_or_space = |c: char| c.is_whitespace() || matches!(c, '"' | '\'');
        if name.trim_matches(quote_or_space).is_empty() {
            return Err(Error::StackName(name.to_owned()));
        }
        self.convert(name, loader).map_err(|problem| problem.resolve(&self.sources))
    }

    fn convert(&self, name: &str, loader: &dyn Loader) -> Result<Stack, Problem> {
        let lookup = |name: &str| loader.variable(name).or_else(|| self.dotenv.get(name).cloned());
        let mut scope = Scope {
            namespace: Namespace(name),
            services: self.section("services"),
            networks: self.section("networks"),
            volumes: self.section("volumes"),
            secrets: self.section("secrets"),
            configs: self.section("configs"),
            warnings: self.warnings().to_vec(),
        };
        let section = self.section("services");
        for (service, node) in section.entries() {
            service::check_image(service, node)?;
        }
        dependencies::check(&section)?;
        let mut services = Vec::new();
        let mut used = BTreeSet::new();
        for (service, node) in section.entries() {
            let template = service::service(service, node, &mut scope)
                .map_err(|problem| problem.within(&format!("service {service}")))?;
            services.push(template);
            used.extend(service::networks_of(node));
        }
        let (networks, external_networks) = objects::networks(&scope, &used)?;
        let (secrets, external_secrets) = objects::secrets(&scope, loader, &lookup)?;
        let (configs, external_configs) = objects::configs(&scope, loader, &lookup)?;
        Ok(Stack {
            name: name.to_owned(),
            services,
            networks,
            external_networks,
            volumes: objects::volumes(&scope),
            secrets,
            external_secrets,
            configs,
            external_configs,
            warnings: scope.warnings,
        })
    }
}

impl Scope<'_> {
    /// The name that the cluster knows an object by.
    fn name(&self, name: &str, object: Option<&Node>) -> String {
        match object.map(|object| object.text_of("name")) {
            None | Some("") => self.namespace.scope(name),
            Some(given) => given.to_owned(),
        }
    }
}
