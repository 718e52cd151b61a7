//! Sources that cannot be restored in place side by side: a restore replaces the root of each as a whole, so two sources with
//! one root, or one inside the other's, would undo one another.
//!
//! A backup of them is whole, and `--to DIR` restores it. But whoever learns this at the hour of the restore learns it too
//! late, so `validate`, `plan` and each backup say it.

use std::path::{Component, Path, PathBuf};

use super::plan::Plan;
use super::{Purpose, Request, RunValues, compile};
use crate::diagnostic::{Code, Diagnostic, Place};
use crate::fs::glob::split_root;
use crate::id::{EnvName, SourceName};
use crate::restore::swap::real_path;
use crate::source::Source;
use crate::steps::Step;
use crate::steps::restore::Restore;

/// How the roots of sources are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// From the manifest alone.
    Written,
    /// As they are on this machine: links followed, and the one file of a source told from a folder.
    Present,
}

/// Says which sources of a plan cannot be restored side by side by the pipeline `restore` of the project.
pub fn overlapping_roots(plan: &Plan, values: &RunValues, roots: Roots) -> Vec<Diagnostic> {
    let restore = restore_of(plan.project(), plan.environment_name(), values);
    let mut found = Vec::new();
    for planned in plan.steps() {
        let Step::Snapshot(snapshot) = &planned.step else {
            continue;
        };
        let places: Vec<(&SourceName, PathBuf)> = snapshot
            .source
            .iter()
            .map(|source| (&source.name, destination(plan, source, &restore, roots)))
            .collect();
        for (index, (name, path)) in places.iter().enumerate() {
            for (other, other_path) in places.iter().take(index) {
                if path.starts_with(other_path) || other_path.starts_with(path) {
                    let at = place(plan, &format!("step.{}.source.{name}.path", planned.id));
                    found.push(overlap((name, path), (other, other_path), at));
                }
            }
        }
    }
    found
}

/// What the project's `restore` says of destinations; nothing where it cannot be read: `validate` tells of that.
fn restore_of(project: &Path, environment: &EnvName, values: &RunValues) -> Restore {
    let request = Request {
        project: project.to_owned(),
        pipeline: "restore".to_owned(),
        environment: environment.clone(),
        sets: Vec::new(),
        args: std::collections::BTreeMap::new(),
        purpose: Purpose::Validate,
        run: values.clone(),
    };
    let plan = compile(&request).ok();
    let step = plan.and_then(|plan| {
        plan.steps().iter().find_map(|planned| match &planned.step {
            Step::Restore(restore) => Some(restore.clone()),
            _ => None,
        })
    });
    step.unwrap_or_default()
}

fn destination(plan: &Plan, source: &Source, restore: &Restore, roots: Roots) -> PathBuf {
    let written = restore.destination.iter().find(|d| d.name == source.name);
    let path = match (written, roots) {
        (Some(written), _) => plan.project().join(&written.path),
        (None, Roots::Present) => source.root(plan.project()),
        (None, Roots::Written) => plan.project().join(split_root(source.kind.path()).0),
    };
    match roots {
        Roots::Present => real_path(&path),
        Roots::Written => plain(&path),
    }
}

/// The path without `.`, and without `..` as far as it goes.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
        plain
    })
}

fn place(plan: &Plan, path: &str) -> Option<Place> {
    let explained = plan.explain(Some(path));
    explained.first().and_then(|explained| explained.place.clone())
}

