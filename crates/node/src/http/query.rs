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
        for (name, value) in pairs(query) {
            let flag = matches!(value.as_str(), "1" | "true");
            match name.as_str() {
                "command" => wanted.command.push(value),
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
    pairs(query)
        .filter(|(name, _)| matches!(name.as_str(), "port" | "ports"))
        .flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>())
        .map(|port| port.trim().parse().ok().filter(|port| *port > 0))
        .collect()
}

/// The pairs of a query, decoded; names may repeat.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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

    #[test]
    fn a_broken_escape_stays_as_written() {
        assert_eq!(decode("100%&%zz%4"), "100%&%zz%4");
    }
}
