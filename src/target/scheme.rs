//! The table of URL schemes. A new backend is a builder function and one row; the conformance suite walks the table.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::local::Local;
use super::s3::{self, S3};
use super::settings::{Access, Fault, TargetSettings};
use super::{Backend, TargetError};

/// A kind of target URL.
pub struct Scheme {
    /// What stands before the colon.
    pub name: &'static str,
    /// How such a URL looks.
    pub example: &'static str,
    /// Checks settings, whose URL is given without its scheme. Does no input or output.
    check: fn(&TargetSettings, &str, &Path) -> Vec<Fault>,
    /// Builds the backend. Opens no connection and makes nothing.
    open: fn(&TargetSettings, &str, &Path, &Access) -> Result<Opened, TargetError>,
}

/// Every scheme that a manifest may name.
pub const SCHEMES: &[Scheme] = &[
    Scheme {
        name: "file",
        example: "file:///var/backups/service",
        check: check_file,
        open: open_file,
    },
    Scheme {
        name: "s3",
        example: "s3://bucket/prefix",
        check: check_s3,
        open: open_s3,
    },
];

/// A backend that is ready.
pub(super) struct Opened {
    pub(super) url: String,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) backend: Backend,
}

/// Checks a target's settings without any input or output; a relative `file:` URL counts from `base`.
pub(super) fn check(settings: &TargetSettings, base: &Path) -> Vec<Fault> {
    match split(&settings.url) {
        Ok((scheme, rest)) => (scheme.check)(settings, rest, base),
        Err(error) => vec![Fault { key: "url", error }],
    }
}

/// Builds the backend of a target.
pub(super) fn open(settings: &TargetSettings, base: &Path, access: &Access) -> Result<Opened, TargetError> {
    let (scheme, rest) = split(&settings.url)?;
    (scheme.open)(settings, rest, base, access)
}

/// The scheme of a URL, and what stands behind its colon.
fn split(url: &str) -> Result<(&'static Scheme, &str), TargetError> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(bad(
            url,
            "it has no scheme",
            "write `file:backups/dev` for a folder of the project, `file:///var/backups/service` for an absolute one, \
             `s3://bucket/prefix` for S3",
        ));
    };
    let known = SCHEMES.iter().find(|known| known.name.eq_ignore_ascii_case(scheme));
    let known = known.ok_or_else(|| TargetError::UnknownScheme {
        scheme: scheme.escape_debug().take(32).collect(),
        known: SCHEMES.iter().map(|known| known.name).collect(),
    })?;
    Ok((known, rest))
}

fn check_file(settings: &TargetSettings, rest: &str, base: &Path) -> Vec<Fault> {
    let path = file_path(rest, base).err().map(|error| Fault { key: "url", error });
    let strange = settings.s3_keys().into_iter().map(|key| Fault {
        key,
        error: TargetError::StrangeSetting { key, scheme: "file" },
    });
    path.into_iter().chain(strange).collect()
}

fn open_file(_: &TargetSettings, rest: &str, base: &Path, _: &Access) -> Result<Opened, TargetError> {
    let path = file_path(rest, base)?;
    let store = Local::new(path.clone());
    Ok(Opened {
        url: file_url(&path),
        backend: Backend::Folder(store.root()),
        store: Arc::new(store),
    })
}

fn check_s3(settings: &TargetSettings, rest: &str, _: &Path) -> Vec<Fault> {
    s3::check(settings, rest)
}

fn open_s3(settings: &TargetSettings, rest: &str, _: &Path, access: &Access) -> Result<Opened, TargetError> {
    let store = S3::open(settings, rest, access)?;
    Ok(Opened {
        url: store.url(),
        store: Arc::new(store.clone()),
        backend: Backend::S3(store),
    })
}

