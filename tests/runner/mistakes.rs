//! Error messages for mistakes in scenario files: each `tests/data/mistakes/*.chat` must produce exactly its `.err`
//! file. `BLESS=1` rewrites the `.err` files. Review them before a commit.

use std::path::{Path, PathBuf};

use crate::support::root;
use chat::runner::lang::diagnostics::{LoadError, render};
use chat::runner::lang::load;

fn folder() -> PathBuf {
    root().join("tests/data/mistakes")
}

fn shown(file: &Path) -> String {
    let name = Path::new(file.file_name().expect("a file"));
    match load(name, &mut |path| std::fs::read(folder().join(path))) {
        Ok(_) => panic!("{} has no mistake", name.display()),
        Err(LoadError::Unreadable { error, .. }) => panic!("{}: {error}", name.display()),
        Err(LoadError::Mistakes(mistakes)) => render(&mistakes, false),
    }
}

#[test]
fn every_mistake_matches_its_expected_message() {
    let files = std::fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "chat")).collect();
    files.sort();
    assert!(files.len() >= 12, "only {} files", files.len());
    let mut wrong = String::new();
    for file in files {
        let (shown, expected) = (shown(&file), file.with_extension("err"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &shown).expect("writable");
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        if shown != expected {
            wrong += &format!("== {}\n-- expected\n{expected}-- shown\n{shown}", file.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn an_unreadable_file_is_reported_as_unreadable() {
    let refusal = load(Path::new("none.chat"), &mut |path| std::fs::read(folder().join(path))).expect_err("no file");
    let expected = "The file none.chat cannot be read: No such file or directory (os error 2).";
    assert_eq!(refusal.to_string(), expected);
}

#[test]
fn colour_does_not_change_the_text() {
    let file = folder().join("unknown-directive.chat");
    let Err(LoadError::Mistakes(mistakes)) = load(&file, &mut |path| std::fs::read(path)) else {
        panic!("no mistakes");
    };
    let (plain, coloured) = (render(&mistakes, false), render(&mistakes, true));
    assert!(coloured.contains("\u{1b}[") && !plain.contains('\u{1b}'));
    assert_eq!(chat::script::pattern::normalize::strip_ansi(&coloured), plain);
}
