//! Starts real programs for tests, with pipes or in a terminal, and ends them when the test ends.
#![allow(dead_code, reason = "each test program uses its own part of this")]

mod program;
mod pty;
mod screen;

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use std::time::Duration;

use tempfile::TempDir;

pub use self::program::{Program, wait};
pub use self::pty::Terminal;

/// Time limit for everything that a test waits for. Only a failing test reaches it.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Time limit for a program that runs to its end by itself, such as a run of many cases.
const RUN_TIME_LIMIT: Duration = Duration::from_secs(300);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_chat");

/// The folder in the home of a program that has the key of the user.
pub const DATA: &str = "data";

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A stand-in program that reports that it is ready, then runs every line of its input as a shell command.
pub fn obedient() -> PathBuf {
    root().join("tests/data/stand-ins/obedient.sh")
}

/// Handles SIGHUP in the test process. Child processes inherit an ignored SIGHUP but not a handler, so a hangup ends
/// them even when the tests run under `nohup`.
pub fn undo_nohup() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::new(AtomicBool::new(false))).unwrap();
    });
}

/// The program with these arguments. It does not inherit the environment of the tests, except `PATH`.
pub fn program<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> ProgramBuilder {
    ProgramBuilder {
        executable: PROGRAM.into(),
        args: args.into_iter().map(|arg| arg.as_ref().to_owned()).collect(),
        envs: Vec::new(),
        folder: None,
        home: tempfile::tempdir().unwrap(),
        before: None,
        stdin: None,
        stdout: None,
        is_read: true,
        has_own_group: false,
        input: Vec::new(),
    }
}

/// Python code that can import the programs of `tests/peers`, with these arguments.
pub fn python<A: AsRef<OsStr>>(code: &str, args: impl IntoIterator<Item = A>) -> ProgramBuilder {
    // `-B`: writes no bytecode into the repository.
    let python = ProgramBuilder { executable: "python3".into(), ..program(["-B", "-c", code]) };
    python.folder(root().join("tests/peers")).args(args)
}

/// A bash script that runs in `folder`, which is its home, too. `chat` in it is the program under test.
pub fn shell(script: &str, folder: &Path) -> Command {
    let built = Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", built.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).current_dir(folder).env("PATH", path).env("LC_ALL", "C.UTF-8");
    shell.env("HOME", folder).env_remove("XDG_STATE_HOME").env_remove("XDG_DATA_HOME");
    shell
}

/// Options for starting the program.
pub struct ProgramBuilder {
    executable: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    home: TempDir,
    before: Option<String>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    is_read: bool,
    has_own_group: bool,
    input: Vec<u8>,
}

/// A program that ran to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    pub stdout: String,
    pub stderr: String,
    /// `None` if a signal ended the program.
    pub status: Option<i32>,
}

impl Finished {
    /// Standard output followed by standard error, and the status.
    pub fn combined(self) -> (String, Option<i32>) {
        (self.stdout + &self.stderr, self.status)
    }

    pub fn parts(self) -> (String, String, Option<i32>) {
        (self.stdout, self.stderr, self.status)
    }
}

impl ProgramBuilder {
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// The working directory.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Uses this home folder instead of an empty one. It is removed with the program.
    pub fn home(mut self, home: TempDir) -> Self {
        self.home = home;
        self
    }

    /// Starts the program by a shell that runs `before` first and then executes the program.
    pub fn after_shell_words(mut self, before: &str) -> Self {
        self.before = Some(before.to_owned());
        self
    }

    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Leaves the output unread. The test can read the output of a program with pipes from [`Program::stdout`].
    pub fn unread(mut self) -> Self {
        self.is_read = false;
        self
    }

    /// Starts the program in a process group of its own. A program that will be stopped needs it: if the shell that
    /// started the tests ends meanwhile, the system sends SIGHUP to the whole orphaned group of a stopped process.
    pub fn in_own_group(mut self) -> Self {
        self.has_own_group = true;
        self
    }

    /// The whole input of [`run`](Self::run) and [`assert`](Self::assert).
    pub fn input(mut self, input: &str) -> Self {
        self.input = input.into();
        self
    }

    /// Starts the program with pipes.
    pub fn start(self) -> Program {
        Program::spawn(self)
    }

    /// Starts the program in the foreground of a new terminal.
    pub fn start_in_terminal(self) -> Terminal {
        Terminal::spawn(self, true)
    }

    /// Starts the program in a new terminal that is not its controlling terminal, as in the background.
    pub fn start_in_background(self) -> Terminal {
        Terminal::spawn(self, false)
    }

    /// Runs the program to its end.
    pub fn run(self) -> Finished {
        let mut command = self.one_shot();
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Finished { stdout: text(output.stdout), stderr: text(output.stderr), status: output.status.code() }
    }

    /// Runs the program to its end. The result has assertions for its output and status.
    pub fn assert(self) -> assert_cmd::assert::Assert {
        self.one_shot().assert()
    }

    fn one_shot(&self) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::from_std(self.command());
        command.write_stdin(self.input.clone()).timeout(RUN_TIME_LIMIT);
        command
    }

    fn command(&self) -> Command {
        undo_nohup();
        let mut command = match &self.before {
            None => Command::new(&self.executable),
            Some(before) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("{before} exec \"$0\" \"$@\""), PROGRAM]);
                shell
            }
        };
        // External programs, such as python3, are found by PATH.
        command.args(&self.args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
        // The key of the user is in this folder, also when a test names another home.
        command.env("XDG_DATA_HOME", self.home.path().join(DATA));
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        if self.has_own_group {
            command.process_group(0);
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}
