//! `Staged → Swapped`: puts the stages in place, all or none, keeps what they replace, and lets older points go.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::archive::record::Record;
use crate::diagnostic::{Code, Diagnostic};
use crate::id::{EnvName, SourceName};
use crate::outcome::{Outcome, Table};
use crate::restore::error::RestoreError;
use crate::restore::in_use::{self, InUse};
use crate::restore::points::{self, Rules};
use crate::restore::swap::scan::Point;
use crate::restore::swap::{About, Done, SwapItem, Swapped, With, recovery, swap};
use crate::steps::Step;
use crate::units::{ByteCount, counted};

use super::destination::Destination;
use super::evidence::{Evidence, Swap};
use super::notes::Notes;
use super::rewind::Placing;
use super::scope::Scope;
use super::stage::Staged;
use super::{Context, Failure, Runner, UNTOUCHED};

/// Holders of files that are named in the message; the table has all of them.
const HOLDERS_NAMED: usize = 3;

/// Sources unpacked beside their destinations, and what becomes of what they replace.
pub(super) struct Ready {
    pub(super) staged: Staged,
    pub(super) rules: Rules,
}

impl Runner<'_> {
    /// Puts the stages in place, all or none.
    pub(super) async fn swap(&mut self, ready: Ready) -> Result<String, Failure> {
        self.confirm_operator().await?;
        self.check_stop()?;
        let Ready {
            staged:
                Staged {
                    record,
                    items,
                    rewritten,
                    ..
                },
            rules,
        } = ready;
        if items.is_empty() {
            self.outcome.headline = format!(
                "backup {} holds no source: nothing was there when it was made",
                record.id
            );
            self.outcome.json.insert("restored".into(), serde_json::json!([]));
            return Ok("nothing to put in place".to_owned());
        }
        let mut facts: BTreeMap<SourceName, (u64, u64)> = BTreeMap::new();
        let (mut swaps, mut stages) = (Vec::new(), Vec::new());
        for item in items {
            let destination = item.destination.ok_or_else(|| {
                vec![Diagnostic::error(Code::Internal, format!("`{}` has no destination", item.name)).state(UNTOUCHED)]
            })?;
            facts.insert(item.name.clone(), (item.entries, item.bytes));
            stages.push(item.stage.path());
            swaps.push(SwapItem {
                source: item.name,
                destination,
                with: With::Stage(item.stage),
            });
        }
        let placing = swaps.iter().zip(stages).map(|(item, stage)| Placing {
            name: item.source.clone(),
            destination: item.destination.clone(),
            stage,
        });
        self.check_rewinds(&record, &placing.collect::<Vec<_>>()).await?;
        let paths: Vec<PathBuf> = swaps.iter().map(|item| item.destination.clone()).collect();
        let in_use = look_for_use(paths.clone()).await?;
        refuse_in_use(&in_use, self.options.while_running, &mut self.outcome)?;
        self.remember_destinations(&paths);
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let told = Swap {
            backup: Some(&record.id),
            point: None,
            destinations: &shown,
        };
        let notes = self.notes(&record, &swaps, &rewritten).await;
        self.evidence.swap_intended(&told)?;
        let about = about(self.context, Scope::of(self.plan), Some(&record), None);
        let (done, warnings) = run_swap(swaps, about, notes).await?;
        for warning in warnings {
            self.warn(warning);
        }
        self.evidence.swapped(&told, &kept_in(&done.swapped))?;
        self.outcome.headline = headline(&record, self.plan.environment_name());
        self.outcome.field(
            "point",
            "rollback point",
            done.record.point_id(),
            done.record.point_id(),
        );
        describe(&mut self.outcome, &done.swapped, &facts);
        let dropped = self.prune(rules)?;
        let more = if dropped > 0 {
            format!(", {} removed", counted(dropped as u64, "older rollback point"))
        } else {
            String::new()
        };
        Ok(format!("{}{more}", counted(done.swapped.len() as u64, "destination")))
    }

    /// Removes the points that no rule keeps. One that cannot be removed is told; the restore stands.
    fn prune(&mut self, rules: Rules) -> Result<usize, Failure> {
        let points = self.known_points();
        let now = self.context.clock.now().timestamp();
        let mut dropped = 0;
        let instance = Scope::of(self.plan).instance(&self.context.host);
        for point in points::superfluous(&points, rules, &instance, now) {
            match drop_point(point, &mut self.evidence)? {
                Ok(_) => dropped += 1,
                Err(problem) => self.warn(*problem),
            }
        }
        Ok(dropped)
    }

    /// Looks for processes that use the destinations before hours go into unpacking, where no step before the swap could
    /// stop them.
    pub(super) async fn refuse_early(
        &mut self,
        destinations: &BTreeMap<SourceName, Destination>,
    ) -> Result<(), Failure> {
        let steps = self.plan.steps().iter().filter(|planned| planned.enabled);
        let mut after = steps
            .skip_while(|planned| !matches!(planned.step, Step::Restore(_)))
            .skip(1);
        let next = after.find(|planned| !matches!(planned.step, Step::Assert(_) | Step::Confirm(_)));
        let swaps_next = next.is_some_and(|planned| matches!(planned.step, Step::Swap(_)));
        if self.options.while_running || !swaps_next {
            return Ok(());
        }
        let paths: Vec<PathBuf> = destinations.values().map(|d| d.path.clone()).collect();
        let in_use = look_for_use(paths).await?;
        if in_use.holders.is_empty() {
            // Told again, and for good, before the swap.
            return Ok(());
        }
        refuse_in_use(&in_use, self.options.while_running, &mut self.outcome)
    }
}

