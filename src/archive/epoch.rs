//! Epochs: how they are made, how their keys lie in a target, and how those are opened.
//!
//! `keys/<epoch>-<8 hex>.age` is an age file, sealed to the operators' recipients. What it holds is an age identity file: with
//! `age -d` it gives the key that opens packs, archives and segments by hand. The eight digits tell whoever has the chunk key for
//! which recipients it was sealed, and nobody else.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::age::{self, AgeError, Identity, Recipient};
use crate::secret::Secret;
use crate::target::{Target, TargetError};

use super::keys::{ChunkKey, EpochKeys, epoch_name};
use super::layout;

/// Bytes of a key object: a few hundred recipients fit.
pub const KEY_OBJECT_MAX: usize = 64 << 10;

/// An epoch as a host that backs up knows it. It cannot read what it seals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEpoch {
    /// Its name.
    pub name: String,
    /// Its public half.
    pub recipient: Recipient,
    /// Keys the digests of segments, the cuts of chunks and what the host reads again.
    pub chunk_key: ChunkKey,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Key objects by name: what makes it readable, to be put into every target.
    pub objects: Vec<(String, Bytes)>,
}

/// An epoch in the state folder.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    epoch: String,
    recipient: Recipient,
    chunk_key: String,
    created: String,
    objects: Vec<WrittenObject>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenObject {
    name: String,
    content: String,
}

/// Why the keys of an epoch cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// The target failed.
    #[error("target `{target}` failed")]
    Target {
        /// Which.
        target: crate::id::TargetName,
        /// Why.
        source: TargetError,
    },
    /// No key object of this epoch lies there.
    #[error("the keys of epoch {0} are not there")]
    Missing(String),
    /// None of the identities opens it.
    #[error("the keys of epoch {0} are sealed to other recipients than the identities given")]
    NoMatch(String),
    /// It was opened and is no key object.
    #[error("`{0}` is damaged")]
    Damaged(String),
}

impl HostEpoch {
    /// Makes an epoch whose keys `recipients` open.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn create(recipients: &[Recipient], created: &str) -> Result<Self, AgeError> {
        let identity = Identity::generate()?;
        let mut chunk_key = [0; 32];
        getrandom::fill(&mut chunk_key).map_err(|_| AgeError::Random)?;
        let keys = EpochKeys {
            name: epoch_name(&identity.recipient()),
            identity,
            chunk_key: ChunkKey::new(chunk_key),
        };
        Ok(Self {
            recipient: keys.identity.recipient(),
            chunk_key: keys.chunk_key,
            created: created.to_owned(),
            objects: vec![seal_keys(&keys, recipients, created)?],
            name: keys.name,
        })
    }

    /// The name of the key object for these recipients.
    pub fn object_for(&self, recipients: &[Recipient]) -> String {
        object_name(&self.name, &self.chunk_key, recipients)
    }

    fn written(&self) -> Written {
        let objects = self.objects.iter().map(|(name, content)| WrittenObject {
            name: name.clone(),
            content: BASE64.encode(content),
        });
        Written {
            epoch: self.name.clone(),
            recipient: self.recipient,
            chunk_key: BASE64.encode(self.chunk_key.expose()),
            created: self.created.clone(),
            objects: objects.collect(),
        }
    }

    fn read(written: Written) -> Option<Self> {
        let chunk_key: [u8; 32] = BASE64.decode(&written.chunk_key).ok()?.try_into().ok()?;
        let objects = written.objects.into_iter().map(|object| {
            let bytes = BASE64.decode(&object.content).ok()?;
            Some((object.name, Bytes::from(bytes)))
        });
        let epoch = Self {
            recipient: written.recipient,
            chunk_key: ChunkKey::new(chunk_key),
            created: written.created,
            objects: objects.collect::<Option<_>>()?,
            name: written.epoch,
        };
        (epoch_name(&epoch.recipient) == epoch.name).then_some(epoch)
    }
}

/// The epochs of a host in one repository, the one in use last. Those before it are kept to read what the host itself left for later
/// in records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEpochs(pub Vec<HostEpoch>);

/// The file of a host's epochs in one repository.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenFile {
    format: u32,
    repository: String,
    epochs: Vec<Written>,
}

const FILE_FORMAT: u32 = 1;

impl HostEpochs {
    /// The one in use.
    pub fn current(&self) -> Option<&HostEpoch> {
        self.0.last()
    }

    /// The chunk key of an epoch.
    pub fn chunk_key(&self, name: &str) -> Option<ChunkKey> {
        self.0
            .iter()
            .find(|epoch| epoch.name == name)
            .map(|epoch| epoch.chunk_key)
    }

