//! The identity of the user: a key pair in a file that only its owner may read. All programs of one user share it.
//!
//! Programs that are started together agree on one key: each writes a temporary file, only the first one can give its
//! file the final name, and all read the file of that name.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;

use crate::io::file::{create_folders, data_folder, folder, sync_folder};
use crate::proto::hex::{hex_digits, parse_hex};
use crate::proto::keys::Identity;

/// The name of the file in the user's data folder.
const FILE_NAME: &str = "identity";

/// The words before the secret key. The number is the format of the file.
const HEADER: &str = "chat identity 1 ";

/// Maximum length of the file: the header, 64 digits and the end of the line.
const MAX_BYTES: u64 = HEADER.len() as u64 + 64 + 1;

/// The permissions of group and others.
const OTHERS: u32 = 0o077;

/// The reason why a key pair cannot be used. Every variant ends the program with exit status 3 (environment).
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file is missing and cannot be made.
    #[error("No key can be kept in {}: {why}; name a file in a folder that can be written.", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        why: io::Error,
    },
    /// The file exists and cannot be read.
    #[error("The key file {} cannot be read: {why}; name another file with --identity.", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        why: io::Error,
    },
    /// The path is that of a folder, a device or a pipe.
    #[error("The key file {} is no regular file; name another file with --identity.", path.display())]
    Irregular {
        /// The path.
        path: PathBuf,
    },
    /// Group or others have permissions.
    #[error(
        "The key file {} must be private, and others may use it (mode {mode:03o}); take that away with chmod 600, \
         or name another file with --identity.",
        path.display()
    )]
    Shared {
        /// The file.
        path: PathBuf,
        /// The permissions.
        mode: u32,
    },
    /// The content is not that of a key file.
    #[error(
        "The key file {} is damaged: it must be the line `{HEADER}` and 64 hexadecimal digits; \
         repair it or name another file with --identity.",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// A notice to the user about a new key pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityNotice {
    /// The key pair is in a new file.
    Made {
        /// The file.
        path: PathBuf,
    },
    /// The default file cannot be made, so the key pair ends with the program.
    ThisRunOnly {
        /// The reason, as the beginning of a sentence.
        why: String,
    },
}

impl fmt::Display for IdentityNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made { path } => write!(f, "A new key was made in {}.", path.display()),
            Self::ThisRunOnly { why } => {
                write!(f, "{why}; this run has a key of its own, use --identity FILE to keep one.")
            }
        }
    }
}

/// Loads the key pair of the user from `file`, or from `identity` in the user's data folder. Makes the file from the
/// 32 random bytes of `secret` if it is missing.
///
/// # Errors
/// The file cannot be used. It is left unchanged. If only the default file cannot be made, that is a notice.
pub fn load(file: Option<&Path>, secret: [u8; 32]) -> Result<(Identity, Option<IdentityNotice>), IdentityError> {
    let this_run = |why| Ok((Identity::from_secret(secret), Some(IdentityNotice::ThisRunOnly { why })));
    let Some(path) = file.map(Path::to_owned).or_else(|| Some(data_folder()?.join(FILE_NAME))) else {
        return this_run("Without HOME there is no folder for the key".to_owned());
    };
    // Nobody removes the file, so it still exists when it is read.
    let is_missing = fs::symlink_metadata(&path).is_err();
    let is_made = match if is_missing { make(&path, secret) } else { Ok(false) } {
        Ok(is_made) => is_made,
        Err(why) if file.is_none() => return this_run(format!("No key can be kept in {}: {why}", path.display())),
        Err(why) => return Err(IdentityError::Unwritable { path, why }),
    };
    let identity = read(&path)?;
    Ok((identity, is_made.then_some(IdentityNotice::Made { path })))
}

