//! The type check of the flow: a pipeline is legal when the signatures of its enabled steps chain.

use super::plan::PlannedStep;
use super::problem::{Problem, Problems, list};
use super::resolved::{Resolved, ResolvedStep};
use crate::diagnostic::{Code, Place};
use crate::id::StepId;
use crate::steps::restore::To;
use crate::steps::{Flow, Signature, Step};

/// What passes between the steps, as far as the chain holds.
pub(super) fn chain(resolved: &Resolved, problems: &mut Problems) -> Vec<PlannedStep> {
    let mut flow = Flow::Nothing;
    let mut planned: Vec<PlannedStep> = Vec::new();
    let mut told: Vec<&StepId> = Vec::new();
    let mut broken = false;
    for step in &resolved.steps {
        let takes = flow;
        if let (true, Signature::Takes(pairs)) = (step.enabled && !told.contains(&&step.id), step.step.signature()) {
            let fitting = pairs.iter().find(|(taken, _)| *taken == flow);
            let wanted = fitting.or(pairs.first()).copied();
            // After a misfit the chain goes on as if it were mended, so that one mistake is told once.
            match (fitting, wanted) {
                (Some((_, given)), _) => flow = *given,
                // A rollback point that stands in the wrong place was told there.
                (None, Some((_, given))) if flow == Flow::Staged && is_guarded(&planned) => flow = given,
                (None, Some((wanted, given))) => {
                    broken = true;
                    let misfit = misfit(resolved, &planned, step, wanted, flow);
                    problems.push(misfit.problem);
                    told.extend(misfit.moved);
                    if misfit.mended {
                        flow = given;
                    }
                }
                (None, None) => {}
            }
        }
        planned.push(PlannedStep {
            id: step.id.clone(),
            enabled: step.enabled,
            always: step.always,
            step: step.step.clone(),
            place: place(resolved, step),
            takes,
            gives: flow,
        });
    }
    if !broken {
        check_end(resolved, flow, problems);
    }
    planned
}

fn is_guarded(before: &[PlannedStep]) -> bool {
    let guard = |earlier: &PlannedStep| earlier.enabled && matches!(earlier.step, Step::RollbackPoint(_));
    before.iter().any(guard)
}

fn place(resolved: &Resolved, step: &ResolvedStep) -> Place {
    resolved.map.place(step.span_of("type"), "").unwrap_or_else(|| Place {
        file: String::new(),
        line: 1,
        column: 1,
        label: String::new(),
        excerpt: None,
    })
}

/// The step type that gives a flow and what it takes for it; the way back from any flow to nothing.
fn giver(flow: Flow) -> Option<(&'static str, Flow)> {
    match flow {
        Flow::Nothing => None,
        Flow::Tree => Some(("snapshot", Flow::Nothing)),
        Flow::Chunks => Some(("deduplicate", Flow::Tree)),
        Flow::Packed => Some(("compress", Flow::Tree)),
        Flow::Sealed => Some(("encrypt", Flow::Packed)),
        Flow::Digested => Some(("checksum", Flow::Packed)),
        Flow::Stored => Some(("upload", Flow::Digested)),
        Flow::Confirmed => Some(("confirm", Flow::Stored)),
        Flow::Chosen => Some(("select", Flow::Nothing)),
        Flow::Verified => Some(("verify", Flow::Chosen)),
        Flow::Guarded => Some(("rollback-point", Flow::Verified)),
        Flow::Staged => Some(("restore", Flow::Verified)),
        Flow::GuardedStage => Some(("restore", Flow::Guarded)),
        Flow::Swapped => Some(("swap", Flow::GuardedStage)),
    }
}

/// The step types that lead from one flow to another; `None` where there is no way.
fn way(from: Flow, to: Flow) -> Option<Vec<&'static str>> {
    let mut types = Vec::new();
    let mut flow = to;
    while flow != from {
        // Two steps stand in the way only where someone has put them there.
        if (flow, from) == (Flow::Packed, Flow::Chunks) {
            types.insert(0, "compress");
            break;
        }
        if (flow, from) == (Flow::Digested, Flow::Sealed) {
            types.insert(0, "checksum");
            break;
        }
        let (name, takes) = giver(flow)?;
        types.insert(0, name);
        flow = takes;
    }
    Some(types)
}

