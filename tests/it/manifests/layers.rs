//! The layers: which value wins, where it comes from, what it replaced.

use proptest::prelude::*;
use serde_json::{Value, json};
use strongroom::pipeline::{Explained, Layer, Plan};
use strongroom::steps::Step;

use super::project::{Project, plan};

fn one<'a>(plan: &'a Plan, path: &str) -> &'a Explained {
    let found = plan.explain(Some(path));
    assert_eq!(found.len(), 1, "{path}: {found:?}");
    found[0]
}

#[test]
fn an_overlay_wins_over_the_pipeline_and_the_command_line_over_both() {
    let project = Project::new(&[], &[], &[("", "[pipeline.backup.step.pack]\nlevel = 9\n")]);
    let mut request = project.request("backup");
    request.sets = vec!["step.pack.level=11".into(), "step.pack.level=12".into()];
    let plan = plan(&request);
    let level = one(&plan, "step.pack.level");
    assert_eq!((level.layer, &level.value), (Layer::Set, &json!(12)));
    let replaced: Vec<(Layer, i64, u32)> = level
        .replaced
        .iter()
        .map(|old| (old.layer, old.value.as_i64().unwrap(), old.place.line))
        .collect();
    assert_eq!(
        replaced,
        [
            (Layer::Set, 11, 1),
            (Layer::Environment, 9, 11),
            (Layer::Pipeline, 3, 27)
        ]
    );
    assert!(
        plan.steps()
            .iter()
            .any(|step| matches!(&step.step, Step::Compress(c) if c.level == Some(12)))
    );
}

#[test]
fn append_adds_behind_and_unset_lets_the_default_hold() {
    let overlay = "[pipeline.backup.step.capture.source.config]\nexclude = { append = [\"*.pem\"] }\n\
                   [pipeline.backup.step.pack]\nlevel = { unset = true }\n";
    let project = Project::new(&[], &[], &[("", overlay)]);
    let mut request = project.request("backup");
    request.sets = vec!["step.capture.source.config.exclude={ append = [\"*.key\"] }".into()];
    let plan = plan(&request);
    let exclude = one(&plan, "step.capture.source.config.exclude");
    assert_eq!(exclude.value, json!([".env*", "*.pem", "*.key"]));
    assert_eq!(exclude.replaced.len(), 2);
    assert!(plan.explain(Some("step.pack.level")).is_empty());
    assert_eq!(one(&plan, "step.pack.enabled").layer, Layer::Default);
}

#[test]
fn an_append_to_a_list_that_is_not_set_is_the_list() {
    let overlay = "[pipeline.backup.step.capture.source.events]\nexclude = { append = [\"*.tmp\"] }\n";
    let project = Project::new(&[], &[], &[("", overlay)]);
    let plan = plan(&project.request("backup"));
    assert_eq!(one(&plan, "step.capture.source.events.exclude").value, json!(["*.tmp"]));
}

#[test]
fn paths_and_targets_are_set_on_the_command_line_and_numbers_become_text_where_text_is_wanted() {
    let project = Project::new(&[], &[], &[]);
    let mut request = project.request("backup");
    request.sets = vec![
        "path.data=2026".into(),
        "target.local.url=file:elsewhere".into(),
        "path.config=/a b".into(),
    ];
    let plan = plan(&request);
    assert_eq!(one(&plan, "path.data").value, json!("2026"));
    assert_eq!(one(&plan, "target.local.url").value, json!("file:elsewhere"));
    let path = one(&plan, "step.capture.source.config.path");
    assert_eq!(path.value, json!("/a b"));
    assert_eq!(path.template.as_deref(), Some("{{path.config}}"));
}

#[test]
fn a_step_may_be_called_like_an_operator() {
    let project = Project::new(
        &[("id = \"pack\"", "id = \"append\"")],
        &[],
        &[("", "[pipeline.backup.step.append]\nlevel = 7\n")],
    );
    let plan = plan(&project.request("backup"));
    assert_eq!(one(&plan, "step.append.level").value, json!(7));
}

#[test]
fn an_overlay_may_say_again_what_the_type_is() {
    let project = Project::new(
        &[],
        &[],
        &[("", "[pipeline.backup.step.pack]\ntype = \"compress\"\nlevel = 7\n")],
    );
    let plan = plan(&project.request("backup"));
    assert_eq!(one(&plan, "step.pack.level").value, json!(7));
}