fn headline(record: &Record, name: &EnvName) -> String {
    let of = if record.environment == *name {
        String::new()
    } else {
        format!(" of `{}`", record.environment)
    };
    format!("backup {}{of} restored to `{name}`", record.id)
}

/// What the swap journal says beside the renames.
pub(super) fn about(context: &Context, scope: Scope<'_>, restored: Option<&Record>, takes: Option<&Point>) -> About {
    About {
        run: context.run,
        environment: scope.name.clone(),
        host: context.host.clone(),
        instance: scope.instance(&context.host),
        actor: context.actor.clone(),
        now: context.clock.now().timestamp(),
        backup: restored.map(|record| record.id.clone()),
        takes: takes.map(|point| point.record.clone()),
    }
}

/// Swaps on a thread of its own, and notes beside the logs what they are now.
pub(super) async fn run_swap(
    swaps: Vec<SwapItem>,
    about: About,
    notes: Notes,
) -> Result<(Done, Vec<Diagnostic>), Failure> {
    let work = move || {
        notes.write_ahead();
        match swap(swaps, &about) {
            Ok(done) => Ok((done, notes.keep())),
            Err(error) => {
                notes.after_failure(&error);
                Err(error)
            }
        }
    };
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| {
        let problem = Diagnostic::error(Code::Internal, "the swap ended early").why(error.to_string());
        vec![problem.help("run any command of this environment: it finishes the swap or undoes it")]
    })?;
    done.map_err(|error: RestoreError| vec![Diagnostic::of(&error)])
}

/// Looks for processes that use the destinations.
pub(super) async fn look_for_use(destinations: Vec<PathBuf>) -> Result<InUse, Failure> {
    let found = tokio::task::spawn_blocking(move || in_use::find(&destinations)).await;
    found.map_err(|error| {
        let problem = Diagnostic::error(Code::Internal, "the search for files in use ended early");
        vec![problem.why(error.to_string()).state(UNTOUCHED)]
    })
}

