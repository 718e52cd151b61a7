//! Which part of a backup is wanted: paths and globs over `<source>/<path>`.

use crate::diagnostic::{Code, Diagnostic};
use crate::fs::entry::TreePath;
use crate::fs::glob::{Excludes, split_root};
use crate::id::SourceName;

use super::{Failure, Options, UNTOUCHED};

/// Which entries are wanted. A folder that is wanted is wanted with everything in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Nothing for everything.
    rules: Vec<Rule>,
    exclude: Option<Excludes>,
}

/// What is asked for by one path or glob.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// As it was given.
    pub(super) text: String,
    /// The path that it is, where it is one from the backup's root.
    path: Option<TreePath>,
    glob: Option<Excludes>,
}

impl Rule {
    /// A path from the backup's root, or a glob that begins there. A name that looks like a glob is found as it is.
    fn path(text: &str) -> Result<Self, Diagnostic> {
        let body = text.trim_start_matches("./").trim_matches('/');
        let path = TreePath::parse(body.as_bytes()).filter(|path| !path.is_root());
        let glob = Excludes::new(&[format!("/{body}")]);
        match (path, glob) {
            (Some(path), glob) => Ok(Self {
                text: text.to_owned(),
                path: Some(path),
                glob: glob.ok(),
            }),
            (None, Ok(glob)) if !body.is_empty() => Ok(Self {
                text: text.to_owned(),
                path: None,
                glob: Some(glob),
            }),
            (None, _) => Err(unusable(&format!("`{text}` names nothing in a backup"))
                .help("paths begin with the name of a source, such as `config/service.toml`")),
        }
    }

    fn glob(text: &str) -> Result<Self, Diagnostic> {
        let glob = Excludes::new(&[text]).map_err(|error| unusable(&error.to_string()))?;
        Ok(Self {
            text: text.to_owned(),
            path: None,
            glob: Some(glob),
        })
    }

    /// Whether this very entry is meant.
    fn matches(&self, path: &TreePath, is_folder: bool) -> bool {
        self.path.as_ref() == Some(path) || self.glob.as_ref().is_some_and(|glob| glob.match_entry(path, is_folder))
    }

    /// What to look for where nothing fits: the path, or the folder in which a glob begins.
    pub(super) fn sought(&self) -> String {
        let (root, glob) = split_root(self.text.trim_start_matches("./").trim_matches('/'));
        match glob {
            None => self.text.trim_start_matches("./").trim_matches('/').to_owned(),
            Some(_) => root.to_string_lossy().into_owned(),
        }
    }
}

fn unusable(what: &str) -> Diagnostic {
    Diagnostic::error(Code::Usage, what).state(UNTOUCHED)
}

impl Wanted {
    /// What the operator asked for.
    ///
    /// # Errors
    /// Where a path or glob can name nothing; all of them at once.
    pub(super) fn new(options: &Options) -> Result<Self, Failure> {
        let mut failure = Vec::new();
        let paths = options.paths.iter().map(|text| Rule::path(text));
        let rules = paths.chain(options.include.iter().map(|text| Rule::glob(text)));
        let rules = rules.filter_map(|rule| rule.map_err(|problem| failure.push(problem)).ok());
        let rules: Vec<Rule> = rules.collect();
        let exclude = match options.exclude.as_slice() {
            [] => None,
            globs => Excludes::new(globs)
                .map_err(|error| failure.push(unusable(&error.to_string())))
                .ok(),
        };
        if failure.is_empty() {
            Ok(Self { rules, exclude })
        } else {
            Err(failure)
        }
    }

