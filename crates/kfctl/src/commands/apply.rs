//! `kfctl apply`: brings a cluster to what the KfDef says, and waits until it runs. Applying again changes nothing; an
//! interrupted one goes on where it was.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::future::join_all;
use install::apply::{Conflicts, Outcome};
use install::apply_set::ApplySet;
use install::preflight::{self, Verdict};
use install::record::{self, Part};
use install::wait::Progress as Rollout;
use serde_json::Value;

use super::{check, upgrade};
use crate::cli::Global;
use crate::cli_cluster::Apply;
use crate::cluster::{self, Cluster};
use crate::kfdef_folder::KfDefFolder;
use crate::platform;
use crate::progress::Progress;
use crate::readiness::{Board, State};

/// How long an answer that may become better is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Applies.
pub fn run(global: &Global, args: &Apply) -> Result<()> {
    platform::block_on(apply(global, args))
}

async fn apply(global: &Global, args: &Apply) -> Result<()> {
    if let Some(wanted) = &args.version {
        upgrade::is_ours(wanted)?;
    }
    let mut opened = KfDefFolder::open(&args.file.file).await?;
    if let Some(note) = &opened.note {
        eprintln!("{note}");
    }
    opened.add(args.extra)?;
    for warning in opened.generate()? {
        eprintln!("warning: {warning}");
    }
    let mut objects = opened.objects()?;
    if objects.is_empty() {
        bail!(
            "{} names no application that this version has",
            opened.file.display()
        );
    }
    let cluster = args.target.cluster().await?;
    confirm(global, args, &cluster)?;
    let installed = record::installed(&cluster.client, Part::Platform)
        .await
        .map_err(|error| match error {
            install::Error::Record(error) => cluster::refusal(&cluster, &error),
            other => other.into(),
        })?;
    if installed.is_some() {
        bail!(
            "nothing was changed: `kfctl up` keeps the platform of this cluster, and installs it by itself; for an empty one start: kfctl up --bare --data-dir FOLDER"
        );
    }
    let findings = preflight::check(&cluster.client, &objects)
        .await
        .map_err(|error| cluster::refusal(&cluster, &error))?;
    check::print(&findings, args.file.verbose);
    let failed = findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Failure);
    if failed && !args.ignore_checks {
        bail!(
            "nothing was changed: a check failed; mend it, or go on all the same with --ignore-checks"
        );
    }

    let set = ApplySet::new(opened.kfdef.name(), "kubeflow");
    let before = set
        .version(&cluster.client)
        .await
        .context("read which version is installed")?;
    if let Some(before) = before
        && let Some(note) = upgrade::from(&before, args.version.is_some())?
    {
        println!("{note}");
    }
    for object in &mut objects {
        set.adopt(object);
    }
    let applied = apply_all(&cluster, args, &set, &objects).await?;
    println!("{applied}");
    if !applied.conflicts.is_empty() {
        for conflict in &applied.conflicts {
            eprintln!("conflict: {conflict}");
        }
        bail!(
            "{} of {} objects were not applied: somebody else owns fields of them, as listed above; take them with --force-conflicts",
            applied.conflicts.len(),
            objects.len()
        );
    }
    let waited = wait(&cluster, &objects, args.timeout).await;
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let message = waited
        .as_ref()
        .err()
        .map(ToString::to_string)
        .unwrap_or_default();
    opened
        .kfdef
        .record(&cluster.name, waited.is_ok(), &message, &now);
    opened.save()?;
    waited?;
    println!("Applied the configuration Successfully!");
    greet(&cluster, &objects).await;
    Ok(())
}

/// Says which context is about to change, and asks where a person is there to answer.
fn confirm(global: &Global, args: &Apply, cluster: &Cluster) -> Result<()> {
    println!("context  {} ({})", cluster.context, cluster.server());
    let is_ours = platform::data(global).is_ok_and(|data| cluster.is_ours(&data.kubeconfig()));
    if args.yes || is_ours || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    if super::ask("Install there?")? {
        return Ok(());
    }
    bail!("nothing was changed; choose another cluster with --context NAME")
}

/// What applying did.
#[derive(Default)]
struct Applied {
    counts: BTreeMap<&'static str, usize>,
    pruned: Vec<String>,
    conflicts: Vec<String>,
}

impl std::fmt::Display for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |name| self.counts.get(name).copied().unwrap_or(0);
        let (created, configured, unchanged) =
            (count("created"), count("configured"), count("unchanged"));
        if created + configured + self.pruned.len() + self.conflicts.len() == 0 {
            return write!(f, "nothing changed: {unchanged} objects are as wanted");
        }
        write!(
            f,
            "{created} created, {configured} configured, {unchanged} unchanged, {} pruned",
            self.pruned.len()
        )
    }
}

/// Namespaces first, then the set's own object, then everything else; last, what is wanted no more goes.
async fn apply_all(
    cluster: &Cluster,
    args: &Apply,
    set: &ApplySet,
    objects: &[Value],
) -> Result<Applied> {
    let mut applied = Applied::default();
    let (namespaces, others): (Vec<&Value>, Vec<&Value>) = objects
        .iter()
        .partition(|object| object["kind"] == "Namespace");
    for object in namespaces {
        one(cluster, args, object, &mut applied).await?;
    }
    set.begin(&cluster.client, objects)
        .await
        .context("record what is being installed")?;
    for object in others {
        one(cluster, args, object, &mut applied).await?;
    }
    // With conflicts open nothing is taken away.
    if applied.conflicts.is_empty() {
        applied.pruned = set
            .prune(&cluster.client, objects)
            .await
            .context("remove what is no longer wanted")?;
        for name in &applied.pruned {
            println!("{name} pruned");
        }
    }
    Ok(applied)
}

