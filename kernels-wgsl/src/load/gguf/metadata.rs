//! The key/value part of a GGUF file.

use super::cursor::Cursor;
use crate::error::{Error, Result};
use crate::load::Bytes;
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

/// Bytes of a value of a numeric type; the index is the type's number in the file.
const SIZES: [u64; 13] = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// A value: its type and where its bytes are. Arrays are decoded when somebody asks for them.
#[derive(Debug, Clone)]
enum Value {
    One(u32, Range<usize>),
    Many(u32, usize, Range<usize>),
}

/// Metadata of a GGUF file by key.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    file: Arc<str>,
    bytes: Bytes,
    values: BTreeMap<String, Value>,
}

impl Metadata {
    /// Reads `count` pairs.
    pub(super) fn read(
        file: &Arc<str>,
        bytes: &Bytes,
        cursor: &mut Cursor<'_>,
        count: usize,
    ) -> Result<Metadata> {
        let mut values = BTreeMap::new();
        for i in 0..count {
            cursor.about(format!("key {i}"));
            let key = cursor.name()?;
            cursor.about(format!("key `{key}`"));
            let value = read_value(cursor)?;
            if values.insert(key.to_string(), value).is_some() {
                return Err(cursor.error("occurs twice"));
            }
        }
        Ok(Metadata { file: file.clone(), bytes: bytes.clone(), values })
    }

    /// Name of the file, for errors.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// An error about `key`.
    pub(crate) fn error(&self, key: &str, message: impl Into<String>) -> Error {
        Error::Config { file: self.file.to_string(), key: key.into(), message: message.into() }
    }

    /// Whether the file has `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// A string, or `None` where the key is absent.
    pub(crate) fn string(&self, key: &str) -> Result<Option<&str>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::One(STRING, range)) => {
                std::str::from_utf8(&self.bytes.as_slice()[range.clone()])
                    .map(Some)
                    .map_err(|e| self.error(key, format!("is not UTF-8: {e}")))
            }
            Some(_) => Err(self.error(key, "must be a string")),
        }
    }

    /// A finite number, or `None` where the key is absent.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::One(kind, range)) => self
                .decode(*kind, range)
                .filter(|n| n.is_finite())
                .map(Some)
                .ok_or_else(|| self.error(key, "must be a finite number")),
            Some(Value::Many(..)) => Err(self.error(key, "must be one number, not a list")),
        }
    }

    /// An integer within `range`, or `None` where the key is absent.
    pub(crate) fn integer(&self, key: &str, range: RangeInclusive<usize>) -> Result<Option<usize>> {
        let number = self.number(key)?;
        number.map(|n| self.whole(key, n, &range)).transpose()
    }

    /// An integer within `range` that must be there.
    pub(crate) fn required(&self, key: &str, range: RangeInclusive<usize>) -> Result<usize> {
        self.integer(key, range)?.ok_or_else(|| self.error(key, "is missing"))
    }

    fn whole(&self, key: &str, n: f64, range: &RangeInclusive<usize>) -> Result<usize> {
        if n.fract() == 0.0 && n >= *range.start() as f64 && n <= *range.end() as f64 {
            return Ok(n as usize);
        }
        let (low, high) = (range.start(), range.end());
        Err(self.error(key, format!("is {n}; expected an integer from {low} to {high}")))
    }

    /// A number for each of `layers`: the key holds one for all of them or a list. `None` where it is absent.
    pub(crate) fn per_layer(
        &self,
        key: &str,
        layers: usize,
        range: RangeInclusive<usize>,
    ) -> Result<Option<Vec<usize>>> {
        if let Some(Value::Many(..)) = self.values.get(key) {
            let list = self.numbers(key)?.unwrap_or_default();
            if list.len() != layers {
                let found = list.len();
                return Err(self.error(key, format!("has {found} entries for {layers} layers")));
            }
            return list
                .into_iter()
                .map(|n| self.whole(key, n, &range))
                .collect::<Result<_>>()
                .map(Some);
        }
        Ok(self.integer(key, range)?.map(|n| vec![n; layers]))
    }

    /// A list of numbers or booleans (0 and 1), or `None` where the key is absent.
    pub(crate) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        let (kind, count, range) = match self.values.get(key) {
            None => return Ok(None),
            Some(Value::Many(kind, count, range)) if *kind != STRING => (*kind, *count, range),
            Some(_) => return Err(self.error(key, "must be a list of numbers")),
        };
        // Types were checked when the file was read, so a numeric one has a size and decodes.
        let size = SIZES[kind as usize] as usize;
        let at = |i: usize| range.start + i * size..range.start + (i + 1) * size;
        let values = (0..count).map(|i| self.decode(kind, &at(i)).unwrap_or(f64::NAN));
        Ok(Some(values.collect()))
    }

    /// The strings of a list, in order, or `None` where the key is absent.
    pub(crate) fn strings(&self, key: &str) -> Result<Option<Vec<&str>>> {
        let (count, range) = match self.values.get(key) {
            None => return Ok(None),
            Some(Value::Many(STRING, count, range)) => (*count, range),
            Some(_) => return Err(self.error(key, "must be a list of strings")),
        };
        let mut cursor = Cursor::new(&self.file, &self.bytes.as_slice()[range.clone()]);
        cursor.about(format!("key `{key}`"));
        let held = &self.bytes.as_slice()[range.clone()];
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            let text = std::str::from_utf8(&held[cursor.string()?]);
            list.push(text.map_err(|e| cursor.error(format!("an entry is not UTF-8: {e}")))?);
        }
        Ok(Some(list))
    }

    fn decode(&self, kind: u32, range: &Range<usize>) -> Option<f64> {
        let b = &self.bytes.as_slice()[range.clone()];
        let number = match (kind, b.len()) {
            (0, 1) => f64::from(b[0]),
            (1, 1) => f64::from(b[0] as i8),
            (2, 2) => f64::from(u16::from_le_bytes([b[0], b[1]])),
            (3, 2) => f64::from(i16::from_le_bytes([b[0], b[1]])),
            (4, 4) => f64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            (5, 4) => f64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            (6, 4) => f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            (BOOL, 1) => f64::from(u8::from(b[0] != 0)),
            (10..=12, 8) => {
                let bytes = [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]];
                match kind {
                    10 => u64::from_le_bytes(bytes) as f64,
                    11 => i64::from_le_bytes(bytes) as f64,
                    _ => f64::from_le_bytes(bytes),
                }
            }
            _ => return None,
        };
        Some(number)
    }
}

fn read_value(cursor: &mut Cursor<'_>) -> Result<Value> {
    let kind = cursor.u32()?;
    match kind {
        STRING => Ok(Value::One(kind, cursor.string()?)),
        ARRAY => {
            let element = cursor.u32()?;
            if element == ARRAY || element as usize >= SIZES.len() {
                return Err(cursor.error(format!("is a list of elements of type {element}")));
            }
            // A string has at least its length.
            let each = SIZES[element as usize].max(if element == STRING { 8 } else { 1 });
            let count = cursor.count(each)?;
            let start = cursor.position();
            if element == STRING {
                for _ in 0..count {
                    cursor.string()?;
                }
            } else {
                cursor.skip(count as u64 * each)?;
            }
            Ok(Value::Many(element, count, start..cursor.position()))
        }
        _ => match SIZES.get(kind as usize) {
            Some(&size) => Ok(Value::One(kind, cursor.skip(size)?)),
            None => Err(cursor.error(format!("has the unknown type {kind}"))),
        },
    }
}
