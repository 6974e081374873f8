//! Shows a `readiness::Report` as it changes: a live list on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::readiness::{Report, State};

/// A live list or plain lines, whichever suits where the output goes.
pub enum Progress {
    /// On a terminal.
    Live {
        /// All bars together.
        list: MultiProgress,
        /// One bar a part, by name.
        bars: BTreeMap<String, ProgressBar>,
    },
    /// In a file or a pipe: a line when a part is ready, in trouble or failed.
    Lines {
        /// What has been said already.
        said: BTreeMap<String, State>,
    },
}

impl Progress {
    /// Chooses by where standard output goes.
    pub fn new() -> Self {
        let list = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        // Hidden too where the terminal cannot move its cursor.
        if !list.is_hidden() {
            Self::Live {
                list,
                bars: BTreeMap::new(),
            }
        } else {
            Self::Lines {
                said: BTreeMap::new(),
            }
        }
    }

    /// Shows `report`.
    pub fn show(&mut self, report: &Report) {
        match self {
            Self::Live { list, bars } => {
                for part in &report.parts {
                    let bar = bars.entry(part.name.clone()).or_insert_with(|| {
                        let bar = list.add(ProgressBar::new_spinner());
                        bar.set_style(style("{spinner:.blue}"));
                        bar.set_prefix(part.name.clone());
                        bar.enable_steady_tick(Duration::from_millis(80));
                        bar
                    });
                    if bar.is_finished() {
                        continue;
                    }
                    match &part.state {
                        State::Waiting => bar.set_message("waiting"),
                        State::Starting { doing } => bar.set_message(doing.clone()),
                        State::Troubled { cause } => {
                            bar.set_message(console_term::style(cause).yellow().to_string())
                        }
                        State::Ready { .. } => {
                            bar.set_style(style(&console_term::style("✓").green().to_string()));
                            bar.finish_with_message(words(&part.state));
                        }
                        State::Failed { .. } => {
                            bar.set_style(style(&console_term::style("✗").red().to_string()));
                            bar.finish_with_message(words(&part.state));
                        }
                    }
                }
            }
            Self::Lines { said } => {
                for part in &report.parts {
                    let worth = matches!(
                        part.state,
                        State::Ready { .. } | State::Failed { .. } | State::Troubled { .. }
                    );
                    if worth && said.get(&part.name) != Some(&part.state) {
                        println!("{:<14} {}", part.name, words(&part.state));
                        said.insert(part.name.clone(), part.state.clone());
                    }
                }
            }
        }
    }
}

fn style(mark: &str) -> ProgressStyle {
    ProgressStyle::with_template(&format!("  {mark} {{prefix:<14}} {{msg}}"))
        .expect("the template is ours and valid")
}

fn words(state: &State) -> String {
    match state {
        State::Waiting => "waiting".to_owned(),
        State::Starting { doing } => doing.clone(),
        State::Troubled { cause } => format!("not yet: {cause}"),
        State::Ready { after_ms, note } if note.is_empty() => format!("ready after {after_ms} ms"),
        State::Ready { after_ms, note } => format!("ready after {after_ms} ms  {note}"),
        State::Failed { cause } => format!("failed: {cause}"),
    }
}
