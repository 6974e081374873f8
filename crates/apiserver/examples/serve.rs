//! An API server alone, for trying clients against: `serve FOLDER [ADDRESS]` writes `FOLDER/kubeconfig`.

use std::net::TcpListener;

use anyhow::Context as _;
use apiserver::{ApiServer, Config};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = std::path::PathBuf::from(args.next().context("the folder for data is missing")?);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let listener =
        TcpListener::bind(&address).with_context(|| format!("listening on {address}"))?;
    let address = listener.local_addr()?;
    let begun = std::time::Instant::now();
    let server = ApiServer::open(Config {
        advertise: address,
        ..Config::at(&folder)
    })
    .await?;
    let kubeconfig = folder.join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        server.kubeconfig(&format!("https://{address}"))?,
    )?;
    println!(
        "ready after {} ms: export KUBECONFIG={}",
        begun.elapsed().as_millis(),
        kubeconfig.display()
    );
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    });
    server.serve(listener, shutdown).await?;
    server.close().await;
    Ok(())
}
