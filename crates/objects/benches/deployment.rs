//! What one write of a Deployment costs: schema work, ownership, patches. `cargo bench -p objects`.

use std::sync::LazyLock;

use divan::{Bencher, black_box};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::schemars::generate::SchemaSettings;
use objects::schema::Definitions;
use objects::{Quantity, Schema, apply, patch};
use serde_json::{Value, json};

const NOW: &str = "2026-01-01T00:00:00Z";

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let mut generator = SchemaSettings::openapi3()
        .with(|settings| settings.transforms.clear())
        .into_generator();
    let _ = generator.subschema_for::<Deployment>();
    let mut definitions = generator.take_definitions(false);
    objects::builtin::annotate_all(&mut definitions);
    let definitions =
        Definitions::from_openapi(&definitions).expect("published types are readable");
    definitions
        .schema("io.k8s.api.apps.v1.Deployment")
        .expect("a Deployment was asked for")
});

fn deployment() -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": format!("{name}:1"), "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}],
            "env": (0..10).map(|index| json!({"name": format!("VAR_{index}"), "value": "x"})).collect::<Vec<_>>(),
            "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10},
        })
    };
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}, "annotations": {"a": "b"}},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container("web"), container("side")], "volumes": [{"name": "data", "emptyDir": {}}]},
            },
        },
    })
}

fn live() -> Value {
    apply::apply(None, &deployment(), "bench", "", false, &SCHEMA, NOW)
        .expect("a first apply has no conflicts")
}

fn scaled() -> Value {
    let mut object = live();
    object["spec"]["replicas"] = json!(5);
    object
}

#[divan::bench]
fn read_the_schema(bencher: Bencher) {
    let document = SCHEMA.to_openapi();
    bencher.bench(|| black_box(&document).to_string().len());
}

#[divan::bench]
fn validate(bencher: Bencher) {
    let object = live();
    bencher.bench(|| SCHEMA.validate(black_box(&object), None));
}

#[divan::bench]
fn validate_an_update(bencher: Bencher) {
    let (old, new) = (live(), scaled());
    bencher.bench(|| SCHEMA.validate(black_box(&new), Some(&old)));
}

#[divan::bench]
fn find_unknown_fields(bencher: Bencher) {
    let object = live();
    bencher.bench(|| SCHEMA.unknown_fields(black_box(&object)));
}

#[divan::bench]
fn fill_in_defaults(bencher: Bencher) {
    bencher
        .with_inputs(live)
        .bench_refs(|object| SCHEMA.default(object));
}

#[divan::bench]
fn apply_without_a_change(bencher: Bencher) {
    let (live, applied) = (live(), deployment());
    bencher.bench(|| {
        apply::apply(
            Some(&live),
            black_box(&applied),
            "bench",
            "",
            false,
            &SCHEMA,
            NOW,
        )
        .is_ok()
    });
}

#[divan::bench]
fn apply_with_a_change(bencher: Bencher) {
    let live = live();
    let mut applied = deployment();
    applied["spec"]["replicas"] = json!(5);
    bencher.bench(|| {
        apply::apply(
            Some(&live),
            black_box(&applied),
            "bench",
            "",
            false,
            &SCHEMA,
            NOW,
        )
        .is_ok()
    });
}

#[divan::bench]
fn track_an_update(bencher: Bencher) {
    let old = live();
    bencher
        .with_inputs(scaled)
        .bench_refs(|new| apply::track_update(Some(&old), new, "other", "", &SCHEMA, NOW));
}

#[divan::bench]
fn patch_strategically(bencher: Bencher) {
    let changes = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}});
    bencher
        .with_inputs(live)
        .bench_refs(|object| patch::strategic(object, black_box(&changes), &SCHEMA).is_ok());
}

#[divan::bench]
fn clone_for_comparison(bencher: Bencher) {
    let object = live();
    bencher.bench(|| black_box(&object).clone());
}

#[divan::bench]
fn parse_a_quantity() -> Option<Quantity> {
    black_box("1536Mi").parse().ok()
}

fn main() {
    divan::main();
}
