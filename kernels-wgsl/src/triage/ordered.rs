//! JSON that keeps the order of its keys, so that a corrected file differs only where it was corrected.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;
use std::fmt;

/// A JSON value with its keys in the file's order, twice where they stand twice.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ordered {
    /// `{…}`
    Object(Vec<(String, Ordered)>),
    /// `[…]`
    Array(Vec<Ordered>),
    /// Anything else.
    Leaf(Value),
}

impl Ordered {
    /// The same as a plain value; of keys that stand twice the last one.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Ordered::Object(entries) => {
                Value::Object(entries.iter().map(|(k, v)| (k.clone(), v.to_value())).collect())
            }
            Ordered::Array(list) => Value::Array(list.iter().map(Ordered::to_value).collect()),
            Ordered::Leaf(value) => value.clone(),
        }
    }

    /// A key that stands twice in one object, with the path to it.
    pub(super) fn duplicate_key(&self) -> Option<String> {
        match self {
            Ordered::Object(entries) => {
                let mut names: Vec<&str> = entries.iter().map(|(k, _)| k.as_str()).collect();
                names.sort_unstable();
                if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Some(pair[0].to_string());
                }
                entries.iter().find_map(|(k, v)| Some(format!("{k}.{}", v.duplicate_key()?)))
            }
            Ordered::Array(list) => list.iter().find_map(Ordered::duplicate_key),
            Ordered::Leaf(_) => None,
        }
    }

    /// Sets the value at `path`, or removes it where `value` is `None`. Objects on the way are made.
    pub(super) fn set(&mut self, path: &[String], value: Option<&Value>) {
        let Some((key, rest)) = path.split_first() else {
            if let Some(value) = value {
                *self = Ordered::Leaf(value.clone());
            }
            return;
        };
        if !matches!(self, Ordered::Object(_)) {
            *self = Ordered::Object(Vec::new());
        }
        let Ordered::Object(entries) = self else { return };
        let at = entries.iter().position(|(k, _)| k == key);
        match (at, rest.is_empty(), value) {
            (Some(_), true, None) => entries.retain(|(k, _)| k != key),
            (Some(at), _, _) => entries[at].1.set(rest, value),
            (None, _, Some(_)) => {
                let mut inner = Ordered::Leaf(Value::Null);
                inner.set(rest, value);
                entries.push((key.clone(), inner));
            }
            (None, _, None) => {}
        }
    }
}

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Ordered::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Ordered::Array(list) => {
                let mut sequence = serializer.serialize_seq(Some(list.len()))?;
                for value in list {
                    sequence.serialize_element(value)?;
                }
                sequence.end()
            }
            Ordered::Leaf(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Ordered;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Ordered, E> {
                Ok(Ordered::Leaf(v.into()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Ordered, E> {
                Ok(Ordered::Leaf(v.into()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Ordered, E> {
                Ok(Ordered::Leaf(v.into()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Ordered, E> {
                Ok(Ordered::Leaf(v.into()))
            }
            fn visit_str<E>(self, v: &str) -> Result<Ordered, E> {
                Ok(Ordered::Leaf(v.into()))
            }
            fn visit_unit<E>(self) -> Result<Ordered, E> {
                Ok(Ordered::Leaf(Value::Null))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Ordered, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = seq.next_element()? {
                    list.push(value);
                }
                Ok(Ordered::Array(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered::Object(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
