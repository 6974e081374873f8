//! What a run looks like on the command line: on a terminal one block that is drawn again in place, a tree of steps with
//! state, duration and last line; elsewhere a line for each change of state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use console_term::{Term, measure_text_width, truncate_str};

use crate::kfp::{Run, Task};
use crate::text;

/// Width of the bar that shows how many steps are done.
const BAR: usize = 16;
/// Widest name that is shown whole.
const NAME: usize = 32;

/// Last line of each step's log, by task.
#[derive(Clone, Default)]
pub struct LastLines(Arc<Mutex<BTreeMap<String, String>>>);

impl LastLines {
    /// `line` is the newest of `task_id`.
    pub fn set(&self, task_id: &str, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.insert(task_id.to_owned(), line);
    }

    fn get(&self, task_id: &str) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(task_id).cloned().unwrap_or_default()
    }
}

/// A block on a terminal, or lines elsewhere.
pub enum View {
    /// On a terminal.
    Live {
        /// Where it is drawn.
        term: Term,
        /// Lines that the last drawing took.
        drawn: usize,
    },
    /// In a file or a pipe.
    Lines {
        /// What has been said of each task.
        said: BTreeMap<String, String>,
    },
}

impl View {
    /// Chooses by where standard output goes.
    pub fn new() -> Self {
        let term = Term::stdout();
        if term.features().is_attended() {
            Self::Live { term, drawn: 0 }
        } else {
            Self::Lines {
                said: BTreeMap::new(),
            }
        }
    }

    /// Shows the run as it is now.
    pub fn show(&mut self, run: &Run, last_lines: &LastLines) {
        match self {
            Self::Live { term, drawn } => {
                let (height, width) = term.size();
                let block = block(run, last_lines, height.into(), width.into());
                // A terminal that went away is no reason to stop waiting for the run.
                let _ = term.clear_last_lines(*drawn);
                for line in &block {
                    let _ = term.write_line(line);
                }
                *drawn = block.len();
            }
            Self::Lines { said } => {
                for (depth, task) in tree(run) {
                    let state = format!("{} {}", task.state, task.status_metadata.message);
                    if said.get(&task.task_id) != Some(&state) {
                        println!("{}", row(depth, task, last_lines).trim_end());
                        said.insert(task.task_id.clone(), state);
                    }
                }
            }
        }
    }
}

/// The tree under a line that sums it up, no wider and no higher than the terminal.
fn block(run: &Run, last_lines: &LastLines, height: usize, width: usize) -> Vec<String> {
    let tasks = tree(run);
    let mut lines = vec![summary(run)];
    let room = height.saturating_sub(3).max(3);
    let surplus = tasks.len().saturating_sub(room);
    let mut hidden = 0;
    for (depth, task) in tasks {
        // What is over and went well gives way first.
        if hidden < surplus && matches!(task.state.as_str(), "SUCCEEDED" | "CACHED" | "SKIPPED") {
            hidden += 1;
            continue;
        }
        if lines.len() > room {
            hidden += 1;
            continue;
        }
        let row = format!("{} {}", mark(&task.state), row(depth, task, last_lines));
        lines.push(truncate_str(row.trim_end(), width.saturating_sub(1), "…").into_owned());
    }
    if hidden > 0 {
        lines.push(
            console_term::style(format!("  … and {hidden} more"))
                .dim()
                .to_string(),
        );
    }
    lines
}

fn summary(run: &Run) -> String {
    let all = run.steps().count();
    let done = run
        .steps()
        .filter(|step| !matches!(step.state.as_str(), "PENDING" | "RUNNING" | ""))
        .count();
    let filled = (BAR * done).checked_div(all).unwrap_or(0);
    format!(
        "{} {}{} {done}/{all} steps  {}",
        mark(&run.state),
        paint(&run.state, &"━".repeat(filled)),
        console_term::style("─".repeat(BAR - filled)).dim(),
        text::between(&run.created_at, &run.finished_at),
    )
}

fn row(depth: usize, task: &Task, last_lines: &LastLines) -> String {
    let name = format!("{}{}", "  ".repeat(depth), task.display_name);
    let name = truncate_str(&name, NAME, "…");
    let padding = " ".repeat(24usize.saturating_sub(measure_text_width(&name)));
    let message = if task.status_metadata.message.is_empty() {
        last_lines.get(&task.task_id)
    } else {
        task.status_metadata.message.clone()
    };
    // A carriage return or an escape of the step's own must not move our cursor.
    let message: String = console_term::strip_ansi_codes(&message)
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    format!(
        "{name}{padding} {:<10} {:>6}  {}",
        task.state.to_lowercase(),
        text::between(&task.start_time, &task.end_time),
        console_term::style(message).dim(),
    )
}

