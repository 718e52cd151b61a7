//! Resolves references to secrets: an environment's secret file, the process environment, a file, a command. What was
//! resolved is known to a [`Scrubber`], through which everything printed passes.

mod env_file;
mod guarded;
mod scrubber;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::diagnostic::{Code, Diagnose};
use crate::limits;
use crate::process::{self, ProcessError};
use crate::secret::{Secret, SecretRef};
use crate::sensitive::keys::is_telling;
use crate::sensitive::values::{is_placeholder, is_random};

pub use env_file::SyntaxError;
pub use scrubber::{Scrubber, ScrubbingWriter};

/// Where secrets come from.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// The environment's secret file, `.env.live`; it may be absent while nothing refers to it.
    pub file: Option<PathBuf>,
    /// The folder at which relative paths of references start and in which commands run: the project folder.
    pub folder: PathBuf,
    /// The process environment, as the command line interface read it.
    pub environment: BTreeMap<String, String>,
    /// The scrubber that learns every value.
    pub scrubber: Scrubber,
}

/// Resolves references to secrets and remembers what it resolved.
#[derive(Debug)]
pub struct Store {
    origins: Origins,
    entries: BTreeMap<String, Secret<String>>,
    resolved: BTreeMap<SecretRef, Secret<String>>,
}

/// Why a secret could not be had. Names are in it, values never.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Others can read the file.
    #[error("`{}` is open to others: its mode is {mode:04o}", file.display())]
    Mode {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be read.
    #[error("`{}` cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is a folder, a pipe, a device or, for an environment's secret file, a symbolic link.
    #[error("`{}` is not a regular file", file.display())]
    NotRegular {
        /// The file.
        file: PathBuf,
    },
    /// A line of the secret file cannot be understood.
    #[error("`{}` line {}: {}", file.display(), .error.line, .error.what)]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The place and what is wrong with it.
        error: SyntaxError,
    },
    /// The name is nowhere.
    #[error("the secret `{name}` is nowhere to be found")]
    Missing {
        /// The name.
        name: String,
        /// The secret file in which it was looked for.
        file: Option<PathBuf>,
    },
    /// The value is empty.
    #[error("the secret {name} is empty")]
    Empty {
        /// What was asked for.
        name: String,
    },
    /// The file that a reference names is not there.
    #[error("the secret file `{}` is not there", file.display())]
    MissingFile {
        /// The file.
        file: PathBuf,
    },
    /// The value is longer than a secret is.
    #[error("the secret {name} is longer than {limit} bytes")]
    TooLong {
        /// What was asked for.
        name: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// The value is not UTF-8.
    #[error("the secret {name} is not UTF-8 text")]
    NotText {
        /// What was asked for.
        name: String,
    },
    /// The command failed.
    #[error("the command `{program}` gave no secret")]
    Command {
        /// The program, without its arguments.
        program: String,
        /// Why, with the end of what it said, scrubbed.
        why: String,
    },
    /// There are too many values to seek them all.
    #[error("the secrets cannot be kept out of what is printed")]
    Scrubber {
        /// Why.
        source: crate::sensitive::known::TooLarge,
    },
}

impl Diagnose for SecretError {
    fn code(&self) -> Code {
        match self {
            Self::Mode { .. } => Code::SecretFileMode,
            Self::Missing { .. } | Self::MissingFile { .. } | Self::Empty { .. } => Code::SecretMissing,
            Self::Unreadable { .. }
            | Self::NotRegular { .. }
            | Self::Syntax { .. }
            | Self::TooLong { .. }
            | Self::NotText { .. }
            | Self::Command { .. }
            | Self::Scrubber { .. } => Code::SecretUnreadable,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Mode { .. } => Some("whoever can read the file has the secrets in it".to_owned()),
            Self::Command { why, .. } => Some(why.clone()),
            _ => None,
        }
    }

