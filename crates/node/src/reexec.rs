//! The hidden subcommands under which the binary executes itself again. They must run before any thread exists:
//! entering namespaces and forking are only sound in a single-threaded process.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// One pod's shim: `node-shim <pod folder>`.
pub const SHIM: &str = "node-shim";
/// A probe of what the machine allows: `node-sandbox-probe <folder>`.
pub const PROBE: &str = "node-sandbox-probe";

/// Runs the hidden subcommand in `args` (the program's name first), if it is one. Call it first thing in `main`.
pub fn dispatch(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    let subcommand = args.next()?;
    match subcommand.to_str()? {
        SHIM => Some(match args.next() {
            Some(dir) => crate::shim::main(&PathBuf::from(dir)),
            None => ExitCode::from(2),
        }),
        PROBE => Some(match args.next() {
            Some(folder) => crate::sandbox::probe_main(&PathBuf::from(folder)),
            None => ExitCode::from(2),
        }),
        crate::holder::process::SUBCOMMAND => {
            let rest: Vec<String> = args
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect();
            Some(crate::holder::process::main(&rest))
        }
        _ => None,
    }
}
