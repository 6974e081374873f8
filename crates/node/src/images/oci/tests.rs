//! Images built here, byte by byte, and what becomes of them.

use super::*;
use serde_json::json;

enum Entry<'a> {
    File(&'a str, &'a str),
    Folder(&'a str, u32),
    Link(&'a str, &'a str),
    HardLink(&'a str, &'a str),
}

fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(1);
        // Written raw: a hostile image does not use the checks of our own library.
        let named = |header: &mut tar::Header, path: &str| {
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        };
        let content: &[u8] = match entry {
            Entry::File(path, content) => {
                named(&mut header, path);
                content.as_bytes()
            }
            Entry::Folder(path, mode) => {
                named(&mut header, path);
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                &[]
            }
            Entry::Link(path, to) | Entry::HardLink(path, to) => {
                named(&mut header, path);
                let is_hard = matches!(entry, Entry::HardLink(..));
                header.set_entry_type(if is_hard {
                    tar::EntryType::Link
                } else {
                    tar::EntryType::Symlink
                });
                header.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
                &[]
            }
        };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).expect("appended");
    }
    builder.into_inner().expect("a layer")
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Writes a layout folder with these layers.
fn layout(folder: &Path, layers: &[Vec<u8>]) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("made");
    let put = |bytes: &[u8]| {
        fs::write(blobs.join(digest(bytes)), bytes).expect("written");
        json!({"digest": format!("sha256:{}", digest(bytes))})
    };
    let config = json!({"config": {
        "Entrypoint": ["/bin/x"], "Cmd": ["y"], "Env": ["A=b=c"], "WorkingDir": "/w", "User": "bob",
    }});
    let config = put(config.to_string().as_bytes());
    let layers: Vec<Value> = layers.iter().map(|layer| put(layer)).collect();
    let manifest = put(json!({"config": config, "layers": layers})
        .to_string()
        .as_bytes());
    fs::write(
        folder.join("index.json"),
        json!({"manifests": [manifest]}).to_string(),
    )
    .expect("written");
}

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn of(layers: &[Vec<u8>]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        layout(&folder.path().join("layout"), layers);
        Self { folder }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    fn unpack(&self) -> Result<Unpacked, Error> {
        let scratch = self.path("scratch");
        fs::create_dir_all(&scratch).expect("made");
        unpack(&self.path("layout"), &self.path("root"), &scratch)
    }

    fn read(&self, inside: &str) -> Option<String> {
        fs::read_to_string(self.path("root").join(inside)).ok()
    }
}

#[test]
fn later_layers_change_and_hide_what_earlier_ones_brought() {
    let image = Fixture::of(&[
        layer(&[
            Entry::Folder("etc", 0o555),
            Entry::File("etc/a", "1"),
            Entry::File("etc/b", "1"),
            Entry::File("opt/x/old", "1"),
        ]),
        layer(&[
            Entry::File("etc/a", "2"),
            Entry::File("etc/.wh.b", ""),
            Entry::File("opt/x/.wh..wh..opq", ""),
            Entry::File("opt/x/new", "2"),
            Entry::HardLink("etc/c", "etc/a"),
        ]),
    ]);
    let unpacked = image.unpack().expect("unpacked");
    assert_eq!(image.read("etc/a").as_deref(), Some("2"));
    assert_eq!(image.read("etc/c").as_deref(), Some("2"));
    assert_eq!((image.read("etc/b"), image.read("opt/x/old")), (None, None));
    assert_eq!(image.read("opt/x/new").as_deref(), Some("2"));
    assert_eq!(unpacked.settings.entrypoint, ["/bin/x"]);
    assert_eq!(unpacked.settings.env, [("A".to_owned(), "b=c".to_owned())]);
    assert_eq!(unpacked.settings.user.as_deref(), Some("bob"));
}