    fn state(&self) -> Option<String> {
        Some("no secret was used and nothing was changed".to_owned())
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Mode { file, .. } => Some(format!("chmod 600 {}", shell_word(file))),
            Self::NotRegular { .. } => {
                Some("put the secrets into a regular file, not behind a symbolic link".to_owned())
            }
            Self::Missing { name, file } => Some(match file {
                Some(file) => format!(
                    "add a line `{name}=…` to `{}`, or set {name} in the environment",
                    file.display()
                ),
                None => {
                    format!("set {name} in the environment, or name a secret file: `secrets = {{ file = \".env.…\" }}`")
                }
            }),
            _ => None,
        }
    }
}

/// A path as it can be pasted into a shell.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ',' | ':' | '@');
    if text.chars().all(plain) && !text.starts_with('-') {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

impl Store {
    /// Reads the secret file, where there is one, and tells the scrubber the values in it that look secret by name or by
    /// themselves, so that they are known even when nothing refers to them.
    ///
    /// # Errors
    /// When the file is there and open to others, no regular file, unreadable or malformed.
    pub fn open(origins: Origins) -> Result<Self, SecretError> {
        let mut entries = BTreeMap::new();
        if let Some(file) = &origins.file {
            let path = origins.folder.join(file);
            if let Some(bytes) = guarded::read_env_file(&path)? {
                let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText {
                    name: format!("file `{}`", path.display()),
                })?;
                let text = text.strip_prefix('\u{feff}').unwrap_or(text);
                entries = env_file::parse(text).map_err(|error| SecretError::Syntax {
                    file: path.clone(),
                    error,
                })?;
            }
        }
        let telling = entries
            .iter()
            .filter(|(name, value)| {
                let value = value.expose().as_bytes();
                !is_placeholder(value) && (is_telling(name) || is_random(value) || holds_password(value))
            })
            .map(|(_, value)| value.clone());
        origins
            .scrubber
            .add_all(telling)
            .map_err(|source| SecretError::Scrubber { source })?;
        Ok(Self {
            origins,
            entries,
            resolved: BTreeMap::new(),
        })
    }

    /// Gives the value a reference stands for, and tells it to the scrubber. The same reference is resolved once.
    ///
    /// # Errors
    /// When there is no such value or it cannot be read; the error names it and never holds it.
    pub async fn resolve(&mut self, reference: &SecretRef) -> Result<Secret<String>, SecretError> {
        if let Some(value) = self.resolved.get(reference) {
            return Ok(value.clone());
        }
        let value = match reference {
            SecretRef::Secret(name) => self.named(name)?,
            SecretRef::File(path) => guarded::read_value(&self.origins.folder.join(path))?,
            SecretRef::Command(argv) => self.said(argv).await?,
        };
        let name = describe(reference);
        if value.expose().is_empty() {
            return Err(SecretError::Empty { name });
        }
        if value.expose().len() > limits::SECRET_MAX {
            let limit = u64::try_from(limits::SECRET_MAX).unwrap_or(u64::MAX);
            return Err(SecretError::TooLong { name, limit });
        }
        self.origins
            .scrubber
            .add(&value)
            .map_err(|source| SecretError::Scrubber { source })?;
        self.resolved.insert(reference.clone(), value.clone());
        Ok(value)
    }

    /// The scrubber that knows every value resolved so far. Clones share what they know.
    pub fn scrubber(&self) -> Scrubber {
        self.origins.scrubber.clone()
    }

    /// Every value the run knows: those resolved, and those of the secret file that look secret.
    pub fn known(&self) -> Vec<Secret<String>> {
        self.origins.scrubber.values()
    }

    fn named(&self, name: &str) -> Result<Secret<String>, SecretError> {
        if let Some(value) = self.entries.get(name) {
            return Ok(value.clone());
        }
        match self.origins.environment.get(name) {
            Some(value) => Ok(Secret::new(value.clone())),
            None => Err(SecretError::Missing {
                name: name.to_owned(),
                file: self.origins.file.clone(),
            }),
        }
    }

    /// Runs a command. Its environment holds `PATH` and `HOME`, without which no password manager finds its store.
    async fn said(&self, argv: &[String]) -> Result<Secret<String>, SecretError> {
        let program = argv.first().cloned().unwrap_or_default();
        let home = self.origins.environment.get("HOME");
        let folder = Some(self.origins.folder.clone()).filter(|folder| !folder.as_os_str().is_empty());
        let command = process::Command {
            argv: argv.iter().map(Into::into).collect(),
            env: home
                .map(|home| ("HOME".to_owned(), Secret::new(home.clone())))
                .into_iter()
                .collect(),
            folder,
            timeout: Duration::from_secs(limits::SECRET_COMMAND_SECONDS),
            patience: Duration::ZERO,
            stdout: process::Take::All(limits::SECRET_MAX + 2),
        };
        let mut output = match process::run(command).await {
            Ok(output) => output,
            Err(error) => return Err(self.command_failed(program, &error)),
        };
        guarded::text(std::mem::take(&mut output.stdout), || {
            format!("of the command `{program}`")
        })
    }

    fn command_failed(&self, program: String, error: &ProcessError) -> SecretError {
        let mut why = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            why = format!("{why}: {source}");
        }
        if let ProcessError::Failed { output, .. } = error {
            let said = self.origins.scrubber.said(&output.stderr);
            // The last line, where programs say why they failed.
            let last = said.rsplit('\n').next().unwrap_or_default();
            if !last.is_empty() {
                let short: String = last.chars().take(400).collect();
                why = format!("{why}: {short}");
            }
        }
        SecretError::Command { program, why }
    }
}

