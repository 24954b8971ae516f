//! `--filter name=value`, given any number of times.

use skep_docker_api::Filters;

#[derive(Debug, Clone)]
pub struct Filter {
    name: String,
    value: String,
}

impl std::str::FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) =
            text.split_once('=').ok_or("bad format of filter (expected name=value)")?;
        Ok(Self { name: name.trim().to_lowercase(), value: value.trim().into() })
    }
}

/// All of them as the API asks for them.
pub fn all(filters: &[Filter]) -> Filters {
    let mut out = Filters::default();
    for Filter { name, value } in filters {
        out.add(name, value);
    }
    out
}
