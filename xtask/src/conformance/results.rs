//! What each test of the conformance set did when it was last run, kept in tests/conformance/results.json, and the tables
//! made of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::report::{Outcome, Test, group};
use crate::paths;

const FILE: &str = "tests/conformance/results.json";
const CAUSES: &str = "tests/conformance/causes.toml";
const DOCUMENT: &str = "docs/compatibility.md";
const BEGIN: &str = "<!-- begin: written by cargo xtask conformance --record -->";
const END: &str = "<!-- end: written by cargo xtask conformance --record -->";

/// The last result of every test.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    kubernetes: String,
    commit: String,
    date: String,
    tests: BTreeMap<String, Outcome>,
}

/// What was found out about failures, which says more than their messages.
#[derive(Debug, Default, Deserialize)]
struct Causes {
    #[serde(default)]
    cause: Vec<Cause>,
}

#[derive(Debug, Deserialize)]
struct Cause {
    /// Parts of the tests' names.
    tests: Vec<String>,
    /// Why they fail.
    says: String,
}

impl Causes {
    fn of(&self, test: &str) -> Option<&str> {
        self.cause
            .iter()
            .find(|cause| cause.tests.iter().any(|part| test.contains(part)))
            .map(|cause| cause.says.as_str())
    }
}

impl Results {
    /// The results as they were kept last.
    pub fn open() -> Result<Self> {
        match fs::read_to_string(paths::root().join(FILE)) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("read {FILE}")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("read {FILE}")),
        }
    }

    /// Takes in a run: what did not run keeps what it did before.
    pub fn take(&mut self, tests: &[Test], kubernetes: &str, commit: &str, date: &str) {
        kubernetes.clone_into(&mut self.kubernetes);
        commit.clone_into(&mut self.commit);
        date.clone_into(&mut self.date);
        for test in tests {
            if test.outcome == Outcome::NotRun && self.tests.contains_key(&test.name) {
                continue;
            }
            self.tests.insert(test.name.clone(), test.outcome.clone());
        }
    }

    /// Writes the results and the section of the document that is made of them.
    pub fn keep(&self) -> Result<()> {
        let root = paths::root();
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(root.join(FILE), text).with_context(|| format!("write {FILE}"))?;
        let causes = match fs::read_to_string(root.join(CAUSES)) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("read {CAUSES}"))?,
            Err(_) => Causes::default(),
        };
        let path = root.join(DOCUMENT);
        let document = fs::read_to_string(&path).with_context(|| format!("read {DOCUMENT}"))?;
        let document = replaced(&document, &self.section(&causes))
            .with_context(|| format!("{DOCUMENT} lacks the lines that hold the results"))?;
        fs::write(&path, document).with_context(|| format!("write {DOCUMENT}"))
    }

    fn section(&self, causes: &Causes) -> String {
        let tests: Vec<(&str, &Outcome)> = self
            .tests
            .iter()
            .map(|(name, outcome)| (name.as_str(), outcome))
            .collect();
        let mut text = format!(
            "Last recorded on {} at {}, with the suite of Kubernetes {}; each test as it went when it was last run.\n\n{}",
            self.date,
            self.commit,
            self.kubernetes,
            table(&tests)
        );
        text += "\n| failed | cause |\n|---|---|\n";
        for (name, outcome) in &tests {
            if let Outcome::Failed(message) = outcome {
                let cause = causes.of(name).unwrap_or(message).replace('|', "\\|");
                let _ = writeln!(text, "| {} | {cause} |", shown(name).replace('|', "\\|"));
            }
        }
        text
    }
}

/// A test's name without the marks that all of them bear.
fn shown(name: &str) -> String {
    name.replace(" [NodeConformance]", "")
        .replace(" [Conformance]", "")
}

/// The document with `section` between its two marks.
fn replaced(document: &str, section: &str) -> Option<String> {
    let begin = document.find(BEGIN)? + BEGIN.len();
    let end = begin + document[begin..].find(END)?;
    Some(format!(
        "{}\n{section}{}",
        &document[..begin],
        &document[end..]
    ))
}

/// A run in words: the table, and each failure with its cause.
pub fn told(tests: &[Test]) -> String {
    let rows: Vec<(&str, &Outcome)> = tests
        .iter()
        .map(|test| (test.name.as_str(), &test.outcome))
        .collect();
    let mut text = table(&rows);
    for (name, outcome) in rows {
        match outcome {
            Outcome::Failed(cause) => {
                let _ = writeln!(text, "\nfailed   {}\n         {cause}", shown(name));
            }
            Outcome::Skipped(cause) => {
                let _ = writeln!(text, "\nskipped  {}\n         {cause}", shown(name));
            }
            Outcome::Passed | Outcome::NotRun => {}
        }
    }
    text
}

fn table(tests: &[(&str, &Outcome)]) -> String {
    let mut groups: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (name, outcome) in tests {
        let column = match outcome {
            Outcome::Passed => 0,
            Outcome::Failed(_) => 1,
            Outcome::Skipped(_) => 2,
            Outcome::NotRun => 3,
        };
        groups.entry(group(name)).or_default()[column] += 1;
    }
    let mut text = String::from(
        "| group | passed | failed | skipped itself | not run | of |\n|---|---|---|---|---|---|\n",
    );
    for (group, [passed, failed, skipped, not_run]) in groups {
        let all = passed + failed + skipped + not_run;
        let _ = writeln!(
            text,
            "| {group} | {passed} | {failed} | {skipped} | {not_run} | {all} |"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str, outcome: Outcome) -> Test {
        Test {
            name: name.to_owned(),
            outcome,
        }
    }

    #[test]
    fn a_group_is_one_row_whatever_its_tests_did() {
        let text = told(&[
            test("[sig-apps] a", Outcome::Passed),
            test("[sig-apps] b", Outcome::Failed("no pod".to_owned())),
            test("[sig-apps] c", Outcome::NotRun),
        ]);
        assert!(text.contains("| sig-apps | 1 | 1 | 0 | 1 | 3 |"), "{text}");
        assert!(text.contains("[sig-apps] b\n         no pod"), "{text}");
    }

    #[test]
    fn what_did_not_run_keeps_what_it_did_before() {
        let mut results = Results::default();
        results.take(
            &[test("[sig-apps] a", Outcome::Passed)],
            "1.33.13",
            "abc",
            "today",
        );
        results.take(
            &[test("[sig-apps] a", Outcome::NotRun)],
            "1.33.13",
            "def",
            "later",
        );
        assert_eq!(results.tests["[sig-apps] a"], Outcome::Passed);
    }

    #[test]
    fn a_cause_that_was_found_stands_instead_of_the_message() {
        let causes: Causes =
            toml::from_str("[[cause]]\ntests = [\"two nodes\"]\nsays = \"there is one node\"")
                .expect("read");
        let mut results = Results::default();
        let failed = |name| test(name, Outcome::Failed("timed out".to_owned()));
        results.take(
            &[
                failed("[sig-apps] needs two nodes"),
                failed("[sig-apps] other"),
            ],
            "1.33.13",
            "abc",
            "today",
        );
        let text = results.section(&causes);
        assert!(
            text.contains("| [sig-apps] needs two nodes | there is one node |"),
            "{text}"
        );
        assert!(text.contains("| [sig-apps] other | timed out |"), "{text}");
    }

    #[test]
    fn only_what_lies_between_the_marks_is_written_anew() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let expected = format!("before\n{BEGIN}\nnew\n{END}\nafter\n");
        assert_eq!(replaced(&document, "new\n"), Some(expected));
        assert_eq!(replaced("no marks", "new\n"), None);
    }
}