    /// The file that keeps them. It holds keys: 0600, and nowhere else.
    pub fn to_bytes(&self, repository: &str) -> Zeroizing<Vec<u8>> {
        let file = WrittenFile {
            format: FILE_FORMAT,
            repository: repository.to_owned(),
            epochs: self.0.iter().map(HostEpoch::written).collect(),
        };
        // A struct of strings and numbers always serializes.
        Zeroizing::new(serde_json::to_vec_pretty(&file).unwrap_or_default())
    }

    /// Reads them again; `None` where the file is not what was written, or of another repository.
    pub fn parse(bytes: &[u8], repository: &str) -> Option<Self> {
        let file: WrittenFile = serde_json::from_slice(bytes).ok()?;
        if file.format != FILE_FORMAT || file.repository != repository {
            return None;
        }
        let epochs: Option<Vec<HostEpoch>> = file.epochs.into_iter().map(HostEpoch::read).collect();
        epochs.filter(|epochs| !epochs.is_empty()).map(Self)
    }
}

/// Seals the keys of an epoch to `recipients`: a key object with its name.
///
/// # Errors
/// When the system has no randomness.
pub fn seal_keys(keys: &EpochKeys, recipients: &[Recipient], created: &str) -> Result<(String, Bytes), AgeError> {
    let EpochKeys {
        name,
        identity,
        chunk_key,
    } = keys;
    let chunk_key_text = Secret::new(BASE64.encode(chunk_key.expose()));
    let plain = Zeroizing::new(format!(
        "# strongroom epoch {name}\n# created: {created}\n# chunk-key: {}\n{}\n",
        chunk_key_text.expose(),
        identity.text().expose()
    ));
    let sealed = age::seal(recipients, plain.as_bytes())?;
    Ok((object_name(name, chunk_key, recipients), sealed.into()))
}

fn object_name(epoch: &str, chunk_key: &ChunkKey, recipients: &[Recipient]) -> String {
    let mut list: Vec<String> = recipients.iter().map(ToString::to_string).collect();
    list.sort_unstable();
    list.dedup();
    let digest = chunk_key.digest(list.join("\n").as_bytes()).to_string();
    layout::key(epoch, digest.get(..8).unwrap_or_default())
}

/// Opens a key object of an epoch, and says when the epoch was made.
///
/// # Errors
/// When no identity fits, or when what it holds is not the keys of that epoch.
pub fn open_keys(
    name: &str,
    object: &str,
    sealed: &[u8],
    identities: &[Identity],
) -> Result<(EpochKeys, String), EpochError> {
    let plain = match age::open(identities, sealed) {
        Ok(plain) => Zeroizing::new(plain),
        Err(AgeError::NoMatch) => return Err(EpochError::NoMatch(name.to_owned())),
        Err(_) => return Err(EpochError::Damaged(object.to_owned())),
    };
    read_keys(name, object, &plain)
}

/// Reads what a key object of an epoch holds, and says when the epoch was made.
///
/// # Errors
/// When it is not the keys of that epoch.
pub fn read_keys(name: &str, object: &str, plain: &[u8]) -> Result<(EpochKeys, String), EpochError> {
    let damaged = || EpochError::Damaged(object.to_owned());
    let text = std::str::from_utf8(plain).map_err(|_| damaged())?;
    let said = |key: &str| text.lines().find_map(|line| line.strip_prefix("# ")?.strip_prefix(key));
    let chunk_key = said("chunk-key: ").and_then(|text| BASE64.decode(text).ok());
    let chunk_key: [u8; 32] = chunk_key.and_then(|bytes| bytes.try_into().ok()).ok_or_else(damaged)?;
    let identity = Identity::parse_all(text).map_err(|_| damaged())?;
    let [identity] = <[Identity; 1]>::try_from(identity).map_err(|_| damaged())?;
    // Whoever can write to a target could put keys of their own there under this name.
    if epoch_name(&identity.recipient()) != name {
        return Err(damaged());
    }
    let keys = EpochKeys {
        name: name.to_owned(),
        identity,
        chunk_key: ChunkKey::new(chunk_key),
    };
    Ok((keys, said("created: ").unwrap_or_default().to_owned()))
}

/// Names of the key objects of an epoch in a target.
pub async fn key_objects(target: &Target, epoch: &str) -> Result<Vec<String>, EpochError> {
    let listed = target
        .list(layout::KEYS)
        .await
        .map_err(|source| failed(target, source))?;
    let of_epoch = listed.into_iter().map(|(name, _)| name);
    Ok(of_epoch
        .filter(|name| layout::parse_key(name).is_some_and(|(found, _)| found == epoch))
        .collect())
}

