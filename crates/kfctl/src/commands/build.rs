//! `kfctl build`: writes what `apply` would apply, so that it can be looked at and edited. Asks no cluster.

use anyhow::Result;

use crate::cli_cluster::Build;
use crate::kfdef_folder::KfDefFolder;
use crate::platform;

/// Writes the folder.
pub fn run(args: &Build) -> Result<()> {
    let mut opened = platform::block_on(KfDefFolder::open(&args.file.file))?;
    if let Some(note) = &opened.note {
        eprintln!("{note}");
    }
    opened.add(args.extra)?;
    for warning in opened.generate()? {
        eprintln!("warning: {warning}");
    }
    let objects = opened.objects()?;
    if args.dump {
        for object in &objects {
            println!("{}---", objects::yaml::write(object));
        }
        return Ok(());
    }
    if args.file.verbose {
        for object in &objects {
            println!("{}", install::apply::short_name(object));
        }
    }
    println!(
        "{} objects in {}; look at them and change what you like, then: kfctl apply -f {}",
        objects.len(),
        opened.folder.join("kustomize").display(),
        args.file.file
    );
    Ok(())
}
