//! Secret values that cannot be printed, and the references by which a manifest names them.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// A value that has no `Display` and no `Serialize`, prints as `[redacted]` and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Gives the value to the one who must use it. Never pass it on to anything that prints.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Where a secret value comes from; a manifest holds only this, never the value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretRef {
    /// `{ secret = "NAME" }`: a name in the environment's secret file, else in the process environment.
    Secret(String),
    /// `{ file = "/run/credentials/x" }`: the file's content without its last line end.
    File(PathBuf),
    /// `{ command = ["pass", "show", "x"] }`: the standard output without its last line end.
    Command(Vec<String>),
}

/// The three keys a reference may have; serde reads this and [`SecretRef`] is what comes out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    secret: Option<String>,
    file: Option<PathBuf>,
    command: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let written = Written::deserialize(deserializer)?;
        match (written.secret, written.file, written.command) {
            (Some(name), None, None) if !name.is_empty() => Ok(Self::Secret(name)),
            (None, Some(path), None) if !path.as_os_str().is_empty() => Ok(Self::File(path)),
            (None, None, Some(argv)) if !argv.is_empty() => Ok(Self::Command(argv)),
            _ => Err(D::Error::custom(
                "a secret reference has exactly one of `secret`, `file` and `command`",
            )),
        }
    }
}

impl JsonSchema for SecretRef {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SecretRef".into()
    }

    /// `x-secret` marks the fields in which a literal is a secret that must not be printed.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "x-secret": true,
            "description": "A reference to a secret: exactly one of `secret`, `file` and `command`. Never the value itself.",
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
            "properties": {
                "secret": { "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
                    "description": "A name in the environment's secret file, else in the process environment." },
                "file": { "type": "string", "minLength": 1,
                    "description": "A file whose content is the value, without its last line end." },
                "command": { "type": "array", "minItems": 1, "items": { "type": "string" },
                    "description": "A program and its arguments; its output is the value. No shell, 30 s at most." }
            }
        })
    }
}

/// What a manifest writes out where it is no secret, and refers to where it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextOrSecret {
    /// The text itself.
    Text(String),
    /// A reference to a secret.
    Secret(SecretRef),
}

impl<'de> Deserialize<'de> for TextOrSecret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = TextOrSecret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a reference to a secret")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TextOrSecret, E> {
                Ok(TextOrSecret::Text(text.to_owned()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<TextOrSecret, A::Error> {
                let reference = serde::de::value::MapAccessDeserializer::new(map);
                SecretRef::deserialize(reference).map(TextOrSecret::Secret)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for TextOrSecret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TextOrSecret".into()
    }

    /// `x-text-or-secret` marks the fields in which a text is taken as it is, unless the name of the field tells that it is
    /// a secret.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = SecretRef::json_schema(generator);
        schema.remove("x-secret");
        schema.insert("type".to_owned(), serde_json::json!(["string", "object"]));
        schema.insert("x-text-or-secret".to_owned(), true.into());
        let text = "A text, or a reference to a secret: exactly one of `secret`, `file` and `command`.";
        schema.insert("description".to_owned(), text.into());
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let value = Secret::new(String::from("hunter2hunter2"));
        assert_eq!(format!("{value:?}"), "[redacted]");
    }

    #[test]
    fn a_text_is_taken_as_it_is_and_a_table_is_a_reference() {
        let read = |text: &str| serde_json::from_str::<TextOrSecret>(text);
        assert_eq!(read(r#""en_GB""#).unwrap(), TextOrSecret::Text("en_GB".into()));
        let reference = TextOrSecret::Secret(SecretRef::Secret("KEY".into()));
        assert_eq!(read(r#"{"secret":"KEY"}"#).unwrap(), reference);
        assert!(read("8080").is_err() && read(r#"{"secret":"KEY","file":"/x"}"#).is_err());
    }

    #[test]
    fn a_reference_has_exactly_one_origin() {
        let read = |text: &str| serde_json::from_str::<SecretRef>(text);
        assert_eq!(read(r#"{"secret":"KEY"}"#).unwrap(), SecretRef::Secret("KEY".into()));
        assert!(read(r#"{"secret":"KEY","file":"/x"}"#).is_err());
        assert!(read("{}").is_err());
        assert!(read(r#""literal""#).is_err());
    }
}
