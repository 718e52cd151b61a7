//! What one part of a plan says about another: names that must exist, settings that exclude each other, fences.

use std::collections::BTreeMap;

use super::files::list_environments;
use super::problem::{Problem, Problems, suggest};
use super::resolved::{Resolved, ResolvedStep};
use crate::diagnostic::Code;
use crate::id::{EnvName, SourceName, TargetName};
use crate::source::SourceKind;
use crate::source::append_log::PrefixCheck;
use crate::steps::command::Command;
use crate::steps::compress::{Codec, Compress};
use crate::steps::redact::Redact;
use crate::steps::select::Select;
use crate::steps::snapshot::Snapshot;
use crate::steps::upload::Upload;
use crate::steps::{Signature, Step};

/// The highest level of gzip.
const GZIP_LEVEL_MAX: u8 = 9;

/// Checks every step, switched off ones too: they may be switched on by an overlay.
pub(super) fn check(resolved: &Resolved, problems: &mut Problems) {
    for step in &resolved.steps {
        match &step.step {
            Step::Upload(upload) => {
                check_targets(resolved, step, &upload.targets, problems);
                check_require(step, upload, problems);
            }
            Step::Select(select) => check_select(resolved, step, select, problems),
            Step::Retain(retain) => {
                check_targets(resolved, step, &retain.targets, problems);
                check_keeps(step, retain, problems);
            }
            Step::Redact(_) => check_redacted(resolved, step, problems),
            Step::Compress(compress) => {
                check_level(step, compress, problems);
                check_codec(resolved, step, compress, problems);
            }
            Step::Encrypt(_) => check_recipients(resolved, step, problems),
            Step::Snapshot(snapshot) => check_prefixes(resolved, step, snapshot, problems),
            Step::Assert(assert) if assert.is_empty() => problems.push(
                problem(
                    step,
                    Code::InvalidValue,
                    format!("step `{}` judges nothing", step.id),
                    step.span_of("type"),
                )
                .why("a step that cannot fail proves nothing")
                .help("say what must hold, such as `sqlite = \"integrity\"`, or remove the step"),
            ),
            Step::Assert(_) => {}
            Step::Command(command) => check_command(resolved, step, command, problems),
            Step::Deduplicate(_)
            | Step::Checksum(_)
            | Step::Confirm(_)
            | Step::Verify(_)
            | Step::RollbackPoint(_)
            | Step::Restore(_)
            | Step::Swap(_) => {}
        }
        check_protected(resolved, step, problems);
        check_always(step, problems);
    }
}

fn problem(step: &ResolvedStep, code: Code, what: String, span: super::source_map::Span) -> Problem {
    Problem::new(code, what, span, "").step(step.id.as_str())
}

fn check_targets(resolved: &Resolved, step: &ResolvedStep, targets: &[TargetName], problems: &mut Problems) {
    let known = || resolved.environment.target.keys().map(TargetName::as_str);
    for (position, target) in targets.iter().enumerate() {
        let span = step.span_of_item("targets", position);
        if !resolved.environment.target.contains_key(target) {
            problems.push(
                problem(
                    step,
                    Code::ReferenceUnknown,
                    format!("the environment has no target `{target}`"),
                    span,
                )
                .why("targets are declared in the environment, so that each keeps its backups in its own place")
                .help(suggest(
                    target.as_str(),
                    known(),
                    "declare it: `[target.<name>]` with a `url`",
                )),
            );
        } else if targets.iter().take(position).any(|earlier| earlier == target) {
            problems.push(
                problem(
                    step,
                    Code::DuplicateName,
                    format!("the target `{target}` is named twice"),
                    span,
                )
                .why("a backup is stored in a target once")
                .help("remove one of the two"),
            );
        }
    }
}

