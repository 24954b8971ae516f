//! Which containers, volumes and images of one engine a list shows, checked once, then asked for every one of them.
//!
//! What Docker filters by and this does not know is refused by name.

use super::pattern::glob;
use super::{Filters, Patterns};
use crate::error::ApiError;
use crate::json::{ContainerSummary, ImageSummary, Volume};

type Answer<T> = Result<T, ApiError>;

/// What a list's line of a container does not say of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerFacts<'a> {
    /// Where it has run and does no more.
    pub exit_code: Option<i64>,
    /// `none`, `starting`, `healthy` or `unhealthy`.
    pub health: &'a str,
}

/// The filters of `GET /containers/json`: ancestor, exited, health, id, is-task, label, name, network, status, volume.
#[derive(Debug, Clone)]
pub struct ContainerFilter {
    filters: Filters,
    names: Patterns,
    ids: Patterns,
    exited: Vec<i64>,
    is_task: Option<bool>,
}

impl ContainerFilter {
    pub fn new(filters: &Filters) -> Answer<Self> {
        for later in ["before", "since", "publish", "expose", "isolation"] {
            if filters.0.contains_key(later) {
                return Err(ApiError::invalid(format!("filter '{later}' is not supported")));
            }
        }
        filters.only(&[
            "ancestor", "exited", "health", "id", "is-task", "label", "name", "network", "status",
            "volume",
        ])?;
        let words = |name: &str, what: &str, words: &[&str]| match filters
            .values(name)
            .find(|value| !words.contains(value))
        {
            Some(value) => Err(ApiError::invalid(format!(
                "invalid filter '{name}={value}': invalid value for {what} ({value}): must be one of {}",
                words.join(", ")
            ))),
            None => Ok(()),
        };
        words(
            "status",
            "state",
            &["created", "running", "paused", "restarting", "removing", "exited", "dead"],
        )?;
        words("health", "health", &["none", "starting", "healthy", "unhealthy"])?;
        let exited = filters.values("exited").map(|value| {
            value.parse().map_err(|_| ApiError::invalid(format!("invalid filter 'exited={value}'")))
        });
        Ok(Self {
            names: Patterns::new(filters, "name"),
            ids: Patterns::new(filters, "id"),
            exited: exited.collect::<Answer<_>>()?,
            is_task: filters.truth("is-task")?,
            filters: filters.clone(),
        })
    }

    /// Whether containers that do not run are asked for although `all` is not.
    pub fn wants_stopped(&self) -> bool {
        self.filters.0.contains_key("status") || !self.exited.is_empty()
    }

    pub fn matches(&self, container: &ContainerSummary, facts: ContainerFacts<'_>) -> bool {
        let filters = &self.filters;
        let networks = &container.network_settings.networks;
        let is_task = container.labels.contains_key("com.docker.swarm.task.id");
        let image_id = container.image_id.trim_start_matches("sha256:");
        (container.names.iter()).any(|name| {
            self.names.matches(name) || self.names.matches(name.trim_start_matches('/'))
        }) && self.ids.matches(&container.id)
            && filters.labels("label", &container.labels)
            && filters.exact("status", &container.state)
            && filters.exact("health", facts.health)
            && self.is_task.is_none_or(|asked| asked == is_task)
            && (self.exited.is_empty()
                || facts.exit_code.is_some_and(|code| self.exited.contains(&code)))
            && filters.any("ancestor", |value| {
                let id = value.trim_start_matches("sha256:");
                names_of(&container.image).any(|name| name == value)
                    || (!id.is_empty() && image_id.starts_with(id))
            })
            && filters.any("network", |value| {
                networks.iter().any(|(name, at)| name == value || at.network_id == value)
            })
            && filters.any("volume", |value| {
                let mut mounts = container.mounts.iter();
                mounts.any(|mount| mount.name == value || mount.destination == value)
            })
    }
}

/// The filters of `GET /volumes`: dangling, driver, label, name.
#[derive(Debug, Clone)]
pub struct VolumeFilter {
    filters: Filters,
    names: Patterns,
    dangling: Option<bool>,
}

