//! `kfctl image`: the images of this machine. Works whether or not the platform runs. What goes to and comes from
//! elsewhere is in `image_transfer`, what a cluster has in `image_on_cluster`.

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use node::images::name::ImageName;
use node::images::store::{FolderImage, NewImage};

use crate::cli::{Global, Image, ImageAdd, Images, Output};
use crate::commands::{image_on_cluster, image_transfer};
use crate::instance::DataFolder;
use crate::{node_config, platform, text};

/// Runs one of the subcommands.
pub fn run(global: &Global, args: &Images) -> Result<()> {
    let command = &args.command;
    if args.target.is_given() && image_on_cluster::run(command, &args.target)? {
        return Ok(());
    }
    let config = platform::config(global)?;
    let data = DataFolder::new(config.data_dir()?);
    data.create()?;
    let mut settings = node_config::of(&config, &data)?;
    image_transfer::allow_insecure(&mut settings, command)?;
    let images = node::images_of(&settings);
    match command {
        Image::Add(args) => add(&images, args),
        Image::List { output } => list(&images, *output),
        Image::Rm { name } => {
            if !images.folders().remove(&ImageName::parse(name)?)? {
                bail!("there is no image {name}; kfctl image list shows those there are");
            }
            println!("removed {name}");
            Ok(())
        }
        Image::Inspect { name } => inspect(&images, name),
        Image::Pull(args) => image_transfer::pull(&images, args),
        Image::Load { file, name } => image_transfer::load(&images, file, name.as_deref()),
        Image::Push(push) => {
            let pushed = image_transfer::push(&images, push)?;
            if args.target.is_given() {
                image_on_cluster::say_next(&args.target, &push.name, &pushed.to_string());
            }
            Ok(())
        }
        Image::Export(args) => image_transfer::export(&images, args),
    }
}

fn add(images: &node::images::Images, args: &ImageAdd) -> Result<()> {
    let entrypoint = match &args.entrypoint {
        Some(line) => shell_words::split(line).context("read --entrypoint")?,
        None => Vec::new(),
    };
    let (name, image) = images.folders().add(&NewImage {
        name: args.name.clone(),
        folder: args.folder.clone(),
        requirements: args.requirements.clone(),
        python: args.python.clone(),
        entrypoint,
    })?;
    println!(
        "{name}  {}  {} from {}",
        short(&image.digest),
        text::bytes(image.size_bytes),
        image.source.display()
    );
    // The environment is made now, so that no pod has to wait for it.
    platform::block_on(async {
        let bar = indicatif::ProgressBar::new_spinner();
        bar.enable_steady_tick(std::time::Duration::from_millis(80));
        let told = bar.clone();
        let resolution = images.resolve(&name.to_string())?;
        let prepared = images
            .prepare(&name.to_string(), &resolution, &[], &move |line| {
                told.set_message(line)
            })
            .await;
        bar.finish_and_clear();
        let prepared = prepared?;
        for note in prepared.notes {
            println!("{note}");
        }
        Ok(())
    })
}

fn list(images: &node::images::Images, output: Output) -> Result<()> {
    let all = images.folders().list()?;
    if output == Output::Json {
        let rows: Vec<_> = all
            .iter()
            .map(|(name, image)| serde_json::json!({ "name": name, "image": image }))
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    if all.is_empty() {
        println!(
            "no image yet; make one from a folder: kfctl image add NAME:latest FOLDER --requirements FILE"
        );
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "NAME", "DIGEST", "FROM", "PYTHON", "PACKAGES", "SIZE", "AGE",
    ]);
    for (name, image) in all {
        let from = match (&image.manifest, image.is_root) {
            (Some(_), _) => "registry",
            (None, true) => "archive",
            (None, false) => "folder",
        };
        let (python, packages) = if image.is_root {
            ("its own".to_owned(), "-".to_owned())
        } else {
            let python = image.python.clone().unwrap_or_else(|| "default".to_owned());
            (python, image.requirements.len().to_string())
        };
        let age = text::since(&image.created_at.to_string());
        table.add_row([
            name,
            short(&image.digest),
            from.to_owned(),
            python,
            packages,
            text::bytes(image.size_bytes),
            age,
        ]);
    }
    println!("{table}");
    Ok(())
}

fn inspect(images: &node::images::Images, name: &str) -> Result<()> {
    let parsed = ImageName::parse(name)?;
    let Some((image, folder)): Option<(FolderImage, _)> = images.folders().find(&parsed)? else {
        bail!("there is no image {name}; kfctl image list shows those there are");
    };
    let shown = serde_json::json!({ "name": parsed.to_string(), "folder": folder, "image": image });
    println!("{}", serde_json::to_string_pretty(&shown)?);
    Ok(())
}

/// The first twelve digits, as people compare them.
pub fn short(digest: &str) -> String {
    digest
        .trim_start_matches("sha256:")
        .chars()
        .take(12)
        .collect()
}