/// What was asked for, for a message.
fn describe(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Secret(name) => format!("`{name}`"),
        SecretRef::File(path) => format!("in the file `{}`", path.display()),
        SecretRef::Command(argv) => {
            format!(
                "of the command `{}`",
                argv.first().map(String::as_str).unwrap_or_default()
            )
        }
    }
}

/// `scheme://user:password@host`.
fn holds_password(value: &[u8]) -> bool {
    let Some(at) = value.windows(3).position(|window| window == b"://") else {
        return false;
    };
    let rest = value.get(at + 3..).unwrap_or_default();
    let Some(end) = rest.iter().rposition(|b| *b == b'@') else {
        return false;
    };
    rest.get(..end).unwrap_or_default().contains(&b':')
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn random(length: usize) -> String {
        let mut bytes = vec![0; length];
        getrandom::fill(&mut bytes).unwrap();
        hex::encode(bytes)
    }

    fn written(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn origins(folder: &Path) -> Origins {
        Origins {
            file: Some(".env.test".into()),
            folder: folder.to_owned(),
            ..Origins::default()
        }
    }

    #[tokio::test]
    async fn a_name_is_taken_from_the_file_before_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (random(12), random(12));
        written(folder.path(), ".env.test", &format!("A_KEY={first}\n"), 0o600);
        let mut origins = origins(folder.path());
        origins.environment = [("A_KEY".into(), second.clone()), ("B_KEY".into(), second.clone())].into();
        let mut store = Store::open(origins).unwrap();
        let mut value = async |name: &str| {
            store
                .resolve(&SecretRef::Secret(name.into()))
                .await
                .map(|v| v.expose().clone())
        };
        assert_eq!(value("A_KEY").await.unwrap(), first);
        assert_eq!(value("B_KEY").await.unwrap(), second);
        let error = value("C_KEY").await.unwrap_err();
        assert_eq!((error.code(), error.code().exit().number()), (Code::SecretMissing, 1));
        assert!(error.to_string().contains("C_KEY"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_command_to_run() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            written(folder.path(), ".env.test", "A=1", mode);
            let error = Store::open(origins(folder.path())).unwrap_err();
            assert_eq!(error.code().exit().number(), 5);
            assert!(error.help().unwrap().starts_with("chmod 600 "), "{mode:o}");
        }
    }

    #[test]
    fn a_symbolic_link_or_a_pipe_is_no_secret_file() {
        let folder = tempfile::tempdir().unwrap();
        let real = written(folder.path(), "real", "A=1", 0o600);
        std::os::unix::fs::symlink(real, folder.path().join(".env.test")).unwrap();
        assert!(matches!(
            Store::open(origins(folder.path())),
            Err(SecretError::NotRegular { .. })
        ));
        std::fs::remove_file(folder.path().join(".env.test")).unwrap();
        std::fs::create_dir(folder.path().join(".env.test")).unwrap();
        assert!(matches!(
            Store::open(origins(folder.path())),
            Err(SecretError::NotRegular { .. })
        ));
    }

    #[tokio::test]
    async fn an_absent_file_matters_only_when_something_refers_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(origins(folder.path())).unwrap();
        let error = store.resolve(&SecretRef::Secret("GONE".into())).await.unwrap_err();
        assert!(error.help().unwrap().contains(".env.test"));
    }

    #[tokio::test]
    async fn a_file_reference_loses_its_last_line_end_and_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let value = random(8);
        written(folder.path(), "one", &format!("{value}\n"), 0o600);
        written(folder.path(), "open", &value, 0o644);
        let mut store = Store::open(origins(folder.path())).unwrap();
        let read = store.resolve(&SecretRef::File("one".into())).await.unwrap();
        assert_eq!(*read.expose(), value);
        let error = store.resolve(&SecretRef::File("open".into())).await.unwrap_err();
        assert_eq!(error.code(), Code::SecretFileMode);
        let error = store.resolve(&SecretRef::File("none".into())).await.unwrap_err();
        assert_eq!(error.code(), Code::SecretMissing);
    }

    #[tokio::test]
    async fn a_command_gives_its_output_and_its_failure_is_scrubbed() {
        let folder = tempfile::tempdir().unwrap();
        let value = random(8);
        written(folder.path(), ".env.test", &format!("A_TOKEN={value}\n"), 0o600);
        let mut store = Store::open(origins(folder.path())).unwrap();
        let command = |script: String| SecretRef::Command(vec!["sh".into(), "-c".into(), script]);
        let said = store.resolve(&command("printf 'abcdefgh\\r\\n'".into())).await.unwrap();
        assert_eq!(said.expose(), "abcdefgh");
        let error = store
            .resolve(&command(format!("echo noise >&2; echo 'bad {value}' >&2; exit 3")))
            .await
            .unwrap_err();
        let why = error.why().unwrap();
        assert!(
            why.contains("exit code 3") && why.contains("bad ***") && !why.contains(&value),
            "{why}"
        );
        assert!(!format!("{error:?} {error}").contains(&value));
    }

    #[tokio::test]
    async fn everything_resolved_is_scrubbed_and_telling_entries_of_the_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let (used, unused, plain) = (random(4), random(8), "eu-central");
        written(
            folder.path(),
            ".env.test",
            &format!("CODE={used}\nDB_PASSWORD={unused}\nREGION={plain}\n"),
            0o600,
        );
        let mut store = Store::open(origins(folder.path())).unwrap();
        let scrubber = store.scrubber();
        let line = format!("{used} {unused} {plain}");
        assert_eq!(scrubber.scrub(&line), format!("{used} *** {plain}"));
        store.resolve(&SecretRef::Secret("CODE".into())).await.unwrap();
        assert_eq!(scrubber.scrub(&line), format!("*** *** {plain}"));
        assert_eq!(store.known().len(), 2);
    }

    #[tokio::test]
    async fn an_empty_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), ".env.test", "EMPTY=\n", 0o600);
        let mut store = Store::open(origins(folder.path())).unwrap();
        let error = store.resolve(&SecretRef::Secret("EMPTY".into())).await.unwrap_err();
        assert!(matches!(error, SecretError::Empty { .. }));
    }
}
