//! Runs the example of `scenarios/GRADING.md`. A correct submission has all points. Each faulty one loses exactly the
//! points of the case about its fault, and the report names the cause.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::support::{program, root, shell};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A sentence of the contract, and its replacement in the wording of one class.
const CLASS_WORDING: (&str, &str) =
    ("\"[Messages received by the server and saved]\"", "\"[Saved for \" + name + \"]\"");

/// The code block of the example in one language.
fn block(language: &str) -> String {
    let page = fs::read_to_string(root().join("scenarios/GRADING.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("Grade a folder of submissions")).unwrap();
    let opening = format!("```{language}\n");
    let mut blocks = section.split(opening.as_str()).skip(1);
    let block = blocks.next().and_then(|rest| rest.split("```").next()).unwrap().to_owned();
    assert!(blocks.next().is_none(), "one block of {language}");
    block
}

/// Writes a submission with this fault into a folder.
fn submit(folder: &Path, fault: Option<&str>, (sentence, words): (&str, &str)) {
    let source = fs::read_to_string(root().join("tests/peers/chatapp.py")).unwrap();
    let faults = fault.map_or_else(|| "set()".to_owned(), |fault| format!("{{\"{fault}\"}}"));
    let submitted = source.replace("FAULTS = set()", &format!("FAULTS = {faults}")).replace(sentence, words);
    assert!(sentence == words || submitted.contains(words));
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("ChatApp.py"), submitted).unwrap();
}

/// The tests of a report for Gradescope.
fn tests(report: &Path) -> Vec<Value> {
    let report: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    report["tests"].as_array().unwrap().clone()
}

/// Asserts that the case `title` has no points because of `cause`, and that every other case has all its points.
fn loses_only(report: &Path, title: Option<&str>, cause: &str) {
    for test in tests(report) {
        let skipped = test["tags"][0] == "skipped";
        assert_eq!(skipped, test["name"] == "a lost acknowledgement does no harm", "{test}");
        if test["name"].as_str() == title {
            assert_eq!(test["score"], 0, "{test}");
            assert!(test["output"].as_str().unwrap().contains(&format!("cause     {cause}")), "{test}");
        } else if !skipped {
            assert_eq!((&test["score"], &test["tags"][0]), (&test["max_score"], &json!("passed")), "{test}");
        }
    }
}

/// Asserts that independent parsers find all seven cases in each report.
fn read_by_others(reports: &[(&str, PathBuf)]) {
    let mut reader = Command::new("python3")
        .arg(root().join("tests/peers/read_report.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut requests = reader.stdin.take().unwrap();
    for (format, file) in reports {
        let text = fs::read_to_string(file).unwrap();
        writeln!(requests, "{}", json!({"format": format, "text": text})).unwrap();
    }
    drop(requests);
    let answers = String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap();
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), reports.len());
    for (answer, (format, file)) in answers.iter().zip(reports) {
        assert_eq!(answer["cases"].as_array().map(Vec::len), Some(7), "{format} {}: {answer}", file.display());
    }
}

#[test]
fn the_example_grades_a_folder() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    symlink(root().join("scenarios"), path("scenarios")).unwrap();
    for (name, fault) in [("ada", None), ("ben", Some("no-brackets")), ("cleo", Some("exits-on-dereg"))] {
        submit(&path("submissions").join(name), fault, CLASS_WORDING);
    }
    let graded = shell(&block("sh"), folder.path()).output().unwrap();
    let complaints = String::from_utf8(graded.stderr).unwrap();
    assert_eq!((String::from_utf8(graded.stdout).unwrap(), complaints), (block("text"), String::new()));
    loses_only(&path("grades/ada.json"), None, "");
    loses_only(&path("grades/ben.json"), Some("it is acknowledged, word for word"), "WRONG TEXT");
    loses_only(&path("grades/cleo.json"), Some("who leaves stays at the prompt"), "EXITED");
    let reports = ["ada", "ben", "cleo"].into_iter().flat_map(|name| {
        let of = |format, ending: &str| (format, path("grades").join(format!("{name}.{ending}")));
        [of("gradescope", "json"), of("junit", "xml"), of("markdown", "md")]
    });
    read_by_others(&reports.collect::<Vec<_>>());
    assert!(path("grades/cleo/03-who-leaves-stays-at-the-prompt/y.out").is_file(), "what it wrote is kept");
}

#[test]
fn each_fault_costs_the_points_of_its_own_case() {
    let folder = TempDir::new().unwrap();
    let attempts = "five attempts of half a second, no more and no fewer";
    let faults = [
        ("shows-twice", "a message arrives, and is shown once", "DUPLICATE"),
        ("forgets-mail", "mail waits for its reader", "SILENCE"),
        ("never-retries", attempts, "FORBIDDEN"),
        ("six-attempts", attempts, "LATE"),
        ("crashes-on-empty", "an empty line is no command", "EXITED"),
    ];
    let grade = |(fault, title, cause): (&str, &str, &str)| {
        let home = folder.path().join(fault);
        submit(&home, Some(fault), ("", ""));
        let formats = ["gradescope", "junit", "tap", "json", "classroom", "markdown"];
        let reports = formats.map(|format| (format, home.join(format)));
        let files =
            reports.iter().flat_map(|(format, file)| ["--report".to_owned(), format!("{format}={}", file.display())]);
        let run = program(["run", "--impl", "python3 ChatApp.py", "--impl-dir"]).arg(&home).args(files);
        let text = run.arg(root().join("scenarios/grade-classic.chat")).run().stdout;
        assert!(text.contains("7 cases: 5 passed, 1 failed, 1 skipped"), "{fault}: {text}");
        loses_only(&reports[0].1, Some(title), cause);
        read_by_others(&reports);
    };
    // The runs mostly wait, so all run in parallel.
    thread::scope(|scope| {
        for fault in faults {
            let grade = &grade;
            scope.spawn(move || grade(fault));
        }
    });
}
