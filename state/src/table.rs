//! One table: objects by id and, where they have names, by name. Persistent, so a clone is cheap.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use skep_types::{Meta, Revision, Timestamp};

use crate::action::Change;
use crate::event::Delta;
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

    /// Those after an id, ascending; all of them without one. So a long list is gone through in
    /// pieces, with nothing held but a view between them.
    pub fn after(&self, id: Option<T::Id>) -> impl Iterator<Item = &Arc<T>> {
        let first = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((first, Bound::Unbounded)).map(|(_, object)| object)
    }

    /// What leads from this table to another, by id. Costs as much as they have apart: what both
    /// share is not visited.
    pub fn changes_to<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Delta<T>> + 'a {
        self.by_id.diff(&other.by_id).map(|item| match item {
            DiffItem::Add(_, after) => Delta { before: None, after: Some(Arc::clone(after)) },
            DiffItem::Remove(_, before) => Delta { before: Some(Arc::clone(before)), after: None },
            DiffItem::Update { old: (_, before), new: (_, after) } => {
                Delta { before: Some(Arc::clone(before)), after: Some(Arc::clone(after)) }
            }
        })
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

    /// What a change would come to, if nothing but this table had a say: the object before, and as
    /// it would stand after, its `meta` written.
    ///
    /// # Errors
    /// The object is not there, or there already; its name is another's; or it was changed since
    /// the change was made.
    pub(crate) fn judge(&self, change: &Change<T>, now: Timestamp) -> Result<Delta<T>, Reason> {
        match change {
            Change::Create(object) => {
                if self.by_id.contains_key(&object.id()) {
                    return Err(Reason::IdTaken { kind: T::KIND, id: object.id().to_string() });
                }
                self.check_name(object)?;
                let meta = Meta { revision: Revision(1), created_at: now, updated_at: now };
                Ok(Delta { before: None, after: Some(stored(object, meta)) })
            }
            Change::Update(object) => {
                let current = Arc::clone(self.expect(object.id())?);
                self.check_revision(&current, object.meta().revision)?;
                self.check_name(object)?;
                let meta = Meta {
                    revision: current.meta().revision.next(),
                    created_at: current.meta().created_at,
                    updated_at: now,
                };
                Ok(Delta { before: Some(current), after: Some(stored(object, meta)) })
            }
            Change::Remove(id, expected) => {
                let current = Arc::clone(self.expect(*id)?);
                if let Some(expected) = expected {
                    self.check_revision(&current, *expected)?;
                }
                Ok(Delta { before: Some(current), after: None })
            }
        }
    }

    /// Makes a change that was found good.
    pub(crate) fn commit(&mut self, delta: &Delta<T>) {
        let names = (name(&delta.before), name(&delta.after));
        if names.0 != names.1
            && let Some(gone) = names.0
        {
            self.by_name.remove(gone);
        }
        match (&delta.before, &delta.after) {
            (_, Some(after)) => self.put(Arc::clone(after)),
            (Some(before), None) => {
                self.by_id.remove(&before.id());
            }
            (None, None) => {}
        }
    }

    /// Puts an object in as it is: for a snapshot, whose objects were checked when first applied.
    pub(crate) fn load(&mut self, object: T) -> Result<(), Reason> {
        if self.by_id.contains_key(&object.id()) {
            return Err(Reason::IdTaken { kind: T::KIND, id: object.id().to_string() });
        }
        self.check_name(&object)?;
        self.put(Arc::new(object));
        Ok(())
    }

    fn put(&mut self, object: Arc<T>) {
        if let Some(name) = object.unique_name()
            && !self.by_name.contains_key(name)
        {
            self.by_name.insert(name.into(), object.id());
        }
        self.by_id.insert(object.id(), object);
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

fn name<T: Object>(object: &Option<Arc<T>>) -> Option<&str> {
    object.as_ref().and_then(|object| object.unique_name())
}

fn stored<T: Object>(object: &T, meta: Meta) -> Arc<T> {
    let mut stored = object.clone();
    *stored.meta_mut() = meta;
    Arc::new(stored)
}