fn check_require(step: &ResolvedStep, upload: &Upload, problems: &mut Problems) {
    let Some(require) = upload.require else {
        return;
    };
    let targets = upload.targets.len();
    if usize::try_from(require).is_ok_and(|require| require <= targets) {
        return;
    }
    problems.push(
        problem(
            step,
            Code::InvalidValue,
            format!("`require` is {require}, and there are {targets} targets"),
            step.span_of("require"),
        )
        .why("no run could ever reach it")
        .help(format!(
            "write {targets} or less, or remove it: then one target is enough"
        )),
    );
}

/// Packs are read part by part, which only zstd's frames allow.
fn check_codec(resolved: &Resolved, step: &ResolvedStep, compress: &Compress, problems: &mut Problems) {
    let before = resolved.steps.iter().take_while(|other| other.id != step.id);
    let in_chunks = before
        .filter(|other| other.enabled)
        .any(|other| matches!(other.step, Step::Deduplicate(_)));
    if !in_chunks || compress.codec == Codec::Zstd {
        return;
    }
    problems.push(
        problem(
            step,
            Code::InvalidValue,
            "a backup in chunks is compressed by zstd alone".to_owned(),
            step.span_of("codec"),
        )
        .why("its packs are read part by part, and zstd's frames can be opened one by one")
        .help("write `codec = \"zstd\"`, or leave the `deduplicate` step out"),
    );
}

fn check_recipients(resolved: &Resolved, step: &ResolvedStep, problems: &mut Problems) {
    if !step.enabled || !resolved.environment.encryption.recipients.is_empty() {
        return;
    }
    problems.push(
        problem(
            step,
            Code::MissingKey,
            format!(
                "`{}` encrypts, and the environment names nobody who could decrypt",
                step.id
            ),
            step.span_of("type"),
        )
        .why("whom backups are sealed to stands in the environment, never in the pipeline")
        .help(
            "add `recipients = [\"age1…\", \"age1…\"]` under `[encryption]` in the environment file; \
             `strongroom keys new` makes a key",
        ),
    );
}

fn check_keeps(step: &ResolvedStep, retain: &crate::steps::retain::Retain, problems: &mut Problems) {
    if !retain.policy().is_empty() {
        return;
    }
    problems.push(
        Problem::new(
            Code::RetentionKeepsNothing,
            format!("step `{}` has no rule that keeps a backup", step.id),
            step.span_of("type"),
            "keeps nothing",
        )
        .step(step.id.as_str())
        .why("no `keep-…` key is set, or all are 0; a policy like that would remove every backup but the newest")
        .help("say what stays, such as `keep-daily = 7`; to remove nothing, switch the step off"),
    );
}

fn check_redacted(resolved: &Resolved, step: &ResolvedStep, problems: &mut Problems) {
    let Step::Redact(redact) = &step.step else {
        return;
    };
    let captures = |other: &ResolvedStep| matches!(other.step, Step::Snapshot(_));
    if !resolved.steps.iter().any(captures) {
        return check_redacted_restore(step, redact, problems);
    }
    if !redact.omit.is_empty() {
        problems.push(
            problem(
                step,
                Code::InvalidValue,
                "`omit` is for restores, and this pipeline makes backups".to_owned(),
                step.span_of("omit"),
            )
            .why("what is not captured is no source of the pipeline")
            .help("remove it; take the source out of the `snapshot` step, or use `exclude`"),
        );
    }
    let mut kinds: BTreeMap<&str, &SourceKind> = BTreeMap::new();
    for other in &resolved.steps {
        if let Step::Snapshot(snapshot) = &other.step {
            kinds.extend(
                snapshot
                    .source
                    .iter()
                    .map(|source| (source.name.as_str(), &source.kind)),
            );
        }
    }
    for (position, name) in redact.sources.iter().enumerate() {
        let span = step.span_of_item("sources", position);
        match kinds.get(name.as_str()) {
            None => problems.push(
                problem(
                    step,
                    Code::ReferenceUnknown,
                    format!("there is no source `{name}`"),
                    span,
                )
                .why("a source that does not exist cannot be redacted, and the one that was meant would be stored as it is")
                .help(suggest(name.as_str(), kinds.keys().copied(), "name a source of the `snapshot` step")),
            ),
            Some(SourceKind::Files(_)) => {
                if redact.sources.iter().take(position).any(|earlier| earlier == name) {
                    problems.push(
                        problem(step, Code::DuplicateName, format!("the source `{name}` is named twice"), span)
                            .why("a source is redacted once")
                            .help("remove one of the two"),
                    );
                }
            }
            Some(kind @ (SourceKind::AppendLog(_) | SourceKind::Sqlite(_))) => problems.push(
                problem(
                    step,
                    Code::InvalidValue,
                    format!("the source `{name}` is of type `{}` and cannot be redacted", kind.name()),
                    span,
                )
                .why("redaction reads text files; a log must stay what was written, and a database is no text")
                .help("name `files` sources only; keep secrets out of logs and databases"),
            ),
        }
    }
}

