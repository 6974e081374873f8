//! A real registry on loopback (Debian's docker-registry): what is pushed there is pulled from there and runs, with
//! every way of signing in, and what is wrong is told in the pod's events.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use node::images::name::ImageName;
use node::images::registry::credentials::Login;
use node::images::registry::{Credentials, Progress};
use node::images::store::NewImage;
use node::images::{Images, registry};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::archives::{shell_layer, write_layout};
use crate::home::Home;
use crate::token_server::TokenServer;

/// How the registry asks who is there.
enum Asks {
    Nobody,
    /// For user `me` with password `s:ecret`.
    Password,
    Token(TokenServer),
}

/// bcrypt of `s:ecret`.
const HASH: &str = "$2b$04$UTYTkTPksb.rl51O7VjL0eosOT5PF3UXBeu0AH5GyRFz5.pYR8R9C";

/// A running registry. It ends with the test.
struct Registry {
    child: Child,
    folder: tempfile::TempDir,
    host: String,
    _tokens: Option<TokenServer>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    async fn start() -> Result<Self> {
        Self::asking(Asks::Nobody).await
    }

    async fn asking(asks: Asks) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let host = format!("127.0.0.1:{port}");
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": folder.path().join("data")}},
            "http": {"addr": host},
        });
        let mut tokens = None;
        match asks {
            Asks::Nobody => {}
            Asks::Password => {
                let file = folder.path().join("htpasswd");
                std::fs::write(&file, format!("me:{HASH}\n"))?;
                config["auth"] = json!({"htpasswd": {"realm": "test", "path": file}});
            }
            Asks::Token(server) => {
                let roots = folder.path().join("roots.pem");
                std::fs::write(&roots, server.certificate())?;
                config["auth"] = json!({"token": {
                    "realm": server.address(), "service": "registry", "issuer": "test", "rootcertbundle": roots,
                }});
                tokens = Some(server);
            }
        }
        let file = folder.path().join("config.yml");
        // JSON is YAML.
        std::fs::write(&file, config.to_string())?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .env_remove("OTEL_TRACES_EXPORTER")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start docker-registry; install it with: apt-get install docker-registry")?;
        let started = Self {
            child,
            folder,
            host,
            _tokens: tokens,
        };
        started.until_it_answers().await?;
        Ok(started)
    }

    async fn until_it_answers(&self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while tokio::time::Instant::now() < deadline {
            if tokio::net::TcpStream::connect(&self.host).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("docker-registry does not listen on {}", self.host)
    }

    fn name(&self, rest: &str) -> Result<ImageName> {
        Ok(ImageName::parse(&format!("{}/{rest}", self.host))?)
    }

    /// Puts a blob there as another program would.
    async fn put_blob(&self, repository: &str, content: &[u8]) -> Result<Value> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let digest = digest(content);
        let begin = format!("http://{}/v2/{repository}/blobs/uploads/", self.host);
        let begun = client.post(begin).send().await?.error_for_status()?;
        let place = begun.headers()["location"].to_str()?.to_owned();
        client
            .put(format!("{place}&digest={digest}"))
            .body(content.to_vec())
            .send()
            .await?
            .error_for_status()?;
        Ok(json!({"digest": digest, "size": content.len()}))
    }

    async fn put_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Result<Value> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let text = manifest.to_string();
        let kind = manifest["mediaType"].as_str().context("a kind")?.to_owned();
        client
            .put(format!(
                "http://{}/v2/{repository}/manifests/{tag}",
                self.host
            ))
            .header("content-type", kind.clone())
            .body(text.clone())
            .send()
            .await?
            .error_for_status()?;
        Ok(json!({"mediaType": kind, "digest": digest(text.as_bytes()), "size": text.len()}))
    }

    /// The file in which the registry keeps a blob.
    fn file_of(&self, digest: &str) -> PathBuf {
        let digits = digest.trim_start_matches("sha256:");
        self.folder
            .path()
            .join("data/docker/registry/v2/blobs/sha256")
            .join(&digits[..2])
            .join(digits)
            .join("data")
    }
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn images(home: &Home) -> Images {
    node::images_of(&node::Config::new("here", home.data(), "/none"))
}

/// Adds the shell image here, pushes it under `name` and forgets it again.
async fn push_shell(home: &Home, name: &ImageName, credentials: &Credentials) -> Result<String> {
    let layout = home.data().join(format!("layout-{}", uuid::Uuid::new_v4()));
    write_layout(&layout)?;
    let images = images(home);
    images.folders().add(&NewImage {
        name: "shell:1".into(),
        folder: layout,
        ..NewImage::default()
    })?;
    let (bundle, _scratch) = images.bundle("shell:1", &|_| {}).await?;
    images.push(&bundle, name, credentials, &|_| {}).await?;
    images.folders().remove(&ImageName::parse("shell:1")?)?;
    Ok(bundle.digest)
}