/// Refuses a swap of files that other processes use, and says what could not be looked at.
pub(super) fn refuse_in_use(in_use: &InUse, while_running: bool, outcome: &mut Outcome) -> Result<(), Failure> {
    if let Some(why) = &in_use.blind {
        outcome.diagnostics.push(
            Diagnostic::warning(Code::FilesInUse, "nobody could look whether the files are in use")
                .why(why.clone())
                .help("see that the service is stopped"),
        );
    }
    if in_use.unseen > 0 {
        let text = match in_use.unseen {
            1 => "1 process could not be looked into".to_owned(),
            count => format!("{count} processes could not be looked into"),
        };
        outcome.field("unseen-processes", "files in use", text, in_use.unseen);
    }
    if in_use.holders.is_empty() {
        return Ok(());
    }
    let mut table = Table {
        title: "files in use".into(),
        columns: ["process", "program", "file", "how"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    let mut named = Vec::new();
    for holder in &in_use.holders {
        let process = holder.process.map_or("?".to_owned(), |process| process.to_string());
        table.rows.push(vec![
            process.clone(),
            holder.program.clone(),
            holder.file.display().to_string(),
            holder.how.describe().to_owned(),
        ]);
        if named.len() < HOLDERS_NAMED {
            let who = match holder.process {
                Some(_) => format!("process {process} (`{}`)", holder.program),
                None => "a process".to_owned(),
            };
            named.push(format!("`{}`: {who} {}", holder.file.display(), holder.how.describe()));
        }
    }
    outcome.tables.push(table);
    if while_running {
        return Ok(());
    }
    let more = in_use.holders.len().saturating_sub(named.len());
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    let what = format!("files that would be replaced are in use: {}", named.join("; "));
    let problem = Diagnostic::error(Code::FilesInUse, what)
        .why("who has a file open goes on with the old one, and what it writes then is lost with it")
        .state(UNTOUCHED)
        .help("stop the service first; where that cannot be, `--while-running` goes on all the same");
    Err(vec![problem])
}

/// Removes a rollback point, journalled before; gives the bytes that were freed, or the problem where it stays.
pub(super) fn drop_point(point: &Point, evidence: &mut Evidence) -> Result<Result<u64, Box<Diagnostic>>, Failure> {
    let bytes = points::taken(point);
    evidence.drop_intended(&point.record)?;
    match recovery::drop_point(point) {
        Ok(_) => {
            evidence.dropped(&point.record, bytes)?;
            Ok(Ok(bytes))
        }
        Err(error) => {
            let mut problem = Diagnostic::of(&error);
            let warning = Diagnostic::warning(
                Code::PointKept,
                format!("rollback point `{}` could not be removed", point.id()),
            );
            problem.what = format!("{}: {}", problem.what, problem.why.unwrap_or_default());
            let warning = warning
                .why(problem.what)
                .state("everything else is done; the next command of this environment goes on with its removal")
                .help("`strongroom rollback --list` shows it");
            Ok(Err(Box::new(warning)))
        }
    }
}

pub(super) fn kept_in(swapped: &[Swapped]) -> Vec<String> {
    let kept = swapped.iter().flat_map(|swapped| &swapped.replaced);
    kept.map(|path| path.display().to_string()).collect()
}

/// Says what lies where now.
pub(super) fn describe(outcome: &mut Outcome, swapped: &[Swapped], facts: &BTreeMap<SourceName, (u64, u64)>) {
    let mut table = Table {
        title: "restored".into(),
        columns: ["source", "destination", "entries", "bytes", "replaced, kept in"]
            .map(String::from)
            .to_vec(),
        rows: Vec::new(),
    };
    let mut list = Vec::new();
    for swapped in swapped {
        let (entries, bytes) = facts.get(&swapped.source).copied().unzip();
        let replaced: Vec<String> = swapped.replaced.iter().map(|path| path.display().to_string()).collect();
        table.rows.push(vec![
            swapped.source.to_string(),
            swapped.destination.display().to_string(),
            entries.map(|entries: u64| entries.to_string()).unwrap_or_default(),
            bytes.map(|bytes| ByteCount(bytes).to_string()).unwrap_or_default(),
            if replaced.is_empty() {
                "nothing was there".into()
            } else {
                replaced.join(", ")
            },
        ]);
        list.push(serde_json::json!({
            "source": swapped.source, "destination": swapped.destination.display().to_string(), "entries": entries,
            "bytes": bytes, "replaced": replaced.first(), "kept": replaced,
        }));
    }
    outcome.tables.push(table);
    outcome.json.insert("restored".into(), list.into());
}