impl VolumeFilter {
    pub fn new(filters: &Filters) -> Answer<Self> {
        filters.only(&["dangling", "driver", "label", "name"])?;
        Ok(Self {
            names: Patterns::new(filters, "name"),
            dangling: filters.truth("dangling")?,
            filters: filters.clone(),
        })
    }

    /// `in_use` says whether any container, running or not, has the volume.
    pub fn matches(&self, volume: &Volume, in_use: bool) -> bool {
        let none = Default::default();
        self.names.matches(&volume.name)
            && self.filters.exact("driver", &volume.driver)
            && self.filters.labels("label", volume.labels.as_ref().unwrap_or(&none))
            && self.dangling.is_none_or(|dangling| dangling != in_use)
    }
}

/// The filters of `GET /images/json`: dangling (no name), label, reference.
#[derive(Debug, Clone)]
pub struct ImageFilter {
    filters: Filters,
    references: Vec<regex::Regex>,
    dangling: Option<bool>,
}

impl ImageFilter {
    pub fn new(filters: &Filters) -> Answer<Self> {
        for later in ["before", "since", "until"] {
            if filters.0.contains_key(later) {
                return Err(ApiError::invalid(format!("filter '{later}' is not supported")));
            }
        }
        filters.only(&["dangling", "label", "reference"])?;
        let references = filters.values("reference").map(|pattern| {
            glob(pattern)
                .map_err(|_| ApiError::invalid(format!("invalid filter 'reference={pattern}'")))
        });
        Ok(Self {
            references: references.collect::<Answer<_>>()?,
            dangling: filters.truth("dangling")?,
            filters: filters.clone(),
        })
    }

    /// Leaves the names that were asked for: an image asked for by one is not shown by its others.
    pub fn narrow(&self, mut image: ImageSummary) -> ImageSummary {
        if !self.references.is_empty() {
            image.repo_tags.retain(|tag| self.names(tag));
        }
        image
    }

    fn names(&self, tag: &str) -> bool {
        self.references.iter().any(|pattern| names_of(tag).any(|name| pattern.is_match(&name)))
    }

    /// One that was pulled by its digest has a name too, and no tag.
    fn names_image(&self, image: &ImageSummary) -> bool {
        let by_digest = image.repo_digests.iter().filter_map(|name| name.split_once('@'));
        let mut names = image.repo_tags.iter().map(String::as_str);
        names.any(|tag| self.names(tag)) || by_digest.into_iter().any(|(name, _)| self.names(name))
    }

    pub fn matches(&self, image: &ImageSummary) -> bool {
        let is_dangling = !image.repo_tags.iter().any(|tag| tag != "<none>:<none>");
        self.filters.labels("label", &image.labels)
            && self.dangling.is_none_or(|dangling| dangling == is_dangling)
            && (self.references.is_empty() || self.names_image(image))
    }
}

