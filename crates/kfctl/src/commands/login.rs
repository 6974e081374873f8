//! `kfctl login`: a one-time address that signs a browser in. Whoever can read the platform's session key can
//! make one, here and on a cluster.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use console::session::{CODE_LIFE, Key, Purpose, SECRET};

use crate::cli::{Global, Login};
use crate::platform;

/// Prints the address.
pub fn run(global: &Global, args: &Login) -> Result<()> {
    let data = platform::data(global)?;
    let record = data.require_living()?;
    let code = platform::block_on(async {
        let client = platform::client(&data).await?;
        let secret = Api::<Secret>::namespaced(client, "kubeflow")
            .get_opt(SECRET)
            .await
            .context("read the session key")?
            .context(
                "the console has not started yet; try again when `kfctl status` shows it ready",
            )?;
        let key = secret
            .data
            .unwrap_or_default()
            .remove("key")
            .context("the session key is empty")?;
        Ok(Key::new(&key.0).sign("owner", Purpose::Code, jiff::Timestamp::now()))
    })?;
    println!("http://127.0.0.1:{}/login?code={code}", record.console_port);
    if !args.quiet {
        eprintln!(
            "It works once, within {} minutes.",
            CODE_LIFE.as_secs() / 60
        );
    }
    Ok(())
}
