//! Globs over paths: `*`, `?`, `[..]`, `**`, `{a,b}`. The one place that knows how a literal character is written in one.
//!
//! A glob character that stands for itself is a class of one, `[*]`; a backslash is an ordinary character. `*` and `?`
//! never match a `/`, and match names that begin with a dot. Matching is by bytes: `?` takes one byte.

use std::path::PathBuf;

use globset::{Candidate, Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use super::entry::TreePath;

/// The characters that mean something in a glob.
const SPECIAL: &[char] = &['*', '?', '[', ']', '{', '}', ','];

/// Why a glob cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the glob `{glob}` cannot be used: {why}")]
pub struct GlobError {
    /// The glob as written.
    pub glob: String,
    /// What is wrong with it.
    pub why: String,
}

/// Text that matches exactly `text`: each character that means something in a glob becomes a class of one.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if SPECIAL.contains(&c) {
            escaped.extend(['[', c, ']']);
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// What `text` stands for where it has no glob in it, classes of one resolved; `None` where it has one.
fn literal(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' | '?' | '{' => return None,
            '[' => {
                let only = rest.next()?;
                if rest.next() != Some(']') {
                    return None;
                }
                plain.push(only);
            }
            c => plain.push(c),
        }
    }
    Some(plain)
}

/// Splits a path as written in a manifest into its root, the longest leading folder without a glob, and the glob below
/// it; `None` where there is no glob at all.
pub fn split_root(text: &str) -> (PathBuf, Option<String>) {
    let mut root = PathBuf::new();
    if text.starts_with('/') {
        root.push("/");
    }
    let mut components = text.split('/').filter(|c| !c.is_empty() && *c != ".").peekable();
    while let Some(component) = components.peek() {
        let Some(plain) = literal(component) else { break };
        root.push(plain);
        components.next();
    }
    let glob: Vec<&str> = components.collect();
    (root, (!glob.is_empty()).then(|| glob.join("/")))
}

/// Closing braces that open nothing stand for themselves, as in a shell.
fn close_literally(glob: &str) -> String {
    let mut out = String::with_capacity(glob.len());
    let (mut depth, mut class) = (0_usize, None::<usize>);
    for c in glob.chars() {
        match (c, class) {
            // A `]` that comes first in a class belongs to it, after a `!` or `^` too.
            (']', Some(seen)) if seen > 0 => class = None,
            ('!' | '^', Some(0)) => {}
            (_, Some(seen)) => class = Some(seen + 1),
            ('[', None) => class = Some(0),
            ('{', None) => depth += 1,
            ('}', None) if depth == 0 => {
                out.push_str("[}]");
                continue;
            }
            ('}', None) => depth -= 1,
            _ => {}
        }
        out.push(c);
    }
    out
}

fn compile(glob: &str) -> Result<Glob, GlobError> {
    GlobBuilder::new(&close_literally(glob))
        .literal_separator(true)
        .backslash_escape(false)
        .build()
        .map_err(|error| GlobError {
            glob: glob.to_owned(),
            why: error.kind().to_string(),
        })
}

fn set(globs: Vec<Glob>) -> Result<GlobSet, GlobError> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(glob);
    }
    builder.build().map_err(|error| GlobError {
        glob: error.glob().unwrap_or_default().to_owned(),
        why: error.kind().to_string(),
    })
}

/// A glob over paths below a root, which also knows what may lead to a match.
#[derive(Clone, Debug)]
pub struct Pattern {
    whole: GlobMatcher,
    leading: GlobSet,
}

impl Pattern {
    /// Reads a glob such as `*/data/*.db`.
    pub fn new(glob: &str) -> Result<Self, GlobError> {
        if glob.split('/').any(|c| c == "..") {
            return Err(GlobError {
                glob: glob.to_owned(),
                why: "`..` cannot stand behind a glob".to_owned(),
            });
        }
        Ok(Self {
            whole: compile(glob)?.compile_matcher(),
            leading: set(leading(glob)?)?,
        })
    }

