//! Starts real programs for tests, with pipes or in a terminal, and ends them when the test ends.
#![allow(dead_code, reason = "each test program uses its own part of this")]

mod program;
mod pty;
mod screen;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use std::time::Duration;

use tempfile::TempDir;

pub use self::program::{Program, wait};
pub use self::pty::Terminal;

/// Time limit for anything that a test waits for. Nothing takes nearly as long: to reach it is a failure.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Time limit for a program that runs to its end by itself, such as a run of many cases.
const RUN_TIME_LIMIT: Duration = Duration::from_secs(300);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_chat");

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that says that it is ready, and lets the shell run every line of its input.
pub fn obedient() -> PathBuf {
    root().join("tests/data/stand-ins/obedient.sh")
}

/// Programs inherit an ignored SIGHUP, but not a handled one. Handling it here lets them be ended by a hangup, even when
/// the tests run behind `nohup`.
pub fn undo_nohup() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::new(AtomicBool::new(false))).unwrap();
    });
}

/// The program with these arguments. It starts in an environment that holds nothing of the person who runs the tests.
pub fn program<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> ProgramBuilder {
    ProgramBuilder {
        args: args.into_iter().map(|arg| arg.as_ref().to_owned()).collect(),
        envs: Vec::new(),
        folder: None,
        home: tempfile::tempdir().unwrap(),
        before: None,
        stdin: None,
        stdout: None,
        is_read: true,
        input: Vec::new(),
    }
}

/// A script of bash in which `chat` is the program under test, in this folder.
pub fn shell(script: &str, folder: &Path) -> Command {
    let built = Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", built.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).current_dir(folder).env("PATH", path).env("LC_ALL", "C.UTF-8");
    shell
}

/// How the program is to be started.
pub struct ProgramBuilder {
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    home: TempDir,
    before: Option<String>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    is_read: bool,
    input: Vec<u8>,
}

/// A program that ran to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    pub stdout: String,
    pub stderr: String,
    /// None after a signal.
    pub status: Option<i32>,
}

impl Finished {
    /// Both outputs and the status.
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

    /// A home that holds files already. It is removed with the program.
    pub fn home(mut self, home: TempDir) -> Self {
        self.home = home;
        self
    }

    /// A shell runs these words, then becomes the program.
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

    /// Nobody reads the output: that of a program with pipes stays in [`Program::stdout`].
    pub fn unread(mut self) -> Self {
        self.is_read = false;
        self
    }

    /// The whole input of a program that is [`run`](Self::run).
    pub fn input(mut self, input: &str) -> Self {
        self.input = input.into();
        self
    }

    /// Starts it with pipes.
    pub fn start(self) -> Program {
        Program::spawn(self)
    }

    /// Starts it in a new terminal.
    pub fn start_in_terminal(self) -> Terminal {
        Terminal::spawn(self, true)
    }

    /// Starts it in a new terminal that listens to another process: the program is in the background.
    pub fn start_in_background(self) -> Terminal {
        Terminal::spawn(self, false)
    }

    /// Runs it to its end.
    pub fn run(self) -> Finished {
        let mut command = self.one_shot();
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Finished { stdout: text(output.stdout), stderr: text(output.stderr), status: output.status.code() }
    }

    /// Runs it to its end; the result checks its output and status.
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
            None => Command::new(PROGRAM),
            Some(before) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("{before} exec \"$0\" \"$@\""), PROGRAM]);
                shell
            }
        };
        // Programs of other authors are found by PATH.
        command.args(&self.args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}
