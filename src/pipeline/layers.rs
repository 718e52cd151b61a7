//! Puts the layers of a manifest on each other: which overlay belongs to the pipeline, and what `--set` may reach.

use super::manifest::Located;
use super::problem::{Problem, Problems, suggest};
use super::sets::Part;
use super::tree::{Entry, Node, Table, Value};
use super::{files, overlay};
use crate::diagnostic::Code;

/// Pipeline < environment < command line.
pub(super) fn merge(
    pipeline: &mut Node,
    environment: &mut Node,
    sets: Vec<(Part, Table)>,
    name: &str,
    located: &Located,
    problems: &mut Problems,
) {
    let (Some(pipeline), Some(environment)) = (pipeline.table_mut(), environment.table_mut()) else {
        return;
    };
    if let Some(overlays) = environment.take("pipeline")
        && let Some(own) = own_overlay(overlays, name, located, problems)
    {
        overlay::merge(pipeline, own, problems);
    }
    for (part, values) in sets {
        match part {
            Part::Pipeline => overlay::merge(pipeline, values, problems),
            Part::Environment => {
                if exists(environment, &values, problems) {
                    overlay::merge(environment, values, problems);
                }
            }
        }
    }
}

/// The overlay of this pipeline among those of an environment.
fn own_overlay(overlays: Entry, name: &str, located: &Located, problems: &mut Problems) -> Option<Table> {
    let not_a_table = |entry: &Entry| {
        let what = format!("`{}` must be a table, found {}", entry.key, entry.node.kind());
        Problem::new(Code::WrongType, what, entry.node.span, "")
            .help("write overlays as `[pipeline.<name>.step.<id>]`, with values below")
    };
    let Value::Table(table) = overlays.node.value else {
        problems.push(not_a_table(&overlays));
        return None;
    };
    // A folder that cannot be listed cannot say which names are wrong; the pipeline itself was read.
    let listed = files::list_pipelines(&located.project).ok();
    let mut own = None;
    for entry in table.entries {
        let names = listed.iter().flatten().map(|pipeline| pipeline.name.as_str());
        let known = names.chain([name]);
        if entry.node.table().is_none() {
            problems.push(not_a_table(&entry));
            continue;
        }
        if listed.is_some() && !known.clone().any(|known| known == entry.key) {
            problems.push(
                Problem::new(
                    Code::OverlayUnknown,
                    format!("there is no pipeline `{}`", entry.key),
                    entry.key_span,
                    "",
                )
                .why("an overlay changes values of an existing pipeline")
                .help(suggest(&entry.key, known, "remove this table")),
            );
            continue;
        }
        let Value::Table(values) = entry.node.value else {
            continue;
        };
        for inner in &values.entries {
            if inner.key != "step" {
                problems.push(
                    Problem::new(
                        Code::UnknownKey,
                        format!("unknown key `{}`", inner.key),
                        inner.key_span,
                        "",
                    )
                    .why("an overlay reaches values of steps only")
                    .help(format!("write `[pipeline.{}.step.<id>]`", entry.key)),
                );
            }
        }
        if entry.key == name {
            own = Some(Table {
                entries: values.entries.into_iter().filter(|inner| inner.key == "step").collect(),
                unset: Vec::new(),
            });
        }
    }
    own
}

/// Whether the path or target that `--set` names is one of the environment.
fn exists(environment: &Table, values: &Table, problems: &mut Problems) -> bool {
    let Some(group) = values.entries.first() else {
        return false;
    };
    let Some(item) = group.node.table().and_then(|table| table.entries.first()) else {
        return false;
    };
    let none = Table::default();
    let known = environment.get(&group.key).and_then(Node::table).unwrap_or(&none);
    if known.entry(&item.key).is_some() {
        return true;
    }
    problems.push(
        Problem::new(
            Code::OverlayUnknown,
            format!("the environment has no {} `{}`", group.key, item.key),
            item.key_span,
            "",
        )
        .why("`--set` changes values that exist; a misspelt name would change nothing")
        .help(suggest(&item.key, known.keys(), "declare it in the environment")),
    );
    false
}
