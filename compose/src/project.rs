//! Files read, interpolated, checked, put in one form and merged: a project.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{At, Error, Problem};
use crate::loader::Loader;
use crate::node::{Map, Node};
use crate::normal::{self, Context};
use crate::read::interpolate::Interpolator;
use crate::read::{dotenv, yaml};
use crate::{merge, options, render, schema, shape};

/// Docker's version for a file that names none.
const DEFAULT_VERSION: &str = "3.13";

/// One Compose file as it was given.
#[derive(Clone)]
pub struct Source {
    /// As the user wrote it; `-` for standard input.
    pub name: String,
    pub contents: Vec<u8>,
}

/// Contents may hold secrets.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({:?}, {} bytes)", self.name, self.contents.len())
    }
}

/// Whether variables are replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Interpolation {
    #[default]
    Expand,
    /// `stack config --skip-interpolation`.
    Keep,
}

/// The merged files.
pub struct Project {
    pub(crate) file: Node,
    pub(crate) sources: Vec<Source>,
    /// Variables of `.env`; the environment goes before them.
    pub(crate) dotenv: BTreeMap<String, String>,
    warnings: Vec<String>,
}

/// Contents may hold secrets.
impl std::fmt::Debug for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Project").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// Reads `sources`, each over those before it. Relative paths are taken from `working_dir`, the
/// directory of the first file, where `.env` is looked for too.
pub fn load(
    sources: Vec<Source>,
    working_dir: &Path,
    interpolation: Interpolation,
    loader: &dyn Loader,
) -> Result<Project, Error> {
    let dotenv = read_dotenv(working_dir, loader)?;
    match merged(&sources, working_dir, interpolation, &dotenv, loader) {
        Ok((file, warnings)) => Ok(Project { file, sources, dotenv, warnings }),
        Err(problem) => Err(problem.resolve(&sources)),
    }
}

fn read_dotenv(working_dir: &Path, loader: &dyn Loader) -> Result<BTreeMap<String, String>, Error> {
    let path = working_dir.join(".env");
    let failed = |path: PathBuf, source| Error::Read { what: "env file".to_owned(), path, source };
    let contents = match loader.read(&path) {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(path, error)),
    };
    let invalid =
        |path, message: String| failed(path, io::Error::new(io::ErrorKind::InvalidData, message));
    let text = match String::from_utf8(contents) {
        Ok(text) => text,
        Err(_) => return Err(invalid(path, "invalid UTF-8".to_owned())),
    };
    dotenv::parse(&text, &|name| loader.variable(name))
        .map_err(|(line, message)| invalid(path, format!("line {line}: {message}")))
}

fn merged(
    sources: &[Source],
    working_dir: &Path,
    interpolation: Interpolation,
    dotenv: &BTreeMap<String, String>,
    loader: &dyn Loader,
) -> Result<(Node, Vec<String>), Problem> {
    let lookup = |name: &str| loader.variable(name).or_else(|| dotenv.get(name).cloned());
    let mut context = Context::new(working_dir, loader, &lookup);
    let mut unset = BTreeSet::new();
    let mut documents = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        documents.push(yaml::parse(index, &source.contents)?);
    }
    let mut result: Option<Node> = None;
    let mut version: Option<String> = None;
    for (index, document) in documents.iter_mut().enumerate() {
        options::refuse_forbidden(document)?;
        if interpolation == Interpolation::Expand {
            Interpolator::new(&lookup, &mut unset).document(document)?;
        }
        shape::check(document, &schema::FILE)?;
        check_version(document, &mut version)?;
        let normal = normal::file(document, &mut context)?;
        match &mut result {
            None => result = Some(normal),
            Some(base) => {
                debug_assert!(index > 0, "the first file is the base");
                merge::files(base, normal);
            }
        }
    }
    let mut file = result.ok_or(Error::NoFiles)?;
    let at = file.at;
    if let Some(map) = file.as_map_mut() {
        let version = version.unwrap_or_else(|| DEFAULT_VERSION.to_owned());
        map.insert("version".to_owned(), Node::text(at, version));
        map.entry("services".to_owned()).or_insert_with(|| Node::map(at, Map::new()));
        // A section that holds nothing is not printed, but for services.
        for section in ["networks", "volumes", "secrets", "configs"] {
            if map.get(section).and_then(Node::as_map).is_some_and(Map::is_empty) {
                map.remove(section);
            }
        }
    }
    let mut warnings: Vec<_> = unset
        .iter()
        .map(|name| format!("The {name:?} variable is not set. Defaulting to a blank string."))
        .collect();
    warnings.append(&mut context.warnings);
    warnings.extend(options::warnings(&documents));
    Ok((file, warnings))
}

/// The files' version: 3, or 3 and a minor number, the same in all that name one.
///
/// DEVIATION: a number will do for the text, any minor number is taken, and a file without a
/// version goes with any; the shape of all is the same here.
fn check_version(file: &Node, version: &mut Option<String>) -> Result<(), Problem> {
    let Some(node) = file.get("version") else { return Ok(()) };
    let text = node.scalar().filter(|text| !text.is_empty() && text != "3");
    let text = text.unwrap_or_else(|| DEFAULT_VERSION.to_owned());
    let minor = text.strip_prefix("3.");
    if minor.is_none_or(|minor| minor.parse::<u8>().is_err()) {
        return Err(node.at.problem(format!("unsupported Compose file version: {text}")));
    }
    match version {
        Some(first) if *first != text => Err(node
            .at
            .problem(format!("version mismatched between two composefiles : {first} and {text}"))),
        _ => {
            *version = Some(text);
            Ok(())
        }
    }
}

impl Project {
    /// What is ignored or looks wrong, in the words of Docker.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The name that the files give the stack (`name:`), if they do.
    pub fn name(&self) -> Option<&str> {
        self.file.get("name")?.as_str()
    }

    /// The merged file as canonical YAML, as `docker stack config` prints it.
    pub fn to_yaml(&self) -> String {
        render::render(&self.file)
    }

    /// A section of the file; empty where the file has none.
    pub(crate) fn section(&self, name: &str) -> Node {
        let empty = || Node::map(At::default(), Map::new());
        self.file.get(name).cloned().unwrap_or_else(empty)
    }
}