fn me() -> Credentials {
    Credentials::of(Login {
        username: "me".into(),
        password: "s:ecret".into(),
    })
}

fn pod(image: &ImageName, args: Value) -> Value {
    json!({
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": image.to_string(), "args": args}],
    })
}

async fn until_waiting(home: &Home, name: &str, reason: &str) -> Result<String> {
    let pod = home
        .until(name, reason, |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason
        })
        .await?;
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
    Ok(waiting.as_str().unwrap_or_default().to_owned())
}

/// Waits until something was said about a pod.
async fn until_said(home: &Home, pod: &str, reason: &str, words: &str) -> Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let mut said = Vec::new();
    while tokio::time::Instant::now() < deadline {
        said = home.events(pod).await?;
        if said
            .iter()
            .any(|(of, message)| of == reason && message.contains(words))
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("nobody said {reason} with {words:?} about {pod}: {said:#?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_pulled_and_runs_as_it_says() -> Result<()> {
    let home = Home::start().await?;
    let registry = Registry::start().await?;
    let name = registry.name("team/shell:1")?;
    let digest = push_shell(&home, &name, &Credentials::default()).await?;
    home.run("pulled", pod(&name, json!([]))).await?;
    let ended = home.until_phase("pulled", "Succeeded").await?;
    assert_eq!(home.log("pulled").await?, "hello from /work\n");
    let id = ended["status"]["containerStatuses"][0]["imageID"].as_str();
    assert_eq!(id, Some(format!("{}@{digest}", name.repository).as_str()));
    until_said(
        &home,
        "pulled",
        "Pulling",
        &format!("Pulling image \"{name}\""),
    )
    .await?;
    until_said(&home, "pulled", "Pulled", "Successfully pulled image").await?;
    // By its digest it is the same image, and it is here already.
    let by_digest = registry.name(&format!("team/shell@{digest}"))?;
    home.run("again", pod(&by_digest, json!(["echo by digest"])))
        .await?;
    home.until_phase("again", "Succeeded").await?;
    assert_eq!(home.log("again").await?, "by digest\n");
    until_said(&home, "again", "Pulled", "as its registry had it").await?;
    // As another user than root.
    let mut other = pod(&name, json!([]));
    other["securityContext"] = json!({"runAsUser": 1000, "runAsGroup": 1000});
    other["containers"][0]["args"] = json!([
        "while read key value rest; do [ $key != Uid: ] || echo $value; done < /proc/self/status"
    ]);
    home.run("other", other).await?;
    home.until_phase("other", "Succeeded").await?;
    assert_eq!(home.log("other").await?, "1000\n");
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_the_registry_lacks_is_told_with_the_remedy() -> Result<()> {
    let home = Home::start().await?;
    let registry = Registry::start().await?;
    let name = registry.name("team/none:1")?;
    home.run("lacking", pod(&name, json!([]))).await?;
    let message = until_waiting(&home, "lacking", "ErrImagePull").await?;
    ensure!(
        message.contains(&format!("registry {} has no image", registry.host))
            && message.contains("kfctl image add"),
        "{message}"
    );
    until_said(&home, "lacking", "Failed", "Error: ErrImagePull").await?;
    let mut never = pod(&name, json!([]));
    never["containers"][0]["imagePullPolicy"] = json!("Never");
    home.run("never", never).await?;
    until_waiting(&home, "never", "ErrImageNeverPull").await?;
    let gone = registry.host.clone();
    drop(registry);
    let unreachable = ImageName::parse(&format!("{gone}/x:1"))?;
    home.run("unreachable", pod(&unreachable, json!([])))
        .await?;
    let message = until_waiting(&home, "unreachable", "ErrImagePull").await?;
    ensure!(
        message.contains("cannot be reached") && message.contains("refused"),
        "{message}"
    );
    for name in ["lacking", "never", "unreachable"] {
        home.delete(name, 0).await?;
    }
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_image_needs_a_pull_secret() -> Result<()> {
    let home = Home::start().await?;
    let registry = Registry::asking(Asks::Password).await?;
    let name = registry.name("private/shell:1")?;
    let refused = push_shell(&home, &name, &Credentials::default()).await;
    let refused = format!("{:#}", refused.expect_err("nobody signed in"));
    ensure!(refused.contains("refuses access"), "{refused}");
    push_shell(&home, &name, &me()).await?;
    home.run("refused", pod(&name, json!([]))).await?;
    let message = until_waiting(&home, "refused", "ErrImagePull").await?;
    ensure!(message.contains("imagePullSecrets"), "{message}");
    // The second try waits longer and says so.
    until_waiting(&home, "refused", "ImagePullBackOff").await?;
    home.delete("refused", 0).await?;
    let auth = BASE64_STANDARD.encode("me:s:ecret");
    let file = json!({"auths": {(registry.host.clone()): {"auth": auth}}}).to_string();
    home.create(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "pull"}, "stringData": {".dockerconfigjson": file},
    }))
    .await?;
    let mut allowed = pod(&name, json!(["echo in"]));
    allowed["imagePullSecrets"] = json!([{"name": "absent"}, {"name": "pull"}]);
    home.run("allowed", allowed).await?;
    home.until_phase("allowed", "Succeeded").await?;
    until_said(
        &home,
        "allowed",
        "FailedToRetrieveImagePullSecret",
        "absent",
    )
    .await?;
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_may_send_for_a_token_first() -> Result<()> {
    let home = Home::start().await?;
    let tokens = TokenServer::start("me", "s:ecret").await?;
    let registry = Registry::asking(Asks::Token(tokens)).await?;
    let name = registry.name("private/shell:1")?;
    let refused = push_shell(&home, &name, &Credentials::default()).await;
    ensure!(format!("{:#}", refused.expect_err("nobody signed in")).contains("refuses access"));
    push_shell(&home, &name, &me()).await?;
    let image = images(&home).pull(&name, &me(), &|_| {}).await?;
    ensure!(image.is_root && image.manifest.is_some());
    home.end().await
}

/// An index with images for two machines; this one's has a gzip and a zstd layer.
async fn put_index(registry: &Registry, repository: &str) -> Result<Vec<u8>> {
    let plain = shell_layer()?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain)?;
    let gzip = gzip.finish()?;
    let mut second = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o644);
    header.set_uid(1000);
    header.set_gid(1000);
    header.set_cksum();
    second.append_data(&mut header, "work/note", &b"zstd\n"[..])?;
    let zstd = zstd::encode_all(second.into_inner()?.as_slice(), 3)?;
    let mut entries = Vec::new();
    for (architecture, layers) in [
        ("riscv64", vec![&gzip]),
        (host_architecture(), vec![&gzip, &zstd]),
    ] {
        let config = json!({
            "architecture": architecture, "os": "linux",
            "config": {"Entrypoint": ["/bin/sh", "-c"], "Env": ["PATH=/bin"], "WorkingDir": "/work", "User": "1000:1000"},
        });
        let mut config = registry
            .put_blob(repository, config.to_string().as_bytes())
            .await?;
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let mut described = Vec::new();
        for layer in layers {
            let mut blob = registry.put_blob(repository, layer).await?;
            blob["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
            described.push(blob);
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": described,
        });
        let mut entry = registry
            .put_manifest(repository, architecture, &manifest)
            .await?;
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entries.push(entry);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
    });
    registry.put_manifest(repository, "1", &index).await?;
    Ok(gzip)
}

