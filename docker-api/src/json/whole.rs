//! A document with every key it may have, zeroes too: what a Go template sees of a struct, where JSON leaves keys out.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Timestamp;

pub trait Whole {
    /// The document with no key left out; what is not there at all is `null`.
    fn whole(&self) -> Value;
}

macro_rules! plain {
    ($($ty:ty),*) => { $(
        impl Whole for $ty {
            fn whole(&self) -> Value {
                self.clone().into()
            }
        }
    )* };
}
plain!(bool, i64, u64, u32, u16, u8, f32, String, Value);

impl Whole for Timestamp {
    fn whole(&self) -> Value {
        self.0.clone().into()
    }
}

impl<T: Whole> Whole for Option<T> {
    fn whole(&self) -> Value {
        self.as_ref().map_or(Value::Null, Whole::whole)
    }
}

impl<T: Whole> Whole for Vec<T> {
    fn whole(&self) -> Value {
        self.iter().map(Whole::whole).collect()
    }
}

impl<T: Whole> Whole for BTreeMap<String, T> {
    fn whole(&self) -> Value {
        self.iter().map(|(key, value)| (key.clone(), value.whole())).collect::<Map<_, _>>().into()
    }
}

impl<T: Whole, const N: usize> Whole for [T; N] {
    fn whole(&self) -> Value {
        self.iter().map(Whole::whole).collect()
    }
}

impl<A: Whole, B: Whole> Whole for (A, B) {
    fn whole(&self) -> Value {
        vec![self.0.whole(), self.1.whole()].into()
    }
}
