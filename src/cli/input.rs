//! A small text that a verb is given: a file, or the standard input.

use std::io::Read;
use std::path::Path;

use crate::diagnostic::{Code, Diagnostic};

use super::request::Refused;

/// Reads the file at `path`, seen from `folder`, or the standard input where `path` is `-`.
///
/// # Errors
/// When it cannot be read, is larger than `limit` bytes, or is not UTF-8.
pub(super) fn text(folder: &Path, path: &Path, limit: u64) -> Result<String, Refused> {
    let (name, opened): (String, std::io::Result<Box<dyn Read>>) = if path == Path::new("-") {
        ("the standard input".into(), Ok(Box::new(std::io::stdin())))
    } else {
        let opened = std::fs::File::open(folder.join(path));
        let opened = opened.map(|file| -> Box<dyn Read> { Box::new(file) });
        (format!("`{}`", path.display()), opened)
    };
    let mut text = String::new();
    let read = opened.and_then(|source| source.take(limit.saturating_add(1)).read_to_string(&mut text));
    let refused = |why: String| {
        let what = format!("{name} cannot be read");
        Box::new(
            Diagnostic::error(Code::Usage, what)
                .why(why)
                .state("nothing was started"),
        )
    };
    match read {
        Ok(_) if text.len() as u64 > limit => Err(refused(format!("it is larger than {limit} bytes"))),
        Ok(_) => Ok(text),
        Err(error) => Err(refused(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_from_the_folder_and_one_that_is_too_large_or_missing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("times"), "2026-11-21T12:00:00Z\n").unwrap();
        let read = |name: &str, limit| text(folder.path(), Path::new(name), limit);
        assert_eq!(read("times", 21).unwrap(), "2026-11-21T12:00:00Z\n");
        for (name, limit, why) in [("times", 20, "larger than 20 bytes"), ("none", 20, "No such file")] {
            let refused = read(name, limit).unwrap_err();
            assert_eq!(refused.code, Code::Usage);
            assert!(refused.why.unwrap().contains(why));
        }
        std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
        assert!(read("binary", 20).is_err());
    }
}
