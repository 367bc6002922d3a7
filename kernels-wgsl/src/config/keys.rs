//! Reading one JSON object with errors that name the file and the key.

use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// A JSON object of a configuration file and where it came from.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    file: &'a str,
    prefix: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    /// Wraps `value`, which must be an object; `prefix` is put before key names in errors.
    pub(crate) fn new(file: &'a str, prefix: &'a str, value: &'a Value) -> Result<Self> {
        match value.as_object() {
            Some(map) => Ok(Keys { file, prefix, map }),
            None => Err(Error::Config {
                file: file.into(),
                key: prefix.into(),
                message: "must be a JSON object".into(),
            }),
        }
    }

    /// An error about `key`.
    pub(crate) fn error(&self, key: &str, message: impl Into<String>) -> Error {
        Error::Config {
            file: self.file.into(),
            key: format!("{}{key}", self.prefix),
            message: message.into(),
        }
    }

    /// The value under `key`; JSON null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// An integer within `range`, or `None` where the key is absent.
    pub(crate) fn integer(&self, key: &str, range: RangeInclusive<usize>) -> Result<Option<usize>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let found = value.as_u64().and_then(|n| usize::try_from(n).ok());
        match found {
            Some(n) if range.contains(&n) => Ok(Some(n)),
            _ => Err(self.error(
                key,
                format!(
                    "is {value}; expected an integer from {} to {}",
                    range.start(),
                    range.end()
                ),
            )),
        }
    }

    /// An integer within `range` that must be there.
    pub(crate) fn required(&self, key: &str, range: RangeInclusive<usize>) -> Result<usize> {
        self.integer(key, range)?.ok_or_else(|| self.error(key, "is missing"))
    }

    /// A finite number above zero, or `None` where the key is absent.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_f64() {
            Some(n) if n.is_finite() && n > 0.0 && n < 1e30 => Ok(Some(n)),
            _ => Err(self.error(key, format!("is {value}; expected a positive finite number"))),
        }
    }

    /// A boolean, or `default` where the key is absent.
    pub(crate) fn boolean(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| self.error(key, format!("is {value}; expected true or false"))),
        }
    }

    /// A string, or `None` where the key is absent.
    pub(crate) fn string(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => value
                .as_str()
                .map(Some)
                .ok_or_else(|| self.error(key, format!("is {value}; expected a string"))),
        }
    }
}
