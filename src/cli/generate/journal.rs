//! The page of the words that stand in the journal, from the tables of its events, outcomes and fields.

use std::fmt::Write as _;

use crate::journal::{Event, Field, Status};

use super::reference::{GENERATED, cell};

/// The page.
pub(super) fn page() -> String {
    let mut out = format!("{GENERATED}\n# Words of the journal\n\n");
    out.push_str(
        "A line of the journal is a JSON object. `event` says what happened and `status` how it went, where that is known; further\n\
         fields say the rest. All three are closed sets. How to read and check a journal is in\n\
         [data management](../DATA_MANAGEMENT.md).\n",
    );
    let events = Event::ALL.iter().map(|word| (word.as_str(), word.meaning()));
    section(&mut out, "Events", "event", events);
    let statuses = Status::ALL.iter().map(|word| (word.as_str(), word.meaning()));
    section(&mut out, "How it went", "status", statuses);
    let fields = Field::ALL.iter().map(|word| (word.as_str(), word.meaning()));
    section(&mut out, "Further fields", "field", fields);
    out
}

fn section<'w>(out: &mut String, title: &str, head: &str, words: impl Iterator<Item = (&'w str, &'w str)>) {
    let _ = write!(out, "\n## {title}\n\n| {head} | meaning |\n| --- | --- |\n");
    for (word, meaning) in words {
        let _ = writeln!(out, "| `{word}` | {} |", cell(meaning));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_journal_has_its_row_and_its_meaning() {
        let page = page();
        let events = Event::ALL.iter().map(|word| word.as_str());
        let statuses = Status::ALL.iter().map(|word| word.as_str());
        for word in events
            .chain(statuses)
            .chain(Field::ALL.iter().map(|word| word.as_str()))
        {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{word}` | ")));
            assert!(row.is_some_and(|row| !row.ends_with("|  |")), "{word}");
        }
        assert!(
            page.contains(
                "| `backup_caught_up` | A backup that other targets have was copied into one that lacked it. |"
            )
        );
    }
}
