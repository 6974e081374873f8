//! What holds for every object: applying, merging and pruning checked on random ones.

use objects::Schema;
use objects::apply::{self, apply};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NOW: &str = "2026-01-01T00:00:00Z";
const LATER: &str = "2026-01-02T00:00:00Z";

/// A schema with every way of merging.
fn schema() -> Schema {
    let item = json!({"type": "object", "required": ["k"], "properties": {
        "k": {"type": "string"}, "v": {"type": "integer"}, "labels": {"type": "object", "additionalProperties": {"type": "string"}}}});
    Schema::custom_resource(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "n": {"type": "integer"},
        "struct": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "whole": {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic"},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "list": {"type": "array", "items": {"type": "string"}},
        "keyed": {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}}}))
    .unwrap()
}

fn texts() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-c]", "[x-z]", 0..3).prop_map(|map| json!(map))
}

fn keyed() -> impl Strategy<Value = Value> {
    let item = (prop::option::of(0..3i64), prop::option::of(texts()));
    prop::collection::btree_map("[a-d]", item, 0..4).prop_shuffle_values()
}

trait ShuffledItems {
    fn prop_shuffle_values(self) -> BoxedStrategy<Value>;
}

impl<S> ShuffledItems for S
where
    S: Strategy<Value = std::collections::BTreeMap<String, (Option<i64>, Option<Value>)>> + 'static,
{
    fn prop_shuffle_values(self) -> BoxedStrategy<Value> {
        self.prop_map(|items| items.into_iter().collect::<Vec<_>>())
            .prop_shuffle()
            .prop_map(|items| {
                let items = items.into_iter().map(|(key, (number, labels))| {
                    let mut item = Map::from_iter([("k".to_owned(), json!(key))]);
                    item.extend(number.map(|number| ("v".to_owned(), json!(number))));
                    item.extend(labels.map(|labels| ("labels".to_owned(), labels)));
                    Value::Object(item)
                });
                items.collect()
            })
            .boxed()
    }
}

/// A configuration: any of the fields of the schema.
fn configuration() -> impl Strategy<Value = Value> {
    let set = prop::collection::btree_set("[a-d]", 0..4).prop_map(|set| json!(set));
    let list = prop::collection::vec("[a-d]", 0..3).prop_map(|list| json!(list));
    let pair = (prop::option::of(0..3i64), prop::option::of(0..3i64)).prop_map(|(a, b)| {
        let fields = [("a", a), ("b", b)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
        Value::Object(fields.collect())
    });
    let number = (0..3i64).prop_map(|number| json!(number));
    let some = prop::option::of::<BoxedStrategy<Value>>;
    (
        some(number.boxed()),
        some(pair.boxed()),
        some(texts().boxed()),
        some(texts().boxed()),
        some(set.boxed()),
        some(list.boxed()),
        some(keyed().boxed()),
        some(texts().boxed()),
    )
        .prop_map(|(n, pair, map, whole, set, list, keyed, free)| {
            let fields = [
                ("n", n),
                ("struct", pair),
                ("map", map),
                ("whole", whole),
                ("set", set),
                ("list", list),
                ("keyed", keyed),
                ("free", free),
            ];
            let spec: Map<String, Value> = fields
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect();
            json!({"apiVersion": "a.io/v1", "kind": "A", "metadata": {"name": "a"}, "spec": spec})
        })
}

fn nothing() -> Value {
    json!({"apiVersion": "a.io/v1", "kind": "A", "metadata": {"name": "a"}})
}

fn forced(live: Option<&Value>, configuration: &Value, manager: &str) -> Value {
    apply(live, configuration, manager, "", true, &schema(), NOW).unwrap()
}

fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    objects::meta::remove(&mut object, "managedFields");
    object
}

