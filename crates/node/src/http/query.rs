//! What the query of a request says: what to run, what to connect, which ports.

/// What a client wants connected.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub command: Vec<String>,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

impl Wanted {
    pub fn read(query: &str) -> Self {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let flag = matches!(value.as_ref(), "1" | "true");
            match name.as_ref() {
                "command" => wanted.command.push(value.into_owned()),
                "input" | "stdin" => wanted.stdin = flag,
                "output" | "stdout" => wanted.stdout = flag,
                "error" | "stderr" => wanted.stderr = flag,
                "tty" => wanted.tty = flag,
                _ => {}
            }
        }
        // A terminal has one output.
        wanted.stderr &= !wanted.tty;
        wanted
    }
}

/// The ports that are to be forwarded, in order; `None` if one of them is none.
pub(super) fn ports(query: &str) -> Option<Vec<u16>> {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| matches!(name.as_ref(), "port" | "ports"))
        .flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>())
        .map(|port| port.trim().parse().ok().filter(|port| *port > 0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_to_run_and_what_to_connect() {
        let wanted =
            Wanted::read("command=sh&command=-c&command=echo+%22a%26b%22&input=1&output=1&error=1");
        assert_eq!(wanted.command, ["sh", "-c", "echo \"a&b\""]);
        assert!(wanted.stdin && wanted.stdout && wanted.stderr && !wanted.tty);
    }

    #[test]
    fn a_terminal_has_one_output() {
        let wanted = Wanted::read("command=sh&output=1&error=1&tty=1");
        assert!(wanted.tty && wanted.stdout && !wanted.stderr);
    }

    #[test]
    fn ports_may_be_listed_or_repeated() {
        assert_eq!(ports("port=80,443&port=8080"), Some(vec![80, 443, 8080]));
        assert_eq!(ports(""), Some(vec![]));
        for wrong in ["port=0", "port=a", "port=80,", "port=65536"] {
            assert_eq!(ports(wrong), None, "{wrong}");
        }
    }
}