/// A step that is not given what it takes.
struct Misfit<'a> {
    problem: Problem,
    /// The step that should have stood before it.
    moved: Option<&'a StepId>,
    /// Whether adding or moving steps before it mends the chain; otherwise it is the step itself that is wrong.
    mended: bool,
}

fn misfit<'a>(
    resolved: &'a Resolved,
    before: &[PlannedStep],
    step: &ResolvedStep,
    wanted: Flow,
    given: Flow,
) -> Misfit<'a> {
    if matches!(step.step, Step::Swap(_)) && given == Flow::Staged {
        let (problem, moved) = unguarded_swap(resolved, before, step);
        return Misfit {
            problem,
            moved,
            mended: true,
        };
    }
    let label = format!("takes {}, would get {}", wanted.describe(), given.describe());
    let build =
        |code, what: String| Problem::new(code, what, step.span_of("type"), label.clone()).step(step.id.as_str());
    let kind = step.step.name();
    let unproven = matches!(step.step, Step::Retain(_)) && way(given, wanted).is_some();
    let build = |code, what: String| {
        if unproven {
            unproven_removal(before, step)
        } else {
            build(code, what)
        }
    };
    let why = match before.iter().rev().find(|earlier| earlier.enabled) {
        Some(last) => format!(
            "`{kind}` takes {}; after `{}` there is {}",
            wanted.describe(),
            last.id,
            given.describe()
        ),
        None => format!(
            "`{kind}` takes {}; before the first step there is nothing",
            wanted.describe()
        ),
    };
    let why = if unproven {
        "a backup that was never read back must not replace one that was".to_owned()
    } else {
        why
    };
    match way(given, wanted) {
        Some(missing) => {
            let (problem, moved) = missing_before(resolved, step, &missing, build);
            Misfit {
                problem: problem.why(why),
                moved,
                mended: true,
            }
        }
        None => Misfit {
            problem: too_late(before, step, wanted, build).why(why),
            moved: None,
            mended: false,
        },
    }
}

/// Old backups would go before the new one was read back.
fn unproven_removal(before: &[PlannedStep], step: &ResolvedStep) -> Problem {
    let asked = before
        .iter()
        .any(|earlier| earlier.enabled && earlier.step.name() == "confirm");
    let label = if asked {
        // The word of an operator proves nothing about what is stored.
        "needs a `confirm` step with `by = \"read-back\"` before it"
    } else {
        "needs a `confirm` step before it"
    };
    let what = format!(
        "step `{}` would delete old backups without proof of the new one",
        step.id
    );
    Problem::new(Code::RetainUnconfirmed, what, step.span_of("type"), label).step(step.id.as_str())
}

/// Data would be replaced that could not be put back.
fn unguarded_swap<'a>(
    resolved: &'a Resolved,
    before: &[PlannedStep],
    step: &ResolvedStep,
) -> (Problem, Option<&'a StepId>) {
    let restore = before.iter().rev().find_map(|earlier| match &earlier.step {
        Step::Restore(settings) if earlier.enabled => Some((earlier, settings)),
        _ => None,
    });
    let problem = |what: String, label: &str| {
        Problem::new(Code::FlowMissing, what, step.span_of("type"), label).step(step.id.as_str())
    };
    let stage = restore.map_or("the `restore` step".to_owned(), |(earlier, _)| {
        format!("`{}`", earlier.id)
    });
    if restore.is_some_and(|(_, settings)| settings.to == Some(To::Scratch)) {
        let what = format!("step `{}` has nothing to put in place", step.id);
        let help = format!("remove `{}`, or take `to = \"scratch\"` out of {stage}", step.id);
        let drill =
            problem(what, "would get what is removed again").why(format!("{stage} unpacks into a scratch folder"));
        return (drill.help(help), None);
    }
    let guard = |other: &&ResolvedStep| matches!(other.step, Step::RollbackPoint(_));
    let unguarded = problem(
        format!("step `{}` would replace data without a rollback point", step.id),
        "needs a `rollback-point` step before it",
    )
    .why("what is replaced must be there to be put back");
    match resolved.steps.iter().find(guard) {
        Some(off) if !off.enabled => {
            let off_here = unguarded.also(off.span_of("enabled"), "switched off here");
            (off_here.help(format!("switch `{}` on", off.id)), None)
        }
        Some(elsewhere) => {
            let help = format!("move step `{}` before {stage}", elsewhere.id);
            (unguarded.help(help), Some(&elsewhere.id))
        }
        None => {
            let help = format!("add a step with `type = \"rollback-point\"` before {stage}");
            (unguarded.help(help), None)
        }
    }
}

