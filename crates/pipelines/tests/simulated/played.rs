//! Plays the components of `tests/pipelines/components.py`: what each would make of its ExecutorInput, without running it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use pipelines::engine::{Act, Outcome, Report, Reports, Runner, What, step::Step};
use serde_json::{Map, Value, json};

/// What was run.
#[derive(Default)]
pub struct Journal {
    /// How often each task (by key) was launched.
    pub launched: Mutex<HashMap<String, usize>>,
    /// Steps that wait to be stopped.
    held: Mutex<HashMap<String, Step>>,
}

impl Journal {
    pub fn total(&self) -> usize {
        self.launched.lock().unwrap().values().sum()
    }
}

pub struct Player {
    pub reports: Reports,
    pub journal: Arc<Journal>,
    pub artifacts: PathBuf,
}

impl Runner for Player {
    fn act(&self, act: Act) {
        match act {
            Act::Launch(step) => {
                *self
                    .journal
                    .launched
                    .lock()
                    .unwrap()
                    .entry(step.task_name.clone())
                    .or_default() += 1;
                self.tell(
                    &step,
                    What::Started {
                        pod_uid: "uid".into(),
                    },
                );
                if step
                    .command
                    .first()
                    .is_some_and(|program| program == "hold")
                {
                    self.journal
                        .held
                        .lock()
                        .unwrap()
                        .insert(step.pod_name.clone(), *step);
                    return;
                }
                let outcome = self.play(&step);
                self.tell(&step, What::Ended(outcome));
            }
            Act::Stop { pod, .. } => {
                if let Some(step) = self.journal.held.lock().unwrap().remove(&pod) {
                    self.tell(
                        &step,
                        What::Ended(Outcome::Failed {
                            exit_code: Some(143),
                            message: "stopped".into(),
                            log: None,
                        }),
                    );
                }
            }
            Act::Recorded { .. } | Act::Deleted { .. } | Act::Finished { .. } => {}
        }
    }
}

impl Player {
    fn tell(&self, step: &Step, what: What) {
        self.reports.send(Report {
            run_id: step.run_id.clone(),
            task_id: step.task_id.clone(),
            attempt: step.attempt,
            pod: step.pod_name.clone(),
            what,
        });
    }

    fn play(&self, step: &Step) -> Outcome {
        let inputs = &step.executor_input["inputs"];
        let given = |name: &str| inputs["parameterValues"][name].clone();
        let number = |name: &str| {
            given(name)
                .as_i64()
                .unwrap_or_else(|| panic!("{name} of {} is {}", step.task_name, given(name)))
        };
        let rows = |name: &str| -> Vec<i64> {
            let list = inputs["artifacts"][name]["artifacts"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            list.iter()
                .map(|artifact| {
                    artifact["metadata"]["rows"]
                        .as_i64()
                        .expect("datasets carry their rows")
                })
                .collect()
        };
        let one = |value: Value| json!({"parameterValues": {"Output": value}});
        let account = match function(step) {
            "add" => one((number("a") + number("b")).into()),
            "square" => one((number("x") * number("x")).into()),
            "numbers" => one((0..number("n")).collect()),
            "records" => one((0..number("n"))
                .map(|i| json!({"a": i, "b": i * 10}))
                .collect()),
            "total" => one(given("xs")
                .as_array()
                .unwrap()
                .iter()
                .map(|x| x.as_i64().unwrap())
                .sum::<i64>()
                .into()),
            "say" => one(given("text")),
            "half" => one((given("x").as_f64().unwrap() / 2.0).into()),
            "negate" => one((!given("flag").as_bool().unwrap()).into()),
            "broken" => {
                return Outcome::Failed {
                    exit_code: Some(1),
                    message: format!("exited with code 1: {}", given("text")),
                    log: None,
                };
            }
            "flaky" if i64::from(step.retry_index) < number("failures") => {
                return Outcome::Failed {
                    exit_code: Some(1),
                    message: "not yet".into(),
                    log: None,
                };
            }
            "flaky" => one(step.retry_index.into()),
            "pair" => {
                json!({"parameterValues": {"smaller": number("x") - 1, "larger": number("x") + 1}})
            }
            "greet" => one(format!(
                "{} {}{}",
                given("greeting").as_str().unwrap(),
                given("name").as_str().unwrap(),
                given("mark").as_str().unwrap_or_default()
            )
            .into()),
            "keys" => one(given("record")
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(",")
                .into()),
            "final_state" => one(given("status")["state"].clone()),
            "make_dataset" => self.make(step, "data", json!({"rows": number("rows")})),
            "count_rows" | "count_all" => one(rows("data").iter().sum::<i64>().into()),
            "train" => {
                let mut account = self.make(step, "model", json!({"framework": "none"}));
                let metrics = metadata_only(
                    step,
                    "metrics",
                    json!({"rows": rows("data")[0], "accuracy": 0.5}),
                );
                account["artifacts"]["metrics"] = metrics;
                account["parameterValues"] = json!({"Output": 0.5});
                account
            }
            "maybe_rows" => one(rows("data").first().copied().unwrap_or(-1).into()),
            "where" => one(inputs["artifacts"]["data"]["artifacts"][0]["uri"].clone()),
            "argostub/createpvc" => json!({"parameterValues": {"name": "claim-1"}}),
            "argostub/deletepvc" => json!({}),
            "shell-copy" => json!({"parameterValues": {"out": step.args[0]}}),
            "shell-echo" => {
                json!({"parameterValues": {"out": step.args.iter().map(|argument| format!("{argument}|")).collect::<String>()}})
            }
            "shell-rows" => json!({"parameterValues": {"out": rows("data")[0]}}),
            "say hello" => json!({}),
            other => panic!("nobody knows how to play {other:?}"),
        };
        let mut report = launcher::Report {
            executor_output: Some(account.clone()),
            ..launcher::Report::default()
        };
        for key in account["artifacts"]
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
        {
            let uri = step.executor_input["outputs"]["artifacts"][key]["artifacts"][0]["uri"]
                .as_str()
                .unwrap();
            if self.file(uri).exists() {
                report.artifacts.insert(
                    key.clone(),
                    launcher::Found {
                        is_directory: false,
                        size_bytes: 4,
                    },
                );
            }
        }
        Outcome::Succeeded {
            report: Box::new(report),
            log: None,
        }
    }

    /// An output artifact with a file.
    fn make(&self, step: &Step, key: &str, metadata: Value) -> Value {
        let artifact = metadata_only(step, key, metadata);
        let file = self.file(artifact["artifacts"][0]["uri"].as_str().unwrap());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "data").unwrap();
        json!({"artifacts": {key: artifact}})
    }

    fn file(&self, uri: &str) -> PathBuf {
        self.artifacts
            .join(uri.strip_prefix("minio://mlpipeline/").unwrap())
    }
}

fn metadata_only(step: &Step, key: &str, metadata: Value) -> Value {
    let planned = &step.executor_input["outputs"]["artifacts"][key]["artifacts"][0];
    json!({"artifacts": [{"name": "", "uri": planned["uri"], "metadata": metadata}]})
}

/// Python components name their function in their arguments; container components are told by their task.
fn function(step: &Step) -> &str {
    if step.image.starts_with("argostub/") {
        return &step.image;
    }
    if let Some(at) = step
        .args
        .iter()
        .position(|argument| argument == "--function_to_execute")
    {
        return &step.args[at + 1];
    }
    if step.command.first().is_some_and(|program| program == "say") {
        return "say hello";
    }
    step.task_name
        .trim_end_matches(char::is_numeric)
        .trim_end_matches('-')
}
