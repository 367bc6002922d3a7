//! The values in a tool call, rewritten as JSON.
//!
//! ```text
//! value   = string | number | "true" | "false" | "null" | array | object
//! string  = <|"|> any text <|"|>            (a JSON string is understood too)
//! array   = "[" [value {"," value}] "]"
//! object  = "{" [key ":" value {"," key ":" value}] "}"
//! key     = bare text up to the colon, or a string
//! ```

use super::markers::QUOTE;

/// Deepest nesting of arrays and objects.
const DEPTH_MAX: usize = 64;

/// A tool call that does not follow the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Reads values and writes them as JSON.
pub(super) struct Reader<'a> {
    rest: &'a str,
    json: String,
}

impl<'a> Reader<'a> {
    /// The JSON of a text that is one object.
    pub(super) fn object(text: &'a str) -> Result<String, Unreadable> {
        let mut reader = Self { rest: text, json: String::with_capacity(text.len()) };
        reader.value(0)?;
        reader.space();
        let whole = reader.rest.is_empty() && reader.json.starts_with('{');
        if whole { Ok(reader.json) } else { Err(Unreadable) }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Skips `token` behind white space, if it is there.
    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let behind = self.rest.strip_prefix(token);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), Unreadable> {
        if self.eat(token) { Ok(()) } else { Err(Unreadable) }
    }

    fn value(&mut self, depth: usize) -> Result<(), Unreadable> {
        if depth > DEPTH_MAX {
            return Err(Unreadable);
        }
        self.space();
        if self.rest.starts_with(QUOTE) || self.rest.starts_with('"') {
            return self.string();
        }
        if self.eat("{") {
            return self.list("{", "}", |reader| {
                reader.key()?;
                reader.expect(":")?;
                reader.json.push(':');
                reader.value(depth + 1)
            });
        }
        if self.eat("[") {
            return self.list("[", "]", |reader| reader.value(depth + 1));
        }
        self.word()
    }

    /// Items between brackets, of which the opening one has been read.
    fn list(
        &mut self,
        open: &str,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.json.push_str(open);
        if !self.eat(close) {
            loop {
                item(self)?;
                if self.eat(close) {
                    break;
                }
                self.expect(",")?;
                self.json.push(',');
            }
        }
        self.json.push_str(close);
        Ok(())
    }

    fn key(&mut self) -> Result<(), Unreadable> {
        self.space();
        if self.rest.starts_with(QUOTE) || self.rest.starts_with('"') {
            return self.string();
        }
        let end = self.rest.find([':', ',', '{', '}', '[', ']']).ok_or(Unreadable)?;
        let key = self.rest[..end].trim_end();
        if key.is_empty() {
            return Err(Unreadable);
        }
        self.write(key);
        self.rest = &self.rest[end..];
        Ok(())
    }

    fn string(&mut self) -> Result<(), Unreadable> {
        if let Some(behind) = self.rest.strip_prefix(QUOTE) {
            let (text, behind) = behind.split_once(QUOTE).ok_or(Unreadable)?;
            self.write(text);
            self.rest = behind;
            return Ok(());
        }
        let mut strings = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let text = strings.next().and_then(Result::ok).ok_or(Unreadable)?;
        let end = strings.byte_offset();
        self.write(&text);
        self.rest = &self.rest[end..];
        Ok(())
    }

    fn write(&mut self, text: &str) {
        self.json.push_str(&serde_json::Value::from(text).to_string());
    }

    /// A number, truth value or null. Numbers keep their spelling where JSON has it too.
    fn word(&mut self) -> Result<(), Unreadable> {
        let end = self.rest.find([',', '}', ']']).unwrap_or(self.rest.len());
        let word = self.rest[..end].trim_end();
        let json = match word {
            "true" | "false" | "null" => word.to_owned(),
            "True" | "False" => word.to_lowercase(),
            "None" => "null".to_owned(),
            _ if serde_json::from_str::<serde_json::Number>(word).is_ok() => word.to_owned(),
            _ => {
                let numeric = word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
                let number = word.parse::<f64>().ok().filter(|_| numeric);
                let number = number.and_then(serde_json::Number::from_f64).ok_or(Unreadable)?;
                number.to_string()
            }
        };
        self.json.push_str(&json);
        self.rest = &self.rest[end..];
        Ok(())
    }
}