#[test]
fn a_whiteout_hides_what_is_below_its_layer_and_never_its_own() {
    let image = Fixture::of(&[
        layer(&[
            Entry::File("a/old", "1"),
            Entry::File("a/sub/old", "1"),
            Entry::File("b/file", "1"),
        ]),
        layer(&[
            Entry::File("a/new", "2"),
            Entry::File("a/sub/new", "2"),
            Entry::File("a/.wh..wh..opq", ""),
            Entry::File("b/file", "2"),
            Entry::File("b/.wh.file", ""),
        ]),
    ]);
    image.unpack().expect("unpacked");
    assert_eq!((image.read("a/old"), image.read("a/sub/old")), (None, None));
    assert_eq!(image.read("a/new").as_deref(), Some("2"));
    assert_eq!(image.read("a/sub/new").as_deref(), Some("2"));
    assert_eq!(image.read("b/file").as_deref(), Some("2"));
}

#[test]
fn layers_may_be_compressed_with_zstd() {
    let plain = layer(&[Entry::File("a", "1")]);
    let image = Fixture::of(&[zstd::encode_all(plain.as_slice(), 3).expect("packed")]);
    image.unpack().expect("unpacked");
    assert_eq!(image.read("a").as_deref(), Some("1"));
}

#[test]
fn links_are_followed_inside_the_image_and_never_out_of_it() {
    let image = Fixture::of(&[layer(&[
        Entry::Link("lib", "usr/lib"),
        Entry::File("lib/here", "in"),
        Entry::Link("out", "/../../../../outside"),
        Entry::File("out/evil", "in"),
        Entry::Link("up", "../.."),
        Entry::File("up/evil2", "in"),
        Entry::File("../../evil3", "in"),
        Entry::Link("file", "/evil4"),
        Entry::File("file", "a file of its own"),
    ])]);
    image.unpack().expect("unpacked");
    assert_eq!(image.read("usr/lib/here").as_deref(), Some("in"));
    assert_eq!(image.read("outside/evil").as_deref(), Some("in"));
    assert_eq!(image.read("evil2").as_deref(), Some("in"));
    assert_eq!(image.read("evil3").as_deref(), Some("in"));
    assert_eq!(image.read("file").as_deref(), Some("a file of its own"));
    let outside: Vec<_> = fs::read_dir(image.folder.path())
        .expect("a folder")
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(
        outside.len(),
        3,
        "only layout, root and scratch: {outside:?}"
    );
}

#[test]
fn a_loop_of_links_is_refused() {
    let image = Fixture::of(&[layer(&[
        Entry::Link("a", "b"),
        Entry::Link("b", "a"),
        Entry::File("a/x", ""),
    ])]);
    assert!(image.unpack().is_err());
}

#[test]
fn a_changed_layer_is_refused() {
    let image = Fixture::of(&[layer(&[Entry::File("a", "1")])]);
    for blob in fs::read_dir(image.path("layout/blobs/sha256"))
        .expect("blobs")
        .flatten()
    {
        let mut content = fs::read(blob.path()).expect("read");
        content.push(b' ');
        fs::write(blob.path(), content).expect("written");
    }
    assert!(
        image
            .unpack()
            .expect_err("changed")
            .to_string()
            .contains("was changed")
    );
}

#[test]
fn an_archive_is_read_like_its_folder() {
    let image = Fixture::of(&[layer(&[Entry::File("a", "1")])]);
    let archive = image.path("image.tar");
    let mut builder = tar::Builder::new(File::create(&archive).expect("made"));
    builder
        .append_dir_all(".", image.path("layout"))
        .expect("written");
    builder.finish().expect("finished");
    let scratch = image.path("scratch");
    fs::create_dir_all(&scratch).expect("made");
    unpack(&archive, &image.path("root"), &scratch).expect("unpacked");
    assert_eq!(image.read("a").as_deref(), Some("1"));
    fs::write(image.path("none.tar"), "no image").expect("written");
    assert!(
        unpack(
            &image.path("none.tar"),
            &image.path("root2"),
            &image.path("scratch2")
        )
        .is_err()
    );
}
