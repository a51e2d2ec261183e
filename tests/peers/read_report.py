"""Reads reports with parsers that are not ours, and says what stands in them.

A line of JSON {"format", "text"} in, a line of JSON out: {"cases": [...]} or {"wrong": "..."}. Each case has the
members that its format tells: name, mark, score, max, checks, reason, output.
"""

import json
import re
import sys
import xml.etree.ElementTree

MARKS = ["passed", "failed", "flaky", "skipped", "not run"]


def need(condition, what):
    if not condition:
        raise ValueError(what)


def junit(text):
    root = xml.etree.ElementTree.fromstring(text.encode("utf-8"))
    need(root.tag == "testsuites", "the root is testsuites")
    suites, cases = root.findall("testsuite"), []
    for suite in suites:
        found = suite.findall("testcase")
        cases += found
        counted(suite, found, ["tests", "failures", "errors", "skipped"])
        need(all(case.get("classname") == case.get("file") == suite.get("name") for case in found), "files")
    need(len(list(root.iter("testcase"))) == len(cases), "no case stands outside of a suite")
    counted(root, cases, ["tests", "failures", "errors"])
    return [junit_case(case) for case in cases]


def counted(element, cases, attributes):
    def having(child):
        return sum(case.find(child) is not None for case in cases)

    right = {"tests": len(cases), "failures": having("failure"), "errors": having("error"),
             "skipped": having("skipped")}
    for attribute in attributes:
        need(int(element.get(attribute)) == right[attribute], f"{attribute} are counted")
    need(float(element.get("time")) >= 0, "time is a number")


def junit_case(case):
    need(int(case.get("line")) > 0 and float(case.get("time")) >= 0, "line and time are numbers")
    outcomes = [child for child in case if child.tag in ("failure", "error", "skipped", "flakyFailure")]
    need(len(outcomes) <= 1, "one outcome")
    out = case.findtext("system-out")
    told = {"name": case.get("name"), "mark": "passed"}
    for outcome in outcomes:
        marks = {"failure": "failed", "error": "not run", "skipped": "skipped", "flakyFailure": "flaky"}
        told["mark"] = "flaky" if outcome.get("type") == "FLAKY" else marks[outcome.tag]
        told["reason"] = outcome.get("message")
    need((out is None) == (told["mark"] in ("passed", "skipped")), "output where something failed")
    if out is not None:
        told["output"] = out
    return told


def tap(text):
    lines = text.split("\n")
    need(lines.pop(0) == "TAP version 14", "the version")
    need(lines.pop() == "", "the last line ends")
    points = tap_points(lines, "")
    told = []
    for ok, name, skip, block, inner in points:
        need(block is not None, "diagnostics")
        mark = block["result"]
        need(mark in MARKS and (ok == (mark in ("passed", "skipped")) or mark == "flaky"), "ok says the same as the result")
        need((skip is not None) == (mark == "skipped"), "SKIP")
        need(float(block["duration_ms"]) >= 0 and int(block["at"]["line"]) > 0, "numbers")
        case = {"name": name, "mark": mark, "score": float(block["score"]), "max": float(block["max_score"]),
                "checks": [[title, passed, details] for passed, title, _, details, _ in inner]}
        case["checks"] = [[title, None if details == {"message": "not reached"} else passed]
                          for title, passed, details in case["checks"]]
        if "message" in block:
            case["reason"] = block["message"]
        if "output" in block:
            case["output"] = "".join(line + "\n" for line in block["output"])
        told.append(case)
    return told


def tap_points(lines, indent):
    """The test points of one level: (ok, name, skip, diagnostics, points of its subtest)."""
    points, plan, inner, subtest, at = [], None, [], None, 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith(indent + "    "):
            inner.append(line)
            continue
        need(line.startswith(indent), "indented as its level")
        line = line[len(indent):]
        if match := re.fullmatch(r"1\.\.(\d+)", line):
            need(plan is None, "one plan")
            plan = int(match[1])
        elif line.startswith("# Subtest: "):
            subtest, skip = tap_text(line[len("# Subtest: "):])
            need(skip is None, "no directive behind a comment")
        elif line == "  ---":
            end = lines.index(indent + "  ...", at)
            need(points and points[-1][3] is None, "diagnostics follow a test point")
            points[-1][3] = yaml([line[len(indent) + 2:] for line in lines[at:end]])
            at = end + 1
        else:
            match = re.fullmatch(r"(not )?ok (\d+) - (.*)", line, re.DOTALL)
            need(match, f"a line of TAP: {line!r}")
            need(int(match[2]) == len(points) + 1, "numbers have no gaps")
            name, skip = tap_text(match[3])
            need(subtest is None or subtest == name, "a subtest has the name of its test point")
            need((subtest is None) == (not inner), "a subtest is announced")
            points.append([match[1] is None, name, skip, None, tap_points(inner, indent + "    ") if inner else []])
            subtest, inner = None, []
    need(plan == len(points), "the plan is kept")
    need(not inner and subtest is None, "a subtest is followed by its test point")
    return points


def tap_text(text):
    """A description without its escapes, and the reason of SKIP behind it."""
    name, at = "", 0
    while at < len(text):
        c = text[at]
        if c == "\\":
            need(text[at + 1:at + 2] in ("\\", "#"), "what is escaped is \\ or #")
            name += text[at + 1]
            at += 2
        elif c == "#":
            match = re.fullmatch(r"# SKIP (.*)", text[at:], re.DOTALL)
            need(match and name.endswith(" "), "a directive")
            return name[:-1], match[1]
        else:
            name += c
            at += 1
    return name, None