fn host_architecture() -> &'static str {
    node::images::oci::architecture()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_this_machines_image_is_taken_with_layers_of_every_kind() -> Result<()> {
    let home = Home::start().await?;
    let registry = Registry::start().await?;
    put_index(&registry, "multi").await?;
    let name = registry.name("multi:1")?;
    // The image's own user owns what its layer gave it.
    home.run(
        "multi",
        pod(
            &name,
            json!(["read line < note && echo $line && echo more > note && echo written"]),
        ),
    )
    .await?;
    home.until_phase("multi", "Succeeded").await?;
    assert_eq!(home.log("multi").await?, "zstd\nwritten\n");
    let other = registry.name("multi:riscv64")?;
    let refused = images(&home)
        .pull(&other, &Credentials::default(), &|_| {})
        .await
        .expect_err("it is for another machine");
    let cause = std::error::Error::source(&refused).context("a cause")?;
    ensure!(
        cause.to_string().contains("not made for linux on"),
        "{cause}"
    );
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_where_it_ended_and_what_was_changed_is_refused() -> Result<()> {
    let home = Home::start().await?;
    let registry = Registry::start().await?;
    let layer = put_index(&registry, "multi").await?;
    let name = registry.name("multi:1")?;
    let digest = digest(&layer);
    let digits = digest.trim_start_matches("sha256:");
    let part: PathBuf = home
        .data()
        .join("images/layout/blobs/sha256")
        .join(format!("{digits}.part"));
    std::fs::create_dir_all(part.parent().context("a parent")?)?;
    // Half of it came before the machine was switched off.
    std::fs::write(&part, &layer[..layer.len() / 2])?;
    // The first half is spoilt at its source: only a download that goes on can be whole.
    let mut spoilt = layer.clone();
    spoilt[10] ^= 1;
    std::fs::write(registry.file_of(&digest), &spoilt)?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = heard.clone();
    let listen = move |progress: Progress| hearing.lock().expect("no panic").push(progress);
    images(&home)
        .pull(&name, &Credentials::default(), &listen)
        .await?;
    let half = (layer.len() / 2) as u64;
    ensure!(
        heard
            .lock()
            .expect("no panic")
            .contains(&Progress::Moved(half))
    );
    ensure!(!part.exists());
    // Without the first half, what comes is refused and not kept.
    images(&home).folders().remove(&name)?;
    std::fs::remove_file(part.with_extension(""))?;
    let refused = images(&home)
        .pull(&name, &Credentials::default(), &|_| {})
        .await
        .expect_err("it was changed");
    let cause = std::error::Error::source(&refused).context("a cause")?;
    ensure!(
        matches!(
            cause.downcast_ref::<registry::Error>(),
            Some(registry::Error::Changed { .. })
        ),
        "{cause}"
    );
    ensure!(!part.exists() && !part.with_extension("").exists());
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_always_pulled_follows_its_registry() -> Result<()> {
    let home = Home::start().await?;
    let registry = Registry::start().await?;
    let name = registry.name("moving:latest")?;
    push_shell(&home, &name, &Credentials::default()).await?;
    // `latest` is pulled at every start.
    home.run("first", pod(&name, json!(["echo first"]))).await?;
    home.until_phase("first", "Succeeded").await?;
    put_index(&registry, "moving").await?;
    let text = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .get(format!("http://{}/v2/moving/manifests/1", registry.host))
        .header("accept", "application/vnd.oci.image.index.v1+json")
        .send()
        .await?
        .json::<Value>()
        .await?;
    registry.put_manifest("moving", "latest", &text).await?;
    home.run(
        "second",
        pod(&name, json!(["read line < note; echo $line"])),
    )
    .await?;
    home.until_phase("second", "Succeeded").await?;
    assert_eq!(home.log("second").await?, "zstd\n");
    drop(registry);
    home.run("third", pod(&name, json!(["echo third"]))).await?;
    let message = until_waiting(&home, "third", "ErrImagePull").await?;
    ensure!(message.contains("imagePullPolicy: Always"), "{message}");
    let mut present = pod(&name, json!(["echo here"]));
    present["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
    home.run("present", present).await?;
    home.until_phase("present", "Succeeded").await?;
    home.delete("third", 0).await?;
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_image_runs_the_same_where_nothing_of_this_machine_is() -> Result<()> {
    let home = Home::start().await?;
    let registry = Registry::start().await?;
    let source = home.data().join("train");
    std::fs::create_dir(&source)?;
    let program = "import ssl, sqlite3, sys, os, subprocess\nfrom greeting import WORD\n\
                   open('out', 'w').write(WORD)\n\
                   print(WORD, os.getcwd(), sys.argv[1], subprocess.run(['sh', '-c', 'echo $((1+1)) | tr 2 3'], capture_output=True, text=True).stdout.strip())\n";
    std::fs::write(source.join("train.py"), program)?;
    std::fs::write(source.join("greeting.py"), "WORD = 'hello'\n")?;
    let images = images(&home);
    images.folders().add(&NewImage {
        name: "train:1".into(),
        folder: source,
        entrypoint: vec!["python".into(), "train.py".into()],
        ..NewImage::default()
    })?;
    let (first, scratch) = images.bundle("train:1", &|_| {}).await?;
    let (second, _again) = images.bundle("train:1", &|_| {}).await?;
    assert_eq!(
        first.digest, second.digest,
        "equal content has equal digests"
    );
    drop(scratch);
    let name = registry.name("train:1")?;
    images
        .push(&second, &name, &Credentials::default(), &|_| {})
        .await?;
    // Both the folder here and the image from the registry, as root and as somebody.
    let here = ImageName::parse("train:1")?;
    for (pod_name, image, user) in [
        ("here", &here, 0),
        ("there", &name, 0),
        ("somebody", &name, 1234),
    ] {
        let mut spec = pod(image, json!(["python", "train.py", "x"]));
        spec["securityContext"] = json!({"runAsUser": user});
        let container = &mut spec["containers"][0];
        container["command"] = container["args"].take();
        home.run(pod_name, spec).await?;
        home.until_phase(pod_name, "Succeeded").await?;
        assert_eq!(home.log(pod_name).await?, "hello /app x 3\n", "{pod_name}");
    }
    home.end().await
}