    pub(super) const fn is_everything(&self) -> bool {
        self.rules.is_empty() && self.exclude.is_none()
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether an entry is wanted; `note` hears of each rule, by its number, that means it or a folder above it.
    pub(super) fn wants(
        &self,
        source: &SourceName,
        path: &TreePath,
        is_folder: bool,
        mut note: impl FnMut(usize),
    ) -> bool {
        let Some(full) = full(source, path) else {
            return false;
        };
        let mut is_wanted = self.rules.is_empty();
        let (mut at, mut folder) = (Some(full.clone()), is_folder);
        while let Some(entry) = at.filter(|entry| !entry.is_root()) {
            for (number, rule) in self.rules.iter().enumerate() {
                if rule.matches(&entry, folder) {
                    note(number);
                    is_wanted = true;
                }
            }
            folder = true;
            at = entry.parent();
        }
        is_wanted
            && !self
                .exclude
                .as_ref()
                .is_some_and(|rules| rules.exclude(&full, is_folder))
    }
}

/// The path of an entry in a backup: its source's name first.
pub(super) fn full(source: &SourceName, path: &TreePath) -> Option<TreePath> {
    let mut bytes = source.as_str().as_bytes().to_vec();
    if !path.is_root() {
        bytes.push(b'/');
        bytes.extend_from_slice(path.as_bytes());
    }
    TreePath::parse(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(paths: &[&str], include: &[&str], exclude: &[&str]) -> Result<Wanted, Failure> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Wanted::new(&Options {
            paths: owned(paths),
            include: owned(include),
            exclude: owned(exclude),
            ..Options::default()
        })
    }

    fn wants(wanted: &Wanted, full: &str) -> bool {
        let (source, path) = full.split_once('/').unwrap_or((full, ""));
        let (path, is_folder) = match path.strip_suffix('/') {
            Some(folder) => (folder, true),
            None => (path, path.is_empty()),
        };
        let path = TreePath::parse(path.as_bytes()).unwrap();
        wanted.wants(&source.parse().unwrap(), &path, is_folder, |_| ())
    }

    #[test]
    fn a_path_means_itself_and_what_is_in_it_and_nothing_elsewhere() {
        for given in ["config/app", "./config/app", "config/app/", "/config/app"] {
            let wanted = wanted(&[given], &[], &[]).unwrap();
            for (full, is) in [
                ("config/app/", true),
                ("config/app/x/y.toml", true),
                ("config/app.toml", false),
                ("config/", false),
                ("data/config/app/", false),
                ("data/app/", false),
            ] {
                assert_eq!(wants(&wanted, full), is, "{given}: {full}");
            }
        }
        let source = wanted(&["config"], &[], &[]).unwrap();
        assert!(wants(&source, "config") && wants(&source, "config/a"));
        assert!(!wants(&source, "data/config"), "a name is one from the backup's root");
    }

    #[test]
    fn a_glob_begins_at_the_root_and_a_name_that_looks_like_one_is_found() {
        let glob = wanted(&["config/*.toml", "*/deep/**"], &[], &[]).unwrap();
        assert!(wants(&glob, "config/a.toml") && wants(&glob, "data/deep/x/y"));
        assert!(!wants(&glob, "config/sub/a.toml"));
        for odd in ["data/[x]", "data/a*b", "data/{", "data/a[b"] {
            assert!(wants(&wanted(&[odd], &[], &[]).unwrap(), odd), "{odd}");
        }
    }

    #[test]
    fn includes_match_names_anywhere_and_excludes_win() {
        let wanted = wanted(&[], &["*.toml"], &["old"]).unwrap();
        assert!(wants(&wanted, "config/deep/a.toml"));
        assert!(!wants(&wanted, "config/old/a.toml") && !wants(&wanted, "config/a.json"));
    }

    #[test]
    fn what_can_name_nothing_is_told_at_once() {
        let failure = wanted(&["", "/", "../etc", "config/../../x"], &["[", ""], &["{"]).unwrap_err();
        assert_eq!(failure.len(), 7, "{failure:#?}");
        assert!(failure.iter().all(|problem| problem.code == Code::Usage));
    }

    #[test]
    fn each_rule_that_means_an_entry_is_noted() {
        let wanted = wanted(&["config", "config/a.toml", "data"], &[], &[]).unwrap();
        let mut noted = Vec::new();
        let path = TreePath::parse(b"a.toml").unwrap();
        wanted.wants(&"config".parse().unwrap(), &path, false, |rule| noted.push(rule));
        noted.sort_unstable();
        assert_eq!(noted, [0, 1]);
    }

    #[test]
    fn what_is_sought_is_the_path_or_where_the_glob_begins() {
        let sought = |text: &str| Rule::path(text).unwrap().sought();
        assert_eq!(sought("./config/app.toml/"), "config/app.toml");
        assert_eq!(sought("confg/app/*.toml"), "confg/app");
        assert_eq!(sought("*/x"), "");
    }
}
