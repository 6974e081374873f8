//! Serves the pipelines API on loopback with steps as plain processes of this machine, for trying SDKs against it without a
//! cluster: `cargo run -p pipelines --example local_server -- DATA_FOLDER PORT LAUNCHER`. Steps get neither image nor
//! sandbox, so this is no way to run what you do not trust.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use artifacts::{LocalStore, Stores};
use pipelines::api::{AccessPolicy, Api, Caller};
use pipelines::engine::{
    self, Act, Memory, Outcome, Policy, Report, Reports, Runner, What, step::Step,
};
use pipelines::store::Store;
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

struct Processes {
    reports: Reports,
    launcher: PathBuf,
    folder: PathBuf,
    running: Arc<Mutex<HashMap<String, tokio::sync::oneshot::Sender<()>>>>,
}

impl Runner for Processes {
    fn act(&self, act: Act) {
        match act {
            Act::Launch(step) => {
                let (stop, stopped) = tokio::sync::oneshot::channel();
                self.running
                    .lock()
                    .unwrap()
                    .insert(step.pod_name.clone(), stop);
                let (reports, launcher, folder) = (
                    self.reports.clone(),
                    self.launcher.clone(),
                    self.folder.clone(),
                );
                tokio::spawn(async move {
                    let send = |what| {
                        reports.send(Report {
                            run_id: step.run_id.clone(),
                            task_id: step.task_id.clone(),
                            attempt: step.attempt,
                            pod: step.pod_name.clone(),
                            what,
                        })
                    };
                    send(What::Started {
                        pod_uid: "process".into(),
                    });
                    let outcome = run(&step, launcher, folder, stopped).await;
                    send(What::Ended(outcome));
                });
            }
            Act::Stop { pod, .. } => {
                if let Some(stop) = self.running.lock().unwrap().remove(&pod) {
                    let _ = stop.send(());
                }
            }
            Act::Recorded { .. } | Act::Finished { .. } | Act::Deleted { .. } => {}
        }
    }
}

async fn run(
    step: &Step,
    launcher: PathBuf,
    folder: PathBuf,
    stopped: tokio::sync::oneshot::Receiver<()>,
) -> Outcome {
    // Steps share this machine's files, so each gets its outputs in a folder of its own instead of the pod's.
    let private = folder.join(&step.pod_name).display().to_string();
    let here = |text: &str| text.replace("/kfp-launcher/outputs", &private);
    let spec = serde_json::from_str::<launcher::Step>(&here(
        &serde_json::to_string(&step.launcher).unwrap(),
    ))
    .unwrap();
    std::fs::create_dir_all(&private).unwrap();
    let file = format!("{private}/step.json");
    std::fs::write(&file, serde_json::to_vec(&spec).unwrap()).unwrap();
    let mut command = tokio::process::Command::new(launcher);
    command
        .args(["--step", &file, "--"])
        .args(step.command.iter().chain(&step.args).map(|text| here(text)));
    command
        .envs(step.env.iter().map(|(name, value)| (name, here(value))))
        .env("KFP_RETRY_INDEX", step.retry_index.to_string());
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let output = tokio::select! {
        output = child.wait_with_output() => output.unwrap(),
        Ok(()) = stopped => return Outcome::Failed { exit_code: Some(143), message: "stopped".into(), log: None },
    };
    if std::env::var_os("SHOW").is_some() || !output.status.success() {
        eprintln!(
            "{}: {}{}",
            step.display_name,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let report: Option<launcher::Report> = std::fs::read(&spec.report)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    match report {
        Some(report) if report.succeeded() => Outcome::Succeeded {
            report: Box::new(report),
            log: None,
        },
        _ => {
            let tail: Vec<String> = String::from_utf8_lossy(&output.stderr)
                .lines()
                .rev()
                .take(3)
                .map(str::to_owned)
                .collect();
            Outcome::Failed {
                exit_code: output.status.code(),
                message: format!(
                    "exited with code {}: {}",
                    output.status.code().unwrap_or(-1),
                    tail.join(" | ")
                ),
                log: None,
            }
        }
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(port), Some(launcher)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: local_server DATA_FOLDER PORT LAUNCHER");
        return;
    };
    let folder = PathBuf::from(folder);
    let store = Store::open(&folder.join("pipelines.db")).unwrap();
    let stores = Stores::local(LocalStore::open(folder.join("artifacts")).unwrap());
    let lease = engine::take_lease(&store, "local").await.unwrap();
    let (engine, reports, mut inbox) = engine::channel();
    let runner = Processes {
        reports,
        launcher: launcher.into(),
        folder: folder.join("steps"),
        running: Arc::default(),
    };
    let policy = Policy {
        default_root: folder.join("artifacts/v2").display().to_string(),
        ..Policy::default()
    };
    let memory = Memory {
        store: Arc::clone(&store),
        lease,
        stores: stores.clone(),
    };
    let running = engine.clone();
    let work = tokio::spawn(async move {
        let (runner, stop) = (Arc::new(runner), CancellationToken::new());
        engine::run(running, &mut inbox, memory, policy, runner, stop).await
    });
    let access = AccessPolicy::Fixed(Caller {
        user: "local".into(),
        groups: vec![],
        uid: String::new(),
        pod: None,
    });
    let api = Arc::new(Api {
        store,
        engine,
        stores,
        access,
        namespace: "kubeflow".into(),
        service_account: "pipeline-runner".into(),
        client: None,
        allows_private_urls: true,
        steps: pipelines::api::step::Running::default(),
    });
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    let service = tower::util::MapRequestLayer::new(pipelines::api::router::plain_path)
        .layer(pipelines::api::router(api));
    let serve = axum::serve(listener, tower::make::Shared::new(service));
    tokio::select! {
        result = serve => result.unwrap(),
        result = work => eprintln!("the engine ended: {result:?}"),
    }
}
