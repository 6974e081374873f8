//! A PostgreSQL server for tests: its own, on a socket in a temporary folder, run by an ordinary user, gone with the process
//! that started it, however that ends. One for all tests of a process; each test has a database of its own in it.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Who owns the databases, and its password, which needs escaping in a URL.
pub const USER: &str = "ferroflow";
pub const PASSWORD: &str = "s3cr:t/@word";
const ESCAPED: &str = "s3cr%3At%2F%40word";
/// The server refuses to be root; then it is this user, whom every machine has.
const NOBODY: u32 = 65534;
/// How long a busy machine may take to start it.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Server {
    folder: PathBuf,
    bin: PathBuf,
    databases: AtomicU32,
    /// The shell around the server; while its input is open the server runs.
    _alive: Child,
}

/// The server of this process.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

impl Server {
    fn start() -> Self {
        let bin = programs();
        let folder = tempfile::Builder::new()
            .prefix("ferroflow-pg-")
            .tempdir_in("/tmp")
            .unwrap()
            .keep();
        let is_root = std::os::unix::fs::MetadataExt::uid(&folder.metadata().unwrap()) == 0;
        let as_user = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir("/tmp").env_remove("PGHOST");
            if is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        };
        let password = folder.join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        if is_root {
            for path in [&folder, &password] {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let data = folder.join("data");
        let made = as_user(&bin.join("initdb"))
            .args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--auth=scram-sha-256", "--username", USER, "--pwfile"])
            .arg(&password)
            .arg("--pgdata")
            .arg(&data)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut settings = std::fs::OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.conf"))
            .unwrap();
        // What makes a power cut harmless is what makes tests slow.
        write!(
            settings,
            "\nlisten_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\nfull_page_writes = off\n\
             synchronous_commit = off\nmax_connections = 200\nshared_buffers = 16MB\n",
            folder.display()
        )
        .unwrap();
        // The shell waits for the end of this process, which closes its input, and takes everything away.
        let script = r#""$1/postgres" -D "$2/data" > "$2/log" 2>&1 & server=$!
            trap '' INT TERM; cat > /dev/null; kill -QUIT $server; wait $server; rm -rf "$2""#;
        let shell = as_user(Path::new("/bin/sh"))
            .args(["-c", script, "postgresql-of-tests"])
            .arg(&bin)
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            _alive: shell,
            folder,
            bin,
            databases: AtomicU32::new(0),
        };
        let since = Instant::now();
        while let Err(refusal) = server.sql("postgres", "SELECT 1") {
            assert!(
                since.elapsed() < PATIENCE,
                "the server did not start: {refusal}\n{}",
                std::fs::read_to_string(server.folder.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))
            .unwrap();
        self.url(USER, ESCAPED, &name)
    }

    /// An address on this server; the password as it stands in a URL.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        let host = self.folder.display().to_string().replace('/', "%2F");
        format!("postgresql://{user}:{password}@{host}/{database}")
    }

    /// Runs a statement as the owner; answers what psql prints.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String, String> {
        let answer = Command::new(self.bin.join("psql"))
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet"])
            .args(["--set", "ON_ERROR_STOP=1", "--username", USER, "--host"])
            .arg(&self.folder)
            .args(["--dbname", database, "--command", statement])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        if answer.status.success() {
            Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&answer.stderr).into_owned())
        }
    }
}

/// The folder of the newest server on this machine.
fn programs() -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut debian: Vec<PathBuf> = debian.collect();
    debian.sort();
    debian
        .into_iter()
        .rev()
        .chain(others)
        .find(|folder| ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file()))
        .expect("these tests need a PostgreSQL server: run `cargo xtask setup`, or install the Debian package postgresql")
}
