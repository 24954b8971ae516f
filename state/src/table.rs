//! One table: objects by id and, where they have names, by name. Persistent, so a clone is cheap.

use std::sync::Arc;

use imbl::OrdMap;
use skep_types::{Revision, Timestamp};

use crate::object::Object;
use crate::rejection::Reason;

/// All objects of one kind.
#[derive(Debug, Clone)]
pub struct Table<T: Object> {
    by_id: OrdMap<T::Id, Arc<T>>,
    by_name: OrdMap<Arc<str>, T::Id>,
}

impl<T: Object> Default for Table<T> {
    fn default() -> Self {
        Self { by_id: OrdMap::new(), by_name: OrdMap::new() }
    }
}

impl<T: Object> PartialEq for Table<T> {
    fn eq(&self, other: &Self) -> bool {
        self.by_id == other.by_id
    }
}

impl<T: Object> Table<T> {
    pub fn get(&self, id: T::Id) -> Option<&Arc<T>> {
        self.by_id.get(&id)
    }

    pub fn by_name(&self, name: &str) -> Option<&Arc<T>> {
        self.by_name.get(name).and_then(|id| self.by_id.get(id))
    }

    /// Ascending by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> + Clone {
        // Not `values()`, which cannot be cloned.
        self.by_id.iter().map(|(_, object)| object)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The object, or the reason that it is not there.
    pub(crate) fn expect(&self, id: T::Id) -> Result<&Arc<T>, Reason> {
        self.get(id).ok_or_else(|| Reason::NotFound { kind: T::KIND, id: id.to_string() })
    }

    pub(crate) fn create(&mut self, object: &Arc<T>, now: Timestamp) -> Result<Arc<T>, Reason> {
        if self.by_id.contains_key(&object.id()) {
            return Err(Reason::IdTaken { kind: T::KIND, id: object.id().to_string() });
        }
        self.check_name(object)?;
        let mut stored = T::clone(object);
        let meta = stored.meta_mut();
        meta.revision = Revision(1);
        meta.created_at = now;
        meta.updated_at = now;
        Ok(self.put(stored))
    }

    /// Replaces the object whose revision is the one that `object` carries.
    pub(crate) fn update(&mut self, object: &Arc<T>, now: Timestamp) -> Result<Arc<T>, Reason> {
        let current = Arc::clone(self.expect(object.id())?);
        self.check_revision(&current, object.meta().revision)?;
        self.check_name(object)?;
        if let Some(name) = current.unique_name() {
            self.by_name.remove(name);
        }
        let mut stored = T::clone(object);
        let meta = stored.meta_mut();
        meta.revision = current.meta().revision.next();
        meta.created_at = current.meta().created_at;
        meta.updated_at = now;
        Ok(self.put(stored))
    }

    pub(crate) fn remove(
        &mut self,
        id: T::Id,
        expected: Option<Revision>,
    ) -> Result<Arc<T>, Reason> {
        let current = Arc::clone(self.expect(id)?);
        if let Some(expected) = expected {
            self.check_revision(&current, expected)?;
        }
        if let Some(name) = current.unique_name() {
            self.by_name.remove(name);
        }
        self.by_id.remove(&id);
        Ok(current)
    }

    /// Puts an object in as it is: for a snapshot, whose objects were checked when first applied.
    pub(crate) fn load(&mut self, object: T) -> Result<(), Reason> {
        if self.by_id.contains_key(&object.id()) {
            return Err(Reason::IdTaken { kind: T::KIND, id: object.id().to_string() });
        }
        self.check_name(&object)?;
        self.put(object);
        Ok(())
    }

    /// Writes what a rule derived into an object that stands under the same id and name.
    pub(crate) fn overwrite(&mut self, object: T) -> Arc<T> {
        self.put(object)
    }

    fn put(&mut self, object: T) -> Arc<T> {
        let object = Arc::new(object);
        if let Some(name) = object.unique_name() {
            self.by_name.insert(name.into(), object.id());
        }
        self.by_id.insert(object.id(), Arc::clone(&object));
        object
    }

    fn check_name(&self, object: &T) -> Result<(), Reason> {
        let Some(name) = object.unique_name() else { return Ok(()) };
        match self.by_name.get(name) {
            Some(owner) if *owner != object.id() => {
                Err(Reason::NameTaken { kind: T::KIND, name: name.to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn check_revision(&self, current: &T, expected: Revision) -> Result<(), Reason> {
        let got = current.meta().revision;
        if got == expected {
            return Ok(());
        }
        Err(Reason::OutOfSequence { kind: T::KIND, id: current.id().to_string(), expected, got })
    }
}
