//! One row a kind: `kinds!` makes an enum whose variants each hold the settings struct of one `type`.
//!
//! `type` is read first and the kind's own struct after it, so an error inside keeps its path; an internally tagged
//! enum would buffer the table and lose it.

/// Why a table could not be decoded into the settings of its kind.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No kind of this name.
    #[error("unknown type `{0}`")]
    UnknownType(String),
    /// A value inside does not fit; `path` is the JSON pointer below the table.
    #[error("{message}")]
    Value {
        /// JSON pointer below the table, `/source/0/path`.
        path: String,
        /// What does not fit.
        message: String,
    },
}

/// Decodes `value` and keeps the path of what does not fit.
pub fn decode<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, DecodeError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        use serde_path_to_error::Segment;
        let mut path = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => path.push_str(&format!("/{index}")),
                Segment::Map { key } => path.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        DecodeError::Value {
            path,
            message: error.into_inner().to_string(),
        }
    })
}

/// Declares the table of kinds.
#[macro_export]
macro_rules! kinds {
    ($(#[$meta:meta])* pub enum $enum:ident { $($(#[$doc:meta])* $name:literal => $variant:ident($settings:ty),)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $enum {
            $($(#[$doc])* #[doc = concat!("`", $name, "`.")] $variant($settings),)*
        }

        impl $enum {
            /// The names of all kinds, in the order of the table.
            pub const NAMES: &[&'static str] = &[$($name,)*];

            /// The name of this kind, as `type` has it.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// Decodes a table without its `type` key into the settings of the kind `name`.
            ///
            /// # Errors
            /// When the kind is unknown or a value does not fit, with the path of that value.
            pub fn decode(name: &str, table: serde_json::Value) -> Result<Self, $crate::kinds::DecodeError> {
                match name {
                    $($name => Ok(Self::$variant($crate::kinds::decode(table)?)),)*
                    other => Err($crate::kinds::DecodeError::UnknownType(other.to_owned())),
                }
            }

            /// The JSON Schema of the settings of the kind `name`, without `type`; `None` where the kind is unknown.
            pub fn schema(name: &str, generator: &mut schemars::SchemaGenerator) -> Option<schemars::Schema> {
                match name {
                    $($name => Some(<$settings as schemars::JsonSchema>::json_schema(generator)),)*
                    _ => None,
                }
            }
        }
    };
}