fn overlap(
    (name, path): (&SourceName, &Path),
    (other, other_path): (&SourceName, &Path),
    at: Option<Place>,
) -> Diagnostic {
    let what = if path == other_path {
        format!("the sources `{other}` and `{name}` have one root, `{}`", path.display())
    } else if path.starts_with(other_path) {
        format!(
            "the root of source `{name}` lies in that of `{other}`: `{}`",
            path.display()
        )
    } else {
        format!(
            "the root of source `{name}` holds that of `{other}`: `{}`",
            other_path.display()
        )
    };
    let warning = Diagnostic::warning(Code::RootsOverlap, what)
        .why("a restore in place replaces each root as a whole, so one source would undo the other")
        .state("the backup is whole; it can be restored with `--to DIR`, and not in place")
        .help(format!(
            "give each source a folder of its own, or send `{name}` elsewhere with a `[[step.destination]]` in \
             `pipelines/restore.toml`"
        ));
    match at {
        Some(place) => warning.at(place),
        None => warning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a pipeline with these sources, in a project with this restore.
    fn told(sources: &[(&str, &str)], restore: &str, prepare: impl FnOnce(&Path), roots: Roots) -> Vec<Diagnostic> {
        let folder = tempfile::tempdir().unwrap();
        let environments = folder.path().join("pipelines/environments");
        std::fs::create_dir_all(&environments).unwrap();
        prepare(folder.path());
        std::fs::write(
            environments.join("dev.toml"),
            "schema-version = 1\n[target.t]\nurl = \"file:t\"\n",
        )
        .unwrap();
        let mut text = "schema-version = 1\nname = \"own\"\n[[step]]\nid = \"take\"\ntype = \"snapshot\"\n".to_owned();
        for (name, path) in sources {
            text.push_str(&format!(
                "[[step.source]]\nname = \"{name}\"\ntype = \"files\"\npath = \"{path}\"\n"
            ));
        }
        for (id, settings) in [
            ("pack", "compress"),
            ("sum", "checksum"),
            ("put", "upload\"\ntargets = [\"t\"]\n#\""),
        ] {
            text.push_str(&format!("[[step]]\nid = \"{id}\"\ntype = \"{settings}\"\n"));
        }
        std::fs::write(folder.path().join("pipelines/own.toml"), text).unwrap();
        if !restore.is_empty() {
            let text = include_str!("../../pipelines/restore.toml").replacen("type = \"restore\"", restore, 1);
            std::fs::write(folder.path().join("pipelines/restore.toml"), text).unwrap();
        }
        let values = RunValues {
            id: "0193-run".into(),
            timestamp: "2026-11-22T00:00:00Z".into(),
            host: "host-1".into(),
        };
        let request = Request {
            project: folder.path().to_owned(),
            pipeline: "own".into(),
            environment: "dev".parse().unwrap(),
            sets: Vec::new(),
            args: std::collections::BTreeMap::new(),
            purpose: Purpose::Validate,
            run: values.clone(),
        };
        overlapping_roots(&compile(&request).unwrap(), &values, roots)
    }

    #[test]
    fn one_root_and_nested_roots_are_told_at_their_place_and_others_are_not() {
        let nothing = |_: &Path| {};
        for (first, second, part) in [
            ("data/*.db", "data", "have one root"),
            ("data", "./data/", "have one root"),
            ("data", "data/sub/*.db", "root of source `b` lies in that of `a`"),
            ("data/sub", "data", "root of source `b` holds that of `a`"),
        ] {
            let told = told(&[("a", first), ("b", second)], "", nothing, Roots::Written);
            assert_eq!(told.len(), 1, "{first} {second}: {told:#?}");
            assert_eq!(told[0].code, Code::RootsOverlap);
            assert!(told[0].what.contains(part), "{}", told[0].what);
            let text = &told[0].places[0].excerpt.as_ref().unwrap().text;
            assert_eq!(*text, format!("path = \"{second}\""));
        }
        for (first, second) in [("data/a", "data/b"), ("data", "database"), ("data", "../data")] {
            let told = told(&[("a", first), ("b", second)], "", nothing, Roots::Written);
            assert!(told.is_empty(), "{first} {second}: {told:#?}");
        }
    }

    #[test]
    fn a_destination_of_its_own_sets_a_source_apart() {
        let elsewhere = "type = \"restore\"\ndestination = [{ name = \"b\", path = \"elsewhere\" }]";
        let sources = [("a", "data/*.db"), ("b", "data")];
        assert!(told(&sources, elsewhere, |_| {}, Roots::Written).is_empty());
    }

    #[test]
    fn what_only_the_disk_can_tell_is_told_where_it_is_looked_at() {
        let prepare = |project: &Path| {
            std::fs::create_dir(project.join("data")).unwrap();
            std::fs::write(project.join("data/one"), "").unwrap();
            std::fs::write(project.join("data/two"), "").unwrap();
            std::os::unix::fs::symlink("data", project.join("link")).unwrap();
        };
        for sources in [[("a", "data/one"), ("b", "data/two")], [("a", "data"), ("b", "link")]] {
            assert!(told(&sources, "", prepare, Roots::Written).is_empty());
            assert_eq!(told(&sources, "", prepare, Roots::Present).len(), 1);
        }
    }
}
