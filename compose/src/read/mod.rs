//! From text to a tree: YAML, variables, environment files.

pub(crate) mod dotenv;
pub(crate) mod env_file;
pub(crate) mod interpolate;
pub(crate) mod template;
pub(crate) mod yaml;