    /// Whether `path` matches.
    pub fn matches(&self, path: &TreePath) -> bool {
        self.whole.is_match_candidate(&Candidate::from_bytes(path.as_bytes()))
    }

    /// Whether a match may lie below the folder `path`.
    pub fn may_match_below(&self, path: &TreePath) -> bool {
        path.is_root() || self.leading.is_match_candidate(&Candidate::from_bytes(path.as_bytes()))
    }
}

/// Globs of the folders on the way to a match: each leading part of the glob, up to where `**` or an alternative with a
/// `/` begins; below there every folder is on the way.
fn leading(glob: &str) -> Result<Vec<Glob>, GlobError> {
    let components: Vec<&str> = glob.split('/').collect();
    let mut globs = Vec::new();
    let mut way = String::new();
    for (index, component) in components.iter().enumerate() {
        let broken = component.matches('{').count() != component.matches('}').count();
        if *component == "**" || broken {
            way.push_str("**");
            globs.push(compile(&way)?);
            return Ok(globs);
        }
        if index + 1 == components.len() {
            break;
        }
        way.push_str(component);
        globs.push(compile(&way)?);
        way.push('/');
    }
    Ok(globs)
}

/// What is left out: each rule is a glob.
///
/// Without a `/` it matches a name at any depth, with one the whole path below the root; a leading `/` binds it to the
/// root, a trailing `/` means folders only. A folder that matches is left out with everything in it.
#[derive(Clone, Debug, Default)]
pub struct Excludes {
    names: Rules,
    paths: Rules,
}

#[derive(Clone, Debug, Default)]
struct Rules {
    any: GlobSet,
    folders: GlobSet,
}

impl Rules {
    fn match_bytes(&self, bytes: &[u8], is_folder: bool) -> bool {
        if self.any.is_empty() && self.folders.is_empty() {
            return false;
        }
        let candidate = Candidate::from_bytes(bytes);
        self.any.is_match_candidate(&candidate) || (is_folder && self.folders.is_match_candidate(&candidate))
    }
}

impl Excludes {
    /// Reads the rules.
    pub fn new<T: AsRef<str>>(globs: &[T]) -> Result<Self, GlobError> {
        let (mut names, mut folder_names, mut paths, mut folder_paths) = (vec![], vec![], vec![], vec![]);
        for written in globs.iter().map(AsRef::as_ref) {
            let folders_only = written.ends_with('/');
            let body = written.trim_end_matches('/');
            let body = body.strip_prefix("./").unwrap_or(body);
            if body.is_empty() || body.split('/').any(|c| c == "..") {
                return Err(GlobError {
                    glob: written.to_owned(),
                    why: "it names nothing below the root".to_owned(),
                });
            }
            let glob = compile(body.trim_start_matches('/'))?;
            match (body.contains('/'), folders_only) {
                (false, false) => names.push(glob),
                (false, true) => folder_names.push(glob),
                (true, false) => paths.push(glob),
                (true, true) => folder_paths.push(glob),
            }
        }
        Ok(Self {
            names: Rules {
                any: set(names)?,
                folders: set(folder_names)?,
            },
            paths: Rules {
                any: set(paths)?,
                folders: set(folder_paths)?,
            },
        })
    }

    /// Whether a rule matches this very entry. Whoever walks down asks for each folder on the way.
    pub fn match_entry(&self, path: &TreePath, is_folder: bool) -> bool {
        self.names.match_bytes(path.name(), is_folder) || self.paths.match_bytes(path.as_bytes(), is_folder)
    }