#[test]
fn a_reference_to_a_secret_is_replaced_whole_and_what_it_replaced_is_not_shown() {
    let project = Project::new(
        &[(
            "sources = [\"config\"]",
            "sources = [\"config\"]\nvalues = [{ secret = \"ONE\" }]",
        )],
        &[],
        &[("", "[pipeline.backup.step.scrub]\nvalues = [{ file = \"/run/two\" }]\n")],
    );
    let plan = plan(&project.request("backup"));
    let values = one(&plan, "step.scrub.values");
    assert_eq!(values.value, json!([{ "file": "/run/two" }]));
    assert_eq!(values.replaced[0].value, json!("***"));
}

#[test]
fn a_literal_secret_that_a_later_layer_replaced_is_not_shown_either() {
    let project = Project::new(
        &[(
            "sources = [\"config\"]",
            "sources = [\"config\"]\nvalues = [\"planted-in-plain\"]",
        )],
        &[],
        &[("", "[pipeline.backup.step.scrub]\nvalues = [{ secret = \"ONE\" }]\n")],
    );
    let plan = plan(&project.request("backup"));
    let told = serde_json::to_string(&plan.explain(None)).unwrap();
    assert!(!told.contains("planted"), "{told}");
}

/// What a layer may say of each of four keys.
#[derive(Clone, Debug)]
struct Says {
    level: Option<u8>,
    require: Option<u8>,
    exclude: Option<Vec<u8>>,
    append: bool,
}

fn says() -> impl Strategy<Value = Says> {
    let list = proptest::option::of(proptest::collection::vec(0..9u8, 0..3));
    (
        proptest::option::of(1..20u8),
        proptest::option::of(1..2u8),
        list,
        any::<bool>(),
    )
        .prop_map(|(level, require, exclude, append)| Says {
            level,
            require,
            exclude,
            append,
        })
}

fn globs(list: &[u8]) -> Vec<String> {
    list.iter().map(|number| format!("*.{number}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_last_layer_that_says_something_wins_value_by_value(overlay in says(), sets in proptest::collection::vec(says(), 0..3)) {
        let mut parts: Vec<String> = Vec::new();
        let toml = |list: &[u8], append: bool| {
            let list = format!("{:?}", globs(list));
            if append { format!("{{ append = {list} }}") } else { list }
        };
        let mut expected = (json!(3), Value::Null, vec![".env*".to_owned()]);
        let mut layer = Layer::Pipeline;
        let mut apply = |says: &Says, own: Layer| {
            if let Some(level) = says.level {
                expected.0 = json!(level);
                layer = own;
            }
            if let Some(require) = says.require {
                expected.1 = json!(require);
            }
            if let Some(list) = &says.exclude {
                if !says.append {
                    expected.2.clear();
                }
                expected.2.extend(globs(list));
            }
        };
        apply(&overlay, Layer::Environment);
        if let Some(level) = overlay.level {
            parts.push(format!("[pipeline.backup.step.pack]\nlevel = {level}\n"));
        }
        if let Some(require) = overlay.require {
            parts.push(format!("[pipeline.backup.step.store]\nrequire = {require}\n"));
        }
        if let Some(list) = &overlay.exclude {
            parts.push(format!("[pipeline.backup.step.capture.source.config]\nexclude = {}\n", toml(list, overlay.append)));
        }
        let mut project = Project::new(&[], &[], &[]);
        let environment = format!("{}{}", super::project::ENVIRONMENT, parts.concat());
        project.write("pipelines/environments/test.toml", &environment);
        let mut request = project.request("backup");
        for says in &sets {
            apply(says, Layer::Set);
            request.sets.extend(says.level.map(|level| format!("step.pack.level={level}")));
            request.sets.extend(says.require.map(|require| format!("step.store.require={require}")));
            let list = says.exclude.as_ref().map(|list| toml(list, says.append));
            request.sets.extend(list.map(|list| format!("step.capture.source.config.exclude={list}")));
        }
        let plan = plan(&request);
        let level = one(&plan, "step.pack.level");
        prop_assert_eq!((&level.value, level.layer), (&expected.0, layer));
        let require = plan.explain(Some("step.store.require")).first().map_or(Value::Null, |told| told.value.clone());
        prop_assert_eq!(require, expected.1);
        prop_assert_eq!(&one(&plan, "step.capture.source.config.exclude").value, &json!(expected.2));
    }
}
