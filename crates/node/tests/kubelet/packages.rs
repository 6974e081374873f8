//! Python packages: prepared before a step starts, installed inside a pod, and never shared by accident.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use node::images::store::NewImage;
use serde_json::{Value, json};

use crate::home::Home;

/// Writes a package `hello_pkg` as a wheel.
fn write_wheel(folder: &Path, version: &str) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("hello_pkg-{version}-py3-none-any.whl"));
    let mut wheel = zip::ZipWriter::new(std::fs::File::create(path)?);
    let info = format!("hello_pkg-{version}.dist-info");
    let files = [
        (
            "hello_pkg.py".to_owned(),
            format!("version = '{version}'\n"),
        ),
        (
            format!("{info}/METADATA"),
            format!("Metadata-Version: 2.1\nName: hello-pkg\nVersion: {version}\n"),
        ),
        (
            format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n".into(),
        ),
        (
            format!("{info}/RECORD"),
            format!("hello_pkg.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"),
        ),
    ];
    for (name, content) in files {
        wheel.start_file(name, zip::write::SimpleFileOptions::default())?;
        wheel.write_all(content.as_bytes())?;
    }
    wheel.finish()?;
    Ok(())
}

fn step(script: &str) -> Value {
    let command = json!(["sh", "-c", script]);
    json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "python:3", "command": command}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_installs_first_is_there_before_it_starts() -> Result<()> {
    let home = Home::start().await?;
    write_wheel(&home.data().join("wheels"), "1.0")?;
    let install = "python3 -m pip install --quiet --no-warn-script-location 'hello-pkg==1.0'";
    let script = format!(
        "{install} && python3 -c 'import hello_pkg; print(hello_pkg.__file__)' && \
         echo pip modules: $(python3 -X importtime -m pip install hello-pkg==1.0 2>&1 | grep -c pip._internal) && \
         python3 -m pip install 'hello-pkg==1.0' && \
         python3 -m pip install 'no-such-pkg==1.0' >/dev/null 2>&1 || echo failed as it should"
    );
    home.run("step", step(&script)).await?;
    home.until_phase("step", "Succeeded").await?;
    let log = home.log("step").await?;
    let lines: Vec<&str> = log.lines().collect();
    assert!(
        lines[0].starts_with("/opt/ferroflow/environment/lib/python3"),
        "{log}"
    );
    assert_eq!(
        lines[1..],
        [
            "pip modules: 0",
            "Requirement already satisfied: hello-pkg==1.0",
            "failed as it should"
        ]
    );
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_that_cannot_be_prepared_fail_in_the_step_and_not_before() -> Result<()> {
    let home = Home::start().await?;
    let script = "python3 -m pip install --quiet 'no-such-pkg==1.0' && echo installed";
    home.run("step", step(script)).await?;
    let pod = home.until_phase("step", "Failed").await?;
    assert_eq!(
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        1
    );
    let log = home.log("step").await?;
    assert!(
        log.contains("No matching distribution found for no-such-pkg==1.0"),
        "{log}"
    );
    let events = home.events("step").await?;
    assert!(
        events
            .iter()
            .any(|(_, message)| message.contains("pip installs them in the pod"))
    );
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_installs_for_itself_is_its_own() -> Result<()> {
    let home = Home::start().await?;
    let source = home.data().join("folder");
    write_wheel(&source, "2.0")?;
    std::fs::write(
        source.join("main.py"),
        "import hello_pkg; print(hello_pkg.version, hello_pkg.__file__)",
    )?;
    let images = node::images_of(&node::Config::new("here", home.data(), "/none"));
    let new = NewImage {
        name: "own".into(),
        folder: source,
        ..NewImage::default()
    };
    images.folders().add(&new)?;
    let run = |script: &str| {
        let command = json!(["sh", "-c", script]);
        json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "own", "command": command}]})
    };
    home.run(
        "installs",
        run("pip install --quiet ./hello_pkg-2.0-py3-none-any.whl && python main.py"),
    )
    .await?;
    home.until_phase("installs", "Succeeded").await?;
    let log = home.log("installs").await?;
    assert!(
        log.starts_with("2.0 /opt/ferroflow/python/lib/python3"),
        "{log}"
    );
    home.run("other", run("python main.py")).await?;
    home.until_phase("other", "Failed").await?;
    assert!(
        home.log("other")
            .await?
            .contains("No module named 'hello_pkg'")
    );
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requirements_of_a_folder_image_are_installed_for_it() -> Result<()> {
    let home = Home::start().await?;
    write_wheel(&home.data().join("wheels"), "3.0")?;
    let source = home.data().join("folder");
    std::fs::create_dir_all(&source)?;
    std::fs::write(source.join("requirements.txt"), "hello-pkg\n")?;
    std::fs::write(
        source.join("train.py"),
        "import hello_pkg; print(hello_pkg.version)",
    )?;
    let images = node::images_of(&node::Config::new("here", home.data(), "/none"));
    let new = NewImage {
        name: "train".into(),
        folder: source,
        entrypoint: vec!["python".into()],
        ..NewImage::default()
    };
    images.folders().add(&new)?;
    let container = json!({"name": "main", "image": "train:latest", "args": ["train.py"]});
    home.run(
        "step",
        json!({"restartPolicy": "Never", "containers": [container]}),
    )
    .await?;
    home.until_phase("step", "Succeeded").await?;
    assert_eq!(home.log("step").await?, "3.0\n");
    home.end().await
}