/// Every task below the root with its depth, parents before children, in order of start; what waits comes last.
fn tree(run: &Run) -> Vec<(usize, &Task)> {
    fn below<'a>(run: &'a Run, parent: &str, depth: usize, into: &mut Vec<(usize, &'a Task)>) {
        let mut children: Vec<&Task> = run
            .tasks
            .iter()
            .filter(|task| task.parent_task_id == parent && task.task_id != parent)
            .collect();
        children.sort_by_key(|task| (!has_begun(task), &task.start_time, &task.name));
        for child in children {
            into.push((depth, child));
            below(run, &child.task_id, depth + 1, into);
        }
    }
    let root = run
        .tasks
        .iter()
        .find(|task| task.r#type == "ROOT")
        .map_or("", |task| task.task_id.as_str());
    let mut list = Vec::new();
    below(run, root, 0, &mut list);
    list
}

fn has_begun(task: &Task) -> bool {
    text::is_moment(&task.start_time)
}

fn mark(state: &str) -> String {
    let mark = match state {
        "SUCCEEDED" => "✓",
        "FAILED" => "✗",
        "CACHED" => "↺",
        "SKIPPED" => "–",
        "RUNNING" => "●",
        _ => "○",
    };
    paint(state, mark)
}

/// `text` in the colour of `state`.
pub fn paint(state: &str, text: &str) -> String {
    let styled = console_term::style(text);
    match state {
        "SUCCEEDED" => styled.green(),
        "FAILED" => styled.red(),
        "CACHED" => styled.cyan(),
        "RUNNING" => styled.blue(),
        _ => styled.dim(),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, parent: &str, kind: &str, state: &str, start: u32) -> Task {
        Task {
            task_id: id.into(),
            name: id.into(),
            display_name: id.into(),
            parent_task_id: parent.into(),
            r#type: kind.into(),
            state: state.into(),
            start_time: if start == 0 {
                "1970-01-01T00:00:00Z".into()
            } else {
                format!("2026-01-01T00:00:{start:02}Z")
            },
            end_time: format!("2026-01-01T00:00:{:02}Z", start + 1),
            ..Task::default()
        }
    }

    #[test]
    fn the_tree_lists_children_below_their_parent_in_order_of_start_and_what_waits_last() {
        let run = Run {
            tasks: vec![
                task("a-later", "root", "RUNTIME", "PENDING", 0),
                task("b", "root", "RUNTIME", "RUNNING", 2),
                task("loop", "root", "LOOP", "RUNNING", 1),
                task("i", "loop", "RUNTIME", "RUNNING", 3),
                task("root", "", "ROOT", "RUNNING", 1),
            ],
            ..Run::default()
        };
        let shown: Vec<(usize, &str)> = tree(&run)
            .into_iter()
            .map(|(depth, task)| (depth, task.task_id.as_str()))
            .collect();
        assert_eq!(shown, [(0, "loop"), (1, "i"), (0, "b"), (0, "a-later")]);
    }

    #[test]
    fn a_low_terminal_shows_what_runs_and_failed_before_what_went_well() {
        let mut tasks: Vec<Task> = (1..20)
            .map(|n| task(&format!("done-{n}"), "", "RUNTIME", "SUCCEEDED", n))
            .collect();
        tasks.push(task("broken", "", "RUNTIME", "FAILED", 30));
        tasks.push(task("alive", "", "RUNTIME", "RUNNING", 31));
        let run = Run {
            tasks,
            state: "RUNNING".into(),
            ..Run::default()
        };
        let lines = block(&run, &LastLines::default(), 10, 80);
        assert!(lines.len() < 10, "{lines:#?}");
        let text = lines.join("\n");
        assert!(text.contains("broken") && text.contains("alive"), "{text}");
        assert!(
            text.contains("20/21 steps") && text.contains("more"),
            "{text}"
        );
    }

    #[test]
    fn what_a_step_prints_cannot_move_the_cursor_or_break_the_line() {
        let last_lines = LastLines::default();
        last_lines.set("a", "\u{1b}[2J 10%\r 20%".into());
        let shown = row(0, &task("a", "", "RUNTIME", "RUNNING", 1), &last_lines);
        assert!(shown.contains("10%  20%"), "{shown:?}");
        assert!(!shown.contains('\r') && !shown.contains("[2J"), "{shown:?}");
    }
}