/// Whether everything the configuration says stands in the object.
fn says(object: &Value, configuration: &Value) -> bool {
    match (object, configuration) {
        (Value::Object(object), Value::Object(configuration)) => configuration
            .iter()
            .all(|(name, value)| object.get(name).is_some_and(|found| says(found, value))),
        (Value::Array(object), Value::Array(configuration)) => configuration
            .iter()
            .all(|value| object.iter().any(|found| says(found, value))),
        (object, configuration) => object == configuration,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn applying_twice_is_applying_once(first in configuration(), second in configuration()) {
        let live = forced(None, &first, "one");
        let once = forced(Some(&live), &second, "two");
        let twice = apply(Some(&once), &second, "two", "", false, &schema(), LATER).unwrap();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn what_was_applied_is_there(first in configuration(), second in configuration()) {
        let live = forced(None, &first, "one");
        let object = forced(Some(&live), &second, "two");
        prop_assert!(says(&object, &second), "{} {}", object, second);
    }

    #[test]
    fn a_sole_applier_gets_exactly_what_it_applies(first in configuration(), second in configuration()) {
        let live = forced(None, &first, "one");
        let changed = forced(Some(&live), &second, "one");
        let fresh = forced(None, &second, "one");
        prop_assert!(says(&changed, &prune_empties(&second)));
        // Lists may keep an order of their own; what is there must be the same.
        prop_assert!(says(&fresh, &prune_empties(&bare(&changed))), "{} {}", changed, fresh);
    }

    #[test]
    fn applying_nothing_takes_everything_back(first in configuration()) {
        let live = forced(None, &first, "one");
        let object = forced(Some(&live), &nothing(), "one");
        prop_assert_eq!(prune_empties(&bare(&object)), nothing());
    }

    #[test]
    fn who_leaves_takes_nothing_that_others_applied(first in configuration(), second in configuration()) {
        let live = forced(None, &first, "one");
        let both = forced(Some(&live), &second, "two");
        let left = forced(Some(&both), &nothing(), "one");
        prop_assert!(says(&left, &prune_empties(&second)), "{} {}", left, second);
    }

    #[test]
    fn an_update_to_nothing_leaves_no_owner(first in configuration()) {
        let live = forced(None, &first, "one");
        let mut new = nothing();
        apply::track_update(Some(&live), &mut new, "hand", "", &schema(), NOW);
        prop_assert_eq!(new, nothing());
    }

    #[test]
    fn every_field_of_a_written_object_has_an_owner(first in configuration(), second in configuration()) {
        let mut object = first.clone();
        apply::track_update(None, &mut object, "hand", "", &schema(), NOW);
        let mut new = second.clone();
        apply::track_update(Some(&object), &mut new, "other", "", &schema(), LATER);
        // An owned object can be taken over by force, field by field, and is then owned by nobody else.
        let forced = apply(Some(&new), &second, "taker", "", true, &schema(), LATER).unwrap();
        prop_assert_eq!(bare(&forced), bare(&new));
    }

    #[test]
    fn pruning_is_idempotent_and_keeps_what_is_declared(mut object in configuration(), junk in "[p-s]{1,2}") {
        let clean = object.clone();
        object["spec"][&junk] = json!({"deep": 1});
        object[&junk] = json!(1);
        let dropped = schema().prune(&mut object);
        prop_assert_eq!(dropped.len(), 2);
        prop_assert_eq!(&object, &clean);
        prop_assert_eq!(schema().prune(&mut object), Vec::<String>::new());
    }

    #[test]
    fn good_objects_validate_and_defaulting_leaves_them_alone(object in configuration()) {
        prop_assert_eq!(schema().validate(&object, None), vec![]);
        let mut defaulted = object.clone();
        schema().default(&mut defaulted);
        prop_assert_eq!(defaulted, object);
    }
}

/// Without empty maps and lists: whether those stay when their last part goes is a matter of taste.
fn prune_empties(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map
                .iter()
                .map(|(name, value)| (name.clone(), prune_empties(value)));
            Value::Object(kept.filter(|(_, value)| !is_empty(value)).collect())
        }
        Value::Array(items) => items.iter().map(prune_empties).collect(),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Text made of the characters that mean something to a reader.
fn text_of(alphabet: &'static str) -> impl Strategy<Value = String> {
    let characters: Vec<char> = alphabet.chars().collect();
    prop::collection::vec(prop::sample::select(characters), 0..40)
        .prop_map(|text| text.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_a_reader_panic(
        path in text_of("{}[]().,:*?@$'\"\\ ab01-=<>!"),
        selector in text_of("ab/.-_=!<>(),in not"),
        quantity in text_of("0123456789.+-eEinumkKMGTP"),
        yaml in text_of("ab:-?,[]{}&*!|>'\"%#@ \n\t01~<."),
        any in ".{0,40}",
    ) {
        for text in [&path, &any] {
            if let Ok(path) = objects::jsonpath::JsonPath::parse(text) {
                let _ = path.render(&json!({"a": [{"b": 1}, {"b": [0, "a"]}], "b": {"a": null}}));
            }
            let _ = objects::jsonpath::JsonPath::parse_path(text);
        }
        for text in [&selector, &any] {
            if let Ok(read) = objects::selector::LabelSelector::parse(text) {
                prop_assert_eq!(objects::selector::LabelSelector::parse(&read.to_string()), Ok(read));
            }
            if let Ok(read) = objects::selector::FieldSelector::parse(text) {
                prop_assert_eq!(objects::selector::FieldSelector::parse(&read.to_string()), Ok(read));
            }
        }
        for text in [&quantity, &any] {
            if let Ok(read) = objects::Quantity::parse(text) {
                prop_assert_eq!(objects::Quantity::parse(&read.to_string()), Ok(read));
            }
        }
        for text in [&yaml, &any] {
            if let Ok(value) = objects::yaml::parse(text) {
                prop_assert_eq!(objects::yaml::parse(&objects::yaml::write(&value)), Ok(value));
            }
        }
    }
}