    /// Whether this entry or a folder that holds it is left out.
    pub fn exclude(&self, path: &TreePath, is_folder: bool) -> bool {
        let mut is_folder = is_folder;
        let mut at = Some(path.clone());
        while let Some(entry) = at.filter(|entry| !entry.is_root()) {
            if self.match_entry(&entry, is_folder) {
                return true;
            }
            is_folder = true;
            at = entry.parent();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    fn split(text: &str) -> (String, Option<String>) {
        let (root, glob) = split_root(text);
        (root.to_str().unwrap().to_owned(), glob)
    }

    #[test]
    fn the_root_is_the_longest_leading_folder_without_a_glob() {
        assert_eq!(split("/srv/data"), ("/srv/data".into(), None));
        assert_eq!(split("/srv//./data/"), ("/srv/data".into(), None));
        assert_eq!(split("/srv/data/*.db"), ("/srv/data".into(), Some("*.db".into())));
        assert_eq!(split("a/{b,c}/d"), ("a".into(), Some("{b,c}/d".into())));
        assert_eq!(split("**/x"), (String::new(), Some("**/x".into())));
        assert_eq!(split("../a"), ("../a".into(), None));
    }

    #[test]
    fn an_escaped_text_is_a_literal_and_matches_itself_alone() {
        for text in ["a*b", "a?", "[x]", "{a,b}", "a}b", "a]b", "a\\*", "[", "[]"] {
            let escaped = escape(text);
            assert_eq!(literal(&escaped).as_deref(), Some(text), "{text}");
            assert_eq!(
                split(&format!("/r/{escaped}/*")),
                (format!("/r/{text}"), Some("*".into()))
            );
            let pattern = Pattern::new(&format!("*/{escaped}")).unwrap();
            assert!(pattern.matches(&path(&format!("x/{text}"))), "{text}");
            assert!(!pattern.matches(&path("x/axb")), "{text}");
            assert!(!pattern.matches(&path("x/x")), "{text}");
        }
    }

    #[test]
    fn a_pattern_knows_what_may_lead_to_a_match() {
        let pattern = Pattern::new("*/data/*.db").unwrap();
        assert!(pattern.matches(&path("a/data/x.db")));
        assert!(!pattern.matches(&path("a/b/data/x.db")));
        assert!(pattern.may_match_below(&path("a")) && pattern.may_match_below(&path("a/data")));
        assert!(!pattern.may_match_below(&path("a/other")) && !pattern.may_match_below(&path("a/data/x")));
        let deep = Pattern::new("a/**/x").unwrap();
        assert!(deep.matches(&path("a/x")) && deep.matches(&path("a/b/c/x")));
        assert!(deep.may_match_below(&path("a")) && deep.may_match_below(&path("a/b/c")));
        assert!(!deep.may_match_below(&path("b")));
        let braces = Pattern::new("{a,b/c}/x").unwrap();
        assert!(braces.matches(&path("b/c/x")) && braces.may_match_below(&path("b")));
        assert!(Pattern::new("**").unwrap().matches(&path(".hidden/\u{e4}\nb")));
        assert!(!Pattern::new("*").unwrap().may_match_below(&path("a")));
    }

    #[test]
    fn names_that_are_not_text_match() {
        let pattern = Pattern::new("*.db").unwrap();
        assert!(pattern.matches(&TreePath::parse(b"\xff\xfe.db").unwrap()));
    }

    #[test]
    fn a_broken_glob_is_named() {
        for wrong in ["a[", "{a", "*/../b", "[z-a]"] {
            assert_eq!(Pattern::new(wrong).unwrap_err().glob, wrong);
        }
        assert!(Excludes::new(&["/"]).is_err() && Excludes::new(&["a/../b"]).is_err() && Excludes::new(&[""]).is_err());
    }

    #[test]
    fn excludes_follow_their_written_rules() {
        let excludes = Excludes::new(&["*.tmp", "cache/", "/top", "logs/*.old", "deep/**/x"]).unwrap();
        let out = |text: &str, is_folder| excludes.exclude(&path(text), is_folder);
        assert!(out("a.tmp", false) && out("x/y/a.tmp", false) && out("x/d.tmp/inner", false));
        assert!(out("x/cache", true) && out("x/cache/y", false) && !out("x/cache", false));
        assert!(out("top", false) && !out("x/top", false));
        assert!(out("logs/a.old", false) && !out("x/logs/a.old", false) && !out("logs/x/a.old", false));
        assert!(out("deep/x", false) && out("deep/a/b/x", false) && !out("deep", true));
        assert!(!out("plain", false));
    }
}