/// What an image may be called by: its short and full name, each with and without its tag.
fn names_of(reference: &str) -> impl Iterator<Item = String> {
    let (name, tag) = match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (reference, None),
    };
    let full = match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    };
    let tag = tag.unwrap_or("latest");
    [format!("{name}:{tag}"), name.to_owned(), format!("{full}:{tag}"), full].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{EndpointSettings, MountPoint};

    fn container() -> ContainerSummary {
        let mut container = ContainerSummary {
            id: "c0ffee00".into(),
            names: vec!["/web.1".into()],
            image: "nginx:1".into(),
            image_id: "sha256:abcdef".into(),
            state: "exited".into(),
            labels: [("com.docker.swarm.task.id".to_owned(), "t".to_owned())].into(),
            mounts: vec![MountPoint {
                name: "data".into(),
                destination: "/d".into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let at = EndpointSettings { network_id: "n1".into(), ..Default::default() };
        container.network_settings.networks.insert("shop".into(), at);
        container
    }

    #[test]
    fn containers() {
        let facts = ContainerFacts { exit_code: Some(3), health: "none" };
        for (text, expected) in [
            ("", true),
            (r#"{"name":["web"]}"#, true),
            (r#"{"name":["^/web.1$"]}"#, true),
            (r#"{"name":["^web.1$"]}"#, true),
            (r#"{"name":["db"]}"#, false),
            (r#"{"id":["c0ff"]}"#, true),
            (r#"{"status":["exited"]}"#, true),
            (r#"{"status":["running"]}"#, false),
            (r#"{"exited":["0","3"]}"#, true),
            (r#"{"exited":["0"]}"#, false),
            (r#"{"is-task":["true"]}"#, true),
            (r#"{"is-task":["false"]}"#, false),
            (r#"{"ancestor":["nginx"]}"#, true),
            (r#"{"ancestor":["docker.io/library/nginx:1"]}"#, true),
            (r#"{"ancestor":["sha256:abc"]}"#, true),
            (r#"{"ancestor":["nginx:2"]}"#, false),
            (r#"{"network":["shop"]}"#, true),
            (r#"{"network":["n1"]}"#, true),
            (r#"{"network":["n"]}"#, false),
            (r#"{"volume":["/d"]}"#, true),
            (r#"{"volume":["other"]}"#, false),
            (r#"{"health":["none"]}"#, true),
        ] {
            let filter = ContainerFilter::new(&Filters::parse(text).unwrap()).unwrap();
            assert_eq!(filter.matches(&container(), facts), expected, "{text}");
        }
        let refused =
            |text| ContainerFilter::new(&Filters::parse(text).unwrap()).unwrap_err().message;
        assert_eq!(refused(r#"{"publish":["80"]}"#), "filter 'publish' is not supported");
        assert_eq!(refused(r#"{"x":["80"]}"#), "invalid filter 'x'");
        assert_eq!(refused(r#"{"exited":["x"]}"#), "invalid filter 'exited=x'");
        assert!(refused(r#"{"status":["up"]}"#).starts_with("invalid filter 'status=up'"));
        let stopped = Filters::parse(r#"{"status":["exited"]}"#).unwrap();
        assert!(ContainerFilter::new(&stopped).unwrap().wants_stopped());
        assert!(!ContainerFilter::new(&Filters::default()).unwrap().wants_stopped());
    }

    #[test]
    fn volumes_and_images() {
        let volume =
            Volume { name: "shop_data".into(), driver: "local".into(), ..Default::default() };
        for (text, in_use, expected) in [
            (r#"{"dangling":["true"]}"#, false, true),
            (r#"{"dangling":["true"]}"#, true, false),
            (r#"{"dangling":["false"]}"#, true, true),
            (r#"{"name":["data"]}"#, true, true),
            (r#"{"driver":["nfs"]}"#, true, false),
            (r#"{"label":["a"]}"#, true, false),
        ] {
            let filter = VolumeFilter::new(&Filters::parse(text).unwrap()).unwrap();
            assert_eq!(filter.matches(&volume, in_use), expected, "{text} {in_use}");
        }
        let named = ImageSummary { repo_tags: vec!["team/app:1.2".into()], ..Default::default() };
        for (text, expected) in [
            (r#"{"dangling":["true"]}"#, false),
            (r#"{"dangling":["false"]}"#, true),
            (r#"{"reference":["team/app"]}"#, true),
            (r#"{"reference":["team/app:1.*"]}"#, true),
            (r#"{"reference":["*/app:1.?"]}"#, true),
            (r#"{"reference":["docker.io/team/*"]}"#, true),
            (r#"{"reference":["*"]}"#, false),
            (r#"{"reference":["team/app:2"]}"#, false),
        ] {
            let filter = ImageFilter::new(&Filters::parse(text).unwrap()).unwrap();
            assert_eq!(filter.matches(&named), expected, "{text}");
        }
        let filter = ImageFilter::new(&Filters::parse(r#"{"dangling":["1"]}"#).unwrap()).unwrap();
        assert!(filter.matches(&ImageSummary::default()));
    }

    #[test]
    fn what_images_may_be_called() {
        let names = |text| names_of(text).collect::<Vec<_>>().join(" ");
        assert_eq!(
            names("nginx"),
            "nginx:latest nginx docker.io/library/nginx:latest docker.io/library/nginx"
        );
        assert_eq!(
            names("r.io:5000/a"),
            "r.io:5000/a:latest r.io:5000/a r.io:5000/a:latest r.io:5000/a"
        );
        assert_eq!(names("localhost/a:1"), "localhost/a:1 localhost/a localhost/a:1 localhost/a");
    }
}