fn read(path: &Path) -> Result<Identity, IdentityError> {
    let unreadable = |why| IdentityError::Unreadable { path: path.to_owned(), why };
    // Without O_NONBLOCK, the open would wait for a writer if the path is that of a pipe.
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(IdentityError::Irregular { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(IdentityError::Shared { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
    parse(&text).ok_or_else(|| IdentityError::Damaged { path: path.to_owned() })
}

fn parse(text: &[u8]) -> Option<Identity> {
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.strip_prefix(HEADER)?;
    parse_hex(digits.as_bytes()).map(Identity::from_secret)
}

/// Makes the file and its folders. Returns false if another program was faster.
fn make(path: &Path, secret: [u8; 32]) -> io::Result<bool> {
    let path = create_folders(path)?;
    // `tempfile` creates it with mode 0600 and removes it on every return.
    let file = tempfile::Builder::new().prefix(".identity-").tempfile_in(folder(&path));
    // Its error names the temporary file, which nobody knows.
    let mut file = file.map_err(|why| io::Error::from(why.kind()))?;
    let mut line = HEADER.to_owned();
    line.extend(hex_digits(&secret).map(char::from));
    line.push('\n');
    file.write_all(line.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(&path) {
        Ok(_) => sync_folder(&path).map(|()| true),
        Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(failed) => Err(failed.error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Barrier;

    use super::*;

    fn sentence(path: &Path) -> String {
        load(Some(path), [1; 32]).unwrap_err().to_string()
    }

    fn write_private(path: &Path, content: impl AsRef<[u8]>) {
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_missing_file_is_made_once_and_is_private() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("new/folder/key");
        let (made, notice) = load(Some(&path), [7; 32]).unwrap();
        assert_eq!(made.public(), Identity::from_secret([7; 32]).public());
        assert_eq!(notice, Some(IdentityNotice::Made { path: path.clone() }));
        let (again, notice) = load(Some(&path), [8; 32]).unwrap();
        assert_eq!((again.public(), notice), (made.public(), None));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("chat identity 1 {}\n", "07".repeat(32)));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!([&path, folder(&path), &base.path().join("new")].map(mode), [0o600, 0o700, 0o700]);
        assert_eq!(fs::read_dir(folder(&path)).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn threads_that_make_the_file_at_once_agree() {
        const THREADS: u8 = 8;
        let base = tempfile::tempdir().unwrap();
        let (path, start) = (base.path().join("a/key"), Barrier::new(usize::from(THREADS)));
        let all: Vec<_> = std::thread::scope(|scope| {
            let load = |number| {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    load(Some(path), [number; 32]).unwrap()
                })
            };
            let threads: Vec<_> = (0..THREADS).map(load).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|(identity, _)| identity.public() == all[0].0.public()), "{all:?}");
        assert_eq!(all.iter().filter(|(_, notice)| notice.is_some()).count(), 1, "{all:?}");
        assert_eq!(fs::read_dir(folder(&path)).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_may_use_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("key");
        load(Some(&path), [1; 32]).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o602, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let expected = format!(
                "The key file {} must be private, and others may use it (mode {mode:o}); take that away with chmod \
                 600, or name another file with --identity.",
                path.display()
            );
            assert_eq!(sentence(&path), expected);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(load(Some(&path), [1; 32]).is_ok(), "the owner need not write");
    }

    #[test]
    fn every_other_content_is_refused_and_unchanged() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("key");
        let line = format!("chat identity 1 {}\n", "07".repeat(32));
        write_private(&path, &line);
        assert!(load(Some(&path), [1; 32]).is_ok());
        let endless = line.repeat(100_000);
        for bad in ["", "\n", &line[..line.len() - 1], &line.replace(" 1 ", " 2 "), &line.replace('7', "G"), &endless] {
            write_private(&path, bad);
            let expected = format!(
                "The key file {} is damaged: it must be the line `chat identity 1 ` and 64 hexadecimal digits; \
                 repair it or name another file with --identity.",
                path.display()
            );
            assert_eq!(sentence(&path), expected);
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn only_a_regular_file_is_read_also_through_a_link() {
        let base = tempfile::tempdir().unwrap();
        let pipe = base.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [base.path(), &pipe, Path::new("/dev/null")] {
            let expected =
                format!("The key file {} is no regular file; name another file with --identity.", path.display());
            assert_eq!(sentence(path), expected);
        }
        let (target, link) = (base.path().join("target"), base.path().join("link"));
        symlink(&target, &link).unwrap();
        let expected = format!("The key file {} cannot be read: ", link.display());
        assert!(sentence(&link).starts_with(&expected), "{}", sentence(&link));
        let (made, _) = load(Some(&target), [7; 32]).unwrap();
        assert_eq!(load(Some(&link), [8; 32]).unwrap().0.public(), made.public());
    }

    #[test]
    fn a_named_file_that_cannot_be_made_is_refused() {
        for path in ["/dev/null/folder/key", "/dev/null/key", "/proc/key"] {
            let why = sentence(Path::new(path));
            assert!(why.starts_with(&format!("No key can be kept in {path}: ")), "{why}");
            assert!(why.ends_with("; name a file in a folder that can be written."), "{why}");
        }
    }
}