/// Finds the keys of an epoch in a target and opens them. `check` is what the record says of the chunk key: whoever once could open
/// the keys could put the right identity there with a wrong one.
///
/// # Errors
/// When there are none, none of the identities opens them, or what opens is not what the record was made with.
pub async fn find_keys(
    target: &Target,
    epoch: &str,
    check: Option<&str>,
    identities: &[Identity],
) -> Result<Arc<EpochKeys>, EpochError> {
    let mut error = EpochError::Missing(epoch.to_owned());
    for name in key_objects(target, epoch).await? {
        let sealed = target.read(&name, KEY_OBJECT_MAX).await;
        let sealed = sealed.map_err(|source| failed(target, source))?;
        match open_keys(epoch, &name, &sealed, identities) {
            Ok((keys, _)) if keys.chunk_key.fits(check) => return Ok(Arc::new(keys)),
            Ok(_) => error = EpochError::Damaged(name),
            // That one is damaged says more than that another is sealed to others.
            Err(EpochError::NoMatch(_)) if matches!(error, EpochError::Damaged(_)) => {}
            Err(one) => error = one,
        }
    }
    Err(error)
}

fn failed(target: &Target, source: TargetError) -> EpochError {
    EpochError::Target {
        target: target.name().clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_an_epoch_open_for_each_recipient_and_the_host_does_not_have_them() {
        let (one, two, other) = (
            Identity::generate().unwrap(),
            Identity::generate().unwrap(),
            Identity::generate().unwrap(),
        );
        let recipients = [one.recipient(), two.recipient()];
        let epoch = HostEpoch::create(&recipients, "2026-11-28T00:00:00Z").unwrap();
        let (name, sealed) = epoch.objects.first().unwrap();
        assert_eq!(*name, epoch.object_for(&[two.recipient(), one.recipient()]));
        assert_ne!(*name, epoch.object_for(&[one.recipient()]));
        for identity in [&one, &two] {
            let (keys, created) = open_keys(&epoch.name, name, sealed, std::slice::from_ref(identity)).unwrap();
            assert_eq!(
                (keys.identity.recipient(), keys.chunk_key),
                (epoch.recipient, epoch.chunk_key)
            );
            assert_eq!(created, epoch.created);
            let host = HostEpochs(vec![epoch.clone()]).to_bytes("repository");
            let host = std::str::from_utf8(&host).unwrap();
            assert!(!host.contains(keys.identity.text().expose()));
        }
        let refused = open_keys(&epoch.name, name, sealed, std::slice::from_ref(&other));
        assert!(matches!(refused, Err(EpochError::NoMatch(_))));
    }

    #[test]
    fn keys_under_the_name_of_another_epoch_are_refused() {
        let identity = Identity::generate().unwrap();
        let one = HostEpoch::create(&[identity.recipient()], "now").unwrap();
        let other = HostEpoch::create(&[identity.recipient()], "now").unwrap();
        let (name, sealed) = other.objects.first().unwrap();
        let refused = open_keys(&one.name, name, sealed, std::slice::from_ref(&identity));
        assert!(matches!(refused, Err(EpochError::Damaged(_))));
    }

    #[tokio::test]
    async fn a_wrong_chunk_key_beside_the_sound_keys_is_passed_over_where_the_record_has_its_check() {
        let identity = Identity::generate().unwrap();
        let recipients = [identity.recipient()];
        let epoch = HostEpoch::create(&recipients, "now").unwrap();
        let (name, sealed) = epoch.objects.first().unwrap();
        let identities = std::slice::from_ref(&identity);
        let (keys, _) = open_keys(&epoch.name, name, sealed, identities).unwrap();
        let wrong = EpochKeys {
            chunk_key: ChunkKey::new([7; 32]),
            ..keys.clone()
        };
        let (_, forged) = seal_keys(&wrong, &recipients, "now").unwrap();
        let target = Target::memory("local".parse().unwrap());
        // It is listed before any other.
        let first = layout::key(&epoch.name, "00000000");
        target.create(&first, forged).await.unwrap();
        let check = epoch.chunk_key.check();
        let refused = find_keys(&target, &epoch.name, Some(&check), identities).await;
        assert!(matches!(refused, Err(EpochError::Damaged(object)) if object == first));
        target.create(name, sealed.clone()).await.unwrap();
        let found = find_keys(&target, &epoch.name, Some(&check), identities).await.unwrap();
        assert_eq!(found.chunk_key, epoch.chunk_key);
        // Records made before have no check: they are read as they were.
        find_keys(&target, &epoch.name, None, identities).await.unwrap();
    }

    #[test]
    fn what_a_host_keeps_reads_back_and_only_for_its_repository() {
        let identity = Identity::generate().unwrap();
        let epoch = || HostEpoch::create(&[identity.recipient()], "now").unwrap();
        let epochs = HostEpochs(vec![epoch(), epoch()]);
        let bytes = epochs.to_bytes("one");
        assert_eq!(HostEpochs::parse(&bytes, "one"), Some(epochs.clone()));
        assert_eq!(HostEpochs::parse(&bytes, "another"), None);
        assert_eq!(epochs.chunk_key(&epochs.0[0].name), Some(epochs.0[0].chunk_key));
    }
}
