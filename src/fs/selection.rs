//! Which entries below a root are meant: a single name, a glob, or all, without what is excluded.

use super::entry::TreePath;
use super::glob::{Excludes, GlobError, Pattern};
use super::own::Own;

/// What a selection says of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Not meant; nothing below it is looked at.
    Out,
    /// A folder where only files are meant.
    Refused,
    /// A folder that is not meant itself but may hold what is.
    OnTheWay,
    /// Meant by its own name: the single entry, or a match of the glob.
    Named,
    /// Meant because the folder that holds it is.
    Inside,
}

/// What becomes of folders that are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// They are taken with everything in them.
    #[default]
    Whole,
    /// Only files directly in the root or matched by the glob are meant.
    Flat,
}

#[derive(Clone, Debug)]
enum Among {
    All,
    Only(Vec<u8>),
    Matching(Box<Pattern>),
}

/// What is meant below a root.
#[derive(Clone, Debug)]
pub struct Selection {
    among: Among,
    excludes: Excludes,
    depth: Depth,
}

impl Selection {
    /// Everything below the root.
    pub fn all() -> Self {
        Self {
            among: Among::All,
            excludes: Excludes::default(),
            depth: Depth::Whole,
        }
    }

    /// The one entry `name` in the root.
    pub fn only(name: &[u8]) -> Self {
        Self {
            among: Among::Only(name.to_vec()),
            ..Self::all()
        }
    }

    /// What matches a glob relative to the root; folders that match with everything in them.
    pub fn matching(glob: &str) -> Result<Self, GlobError> {
        Ok(Self {
            among: Among::Matching(Box::new(Pattern::new(glob)?)),
            ..Self::all()
        })
    }

    /// Leaves out what the rules match; see [`Excludes`].
    #[must_use]
    pub fn without(mut self, excludes: Excludes) -> Self {
        self.excludes = excludes;
        self
    }

    /// Says what becomes of folders that are meant.
    #[must_use]
    pub fn with_depth(mut self, depth: Depth) -> Self {
        self.depth = depth;
        self
    }

    /// What holds for the root itself, which is always captured.
    pub fn root(&self) -> Choice {
        match self.among {
            Among::All => Choice::Named,
            Among::Only(_) | Among::Matching(_) => Choice::OnTheWay,
        }
    }

    /// What holds for the entry `path`, of whose folder `parent` holds.
    pub fn choose(&self, path: &TreePath, is_folder: bool, parent: Choice) -> Choice {
        if matches!(parent, Choice::Out | Choice::Refused) || self.excludes.match_entry(path, is_folder) {
            return Choice::Out;
        }
        if Own::within(path.name()).is_some() {
            return Choice::Out;
        }
        let flat_folder = is_folder && self.depth == Depth::Flat;
        match &self.among {
            Among::All if flat_folder => Choice::Refused,
            Among::All => Choice::Inside,
            Among::Only(_) | Among::Matching(_) if matches!(parent, Choice::Named | Choice::Inside) => Choice::Inside,
            Among::Only(name) if path.as_bytes() != name.as_slice() => Choice::Out,
            Among::Only(_) if flat_folder => Choice::Refused,
            Among::Only(_) => Choice::Named,
            Among::Matching(pattern) => match (pattern.matches(path), is_folder && pattern.may_match_below(path)) {
                (true, true) if flat_folder => Choice::OnTheWay,
                (true, _) if flat_folder => Choice::Refused,
                (true, _) => Choice::Named,
                (false, true) => Choice::OnTheWay,
                (false, false) => Choice::Out,
            },
        }
    }

    /// What holds for an entry anywhere below the root.
    pub fn choice(&self, path: &TreePath, is_folder: bool) -> Choice {
        let mut choice = self.root();
        let mut at = TreePath::root();
        let mut names = path.components().peekable();
        while let Some(name) = names.next() {
            let Some(next) = at.child(name) else { return Choice::Out };
            choice = self.choose(&next, is_folder || names.peek().is_some(), choice);
            at = next;
        }
        choice
    }

    /// Whether an entry below the root is meant itself. Folders on the way to what is meant are not.
    pub fn selects(&self, path: &TreePath, is_folder: bool) -> bool {
        matches!(self.choice(path, is_folder), Choice::Named | Choice::Inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_folder_that_matches_is_meant_with_everything_in_it() {
        let selection = Selection::matching("a/*.d").unwrap();
        assert!(selection.selects(&path("a/x.d"), true) && selection.selects(&path("a/x.d/y/z"), false));
        assert_eq!(selection.choice(&path("a"), true), Choice::OnTheWay);
        assert!(!selection.selects(&path("a"), true) && !selection.selects(&path("b/x.d"), false));
        assert!(!selection.selects(&path("a/x.e/y.d"), false));
    }

    #[test]
    fn what_is_excluded_is_not_meant_nor_anything_in_it() {
        let selection = Selection::all().without(Excludes::new(&["no"]).unwrap());
        assert!(selection.selects(&path("a/b"), false));
        assert!(!selection.selects(&path("a/no"), true) && !selection.selects(&path("a/no/b"), false));
    }

    #[test]
    fn what_this_program_left_behind_is_never_meant() {
        let own = path("a/.strongroom-replaced-20261121T215100Z-0242ac120002");
        for selection in [Selection::all(), Selection::matching("**").unwrap()] {
            assert_eq!(selection.choose(&own, true, Choice::Inside), Choice::Out);
            assert!(!selection.selects(&own.child(b"c").unwrap(), false));
        }
    }

    #[test]
    fn one_name_is_meant_alone() {
        let selection = Selection::only(b"x*");
        assert!(selection.selects(&path("x*"), false) && !selection.selects(&path("xy"), false));
    }

    #[test]
    fn a_flat_selection_refuses_folders_but_goes_through_them() {
        let flat = Selection::all().with_depth(Depth::Flat);
        assert_eq!(flat.choice(&path("a"), true), Choice::Refused);
        assert!(flat.selects(&path("a"), false) && !flat.selects(&path("a/b"), false));
        let glob = Selection::matching("**").unwrap().with_depth(Depth::Flat);
        assert_eq!(glob.choice(&path("a"), true), Choice::OnTheWay);
        assert!(glob.selects(&path("a/b"), false));
        let direct = Selection::matching("*").unwrap().with_depth(Depth::Flat);
        assert_eq!(direct.choice(&path("a"), true), Choice::Refused);
    }
}
