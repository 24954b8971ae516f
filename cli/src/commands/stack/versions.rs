//! Versions of secrets and configs. Their content is fixed once they are made, so where a file's content changed, a
//! version beside the old one is made and the services move to it.
//!
//! DEVIATION: Docker refuses a deploy whose secret or config has other content than the one that stands.
//!
//! Invariant: a version goes only when no service refers to it, in its spec or in the one that a rollback goes back to.

use std::collections::{BTreeMap, BTreeSet};

use skep_docker_api::json::{ConfigSpec, SecretSpec, Service};
use skep_docker_api::{Client, ClientError, Filters};

use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::output::{line, warn};

/// The label of a later version: the name by which the files' one is known.
const VERSION_OF: &str = "skep.stack.version-of";

/// The revision that no object ever has: an update from it is always refused.
const NO_REVISION: u64 = u64::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Secret,
    Config,
}

/// A secret or config that stands in the swarm. A secret's document has every member of a config's.
#[derive(Debug, Clone, Default)]
pub struct Held {
    pub id: String,
    revision: u64,
    pub spec: SecretSpec,
}

impl Held {
    /// Its number among the versions of a name; none where it is another thing.
    fn version_of(&self, name: &str) -> Option<u64> {
        if self.spec.name == name {
            return Some(1);
        }
        if self.spec.labels.get(VERSION_OF).map(String::as_str) != Some(name) {
            return None;
        }
        Some(
            self.spec
                .name
                .rsplit_once('.')
                .and_then(|(_, number)| number.parse().ok())
                .unwrap_or(0),
        )
    }
}

/// The versions of a name, the newest first.
fn versions<'a>(name: &str, held: &'a [Held]) -> Vec<&'a Held> {
    let mut found: Vec<_> =
        held.iter().filter_map(|one| Some((one.version_of(name)?, one))).collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, one)| one).collect()
}

/// The name of the version to be made, which nothing else bears.
fn next_name(name: &str, held: &[Held]) -> String {
    let newest = held.iter().filter_map(|one| one.version_of(name)).max().unwrap_or(0);
    let taken: BTreeSet<&str> = held.iter().map(|one| one.spec.name.as_str()).collect();
    let free = (newest + 1..).map(|number| format!("{name}.{number}"));
    let mut free = free.filter(|name| !taken.contains(name.as_str()));
    free.next().unwrap_or_default()
}

/// What a file's secret or config comes to in the swarm.
#[derive(Debug)]
pub struct Version {
    pub kind: Kind,
    /// The name by which the files' one is known.
    known_as: String,
    /// As it shall be in the swarm, its own name included.
    pub spec: SecretSpec,
    /// The one that stands with this content.
    pub held: Option<Held>,
}

impl Version {
    pub fn is_new_content(&self) -> bool {
        self.held.is_none() && self.spec.name != self.known_as
    }

    pub fn known_as(&self) -> &str {
        &self.known_as
    }
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }

    pub async fn list(self, client: &Client) -> Outcome<Vec<Held>> {
        let all = Filters::default();
        Ok(match self {
            Self::Secret => {
                let secrets = client.secrets(&all).await?.into_iter();
                let held =
                    secrets.map(|it| Held { id: it.id, revision: it.version.index, spec: it.spec });
                held.collect()
            }
            Self::Config => {
                let configs = client.configs(&all).await?.into_iter();
                let held = configs.map(|it| Held {
                    id: it.id,
                    revision: it.version.index,
                    spec: of_config(it.spec),
                });
                held.collect()
            }
        })
    }

    async fn create(self, client: &Client, spec: &SecretSpec) -> Result<(), ClientError> {
        match self {
            Self::Secret => client.secret_create(spec).await.map(drop),
            Self::Config => client.config_create(&to_config(spec)).await.map(drop),
        }
    }

    async fn update(
        self,
        client: &Client,
        id: &str,
        revision: u64,
        spec: &SecretSpec,
    ) -> Result<(), ClientError> {
        match self {
            Self::Secret => client.secret_update(id, revision, spec).await,
            Self::Config => client.config_update(id, revision, &to_config(spec)).await,
        }
    }

    async fn remove(self, client: &Client, id: &str) -> Result<(), ClientError> {
        match self {
            Self::Secret => client.secret_remove(id).await,
            Self::Config => client.config_remove(id).await,
        }
    }

    /// The ids that a service refers to, its previous spec's included.
    fn used_by(self, service: &Service) -> Vec<&str> {
        let specs = std::iter::once(&service.spec).chain(service.previous_spec.as_ref());
        let containers = specs.filter_map(|spec| spec.task_template.container_spec.as_ref());
        containers
            .flat_map(|container| match self {
                Self::Secret => container.secrets.iter().map(|it| it.secret_id.as_str()).collect(),
                Self::Config => {
                    container.configs.iter().map(|it| it.config_id.as_str()).collect::<Vec<_>>()
                }
            })
            .collect()
    }
}