/// What `step` takes could be made from what it is given, by steps that do not stand before it.
fn missing_before<'a>(
    resolved: &'a Resolved,
    step: &ResolvedStep,
    missing: &[&'static str],
    build: impl Fn(Code, String) -> Problem,
) -> (Problem, Option<&'a StepId>) {
    let position = resolved.steps.iter().position(|other| other.id == step.id).unwrap_or(0);
    let (earlier, later) = resolved.steps.split_at(position.min(resolved.steps.len()));
    let switched_off = earlier
        .iter()
        .find(|other| !other.enabled && missing.contains(&other.step.name()));
    if let Some(off) = switched_off {
        let what = format!("`{}` needs `{}`, which is switched off", step.id, off.id);
        let problem = build(Code::FlowMissing, what)
            .also(off.span_of("enabled"), "switched off here")
            .help(format!("switch `{}` on, or switch `{}` off too", off.id, step.id));
        return (problem, None);
    }
    let moved = later
        .iter()
        .skip(1)
        .find(|other| other.enabled && missing.contains(&other.step.name()));
    if let Some(moved) = moved {
        let problem = build(Code::FlowOrder, format!("`{}` stands before `{}`", step.id, moved.id))
            .also(moved.span_of("type"), "comes too late")
            .help(format!("move step `{}` before `{}`", moved.id, step.id));
        return (problem, Some(&moved.id));
    }
    let types: Vec<String> = missing.iter().map(|name| format!("`type = \"{name}\"`")).collect();
    let what = format!("`{}` has no {} step before it", step.id, list(missing));
    let help = match types.as_slice() {
        [only] => format!("add a step with {only} before `{}`", step.id),
        all => format!(
            "add steps with {} before `{}`, in this order",
            all.join(" and "),
            step.id
        ),
    };
    (build(Code::FlowMissing, what).help(help), None)
}

/// What `step` takes was there and has been worked up already, or belongs to another kind of pipeline.
fn too_late(
    before: &[PlannedStep],
    step: &ResolvedStep,
    wanted: Flow,
    build: impl Fn(Code, String) -> Problem,
) -> Problem {
    let kind = step.step.name();
    let taker = before
        .iter()
        .find(|earlier| earlier.enabled && earlier.takes == wanted && earlier.gives != wanted);
    match taker {
        Some(first) if first.step.name() == kind => build(
            Code::FlowOrder,
            format!("`{}` does again what `{}` did", step.id, first.id),
        )
        .help(match wanted {
            Flow::Nothing => format!("a pipeline has one `{kind}`: join `{}` with `{}`", step.id, first.id),
            _ => format!("remove one of `{}` and `{}`", first.id, step.id),
        }),
        Some(_) if wanted == Flow::Nothing => build(
            Code::FlowOrder,
            format!("`{}` begins something new in the middle of a pipeline", step.id),
        )
        .help("make two pipelines of it: one begins with `snapshot`, the other with `select`"),
        Some(first) => build(Code::FlowOrder, format!("`{}` stands after `{}`", step.id, first.id))
            .help(format!("move step `{}` before `{}`", step.id, first.id)),
        None => build(
            Code::FlowOrder,
            format!("`{}` does not belong into this pipeline", step.id),
        )
        .help("a pipeline that begins with `snapshot` makes a backup, one that begins with `select` uses one"),
    }
}

