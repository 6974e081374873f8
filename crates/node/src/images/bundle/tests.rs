//! Layers made here, read back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::images::name::ImageName;
use crate::images::oci;

fn prepared(root: Root, copy: Option<PathBuf>) -> Prepared {
    Prepared {
        image_id: String::new(),
        root,
        mounts: Vec::new(),
        env: vec![("A".into(), "b".into())],
        entrypoint: vec!["/bin/x".into()],
        arguments: vec!["y".into()],
        working_dir: Some("/w".into()),
        user: Some("7".into()),
        python: None,
        copy: copy.map(|path| (path, APP.into())),
        environment: None,
        notes: Vec::new(),
    }
}

fn root_of(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    fs::create_dir_all(root.join("bin")).expect("made");
    fs::create_dir_all(root.join("tmp")).expect("made");
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("set");
    fs::write(root.join("bin/x"), "x").expect("written");
    fs::set_permissions(root.join("bin/x"), fs::Permissions::from_mode(0o755)).expect("set");
    std::os::unix::fs::symlink("bin/x", root.join("link")).expect("linked");
    let long = "a-folder-with-a-name-of-fifty-letters-and-a-few-more".to_owned();
    fs::create_dir_all(root.join(&long).join(&long)).expect("made");
    fs::write(root.join(&long).join(&long).join("file"), "deep").expect("written");
    root
}

fn made(root: &Path, folder: &Path) -> Layout {
    let content = Content::Root(root.to_owned());
    let prepared = prepared(Root::Folder { path: root.into() }, None);
    make(&content, &prepared, folder, &|_| {}).expect("made")
}

#[test]
fn a_root_comes_out_of_its_image_as_it_went_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = root_of(folder.path());
    let layout = made(&root, &folder.path().join("layout"));
    let archive = folder.path().join("image.tar");
    let name = ImageName::parse("team/x:1").expect("a name");
    write_archive(&layout, &name, &archive).expect("written");
    let out = folder.path().join("out");
    let scratch = folder.path().join("scratch");
    fs::create_dir(&scratch).expect("made");
    let unpacked = oci::unpack(&archive, &out, &scratch).expect("unpacked");
    assert_eq!(unpacked.name.as_deref(), Some("docker.io/team/x:1"));
    assert_eq!(unpacked.settings.entrypoint, ["/bin/x"]);
    assert_eq!(unpacked.settings.arguments, ["y"]);
    assert_eq!(unpacked.settings.env, [("A".into(), "b".into())]);
    assert_eq!(unpacked.settings.user.as_deref(), Some("7"));
    assert_eq!(listing(&out), listing(&root));
    assert!(listing(&root).len() > 5);
}

#[test]
fn equal_content_has_equal_digests_whatever_its_times_and_place() {
    let (one, two) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let first = made(&root_of(one.path()), &one.path().join("layout"));
    let root = root_of(two.path());
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
    fs::File::options()
        .append(true)
        .open(root.join("bin/x"))
        .and_then(|file| file.set_modified(old))
        .expect("a time");
    let second = made(&root, &two.path().join("layout"));
    assert_eq!(first.digest, second.digest);
    fs::write(root.join("bin/x"), "y").expect("written");
    let third = made(&root, &two.path().join("other"));
    assert_ne!(first.digest, third.digest);
}

#[test]
fn what_is_this_machines_own_has_nothing_to_be_pushed() {
    let shell = prepared(Root::HostReadOnly { allow: Vec::new() }, None);
    let refused = content_of("busybox", &shell, Path::new("/none"), None);
    assert!(matches!(refused, Err(Error::NothingOfItsOwn(_))));
}

#[test]
fn a_folder_stands_on_a_base_with_a_shell_and_the_libraries_it_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let code = folder.path().join("code");
    fs::create_dir_all(code.join("data")).expect("made");
    fs::write(code.join("run.sh"), "echo").expect("written");
    let prepared = prepared(Root::HostReadOnly { allow: Vec::new() }, Some(code.clone()));
    let content = content_of("x", &prepared, Path::new("/none"), None).expect("a folder");
    let layout = make(&content, &prepared, &folder.path().join("layout"), &|_| {}).expect("made");
    assert_eq!(layout.layers().len(), 2, "base and folder");
    let manifest = serde_json::from_slice(&layout.manifest).expect("JSON");
    let out = folder.path().join("out");
    oci::unpack_manifest(&layout.folder, &manifest, &out).expect("unpacked");
    for path in ["app/run.sh", "etc/passwd", "tmp", "etc/nsswitch.conf"] {
        assert!(out.join(path).exists(), "{path}");
    }
    let mode = out
        .join("app/data")
        .metadata()
        .expect("there")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o777, "any user may write");
    // Links are the image's own; here they would lead out of it.
    let shell = out.join("usr/bin/sh");
    assert!(shell.symlink_metadata().is_ok() || out.join("bin/sh").symlink_metadata().is_ok());
    let loader = libraries::loader().expect("a loader");
    assert!(
        out.join(loader.strip_prefix("/").expect("absolute"))
            .symlink_metadata()
            .is_ok()
            || out
                .join("usr")
                .join(loader.strip_prefix("/").expect("absolute"))
                .symlink_metadata()
                .is_ok()
    );
}

/// Every path below a folder with its mode and content.
fn listing(folder: &Path) -> BTreeMap<PathBuf, (u32, String)> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).expect("a folder").flatten() {
            let (path, metadata) = (entry.path(), entry.metadata().expect("there"));
            let content = if metadata.is_dir() {
                waiting.push(path.clone());
                String::new()
            } else if metadata.is_symlink() {
                fs::read_link(&path).expect("a link").display().to_string()
            } else {
                fs::read_to_string(&path).expect("a file")
            };
            let inside = path.strip_prefix(folder).expect("inside").to_owned();
            all.insert(inside, (metadata.permissions().mode() & 0o1777, content));
        }
    }
    all
}