pub fn of_config(spec: ConfigSpec) -> SecretSpec {
    let ConfigSpec { name, labels, data, templating } = spec;
    SecretSpec { name, labels, data, templating, driver: None }
}

fn to_config(spec: &SecretSpec) -> ConfigSpec {
    let SecretSpec { name, labels, data, templating, .. } = spec.clone();
    ConfigSpec { name, labels, data, templating }
}

/// Finds for each of the files' secrets or configs the version that has its content, or says how a new one is named.
/// It changes nothing.
pub async fn choose(
    client: &Client,
    kind: Kind,
    wanted: Vec<SecretSpec>,
    held: &[Held],
) -> Outcome<Vec<Version>> {
    let mut chosen = Vec::with_capacity(wanted.len());
    for mut spec in wanted {
        let known_as = spec.name.clone();
        let mut same = None;
        let versions = versions(&known_as, held);
        for version in &versions {
            if is_same(client, kind, version, &spec).await? {
                same = Some(Held::clone(version));
                break;
            }
        }
        match &same {
            Some(held) => spec.name = held.spec.name.clone(),
            None if versions.is_empty() => {}
            None => spec.name = next_name(&known_as, held),
        }
        if spec.name != known_as {
            spec.labels.insert(VERSION_OF.to_owned(), known_as.clone());
        }
        chosen.push(Version { kind, known_as, spec, held: same });
    }
    Ok(chosen)
}

/// Whether what stands has the content that is wanted.
async fn is_same(client: &Client, kind: Kind, held: &Held, wanted: &SecretSpec) -> Outcome<bool> {
    if held.spec.templating != wanted.templating || held.spec.driver != wanted.driver {
        return Ok(false);
    }
    if kind == Kind::Config {
        return Ok(held.spec.data == wanted.data);
    }
    // A secret is never shown. But a manager says whether an update would change its content before it looks at the
    // revision, and from this revision there is no update.
    let mut probe = held.spec.clone();
    probe.data = wanted.data.clone();
    match client.secret_update(&held.id, NO_REVISION, &probe).await {
        Err(ClientError::Daemon { message, .. }) if message.contains("only updates to Labels") => {
            Ok(false)
        }
        Err(ClientError::Daemon { message, .. }) if message.contains("out of sequence") => Ok(true),
        Err(error) => Err(error.into()),
        Ok(()) => Err(Failure::new(format!(
            "secret {} took an update from a revision that it never had",
            held.spec.name
        ))),
    }
}

/// Makes a version that does not stand yet, and gives one that does its labels.
pub async fn make(client: &Client, version: &Version) -> Outcome {
    let Version { kind, spec, held, .. } = version;
    let (verb, done) = match held {
        Some(held) => ("update", kind.update(client, &held.id, held.revision, spec).await),
        None => {
            line(format!("Creating {} {}", kind.word(), spec.name))?;
            ("create", kind.create(client, spec).await)
        }
    };
    done.map_err(|error| {
        let name = &spec.name;
        Failure::new(format!("failed to {verb} {} {name}: {}", kind.word(), Failure::from(error)))
    })
}