/// A backup that is made and not stored would be lost.
fn check_end(resolved: &Resolved, flow: Flow, problems: &mut Problems) {
    let last = resolved.steps.iter().rev().find(|step| step.enabled);
    let Some(last) = last else {
        let span = resolved
            .steps
            .first()
            .map_or(resolved.pipeline_tree.span, |step| step.span_of("enabled"));
        problems.push(
            Problem::new(
                Code::FlowMissing,
                "every step of the pipeline is switched off",
                span,
                "",
            )
            .why("a run that does nothing must not look like one that made a backup")
            .help("switch steps on"),
        );
        return;
    };
    let what = match flow {
        Flow::Tree | Flow::Chunks | Flow::Packed | Flow::Sealed | Flow::Digested => {
            format!("`{}` ends the pipeline before anything is stored", last.id)
        }
        Flow::Nothing => format!("`{}` has nothing to work on", last.id),
        Flow::Stored
        | Flow::Confirmed
        | Flow::Chosen
        | Flow::Verified
        | Flow::Guarded
        | Flow::Staged
        | Flow::GuardedStage
        | Flow::Swapped => return,
    };
    let missing = way(flow, Flow::Stored).unwrap_or_default();
    let types: Vec<String> = missing.iter().map(|name| format!("`type = \"{name}\"`")).collect();
    problems.push(
        Problem::new(
            Code::FlowMissing,
            what,
            last.span_of("type"),
            format!("leaves {} behind", flow.describe()),
        )
        .step(last.id.as_str())
        .why("what a run makes and does not store is lost when it ends")
        .help(match flow {
            Flow::Nothing => "begin the pipeline with a `snapshot` or a `select` step".to_owned(),
            _ => format!("add steps behind it: {}", types.join(", ")),
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_agrees_with_the_signatures() {
        let settings = [
            ("snapshot", r#"{"source":[]}"#),
            ("deduplicate", "{}"),
            ("compress", "{}"),
            ("encrypt", "{}"),
            ("checksum", "{}"),
            ("upload", r#"{"targets":["a"]}"#),
            ("confirm", r#"{"by":"read-back"}"#),
            ("select", r#"{"backup":"latest"}"#),
            ("verify", "{}"),
            ("rollback-point", "{}"),
            ("restore", "{}"),
            ("restore", r#"{"to":"scratch"}"#),
            ("swap", "{}"),
        ];
        let mut flows = 0;
        for (name, json) in settings {
            let step = Step::decode(name, serde_json::from_str(json).unwrap()).unwrap();
            let Signature::Takes(pairs) = step.signature() else {
                panic!("{name}");
            };
            // The first pair is the common one; the others are where a step that may be left out is there.
            let (takes, gives) = pairs.first().unwrap();
            assert_eq!(giver(*gives), Some((name, *takes)));
            for (takes, gives) in pairs {
                assert_eq!(way(*takes, *gives), Some(vec![name]));
                flows += 1;
            }
        }
        assert_eq!(flows, 16);
    }

    #[test]
    fn the_way_names_the_missing_types_in_order() {
        assert_eq!(way(Flow::Tree, Flow::Digested), Some(vec!["compress", "checksum"]));
        assert_eq!(way(Flow::Sealed, Flow::Stored), Some(vec!["checksum", "upload"]));
        assert_eq!(way(Flow::Chunks, Flow::Digested), Some(vec!["compress", "checksum"]));
        assert_eq!(way(Flow::Packed, Flow::Tree), None);
        assert_eq!(way(Flow::Chosen, Flow::Stored), None);
    }

    /// What compiling a backup with these steps behind its `upload` finds.
    fn found(steps: &[&str]) -> Vec<crate::diagnostic::Diagnostic> {
        let first = [
            "capture snapshot source=[{name=\"a\",type=\"files\",path=\"/srv/a\"}]",
            "pack compress",
            "digest checksum",
            "store upload targets=[\"local\"]",
        ];
        compiled(&[&first, steps].concat())
    }

    /// What compiling a pipeline with these steps finds; each step is `id type settings`.
    fn compiled(steps: &[&str]) -> Vec<crate::diagnostic::Diagnostic> {
        let folder = tempfile::tempdir().unwrap();
        let environments = folder.path().join("pipelines/environments");
        std::fs::create_dir_all(&environments).unwrap();
        std::fs::write(
            environments.join("dev.toml"),
            "schema-version = 1\n[target.local]\nurl = \"file:backups\"\n",
        )
        .unwrap();
        let mut text = "schema-version = 1\nname = \"backup\"\n".to_owned();
        for step in steps {
            let mut words = step.split(' ');
            let (id, kind) = (words.next().unwrap(), words.next().unwrap());
            let settings: Vec<&str> = words.collect();
            text.extend([format!(
                "[[step]]\nid = \"{id}\"\ntype = \"{kind}\"\n{}\n",
                settings.join("\n")
            )]);
        }
        std::fs::write(folder.path().join("pipelines/backup.toml"), text).unwrap();
        let request = crate::pipeline::Request {
            project: folder.path().to_owned(),
            pipeline: "backup".into(),
            environment: "dev".parse().unwrap(),
            sets: Vec::new(),
            args: std::collections::BTreeMap::new(),
            purpose: crate::pipeline::Purpose::Validate,
            run: crate::pipeline::RunValues {
                id: "0193-run".into(),
                timestamp: "2026-11-22T00:00:00Z".into(),
                host: "host-1".into(),
            },
        };
        crate::pipeline::compile(&request).err().unwrap_or_default()
    }

    const PROOF: &str = "proof confirm by=\"read-back\"";
    const RETENTION: &str = "retention retain keep-daily=7";

    /// What compiling a restore with these steps finds.
    fn restoring(steps: &[&str]) -> Vec<crate::diagnostic::Diagnostic> {
        let first = ["choose select backup=\"latest\"", "integrity verify"];
        compiled(&[&first, steps].concat())
    }

    #[test]
    fn a_swap_behind_a_rollback_point_is_legal_and_so_is_a_drill() {
        let judged = "sound assert sqlite=\"integrity\" append-log=\"prefix\"";
        assert_eq!(
            restoring(&[
                "guard rollback-point keep=3 keep-for=\"30d\"",
                "stage restore",
                judged,
                "in swap"
            ]),
            []
        );
        assert_eq!(restoring(&["stage restore to=\"scratch\"", judged]), []);
        assert_eq!(restoring(&["guard rollback-point", "stage restore"]), []);
    }

    #[test]
    fn a_swap_without_a_rollback_point_is_told_once_with_what_is_missing() {
        let only = |steps: &[&str]| {
            let problems = restoring(steps);
            let [problem] = problems.as_slice() else {
                panic!("{problems:#?}");
            };
            problem.clone()
        };
        let none = only(&["stage restore", "in swap"]);
        assert_eq!(none.code, Code::FlowMissing);
        assert_eq!(none.what, "step `in` would replace data without a rollback point");
        assert_eq!(none.places[0].excerpt.as_ref().unwrap().text, "type = \"swap\"");
        assert_eq!(
            none.help.as_deref(),
            Some("add a step with `type = \"rollback-point\"` before `stage`")
        );
        let off = only(&["guard rollback-point enabled=false", "stage restore", "in swap"]);
        assert_eq!(off.help.as_deref(), Some("switch `guard` on"));
        let late = only(&["stage restore", "guard rollback-point", "in swap"]);
        assert_eq!(late.code, Code::FlowOrder);
        assert_eq!(late.help.as_deref(), Some("move step `guard` before `stage`"));
        let after = only(&["stage restore", "in swap", "guard rollback-point"]);
        assert_eq!(after.help.as_deref(), Some("move step `guard` before `stage`"));
        let drill = only(&["stage restore to=\"scratch\"", "in swap"]);
        assert_eq!(drill.what, "step `in` has nothing to put in place");
    }

    #[test]
    fn a_step_that_judges_nothing_is_refused() {
        let problems = restoring(&["stage restore", "sound assert"]);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(problems[0].code, Code::InvalidValue);
        assert!(
            problems[0].what.contains("`sound` judges nothing"),
            "{}",
            problems[0].what
        );
    }

    #[test]
    fn retention_behind_a_read_back_is_legal_and_may_stand_twice() {
        let second =
            "weeks retain keep-weekly=\"unlimited\" keep-within=\"1y6m\" max-remove=\"10%\" targets=[\"local\"]";
        assert_eq!(found(&[PROOF, RETENTION, second]), []);
    }

    #[test]
    fn retention_without_proof_is_told_with_what_is_missing() {
        let problems = found(&[RETENTION]);
        let [problem] = problems.as_slice() else {
            panic!("{problems:#?}");
        };
        assert_eq!(problem.code, Code::RetainUnconfirmed);
        assert_eq!(
            problem.what,
            "step `retention` would delete old backups without proof of the new one"
        );
        let place = problem.places.first().unwrap();
        assert_eq!(place.label, "needs a `confirm` step before it");
        assert_eq!(place.excerpt.as_ref().unwrap().text, "type = \"retain\"");
        assert_eq!(
            problem.why.as_deref(),
            Some("a backup that was never read back must not replace one that was")
        );
        assert_eq!(problem.state.as_deref(), Some("nothing was started"));
        assert_eq!(
            problem.help.as_deref(),
            Some("add a step with `type = \"confirm\"` before `retention`")
        );
    }

    #[test]
    fn proof_that_is_late_switched_off_or_an_operators_word_is_no_proof() {
        let help = |steps: &[&str]| {
            let problems = found(steps);
            assert!(
                problems.iter().any(|problem| problem.code == Code::RetainUnconfirmed),
                "{problems:#?}"
            );
            problems.first().unwrap().clone()
        };
        let late = help(&[RETENTION, PROOF]);
        assert_eq!(late.help.as_deref(), Some("move step `proof` before `retention`"));
        let off = help(&["proof confirm by=\"read-back\" enabled=false", RETENTION]);
        assert!(off.help.unwrap().starts_with("switch `proof` on"));
        let word = help(&["agree confirm by=\"operator\"", RETENTION]);
        assert_eq!(
            word.places.first().unwrap().label,
            "needs a `confirm` step with `by = \"read-back\"` before it"
        );
    }

    #[test]
    fn a_policy_that_keeps_nothing_is_refused_at_its_step() {
        for settings in [
            "",
            " keep-daily=0 keep-last=0",
            " keep-within=\"0d\" max-remove=\"10%\"",
        ] {
            let problems = found(&[PROOF, &format!("retention retain{settings}")]);
            let [problem] = problems.as_slice() else {
                panic!("{problems:#?}");
            };
            assert_eq!(problem.code, Code::RetentionKeepsNothing);
            assert_eq!(
                problem.places.first().unwrap().excerpt.as_ref().unwrap().text,
                "type = \"retain\""
            );
        }
    }

    #[test]
    fn wrong_settings_of_retention_are_told_in_its_own_words() {
        for (setting, part) in [
            ("keep-daily=\"all\"", "`all` is neither a number nor `unlimited`"),
            ("keep-daily=-1", "`keep-daily` is -1, less than 0"),
            ("keep-daily=true", "`keep-daily` must be a number or a word"),
            ("keep-within=\"2weeks\"", "`2weeks` is not a span of years"),
            ("keep-within=\"1d1d\"", "names the unit `d` twice"),
            ("keep-daily=7 targets=[\"other\"]", "no target `other`"),
        ] {
            let problems = found(&[PROOF, &format!("retention retain {setting}")]);
            let [problem] = problems.as_slice() else {
                panic!("{setting}: {problems:#?}");
            };
            assert!(problem.what.contains(part), "{problem:#?}");
        }
    }
}