/// In a restore the sources are those of the backup, which is known when the run begins.
fn check_redacted_restore(step: &ResolvedStep, redact: &Redact, problems: &mut Problems) {
    let named = redact.sources.iter().enumerate().map(|at| ("sources", at));
    let omitted = redact.omit.iter().enumerate().map(|at| ("omit", at));
    let mut seen: Vec<&SourceName> = Vec::new();
    for (key, (position, name)) in named.chain(omitted) {
        if seen.contains(&name) {
            let what = format!("the source `{name}` is named twice");
            problems.push(
                problem(step, Code::DuplicateName, what, step.span_of_item(key, position))
                    .why("a source is redacted or left out, once")
                    .help("remove one of the two"),
            );
        }
        seen.push(name);
    }
}

/// Targets are those of the environment that the backup is from.
fn check_select(resolved: &Resolved, step: &ResolvedStep, select: &Select, problems: &mut Problems) {
    let Some(from) = &select.from else {
        return check_targets(resolved, step, &select.targets, problems);
    };
    // What cannot be listed is told where environments are asked for.
    let known = list_environments(&resolved.located.project).unwrap_or_default();
    if known.contains(from) {
        return;
    }
    let what = format!("there is no environment `{from}`");
    let names = known.iter().map(EnvName::as_str);
    problems.push(
        problem(step, Code::ReferenceUnknown, what, step.span_of("from"))
            .why("its file says where its backups are: `pipelines/environments/<name>.toml`")
            .help(suggest(from.as_str(), names, "write the file, or remove `from`")),
    );
}

fn check_level(step: &ResolvedStep, compress: &Compress, problems: &mut Problems) {
    let Some(level) = compress.level else {
        return;
    };
    let wrong = match compress.codec {
        Codec::Gzip if level > GZIP_LEVEL_MAX => Some((
            format!("`level` is {level}, and gzip has 1 to {GZIP_LEVEL_MAX}"),
            format!("write {GZIP_LEVEL_MAX} or less, or `codec = \"zstd\"`"),
        )),
        Codec::Gzip | Codec::Zstd => None,
        Codec::None => Some((
            "the codec `none` has no `level`".to_owned(),
            "remove `level`, or choose another codec".to_owned(),
        )),
    };
    if let Some((what, help)) = wrong {
        problems.push(
            problem(step, Code::InvalidValue, what, step.span_of("level"))
                .also(step.span_of("codec"), "the codec")
                .why("levels mean something else in each codec")
                .help(help),
        );
    }
}

fn check_protected(resolved: &Resolved, step: &ResolvedStep, problems: &mut Problems) {
    if step.enabled || !resolved.environment.protected || !step.step.protects() {
        return;
    }
    // A pipeline that does not encrypt, and says so itself, is as one without the step: overlays switch it on.
    let own = resolved.map.layer(step.span_of("enabled")) == resolved.map.layer(step.span);
    if own && matches!(step.step, Step::Encrypt(_)) {
        return;
    }
    problems.push(
        problem(
            step,
            Code::ProtectedStep,
            format!("`{}` cannot be switched off in a protected environment", step.id),
            step.span_of("enabled"),
        )
        .why(format!(
            "`{}` keeps secrets in or proves that a backup is good; a protected environment does not go without",
            step.step.name()
        ))
        .help("remove this line, or use an environment that is not protected"),
    );
}