/// Versions of what the files name that have been followed by others and that nothing refers to.
fn superseded<'a>(
    kind: Kind,
    chosen: &[Version],
    held: &'a [Held],
    services: &[Service],
) -> Vec<&'a Held> {
    let used: BTreeSet<&str> = services.iter().flat_map(|service| kind.used_by(service)).collect();
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for version in chosen.iter().filter(|version| version.kind == kind) {
        names.insert(&version.known_as, &version.spec.name);
    }
    let is_old = |one: &&Held| {
        let mut names = names.iter();
        !used.contains(one.id.as_str())
            && names
                .any(|(name, newest)| one.version_of(name).is_some() && one.spec.name != **newest)
    };
    held.iter().filter(is_old).collect()
}

/// Takes away the versions that nothing refers to any more. What cannot be removed (a service began to use it just
/// now) stays for the next deploy.
pub async fn clean(session: &Session, chosen: &[Version]) -> Outcome {
    let client = &session.client;
    let services = client.services(&Filters::default(), false).await?;
    for kind in [Kind::Secret, Kind::Config] {
        let held = kind.list(client).await?;
        for old in superseded(kind, chosen, &held, &services) {
            line(format!("Removing {} {}", kind.word(), old.spec.name))?;
            if let Err(error) = kind.remove(client, &old.id).await {
                let name = &old.spec.name;
                warn(format!("{} {name} stays: {}", kind.word(), Failure::from(error)));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use skep_docker_api::json::{ContainerSpec, SecretReference, ServiceSpec};

    use super::*;

    fn held(name: &str, version_of: Option<&str>) -> Held {
        let mut held = Held { id: format!("id-{name}"), ..Held::default() };
        held.spec.name = name.to_owned();
        if let Some(known_as) = version_of {
            held.spec.labels.insert(VERSION_OF.to_owned(), known_as.to_owned());
        }
        held
    }

    fn reading(name: &str) -> ServiceSpec {
        let mut spec = ServiceSpec::default();
        let secret = SecretReference { secret_id: format!("id-{name}"), ..Default::default() };
        let container = ContainerSpec { secrets: vec![secret], ..Default::default() };
        spec.task_template.container_spec = Some(container);
        spec
    }

    #[test]
    fn versions_are_found_by_label_and_the_newest_comes_first() {
        let all = [
            held("key", None),
            held("key.2", Some("key")),
            held("key.10", Some("key")),
            held("key.11", None),
            held("keys", None),
            held("other.2", Some("other")),
        ];
        let names: Vec<_> = versions("key", &all).iter().map(|it| it.spec.name.as_str()).collect();
        assert_eq!(names, ["key.10", "key.2", "key"]);
        // Somebody else's is not taken.
        assert_eq!(next_name("key", &all), "key.12");
        assert_eq!(next_name("keys", &all), "keys.2");
    }

    #[test]
    fn only_what_nothing_refers_to_is_superseded() {
        let all = [
            held("key", None),
            held("key.2", Some("key")),
            held("key.3", Some("key")),
            held("key.4", Some("key")),
            held("other", None),
        ];
        let spec = SecretSpec { name: "key.4".to_owned(), ..Default::default() };
        let known_as = "key".to_owned();
        let chosen = [Version { kind: Kind::Secret, known_as, spec, held: None }];
        let mut service = Service { spec: reading("key.4"), ..Default::default() };
        service.previous_spec = Some(reading("key.3"));
        let elsewhere = Service { spec: reading("key"), ..Default::default() };
        let services = [service, elsewhere];
        let old = superseded(Kind::Secret, &chosen, &all, &services);
        let names: Vec<_> = old.iter().map(|it| it.spec.name.as_str()).collect();
        assert_eq!(names, ["key.2"]);
        assert!(superseded(Kind::Config, &chosen, &all, &services).is_empty());
    }
}
