//! Images as other tools make them: an OCI layout with a root file system of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use node::images::store::NewImage;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::home::Home;

/// The host's shell and the libraries it names, as one layer.
pub fn shell_layer() -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let shell = std::fs::canonicalize("/bin/sh")?;
    let libraries = Command::new("ldd")
        .arg(&shell)
        .output()
        .context("run ldd")?;
    let libraries = String::from_utf8(libraries.stdout)?;
    let paths = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    let mut files: Vec<(PathBuf, PathBuf)> = paths.map(|path| (path.into(), path.into())).collect();
    files.push((shell, "/bin/sh".into()));
    for (source, target) in files {
        builder.append_path_with_name(std::fs::canonicalize(source)?, target.strip_prefix("/")?)?;
    }
    Ok(builder.into_inner()?)
}

pub fn write_layout(folder: &Path) -> Result<()> {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let put = |bytes: &[u8]| -> Result<Value> {
        let digest = hex::encode(Sha256::digest(bytes));
        std::fs::write(blobs.join(&digest), bytes)?;
        Ok(json!({"digest": format!("sha256:{digest}")}))
    };
    let layer = put(&shell_layer()?)?;
    let config = json!({"config": {
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo $GREETING from $PWD"],
        "Env": ["GREETING=hello", "PATH=/bin"], "WorkingDir": "/work",
    }});
    let config = put(config.to_string().as_bytes())?;
    let manifest = put(json!({"config": config, "layers": [layer]})
        .to_string()
        .as_bytes())?;
    std::fs::write(
        folder.join("index.json"),
        json!({"manifests": [manifest]}).to_string(),
    )?;
    std::fs::write(
        folder.join("oci-layout"),
        json!({"imageLayoutVersion": "1.0.0"}).to_string(),
    )?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_a_root_of_its_own_runs_as_it_says() -> Result<()> {
    let home = Home::start().await?;
    let layout = home.data().join("layout");
    write_layout(&layout)?;
    let images = node::images_of(&node::Config::new("here", home.data(), "/none"));
    images.folders().add(&NewImage {
        name: "own-root:1".into(),
        folder: layout,
        ..NewImage::default()
    })?;
    let run = |name: &str, args: Value| json!({"restartPolicy": "Never", "containers": [{"name": name, "image": "own-root:1", "args": args}]});
    home.run("plain", run("main", json!([]))).await?;
    home.until_phase("plain", "Succeeded").await?;
    assert_eq!(home.log("plain").await?, "hello from /work\n");
    let script = "echo x > /new && read line < /new && echo $line; test -e /usr/bin/env || echo nothing of the host";
    home.run("writes", run("main", json!([script]))).await?;
    home.until_phase("writes", "Succeeded").await?;
    assert_eq!(home.log("writes").await?, "x\nnothing of the host\n");
    home.end().await
}
