//! `kfctl up`: starts the platform here, or in the background, and shows how far it is.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::cli::{Global, Up};
use crate::config::Config;
use crate::instance::{DataFolder, Record};
use crate::progress::Progress;
use crate::readiness::Board;
use crate::{control, lifecycle, logging, platform, serve, service_unit, text, user_kubeconfig};

/// How long the background process may take to open its control socket.
const PATIENCE: Duration = Duration::from_secs(30);
/// Set for the background process: its output is a log file, not a person.
const BACKGROUND: &str = "FERROFLOW_BACKGROUND";

/// Starts the platform.
pub fn run(global: &Global, args: &Up) -> Result<()> {
    let config = merged(platform::config(global)?, args);
    config.validate()?;
    let data = DataFolder::new(config.data_dir()?);
    data.create()?;
    if let Some(record) = data.living()? {
        println!(
            "already running (process {}) on {}",
            record.pid,
            data.path().display()
        );
        print_next(&data, &record);
        return Ok(());
    }
    if args.install_service {
        service_unit::install(&data)?;
        return platform::block_on(follow(&data, None, args));
    }
    if args.detach {
        return detach(&data, args);
    }
    foreground(config, data, args)
}

fn merged(mut config: Config, args: &Up) -> Config {
    config.console.port = args.port.unwrap_or(config.console.port);
    config.api.port = args.api_port.unwrap_or(config.api.port);
    config.api.durability = args.durability.unwrap_or(config.api.durability);
    config.node.gpu_fallback = args.gpu_fallback.unwrap_or(config.node.gpu_fallback);
    config.node.memory_fallback = args.memory_fallback.unwrap_or(config.node.memory_fallback);
    config
        .node
        .host_paths
        .extend(args.allow_host_paths.iter().cloned());
    config.node.allow_host_processes |= args.allow_host_processes;
    config
}

fn foreground(config: Config, data: DataFolder, args: &Up) -> Result<()> {
    let Some(_lock) = data.lock()? else {
        bail!(
            "another kfctl up began on {} at this moment",
            data.path().display()
        )
    };
    logging::start(&data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        lifecycle::watch_signals(stop.clone()).context("listen for signals")?;
        let board = Board::new(&serve::PARTS);
        let shown = tokio::spawn(show(board.subscribe(), data.clone(), args.clone()));
        let served = serve::run(
            serve::Options {
                config,
                data,
                bare: args.bare,
            },
            board,
            stop,
        )
        .await;
        shown.abort();
        match &served {
            Ok(()) if std::env::var_os(BACKGROUND).is_none() => println!("stopped"),
            Ok(()) => {}
            Err(error) => tracing::error!(error = format!("{error:#}"), "the platform stopped"),
        }
        served
    })
}

async fn show(
    mut reports: tokio::sync::watch::Receiver<crate::readiness::Report>,
    data: DataFolder,
    args: Up,
) {
    if std::env::var_os(BACKGROUND).is_some() {
        return;
    }
    let mut progress = Progress::new();
    loop {
        let report = reports.borrow_and_update().clone();
        progress.show(&report);
        if report.done {
            break;
        }
        if reports.changed().await.is_err() {
            return;
        }
    }
    if let Err(error) = greet(&data, &args) {
        eprintln!("error: {}", text::sentence(&error));
    }
    println!("\nCtrl-C stops it.");
}

fn detach(data: &DataFolder, args: &Up) -> Result<()> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(data.log())
        .with_context(|| format!("open {}", data.log().display()))?;
    let size = log.metadata().map_or(0, |metadata| metadata.len());
    let mut command =
        Command::new(std::env::current_exe().context("find this program's own file")?);
    command
        .args(
            std::env::args_os()
                .skip(1)
                .filter(|argument| argument != "--detach" && argument != "--export-kubeconfig"),
        )
        .env(BACKGROUND, "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // SAFETY: setsid is async-signal-safe and touches nothing of this process.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into));
    }
    let child = command
        .spawn()
        .context("start the platform in the background")?;
    platform::block_on(follow(data, Some((child, size)), args))
}

/// Shows the progress of a server in another process until it is ready.
async fn follow(
    data: &DataFolder,
    mut child: Option<(std::process::Child, u64)>,
    args: &Up,
) -> Result<()> {
    let client = control::Client::new(data.clone());
    let asked = Instant::now();
    let mut reports = loop {
        if let Some((child, log_start)) = &mut child
            && let Some(status) = child.try_wait()?
        {
            return Err(why_it_ended(data, *log_start, status));
        }
        if data.living()?.is_some()
            && let Ok(reports) = client.progress().await
        {
            break Box::pin(reports);
        }
        if asked.elapsed() > PATIENCE {
            bail!(
                "the platform did not start within {} s; its log is {}",
                PATIENCE.as_secs(),
                data.log().display()
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let mut progress = Progress::new();
    let mut done = false;
    while let Some(report) = reports.next().await {
        // A broken stream is a server that ended; its log says why.
        let Ok(report) = report else { break };
        progress.show(&report);
        done = report.done;
    }
    if !done {
        let (log_start, status) = match &mut child {
            Some((child, log_start)) => (*log_start, child.wait()?),
            None => (0, std::process::ExitStatus::default()),
        };
        return Err(why_it_ended(data, log_start, status));
    }
    greet(data, args)
}

fn why_it_ended(
    data: &DataFolder,
    log_start: u64,
    status: std::process::ExitStatus,
) -> anyhow::Error {
    let log = std::fs::read(data.log()).unwrap_or_default();
    let new = String::from_utf8_lossy(
        log.get(usize::try_from(log_start).unwrap_or(0)..)
            .unwrap_or_default(),
    )
    .into_owned();
    let said = new.lines().rev().find_map(|line| {
        console_term::strip_ansi_codes(line)
            .strip_prefix("error: ")
            .map(str::to_owned)
    });
    match said {
        Some(said) => anyhow!(said),
        None => anyhow!(
            "the platform ended with {status}; its log is {}",
            data.log().display()
        ),
    }
}

fn greet(data: &DataFolder, args: &Up) -> Result<()> {
    let record = data.require_living()?;
    print_next(data, &record);
    if args.export_kubeconfig {
        let path = user_kubeconfig::merge(&data.kubeconfig())?;
        println!("context  ferroflow added to {}", path.display());
    }
    Ok(())
}

fn print_next(data: &DataFolder, record: &Record) {
    println!();
    println!("console  http://127.0.0.1:{}", record.console_port);
    let kubeconfig = data.kubeconfig().display().to_string();
    println!(
        "kubectl  export KUBECONFIG={}",
        shell_words::quote(&kubeconfig)
    );
    println!("next     kfctl run FILE.py --follow   run a pipeline");
    println!("         kfctl status                 what runs");
    println!("         kfctl down                   stop");
    println!(
        "absent   Katib, KServe, training jobs, notebooks, recurring runs, the v1 API: not in this version"
    );
}
