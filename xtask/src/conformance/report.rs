//! What the suite's JUnit report says: per test of the conformance set how it ended, and why in one line where it failed.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should.
    Passed,
    /// With this as its cause.
    Failed(String),
    /// The test itself found that it does not apply here, for this reason.
    Skipped(String),
    /// Nobody asked for it.
    NotRun,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Its name in full, which begins with its group.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// The longest cause that is still one line.
const LONGEST: usize = 220;

/// Reads the report. Tests outside of the conformance set are left out.
pub fn read(junit: &str) -> Result<Vec<Test>> {
    let document = roxmltree::Document::parse(junit).context("read the suite's JUnit report")?;
    let cases = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"));
    Ok(cases
        .filter_map(|case| {
            let name = case.attribute("name")?;
            let name = name.strip_prefix("[It] ").unwrap_or(name).trim();
            name.contains("[Conformance]").then(|| Test {
                name: name.to_owned(),
                outcome: outcome(case),
            })
        })
        .collect())
}

fn outcome(case: roxmltree::Node<'_, '_>) -> Outcome {
    let child = |tag: &str| case.children().find(|node| node.has_tag_name(tag));
    let text = |node: roxmltree::Node<'_, '_>| {
        let inside = node.text().unwrap_or_default().trim();
        let attribute = node.attribute("message").unwrap_or_default();
        if inside.is_empty() { attribute } else { inside }.to_owned()
    };
    if let Some(node) = child("failure").or_else(|| child("error")) {
        let text = text(node);
        // Whoever was given up with the whole run has not failed.
        let is_given_up =
            text.contains("[TIMEDOUT] A suite timeout") || text.contains("[INTERRUPTED]");
        return if is_given_up {
            Outcome::NotRun
        } else {
            Outcome::Failed(gist(&text))
        };
    }
    match child("skipped").map(text) {
        None => Outcome::Passed,
        Some(reason) => match reason.strip_prefix("skipped - ") {
            Some(reason) => Outcome::Skipped(gist(reason)),
            None => Outcome::NotRun,
        },
    }
}

/// The one line that says most of a failure: its message without marks, addresses in memory and dumped values.
fn gist(text: &str) -> String {
    let mut said: Vec<&str> = Vec::new();
    let mut depth = 0_usize;
    for line in text.lines().map(str::trim) {
        if line.starts_with("In [") || line.starts_with("There were additional failures") {
            break;
        }
        let line = line.strip_prefix("[FAILED]").unwrap_or(line).trim();
        let is_type = line.starts_with("<*") || line.starts_with("<[]") || line.starts_with("<v1.");
        let opens = line.ends_with('{');
        if depth == 0 && !opens && !is_type && !line.is_empty() {
            said.push(line);
        }
        if opens {
            depth += 1;
        }
        if line.starts_with('}') {
            depth = depth.saturating_sub(1);
        }
    }
    let whole = said.join(" ");
    // Names that differ with each run would make each failure one of its own.
    if whole.chars().count() <= LONGEST {
        return whole;
    }
    let mut short: String = whole.chars().take(LONGEST).collect();
    short.push('…');
    short
}

/// The group of a test: `sig-apps` of `[sig-apps] Deployment …`.
pub fn group(name: &str) -> &str {
    let end = name.find(']').unwrap_or(name.len());
    name[..end].trim_start_matches('[')
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
  <testsuites tests="5" failures="1">
      <testsuite name="Kubernetes e2e suite" tests="5">
          <testcase name="[SynchronizedBeforeSuite]" classname="Kubernetes e2e suite" status="passed" time="0.1"></testcase>
          <testcase name="[It] [sig-apps] Job should run a job to completion [Conformance]" classname="Kubernetes e2e suite" status="passed" time="4.5"></testcase>
          <testcase name="[It] [sig-apps] Deployment should work [Conformance]" classname="Kubernetes e2e suite" status="failed" time="300">
              <failure type="failed">[FAILED] Unexpected error:&#xA;    &lt;*errors.StatusError | 0xc001&gt;: &#xA;    the server could not find the requested resource&#xA;    {&#xA;        ErrStatus: {&#xA;            Code: 404,&#xA;        },&#xA;    }&#xA;occurred&#xA;In [It] at: k8s.io/x.go:1 @ 01/01/26&#xA;</failure>
              <system-err>much</system-err>
          </testcase>
          <testcase name="[It] [sig-node] Pods should be updated [Conformance]" classname="Kubernetes e2e suite" status="skipped" time="0"><skipped message="skipped"></skipped></testcase>
          <testcase name="[It] [sig-node] Sysctls should work [Conformance]" classname="Kubernetes e2e suite" status="skipped" time="0"><skipped message="skipped - needs two nodes"></skipped></testcase>
          <testcase name="[It] [sig-node] Slow should end [Conformance]" classname="Kubernetes e2e suite" status="timedout" time="60"><failure type="timedout">[TIMEDOUT] A suite timeout occurred&#xA;In [It] at: k8s.io/x.go:1 @ 01/01/26&#xA;</failure></testcase>
          <testcase name="[It] [sig-node] Other" classname="Kubernetes e2e suite" status="passed" time="1"></testcase>
      </testsuite>
  </testsuites>"#;

    fn outcome_of(part: &str) -> Outcome {
        let tests = read(REPORT).expect("read");
        let test = tests.into_iter().find(|test| test.name.contains(part));
        test.expect("the test is in the report").outcome
    }

    #[test]
    fn only_the_conformance_set_counts() {
        let tests = read(REPORT).expect("read");
        assert_eq!(tests.len(), 5);
        assert!(tests.iter().all(|test| test.name.starts_with("[sig-")));
    }

    #[test]
    fn a_test_without_a_word_has_passed() {
        assert_eq!(outcome_of("Job"), Outcome::Passed);
    }

    #[test]
    fn a_failure_is_told_in_one_line_without_what_was_dumped() {
        assert_eq!(
            outcome_of("Deployment"),
            Outcome::Failed(
                "Unexpected error: the server could not find the requested resource occurred"
                    .to_owned()
            )
        );
    }

    #[test]
    fn what_nobody_asked_for_is_not_what_the_test_itself_refused() {
        assert_eq!(outcome_of("Pods"), Outcome::NotRun);
        assert_eq!(outcome_of("Slow"), Outcome::NotRun);
        assert_eq!(
            outcome_of("Sysctls"),
            Outcome::Skipped("needs two nodes".to_owned())
        );
    }

    #[test]
    fn a_cause_stays_one_line_however_long_the_message_was() {
        let long = gist(&"word ".repeat(1_000));
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn the_group_is_the_first_mark_of_the_name() {
        assert_eq!(
            group("[sig-api-machinery] Watchers should …"),
            "sig-api-machinery"
        );
    }
}