async fn one(cluster: &Cluster, args: &Apply, object: &Value, applied: &mut Applied) -> Result<()> {
    let conflicts = if args.force_conflicts {
        Conflicts::Force
    } else {
        Conflicts::Refuse
    };
    let name = install::apply::short_name(object);
    let started = Instant::now();
    let mut pause = Duration::from_secs(1);
    let outcome = loop {
        match install::apply::apply(&cluster.client, object, conflicts).await {
            Ok(outcome) => break outcome,
            Err(error @ install::Error::Conflict { .. }) => {
                applied.conflicts.push(error.to_string());
                return Ok(());
            }
            Err(error) if started.elapsed() < PATIENCE && may_become_better(&error) => {
                println!("{name} waits: {}", crate::text::sentence(&error.into()));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(15));
            }
            Err(error) => {
                let done: usize = applied.counts.values().sum();
                return Err(error).context(format!(
                    "{done} objects were applied, then it stopped; run the same command again to go on"
                ));
            }
        }
    };
    let word = match outcome {
        Outcome::Created => "created",
        Outcome::Configured => "configured",
        Outcome::Unchanged => "unchanged",
    };
    *applied.counts.entry(word).or_default() += 1;
    if outcome != Outcome::Unchanged || args.file.verbose {
        println!("{name} {word}");
    }
    Ok(())
}

/// A kind whose definition has just been made, a server that is busy or away for a moment.
fn may_become_better(error: &install::Error) -> bool {
    let install::Error::Apply { source, .. } = error else {
        return false;
    };
    match &**source {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        kube::Error::Discovery(_) | kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        _ => false,
    }
}

/// Shows how far each component is until all are ready.
async fn wait(cluster: &Cluster, objects: &[Value], patience: Duration) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let deployments: Vec<(String, String)> = objects
        .iter()
        .filter(|object| object["kind"] == "Deployment")
        .map(|object| {
            (
                text(&object["metadata"]["namespace"]),
                text(&object["metadata"]["name"]),
            )
        })
        .collect();
    let names: Vec<&str> = deployments.iter().map(|(_, name)| name.as_str()).collect();
    let board = Board::new(&names);
    let mut shown = Progress::new();
    let is_live = std::io::stdout().is_terminal();
    let mut reports = board.subscribe();
    let rollouts = join_all(deployments.iter().map(|(namespace, name)| {
        let board = &board;
        async move {
            let report = |progress| match progress {
                Rollout::Waiting(what) => {
                    if !is_live {
                        println!("{name:<22} waits for {what}");
                    }
                    board.starting(name, format!("waits for {what}"));
                }
                Rollout::Troubled(cause) => {
                    if !is_live {
                        println!("{name:<22} {cause}");
                    }
                    board.troubled(name, cause);
                }
                Rollout::Ready => board.ready(name, ""),
            };
            install::rollout::until_done(&cluster.client, namespace, name, &report).await;
        }
    }));
    let rollouts = async {
        let ended = tokio::time::timeout(patience, rollouts).await;
        board.finish();
        ended
    };
    let show = async {
        loop {
            let report = reports.borrow_and_update().clone();
            shown.show(&report);
            if report.done || reports.changed().await.is_err() {
                return report;
            }
        }
    };
    let (ended, report) = tokio::join!(rollouts, show);
    if ended.is_ok() {
        return Ok(());
    }
    let late: Vec<String> = report
        .parts
        .iter()
        .filter_map(|part| match &part.state {
            State::Ready { .. } => None,
            State::Starting { doing } => Some(format!("{} {doing}", part.name)),
            State::Troubled { cause } => Some(format!("{}: {cause}", part.name)),
            _ => Some(format!("{} has not begun", part.name)),
        })
        .collect();
    bail!(
        "not ready after {} s: {}; everything is applied, and the same command goes on waiting",
        patience.as_secs(),
        late.join("; ")
    )
}

/// What a person does next.
async fn greet(cluster: &Cluster, objects: &[Value]) {
    let has = |name: &str| {
        objects
            .iter()
            .any(|object| object["kind"] == "Deployment" && object["metadata"]["name"] == name)
    };
    if has("istio-ingressgateway") {
        println!(
            "console  kubectl port-forward -n istio-system svc/istio-ingressgateway 8080:80   then http://localhost:8080"
        );
    }
    if has("dashboard") {
        use k8s_openapi::api::core::v1::Secret;
        let secret = kube::Api::<Secret>::namespaced(cluster.client.clone(), "kubeflow");
        match secret.get_metadata_opt(console::accounts::INITIAL).await {
            Ok(Some(_)) => println!(
                "sign in  as {}; its first password is in the Secret {}:\n         kubectl get secret -n kubeflow {} -o jsonpath='{{.data.password}}' | base64 -d",
                console::accounts::ADMIN,
                console::accounts::INITIAL,
                console::accounts::INITIAL
            ),
            _ => println!(
                "sign in  as {}, with the password that you chose",
                console::accounts::ADMIN
            ),
        }
    }
}
