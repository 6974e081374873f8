//! The README's first command: from a bare machine to the guide's pipeline, run on real text.

use anyhow::Result;

use crate::{paths, setup, step, web};

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder for the platform's state.
    #[arg(long, env = "FERROFLOW_DATA_DIR")]
    data_dir: Option<std::path::PathBuf>,
    /// Leave the pages out, for machines without Node.
    #[arg(long)]
    no_web: bool,
}

/// Builds, starts the platform and runs `examples/guide`.
pub fn run(args: &Args) -> Result<()> {
    if !args.no_web {
        setup::node_packages()?;
        web::build()?;
    }
    step::run(
        "build kfctl (release)",
        &mut step::cargo(&["build", "--release", "--package", "kfctl"]),
    )?;
    let kfctl = paths::target().join("release/kfctl");
    let guide = paths::root().join("examples/guide");
    let call = |arguments: &[&str]| {
        let mut command = step::command(&kfctl);
        command.args(arguments);
        if let Some(folder) = &args.data_dir {
            command.env("FERROFLOW_DATA_DIR", folder);
        }
        command
    };
    // The guide asks for a GPU and 32 GiB; the two switches let it run on a machine that has neither, and say so on the run.
    step::run(
        "start the platform",
        &mut call(&[
            "up",
            "--detach",
            "--gpu-fallback=cpu",
            "--memory-fallback=clamp",
        ]),
    )?;
    for image in ["preprocess", "train", "validate"] {
        let folder = guide.join(image);
        let requirements = folder.join("requirements.txt");
        step::run(
            &format!("add the image {image}:latest from a plain folder"),
            call(&["image", "add", &format!("{image}:latest")])
                .arg(&folder)
                .arg("--requirements")
                .arg(requirements),
        )?;
    }
    let corpus = paths::root().join("crates/objects");
    step::run(
        "run the guide's pipeline",
        call(&["run"])
            .arg(guide.join("pipeline.py"))
            .arg("--mount")
            .arg(format!("{}:/data/raw", corpus.display()))
            .arg("--follow"),
    )?;
    println!(
        "\nThe platform is up: open http://127.0.0.1:7878, or see {} status.",
        kfctl.display()
    );
    println!("Stop it with: {} down", kfctl.display());
    Ok(())
}
