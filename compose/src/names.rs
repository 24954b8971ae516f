//! A stack's name space: its objects bear its name, before theirs and in a label.

use std::collections::BTreeMap;

/// Docker's label for what belongs to a stack.
pub(crate) const NAMESPACE_LABEL: &str = "com.docker.stack.namespace";
/// Docker's label for the image as the file names it.
pub(crate) const IMAGE_LABEL: &str = "com.docker.stack.image";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Namespace<'a>(pub &'a str);

impl Namespace<'_> {
    pub(crate) fn scope(self, name: &str) -> String {
        format!("{}_{name}", self.0)
    }

    /// `labels` and the stack's own.
    pub(crate) fn labels(self, mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
        labels.insert(NAMESPACE_LABEL.to_owned(), self.0.to_owned());
        labels
    }
}
