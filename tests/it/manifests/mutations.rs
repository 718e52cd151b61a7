//! Manifests that are cut and littered at random: every one compiles or is refused with places, and none tells a secret.

use proptest::prelude::*;
use strongroom::pipeline::compile;

use super::project::{BACKUP, ENVIRONMENT, Project, told};

/// What an operator should not have written, in every form in which it could be written.
const PLANTED: &str = r#"
[credentials]
password = "planted-1"
tokens = ["planted-2",
  "planted-3"]
"api key" = 'planted-4'
passphrase = """
planted-5
planted-6=="""
"#;

/// Something that a slip of the hand puts in or takes out.
fn litter() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\"", "'", "[", "]", "{", "}", "=", ",", "#", "\n", "{{", "}}", "\\", "é", "\"\"\"",
    ])
}

/// Places at which a slip does not make another key of a telling one.
fn outside_of_keys(text: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let key = line.split_once('=').map_or(0, |(key, _)| key.trim_end().len());
        // What stands before a key on its line would become part of it, and a key in quotes is torn by one more.
        places.extend((at + key..at + line.len()).filter(|place| text.is_char_boundary(*place)));
        at += line.len();
    }
    places
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_littered_environment_is_refused_with_places_and_tells_no_secret(
        slips in proptest::collection::vec((any::<prop::sample::Index>(), litter()), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut text = format!("{ENVIRONMENT}{PLANTED}");
        for (index, what) in &slips {
            let places = outside_of_keys(&text);
            text.insert_str(places[index.index(places.len())], what);
        }
        if let Some(cut) = cut {
            let places = outside_of_keys(&text);
            text.truncate(places[cut.index(places.len())]);
        }
        let mut project = Project::new(&[], &[], &[]);
        project.write("pipelines/environments/test.toml", &text);
        if let Err(found) = compile(&project.request("backup")) {
            let told = told(&found) + &serde_json::to_string(&found).unwrap();
            prop_assert!(!told.contains("planted-"), "{text}\n----\n{told}");
            for diagnostic in &found {
                prop_assert!(!diagnostic.places.is_empty() && diagnostic.help.is_some(), "{diagnostic:?}");
            }
        }
    }

    #[test]
    fn a_littered_pipeline_never_panics(
        slips in proptest::collection::vec((any::<prop::sample::Index>(), litter()), 1..5),
        gone in (any::<prop::sample::Index>(), 0..12usize),
    ) {
        let mut text = BACKUP.to_owned();
        for (index, what) in &slips {
            let places: Vec<usize> = (0..text.len()).filter(|at| text.is_char_boundary(*at)).collect();
            text.insert_str(places[index.index(places.len())], what);
        }
        let letters: Vec<char> = text.chars().collect();
        let from = gone.0.index(letters.len());
        let kept: String = letters.iter().enumerate().filter(|(at, _)| *at < from || *at >= from + gone.1).map(|(_, c)| c).collect();
        let mut project = Project::new(&[], &[], &[]);
        project.write("pipelines/backup.toml", &kept.replace('«', ""));
        if let Err(found) = compile(&project.request("backup")) {
            prop_assert!(found.iter().all(|d| !d.places.is_empty() && d.help.is_some() && d.state.is_some()), "{}", told(&found));
        }
    }
}
