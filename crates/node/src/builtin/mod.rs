//! Our own components as pods that run inside this process: supervised tasks with the pod's identity, address, volumes
//! and log. A task that ends or panics is a container that exits; everything else about the pod is the kubelet's.

mod context;
mod listen;
mod logging;
mod tasks;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;

pub use context::{DialError, PodContext};
pub use listen::{HostListeners, Listener, Peer};
pub use logging::{LogLayer, LogSink, is_in_pod, scoped};
pub(crate) use tasks::{TaskSpec, Tasks};

/// The annotation by which admission marks the pods that may run as tasks. Nobody else can set it.
pub const ANNOTATION: &str = "ferroflow.io/built-in";

/// Why a component ended.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A component: called once per start of its container.
type Component = Arc<dyn Fn(PodContext) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// Makes a client of the API from a bearer token.
pub type ClientFactory = Arc<dyn Fn(&str) -> kube::Client + Send + Sync>;

/// Subcommands of this program that can run as tasks.
#[derive(Clone, Default)]
pub struct Table {
    components: BTreeMap<String, Component>,
}

impl Table {
    /// Adds a component under its subcommand, such as `controller pipelines`.
    #[must_use]
    pub fn with<F, R, E>(mut self, subcommand: &str, component: F) -> Self
    where
        F: Fn(PodContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Failure>,
    {
        let component: Component = Arc::new(move |context| {
            let running = component(context);
            Box::pin(async move { running.await.map_err(Into::into) })
        });
        self.components.insert(subcommand.to_owned(), component);
        self
    }

    /// The subcommands there are.
    pub fn subcommands(&self) -> impl Iterator<Item = &str> {
        self.components.keys().map(String::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// The component that a container's command line names, and the arguments left for it. The longest subcommand wins.
    fn find(&self, command: &[String]) -> Option<(Component, Vec<String>)> {
        let words = match command.split_first() {
            Some((program, rest)) if program.rsplit('/').next() == Some("kfctl") => rest,
            _ => command,
        };
        (1..=words.len()).rev().find_map(|count| {
            let component = self.components.get(&words[..count].join(" "))?;
            Some((component.clone(), words[count..].to_vec()))
        })
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.components.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_subcommand_wins_and_the_rest_are_its_arguments() {
        let nothing = |_: PodContext| async { Ok::<(), Failure>(()) };
        let table = Table::default()
            .with("controller", nothing)
            .with("controller tuning", nothing);
        let rest = |words: &[&str]| {
            let command: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            table.find(&command).map(|(_, rest)| rest)
        };
        assert_eq!(
            rest(&["kfctl", "controller", "tuning", "--x"]),
            Some(vec!["--x".to_owned()])
        );
        assert_eq!(
            rest(&["/opt/ferroflow/bin/kfctl", "controller", "y"]),
            Some(vec!["y".to_owned()])
        );
        assert_eq!(rest(&["controller"]), Some(vec![]));
        assert_eq!(rest(&["kfctl", "other"]), None);
    }
}