/// A log of a protected environment is compared whole.
fn check_prefixes(resolved: &Resolved, step: &ResolvedStep, snapshot: &Snapshot, problems: &mut Problems) {
    for (position, source) in snapshot.source.iter().enumerate() {
        let is_partial = matches!(&source.kind, SourceKind::AppendLog(log) if log.prefix_check == PrefixCheck::Tail);
        if !is_partial || !resolved.environment.protected {
            continue;
        }
        let list = step
            .table
            .get("source")
            .map(super::tree::Node::items)
            .unwrap_or_default();
        let table = list.get(position).and_then(super::tree::Node::table);
        let node = table.and_then(|table| table.get("prefix-check"));
        let what = format!(
            "the log `{}` cannot be proven in part in a protected environment",
            source.name
        );
        problems.push(
            problem(
                step,
                Code::ProtectedStep,
                what,
                node.map_or(step.span, |node| node.span),
            )
            .why("a record that was changed before the part that is looked at would become the truth")
            .help("write `prefix-check = \"full\"`, or remove it"),
        );
    }
}

/// A program that can be named, and is run when its place says.
fn check_command(resolved: &Resolved, step: &ResolvedStep, command: &Command, problems: &mut Problems) {
    let words = command.argv.iter().enumerate();
    let wrong = words
        .filter(|(position, word)| word.contains('\0') || (*position == 0 && word.is_empty()))
        .map(|(position, _)| position);
    for position in wrong {
        let what = match position {
            0 => "`argv` names no program".to_owned(),
            _ => format!("item {} of `argv` has a NUL character", position + 1),
        };
        problems.push(
            problem(step, Code::InvalidValue, what, step.span_of_item("argv", position))
                .why("the operating system could not start it")
                .help("write the program first, then each argument as it is: no shell reads them"),
        );
    }
    let find = |wanted: fn(&Step) -> bool| {
        let enabled = |other: &ResolvedStep| other.enabled && wanted(&other.step);
        resolved.steps.iter().position(enabled)
    };
    let own = resolved.steps.iter().position(|other| other.id == step.id);
    let (first, last) = (
        find(|other| matches!(other, Step::Snapshot(_))),
        find(|other| matches!(other, Step::Upload(_))),
    );
    let (Some(first), Some(own), Some(last)) = (first, own, last) else {
        return;
    };
    let ends = (resolved.steps.get(first), resolved.steps.get(last));
    if let ((Some(snapshot), Some(upload)), true) = (ends, first < own && own < last) {
        problems.push(
            problem(
                step,
                Code::FlowOrder,
                format!("`{}` stands between `{}` and `{}`", step.id, snapshot.id, upload.id),
                step.span_of("type"),
            )
            .also(snapshot.span_of("type"), "read when the backup is stored")
            .why(format!(
                "everything from `{}` to `{}` is one pass over the data, so the program would run before any of it is read",
                snapshot.id, upload.id
            ))
            .help(format!("move it before `{}` or behind `{}`", snapshot.id, upload.id)),
        );
    }
}

/// After a failure there is nothing that such a step could take.
fn check_always(step: &ResolvedStep, problems: &mut Problems) {
    if !step.always || step.step.can_run_always() {
        return;
    }
    let why = match step.step.signature() {
        Signature::Takes(pairs) => pairs.first().map(|(wanted, _)| {
            let kind = step.step.name();
            format!(
                "`{kind}` works on {}, which a failed run does not give",
                wanted.describe()
            )
        }),
        Signature::Any => None,
    };
    problems.push(
        problem(
            step,
            Code::InvalidValue,
            format!("`{}` cannot run after a failure", step.id),
            step.span_of("always"),
        )
        .why(why.unwrap_or_else(|| "what it asks for matters only to steps behind it".to_owned()))
        .help("remove `always`"),
    );
}
