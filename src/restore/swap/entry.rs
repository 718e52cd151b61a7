//! How a swap journal names what lies on the host: its path, any bytes, and what tells it from whatever else may come to lie
//! there.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path of the host, any bytes: text in JSON where it is UTF-8, else base64 under the key `b64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPath(pub PathBuf);

impl std::ops::Deref for HostPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl From<PathBuf> for HostPath {
    fn from(path: PathBuf) -> Self {
        Self(path)
    }
}

impl From<&Path> for HostPath {
    fn from(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    b64: String,
}

impl Serialize for HostPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => Encoded {
                b64: BASE64.encode(self.0.as_os_str().as_bytes()),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HostPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let value = serde_json::Value::deserialize(deserializer)?;
        if let serde_json::Value::String(text) = value {
            return Ok(Self(text.into()));
        }
        let encoded: Encoded = serde_json::from_value(value).map_err(D::Error::custom)?;
        let bytes = BASE64.decode(encoded.b64).map_err(D::Error::custom)?;
        Ok(Self(OsString::from_vec(bytes).into()))
    }
}

/// What tells one entry of a file system from the others in its folder, also after a restart of the host: a device's number
/// may be another then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Inode number.
    pub inode: u64,
    /// When it was made, seconds and nanoseconds, where the file system knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<(i64, u32)>,
}

impl Mark {
    /// Whether both stand for one entry.
    pub fn is(&self, other: &Self) -> bool {
        let same_birth = match (self.born, other.born) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.inode == other.inode && same_birth
    }
}

impl AsRef<Path> for HostPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_text_is_kept_exactly() {
        for bytes in [&b"/srv/data"[..], b"/srv/\xff\xfe", "/srv/\u{e4}".as_bytes()] {
            let path = HostPath(OsString::from_vec(bytes.to_vec()).into());
            let text = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<HostPath>(&text).unwrap(), path, "{text}");
        }
        assert!(serde_json::from_str::<HostPath>("{\"b64\":\"!\"}").is_err());
    }

    #[test]
    fn an_inode_that_was_given_away_again_is_another_entry() {
        let mark = |inode, born| Mark { inode, born };
        assert!(mark(1, Some((5, 0))).is(&mark(1, Some((5, 0)))));
        assert!(!mark(1, Some((5, 0))).is(&mark(1, Some((6, 0)))));
        assert!(mark(1, Some((5, 0))).is(&mark(1, None)));
        assert!(!mark(1, None).is(&mark(2, None)));
    }
}