def yaml(lines):
    """Maps, lists and scalars of one line, as much of YAML as a diagnostic needs."""
    found, at = {}, 0
    while at < len(lines):
        match = re.fullmatch(r"([a-z_]+):(?: (.*))?", lines[at], re.DOTALL)
        need(match and match[1] not in found, f"a key: {lines[at]!r}")
        at += 1
        if match[2] is not None:
            found[match[1]] = scalar(match[2])
            continue
        begin = at
        while at < len(lines) and lines[at].startswith("  "):
            at += 1
        inner = [line[2:] for line in lines[begin:at]]
        if all(line.startswith("- ") for line in inner):
            found[match[1]] = [scalar(line[2:]) for line in inner]
        else:
            found[match[1]] = yaml(inner)
    return found


def scalar(text):
    if not text.startswith('"'):
        need(re.fullmatch(r"[0-9.]+", text), f"a plain scalar is a number: {text!r}")
        return text
    # What YAML cannot hold unescaped: C0, DEL, C1 but for NEL, surrogates and the last two of the plane.
    need(not re.search("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]", text), "a character that YAML refuses")
    return json.loads(text)


def lines(text):
    need(text.endswith("\n"), "the last line ends")
    told, failure = [], None
    *objects, summary = [json.loads(line) for line in text[:-1].split("\n")]
    for line in objects:
        need(line["v"] == 1, "the version")
        if line["report"] == "failure":
            failure = line
            continue
        need(line["report"] == "case", "a case")
        need((failure is None) == (line["verdict"] != "failed"), "a failure stands before its case")
        checks = [[check["title"], check.get("passed")] for check in line.get("checks", [])]
        told.append({"name": line["title"], "mark": line["verdict"].replace("_", " "), "score": line["score"],
                     "max": line["max_score"], "checks": checks})
        if "reason" in line:
            told[-1]["reason"] = line["reason"]
        failure = None
    need(summary["report"] == "summary", "the last line is the summary")
    need(summary["passed"] + summary["failed"] + summary["skipped"] == summary["cases"], "the summary adds up")
    return told


def gradescope(text):
    results = json.loads(text)
    need(set(results) == {"execution_time", "visibility", "tests"}, "the members of the whole")
    need(isinstance(results["execution_time"], int), "whole seconds")
    told = []
    for at, test in enumerate(results["tests"]):
        need(set(test) == {"score", "max_score", "status", "name", "name_format", "number", "output", "output_format",
                           "tags", "visibility"}, "the members of a test")
        need(test["number"] == str(at + 1) and test["name_format"] == test["output_format"] == "text", "forms")
        need(test["visibility"] in ("visible", "hidden", "after_due_date", "after_published"), "a visibility")
        mark = test["tags"][0]
        need(test["status"] == ("passed" if mark == "passed" else "failed") or mark == "flaky", "status says the same as the tags")
        told.append({"name": test["name"], "mark": mark, "score": test["score"], "max": test["max_score"],
                     "output": test["output"]})
    return told


def classroom(text):
    results = json.loads(text)
    need(set(results) == {"version", "status", "max_score", "tests"} and results["version"] == 1, "the whole")
    told, tests = [], results["tests"]
    for test in tests:
        need(test["status"] in ("pass", "fail", "error") and isinstance(test["line_no"], int), "forms")
        need(re.fullmatch(r"\d+\.\d{3}s", test["execution_time"]), "a time")
        told.append({"name": test["name"], "status": test["status"], "score": test["score"], "max": test["max_score"]})
    need(abs(sum(test["max_score"] for test in tests) - results["max_score"]) < 1e-6, "the total")
    statuses = {test["status"] for test in tests}
    need(results["status"] == next((word for word in ("fail", "error") if word in statuses), "pass"), "the status")
    return told


def markdown(text):
    rows = text.split("\n")
    need(rows[1] == "" and rows[2].startswith("| # | Case |") and rows[3].startswith("| --:"), "a table")
    told, at = [], 4
    while at < len(rows) and rows[at].startswith("|"):
        cells = [re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cell) for cell in re.split(r"(?<!\\)((?:\\\\)*)\|", rows[at])]
        # The split keeps the backslashes before each bar apart: they belong to the cell.
        cells = ["".join(pair) for pair in zip(cells[0::2], cells[1::2])][1:]
        need(len(cells) == 6, f"six cells: {rows[at]!r}")
        number, name, mark, points, _, why = [cell[1:-1] for cell in cells]
        if "." in number:
            told[-1]["checks"].append([name, {"passed": True, "failed": False, "not reached": None}[mark]])
        else:
            need(int(number) == len(told) + 1 and mark in MARKS, "a number and a mark")
            score, most = points.split("/")
            told.append({"name": name, "mark": mark, "score": float(score), "max": float(most), "checks": []})
            if why:
                told[-1]["reason"] = why
        at += 1
    fence = None
    for row in rows[at:]:
        if fence is None and (match := re.fullmatch(r"(`{3,})text", row)):
            fence = match[1]
        elif fence is not None and re.fullmatch(r" {0,3}`{%d,}\s*" % len(fence), row):
            need(row == fence, "a fence is closed by itself")
            fence = None
        elif fence is None:
            need(row == "" or row.startswith("### "), f"a heading: {row!r}")
    need(fence is None, "every fence is closed")
    return told


READERS = {"junit": junit, "tap": tap, "json": lines, "gradescope": gradescope, "classroom": classroom,
           "markdown": markdown}

for request in sys.stdin.buffer:
    request = json.loads(request)
    try:
        answer = {"cases": READERS[request["format"]](request["text"])}
    except Exception as why:  # whatever a parser says is what the test has to show
        answer = {"wrong": f"{type(why).__name__}: {why}"}
    print(json.dumps(answer), flush=True)
