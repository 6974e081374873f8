//! An error told with its causes, in one line. The one place that decides how: events, conditions, answers and logs all read
//! the same.

use std::error::Error;

/// The message of an error, then of each cause behind it. A cause that the text names already is not repeated: some
/// libraries put the message of their source into their own.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let part = next.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Step(&'static str, Option<Box<Step>>);

    impl std::fmt::Display for Step {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Step {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|step| step as _)
        }
    }

    fn steps(messages: &[&'static str]) -> Step {
        let mut cause = None;
        for message in messages.iter().rev() {
            cause = Some(Box::new(Step(message, cause)));
        }
        *cause.expect("a test names at least one message")
    }

    #[test]
    fn an_error_without_a_cause_is_its_message() {
        assert_eq!(chain(&steps(&["no such file"])), "no such file");
    }

    #[test]
    fn every_cause_is_told_down_to_the_last() {
        let error = steps(&[
            "mount /data",
            "open its folder",
            "permission denied",
            "os error 13",
        ]);
        assert_eq!(
            chain(&error),
            "mount /data: open its folder: permission denied: os error 13"
        );
    }

    #[test]
    fn what_the_text_says_already_is_not_said_again() {
        let error = steps(&[
            "watch failed: connection refused",
            "connection refused",
            "os error 111",
        ]);
        assert_eq!(
            chain(&error),
            "watch failed: connection refused: os error 111"
        );
    }
}
