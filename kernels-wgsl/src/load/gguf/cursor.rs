//! Reading a GGUF header: every length is compared with the bytes that are left before it is believed.

use crate::error::{Error, Result};
use std::ops::Range;

/// Longest metadata key or tensor name, in bytes.
const NAME_MAX: usize = 1024;

/// A position in a file's bytes.
pub(super) struct Cursor<'a> {
    file: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// What is being read, for errors.
    what: String,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        Cursor { file, bytes, at: 0, what: "the header".into() }
    }

    /// Says in errors that what follows belongs to `what`.
    pub(super) fn about(&mut self, what: impl Into<String>) {
        self.what = what.into();
    }

    pub(super) fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::Corrupt { file: self.file.into(), message: format!("{}: {message}", self.what) }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The place of the next `length` bytes.
    pub(super) fn skip(&mut self, length: u64) -> Result<Range<usize>> {
        let start = self.at;
        let held = usize::try_from(length).ok().filter(|&n| n <= self.left());
        let Some(length) = held else {
            let (at, left) = (self.at, self.left());
            return Err(
                self.error(format!("asks for {length} bytes at {at}, of which {left} are left"))
            );
        };
        self.at += length;
        Ok(start..self.at)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let range = self.skip(N as u64)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of things of at least `each` bytes.
    pub(super) fn count(&mut self, each: u64) -> Result<usize> {
        let count = self.u64()?;
        let left = self.left() as u64;
        match usize::try_from(count) {
            Ok(n) if count <= left / each => Ok(n),
            _ => Err(self.error(format!("claims {count} entries, but only {left} bytes are left"))),
        }
    }

    /// The place of a length-prefixed string.
    pub(super) fn string(&mut self) -> Result<Range<usize>> {
        let length = self.u64()?;
        self.skip(length)
    }

    /// A key or tensor name.
    pub(super) fn name(&mut self) -> Result<&'a str> {
        let range = self.string()?;
        if range.is_empty() || range.len() > NAME_MAX {
            let length = range.len();
            return Err(
                self.error(format!("a name of {length} bytes; 1 to {NAME_MAX} are allowed"))
            );
        }
        std::str::from_utf8(&self.bytes[range])
            .map_err(|e| self.error(format!("a name is not UTF-8: {e}")))
    }
}