/// The folder that a `file:` URL names, without looking at the disk.
fn file_path(rest: &str, base: &Path) -> Result<PathBuf, TargetError> {
    let fault = |why, help| bad(&format!("file:{rest}"), why, help);
    let written = match rest.strip_prefix("//") {
        Some(behind) if behind.starts_with('/') => behind,
        Some(_) => {
            return Err(fault(
                "a `file:` URL has no host",
                "write three slashes before an absolute path, `file:///var/backups`, none before a relative one",
            ));
        }
        None => rest,
    };
    if written.contains(['?', '#']) {
        return Err(fault(
            "a `file:` URL has no query and no fragment",
            "write `%3F` for `?` and `%23` for `#`",
        ));
    }
    if written == "~" || written.starts_with("~/") {
        return Err(fault("`~` is not expanded", "write the absolute path"));
    }
    let escapes_fit = written.split('%').skip(1).all(|behind| {
        let digits = behind.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !escapes_fit {
        return Err(fault("`%` is not followed by two hex digits", "write `%25` for `%`"));
    }
    let decoded: Vec<u8> = percent_decode_str(written).collect();
    if decoded.contains(&0) {
        return Err(fault("it holds a NUL", "no path can hold one"));
    }
    let decoded: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(decoded.as_slice());
    let path = tidy(&base.join(decoded));
    let named = path.components().any(|part| matches!(part, Component::Normal(_)));
    if decoded.is_empty() || !named {
        return Err(fault(
            "it names no folder",
            "name a folder that holds nothing but this target, such as `file:///var/backups/service`",
        ));
    }
    Ok(path)
}

/// Drops `.` and doubled slashes. `..` stays: what it means depends on symbolic links.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// What a path cannot show as it is within a URL.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`');

/// The URL of a folder.
fn file_url(path: &Path) -> String {
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("file://{}", utf8_percent_encode(text, ESCAPED)),
        Err(_) => format!("file://{}", percent_encoding::percent_encode(bytes, ESCAPED)),
    }
}

/// An error about `url`, which is shown only where it cannot hold a password.
pub(super) fn bad(url: &str, why: &'static str, help: &'static str) -> TargetError {
    let shown = if url.contains(['@', '?']) {
        String::new()
    } else {
        format!("`{}` ", url.escape_debug())
    };
    TargetError::BadUrl { shown, why, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(url: &str) -> Result<String, TargetError> {
        let settings = TargetSettings::of_url(url);
        open(&settings, Path::new("/srv/project"), &Access::default()).map(|opened| opened.url)
    }

    #[test]
    fn relative_urls_count_from_the_base_and_absolute_ones_do_not() {
        for (url, path) in [
            ("file:backups/dev", "file:///srv/project/backups/dev"),
            ("file:./backups//dev/", "file:///srv/project/backups/dev"),
            ("file:///var/backups", "file:///var/backups"),
            ("file:/var/backups", "file:///var/backups"),
            ("FILE:/var/backups", "file:///var/backups"),
            ("file:///var/my%20backups", "file:///var/my%20backups"),
            ("file:../elsewhere", "file:///srv/project/../elsewhere"),
        ] {
            assert_eq!(path_of(url).unwrap(), path, "{url}");
        }
    }

    #[test]
    fn an_unknown_scheme_is_answered_with_those_that_exist() {
        let error = path_of("ftp://host/x").unwrap_err();
        assert!(
            matches!(&error, TargetError::UnknownScheme { scheme, .. } if scheme == "ftp"),
            "{error}"
        );
        let help = crate::diagnostic::Diagnose::help(&error).unwrap();
        assert!(help.contains("`file:`"), "{help}");
    }

    #[test]
    fn urls_that_do_not_fit_are_refused_with_a_remedy() {
        for url in [
            "backups/dev",
            "",
            "file:",
            "file://",
            "file:///",
            "file://backups/dev",
            "file:~/backups",
            "file:a%2",
            "file:a%00",
            "file:a?b",
        ] {
            match path_of(url) {
                Err(TargetError::BadUrl { help, .. }) => assert!(!help.is_empty(), "{url}"),
                other => panic!("{url}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_url_that_may_hold_a_password_is_not_repeated() {
        let error = path_of("file://user:pass@host/x").unwrap_err();
        assert!(!error.to_string().contains("pass"), "{error}");
    }

    #[test]
    fn a_folder_has_no_settings_of_a_store() {
        let settings = TargetSettings {
            region: Some("eu".into()),
            allow_http: Some(false),
            ..TargetSettings::of_url("file:a")
        };
        let faults = settings.check(Path::new("/srv"));
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key).collect();
        assert_eq!(keys, ["region", "allow-http"]);
    }

    #[test]
    fn checking_a_url_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(TargetSettings::of_url("file:a/b").check(folder.path()).is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
