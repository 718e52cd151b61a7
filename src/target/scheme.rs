//! The table of URL schemes. A new backend is a builder function and one row; the conformance suite walks the table.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::TargetError;
use super::local::{Local, root::Root};

/// A kind of target URL.
pub struct Scheme {
    /// What stands before the colon.
    pub name: &'static str,
    /// How such a URL looks.
    pub example: &'static str,
    /// Builds the backend from what stands behind the colon. Does no input or output.
    open: fn(&str, &Path) -> Result<Opened, TargetError>,
    /// The URL of an empty target for tests, somewhere below the given folder.
    pub sample: fn(&Path) -> String,
}

/// Every scheme that a manifest may name.
pub const SCHEMES: &[Scheme] = &[Scheme {
    name: "file",
    example: "file:///var/backups/service",
    open: open_file,
    sample: |folder| file_url(&folder.join("target")),
}];

/// A backend that is ready.
pub(super) struct Opened {
    pub(super) url: String,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) folder: Option<Arc<Root>>,
}

/// Checks a target's URL without any input or output; a relative `file:` URL counts from `base`.
///
/// # Errors
/// When the scheme is not known or the URL does not fit it.
pub fn check_url(url: &str, base: &Path) -> Result<(), TargetError> {
    open(url, base).map(|_| ())
}

/// Builds the backend of a URL.
pub(super) fn open(url: &str, base: &Path) -> Result<Opened, TargetError> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(bad(
            url,
            "it has no scheme",
            "write `file:backups/dev` for a folder of the project, `file:///var/backups/service` for an absolute one",
        ));
    };
    let known = SCHEMES.iter().find(|known| known.name.eq_ignore_ascii_case(scheme));
    let known = known.ok_or_else(|| TargetError::UnknownScheme {
        scheme: scheme.escape_debug().take(32).collect(),
        known: SCHEMES.iter().map(|known| known.name).collect(),
    })?;
    (known.open)(rest, base)
}

fn open_file(rest: &str, base: &Path) -> Result<Opened, TargetError> {
    let path = file_path(rest, base)?;
    let store = Local::new(path.clone());
    Ok(Opened {
        url: file_url(&path),
        folder: Some(store.root()),
        store: Arc::new(store),
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
fn bad(url: &str, why: &'static str, help: &'static str) -> TargetError {
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
        open(url, Path::new("/srv/project")).map(|opened| opened.url)
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
    fn checking_a_url_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        check_url("file:a/b", folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
